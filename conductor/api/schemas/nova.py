"""The bodies and queries of ``/v2.1``: Nova's, with its strictness."""

from conductor.api.schemas.fields import (
    FILTER,
    HOST,
    LOOSE_NAME,
    LOOSE_ZONE,
    METADATA,
    NAME,
    SWITCH,
    ZONE,
    ZONE_OR_NULL,
    Schema,
    obj,
)

#: Nova accepts these three spellings
_SWITCH: Schema = {"enum": ["enable", "Enable", "ENABLE", "disable", "Disable", "DISABLE"]}

AGGREGATE_CREATE = obj({"aggregate": obj({"name": NAME}, availability_zone=ZONE_OR_NULL)})
AGGREGATE_UPDATE = obj({
    # an empty zone is of the right form, and refused in Nova's words
    "aggregate": obj(name=LOOSE_NAME, availability_zone={**LOOSE_ZONE, "type": ["string", "null"], "minLength": 0})
    | {"minProperties": 1}})
AGGREGATE_ACTION = obj(
    add_host=obj({"host": HOST}),
    # confirm_data_loss is ours: ejecting wipes the host's local storage
    remove_host=obj({"host": HOST}, confirm_data_loss={"type": "boolean"}),
    set_metadata=obj({"metadata": METADATA}),
) | {"minProperties": 1, "maxProperties": 1}
HOST_UPDATE = obj(status=_SWITCH, maintenance_mode=_SWITCH) | {"minProperties": 1}

SERVICE_UPDATE = obj({"host": HOST, "binary": {"type": "string", "minLength": 1, "maxLength": 255,
                                                "format": "printable"}},
                     disabled_reason={"type": "string", "minLength": 1, "maxLength": 255, "format": "printable"},
                     forced_down=SWITCH)
SERVER_ACTION = obj({"os-migrateLive": obj(
    {"host": {**HOST, "type": ["string", "null"]}, "block_migration": {"enum": [*SWITCH["enum"], "auto"]}},
    disk_over_commit=SWITCH, force=SWITCH)})
MIGRATION_ACTION = obj({"force_complete": {"type": "null"}})

_PAGE: dict[str, Schema] = {"limit": {"type": "integer", "minimum": 0}, "marker": FILTER}


def _query(**known: Schema) -> Schema:
    # Nova ignores unknown members of a query below microversion 2.102
    return obj(**known) | {"additionalProperties": True}


AGGREGATE_QUERY = _query(availability_zone=ZONE)
HOST_QUERY = _query(zone=FILTER)
SERVICE_QUERY = _query(host=FILTER, binary=FILTER)
HYPERVISOR_QUERY = _query(**_PAGE)
MIGRATION_QUERY = _query(host=FILTER, instance_uuid=FILTER, status=FILTER, source_compute=FILTER,
                         migration_type=FILTER)
SERVER_QUERY = _query(**_PAGE, name=FILTER, host=FILTER, status=FILTER)
