"""The heartbeat with a hypervisor in memory and a conductor in memory."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from agent_world import Hypervisor, World

from agent.driver import Observer
from agent.inventory import Inventory, Rhythm, Speaker
from agent.worker import Pace, Worker
from common import errors
from common.messages import Claim, PoolReport, Report, Sync, SyncAnswer

DEADLINE_S = 10.0
FAST = Pace(first_s=0.001, longest_s=0.01)


class Door:
    """The conductors in memory."""

    def __init__(self) -> None:
        self.answer = SyncAnswer(interval_s=60.0)
        self.syncs: list[Sync] = []
        self.claimed: list[tuple[str, int]] = []
        self.deaf_for = 0
        self._changed = threading.Condition()

    def sync(self, sync: Sync) -> SyncAnswer:
        with self._changed:
            if self.deaf_for:
                self.deaf_for -= 1
                raise errors.Unavailable("nobody listens")
            self.syncs.append(sync)
            self._changed.notify_all()
            return self.answer

    def claim(self, host: str, incarnation: str, sequence: int, task: str, attempt: int,
              session: str | None) -> Claim:  # fmt: skip
        with self._changed:
            self.claimed.append((task, attempt))
            self._changed.notify_all()
            return Claim("stale")

    def report(self, host: str, incarnation: str, sequence: int, report: Report) -> bool:
        return True

    def wait_for(self, what: Callable[[], bool]) -> bool:
        with self._changed:
            return self._changed.wait_for(what, DEADLINE_S)


class Eye:
    """An observer of a pool that changes when it is told to."""

    def __init__(self, pool: str) -> None:
        self.pool = pool
        self.changed = threading.Event()
        self.fails: errors.Error | None = None
        self.closed = threading.Event()

    def follow(self, timeout_s: float) -> bool:
        self.changed.wait(timeout_s)
        self.changed.clear()
        if self.fails is not None:
            raise self.fails
        return True

    def report(self) -> PoolReport | None:
        return PoolReport(self.pool, "h1", "", [], []) if self.fails is None else None

    def interrupt(self) -> None:
        self.fails = errors.Unavailable("ended")
        self.changed.set()

    def close(self) -> None:
        self.closed.set()


class Seeing(Hypervisor):
    """A host whose pool can be observed."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.eyes: list[Eye] = []

    def observe(self) -> Observer:
        eye = Eye(self.world.uuid)
        eye.changed.set()
        self.eyes.append(eye)
        return eye


@contextmanager
def beating(door: Door, hypervisor: Hypervisor, superseded: threading.Event | None = None) -> Iterator[Inventory]:
    speaker = Speaker(door, "h1", "1-a")
    worker = Worker(hypervisor, speaker, hypervisor.world.clock, pace=FAST)
    inventory = Inventory(
        speaker,
        hypervisor,
        worker,
        hypervisor.world.clock,
        url="http://h1",
        rhythm=Rhythm(60.0, 0.05, 5.0),
        pace=FAST,
        on_superseded=(superseded or threading.Event()).set,
    )
    inventory.start()
    try:
        yield inventory
    finally:
        inventory.stop()
        worker.stop()


def test_the_first_sync_says_who_and_where() -> None:
    door = Door()
    with beating(door, Hypervisor(World())):
        assert door.wait_for(lambda: bool(door.syncs))
    first = door.syncs[0]
    assert (first.host, first.incarnation, first.url, first.role) == ("h1", "1-a", "http://h1", "master")
    assert (first.host_uuid, first.pool, first.report) == ("h1", "uuid-pool-1", None)


def test_changes_are_told_early_and_together() -> None:
    door = Door()
    with beating(door, Hypervisor(World())) as inventory:
        assert door.wait_for(lambda: len(door.syncs) == 1)
        for _ in range(100):
            inventory.poke()
        assert door.wait_for(lambda: len(door.syncs) == 2)
        assert [sync.sequence for sync in door.syncs] == sorted({sync.sequence for sync in door.syncs})
    assert len(door.syncs) == 2


def test_a_sync_that_nobody_hears_is_repeated_soon() -> None:
    door = Door()
    door.deaf_for = 5
    began = time.monotonic()
    with beating(door, Hypervisor(World())):
        assert door.wait_for(lambda: bool(door.syncs))
    assert time.monotonic() - began < 5


def test_the_answer_brings_addresses_and_orders() -> None:
    door, hypervisor = Door(), Hypervisor(World())
    door.answer = SyncAnswer(interval_s=60.0, orders=[{"task": "t1", "attempt": 2}], members={"h2": "10.0.0.2"})
    with beating(door, hypervisor):
        assert door.wait_for(lambda: bool(door.claimed))
        assert hypervisor.known["sync"] == {"h2": "10.0.0.2"}
    assert door.claimed[0] == ("t1", 2)


def test_a_superseded_agent_is_told_by_its_sync() -> None:
    door, told = Door(), threading.Event()
    door.answer = SyncAnswer(superseded=True, orders=[{"task": "t1", "attempt": 1}])
    with beating(door, Hypervisor(World()), told):
        assert told.wait(DEADLINE_S)
    assert door.claimed == []


def test_only_who_is_asked_observes_and_stops_when_asked_no_more() -> None:
    door, hypervisor = Door(), Seeing(World())
    with beating(door, hypervisor) as inventory:
        assert door.wait_for(lambda: len(door.syncs) == 1)
        assert hypervisor.eyes == []
        door.answer = SyncAnswer(interval_s=60.0, observe=True)
        inventory.poke()
        assert door.wait_for(lambda: any(sync.report for sync in door.syncs))
        seen = len(door.syncs)
        hypervisor.eyes[0].changed.set()
        assert door.wait_for(lambda: len(door.syncs) > seen), "a change in the pool is told early"
        door.answer = SyncAnswer(interval_s=60.0)
        inventory.poke()
        assert hypervisor.eyes[0].closed.wait(DEADLINE_S)


def test_a_pool_that_can_not_be_seen_is_told_as_trouble_and_looked_at_again() -> None:
    door, hypervisor = Door(), Seeing(World())
    door.answer = SyncAnswer(interval_s=60.0, observe=True)
    with beating(door, hypervisor):
        assert door.wait_for(lambda: any(sync.report for sync in door.syncs))
        hypervisor.eyes[0].fails = errors.Unavailable("away", code="hypervisor_unavailable")
        hypervisor.eyes[0].changed.set()
        assert hypervisor.eyes[0].closed.wait(DEADLINE_S)
        seen = len(door.syncs)
        assert door.wait_for(lambda: any(sync.report for sync in door.syncs[seen:]))
    assert len(hypervisor.eyes) == 2


def test_another_pools_report_is_never_sent() -> None:
    door, hypervisor = Door(), Seeing(World())
    door.answer = SyncAnswer(interval_s=60.0, observe=True)
    with beating(door, hypervisor) as inventory:
        assert door.wait_for(lambda: any(sync.report for sync in door.syncs))
        hypervisor.here = hypervisor.here.__class__("slave", "h1", "10.0.0.1", "uuid-other", "10.0.9.9")
        seen = len(door.syncs)
        inventory.poke()
        assert door.wait_for(lambda: len(door.syncs) > seen)
        assert all(sync.report is None for sync in door.syncs if sync.pool == "uuid-other")
