"""Calls of the class host; what they set going on machines stands in toolstacks.py and machines.py."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from agent.simulator import build, exclusion, going_down, ha, timing, workers
from agent.simulator.call import LATER
from agent.simulator.derived import host_is_live
from agent.simulator.failure import Failure
from agent.simulator.memory import HOST_OVERHEAD, free_memory
from agent.simulator.reach import assert_reachable
from agent.simulator.table import Moment

if TYPE_CHECKING:
    from agent.simulator.call import Call
    from agent.simulator.world import World


def disable(call: "Call", host: str, auto_enable: bool) -> None:
    """Let no new VM arrive; the running ones stay."""
    ha.assert_keeps_plan(call.db, without=host)
    node = assert_reachable(call, host)
    node.auto_enable = auto_enable
    call.db.set("host", host, enabled=False)


def enable(call: "Call", host: str) -> object:
    """Let VMs arrive again; waits for updates, and is HOST_STILL_BOOTING until the start is complete."""
    if exclusion.waits(call, host):
        return LATER
    node = assert_reachable(call, host)
    if node.facts.get("starting"):
        raise Failure("HOST_STILL_BOOTING")
    if call.db.get("host", host, "pending_guidances"):
        raise Failure("HOST_PENDING_MANDATORY_GUIDANCE_NOT_EMPTY", host)
    if node.facts.get("until_reboot"):
        raise Failure("HOST_DISABLED_UNTIL_REBOOT", host)
    node.auto_enable = True
    call.db.set("host", host, enabled=True)
    return None


def restart_agent(call: "Call", host: str) -> None:
    """End xapi a moment later; the VMs stay, sessions and tasks of a master go."""
    node = assert_reachable(call, host)
    gone, back, started, enabled = timing.RESTART_MASTER if node.is_master else timing.RESTART_MEMBER
    call.world.later(gone, "host.gone", address=node.address)
    call.world.later(back, "host.back", address=node.address, started_after=started - back,
                     enabled_after=enabled - back)


def reboot(call: "Call", host: str) -> object:
    """Restart the machine; only a disabled one."""
    return _go_down(call, host, "reboot")


def shutdown(call: "Call", host: str) -> object:
    """Power the machine off; only a disabled one."""
    return _go_down(call, host, "shutdown")


def _go_down(call: "Call", host: str, kind: str) -> object:
    db = call.db
    node = assert_reachable(call, host)
    if db.get("host", host, "enabled"):
        raise Failure("HOST_NOT_DISABLED")
    if exclusion.waits(call, host):
        return LATER
    going_down.assert_may(db, host)
    task = call.task or call.world.new_ref()
    workers.set_operation(call.world, node.pool, "host", host, task, "shutdown")
    node.facts["until_reboot"] = True
    call.world.later(timing.REBOOT_TIMER, "host.leaving", address=node.address, operation=task,
                     again=kind == "reboot")
    return None


def destroy(call: "Call", host: str) -> None:
    """Remove the record of a dead host and what was only its own."""
    if host_is_live(call.db, host):
        raise Failure("HOST_IS_LIVE", host)
    if call.db.get("pool", call.db.refs("pool")[0], "master") == host:
        raise Failure("HOST_CANNOT_DESTROY_SELF", host)
    residents = [vm for vm in call.db.get("host", host, "resident_VMs")
                 if not call.db.get("VM", vm, "is_control_domain")]
    if residents:
        raise Failure("HOST_HAS_RESIDENT_VMS", host)
    forget(call.world, call.node.pool, host)


def forget(world: "World", pool: int, host: str) -> None:
    """Delete a host record with its control domain, devices and own storage."""
    db = world.pools[pool]
    for pbd in db.get("host", host, "PBDs"):
        repository = db.get("PBD", pbd, "SR")
        db.delete("PBD", pbd)
        if not db.get("SR", repository, "shared"):
            for disk in db.get("SR", repository, "VDIs"):
                db.delete("VDI", disk)
            db.delete("SR", repository)
    for cls, listing in (("PIF", "PIFs"), ("host_cpu", "host_CPUs"), ("Certificate", "certificates")):
        for child in db.get("host", host, listing):
            db.delete(cls, child)
    for vm in db.get("host", host, "resident_VMs"):
        db.delete("VM_metrics", db.get("VM", vm, "metrics"))
        db.delete("VM", vm)
    db.delete("host_metrics", db.get("host", host, "metrics"))
    db.delete("host", host)
    build.refresh_pool(db)


def compute_free_memory(call: "Call", host: str) -> int:
    """Return the bytes that new VMs may have."""
    return free_memory(call.db, host)


def compute_memory_overhead(call: "Call", _host: str) -> int:
    """Return what the hypervisor itself takes."""
    return HOST_OVERHEAD


def get_servertime(call: "Call", _host: str) -> Moment:
    """Return the time on the machine, UTC."""
    return call.world.moment()


def get_server_localtime(call: "Call", _host: str) -> Moment:
    """Return the time on the machine, without a zone."""
    return Moment(datetime.fromtimestamp(call.world.now, UTC).strftime("%Y%m%dT%H:%M:%S"))


def get_uncooperative(_call: "Call", _host: str) -> list[str]:
    """Return nothing: xapi's own answer since long."""
    return []


CALLS = {
    "host.disable": disable, "host.enable": enable, "host.restart_agent": restart_agent, "host.reboot": reboot,
    "host.shutdown": shutdown, "host.destroy": destroy, "host.compute_free_memory": compute_free_memory,
    "host.compute_memory_overhead": compute_memory_overhead, "host.get_servertime": get_servertime,
    "host.get_server_localtime": get_server_localtime, "host.get_uncooperative_resident_VMs": get_uncooperative,
}
