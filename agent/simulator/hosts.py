"""Calls of the classes host and PBD, and what a restart of a toolstack or a machine brings about."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from agent.simulator import build, daemons, exclusion, ha, migrations, strays, timing, workers
from agent.simulator.call import LATER
from agent.simulator.derived import host_is_live
from agent.simulator.failure import Failure
from agent.simulator.memory import HOST_OVERHEAD, free_memory
from agent.simulator.node import Node
from agent.simulator.table import NULL, Moment

if TYPE_CHECKING:
    from agent.simulator.call import Call
    from agent.simulator.world import World


def _assert_reachable(call: "Call", host: str) -> Node:
    if not host_is_live(call.db, host):
        raise Failure("HOST_OFFLINE", host)
    node = call.world.node_of_host(call.db, host)
    if not node.reachable:
        raise Failure("CANNOT_CONTACT_HOST", host)
    return node


def disable(call: "Call", host: str, auto_enable: bool) -> None:
    """Let no new VM arrive; the running ones stay."""
    ha.assert_keeps_plan(call.db, without=host)
    node = _assert_reachable(call, host)
    node.auto_enable = auto_enable
    call.db.set("host", host, enabled=False)


def enable(call: "Call", host: str) -> None:
    """Let VMs arrive again; HOST_STILL_BOOTING until the start is complete."""
    node = _assert_reachable(call, host)
    if node.facts.get("starting"):
        raise Failure("HOST_STILL_BOOTING")
    if call.db.get("host", host, "pending_guidances"):
        raise Failure("HOST_PENDING_MANDATORY_GUIDANCE_NOT_EMPTY", host)
    if node.facts.get("until_reboot"):
        raise Failure("HOST_DISABLED_UNTIL_REBOOT", host)
    node.auto_enable = True
    call.db.set("host", host, enabled=True)


def restart_agent(call: "Call", host: str) -> None:
    """End xapi a moment later; the VMs stay, sessions and tasks of a master go."""
    node = _assert_reachable(call, host)
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
    node = _assert_reachable(call, host)
    if db.get("host", host, "enabled"):
        raise Failure("HOST_NOT_DISABLED")
    if exclusion.waits(call, host):
        return LATER
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


def get_server_certificate(call: "Call", host: str) -> str:
    """Return the certificate that the machine presents, as PEM; without TLS there is none."""
    made = call.world.node_of_host(call.db, host).facts.get("certificate")
    if not made:
        raise Failure("NOT_IMPLEMENTED", "host.get_server_certificate without --tls")
    return str(made["pem"])


def call_plugin(_call: "Call", _host: str, plugin: str, _function: str, _args: dict[str, str]) -> str:
    """Run a plugin of the machine; there are none."""
    raise Failure("XENAPI_MISSING_PLUGIN", plugin)


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


# ---- steps
def gone(world: "World", address: str) -> None:
    """xapi of a machine ends: connections die; of a master also sessions and tasks, and what they marked."""
    node = world.nodes[address]
    if node.pool not in world.pools:
        return
    was_answering = node.power in ("up", "booting")
    node.go_down()
    if not was_answering:
        return
    daemons.toolstack_gone(world, node)
    if node.is_master:
        forget_calls(world, node.pool)
    else:
        migrations.node_lost(world, node)
        host = world.host_of(node)
        for job in [one for one in world.jobs.values() if one["node"] == address]:
            world.fail_task(node.pool, job["task"], ["CANNOT_CONTACT_HOST", host])


def forget_calls(world: "World", pool: int) -> None:
    """Drop sessions, tasks, operations and reservations, as the end of a master does; the work goes on."""
    db = world.pools[pool]
    for cls in ("session", "task"):
        for ref in db.refs(cls):
            db.delete(cls, ref)
    for cls in ("VM", "host", "pool"):
        for ref in db.refs(cls):
            db.set(cls, ref, current_operations={})
    for vm in list(db.reserved):
        db.set("VM", vm, scheduled_to_be_resident_on="OpaqueRef:NULL")
    world.jobs = {name: job for name, job in world.jobs.items() if (job["kind"], job["pool"]) != ("evacuate", pool)}
    addresses = {node.address for node in world.members(pool)}
    world.held = [held for held in world.held if held["node"] not in addresses]
    db.recreate_stamps("host")
    db.flush()


def back(world: "World", address: str, started_after: float, enabled_after: float) -> None:
    """xapi answers again; `enabled` follows when its start is complete."""
    node = world.nodes[address]
    if node.pool not in world.pools or node.power == "off":
        return  # it was ejected meanwhile and comes back in its own way, or lost its power
    node.facts["starting"] = True
    master, alone = world.nodes.get(node.master), why_alone(world, node)
    if alone:  # emergency mode: it tries again and again
        node.power, node.facts["emergency"] = "booting", alone
        delay = timing.HELLO_RETRY if master and master.power == "down" else timing.EMERGENCY_RETRY
        world.later(delay, "host.back", address=address, started_after=started_after,
                    enabled_after=enabled_after)
        return
    node.facts.pop("emergency", None)
    node.power = "up"
    if world.host_of(node) != NULL:  # its start is heard of, its end was not (seen)
        world.pools[node.pool].set("host", world.host_of(node), enabled=False)
    world.later(started_after, "host.started", address=address)
    world.later(enabled_after, "host.enabled", address=address)
    if master and enabled_after > timing.BOOTING_BEFORE_ENABLED:
        world.later(enabled_after - timing.BOOTING_BEFORE_ENABLED, "host.booting", address=address)


def why_alone(world: "World", node: Node) -> list[str]:
    """Return why a member cannot join its master now, [] if it can or is the master itself."""
    master = world.nodes.get(node.master)
    if not node.master:
        return []
    if master is None or not master.reachable or not master.is_master:
        return ["HOST_STILL_BOOTING"]
    known = master.pool == node.pool and world.pools[master.pool].by_uuid("host", node.uuid)
    return [] if known else ["HOST_UNKNOWN_TO_MASTER", node.uuid]


def missed(world: "World", node: Node) -> None:
    """Let the members of a master that has gone away notice it after a while."""
    if node.is_master:
        world.later(timing.MASTER_MISSED, "emergency.orphaned", address=node.address)


def booting(world: "World", address: str) -> None:
    """For a moment in its start a member says that it is still booting (seen)."""
    if world.nodes[address].power == "up":
        world.nodes[address].power = "booting"
        world.later(timing.BOOTING_LASTS, "host.steady", address=address)


def steady(world: "World", address: str) -> None:
    """The moment is over."""
    if world.nodes[address].power == "booting":
        world.nodes[address].power = "up"


def started(world: "World", address: str) -> None:
    """xapi has written its start into the pool's database."""
    node = world.nodes[address]
    if node.pool not in world.pools:
        return
    node.started_at = world.now
    db, host = world.pools[node.pool], world.host_of(node)
    if not db.has("host", host):
        return
    old = {key: value for key, value in db.get("host", host, "other_config").items()
           if key not in ("agent_start_time", "boot_time")}
    # A start forgets that the machine was about to go down, also when it went down in another way.
    kept = {task: operation for task, operation in db.get("host", host, "current_operations").items()
            if operation not in ("reboot", "shutdown")}
    db.set("host", host, other_config={**old, **build.start_times(node)}, current_operations=kept)
    db.set("host_metrics", db.get("host", host, "metrics"), live=True, memory_total=node.memory_bytes,
           last_updated=world.moment())
    db.touch(host)


