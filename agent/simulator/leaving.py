"""What a machine does with its guests on the way down: those that cannot move stop, the others are evacuated.

Whoever reboots a host that is not empty sees its VMs move, and what is left after a while stop with it.
"""

from typing import TYPE_CHECKING

from agent.simulator import build, evacuations, timing
from agent.simulator.database import Database

if TYPE_CHECKING:
    from agent.simulator.world import World

LOOK = 1.0  # seconds from one look at the evacuation to the next


def begin(world: "World", address: str, operation: str, again: bool) -> None:
    """The timer is over: stop the guests that cannot be moved and evacuate the others, within a time by their size."""
    node = world.nodes[address]
    if node.power != "up" or node.pool not in world.pools:
        return  # something else was faster
    db, host = world.pools[node.pool], world.host_of(node)
    guests = _guests(db, host)
    if not guests:
        world.later(timing.REBOOT_DOWN, "host.powered_down", address=address, operation=operation, again=again)
        return
    moves, blocked = evacuations.plan(world, db, host)
    for vm in blocked:
        build.stop_domain(db, vm)
    task = evacuations.begin(world, node, host, moves)
    used = sum(int(db.get("VM", vm, "memory_dynamic_min")) for vm, _target in moves)
    patience = max(timing.LEAVING_LEAST, used * 8 / timing.LEAVING_RATE)
    look(world, address, operation, again, task, world.now + patience)


def look(world: "World", address: str, operation: str, again: bool, task: str, until: float) -> None:
    """Go down once the evacuation is over, well or badly, or has taken too long."""
    node = world.nodes[address]
    db = world.pools.get(node.pool)
    if node.power != "up" or db is None:
        return
    left = db.has("task", task) and db.get("task", task, "status") == "pending"
    args = {"address": address, "operation": operation, "again": again}
    if left and world.now < until:
        world.later(LOOK, "host.emptying", task=task, until=until, **args)
    else:
        world.later(timing.REBOOT_DOWN, "host.powered_down", **args)


def _guests(db: Database, host: str) -> list[str]:
    return [vm for vm in db.get("host", host, "resident_VMs") if not db.get("VM", vm, "is_control_domain")]


STEPS = {"host.leaving": begin, "host.emptying": look}
