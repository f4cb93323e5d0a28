"""The heartbeat with a hypervisor in memory and a conductor in memory."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from agent_world import Hypervisor, World

from agent.digests import Digests
from agent.driver import Observer
from agent.inventory import NUMBERS, Inventory, Rhythm, Speaker, later_than
from agent.worker import Pace, Worker
from common import errors
from common.messages import Claim, PoolReport, Report, Sync, SyncAnswer
from common.pulse import Pulse

DEADLINE_S = 10.0
FAST = Pace(first_s=0.001, longest_s=0.01)


class Door:
    """The conductors in memory."""

    def __init__(self) -> None:
        self.answer = SyncAnswer(interval_s=60.0)
        self.syncs: list[Sync] = []
        self.claimed: list[tuple[str, int]] = []
        self.deaf_for = 0
        self.refuses: list[errors.Error] = []
        self.acknowledges = False
        self._changed = threading.Condition()

    def sync(self, sync: Sync) -> SyncAnswer:
        with self._changed:
            if self.deaf_for:
                self.deaf_for -= 1
                raise errors.Unavailable("nobody listens")
            if self.refuses:
                raise self.refuses.pop(0)
            self.syncs.append(sync)
            self._changed.notify_all()
            return replace(self.answer, report_digest=sync.report_digest) if self.acknowledges else self.answer

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
        self.name_label = ""
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
        return PoolReport(self.pool, "h1", self.name_label, [], [], age_s=0.5) if self.fails is None else None

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
def beating(
    door: Door,
    hypervisor: Hypervisor,
    superseded: threading.Event | None = None,
    pulse: Pulse | None = None,
) -> Iterator[Inventory]:
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
        pulse=pulse,
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


def test_a_pool_that_the_conductors_know_as_it_is_is_not_sent_again() -> None:
    door, hypervisor = Door(), Seeing(World())
    door.answer, door.acknowledges = SyncAnswer(interval_s=60.0, observe=True), True

    def next_after(seen: int) -> Sync:
        assert door.wait_for(lambda: len(door.syncs) > seen)
        return door.syncs[seen]

    with beating(door, hypervisor) as inventory:
        assert door.wait_for(lambda: any(sync.report for sync in door.syncs))
        first = len(door.syncs)
        inventory.poke()
        left_out = next_after(first)
        assert (left_out.report, left_out.report_age_s) == (None, 0.5)
        assert left_out.report_digest == door.syncs[first - 1].report_digest is not None
        hypervisor.eyes[0].name_label = "renamed"
        hypervisor.eyes[0].changed.set()
        changed = next_after(first + 1)
        assert changed.report is not None and changed.report["name_label"] == "renamed"
        assert changed.report_digest not in (None, left_out.report_digest)
        # A conductor that knows nothing of it, as after a backup, gets it whole again.
        door.acknowledges = False
        inventory.poke()
        assert next_after(first + 2).report is None
        inventory.poke()
        assert next_after(first + 3).report is not None


def test_the_age_of_a_reading_does_not_make_another_report_of_it() -> None:
    report = PoolReport("pool", "h1", "", [], [], age_s=1.0)
    digests = Digests()
    assert digests.of(report) == digests.of(replace(report, age_s=9.0)) == Digests().of(report)
    assert digests.of(report) != digests.of(replace(report, ha_enabled=True))


def test_a_report_has_the_same_name_whether_others_were_named_before() -> None:
    vms = [{"uuid": name, "power_state": "Running"} for name in "abc"]
    first = PoolReport("pool", "h1", "", [], vms)
    later = [replace(first, vms=[vms[0], {"uuid": "b", "power_state": "Halted"}, vms[2]]), replace(first, vms=vms[:2]),
             replace(first, vms=[vms[1], vms[0], vms[2]]), replace(first, hosts=[{"uuid": "h1"}]), first]
    digests = Digests()
    names = [digests.of(report) for report in later]
    assert names == [Digests().of(report) for report in later]
    assert len(set(names)) == len(names)


class Watcher:
    """Takes note of the signs of life."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def heard(self) -> None:
        self.said.append("heard")

    def waiting(self, why: str) -> None:
        self.said.append(why)


def test_heartbeats_that_are_answered_or_can_not_be_are_signs_of_life_and_silence_is_none() -> None:
    door, watcher = Door(), Watcher()
    door.refuses = [errors.Unavailable("away"), errors.OutcomeUnknown("no answer"), errors.Forbidden("no key")]
    with beating(door, Hypervisor(World()), pulse=watcher):
        assert door.wait_for(lambda: bool(door.syncs))
    assert watcher.said == ["away", "no key", "heard"]


def test_every_sending_has_a_number_of_its_own_and_one_that_was_used_is_replaced() -> None:
    door = Door()
    speaker = Speaker(door, "h1", "1-a")
    speaker.claim("t1", 1, None)
    door.refuses = [errors.WrongState(code="replayed"), errors.WrongState(code="replayed")]
    speaker.sync(Sync("h1", "", 0))
    assert [(sync.incarnation, sync.sequence) for sync in door.syncs] == [("1-a", 4)]
    door.refuses = [errors.WrongState(code="replayed")] * NUMBERS
    with pytest.raises(errors.OutcomeUnknown):
        speaker.sync(Sync("h1", "", 0))
    door.refuses = [errors.WrongState(code="host_uuid_changed")]
    with pytest.raises(errors.WrongState):
        speaker.sync(Sync("h1", "", 0))


def test_an_agent_whose_name_sorts_before_that_of_an_earlier_one_takes_a_later_name() -> None:
    door = Door()
    door.refuses = [errors.WrongState(code="older_incarnation", newest="1700000000999-b")]
    speaker = Speaker(door, "h1", "1600000000000-a")
    speaker.sync(Sync("h1", "", 0))
    assert door.syncs[0].incarnation == speaker.incarnation == "1700000001000-a"
    assert speaker.incarnation > "1700000000999-b"
    with pytest.raises(errors.Bug):
        later_than("something", "1600000000000-a")
