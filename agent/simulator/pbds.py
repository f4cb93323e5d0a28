"""Calls of the class PBD: a host's way to a repository, which what runs there keeps in use."""

from typing import TYPE_CHECKING

from agent.simulator.failure import Failure

if TYPE_CHECKING:
    from agent.simulator.call import Call


def plug(call: "Call", pbd: str) -> None:
    """Attach a host to its repository, if it can reach it."""
    host, repository = call.db.get("PBD", pbd, "host"), call.db.get("PBD", pbd, "SR")
    name = call.world.node_of_host(call.db, host).name
    if name in (call.db.get("SR", repository, "_unreachable") or ()):
        raise Failure("SR_BACKEND_FAILURE_73", "", f"the storage does not answer {name}", "")
    call.db.set("PBD", pbd, currently_attached=True)


def unplug(call: "Call", pbd: str) -> None:
    """Detach a host from a repository that no VM running there uses."""
    db = call.db
    host, repository = db.get("PBD", pbd, "host"), db.get("PBD", pbd, "SR")
    for vm in db.get("host", host, "resident_VMs"):
        for vbd in db.get("VM", vm, "VBDs"):
            disk = db.get("VBD", vbd, "VDI")
            if db.has("VDI", disk) and db.get("VDI", disk, "SR") == repository:
                raise Failure("VDI_IN_USE", disk, "detach")
    db.set("PBD", pbd, currently_attached=False)


CALLS = {"PBD.plug": plug, "PBD.unplug": unplug}
