"""How a machine becomes a member of a pool that lists it already: at the end of a join, or by what is left of one.

Knows what changes hands then; knows no phases and no calls.
"""

from typing import TYPE_CHECKING

from agent.simulator import timing
from agent.simulator.node import Node

if TYPE_CHECKING:
    from agent.simulator.world import World


def enter(world: "World", node: Node, master: str) -> None:
    """Give up the machine's own pool for that of the master at this address, whose password becomes its own."""
    world.pools.pop(node.pool, None)
    node.pool, node.master = world.nodes[master].pool, master
    node.password, node.joining = world.nodes[master].password, False
    node.facts.pop("role", None)


def write_role(node: Node, master: str) -> None:
    """Let the machine be a member as soon as its toolstack has started again, and not before (seen)."""
    node.facts["role"] = master


def take_role(world: "World", node: Node) -> None:
    """Do at the start of a toolstack what its role file says; a member that no pool lists is alone with its own."""
    master = str(node.facts.pop("role", ""))
    if not master:
        return
    pool = world.pools.get(world.nodes[master].pool)
    if pool and pool.by_uuid("host", node.uuid):
        enter(world, node, master)
        world.later(timing.JOIN_FILLED - timing.JOIN_SLAVE, "join.filled", address=node.address)
    else:
        node.master = master