def enabled(world: "World", address: str) -> None:
    """The start is complete: storage is there and, unless forbidden, the host enabled."""
    node = world.nodes[address]
    if node.pool not in world.pools:
        return
    node.facts.pop("starting", None)
    node.facts.pop("until_reboot", None)
    db, host = world.pools[node.pool], world.host_of(node)
    if db.has("host", host):
        for pbd in db.get("host", host, "PBDs"):
            if not db.get("SR", db.get("PBD", pbd, "SR"), "shared"):
                db.set("PBD", pbd, currently_attached=True)
        build.plug_shared_storage(world, node)
        if node.auto_enable:
            db.set("host", host, enabled=True)


def powered_down(world: "World", address: str, operation: str, again: bool) -> None:
    """The machine goes down with everything on it; after a reboot it comes back."""
    node = world.nodes[address]
    if node.power in ("down", "off") or node.pool not in world.pools:
        return  # something else was faster
    db, host = world.pools[node.pool], world.host_of(node)
    end_work(world, node)
    if db.has("host", host):
        for vm in db.get("host", host, "resident_VMs"):
            if not db.get("VM", vm, "is_control_domain"):
                build.stop_domain(db, vm)
        for pbd in db.get("host", host, "PBDs"):
            db.set("PBD", pbd, currently_attached=False)
        db.set("host_metrics", db.get("host", host, "metrics"), live=False)
        db.touch(host)
    gone(world, address)
    missed(world, node)
    if again:
        world.later(node.reboot_s, "host.booted", address=address, operation=operation)
    else:
        node.power = "off"


