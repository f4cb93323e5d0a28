"""The parts that schemas are made of: names, zones, hosts, metadata.

Patterns are those of Nova (``nova/api/validation/parameter_types.py``); it knows no request.
"""

from typing import Any

Schema = dict[str, Any]

#: the end of the text; ``$`` would also match before a last line feed
END = r"(?![\s\S])"

HOST_PATTERN = rf"^[a-zA-Z0-9._-]{{1,255}}{END}"
ID_PATTERN = rf"^[a-zA-Z0-9_-]{{1,64}}{END}"

#: printable, nothing invisible, no space at either end
NAME: Schema = {"type": "string", "minLength": 1, "maxLength": 255, "format": "name"}
#: as NAME, spaces at the ends allowed: they are taken off
LOOSE_NAME: Schema = {"type": "string", "minLength": 1, "maxLength": 255, "format": "printable"}
ZONE: Schema = {"type": "string", "minLength": 1, "maxLength": 255, "format": "name",
                "pattern": f"^[^:]*{END}"}
LOOSE_ZONE: Schema = {**ZONE, "format": "printable"}
ZONE_OR_NULL: Schema = {**ZONE, "type": ["string", "null"]}
HOST: Schema = {"type": "string", "pattern": HOST_PATTERN}
ID: Schema = {"type": "string", "pattern": ID_PATTERN}
#: a sentence that a person gives, as long as the database's column
REASON: Schema = {"type": "string", "minLength": 1, "maxLength": 255, "format": "printable"}

#: Nova's many ways to say yes or no
SWITCH: Schema = {"enum": [True, "True", "TRUE", "true", "1", "ON", "On", "on", "YES", "Yes", "yes",
                           False, "False", "FALSE", "false", "0", "OFF", "Off", "off", "NO", "No", "no"]}
#: what a query filters by: whatever it is, it may be unknown
FILTER: Schema = {"type": "string", "maxLength": 255, "format": "printable"}

METADATA: Schema = {
    "type": "object",
    "properties": {"availability_zone": ZONE},
    "patternProperties": {rf"^(?!availability_zone{END})[a-zA-Z0-9_:. -]{{1,255}}{END}": {
        "type": ["string", "null"], "maxLength": 255}},
    "additionalProperties": False,
}


def obj(required: dict[str, Schema] | None = None, **optional: Schema) -> Schema:
    """Return the schema of an object with these members and no others."""
    must = required or {}
    return {"type": "object", "properties": {**must, **optional}, "required": sorted(must),
            "additionalProperties": False}
