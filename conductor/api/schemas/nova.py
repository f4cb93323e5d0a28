"""The bodies and queries of ``/v2.1``: Nova's, with its strictness."""

from conductor.api.schemas.fields import (
    HOST,
    LOOSE_NAME,
    LOOSE_ZONE,
    METADATA,
    NAME,
    ZONE,
    ZONE_OR_NULL,
    Schema,
    obj,
)

#: Nova accepts these three spellings
_SWITCH: Schema = {"enum": ["enable", "Enable", "ENABLE", "disable", "Disable", "DISABLE"]}

AGGREGATE_CREATE = obj({"aggregate": obj({"name": NAME}, availability_zone=ZONE_OR_NULL)})
AGGREGATE_UPDATE = obj({
    "aggregate": obj(name=LOOSE_NAME, availability_zone=LOOSE_ZONE) | {"minProperties": 1}})
AGGREGATE_ACTION = obj(
    add_host=obj({"host": HOST}),
    # confirm_data_loss is ours: ejecting wipes the host's local storage
    remove_host=obj({"host": HOST}, confirm_data_loss={"type": "boolean"}),
    set_metadata=obj({"metadata": METADATA}),
) | {"minProperties": 1, "maxProperties": 1}
HOST_UPDATE = obj(status=_SWITCH, maintenance_mode=_SWITCH) | {"minProperties": 1}

#: Nova ignores unknown members of a query below microversion 2.102
AGGREGATE_QUERY = obj(availability_zone=ZONE) | {"additionalProperties": True}
HOST_QUERY = obj(zone=ZONE) | {"additionalProperties": True}
