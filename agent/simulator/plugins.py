"""Plugins of machines: programs in the control domain that a call runs and waits for.

The world file says which a machine has, how each function ends and how long it takes; nothing is run.
"""

from typing import TYPE_CHECKING

from agent.simulator import reach, workers
from agent.simulator.call import LATER
from agent.simulator.failure import Failure

if TYPE_CHECKING:
    from agent.simulator.call import Call
    from agent.simulator.world import World


def call_plugin(call: "Call", host: str, plugin: str, function: str, _args: dict[str, str]) -> object:
    """Run a function of a plugin and wait for its end; raises XENAPI_MISSING_PLUGIN."""
    node, world = reach.assert_reachable(call, host), call.world
    named = [one for one in node.facts.get("plugins", ()) if one["name"] == plugin]
    if not named:
        raise Failure("XENAPI_MISSING_PLUGIN", plugin)
    found = next((one for one in named if one["function"] in ("", function)), None)
    if found is None:
        raise Failure("NOT_IMPLEMENTED", f"host.call_plugin {plugin} {function}")  # what it would say is not known
    task = call.defer()
    workers.begin_at_host(world, "plugin", node, host, task, call.session)
    world.later(found["seconds"], "plugin.ended", job=task, incarnation=node.incarnation, result=found["result"],
                failure=found["failure"])
    return LATER


def ended(world: "World", job: str, incarnation: int, result: str, failure: list[str]) -> None:
    """Tell how it ended, if the toolstack that ran it is still there."""
    found = world.jobs.pop(job, None)
    if found is None:
        return
    if world.nodes[found["node"]].incarnation != incarnation:
        world.fail_task(found["pool"], job, ["CANNOT_CONTACT_HOST", found["host"]])
    elif failure:
        world.fail_task(found["pool"], job, ["XENAPI_PLUGIN_FAILURE", *failure])
    else:
        world.finish_task(found["pool"], job, result)


CALLS = {"host.call_plugin": call_plugin}
STEPS = {"plugin.ended": ended}
