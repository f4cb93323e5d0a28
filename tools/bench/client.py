"""A REST client that costs little, and load from several of them at once."""

import contextlib
import functools
import http.client
import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tools.bench.processes import PATIENCE_S, Broken, pause


class Client:
    """One kept connection."""

    def __init__(self, url: str) -> None:
        place = urlsplit(url)
        self._connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=PATIENCE_S)

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Return the answer's JSON.  Raises Broken when it is a refusal."""
        text = None if body is None else json.dumps(body)
        self._connection.request(method, path, text, {"Content-Type": "application/json"} if text else {})
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status >= 300:
            raise Broken(f"{method} {path} was answered {answer.status}: {content.decode()[:500]}")
        return json.loads(content) if content else None

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


class Corral(Client):
    """The few requests that bring about what is measured."""

    def add_hosts(self, hosts: list[str]) -> int:
        """Create an aggregate of these hosts and wait until all are members; return its id."""
        # A member of a pool is placed there only after the pool's first report.
        until("all agents are enrolled, each in its pool",
              lambda: [host["pool"] is not None for host in self.ask("GET", "/v1/hosts")["hosts"]]
              == [True] * len(hosts), 0.1)
        wanted = {"aggregate": {"name": "rack1", "availability_zone": "zone1"}}
        aggregate = int(self.ask("POST", "/v2.1/os-aggregates", wanted)["aggregate"]["id"])
        for host in hosts:
            self.ask("POST", f"/v2.1/os-aggregates/{aggregate}/action", {"add_host": {"host": host}})
            self.settle()
        return aggregate

    def maintain(self, host: str, wanted: str) -> Any:
        """Take a host into maintenance (enable) or out of it (disable); return the operation as begun."""
        return self.ask("POST", f"/v1/hosts/{host}/maintenance", {"wanted": wanted})["operation"]

    def settle(self) -> None:
        """Wait until no operation runs.  Raises Broken when one did not succeed."""
        until("all operations have ended",
              lambda: not self.ask("GET", "/v1/operations?active=true")["operations"], 0.25)
        bad = [one for one in self.ask("GET", "/v1/operations")["operations"] if one["state"] != "succeeded"]
        if bad:
            raise Broken(f"{bad[0]['kind']} ended as {bad[0]['state']}: {bad[0]['error']}")

    def events(self, operation: str) -> list[dict[str, Any]]:
        """Return the events of an operation, in order."""
        found: list[dict[str, Any]] = self.ask("GET", f"/v1/operations/{operation}/events")["events"]
        return found


def until(claim: str, holds: Callable[[], bool], every_s: float, patience_s: float = PATIENCE_S) -> None:
    """Look until it holds.  Raises Broken after ``patience_s``."""
    deadline = time.monotonic() + patience_s
    while not holds():
        if time.monotonic() > deadline:
            raise Broken(f"not true within {patience_s:.0f} s: {claim}")
        pause(every_s)


@dataclass(frozen=True)
class Load:
    """What several clients got through together, and how long each request took."""

    per_second: float
    times_s: list[float]


def rest_load(url: str, send: Callable[[Client], object], threads: int, seconds: float) -> Load:
    """Let so many clients, each with a connection of its own, call ``send(client)`` again and again."""
    with contextlib.ExitStack() as stack:
        clients = [Client(url) for _ in range(threads)]
        for client in clients:
            stack.callback(client.close)
        return load([functools.partial(send, client) for client in clients], seconds)


def load(acts: Sequence[Callable[[], object]], seconds: float) -> Load:
    """Do each act again and again in a thread of its own.  Raises the first failure."""
    times: list[list[float]] = [[] for _ in acts]
    failures = list[Exception]()
    ready = threading.Barrier(len(acts) + 1)
    end = threading.Event()

    def work(act: Callable[[], object], took_s: list[float]) -> None:
        try:
            act()  # the connection is made before the time begins
            ready.wait(PATIENCE_S)
            while not end.is_set():
                began = time.perf_counter()
                act()
                took_s.append(time.perf_counter() - began)
        except threading.BrokenBarrierError:
            pass  # another client's failure, which that one tells
        except (Broken, OSError, http.client.HTTPException) as exc:
            failures.append(exc)
            ready.abort()

    workers = [threading.Thread(target=work, args=pair, daemon=True) for pair in zip(acts, times, strict=True)]
    for worker in workers:
        worker.start()
    try:
        ready.wait(PATIENCE_S)
    except threading.BrokenBarrierError:
        raise failures[0] if failures else Broken("a client did not come to its end") from None
    began = time.monotonic()
    pause(seconds)
    took, done = time.monotonic() - began, sum(map(len, times))
    end.set()
    for worker in workers:
        worker.join(PATIENCE_S)
    if failures:
        raise failures[0]
    return Load(done / took, [each for of_one in times for each in of_one])
