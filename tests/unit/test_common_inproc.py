"""The in-process transport behaves as the broker does where that matters."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from common import errors, rpc

_NAMES = itertools.count(1)


class Desk:
    """Servers on one exchange of their own; all are stopped at the end."""

    def __init__(self) -> None:
        self.transport = rpc.transport(f"corral-inproc://test-{next(_NAMES)}/")
        self._servers: list[rpc.Server] = []

    def serve(self, methods: dict[str, Callable[..., Any]], server: str = "s1", topic: str = "t") -> rpc.Server:
        """Begin to serve."""
        one = rpc.Server(self.transport, topic, server, "1.0", methods, workers=4)
        one.start()
        self._servers.append(one)
        return one

    def client(self, timeout_s: float = 5.0, topic: str = "t", version: str = "1.0") -> rpc.Client:
        """Return a client."""
        return rpc.Client(self.transport, topic, version, timeout_s)

    def stop(self) -> None:
        """Stop what was not stopped yet."""
        for one in self._servers:
            one.stop()


@pytest.fixture
def desk() -> Iterator[Desk]:
    """A fresh exchange."""
    desk = Desk()
    yield desk
    desk.stop()


def test_arguments_and_answers_make_a_json_round_trip(desk: Desk) -> None:
    seen: list[Any] = []

    def method(context: dict[str, Any], value: Any) -> Any:
        seen.append((context, value))
        return {"tuple": (1, 2), "key": {1: "one"}}
    desk.serve({"method": method})
    value = {"list": (1, 2), "none": None, "text": "ü<&>"}
    answer = desk.client().call({"user": "ann"}, "method", value=value)
    assert answer == {"tuple": [1, 2], "key": {"1": "one"}}
    assert seen[0][1] == {"list": [1, 2], "none": None, "text": "ü<&>"}
    assert seen[0][0]["user"] == "ann"
    assert seen[0][1] is not value


def test_a_call_that_nobody_listens_for_is_unavailable_at_once(desk: Desk) -> None:
    with pytest.raises(errors.Unavailable) as refusal:
        desk.client().call({}, "method")
    assert refusal.value.code == "nobody_listens"
    with pytest.raises(errors.Unavailable):
        desk.client().cast({}, "method", "s1")


def test_a_server_that_has_stopped_does_not_listen_any_more(desk: Desk) -> None:
    one = rpc.Server(desk.transport, "t", "s1", "1.0", {"method": lambda context: 1})
    one.start()
    assert desk.client().call({}, "method") == 1
    one.stop()
    with pytest.raises(errors.Unavailable):
        desk.client().call({}, "method")


def test_a_call_without_an_answer_in_time_has_an_unknown_outcome(desk: Desk) -> None:
    go_on = threading.Event()
    desk.serve({"method": lambda context: go_on.wait(10)})
    try:
        with pytest.raises(errors.OutcomeUnknown):
            desk.client(timeout_s=0.1).call({}, "method")
    finally:
        go_on.set()


def test_a_cast_reaches_the_named_server_only(desk: Desk) -> None:
    rung: list[str] = []
    heard = threading.Event()

    def ring(name: str) -> Callable[..., None]:
        def method(context: dict[str, Any]) -> None:
            rung.append(name)
            heard.set()
        return method
    for name in ("h1", "h2", "h3"):
        desk.serve({"ring": ring(name)}, server=name)
    desk.client().cast({}, "ring", "h2")
    assert heard.wait(5)
    assert rung == ["h2"]


def test_calls_go_to_the_servers_in_turn(desk: Desk) -> None:
    for name in ("s1", "s2"):
        desk.serve({"who": lambda context, name=name: name}, server=name)
    assert {desk.client().call({}, "who") for _ in range(4)} == {"s1", "s2"}


def test_a_fanout_reaches_every_server(desk: Desk) -> None:
    heard = threading.Semaphore(0)

    def listen(context: dict[str, Any]) -> None:
        heard.release()
    for name in ("s1", "s2", "s3"):
        desk.serve({"listen": listen}, server=name)
    desk.client()._client.prepare(fanout=True).cast({}, "listen")
    assert all(heard.acquire(timeout=5) for _ in range(3))


def test_our_errors_cross_and_others_become_a_bug_without_their_text(desk: Desk) -> None:
    def refuse(context: dict[str, Any]) -> None:
        raise errors.WrongState("Host h1 is busy", code="host_busy", operation="o1")

    def break_down(context: dict[str, Any]) -> None:
        raise KeyError("password=hunter2")
    desk.serve({"refuse": refuse, "break_down": break_down})
    with pytest.raises(errors.WrongState) as refusal:
        desk.client().call({}, "refuse")
    assert (refusal.value.code, refusal.value.details) == ("host_busy", {"operation": "o1"})
    with pytest.raises(errors.Bug) as bug:
        desk.client().call({}, "break_down")
    assert "hunter2" not in bug.value.message


def test_unknown_methods_and_newer_versions_are_refused(desk: Desk) -> None:
    desk.serve({"method": lambda context: 1})
    with pytest.raises(errors.Error, match="__init__"):
        desk.client().call({}, "__init__")
    with pytest.raises(errors.Error, match="version"):
        desk.client(version="2.0").call({}, "method")


def test_an_idle_server_uses_no_time(desk: Desk) -> None:
    desk.serve({"method": lambda context: 1})
    before = time.process_time()
    assert not threading.Event().wait(0.5)
    assert time.process_time() - before < 0.05


def test_a_transport_that_is_not_known_is_invalid() -> None:
    with pytest.raises(errors.Invalid):
        rpc.transport("nosuch://x/")
