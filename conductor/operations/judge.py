"""What an agent's readings amount to: the one place where a report becomes an event.

Pure: an order's kind and arguments and the readings in, a Verdict out.  A task's success or
failure as xapi tells it decides nothing here; only what was read from the objects does.
"""

from dataclasses import dataclass
from typing import Any

from common.messages import Report

#: codes of a refusal that another attempt with the same destination won't change
PERMANENT = frozenset({
    "VM_HAS_PCI_ATTACHED", "VM_HAS_VGPU", "VM_HAS_VUSBS", "VM_HAS_SRIOV_VIF", "VM_LACKS_FEATURE", "VM_IS_IMMOBILE",
    "VM_NON_SUSPENDABLE", "OPERATION_BLOCKED", "VM_REQUIRES_SR", "VM_REQUIRES_NETWORK", "HOST_DISABLED",
    "VM_INCOMPATIBLE_WITH_THIS_HOST", "HOST_NOT_ENOUGH_FREE_MEMORY", "HOST_NOT_LIVE", "NO_HOSTS_AVAILABLE",
    "VM_HOST_INCOMPATIBLE_VIRTUAL_HARDWARE_PLATFORM_VERSION", "VM_HVM_REQUIRED", "HOST_NOT_ENOUGH_PCPUS",
    "SESSION_AUTHENTICATION_FAILED", "RBAC_PERMISSION_DENIED", "HA_OPERATION_WOULD_BREAK_FAILOVER_PLAN",
    "HANDLE_INVALID", "UUID_INVALID", "INTERFACE_HAS_NO_IP", "HOST_CANNOT_ATTACH_NETWORK", "not_implemented",
})

#: what an agent waits for by itself, until the order's time is up: kind of task, and what xapi answers so long
WAITED_FOR = frozenset({("host_destroy", "HOST_IS_LIVE")})


@dataclass(frozen=True)
class Verdict:
    """The event for the task's table (None: nothing new), and what goes into its row and the timeline."""

    event: str | None
    error: dict[str, Any] | None = None
    detail: dict[str, Any] | None = None


_NOTHING = Verdict(None)


def judge(kind: str, args: dict[str, Any], report: Report) -> Verdict:
    """Return what ``report`` amounts to for a claimed task of that kind."""
    readings, error = report.readings, report.error
    if kind == "vm_migrate":
        return _move(args, report)
    if _reached(kind, args, readings):
        return Verdict("effect")
    if not report.settled:
        return _NOTHING
    if kind == "pool_join" and readings.get("on_master") and readings.get("joiner") != "standalone":
        # Past return: it is in the pool's database and does not stand alone any more, so it is awaited.
        return Verdict("no_effect", error, {"past_return": True})
    if kind == "pool_join" and readings.get("on_master") is None and readings.get("task") is not None:
        # Begun, and the master could not be read: nobody knows; it has to be looked at again.
        return Verdict("silence", error)
    if kind == "pool_join":
        return Verdict("refused", error or _no_effect(kind))
    if is_halfway(kind, readings):
        # Its record in the old pool is dead: another ejection would come to nothing.
        return Verdict("halfway", error or _no_effect(kind))
    if error is not None and (_is_permanent(error) or kind == "sync_database"
                              or (kind, error.get("code")) in WAITED_FOR):
        # A database that can't be written now is written by xapi itself later: nobody should wait for that.
        return Verdict("refused", error)
    return Verdict("no_effect", error)


def is_halfway(kind: str, readings: dict[str, Any]) -> bool:
    """Return whether an ejection left a host that stands alone and that its old pool still lists, both read."""
    return kind == "pool_eject" and bool(readings.get("on_master") and readings.get("standalone"))


def _reached(kind: str, args: dict[str, Any], readings: dict[str, Any]) -> bool:
    """Return whether the readings show the order's goal."""
    match kind:
        case "host_disable":
            return readings.get("enabled") is False and readings.get("mark") == args.get("mark")
        case "host_enable":
            return readings.get("enabled") is True
        case "pool_init":
            wanted = args.get("name_label")
            return bool(readings.get("pool")) and (wanted is None or readings.get("name_label") == wanted)
        case "pool_join":
            return bool(readings.get("on_master") and readings.get("live") and readings.get("enabled"))
        case "pool_eject" | "host_destroy":
            return readings.get("on_master") is False
        case "vm_start":
            if "vm" in readings and readings["vm"] is None:
                return True     # its owner has destroyed it: there is nothing left to start
            vm = readings.get("vm") or {}
            return vm.get("power_state") == "Running" and not vm.get("operations")
        case "observe":
            return is_drained(readings, int(args.get("times", 2)), float(args.get("apart_s", 2.0)))
        case "sync_database":
            return readings.get("synced") is True
        case "enable_tls":
            return readings.get("enabled") is True
        case _:
            return False


def is_drained(readings: dict[str, Any], times: int, apart_s: float) -> bool:
    """Return whether the host was read as drained ``times`` times over at least ``apart_s`` seconds."""
    read = readings.get("times") or []
    empty = all(one.get("enabled") is False and not one.get("resident") and not one.get("incoming")
                and not one.get("creating") for one in read)
    # The agent's clock may tick a little coarser than asked.
    return empty and len(read) >= times and read[-1]["at_s"] - read[0]["at_s"] >= 0.9 * apart_s * (times - 1)


def _move(args: dict[str, Any], report: Report) -> Verdict:
    """A move is done when the VM is at its destination and no operation is left on it."""
    readings, error = report.readings, report.error
    if "vm" not in readings:
        return Verdict("no_effect", error) if report.settled and error and error.get("effect") == "none" else _NOTHING
    vm = readings["vm"]
    if vm is None:
        return Verdict("effect", detail={"vm": "gone"})
    busy = bool(vm.get("operations"))
    at = vm.get("resident_on")
    if at == args["destination"] and not busy:
        return Verdict("effect")
    if not report.settled:
        return _NOTHING
    if busy:
        # The agent gave up while something still works on the VM: nobody may act on it before that has ended.
        return Verdict("silence", error)
    if vm.get("power_state") == "Halted":
        return _halted(readings, error)
    if at is not None and at not in (args["source"], args["destination"]):
        return Verdict("effect", detail={"vm": "elsewhere", "resident_on": at})
    if _restarted(readings) and readings.get("acted"):
        return Verdict("floating", error, {"started_at": readings.get("started_at")})
    if error is not None and _is_permanent(error):
        return Verdict("refused", error)
    return Verdict("no_effect", error)


def _halted(readings: dict[str, Any], error: dict[str, Any] | None) -> Verdict:
    """Tell a VM that was shut down by its owner from one that lost power in our move."""
    if not readings.get("acted"):
        return Verdict("effect", detail={"vm": "halted"})
    if _restarted(readings) or (readings.get("suspended") and readings.get("task") == "failure"):
        return Verdict("refused", {"code": "vm_lost_power", "message": "The VM lost power in its move",
                                   "details": error or {}})
    return Verdict("effect", detail={"vm": "halted"})


def _restarted(readings: dict[str, Any]) -> bool:
    """Return whether a toolstack that the move depends on restarted since the attempt began."""
    before, after = readings.get("started_at_before") or {}, readings.get("started_at") or {}
    return any(host in after and after[host] != value for host, value in before.items())


def _is_permanent(error: dict[str, Any]) -> bool:
    return error.get("code") in PERMANENT


def _no_effect(kind: str) -> dict[str, Any]:
    return {"code": "no_effect", "message": f"{kind} ended without effect", "details": {}}
