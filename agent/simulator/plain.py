"""Constructors and destructors that are no more than that: devices, disks, networks, appliances, consoles.

Which they are stands in the table (`plain`); what keeps a row from being destroyed stands here.
"""

from typing import Any

from agent.simulator.arguments import row_of
from agent.simulator.database import Database
from agent.simulator.failure import Failure
from agent.simulator.generic import check_handle
from agent.simulator.table import NULL

# What a row belongs to, without which there is none; an empty drive has no disk.
OWNERS = {"VBD": ("VM",), "VIF": ("VM", "network"), "PBD": ("host", "SR"), "VDI": ("SR",)}


def create(db: Database, cls: str, record: dict[str, Any]) -> str:
    """Add a row from what a client may give; raises INTERNAL_ERROR and HANDLE_INVALID."""
    fields = row_of(cls, record)
    for name, value in fields.items():
        kind = db.table.classes[cls].fields[name].type
        if kind.endswith(" ref") and value != NULL:
            check_handle(db, kind[:-4], value)
    for name in OWNERS.get(cls, ()):
        check_handle(db, name, fields.get(name, NULL))
    return db.add(cls, fields)


def destroy(db: Database, cls: str, ref: str) -> None:
    """Remove a row; raises what says that it is in use."""
    if cls == "VDI":
        _destroy_disk(db, ref)
    elif cls in ("VBD", "VIF") and _runs(db, db.get(cls, ref, "VM")):
        raise _still_attached(db, cls, ref, "VM")
    elif cls == "PBD" and db.get(cls, ref, "currently_attached"):
        raise _still_attached(db, cls, ref, "host")
    elif cls == "network":
        for listing, code in (("VIFs", "NETWORK_CONTAINS_VIF"), ("PIFs", "NETWORK_CONTAINS_PIF")):
            if db.get(cls, ref, listing):
                raise Failure(code, *db.get(cls, ref, listing))
    elif cls == "VM_appliance":
        for vm in db.get(cls, ref, "VMs"):
            db.set("VM", vm, appliance=NULL)
    db.delete(cls, ref)


def _destroy_disk(db: Database, disk: str) -> None:
    devices = db.get("VDI", disk, "VBDs")
    if any(_runs(db, db.get("VBD", device, "VM")) for device in devices):
        raise Failure("VDI_IN_USE", disk, "destroy")
    for device in devices:
        db.delete("VBD", device)


def _runs(db: Database, vm: str) -> bool:
    return db.has("VM", vm) and db.get("VM", vm, "power_state") in ("Running", "Paused")


def _still_attached(db: Database, cls: str, ref: str, owner: str) -> Failure:
    uuids = db.get(cls, ref, "uuid"), db.get(owner, db.get(cls, ref, owner), "uuid")
    return Failure("OPERATION_NOT_ALLOWED", f"{cls} '{uuids[0]}' still attached to '{uuids[1]}'")
