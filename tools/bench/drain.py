"""What conductor and agents spend on a migration, and how soon a freed slot is filled again.

The simulated hosts live in the bench's own process and Corral in one of its own, so
that the CPU of the hypervisors is not counted as ours.
"""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import zip_longest
from pathlib import Path
from typing import Any

from agent.simulator import Simulator
from agent.simulator.spec import GIB, HostSpec, PoolSpec, StorageSpec, VmSpec, WorldSpec
from tools.bench.client import Corral, until
from tools.bench.figures import Figure, spread
from tools.bench.processes import Broken, Process, Watched, pause, running
from tools.independent import Pool

HOSTS = ("h1", "h2", "h3", "h4")
DRAINED_VMS, PLAIN_VMS = 60, 10
SPEED = 20.0
SETTLE_S, IDLE_S = 2.0, 5.0
#: seconds that a drain may take; on a machine that is not busy it takes a tenth
DRAIN_S = 300.0
MOVE = "vm_migrate"


class Moves:
    """Notes when each migration begins and ends at the hypervisor; wakes only when the world changes."""

    def __init__(self, simulator: Simulator) -> None:
        self.starts: list[float] = []
        self.ends: list[float] = []
        self._simulator = simulator
        self._stopping = False
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        changed, known = self._simulator.lock, set[str]()
        with changed:
            while not self._stopping:
                seen, now = set(self._simulator.world.jobs), time.monotonic()
                self.starts += [now] * len(seen - known)
                self.ends += [now] * len(known - seen)
                known = seen
                changed.wait()

    def stop(self) -> None:
        """Note no more."""
        with self._simulator.lock:
            self._stopping = True
            self._simulator.lock.notify_all()
        self._thread.join()


def measure(folder: Path) -> Iterator[Figure]:
    """Yield the figures of Corral in one process; takes about 60 s."""
    with simulated() as simulator:
        plain = plain_costs(simulator)
        yield from plain
        with _deciding(simulator, folder) as process:
            corral = Corral(process.url)
            corral.add_hosts(list(HOSTS))
            yield from drained(simulator, corral, process, plain)


@contextmanager
def simulated() -> Iterator[Simulator]:
    """Give the hosts and their guests, in this process."""
    simulator = Simulator(_world(), speed=SPEED)
    simulator.start()
    try:
        yield simulator
    finally:
        simulator.stop()


def _world() -> WorldSpec:
    """Return one pool with all guests on h1, but for those of the plain client on h4."""
    guests = [VmSpec(f"vm{number:03d}", "h1" if number < DRAINED_VMS else "h4", memory=GIB, state="running",
                     disks=("shared",)) for number in range(DRAINED_VMS + PLAIN_VMS)]
    return WorldSpec(tuple(HostSpec(name, memory=160 * GIB, cpus=32) for name in HOSTS), (PoolSpec(HOSTS, "rack1"),),
                     (StorageSpec("shared", "h1", default=True),), vms=tuple(guests))


@contextmanager
def _deciding(simulator: Simulator, folder: Path) -> Iterator[Process]:
    places = [f"{name}={url}" for name, url in simulator.hosts]
    words = [sys.executable, "-m", "tools.bench.deciding", str(folder), simulator.login[1], *places]
    with running(words, folder / "deciding.log") as process:
        yield process


def plain_costs(simulator: Simulator) -> list[Figure]:
    """Move the VMs of h4 to h3 by a client that does just that, one after the other; return what each one costs."""
    pool = Pool(simulator.hosts[0][1], *simulator.login)
    target = pool.api.host.get_by_name_label("h3")[0]
    refs = pool.vms()
    vms = [refs[name]["ref"] for name in pool.running()["h4"]]
    changes = getattr(pool.api.event, "from")  # a word of Python's
    calls, used = _calls(simulator), time.thread_time()
    for vm in vms:
        task, token, status = pool.api.Async.VM.pool_migrate(vm, target, {"live": "true"}), "", "pending"
        while status == "pending":
            answer = changes([f"task/{task}"], token, 30.0)
            token = answer["token"]
            status = next((event["snapshot"]["status"] for event in answer["events"]), status)
        if pool.api.VM.get_resident_on(vm) != target:
            raise Broken(f"a plain migration ended as {status}")
        pool.api.task.destroy(task)
    return _costs("a plain XenAPI client", time.thread_time() - used, _calls(simulator) - calls, len(vms))


