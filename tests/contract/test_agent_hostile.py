"""What the agent makes of answers that no xapi gives: a stable code, in time, once; and the next good one works."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from agent_desk import pooled_spec, simulated
from agent_office import office
from hostile_answers import AWAY, HTTP, JSON, MIB, STRANGE, XML, body, success, valued
from hostile_host import Attack, Caller, HostileHost

from agent.simulator import Simulator, default_spec
from agent.xenapi.link import Link
from agent.xenapi.session import Access, XenHypervisor
from agent.xenapi.transport import Limits
from common import errors
from common.clock import SystemClock

#: for a call whose answer never ends, or never begins
CALL_S = 1.0
#: for one whose answer is too much, which on a busy machine takes its time to come
MUCH_S = 20.0
#: on a busy machine, to notice that a time is over
LATE_S = 5.0
#: of an act, which takes the link's own
ACTS = ("silence", "closed-at-once", "body-cut-short", "no-http", "endless-headers", "server-error", "empty-body")
WIRES = ("xml", "json")
ATTACKS = [pytest.param(wire, attack, code, id=f"{wire}-{name}")
           for wire in WIRES for name, (attack, code) in HTTP.items()]
ATTACKS += [pytest.param(wire, body(text), STRANGE, id=f"{wire}-{name}")
            for wire, texts in (("xml", XML), ("json", JSON)) for name, text in texts.items()]


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    simulator = Simulator(default_spec(hosts=1, vms=2), speed=100)
    simulator.start()
    yield simulator
    simulator.stop()


def opened(host: HostileHost, simulator: Simulator) -> Link:
    link = Link(host.url, Limits(connect_s=CALL_S, read_s=3 * CALL_S, answer_bytes=4 * MIB))
    link.login(*simulator.login, "hostile")
    return link


@pytest.fixture
def links(simulator: Simulator) -> Iterator[dict[str, tuple[HostileHost, Link]]]:
    with HostileHost(simulator.hosts[0][1], json=False).serving() as old, \
            HostileHost(simulator.hosts[0][1]).serving() as new:
        yield {"xml": (old, opened(old, simulator)), "json": (new, opened(new, simulator))}


@pytest.mark.parametrize(("wire", "attack", "code"), ATTACKS)
def test_a_bad_answer_has_a_code_comes_in_time_and_harms_no_later_call(
        wire: str, attack: Attack, code: str, links: dict[str, tuple[HostileHost, Link]]) -> None:
    host, link = links[wire]
    assert link.json == (wire == "json")
    limit_s = CALL_S if code == AWAY else MUCH_S
    began = time.monotonic()
    with host.armed(attack, "host.get_all"), pytest.raises(errors.Unavailable) as refusal:
        link.read("host.get_all", timeout_s=limit_s)
    assert time.monotonic() - began < limit_s + LATE_S
    assert refusal.value.code == code, refusal.value.message
    assert host.attacked == ["host.get_all"], "it was asked once"
    assert len(refusal.value.message) < 3000
    assert len(link.read("host.get_all")) == 1


@pytest.mark.parametrize("attack", [pytest.param(HTTP[name][0], id=name) for name in ACTS])
def test_an_act_with_a_bad_answer_is_of_unknown_outcome_and_not_sent_again(
        attack: Attack, links: dict[str, tuple[HostileHost, Link]]) -> None:
    host, link = links["json"]
    with host.armed(attack, "host.enable"), pytest.raises(errors.OutcomeUnknown):
        link.act("host.enable", "OpaqueRef:x")
    assert host.attacked == ["host.enable"]
    assert len(link.read("host.get_all")) == 1


@pytest.mark.parametrize("status", ["301 Moved Permanently", "302 Found", "307 Temporary Redirect",
                                    "308 Permanent Redirect"])
def test_a_redirection_is_not_followed(status: str, links: dict[str, tuple[HostileHost, Link]]) -> None:
    host, link = links["json"]
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        to = f"Location: http://127.0.0.1:{elsewhere.getsockname()[1]}/"
        with host.armed(body("", to, status=status)), pytest.raises(errors.Unavailable) as refusal:
            link.read("host.get_all")
        elsewhere.setblocking(False)
        with pytest.raises(BlockingIOError):
            elsewhere.accept()
    assert refusal.value.code == STRANGE and status[:3] in refusal.value.message


@pytest.mark.parametrize("wire", WIRES)
def test_a_slow_answer_that_is_whole_in_time_is_an_answer(
        wire: str, links: dict[str, tuple[HostileHost, Link]]) -> None:
    host, link = links[wire]
    text = success("<array><data><value>x</value></data></array>") if wire == "xml" else '{"result": ["x"]}'

    def slowly(caller: Caller) -> None:
        answer = f"HTTP/1.1 200 OK\r\nContent-Length: {len(text)}\r\n\r\n{text}"
        for at in range(0, len(answer), 20):
            caller.ended.wait(0.01)
            caller.send(answer[at:at + 20].encode())

    with host.armed(slowly):
        assert link.read("host.get_all") == ["x"]


def test_a_host_that_listens_and_takes_nothing_is_given_up_in_time(simulator: Simulator) -> None:
    # TLS that never shakes hands, and a connection that nobody accepts.
    with socket.create_server(("127.0.0.1", 0), backlog=1) as silent_one:
        began = time.monotonic()
        for scheme in ("http", "https"):
            url = f"{scheme}://127.0.0.1:{silent_one.getsockname()[1]}"
            away = XenHypervisor(Access(url, "root", "x", connect_s=0.3, watch_s=0.3), "test", SystemClock())
            assert (away.locate().trouble or {})["code"] == AWAY
        assert time.monotonic() - began < 4 * 0.3 + LATE_S


def test_a_handshake_that_drips_is_given_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def drip() -> None:
            # A record that is announced whole and comes byte by byte.
            client = listener.accept()[0]
            with contextlib.suppress(OSError), client:
                client.sendall(b"\x16\x03\x03\x40\x00\x02")
                while not ended.wait(0.02):
                    client.sendall(b"\x00")

        ended = threading.Event()
        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        began = time.monotonic()
        here = XenHypervisor(Access(url, "root", "x", connect_s=0.3), "test", SystemClock()).locate()
        assert time.monotonic() - began < 2 * 0.3 + LATE_S
        assert here.trouble is not None and here.trouble["code"] == AWAY
        ended.set()
        thread.join(LATE_S)


@pytest.mark.parametrize("attack", [
    pytest.param(valued("x"), id="another-shape"), pytest.param(HTTP["endless-body"][0], id="endless-body"),
    pytest.param(HTTP["closed-at-once"][0], id="closed-at-once"), pytest.param(body("[" * 300_000), id="deep"),
])
def test_a_whole_agent_tells_its_trouble_and_carries_out_its_order_when_the_host_is_itself_again(
        attack: Attack) -> None:
    with simulated(pooled_spec(), speed=60) as simulator, HostileHost(simulator.hosts[0][1]).serving() as host, \
            office(simulator) as at:
        at.desk.interval_s, at.desk.observers = 0.2, {"h1"}
        at.agent("h1", url=host.url)
        at.seen("h1", lambda sync: sync.report is not None)
        here = at.seen("h1", lambda sync: sync.role == "master")
        with host.armed(attack):
            # Old connections end by it too; then nothing can be read.
            away = at.seen("h1", lambda sync: sync.role == "unreachable" and sync.trouble is not None)
            order = at.ring(at.desk.order("host_disable", "h1", str(here.host_uuid), {"mark": "op"}))
            at.seen("h1", lambda sync: sync.trouble is not None and sync.sequence > away.sequence + 2)
        at.seen("h1", lambda sync: sync.role == "master" and sync.trouble is None and sync.sequence > away.sequence)
        report = at.desk.settled(order)
        assert (report.error, report.readings["enabled"]) == (None, False)


#: what a method is answered instead of what it should be
SHAPES: list[tuple[str, str, Any]] = [
    ("login_with_password", "struct", {"ref": "x"}), ("login_with_password", "list", ["x"]),
    ("host.get_all_records", "text", "OpaqueRef:x"), ("host.get_all_records", "list", [{"uuid": "x"}]),
    ("host.get_all_records", "records-that-are-texts", {"OpaqueRef:x": "x"}),
    ("host.get_all_records", "uuid-that-is-a-struct", {"OpaqueRef:x": {"uuid": {}}}),
    ("host.get_all_records", "none", {}),
    ("pool.get_all_records", "list", []), ("pool.get_all_records", "none", {}),
    ("pool.get_all_records", "record-without-fields", {"OpaqueRef:x": {}}),
    ("pool.get_all_records", "no-master", {"OpaqueRef:x": {"uuid": "x"}}),
    ("pool.get_all_records", "master-that-is-a-list", {"OpaqueRef:x": {"uuid": "x", "master": ["x"]}}),
    ("session.get_uuid", "number", 7), ("session.get_uuid", "struct", {}),
]


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize(("method", "value"), [pytest.param(method, value, id=f"{method}-{name}")
                                               for method, name, value in SHAPES])
def test_an_answer_of_another_shape_is_the_hosts_trouble_until_it_is_right(
        wire: str, method: str, value: Any, simulator: Simulator) -> None:
    with HostileHost(simulator.hosts[0][1], json=wire == "json").serving() as host:
        hypervisor = XenHypervisor(Access(host.url, *simulator.login), "test", SystemClock())
        with host.armed(valued(value), method):
            here = hypervisor.locate()
        assert here.role == "unreachable" and here.trouble is not None
        assert here.trouble["code"] == STRANGE and here.trouble["message"]
        again = hypervisor.locate()
        assert (again.role, again.trouble) == ("standalone", None)
        hypervisor.close()


def event(**more: Any) -> dict[str, Any]:
    return {"class": "vm", "ref": "OpaqueRef:v", "operation": "mod", "snapshot": {"uuid": "v"}, **more}


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("value", [
    pytest.param("x", id="text"), pytest.param({}, id="nothing"), pytest.param({"events": {}}, id="events-struct"),
    pytest.param({"events": [], "token": {}}, id="token-struct"),
    pytest.param({"events": ["x"], "token": "x"}, id="event-text"),
    pytest.param({"events": [event(ref=["x"])], "token": "x"}, id="ref-list"),
    pytest.param({"events": [event(snapshot="x")], "token": "x"}, id="snapshot-text"),
    pytest.param({"events": [event()], "token": "x"}, id="snapshot-without-fields"),
    pytest.param({"events": [event(snapshot={"uuid": 7})], "token": "x"}, id="uuid-number"),
    pytest.param({"events": [], "token": "x", "valid_ref_counts": {"vm": "many"}}, id="count-text"),
])
def test_events_of_another_shape_end_the_view_of_the_pool_until_they_are_right(
        wire: str, value: Any, simulator: Simulator) -> None:
    with HostileHost(simulator.hosts[0][1], json=wire == "json").serving() as host:
        hypervisor = XenHypervisor(Access(host.url, *simulator.login), "test", SystemClock())
        observer = hypervisor.observe()
        assert observer.follow(0.1)
        seen = observer.report()
        with host.armed(valued(value), "event.from"), pytest.raises(errors.Unavailable) as refusal:
            observer.follow(0.1)
        assert refusal.value.code == STRANGE and refusal.value.message
        assert observer.report() is None, "what can't be read any more is not reported"
        assert observer.follow(0.1)
        again = observer.report()
        assert seen is not None and again is not None and again.vms == seen.vms
        observer.close()
