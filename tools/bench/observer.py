"""What an agent costs while nothing happens, and for each change: the pool's observer, and a member that only beats.

Beside them, in the same run, a plain loop of event.from that keeps nothing, and the bytes of reading all VMs once.
"""

import json
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import XenAPI

from agent.xenapi.transport import Limits, Line, exchange
from tools.bench.figures import Figure
from tools.bench.observing import PASSWORD, SYNC_S, USER
from tools.bench.processes import BIN, Process, pause, running
from tools.bench.simulator import LARGE_HOSTS, LARGE_VMS, world_text

IDLE_S, CHANGES, MEMBER = 60.0, 100, 1
#: after the last change, so that what it causes is over
SETTLED_S = 2 * SYNC_S
_PIECE = 65536


class Relay:
    """A way to one host on another port of its own address, that counts what goes through."""

    def __init__(self, url: str, port: int) -> None:
        parts = urlsplit(url)
        self._target = (str(parts.hostname), parts.port or 80)
        self._listener = socket.create_server((self._target[0], port))
        self.port = int(self._listener.getsockname()[1])
        self.url = f"http://{self._target[0]}:{self.port}"
        self.bytes = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, server = self._listener.accept()[0], socket.create_connection(self._target)
                for one, other in ((client, server), (server, client)):
                    threading.Thread(target=self._pass_on, args=(one, other), daemon=True).start()

    def _pass_on(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := one.recv(_PIECE):
                self.bytes += len(data)
                other.sendall(data)
        with suppress(OSError):
            other.shutdown(socket.SHUT_RDWR)


class Watcher:
    """A process that watches the pool through relays of its own, and what it has used so far."""

    def __init__(self, name: str, process: Process, relays: list[Relay]) -> None:
        self.name = name
        #: of CPU, when it had the whole pool
        self.start_s = float(process.said[-1][1])
        self.resident_mib = process.resident_mib
        self._process, self._relays = process, relays

    def used(self) -> tuple[float, int]:
        """Return the seconds of CPU and the bytes to and from hosts."""
        return self._process.cpu_s(), sum(relay.bytes for relay in self._relays)


def measure(folder: Path) -> Iterator[Figure]:
    """Yield the figures; takes about two and a half minutes."""
    world = folder / "observed.yaml"
    world.write_text(world_text(LARGE_HOSTS, LARGE_VMS), encoding="utf-8")
    words = [str(BIN / "corral-simulator"), "--world", str(world)]
    with ExitStack() as stack:
        simulated = stack.enter_context(running(words, folder / "simulator.log"))
        hosts = [line[2] for line in simulated.said if line[0] == "host"]
        watchers = [stack.enter_context(_watching("the observer", hosts[:1], folder, "agent")),
                    stack.enter_context(_watching("a member's agent", [hosts[MEMBER], hosts[0]], folder, "member")),
                    stack.enter_context(_watching("a plain event.from loop", hosts[:1], folder, "plain"))]
        yield from _whole(hosts[0], watchers)
        pause(SETTLED_S)
        yield from _idle(watchers)
        yield from _changes(hosts[0], [watchers[0], watchers[2]])


@contextmanager
def _watching(name: str, hosts: list[str], folder: Path, kind: str) -> Iterator[Watcher]:
    relays = [Relay(hosts[0], 0)]
    # The agent asks its master at the port of its own host.
    relays += [Relay(host, relays[0].port) for host in hosts[1:]]
    more = [str(urlsplit(host).hostname) for host in hosts[1:]]
    words = [sys.executable, "-m", "tools.bench.observing", kind, relays[0].url, *more]
    try:
        with running(words, folder / f"{kind}.log") as process:
            yield Watcher(name, process, relays)
    finally:
        for relay in relays:
            relay.close()


def _whole(url: str, watchers: list[Watcher]) -> Iterator[Figure]:
    what = {"hosts": LARGE_HOSTS, "vms": LARGE_VMS}
    observer, _, plain = watchers
    mine, other = (Figure(f"CPU of {one.name} until it has the pool", one.start_s, "s",
                          {**what, "means": "with Python's start and the imports"}) for one in (observer, plain))
    yield from (other, mine, mine.beside(other))
    yield Figure("memory of the observer", observer.resident_mib(), "MiB", what)
    yield Figure("bytes of one VM.get_all_records over JSON-RPC", _all_records(url) / 2**20, "MiB", what)


def _idle(watchers: list[Watcher]) -> Iterator[Figure]:
    before = [one.used() for one in watchers]
    pause(IDLE_S)
    costs = [(used[0] - was[0], used[1] - was[1]) for used, was in zip((one.used() for one in watchers), before,
                                                                       strict=True)]
    what = {"seconds": IDLE_S, "hosts": LARGE_HOSTS, "vms": LARGE_VMS, "sync_s": SYNC_S}
    for at, (name, unit, scale) in enumerate((("CPU", "ms", 1e3), ("bytes", "KiB", 1 / 1024))):
        figures = [Figure(f"{name} per minute of {one.name}, idle", scale * cost[at] * 60 / IDLE_S, unit, what)
                   for one, cost in zip(watchers, costs, strict=True)]
        yield from figures
        yield figures[0].beside(figures[2])


def _changes(url: str, watchers: list[Watcher]) -> Iterator[Figure]:
    """Change a field that nobody reports, and then one that is reported."""
    session = XenAPI.Session(url)
    session.xenapi.login_with_password(USER, PASSWORD, "1.0", "bench")
    vms = session.xenapi.VM.get_all()[:CHANGES]
    for kind, setter in (("nobody reports", session.xenapi.VM.set_name_description),
                         ("is reported", session.xenapi.VM.set_name_label)):
        before = [one.used() for one in watchers]
        for number, vm in enumerate(vms):
            setter(vm, f"changed {number}")
            pause(SYNC_S / CHANGES)
        pause(SETTLED_S)
        figures = [Figure(f"CPU of {one.name} for a change that {kind}", 1e3 * (one.used()[0] - was[0]) / len(vms),
                          "ms", {"n": len(vms), "means": "one every 0.1 s, and the quiet time after them"})
                   for one, was in zip(watchers, before, strict=True)]
        yield from figures
        yield figures[0].beside(figures[1])
    session.xenapi.session.logout()


def _all_records(url: str) -> int:
    session = XenAPI.Session(url)
    session.xenapi.login_with_password(USER, PASSWORD, "1.0", "bench")
    request: dict[str, Any] = {"jsonrpc": "2.0", "method": "VM.get_all_records", "params": [session._session], "id": 1}
    line = Line(url, Limits())
    body = exchange(line, "/jsonrpc", json.dumps(request).encode(), {"Content-Type": "application/json"}, 60.0)
    line.close()
    session.xenapi.session.logout()
    return len(body)
