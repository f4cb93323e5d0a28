"""pool.designate_new_master: all members agree to the new one, then all are told; what each of them remembers of that.

A member that has agreed refuses other masters for ten minutes, unless the change comes to its end. One that cannot be
told leaves the new master broken. What is written to the old one between its success and its end is lost.
"""

from typing import TYPE_CHECKING

from agent.simulator import ha, timing, toolstacks, workers
from agent.simulator.call import LATER
from agent.simulator.database import Database
from agent.simulator.derived import host_is_live
from agent.simulator.failure import Failure
from agent.simulator.node import Node
from agent.simulator.table import NULL

if TYPE_CHECKING:
    from agent.simulator.call import Call
    from agent.simulator.world import World

AGREED = "agreed"  # of Node.facts: the address agreed to, and until when


def designate_new_master(call: "Call", host: str) -> object:
    """Make another member the master; what is written in the ten seconds after its success is lost."""
    world, db = call.world, call.db
    if db.get("pool", db.refs("pool")[0], "master") == host:
        return None
    if not host_is_live(db, host):
        raise Failure("HOST_OFFLINE", host)
    if ha.is_on(db):
        raise Failure("HA_IS_ENABLED")
    assert_no_master_change(db)
    node = world.node_of_host(db, host)
    members = world.members(call.node.pool)
    for member in members:
        if not member.reachable:
            raise Failure("CANNOT_CONTACT_HOST", world.host_of(member))
    _propose(world, members, node.address)
    task = call.defer()
    workers.set_operation(world, call.node.pool, "pool", db.refs("pool")[0], task, "designate_new_master")
    world.later(timing.DESIGNATE_RETURNS, "designate.agreed", address=node.address, pool=call.node.pool, task=task)
    return LATER


def assert_no_master_change(db: Database) -> None:
    """Raise DESIGNATE_NEW_MASTER_IN_PROGRESS while one goes on."""
    for pool in db.refs("pool"):
        if "designate_new_master" in db.get("pool", pool, "current_operations").values():
            raise Failure("DESIGNATE_NEW_MASTER_IN_PROGRESS")


def _propose(world: "World", members: list[Node], address: str) -> None:
    for member in members:
        known, until = member.facts.get(AGREED, ("", 0.0))
        if known not in ("", address) and world.now < until:  # the words are a guess
            raise Failure("HA_ABORT_NEW_MASTER", f"{member.address} has already agreed to {known}")
    for member in members:
        member.facts[AGREED] = [address, world.now + timing.DESIGNATE_AGREED]


# ---- steps
def agreed(world: "World", address: str, pool: int, task: str) -> None:
    """Tell all members; the old master does not show it for ten seconds, and then forgets them.

    When the old master or the new one has gone meanwhile nobody is told, and the others have agreed for nothing.
    """
    db, members = world.pools[pool], world.members(pool)
    for ref in db.refs("pool"):
        workers.set_operation(world, pool, "pool", ref, task, "")
    lost = [node for node in members if not node.reachable and (node.is_master or node.address == address)]
    if lost or not db.has("task", task):  # a master that has ended has forgotten its tasks
        world.fail_task(pool, task, ["CANNOT_CONTACT_HOST", *map(world.host_of, lost[:1])])
        return
    untold = [node for node in members if not node.reachable]
    for node in members:
        if node.reachable:
            node.facts.pop(AGREED, None)
    if untold:
        world.fail_task(pool, task, ["CANNOT_CONTACT_HOST", world.host_of(untold[0])])
    else:
        world.finish_task(pool, task)
    db.flush()
    world.later(timing.DESIGNATE_GONE - timing.DESIGNATE_RETURNS, "designate.gone", address=address, pool=pool,
                untold=[node.address for node in untold])


def gone(world: "World", address: str, pool: int, untold: list[str]) -> None:
    """Every member restarts; the database is what it was at the agreement."""
    db, new = world.pools[pool], world.nodes[address]
    db.lose_young()
    for ref in db.refs("pool"):
        db.set("pool", ref, master=db.by_uuid("host", new.uuid) or NULL)
    toolstacks.forget_calls(world, pool)
    db.flush()
    for node in world.members(pool):
        if node.power == "off" or node.address in untold:
            continue
        was_master = node.is_master
        node.go_down()
        if node is not new:
            node.master = address
        if was_master:
            host = world.host_of(node)
            db.set("host", host, enabled=False)
            db.set("host_metrics", db.get("host", host, "metrics"), live=False)
            node.facts["starting"] = True
            world.later(timing.DESIGNATE_ENABLED - timing.DESIGNATE_GONE, "host.enabled", address=node.address)
        world.later(timing.DESIGNATE_LIVE - timing.DESIGNATE_GONE, "host.started", address=node.address)
    new.master = ""
    world.later(timing.DESIGNATE_SWITCHED - timing.DESIGNATE_GONE, "designate.back", pool=pool, broken=bool(untold))


def back(world: "World", pool: int, broken: bool) -> None:
    """Every member answers in its new role; a broken master says so, and leaves its members alone."""
    back_again = [node for node in world.members(pool) if node.power == "down"]
    for node in back_again:
        node.power = "up"
    if broken:
        for node in back_again:
            if node.is_master:
                node.power, node.facts["emergency"] = "booting", ["HOST_BROKEN"]
        for node in back_again:
            if not node.is_master:
                _gone, answers, started, enabled = timing.RESTART_MEMBER
                toolstacks.back(world, node.address, started - answers, enabled - answers)


CALLS = {"pool.designate_new_master": designate_new_master}
STEPS = {"designate.agreed": agreed, "designate.gone": gone, "designate.back": back}
