"""The heartbeat: who this agent is, what it runs, what it sees; and what the answer asks for.

One thread syncs at its interval and early when something changed; a second one follows
the pool's events, only while the conductor wants this agent to observe.  It carries no
orders out and judges nothing.
"""

import itertools
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

from agent.digests import Digests
from agent.driver import Hypervisor, Observer, Whereabouts
from agent.worker import Pace, Worker
from common import errors
from common.clock import Clock
from common.messages import AGENTS_VERSION, Claim, PoolReport, Report, Sync, SyncAnswer
from common.pulse import NoPulse, Pulse

LOG = logging.getLogger(__name__)

T = TypeVar("T")

#: so many numbers are tried in a row for what has to be said
NUMBERS = 5
#: an early sync waits so many times as long as the last one took: a big pool must not fill the agent's day
EASE = 10.0


class AgentsDoor(Protocol):
    """The conductors, as ``common.agents_api.AgentsAPI`` reaches them."""

    def sync(self, sync: Sync) -> SyncAnswer:
        """Bring a heartbeat."""

    def claim(
        self, host: str, incarnation: str, sequence: int, task: str, attempt: int, session: str | None
    ) -> Claim:
        """Ask for an order."""

    def report(self, host: str, incarnation: str, sequence: int, report: Report) -> bool:
        """Bring readings."""


class Speaker:
    """This agent's voice: adds name, incarnation and a rising number to all it says.  For any thread.

    Every sending has a number of its own, so that none is taken in twice.
    """

    def __init__(self, door: AgentsDoor, host: str, incarnation: str) -> None:
        self.host = host
        self.incarnation = incarnation
        self._door = door
        self._numbers: Iterator[int] = itertools.count(1)

    def sync(self, sync: Sync) -> SyncAnswer:
        """Bring a heartbeat.  Raises Unavailable, OutcomeUnknown, or what it is refused with."""
        return self._say(
            lambda number: self._door.sync(replace(sync, incarnation=self.incarnation, sequence=number))
        )

    def claim(self, task: str, attempt: int, session: str | None) -> Claim:
        """Ask for an order.  Raises Unavailable, OutcomeUnknown, or what it is refused with."""
        return self._say(
            lambda number: self._door.claim(self.host, self.incarnation, number, task, attempt, session)
        )

    def report(self, report: Report) -> bool:
        """Bring readings; return whether more is wanted.  Raises as ``claim``."""
        return self._say(lambda number: self._door.report(self.host, self.incarnation, number, report))

    def _say(self, send: Callable[[int], T]) -> T:
        """Return what ``send`` returns, under a new number when the broker has doubled or delayed the last one."""
        for _ in range(NUMBERS):
            try:
                return send(next(self._numbers))
            except errors.WrongState as exc:
                if exc.code == "older_incarnation":
                    self.incarnation = later_than(str(exc.details.get("newest")), self.incarnation)
                elif exc.code != "replayed":
                    raise
        raise errors.OutcomeUnknown(f"{NUMBERS} messages in a row came twice or late")


def later_than(newest: str, own: str) -> str:
    """Return a name for this process that sorts after ``newest``, which began by a clock that was ahead of ours."""
    began, dash, _ = newest.partition("-")
    if not (dash and began.isdecimal()):
        raise errors.Bug(f"The name {newest} of an agent does not begin with its time")
    return f"{int(began) + 1:013d}-{own.partition('-')[2]}"


@dataclass(frozen=True)
class Rhythm:
    """The intervals of the heartbeat, in seconds; the conductor's answer sets ``interval_s`` anew."""

    interval_s: float = 10.0
    coalesce_s: float = 0.2
    poll_s: float = 30.0


