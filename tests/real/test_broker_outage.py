"""With the broker away, gone in the middle or silent nothing hangs, and with its return everything goes on."""

import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from oslo_config import cfg

from common import errors, quiet, rabbit, rpc
from tests.real.broker_door import Door
from tools.servers import rabbitmq

#: seconds for what takes milliseconds on a machine that is not busy
LONG_S = 30.0
#: seconds after which a refused connection has been noticed
SOON_S = 2.0


class Desk:
    """A server behind one door and clients behind the same or another; everything is stopped at the end."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._port = rpc.address(url).hosts[0].port
        self.door = Door(self._port)
        self.beside = Door(self._port)
        self._ends: list[Callable[[], None]] = []

    def transport(self, door: Door | None = None, query: str = "") -> Any:
        """Return a transport through a door."""
        conf = cfg.ConfigOpts()
        conf([], project="corral", default_config_files=[])
        url = self._url.replace(f":{self._port}/", f":{(door or self.door).port}/")
        made = rpc.transport(url + query, conf)
        self._ends.insert(0, made.cleanup)
        return made

    def server(self, methods: dict[str, Callable[..., Any]] | None = None, door: Door | None = None) -> rpc.Server:
        """Return a server that is started and may not listen yet."""
        one = rpc.Server(self.transport(door), "test", "s1", "1.0", methods or {"echo": lambda context: 1})
        self._ends.insert(0, one.stop)
        one.start()
        return one

    def client(self, door: Door | None = None, timeout_s: float = LONG_S) -> rpc.Client:
        """Return a client with connections of its own."""
        return rpc.Client(self.transport(door), "test", "1.0", timeout_s)

    def close(self) -> None:
        """Stop all, the servers first."""
        self.door.thaw()
        self.beside.thaw()
        for end in self._ends:
            end()


@pytest.fixture
def desk(vhost: str) -> Iterator[Desk]:
    """A desk in a vhost of its own."""
    desk = Desk(vhost)
    yield desk
    desk.close()


def unavailable(send: Callable[[], Any], within_s: float) -> errors.Unavailable:
    """Return the refusal that ``send`` ends with in time."""
    begin = time.monotonic()
    with pytest.raises(errors.Unavailable) as refusal:
        send()
    assert time.monotonic() - begin < within_s
    assert refusal.value.code == "broker_unavailable"
    return refusal.value


def library_threads() -> int:
    """Return how many threads serve connections to the broker, the door's own left out."""
    return sum("_pump" not in one.name and "_welcome" not in one.name for one in threading.enumerate())


def test_a_broker_that_was_never_there_is_said_at_once_and_found_when_it_comes(desk: Desk) -> None:
    desk.door.shut()
    begin = time.monotonic()
    server = desk.server()
    assert time.monotonic() - begin < SOON_S
    client = desk.client()
    assert "effect" not in unavailable(lambda: client.call({}, "echo"), SOON_S).details
    unavailable(lambda: client.cast({}, "echo", "s1"), SOON_S)
    assert not server.listening()
    desk.door.open()
    assert server.listening(LONG_S)
    assert client.call({}, "echo") == 1
    client.cast({}, "echo", "s1")


def test_a_server_stops_at_any_moment_without_a_broker(desk: Desk) -> None:
    desk.door.shut()
    begin = time.monotonic()
    never_started = rpc.Server(desk.transport(), "test", "s2", "1.0", {})
    never_started.stop()
    for _ in range(3):
        desk.server().stop()
    assert time.monotonic() - begin < SOON_S
    desk.door.open()
    listening = desk.server()
    assert listening.listening(LONG_S)
    desk.door.shut()
    begin = time.monotonic()
    listening.stop()
    listening.stop()
    assert time.monotonic() - begin < 2 * rabbit.PATIENCE_S


