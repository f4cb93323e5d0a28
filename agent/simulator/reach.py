"""Whether a master gets through to the host by which something has to be done."""

from typing import TYPE_CHECKING

from agent.simulator.derived import host_is_live
from agent.simulator.failure import Failure

if TYPE_CHECKING:
    from agent.simulator.call import Call
    from agent.simulator.node import Node


def assert_reachable(call: "Call", host: str) -> "Node":
    """Return the machine behind a host; raises HOST_OFFLINE or CANNOT_CONTACT_HOST."""
    if not host_is_live(call.db, host):
        raise Failure("HOST_OFFLINE", host)
    node = call.world.node_of_host(call.db, host)
    if not node.reachable or node.pool != call.node.pool or (node.facts.get("one_way") and node is not call.node):
        raise Failure("CANNOT_CONTACT_HOST", host)
    return node
