"""A machine's power and heartbeat: how it goes down and comes up, and what the others notice of that."""

from typing import TYPE_CHECKING

from agent.simulator import build, migrations, strays, timing, toolstacks, workers
from agent.simulator.derived import host_is_live
from agent.simulator.node import Node

if TYPE_CHECKING:
    from agent.simulator.world import World


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
    toolstacks.gone(world, address)
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
        toolstacks.forget_calls(world, node.pool)
    node.go_down()
    node.power = "off"
    missed(world, node)
    world.later(timing.DECLARED_DEAD, "host.dead", address=address, incarnation=node.incarnation)


def missed(world: "World", node: Node) -> None:
    """Let the members of a master that has gone away notice it after a while."""
    if node.is_master:
        world.later(timing.MASTER_MISSED, "emergency.orphaned", address=node.address)


def dead(world: "World", address: str, incarnation: int) -> None:
    """The master has not heard from the machine for too long; one that is away itself counts anew when it is back."""
    node = world.nodes[address]
    db, host = world.pools.get(node.pool), world.host_of(node)
    silent = not node.reachable or bool(node.facts.get("emergency"))
    if node.incarnation != incarnation or not silent or node.is_master or not db or not db.has("host", host):
        return
    master = world.nodes.get(node.master)
    if master is not None and not master.reachable:
        world.later(timing.DECLARED_DEAD, "host.dead", address=address, incarnation=incarnation)
    elif host_is_live(db, host):
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
    for fact in ("powering", "stopped"):  # what runs at boot is started, also what somebody had stopped
        node.facts.pop(fact, None)
    node.booted_at, node.power = world.now, "down"
    db, host = world.pools[node.pool], world.host_of(node)
    if node.is_master:
        db.flush()  # what it goes on with is on its disk
    workers.set_operation(world, node.pool, "host", host, operation, "")
    for vm in db.get("host", host, "resident_VMs"):  # what ran here when power was lost runs no more
        if not db.get("VM", vm, "is_control_domain"):
            build.stop_domain(db, vm)
    toolstacks.back(world, address, timing.REBOOT_ENABLED - 0.5, timing.REBOOT_ENABLED)


STEPS = {"host.lost": lost, "host.dead": dead, "host.heard": heard, "host.powered_down": powered_down,
         "host.booted": booted}