def test_a_server_stops_while_a_silent_broker_takes_its_connection(desk: Desk) -> None:
    desk.door.freeze()
    server = desk.server()
    begin = time.monotonic()
    server.stop()
    assert time.monotonic() - begin < 2 * rabbit.PATIENCE_S


def test_a_broker_that_goes_is_said_at_once_and_its_return_needs_no_restart(desk: Desk) -> None:
    assert desk.server().listening(LONG_S)
    client = desk.client()
    assert client.call({}, "echo") == 1
    for _ in range(2):
        desk.door.shut()
        for _ in range(3):
            unavailable(lambda: client.call({}, "echo"), SOON_S)
            unavailable(lambda: client.cast({}, "echo", "s1"), SOON_S)
        desk.door.open()
        assert [client.call({}, "echo") for _ in range(3)] == [1, 1, 1]


def test_connections_that_were_cut_are_replaced_without_anybody_noticing(desk: Desk) -> None:
    assert desk.server().listening(LONG_S)
    client = desk.client()
    for _ in range(4):
        assert client.call({}, "echo") == 1
        desk.door.cut()


def test_a_silent_broker_is_given_up_in_seconds_and_heard_again_when_it_speaks(desk: Desk) -> None:
    assert desk.server(door=desk.beside).listening(LONG_S)
    client, newcomer = desk.client(), desk.client()
    assert client.call({}, "echo") == 1
    desk.door.freeze()
    # What was sent to somebody who does not answer may have arrived.
    assert unavailable(lambda: client.call({}, "echo"), 2 * rabbit.PATIENCE_S).details == {"effect": "unknown"}
    unavailable(lambda: newcomer.call({}, "echo"), 2 * rabbit.PATIENCE_S)
    desk.door.thaw()
    assert client.call({}, "echo") == newcomer.call({}, "echo") == 1


def test_a_listener_whose_connection_was_lost_without_a_word_notices_by_heartbeat(desk: Desk) -> None:
    transport = desk.transport(query="?heartbeat_timeout_threshold=2")
    server = rpc.Server(transport, "test", "s1", "1.0", {"echo": lambda context: 1})
    server.start()
    try:
        assert server.listening(LONG_S)
        desk.door.lose()
        client = desk.client(desk.beside, timeout_s=12.0)
        assert client.call({}, "echo") == 1
    finally:
        server.stop()


def test_many_calls_at_once_to_a_silent_broker_all_end_and_leave_no_threads(desk: Desk) -> None:
    assert desk.server(door=desk.beside).listening(LONG_S)
    client = desk.client()
    assert client.call({}, "echo") == 1
    before = library_threads()
    desk.door.freeze()
    begin = time.monotonic()
    with ThreadPoolExecutor(50) as together:
        refusals = [together.submit(unavailable, lambda: client.call({}, "echo"), 3 * rabbit.PATIENCE_S)
                    for _ in range(50)]
        assert all(one.result() for one in refusals)
    assert time.monotonic() - begin < 3 * rabbit.PATIENCE_S
    assert library_threads() <= before
    desk.door.thaw()
    assert client.call({}, "echo") == 1


def test_a_reply_is_brought_when_the_broker_is_back(desk: Desk) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def wait(context: dict[str, Any]) -> str:
        begun.set()
        go_on.wait(LONG_S)
        return "done"
    assert desk.server({"wait": wait}).listening(LONG_S)
    client = desk.client()
    with ThreadPoolExecutor(1) as aside:
        answer = aside.submit(client.call, {}, "wait")
        assert begun.wait(LONG_S)
        desk.door.shut()
        go_on.set()
        unavailable(lambda: client.call({}, "wait"), SOON_S)
        desk.door.open()
        assert answer.result(LONG_S) == "done"


