"""Joins of what listens beside the simulated hosts: what ends the wait for one who says nothing."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import XenAPI
from xapi_strangers import Stranger

from agent.simulator import Simulator, default_spec
from agent.simulator.fault_spec import Incident

DEADLINE_S = 30.0


@contextmanager
def simulated(state: Path | None = None) -> Iterator[Simulator]:
    simulator = Simulator(default_spec(hosts=2, vms=0), speed=100, state_path=state)
    simulator.start()
    try:
        yield simulator
    finally:
        simulator.stop()


@contextmanager
def stranger(simulator: Simulator, kind: str) -> Iterator[Stranger]:
    one = Stranger(kind, simulator.port)
    try:
        yield one
    finally:
        one.close()


def session(simulator: Simulator) -> Any:
    client = XenAPI.Session(simulator.hosts[1][1])
    client.xenapi.login_with_password(*simulator.login, "1.0", "strangers")
    return client


def waiting(simulator: Simulator, silent: Stranger) -> tuple[Any, str]:
    """Return a session and the task of a join that waits for the stranger."""
    client = session(simulator)
    task = client.xenapi.Async.pool.join(silent.address, *simulator.login)
    assert silent.met.wait(DEADLINE_S)
    return client, task


def threads() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name.startswith("simulator-OpaqueRef")]


def gone(simulator: Simulator, begun: list[threading.Thread]) -> bool:
    for one in begun:
        one.join(DEADLINE_S)
    return not any(one.is_alive() for one in begun)


def test_the_end_of_the_simulator_ends_the_wait() -> None:
    with simulated() as simulator, stranger(simulator, "silent") as silent:
        waiting(simulator, silent)
        begun = threads()
        assert begun
    assert gone(simulator, begun)


def test_the_end_of_the_joiners_toolstack_ends_the_wait_and_nobody_is_told() -> None:
    with simulated() as simulator, stranger(simulator, "silent") as silent:
        waiting(simulator, silent)
        begun = threads()
        with simulator.lock:
            simulator.world.put_in(Incident(0, "kill", "h2"))
            simulator.lock.notify_all()
        assert gone(simulator, begun)
        with simulator.lock:
            assert simulator.lock.wait_for(lambda: simulator.world.node_named("h2").power == "up", DEADLINE_S)
            assert not simulator.world.knocks
        assert session(simulator).xenapi.task.get_all() == []


def test_a_logout_does_not_end_the_wait_and_others_are_served_meanwhile() -> None:
    with simulated() as simulator, stranger(simulator, "silent") as silent:
        client, task = waiting(simulator, silent)
        client.xenapi.session.logout()
        other = session(simulator)
        assert other.xenapi.task.get_status(task) == "pending" and len(other.xenapi.host.get_all()) == 1
        silent.close()
        with simulator.lock:
            db = simulator.world.pools[simulator.world.node_named("h2").pool]
            assert simulator.lock.wait_for(lambda: db.get("task", task, "status") == "failure", DEADLINE_S)
        assert other.xenapi.task.get_error_info(task) == ["JOINING_HOST_CONNECTION_FAILED"]


def test_a_simulator_that_goes_on_asks_again(tmp_path: Path) -> None:
    with ExitStack() as stack:
        with simulated(tmp_path / "state.json") as simulator:
            silent = stack.enter_context(stranger(simulator, "silent"))
            _client, task = waiting(simulator, silent)
        silent.met.clear()
        with simulated(tmp_path / "state.json") as again:
            assert silent.met.wait(DEADLINE_S)
            assert session(again).xenapi.task.get_status(task) == "pending"


def test_a_stranger_who_refuses_http_has_a_code_of_its_own() -> None:
    with simulated() as simulator, stranger(simulator, "refusing") as one:
        with pytest.raises(XenAPI.Failure) as caught:
            session(simulator).xenapi.pool.join(one.address, *simulator.login)
        assert caught.value.details == ["JOINING_HOST_SERVICE_FAILED"]


def test_a_host_of_another_simulator_is_not_joined(tmp_path: Path) -> None:
    with simulated() as simulator:
        other = Simulator(default_spec(hosts=1, vms=0), port=simulator.port, tls_folder=tmp_path)
        other.start()
        try:
            with pytest.raises(XenAPI.Failure) as caught:
                session(simulator).xenapi.pool.join(urlsplit(other.hosts[0][1]).hostname, *simulator.login)
        finally:
            other.stop()
        assert caught.value.details[0] == "NOT_IMPLEMENTED"
