"""What is read over JSON-RPC and over XML-RPC is the same; a key that XML does not survive is told, and survived."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from agent_desk import calls, pooled_spec, simulated
from hostile_answers import body
from hostile_host import Attack, HostileHost

from agent.simulator import Simulator
from agent.xenapi.link import Link
from agent.xenapi.session import Access, XenHypervisor
from agent.xenapi.transport import Limits
from common import errors
from common.clock import SystemClock
from common.messages import PoolReport

KEYS = ("a<b", "rack & row", "<name>x</name>")
KEY_IDS = ("less-than", "ampersand", "tags")


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with simulated(pooled_spec()) as running:
        yield running


@pytest.fixture
def hosts(simulator: Simulator) -> Iterator[dict[str, HostileHost]]:
    """The pool's master, once as a xapi without JSON-RPC and once as one with it."""
    with HostileHost(simulator.hosts[0][1], json=False).serving() as old, \
            HostileHost(simulator.hosts[0][1]).serving() as new:
        yield {"xml": old, "json": new}


def hypervisor(simulator: Simulator, host: HostileHost) -> XenHypervisor:
    return XenHypervisor(Access(host.url, *simulator.login), "wires", SystemClock())


def reported(simulator: Simulator, host: HostileHost) -> PoolReport:
    observer = hypervisor(simulator, host).observe()
    observer.follow(0.1)
    report = observer.report()
    observer.close()
    assert report is not None
    return replace(report, age_s=0.0)


def changed(simulator: Simulator, method: str, class_: str, *params: Any) -> None:
    """Call a setter of the first object of a class, as an operator would."""
    link = Link(simulator.hosts[0][1], Limits())
    link.login(*simulator.login, "operator")
    ref = sorted(link.read(f"{class_}.get_all_records").items(), key=lambda one: one[1]["uuid"])[0][0]
    link.act(f"{class_}.{method}", ref, *params)
    link.logout()
    link.close()


def test_both_ways_give_the_same_report(simulator: Simulator, hosts: dict[str, HostileHost]) -> None:
    assert reported(simulator, hosts["xml"]) == reported(simulator, hosts["json"])
    places = [hypervisor(simulator, host).locate() for host in hosts.values()]
    assert places[0] == places[1] and places[0].role == "master"


@pytest.mark.parametrize("refusal", [
    pytest.param(body("<html>", status="404 Not Found"), id="404"),
    pytest.param(body("<html>", status="500 Internal Error"), id="500"),
    pytest.param(body('{"error": {"code": 1, "message": "MESSAGE_METHOD_UNKNOWN", "data": ["session.get_uuid"]}}'),
                 id="refused"),
    pytest.param(body("{}"), id="no-json-rpc"),
])
def test_json_is_tried_once_with_each_session_and_xml_is_used_if_it_is_refused(
        refusal: Attack, simulator: Simulator, hosts: dict[str, HostileHost]) -> None:
    link = Link(hosts["json"].url, Limits())
    with hosts["json"].armed(refusal, '"jsonrpc"'):
        for session in (1, 2):
            link.login(*simulator.login, "wires")
            assert not link.json
            assert len(link.read("host.get_all")) == len(link.read("host.get_all_records")) == 3
            assert len(hosts["json"].attacked) == session
    link.login(*simulator.login, "wires")
    assert link.json, "what is refused today may be there tomorrow"
    link.close()


@pytest.mark.parametrize("key", KEYS, ids=KEY_IDS)
@pytest.mark.parametrize("class_", ["pool", "host", "VM", "network"])
def test_a_key_that_xml_does_not_survive_is_told_and_harms_nothing_that_is_read_by_json(
        class_: str, key: str, simulator: Simulator, hosts: dict[str, HostileHost],
        caplog: pytest.LogCaptureFixture) -> None:
    changed(simulator, "add_to_other_config", class_, key, "v")
    with caplog.at_level(logging.WARNING):
        observer = hypervisor(simulator, hosts["json"]).observe()
        for _ in range(3):
            observer.follow(0.1)
        report = observer.report()
    assert report is not None and len(report.hosts) == 3
    told = [one.getMessage() for one in caplog.records if "map_key_unreadable" in one.getMessage()]
    assert len(told) == 1
    assert repr(key) in told[0] and "remove_from_other_config" in told[0]
    assert hypervisor(simulator, hosts["json"]).locate().trouble is None
    observer.close()


@pytest.mark.parametrize("key", KEYS[:2], ids=KEY_IDS[:2])
@pytest.mark.parametrize("class_", ["pool", "VM"])
def test_without_json_such_a_key_is_a_trouble_that_says_which_until_it_is_removed(
        class_: str, key: str, simulator: Simulator, hosts: dict[str, HostileHost]) -> None:
    observer = hypervisor(simulator, hosts["xml"]).observe()
    observer.follow(0.1)
    changed(simulator, "add_to_other_config", class_, key, "v")
    with pytest.raises(errors.Unavailable) as trouble:
        while True:
            observer.follow(0.1)
    assert trouble.value.code == "map_key_unreadable"
    assert f"the key {key!r} in other_config of OpaqueRef:" in trouble.value.message
    assert "remove_from_other_config" in trouble.value.message
    assert observer.report() is None
    changed(simulator, "remove_from_other_config", class_, key)
    assert observer.follow(0.1)
    report = observer.report()
    assert report is not None and len(report.hosts) == 3
    observer.close()


def test_without_json_such_a_key_of_the_pool_is_the_hosts_trouble_and_ends_with_it(
        simulator: Simulator, hosts: dict[str, HostileHost]) -> None:
    own = hypervisor(simulator, hosts["xml"])
    changed(simulator, "add_to_other_config", "pool", "a<b", "v")
    here = own.locate()
    assert here.trouble is not None and here.trouble["code"] == "map_key_unreadable"
    changed(simulator, "remove_from_other_config", "pool", "a<b")
    assert own.locate().trouble is None
    assert calls(simulator, "pool.remove_from_other_config") == 1
    own.close()
