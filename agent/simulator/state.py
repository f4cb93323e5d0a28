"""A world as JSON values and back, at any moment, also in the middle of a join or a migration."""

from typing import Any

from agent.simulator.call import Clock
from agent.simulator.database import Database
from agent.simulator.failure import WorldError
from agent.simulator.faults import Rule
from agent.simulator.node import Node
from agent.simulator.strays import Stray
from agent.simulator.world import World

FORMAT = 1


def save_world(world: World) -> dict[str, Any]:
    """Return everything that matters; calls being served are not part of it, as in a real crash."""
    version, internal, gauss = world.random.getstate()
    return {
        "format": FORMAT, "now": world.now, "random": [version, list(internal), gauss],
        "nodes": [node.save() for node in world.nodes.values()],
        "pools": {str(number): db.save() for number, db in world.pools.items()},
        "jobs": world.jobs, "held": world.held, "agenda": world.agenda, "sequence": world.sequence,
        "faults": [rule.save() for rule in world.faults], "fault_number": world.fault_number,
        "strays": world.strays, "knocks": world.knocks}


def load_world(state: dict[str, Any], clock: Clock) -> World:
    """Return the world that was saved; its clock must begin at `state["now"]` or later."""
    if state.get("format") != FORMAT:
        raise WorldError(f"the saved world has format {state.get('format')!r}, this program reads {FORMAT}")
    world = World(clock)
    world.now = float(state["now"])
    version, internal, gauss = state["random"]
    world.random.setstate((version, tuple(internal), gauss))
    world.nodes = {entry["address"]: Node(**entry) for entry in state["nodes"]}
    for number, saved in state["pools"].items():
        db = Database(world.table, world.new_ref, world.new_uuid)
        db.load(saved)
        world.pools[int(number)] = db
    world.jobs, world.held = dict(state["jobs"]), list(state["held"])
    world.agenda = [(due, sequence, kind, args) for due, sequence, kind, args in state["agenda"]]
    world.sequence = int(state["sequence"])
    world.faults = [Rule(**rule) for rule in state.get("faults", ())]
    world.strays = [Stray(*stray) for stray in state.get("strays", ())]
    world.knocks = dict(state.get("knocks", {}))
    world.fault_number = int(state.get("fault_number", 0))
    return world
