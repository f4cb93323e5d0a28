"""One simulated host to be called, and what a call fails with; what tests of the simulator share."""

from typing import Any

import pytest

from agent.simulator import DirectClient, Failure, default_spec, direct_world


def one_host() -> DirectClient:
    world, clock = direct_world(default_spec(hosts=1, vms=2))
    return DirectClient(world, clock, "127.1.0.1").login()


def failure_of(client: DirectClient, method: str, *params: Any) -> list[str]:
    with pytest.raises(Failure) as caught:
        client(method, *params)
    return caught.value.description
