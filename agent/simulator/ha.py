"""High availability as far as calls show it: the plan for failing hosts, what would break it, what is protected.

The flags come from the world file and from setters; nothing is fenced or restarted here.
"""

from itertools import combinations
from typing import TYPE_CHECKING

from agent.simulator.arguments import release
from agent.simulator.database import Database
from agent.simulator.derived import host_is_live
from agent.simulator.failure import Failure
from agent.simulator.memory import free_memory, vm_need
from agent.simulator.table import NULL

if TYPE_CHECKING:
    from agent.simulator.call import Call

PROTECTED = "restart"  # the one value of ha_restart_priority that promises a restart
NAMED_SINCE = (26, 17)  # before that an unprotected VM was said to find too little memory


def is_on(db: Database) -> bool:
    """Tell whether the pool has HA switched on."""
    return any(db.get("pool", pool, "ha_enabled") for pool in db.refs("pool"))


def plan_exists(db: Database, failures: int, *, without: str = NULL, moved: tuple[str, str] = ("", NULL)) -> bool:
    """Tell whether all protected VMs find memory elsewhere, whichever hosts fail, `failures` at once.

    `without` is a host that takes no VMs; `moved` is a VM and the host that is to have it.
    Cost: combinations of hosts times VMs.
    """
    hosts = [host for host in db.refs("host") if host_is_live(db, host)]
    takes = [host for host in hosts if db.get("host", host, "enabled") and host != without]
    free = {host: free_memory(db, host) for host in hosts}
    home = {vm: str(db.get("VM", vm, "resident_on")) for vm in db.refs("VM")
            if db.get("VM", vm, "ha_restart_priority") == PROTECTED}
    vm, target = moved
    if vm:
        need, source = vm_need(db, vm), str(db.get("VM", vm, "resident_on"))
        if source in free:
            free[source] += need
        free[target] = free.get(target, 0) - need
        if vm in home:
            home[vm] = target
    return all(_packed(db, {host: free[host] for host in takes if host not in failed},
                       [one for one, at in home.items() if at in failed])
               for failed in combinations(hosts, min(failures, len(hosts))))


def _packed(db: Database, free: dict[str, int], guests: list[str]) -> bool:
    for vm in sorted(guests, key=lambda one: -vm_need(db, one)):
        best = max(free, key=lambda host: free[host], default="")
        if not best or free[best] < vm_need(db, vm):
            return False
        free[best] -= vm_need(db, vm)
    return True


def assert_keeps_plan(db: Database, *, without: str = NULL, moved: tuple[str, str] = ("", NULL)) -> None:
    """Raise HA_OPERATION_WOULD_BREAK_FAILOVER_PLAN when there is a plan now and would be none any more."""
    for pool in db.refs("pool"):
        failures = int(db.get("pool", pool, "ha_host_failures_to_tolerate"))
        if not db.get("pool", pool, "ha_enabled") or db.get("pool", pool, "ha_allow_overcommit"):
            return
        if plan_exists(db, failures) and not plan_exists(db, failures, without=without, moved=moved):
            raise Failure("HA_OPERATION_WOULD_BREAK_FAILOVER_PLAN")


def assert_protected(db: Database, vm: str, version: str) -> None:
    """Raise why an evacuation leaves out this VM: with HA on, only protected ones are moved."""
    if is_on(db) and db.get("VM", vm, "ha_restart_priority") != PROTECTED:
        named = release(version) >= NAMED_SINCE
        raise Failure("HOST_EVACUATE_VM_NOT_HA_PROTECTED" if named else "HOST_NOT_ENOUGH_FREE_MEMORY", vm)


def set_failures_to_tolerate(call: "Call", pool: str, value: int) -> None:
    """Say how many hosts may fail; more than there is a plan for is refused while HA is on."""
    db = call.db
    if value < 0:
        raise Failure("INVALID_VALUE", "ha_host_failures_to_tolerate", str(value))
    strict = db.get("pool", pool, "ha_enabled") and not db.get("pool", pool, "ha_allow_overcommit")
    if strict and value > db.get("pool", pool, "ha_host_failures_to_tolerate") and not plan_exists(db, value):
        raise Failure("HA_OPERATION_WOULD_BREAK_FAILOVER_PLAN")
    db.set("pool", pool, ha_host_failures_to_tolerate=value)


def assert_agile(call: "Call", vm: str) -> None:
    """Raise the first thing that ties a VM to some hosts: a disk, a network, a device."""
    db = call.db
    hosts = set(db.refs("host"))
    for vbd in db.get("VM", vm, "VBDs"):
        disk = db.get("VBD", vbd, "VDI")
        if not db.has("VDI", disk):
            continue
        repository = db.get("VDI", disk, "SR")
        plugged = {db.get("PBD", pbd, "host") for pbd in db.get("SR", repository, "PBDs")
                   if db.get("PBD", pbd, "currently_attached")}
        if not db.get("SR", repository, "shared") or plugged != hosts:
            raise Failure("HA_CONSTRAINT_VIOLATION_SR_NOT_SHARED", repository)
    for vif in db.get("VM", vm, "VIFs"):
        network = db.get("VIF", vif, "network")
        if {db.get("PIF", pif, "host") for pif in db.get("network", network, "PIFs")} not in (set(), hosts):
            raise Failure("HA_CONSTRAINT_VIOLATION_NETWORK_NOT_SHARED", network)
    for device, code in (("vgpu", "VM_HAS_VGPU"), ("vusb", "VM_HAS_VUSBS"), ("sriov", "VM_HAS_SRIOV_VIF")):
        if device in (db.get("VM", vm, "_blockers") or ()):
            raise Failure(code, vm)


CALLS = {"pool.set_ha_host_failures_to_tolerate": set_failures_to_tolerate, "VM.assert_agile": assert_agile}
