"""Workload balancing, which needs an appliance: none is ever connected, and the calls say so."""

from typing import TYPE_CHECKING

from agent.simulator.failure import Failure

if TYPE_CHECKING:
    from agent.simulator.call import Call


def refuse(_call: "Call", *_args: object) -> object:
    """Raise WLB_NOT_INITIALIZED."""
    raise Failure("WLB_NOT_INITIALIZED")


CALLS = dict.fromkeys(("pool.retrieve_wlb_configuration", "pool.retrieve_wlb_recommendations",
                       "pool.send_wlb_configuration", "host.retrieve_wlb_evacuate_recommendations"), refuse)
