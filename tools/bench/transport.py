"""What a call over the in-process transport costs, and what its servers cost while nothing happens."""

import os
import queue
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from common import rpc
from tools.bench.figures import Figure
from tools.bench.processes import cpu_s, pause

CALLS, WARM_UP, IDLE_S = 3000, 300, 5.0
Texts = queue.SimpleQueue[str | None]


def measure() -> Iterator[Figure]:
    """Yield the figures; takes about 8 s."""
    hand_over = Figure("queue round trip between two threads, median", _queues(), "µs", {"n": CALLS})
    transport = rpc.transport("corral-inproc://bench/")
    servers = [rpc.Server(transport, topic, "bench", "1.0", {"echo": _echo}) for topic in ("bench.one", "bench.two")]
    for server in servers:
        server.start()
    client = rpc.Client(transport, "bench.one", "1.0")
    call = Figure("in-process call round trip, median", _median_us(lambda: client.call({}, "echo", text="x")), "µs",
                  {"n": CALLS})
    idle = _idle_share()
    for server in servers:
        server.stop()
    yield hand_over
    yield call
    yield call.beside(hand_over)
    yield Figure("idle CPU of two in-process servers", 100 * idle, "% of a core", {"seconds": IDLE_S})


def _echo(context: Any, text: str) -> str:
    return text


def _median_us(act: Callable[[], object]) -> float:
    times = []
    for _ in range(WARM_UP + CALLS):
        began = time.perf_counter()
        act()
        times.append(time.perf_counter() - began)
    return 1e6 * statistics.median(times[WARM_UP:])


def _queues() -> float:
    """Return the median µs of handing a text to another thread and getting it back, which no call can beat."""
    there, back = Texts(), Texts()

    def serve() -> None:
        while (text := there.get()) is not None:
            back.put(text)

    def trip() -> None:
        there.put("x")
        back.get()

    server = threading.Thread(target=serve, daemon=True)
    server.start()
    took = _median_us(trip)
    there.put(None)
    server.join()
    return took


def _idle_share() -> float:
    # The servers' threads are all that could run here now.
    began, used = time.monotonic(), cpu_s(os.getpid())
    pause(IDLE_S)
    return (cpu_s(os.getpid()) - used) / (time.monotonic() - began)