class Inventory:
    """The two threads; ``poke`` is for any thread."""

    def __init__(
        self,
        speaker: Speaker,
        hypervisor: Hypervisor,
        worker: Worker,
        clock: Clock,
        *,
        url: str,
        rhythm: Rhythm | None = None,
        pace: Pace | None = None,
        pulse: Pulse | None = None,
        on_superseded: Callable[[], None] = lambda: None,
    ) -> None:
        self._speaker = speaker
        self._hypervisor = hypervisor
        self._worker = worker
        self._clock = clock
        self._url = url
        self._rhythm = rhythm or Rhythm()
        self._pace = pace or Pace()
        self._pulse = pulse or NoPulse()
        self._on_superseded = on_superseded
        #: the digest of the pool report that the conductors have
        self._known: str | None = None
        self._digests = Digests()
        self._interval_s = self._rhythm.interval_s
        self._changed = threading.Condition()
        self._poked = False
        self._stopping = threading.Event()
        self._eyes: Eyes | None = None
        self._thread = threading.Thread(target=self._run, name=f"corral-sync-{speaker.host}", daemon=True)

    def start(self) -> None:
        """Begin with a sync."""
        self._thread.start()

    def end(self) -> None:
        """Sync no more; returns at once.  Idempotent."""
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()

    def stop(self) -> None:
        """End both threads and wait for them."""
        self.end()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()
        self._look_away()

    def poke(self) -> None:
        """Sync soon: something has changed."""
        with self._changed:
            self._poked = True
            self._changed.notify_all()

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            began = self._clock.monotonic()
            try:
                self.sync_once()
                self._pulse.heard()
                failures = 0
                pause_s, least_s = self._interval_s, EASE * (self._clock.monotonic() - began)
            except errors.Error as exc:
                if not errors.is_silence(exc):
                    # Without an answer it may be this process that is deaf; all else is told by others.
                    self._pulse.waiting(exc.message)
                LOG.info("The sync of %s was not heard: %s", self._speaker.host, exc.message)
                pause_s = least_s = self._pace.after(failures)
                failures += 1
            except Exception:
                # The outermost loop of the heartbeat: a defect must not silence the agent for good.
                LOG.exception("The sync of %s failed by an error of our own", self._speaker.host)
                pause_s = least_s = self._interval_s
            self._wait(pause_s, max(self._rhythm.coalesce_s, min(least_s, self._interval_s)))

    def _wait(self, pause_s: float, least_s: float) -> None:
        """Wait ``pause_s``, or ``least_s`` when poked."""
        # Changes within the least pause are told together.
        self._stopping.wait(min(least_s, pause_s))
        with self._changed:
            self._changed.wait_for(
                lambda: self._poked or self._stopping.is_set(), max(0.0, pause_s - least_s)
            )
            self._poked = False

    def sync_once(self) -> SyncAnswer:
        """Read who and where we are, tell it, and do as the answer asks.

        Raises Unavailable, OutcomeUnknown; may be repeated.
        """
        here = self._hypervisor.locate()
        answer = self._speaker.sync(self._message(here))
        if answer.superseded:
            self._on_superseded()
            return answer
        self._interval_s = answer.interval_s
        self._known = answer.report_digest
        self._hypervisor.know("sync", answer.members)
        if here.host_uuid is None and here.master_address in answer.members.values():
            # A slave that did not know its master's address, as after each start, has just learned it.
            self.poke()
        for task in answer.dropped:
            self._worker.drop(task)
        for order in answer.called_off:
            self._worker.call_off(str(order["task"]), int(order["attempt"]))
        for order in answer.orders:
            self._worker.ring(str(order["task"]), int(order["attempt"]))
        if answer.observe and here.role in ("standalone", "master", "slave"):
            self._look(here)
        else:
            self._look_away()
        return answer

    def _message(self, here: Whereabouts) -> Sync:
        said = Sync(
            host=self._speaker.host,
            incarnation=self._speaker.incarnation,
            sequence=0,
            url=self._url,
            role=here.role,
            host_uuid=here.host_uuid,
            address=here.address,
            pool=here.pool,
            master_address=here.master_address,
            running=self._worker.running(),
            highest_epoch=self._worker.highest_epoch,
            trouble=here.trouble,
            version=AGENTS_VERSION,
        )
        if self._eyes is None:
            return said
        seen = self._eyes.report()
        said = replace(said, trouble=here.trouble or self._eyes.trouble)
        if seen is None or seen.pool != here.pool:
            # A pool that is not ours (any more) is not ours to report.
            return said
        digest = self._digests.of(seen)
        if digest == self._known:
            return replace(said, report_digest=digest, report_age_s=seen.age_s)
        return replace(said, report_digest=digest, report=seen.to_wire())

    def _look(self, here: Whereabouts) -> None:
        """Observe the pool we are in now; one that we have left is let go."""
        if self._eyes is not None and (self._eyes.pool != here.pool or not self._eyes.is_alive()):
            self._look_away()
        if self._eyes is None and not self._stopping.is_set():
            self._eyes = Eyes(
                self._hypervisor,
                here.pool,
                # What is reported is as old as the last answer, so a quiet pool has to answer as often as we tell.
                min(self._rhythm.poll_s, self._interval_s),
                self._pace,
                self.poke,
                name=self._speaker.host,
            )
            self._eyes.start()

    def _look_away(self) -> None:
        eyes, self._eyes = self._eyes, None
        if eyes is not None:
            eyes.stop()


class Eyes:
    """The thread that follows one pool's events; ``report`` is for any thread."""

    def __init__(
        self,
        hypervisor: Hypervisor,
        pool: str | None,
        poll_s: float,
        pace: Pace,
        on_change: Callable[[], None],
        name: str,
    ) -> None:
        self.pool = pool
        self.trouble: dict[str, Any] | None = None
        self._hypervisor = hypervisor
        self._poll_s = poll_s
        self._pace = pace
        self._on_change = on_change
        self._observer: Observer | None = None
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"corral-observe-{name}", daemon=True)

    def start(self) -> None:
        """Begin to observe."""
        self._thread.start()

    def is_alive(self) -> bool:
        """Return whether the thread runs."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """End the thread and wait for it."""
        self._stopping.set()
        with self._lock:
            if self._observer is not None:
                self._observer.interrupt()
        self._thread.join()

    def report(self) -> PoolReport | None:
        """Return the pool as last seen, None while it can't be seen."""
        with self._lock:
            observer = self._observer
        return observer.report() if observer is not None else None

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            try:
                self._follow()
                failures = 0
            except errors.Error as exc:
                self._close()
                if self._stopping.is_set():
                    break
                LOG.info("The pool can't be observed: %s", exc.message)
                had_news = self.trouble is None
                self.trouble = {"code": exc.code, "message": exc.message}
                if had_news:
                    self._on_change()
                self._stopping.wait(self._pace.after(failures))
                failures += 1
            except Exception:
                # The outermost loop of the observer: records of an unknown shape must not end it silently.
                LOG.exception("The pool can't be observed because of an error of our own")
                self.trouble = {"code": errors.Bug.code, "message": "The pool's records can't be read"}
                self._close()
                self._stopping.wait(self._pace.longest_s)
        self._close()

    def _follow(self) -> None:
        observer = self._observer
        if observer is None:
            observer = self._hypervisor.observe()
            with self._lock:
                self._observer = observer
        if observer.follow(self._poll_s) and not self._stopping.is_set():
            self._on_change()
        self.trouble = None

    def _close(self) -> None:
        with self._lock:
            observer, self._observer = self._observer, None
        if observer is not None:
            observer.close()
