"""What records show but nobody stores: which operations are allowed now.

Sets and their order as a real xapi 24.16 was seen to answer.
"""

from typing import Any

from agent.simulator.database import Database, Row
from agent.simulator.table import NULL

VM_RUNNING = ["metadata_export", "changing_VCPUs_live", "changing_dynamic_range", "migrate_send", "pool_migrate",
              "suspend", "hard_reboot", "hard_shutdown", "clean_reboot", "clean_shutdown", "pause", "checkpoint",
              "snapshot"]
VM_HALTED = ["create_vtpm", "destroy", "metadata_export", "export", "make_into_template", "changing_NVRAM",
             "changing_shadow_memory", "changing_static_range", "changing_dynamic_range", "migrate_send", "start_on",
             "start", "copy", "clone", "snapshot"]
VM_SUSPENDED = ["metadata_export", "export", "resume_on", "resume", "hard_shutdown", "copy", "clone", "snapshot"]
VM_PAUSED = ["metadata_export", "unpause", "hard_reboot", "hard_shutdown", "snapshot"]
VM_BUSY = ["hard_reboot", "hard_shutdown"]
VM_CONTROL = ["metadata_export", "changing_static_range", "changing_dynamic_range"]
HOST_CREATING = ["vm_migrate", "provision", "vm_resume"]
HOST_REMOVING = ("evacuate", "reboot", "shutdown")
POOL_OPERATIONS = ["cluster_create", "sync_updates", "tls_verification_enable", "designate_new_master",
                   "exchange_ca_certificates_on_join", "configure_repositories", "apply_updates", "get_updates",
                   "ha_enable", "cert_refresh", "eject", "copy_primary_host_certs", "exchange_certificates_on_join"]
UPGRADING = "rolling_upgrade_in_progress"
# blockers from the world file that make xapi refuse a live migration
IMMOBILE = frozenset({"pci", "vgpu", "vusb", "sriov", "no_tools", "nomigrate", "non_suspendable"})


def vm_operations(db: Database, ref: str) -> list[str]:
    """Return the operations that a VM allows now."""
    running = db.get("VM", ref, "current_operations")
    state = db.get("VM", ref, "power_state")
    if db.get("VM", ref, "is_control_domain"):
        return list(VM_CONTROL)
    if running:
        return list(VM_BUSY) if state in ("Running", "Paused") else []
    allowed = {"Running": VM_RUNNING, "Halted": VM_HALTED, "Suspended": VM_SUSPENDED,
               "Paused": VM_PAUSED}.get(state, [])
    blocked = set(db.get("VM", ref, "blocked_operations"))
    if IMMOBILE & set(db.get("VM", ref, "_blockers") or ()):
        blocked |= {"pool_migrate", "suspend", "checkpoint"}
    return [operation for operation in allowed if operation not in blocked]


def host_operations(db: Database, ref: str) -> list[str]:
    """Return the operations that a host allows now."""
    if not host_is_live(db, ref):
        return []
    current = set(db.get("host", ref, "current_operations").values())
    allowed = [] if current & {"reboot", "shutdown"} else list(HOST_CREATING)
    disabled = not db.get("host", ref, "enabled")
    changing = bool(current & {"reboot", "shutdown", "apply_updates"}) or (disabled and degraded_storage(db) != NULL)
    if disabled and not changing:
        allowed.append("apply_updates")
    if "apply_updates" not in current:
        allowed.append("enable")
    creating = bool(current & set(HOST_CREATING))
    if disabled and not creating and not changing:
        allowed.append("reboot")
    if not creating and not current & set(HOST_REMOVING):
        allowed.append("evacuate")
    allowed.append("vm_start")
    if "reboot" in allowed:
        allowed.append("shutdown")
    return allowed


def host_is_live(db: Database, host: str) -> bool:
    """Return host_metrics.live of a host."""
    metrics = db.get("host", host, "metrics")
    return db.has("host_metrics", metrics) and bool(db.get("host_metrics", metrics, "live"))


def degraded_storage(db: Database) -> str:
    """Return the first plugged repository of a cluster that lacks a member, NULL if all is well."""
    clustered = [ref for ref in db.refs("SR") if db.get("SR", ref, "clustered")]
    if not clustered or all(host_is_live(db, host) for host in db.refs("host")):
        return NULL
    return next((ref for ref in clustered for pbd in db.get("SR", ref, "PBDs")
                 if db.get("PBD", pbd, "currently_attached")), NULL)


def is_upgrading(db: Database) -> bool:
    """Tell whether the pool's hosts are being upgraded one after the other, as its own key for that says."""
    return any(UPGRADING in db.get("pool", pool, "other_config") for pool in db.refs("pool"))


def full_record(db: Database, cls: str, ref: str) -> Row:
    """Return the record as a client sees it."""
    record = db.record(cls, ref)
    compute = COMPUTED.get(cls)
    if compute:
        record["allowed_operations"] = compute(db, ref)
    return record


def field_value(db: Database, cls: str, ref: str, field: str) -> Any:
    """Return one field as a client sees it."""
    if field == "allowed_operations" and cls in COMPUTED:
        return COMPUTED[cls](db, ref)
    return db.get(cls, ref, field)


def pool_operations(db: Database, ref: str) -> list[str]:
    """Return the operations that a pool allows now: none while one runs."""
    return [] if db.get("pool", ref, "current_operations") else list(POOL_OPERATIONS)


COMPUTED = {"VM": vm_operations, "host": host_operations, "pool": pool_operations}
