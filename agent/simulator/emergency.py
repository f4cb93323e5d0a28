"""Members without a master: the calls that a toolstack answers by itself, and the ways out.

A member whose master stays away starts again and answers everything else with the reason why it is alone. One
that is made the master goes on from its copy of the database, in a pool of its own, until others are pointed to
it; the old master, should it come back, still thinks that it is one. The copy is fresh, unless
a fault lets it lag.
"""

from typing import TYPE_CHECKING

from agent.simulator import losses, timing, toolstacks
from agent.simulator.derived import host_is_live
from agent.simulator.failure import Failure
from agent.simulator.ha import is_on
from agent.simulator.node import Node

if TYPE_CHECKING:
    from agent.simulator.call import Call
    from agent.simulator.world import World


def local_login(call: "Call", uname: str, pwd: str) -> str:
    """Answer with a session of this toolstack alone, for emergency calls only."""
    if uname != "root" or pwd != call.node.password:
        raise Failure("SESSION_AUTHENTICATION_FAILED", uname, "Authentication failure")
    session = call.world.new_ref()
    call.node.local_sessions.append(session)
    return session


def local_logout(call: "Call") -> None:
    """End a local session."""
    if call.session not in call.node.local_sessions:
        raise Failure("SESSION_INVALID", call.session)
    call.node.local_sessions.remove(call.session)


def is_slave(call: "Call", _host: str) -> bool:
    """Tell whether this toolstack is a member's."""
    return not call.node.is_master


def is_in_emergency_mode(call: "Call") -> bool:
    """Tell whether this toolstack is without its master."""
    return bool(call.node.facts.get("emergency"))


def transition_to_master(call: "Call") -> None:
    """Make this member the master once its toolstack has started again; a master stays what it is."""
    _assert_unarmed(call.world, call.node)
    if not call.node.is_master:
        call.world.later(timing.FUSE, "emergency.promoted", address=call.node.address)


def reset_master(call: "Call", master_address: str) -> None:
    """Point this toolstack to another master, whoever answers there."""
    _assert_unarmed(call.world, call.node)
    _point(call.world, call.node, master_address)


def recover_slaves(call: "Call") -> list[str]:
    """Point all members that can be reached to this master; return their records."""
    recovered = []
    for host in call.db.refs("host"):
        node = call.world.node_of_host(call.db, host)
        answers = node.power in ("up", "booting") and not node.cut
        if node is call.node or not answers or _armed(call.world, node):
            continue
        _point(call.world, node, call.node.address)
        recovered.append(host)
    return recovered


def _armed(world: "World", node: Node) -> bool:
    return node.pool in world.pools and is_on(world.pools[node.pool])


def _assert_unarmed(world: "World", node: Node) -> None:
    if _armed(world, node):
        raise Failure("HA_IS_ENABLED")


def _point(world: "World", node: Node, master: str) -> None:
    if node.master != master and node.address != master:
        world.later(timing.FUSE, "emergency.pointed", address=node.address, master=master)


# ---- steps
def promoted(world: "World", address: str) -> None:
    """The member ends its toolstack and starts it again as the master of what it knows."""
    node = world.nodes[address]
    if node.is_master or node.power not in ("up", "booting"):
        return
    old, number = node.pool, world.new_pool()
    world.pools[number].load(world.pools[old].save())
    _change_pool(world, node, number, "")
    if node.facts.pop("copy_lags", False) and world.pools[number].is_written(world.host_of(node)):
        losses.lose(world, number, node)
    for pool in world.pools[number].refs("pool"):
        world.pools[number].set("pool", pool, master=world.host_of(node))
    toolstacks.gone(world, address)
    _restart(world, node, timing.RESTART_MASTER)
    for place in (old, number):
        for host in world.pools[place].refs("host"):
            world.later(timing.DECLARED_DEAD, "emergency.silent", pool=place, host=host)


def pointed(world: "World", address: str, master: str) -> None:
    """The toolstack ends and starts again as a member of another pool, if that knows it."""
    node, target = world.nodes[address], world.nodes.get(master)
    if node.power not in ("up", "booting"):
        return
    world.later(timing.DECLARED_DEAD, "emergency.silent", pool=node.pool, host=world.host_of(node))
    toolstacks.gone(world, address)
    _change_pool(world, node, node.pool, master)
    if target and target.is_master and target.pool in world.pools \
            and world.pools[target.pool].by_uuid("host", node.uuid):
        _change_pool(world, node, target.pool, master)
        node.password = target.password
    _restart(world, node, timing.RESTART_MEMBER)


def _change_pool(world: "World", node: Node, number: int, master: str) -> None:
    for job in world.jobs.values():
        if job["node"] == node.address and job["pool"] == node.pool:
            job["pool"] = number  # the daemon finishes it, and tells the toolstack that is there then
    node.pool, node.master = number, master


def _restart(world: "World", node: Node, times: tuple[float, float, float, float]) -> None:
    world.forget_steps("host.back", lambda args: args["address"] == node.address)
    gone, back, started, enabled = times
    world.later(back - gone, "host.back", address=node.address, started_after=started - back,
                enabled_after=enabled - back)


def orphaned(world: "World", address: str) -> None:
    """The members of a master that has been away for long start again, each alone."""
    master = world.nodes[address]
    for node in world.nodes.values():
        if node.master == address and node.power == "up" and not node.cut and not master.reachable:
            toolstacks.gone(world, node.address)
            _restart(world, node, timing.RESTART_MEMBER)


def silent(world: "World", pool: int, host: str) -> None:
    """A master has not heard for too long from a host that is not its member, or is away."""
    db = world.pools.get(pool)
    if db is None or not db.has("host", host) or not host_is_live(db, host):
        return
    node = world.node_of_host(db, host)
    if node.pool != pool or not node.reachable:
        db.set("host_metrics", db.get("host", host, "metrics"), live=False)
        db.touch(host)


CALLS = {
    "session.slave_local_login_with_password": local_login, "session.local_logout": local_logout,
    "pool.is_slave": is_slave, "host.is_in_emergency_mode": is_in_emergency_mode,
    "pool.emergency_transition_to_master": transition_to_master, "pool.emergency_reset_master": reset_master,
    "pool.recover_slaves": recover_slaves,
}
ANSWERED_ALONE = frozenset(CALLS) - {"pool.recover_slaves"}  # by members too, and in emergency mode
STEPS = {"emergency.promoted": promoted, "emergency.pointed": pointed, "emergency.silent": silent,
         "emergency.orphaned": orphaned}