def _calls(simulator: Simulator) -> int:
    """Return how many calls the hosts were asked, of all that the simulator still knows."""
    with simulator.lock:
        return len(simulator.world.calls)


def _costs(whose: str, spent_s: float, calls: int, vms: int, **more: Any) -> list[Figure]:
    return [Figure(f"CPU of {whose} per migrated VM", 1e3 * spent_s / vms, "ms", {"n": vms, **more}),
            Figure(f"XenAPI calls of {whose} per migrated VM", calls / vms, "calls", {"n": vms})]


def drained(simulator: Simulator, corral: Corral, watched: Watched, plain: list[Figure],
            over: str = "") -> Iterator[Figure]:
    """Drain h1 by Corral, whose hosts are in an aggregate; yield what that costs, beside what it costs a plain client.

    ``watched``: conductors, agents and API; ``over``: how they are connected, for the figures' names.
    """
    for ours, theirs in zip_longest(_drained(simulator, corral, watched, over), plain):
        yield ours
        if theirs is not None:
            yield ours.beside(theirs)


def _drained(simulator: Simulator, corral: Corral, watched: Watched, over: str) -> Iterator[Figure]:
    """Yield the costs first, in the order of the plain client's."""
    pause(SETTLE_S)
    idle = watched.busy_share(IDLE_S)
    moves, calls = Moves(simulator), _calls(simulator)
    began, used = time.monotonic(), watched.cpu_s()
    operation = corral.maintain("h1", "enable")["id"]
    corral.close()  # the server drops a connection that is quiet for long; the next request makes a new one
    until("all VMs have moved", lambda: len(moves.ends) >= DRAINED_VMS, 0.25, DRAIN_S)
    moved_s, calls = time.monotonic() - began, _calls(simulator) - calls
    corral.settle()
    spent = watched.cpu_s() - used - idle * (time.monotonic() - began)
    moves.stop()
    yield from _costs(f"conductor and agents{over}", spent, calls, DRAINED_VMS, drain_s=round(moved_s, 1),
                      means="the operation's other tasks included, the idle rate taken off")
    yield from spread(f"slot refilled{over}, hypervisor's end to next pool_migrate", _ms(moves.ends, moves.starts),
                      "ms", means="a migration's last trace gone to the next one begun, in the simulator")
    yield from spread(f"slot refilled{over}, event effect to event claimed", _told(corral.events(operation)), "ms",
                      means="as the conductor has it in the operation's events")
    yield Figure(f"idle CPU of conductor, API and 4 agents{over}", 100 * idle, "% of a core", {"seconds": IDLE_S})
    corral.close()


def _told(events: list[dict[str, Any]]) -> list[float]:
    of_moves = [event for event in events if event["task_kind"] == MOVE]
    at = {name: [datetime.fromisoformat(event["at"]).timestamp() for event in of_moves if event["event"] == name]
          for name in ("effect", "claimed")}
    return _ms(at["effect"], at["claimed"])


def _ms(ends: list[float], starts: list[float]) -> list[float]:
    return [1e3 * gap for gap in gaps(ends, starts)]


def gaps(ends: list[float], starts: list[float]) -> list[float]:
    """Return for each end how long its slot stayed free: until the first start that no earlier end accounts for.

    The last ends, after which nothing starts, have none.
    """
    found, waiting = [], iter(sorted(starts))
    for end in sorted(ends):
        start = next((start for start in waiting if start >= end), None)
        if start is None:
            break
        found.append(start - end)
    return found