def test_a_server_stops_in_time_with_a_reply_that_it_can_not_bring(desk: Desk) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def wait(context: dict[str, Any]) -> None:
        begun.set()
        go_on.wait(LONG_S)
    server = desk.server({"wait": wait})
    assert server.listening(LONG_S)
    client = desk.client(desk.beside, timeout_s=6.0)
    with ThreadPoolExecutor(1) as aside:
        answer = aside.submit(client.call, {}, "wait")
        assert begun.wait(LONG_S)
        desk.door.shut()
        go_on.set()
        begin = time.monotonic()
        server.stop()
        assert time.monotonic() - begin < 2 * rabbit.PATIENCE_S
        with pytest.raises(errors.OutcomeUnknown):
            answer.result(LONG_S)


class Journal(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one line."""
        self.lines.append(f"{record.name}: {record.getMessage()}")


@pytest.fixture
def journal() -> Iterator[Journal]:
    """What is logged from now on, as if nothing had been said lately."""
    journal = Journal()
    root = logging.getLogger()
    for logger in (logging.getLogger(name) for name in sorted(root.manager.loggerDict)):
        for one in (found for found in logger.filters if isinstance(found, quiet.Quiet)):
            one.forget()
    root.addHandler(journal)
    yield journal
    root.removeHandler(journal)


def test_an_outage_is_one_line_in_the_log(desk: Desk, journal: Journal) -> None:
    servers = [desk.server(), desk.server()]
    assert all(one.listening(LONG_S) for one in servers)
    client = desk.client()
    assert client.call({}, "echo") == 1
    desk.door.shut()
    late = desk.server()
    for _ in range(4):
        unavailable(lambda: client.call({}, "echo"), SOON_S)
        assert not late.listening(1.0)
    assert len(journal.lines) == 1


def test_connections_that_the_broker_ends_by_an_error_of_its_own_are_replaced_with_one_line_in_the_log(
        desk: Desk, journal: Journal) -> None:
    assert desk.server().listening(LONG_S)
    client = desk.client()
    for _ in range(3):
        assert client.call({}, "echo") == 1
        desk.door.end(541, "INTERNAL_ERROR")
    assert client.call({}, "echo") == 1
    # A call that may have got lost with its connection is sent again, and known when it comes twice.
    assert len([line for line in journal.lines if "duplicate" not in line]) == 1


@pytest.fixture(scope="module")
def own() -> Iterator[rabbitmq.Broker]:
    """A broker that may be broken."""
    with rabbitmq.Broker() as own:
        yield own


def descendants(pid: int) -> list[int]:
    """Return the processes below one."""
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    children = [int(word) for word in found.stdout.split()]
    return children + [below for child in children for below in descendants(child)]


def test_a_broker_that_stands_still_is_given_up_and_served_when_it_goes_on(own: rabbitmq.Broker) -> None:
    desk = Desk(own.vhost("still"))
    try:
        assert desk.server().listening(LONG_S)
        client = desk.client()
        assert client.call({}, "echo") == 1
        still = descendants(own.pid)
        try:
            for pid in still:
                os.kill(pid, signal.SIGSTOP)
            unavailable(lambda: client.call({}, "echo"), 2 * rabbit.PATIENCE_S)
        finally:
            for pid in still:
                os.kill(pid, signal.SIGCONT)
        assert client.call({}, "echo") == 1
    finally:
        desk.close()


def test_a_broker_that_is_killed_and_started_keeps_what_was_parked(own: rabbitmq.Broker) -> None:
    desk = Desk(own.vhost("killed"))
    heard = threading.Event()
    try:
        first = desk.server({"ring": lambda context: heard.set()})
        assert first.listening(LONG_S)
        first.stop()
        client = desk.client()
        client.cast({}, "ring", "s1")
        # RabbitMQ writes the names of new quorum queues late: one that is younger than this would be dead afterwards.
        threading.Event().wait(3.0)
        own.kill()
        unavailable(lambda: client.cast({}, "ring", "s1"), SOON_S)
        second = desk.server({"ring": lambda context: heard.set()})
        own.start()
        assert second.listening(LONG_S)
        assert heard.wait(LONG_S)
        client.cast({}, "ring", "s1")
    finally:
        desk.close()