def end_work(world: "World", node: Node) -> None:
    """Fail what a machine's hypervisor was doing; the domains that nobody sees end too."""
    strays.machine_stopped(world, node.address)
    host = world.host_of(node)
    for job in [one for one in world.jobs.values() if one["kind"] == "power" and one["node"] == node.address]:
        workers.end(world, job)
        world.fail_task(node.pool, job["task"], ["CANNOT_CONTACT_HOST", host])
    migrations.node_lost(world, node)


def lost(world: "World", address: str) -> None:
    """The machine loses power: nobody knows, its records stay as they are for ten minutes."""
    node = world.nodes[address]
    end_work(world, node)
    if node.is_master:
        forget_calls(world, node.pool)
    node.go_down()
    node.power = "off"
    missed(world, node)
    world.later(timing.DECLARED_DEAD, "host.dead", address=address, incarnation=node.incarnation)


def dead(world: "World", address: str, incarnation: int) -> None:
    """The master has not heard from the machine for too long."""
    node = world.nodes[address]
    db, host = world.pools.get(node.pool), world.host_of(node)
    away = node.power == "off" or node.cut
    if node.incarnation == incarnation and away and not node.is_master and db and db.has("host", host):
        db.set("host_metrics", db.get("host", host, "metrics"), live=False)
        db.touch(host)


def heard(world: "World", address: str) -> None:
    """The master has heard from a machine again."""
    node = world.nodes[address]
    db, host = world.pools.get(node.pool), world.host_of(node)
    if node.reachable and db and db.has("host", host):
        db.set("host_metrics", db.get("host", host, "metrics"), live=True, last_updated=world.moment())
        db.touch(host)


def booted(world: "World", address: str, operation: str) -> None:
    """The machine has started and its xapi answers."""
    node = world.nodes[address]
    if node.power == "up" or (node.power == "off" and not node.facts.get("powering")) or node.pool not in world.pools:
        return  # its power has gone since, or it came up in another way
    node.facts.pop("powering", None)
    node.booted_at, node.power = world.now, "down"
    db, host = world.pools[node.pool], world.host_of(node)
    workers.set_operation(world, node.pool, "host", host, operation, "")
    for vm in db.get("host", host, "resident_VMs"):  # what ran here when power was lost runs no more
        if not db.get("VM", vm, "is_control_domain"):
            build.stop_domain(db, vm)
    back(world, address, timing.REBOOT_ENABLED - 0.5, timing.REBOOT_ENABLED)


CALLS = {
    "host.disable": disable, "host.enable": enable, "host.restart_agent": restart_agent, "host.reboot": reboot,
    "host.shutdown": shutdown, "host.destroy": destroy, "host.compute_free_memory": compute_free_memory,
    "host.compute_memory_overhead": compute_memory_overhead, "host.get_servertime": get_servertime,
    "host.get_server_localtime": get_server_localtime, "host.get_uncooperative_resident_VMs": get_uncooperative,
    "host.get_server_certificate": get_server_certificate, "host.call_plugin": call_plugin,
    "PBD.plug": plug, "PBD.unplug": unplug,
}
STEPS = {"host.gone": gone, "host.back": back, "host.started": started, "host.enabled": enabled, "host.lost": lost,
         "host.dead": dead, "host.heard": heard, "host.booting": booting, "host.steady": steady,
         "host.powered_down": powered_down, "host.booted": booted}
