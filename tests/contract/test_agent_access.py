"""How the driver gets at hosts: roles, credentials, addresses; over real HTTP."""

import socket
import time
from collections.abc import Iterator

import pytest
from agent_desk import access, addresses, calls, hypervisor, pooled_spec, simulated

from agent.simulator import Simulator
from common import errors


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with simulated(pooled_spec()) as running:
        yield running


def test_a_master_a_slave_and_a_lone_host_know_what_they_are(simulator: Simulator) -> None:
    where = addresses(simulator)
    master, alone, slave = (hypervisor(simulator, name) for name in ("h1", "h4", "h2"))
    assert (master.locate().role, alone.locate().role) == ("master", "standalone")
    slave.know("sync", {"?": where["h1"]})
    here = slave.locate()
    assert (here.role, here.address, here.master_address) == ("slave", where["h2"], where["h1"])
    assert here.pool == master.locate().pool and here.host_uuid not in (None, master.locate().host_uuid)
    assert slave.locate() == here
    for one in (master, alone, slave):
        one.close()


def test_an_unknown_master_is_not_asked(simulator: Simulator) -> None:
    slave = hypervisor(simulator, "h2")
    here = slave.locate()
    assert here.role == "slave" and here.trouble is not None and here.trouble["code"] == "master_unknown"
    assert here.master_address == addresses(simulator)["h1"]
    with pytest.raises(errors.HostIsSlave):
        slave.open()
    with simulator.lock:
        assert {record.address for record in simulator.world.calls} == {addresses(simulator)["h2"]}


def test_wrong_credentials_are_told_and_not_hammered(simulator: Simulator) -> None:
    wrong = hypervisor(simulator, "h1", password="wrong")
    for _ in range(5):
        here = wrong.locate()
        assert here.role == "unreachable" and here.trouble is not None
        assert here.trouble["code"] == "hypervisor_auth"
    assert calls(simulator, "session.login_with_password") == 1


def test_the_pools_credentials_are_tried_when_the_own_are_refused(simulator: Simulator) -> None:
    user, password = simulator.login
    both = hypervisor(simulator, "h1", password="the old one", pool_username=user, pool_password=password)
    assert both.locate().role == "master"
    assert calls(simulator, "session.login_with_password") == 2
    both.open().close()
    assert calls(simulator, "session.login_with_password") == 3, "a master is asked with the pool's first"
    both.close()


def test_a_hypervisor_that_is_away_is_told_as_trouble(simulator: Simulator) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    away = hypervisor(simulator, "h1", url=f"http://127.0.0.1:{port}")
    here = away.locate()
    assert here.role == "unreachable" and here.trouble is not None
    assert here.trouble["code"] == "hypervisor_unavailable"


def test_a_host_that_never_answers_is_given_up_in_time(simulator: Simulator) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        away = hypervisor(simulator, "h1", url=f"http://127.0.0.1:{silent.getsockname()[1]}", watch_s=0.3)
        began = time.monotonic()
        assert away.locate().role == "unreachable"
        assert time.monotonic() - began < 3


def test_passwords_are_not_shown_by_settings(simulator: Simulator) -> None:
    assert simulator.login[1] not in repr(access(simulator, "h1"))
