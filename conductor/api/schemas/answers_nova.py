"""The shapes of ``/v2.1``: Nova's, from microversion 2.1 to 2.42."""

from conductor.api.schemas.answers import (
    COUNT,
    COUNT_OR_NULL,
    LINKS,
    NULL,
    TEXT,
    TEXT_OR_NULL,
    TIME,
    TIME_OR_NULL,
    YES_NO,
    closed,
    many,
    one_of,
    or_null,
    ref,
)
from conductor.api.schemas.fields import Schema

_UP = one_of("up", "down")
_ENABLED = one_of("enabled", "disabled")
_CREATED = {"id": COUNT, "name": TEXT, "availability_zone": TEXT_OR_NULL, "created_at": TIME,
            "updated_at": TIME_OR_NULL, "deleted": {"const": False}, "deleted_at": NULL}
_VERSION = {"id": TEXT, "status": one_of("SUPPORTED", "CURRENT"), "version": TEXT, "min_version": TEXT,
            "updated": TEXT, "links": LINKS}
_SHORT = {"id": COUNT, "hypervisor_hostname": TEXT, "state": _UP, "status": _ENABLED}
_ENDS = {"id": COUNT, "source_compute": TEXT, "source_node": TEXT, "dest_compute": TEXT, "dest_node": TEXT,
         "dest_host": TEXT_OR_NULL, "created_at": TIME, "updated_at": TIME_OR_NULL,
         "status": one_of("queued", "preparing", "running", "completed", "error", "cancelled")}
_ERROR = closed(code={"type": "integer"}, message=TEXT)

SHAPES: dict[str, Schema] = {
    "NovaError": {"type": "object", "minProperties": 1, "maxProperties": 1, "additionalProperties": False,
                  "properties": dict.fromkeys((
                      "badRequest", "unauthorized", "forbidden", "itemNotFound", "badMethod", "conflictingRequest",
                      "overLimit", "badMediaType", "notImplemented", "serviceUnavailable", "computeFault"), _ERROR)},
    "NovaVersion": closed({"media-types": many(closed(base=TEXT, type=TEXT))}, **_VERSION),
    "NovaCreatedAggregate": closed({"uuid": TEXT}, **_CREATED),
    "NovaAggregate": closed({"uuid": TEXT}, **_CREATED, hosts=many(TEXT),
                            metadata={"type": "object", "additionalProperties": TEXT}),
    "NovaHostResource": closed(resource=closed(host=TEXT, project=one_of("(total)", "(used_now)", "(used_max)"),
                                               cpu=COUNT, memory_mb=COUNT, disk_gb=COUNT)),
    "NovaService": closed({"forced_down": YES_NO}, id=COUNT, binary=TEXT, host=TEXT, zone=TEXT, status=_ENABLED,
                          state=_UP, updated_at=TIME_OR_NULL, disabled_reason=TEXT_OR_NULL),
    "NovaZone": closed(zoneName=TEXT, zoneState=closed(available=YES_NO), hosts=or_null({
        "type": "object", "additionalProperties": {"type": "object", "additionalProperties": closed(
            available=YES_NO, active=YES_NO, updated_at=TIME_OR_NULL)}})),
    "NovaShortHypervisor": closed({"servers": many(closed(uuid=TEXT, name=TEXT))}, **_SHORT),
    "NovaHypervisor": closed(
        **_SHORT, hypervisor_type=TEXT, hypervisor_version=COUNT, host_ip=TEXT,
        cpu_info={"type": ["string", "object"]}, vcpus=COUNT, vcpus_used=COUNT, memory_mb=COUNT,
        free_ram_mb={"type": "integer"}, memory_mb_used=COUNT, local_gb=COUNT, local_gb_used=COUNT, free_disk_gb=COUNT,
        disk_available_least=COUNT_OR_NULL, running_vms=COUNT, current_workload=COUNT,
        service=closed(id=COUNT, host=TEXT, disabled_reason=TEXT_OR_NULL)),
    "NovaMigration": closed({"migration_type": one_of("live-migration"), "links": LINKS}, **_ENDS, instance_uuid=TEXT,
                            old_instance_type_id=NULL, new_instance_type_id=NULL),
    "NovaServerMigration": closed(
        **_ENDS, server_uuid=TEXT, **{f"{what}_{part}_bytes": COUNT for what in ("memory", "disk")
                                      for part in ("total", "processed", "remaining")}),
    "NovaShortServer": closed(id=TEXT, name=TEXT, links=LINKS),
    # Nova's own has no fixed members either: extensions bring theirs
    "NovaServer": {**closed(id=TEXT, name=TEXT, links=LINKS, status=TEXT), "additionalProperties": True},
}

VERSIONS = closed(versions=many(ref("NovaVersion")))
VERSION = closed(version=ref("NovaVersion"))
AGGREGATES = closed(aggregates=many(ref("NovaAggregate")))
CREATED_AGGREGATE = closed(aggregate=ref("NovaCreatedAggregate"))
AGGREGATE = closed(aggregate=ref("NovaAggregate"))
HOSTS = closed(hosts=many(closed(host_name=TEXT, service=TEXT, zone=TEXT)))
HOST = closed(host=many(ref("NovaHostResource")))
HOST_CHANGED = closed(host=TEXT, status=_ENABLED, maintenance_mode=one_of(
    "entering_maintenance", "on_maintenance", "leaving_maintenance", "off_maintenance"))
SERVICES = closed(services=many(ref("NovaService")))
SERVICE_CHANGED = closed(service=closed({"status": _ENABLED, "disabled_reason": TEXT, "forced_down": YES_NO},
                                        host=TEXT, binary=TEXT))
ZONES = closed(availabilityZoneInfo=many(ref("NovaZone")))
SHORT_HYPERVISORS = closed({"hypervisors_links": LINKS}, hypervisors=many(ref("NovaShortHypervisor")))
HYPERVISORS = closed({"hypervisors_links": LINKS}, hypervisors=many(ref("NovaHypervisor")))
HYPERVISOR = closed(hypervisor=ref("NovaHypervisor"))
UPTIME = closed(hypervisor=closed(**_SHORT, uptime=TEXT))
STATISTICS = closed(hypervisor_statistics={"type": "object", "minProperties": 12, "additionalProperties": COUNT})
MIGRATIONS = closed(migrations=many(ref("NovaMigration")))
SERVER_MIGRATIONS = closed(migrations=many(ref("NovaServerMigration")))
SERVER_MIGRATION = closed(migration=ref("NovaServerMigration"))
SHORT_SERVERS = closed({"servers_links": LINKS}, servers=many(ref("NovaShortServer")))
SERVERS = closed({"servers_links": LINKS}, servers=many(ref("NovaServer")))
SERVER = closed(server=ref("NovaServer"))
