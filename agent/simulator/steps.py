"""The two indexes of behaviour: which function serves a call, which does a step of the agenda."""

from collections.abc import Callable
from typing import Any

from agent.simulator import (
    balancing,
    certificate_calls,
    designation,
    drives,
    emergency,
    evacuations,
    events,
    exclusion,
    ha,
    hosts,
    incidents,
    joins,
    knocks,
    leaving,
    machines,
    migrations,
    notices,
    pbds,
    plugins,
    pools,
    sessions,
    sizes,
    storage_motion,
    toolstacks,
    updates,
    vms,
)

MODULES = (sessions, events, pools, joins, knocks, hosts, vms, migrations, evacuations, notices, incidents, sizes, ha,
           exclusion, emergency, leaving, balancing, drives, toolstacks, machines, pbds, designation,
           plugins, updates, certificate_calls, storage_motion)


def tick(_world: Any) -> None:
    """Do nothing: whoever waits for this moment looks again."""


CALLS: dict[str, Callable[..., Any]] = {
    name: function for module in MODULES for name, function in getattr(module, "CALLS", {}).items()}
STEPS: dict[str, Callable[..., Any]] = {"tick": tick} | {
    name: function for module in MODULES for name, function in getattr(module, "STEPS", {}).items()}
