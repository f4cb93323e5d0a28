"""The bodies and queries of ``/v1``."""

from conductor.api.schemas.fields import HOST, ID, REASON, ZONE, Schema, obj

_WANTED: Schema = {"enum": ["enable", "disable"]}
_YES_NO: Schema = {"type": "boolean"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_OPTIONS = obj(if_changed={"enum": ["stop", "replan"]}, allow_partial=_YES_NO)

NOTHING = obj()
HOST_QUERY = obj(zone=ZONE)
MAINTENANCE = obj({"wanted": _WANTED}, options=_OPTIONS, plan=ID)
PLAN = obj({"host": HOST, "wanted": _WANTED}, options=_OPTIONS)
ABANDON = obj({"reason": REASON})
OPERATION_QUERY = obj(
    host=HOST, aggregate=_COUNT, active=_YES_NO, marker=ID,
    state={"type": "string", "pattern": "^[a-z]{1,20}(?![\\s\\S])"},
    limit={"type": "integer", "minimum": 1, "maximum": 1000})
EVENTS_QUERY = obj(after=_COUNT, wait={"type": "number", "minimum": 0, "maximum": 3600})
