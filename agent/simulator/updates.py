"""Updates that somebody applies to a machine behind everybody's back: a host operation that waits for its turn, keeps
others waiting, and ends. Nothing is updated.
"""

from typing import TYPE_CHECKING

from agent.simulator import exclusion, timing, workers
from agent.simulator.derived import degraded_storage
from agent.simulator.table import NULL

if TYPE_CHECKING:
    from agent.simulator.node import Node
    from agent.simulator.world import World


def begin(world: "World", node: "Node", seconds: float) -> None:
    """Let the host show apply_updates for so many seconds, as soon as it may; only a disabled one may."""
    turn(world, node.address, seconds, world.now)


def turn(world: "World", address: str, seconds: float, since: float) -> None:
    """Begin, unless something else is done to the machine; then look again, as long as xapi's patience lasts."""
    node = world.nodes[address]
    db, host = world.pools.get(node.pool), world.host_of(node)
    if db is None or not db.has("host", host) or not node.reachable:
        return
    if exclusion.conflict(db, host, "apply_updates"):
        if world.now - since <= timing.LOCK_PATIENCE:
            world.later(world.random.uniform(*timing.LOCK_STEP), "updates.turn", address=address, seconds=seconds,
                        since=since)
        return
    if db.get("host", host, "enabled") or degraded_storage(db) != NULL:
        return  # the operator is refused
    task = world.new_task(node.pool, "host.apply_updates", "")
    workers.begin_at_host(world, "updates", node, host, task)
    workers.set_operation(world, node.pool, "host", host, task, "apply_updates")
    world.later(seconds, "updates.over", job=task)


def over(world: "World", job: str) -> None:
    """The operation ends."""
    found = world.jobs.pop(job, None)
    if found:
        workers.set_operation(world, found["pool"], "host", found["host"], job, "")
        world.finish_task(found["pool"], job)


STEPS = {"updates.turn": turn, "updates.over": over}
