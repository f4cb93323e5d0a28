"""Carries orders out: claim, observe, act if needed, observe, report.

One thread of a bounded pool per attempt; the doorbells and the orders listed by sync
only put attempts into the queue.  It decides nothing about hosts and VMs (the step
machines do), and it never acts on an order that it has not claimed.
"""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

from agent.driver import Hypervisor, PoolSession
from agent.tasks import machine_for
from agent.tasks.machine import Machine, Settled, Surroundings, Wait, refusal
from common import errors
from common.clock import Clock
from common.messages import Claim, Order, Report

LOG = logging.getLogger(__name__)

#: nothing acts on a claim older than this (DESIGN §6)
CLAIM_FRESH_S = 30.0
#: so much further is worth telling before the next heartbeat
NEWS = 0.1


class Conductor(Protocol):
    """What the worker needs of the conductors: claim and report, under this agent's name."""

    def claim(self, task: str, attempt: int, session: str | None) -> Claim:
        """Ask for an order.  Raises Unavailable, OutcomeUnknown; may be repeated."""

    def report(self, report: Report) -> bool:
        """Bring readings; return whether more is wanted.  Raises as ``claim``; may be repeated."""


class Withdrawn(errors.Error):
    """The conductor does not want this attempt to go on."""

    code = "withdrawn"


@dataclass(frozen=True)
class Pace:
    """How long a worker waits between its tries, in seconds."""

    first_s: float = 0.2
    longest_s: float = 5.0

    def after(self, failures: int) -> float:
        """Return the pause after so many failures in a row."""
        return float(min(self.longest_s, self.first_s * 2 ** min(failures, 10)))


@dataclass
class Attempt:
    """One attempt that this process works on."""

    task: str
    attempt: int
    progress: float = 0.0
    order: Order | None = None
    driver: PoolSession | None = None
    machine: Machine | None = None
    claimed_at: float = 0.0
    claimed_session: str | None = None
    fenced: list[str] = field(default_factory=list)
    reported: bool = False
    #: set when nobody wants the order any more; what was begun is then asked to end
    called_off: threading.Event = field(default_factory=threading.Event)
    #: set when the agent stops or the conductor gave the task up
    ended: threading.Event = field(default_factory=threading.Event)


class Worker:
    """Runs attempts; ``ring``, ``drop``, ``call_off``, ``running`` and ``stop`` are for any thread."""

    def __init__(self, hypervisor: Hypervisor, conductor: Conductor, clock: Clock, *, threads: int = 8,
                 pace: Pace | None = None, on_superseded: Callable[[], None] = lambda: None,
                 on_news: Callable[[], None] = lambda: None) -> None:
        self._hypervisor = hypervisor
        self._conductor = conductor
        self._clock = clock
        self._pace = pace or Pace()
        self._on_superseded = on_superseded
        self._on_news = on_news
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="corral-worker")
        self._lock = threading.Lock()
        self._attempts: dict[tuple[str, int], Attempt] = {}
        self._highest_epoch = 0
        self._stopping = False

    def ring(self, task: str, attempt: int) -> bool:
        """Work on this attempt as soon as a thread is free; return False when it is at hand already."""
        with self._lock:
            if self._stopping:
                return True
            if (task, attempt) in self._attempts:
                return False
            entry = self._attempts[task, attempt] = Attempt(task, attempt)
            future = self._pool.submit(self._run, entry)
        future.add_done_callback(_log_bug)
        return True

    def drop(self, task: str) -> None:
        """Stop working on ``task``: the conductor gave it up.  What runs in the pool is left alone."""
        with self._lock:
            dropped = [entry for entry in self._attempts.values() if entry.task == task]
        for entry in dropped:
            _end(entry)

    def call_off(self, task: str, attempt: int) -> None:
        """Ask once that the attempt's work ends, if it still can; what comes of it is reported.  Idempotent."""
        with self._lock:
            entry = self._attempts.get((task, attempt))
        if entry is None or entry.called_off.is_set():
            return
        entry.called_off.set()
        driver = entry.driver
        if driver is not None:
            driver.nudge()

    def running(self) -> list[dict[str, Any]]:
        """Return what this process works on, as a sync lists it."""
        with self._lock:
            return [{"task": entry.task, "attempt": entry.attempt, "progress": entry.progress}
                    for entry in self._attempts.values() if entry.order is not None]

    @property
    def highest_epoch(self) -> int:
        """The highest epoch seen in an order."""
        return self._highest_epoch

    def end(self) -> None:
        """Take no more orders and let go of those in hand; returns at once.  Idempotent."""
        with self._lock:
            self._stopping = True
            entries = list(self._attempts.values())
        for entry in entries:
            _end(entry)

    def stop(self) -> None:
        """End, and wait for the threads.  Idempotent."""
        self.end()
        self._pool.shutdown(wait=True, cancel_futures=True)

    # one attempt
    def _run(self, entry: Attempt) -> None:
        try:
            settled = self._until_settled(entry)
            if settled is not None:
                self._report(entry, Report(entry.task, entry.attempt, True, settled.readings, settled.error,
                                           list(entry.fenced)))
        except Withdrawn as exc:
            LOG.info("Attempt %s of task %s ends: %s", entry.attempt, entry.task, exc.message)
        finally:
            if entry.machine is not None:
                entry.machine.release()
            self._leave(entry)
            self._hypervisor.know(entry.task, {})
            with self._lock:
                self._attempts.pop((entry.task, entry.attempt), None)
            self._on_news()

    def _until_settled(self, entry: Attempt) -> Settled | None:
        """Return how the attempt ended, None when it was stopped or dropped."""
        machine: Machine | None = None
        failures = 0
        while not entry.ended.is_set():
            try:
                if entry.driver is None:
                    self._enter(entry)
                    if machine is not None and entry.driver is not None:
                        machine.resume(entry.driver)
                if machine is None:
                    machine = entry.machine = self._machine(entry)
                settled = self._go_on(entry, machine)
                failures = 0
                if settled is not None:
                    self._report_settled(entry, machine, settled)
                    return None
            except Withdrawn:
                raise
            except errors.NotImplementedYet as exc:
                return Settled({}, exc.to_wire() | {"params": [], "effect": "none"})
            except errors.Error as exc:
                ended = self._interrupted(entry, machine, exc)
                if ended is not None:
                    return ended
                entry.ended.wait(self._pace.after(failures))
                failures += 1
        return None

    def _go_on(self, entry: Attempt, machine: Machine) -> Settled | None:
        """Take one step and wait as it asks; return the end if that was it."""
        step = machine.step()
        if isinstance(step, Settled):
            return step
        if abs(step.progress - entry.progress) >= NEWS:
            entry.progress = step.progress
            self._on_news()
        if step.news is not None:
            self._report(entry, Report(entry.task, entry.attempt, False, step.news, None, list(entry.fenced)))
        self._wait(entry, step)
        return None

    def _wait(self, entry: Attempt, step: Wait) -> None:
        if step.watches and entry.driver is not None:
            entry.driver.wait(step.watches, step.timeout_s)
        else:
            entry.ended.wait(step.timeout_s)

    def _interrupted(self, entry: Attempt, machine: Machine | None, exc: errors.Error) -> Settled | None:
        """Take note of an error between two steps; return the end if it is one."""
        LOG.info("Task %s is interrupted (%s): %s", entry.task, exc.code, exc.message)
        if isinstance(exc, errors.SessionLost | errors.HostIsSlave):
            self._leave(entry)
        elif isinstance(exc, errors.Unavailable | errors.OutcomeUnknown):
            if entry.driver is not None:
                entry.driver.reconnect()
                if machine is not None:
                    machine.resume(entry.driver)
            if machine is not None and isinstance(exc, errors.Unavailable) and machine.over_limit():
                # Perhaps another member is the master now; the session would not tell.
                self._leave(entry)
        elif machine is None or machine.acted:
            pass  # nothing can be said about work that may be running; it is looked at until it can be read
        elif machine.over_limit() or not isinstance(exc, errors.HypervisorError):
            return Settled({}, refusal(exc))
        return None

    def _enter(self, entry: Attempt) -> None:
        """Log in to the order's pool, claim under that session, and end the sessions of earlier claimants."""
        try:
            driver = self._hypervisor.open(_pool_of(entry.order))
        except errors.HostIsSlave:
            if entry.order is not None:
                raise
            # The master's address may be known to the order only; it can be read without a session.
            self._claim(entry, None)
            driver = self._hypervisor.open(_pool_of(entry.order))
        entry.driver = driver
        try:
            self._claim(entry, driver.session_uuid)
            pool = _pool_of(entry.order)
            if pool is not None and driver.pool_uuid() != pool:
                # In another pool every host and VM of the order looks absent: nothing may be read there.
                raise errors.Unavailable(f"the session is not with pool {pool}", code="other_pool")
        except errors.Error:
            # Nothing was begun under this session, and no order may be carried out without its fence.
            entry.driver = None
            driver.close()
            raise

    def _claim(self, entry: Attempt, session: str | None) -> None:
        """Claim until there is an answer.  Raises Withdrawn unless the order is ours."""
        failures = 0
        while True:
            if entry.ended.is_set():
                raise Withdrawn("the agent stops or the task was dropped")
            asked_at = self._clock.monotonic()
            try:
                claim = self._conductor.claim(entry.task, entry.attempt, session)
                break
            except (errors.Unavailable, errors.OutcomeUnknown) as exc:
                LOG.info("Task %s can't be claimed yet: %s", entry.task, exc.message)
                entry.ended.wait(self._pace.after(failures))
                failures += 1
            except errors.Error as exc:
                raise Withdrawn(f"the claim was refused: {exc.message}") from exc
        if claim.verdict == "superseded":
            self._on_superseded()
        if claim.verdict != "yours" or claim.order is None:
            raise Withdrawn(f"the claim was answered with {claim.verdict}")
        order = entry.order = Order.from_wire(claim.order)
        if order.called_off:
            entry.called_off.set()
        with self._lock:
            self._highest_epoch = max(self._highest_epoch, order.epoch)
        self._hypervisor.know(entry.task, order.members)
        if entry.driver is not None:
            self._fence(entry, entry.driver, order)
        # Counted from before the call: the answer may have been long on its way.
        entry.claimed_at, entry.claimed_session = asked_at, session

    def _fence(self, entry: Attempt, driver: PoolSession, order: Order) -> None:
        # Logged out first and searched for work afterwards (by the machine's first look):
        # nothing can begin any more, so what that look finds is everything.
        for session in order.fence:
            if session != driver.session_uuid and session not in entry.fenced:
                driver.fence(session)
                entry.fenced.append(session)

    def _may_act(self, entry: Attempt) -> None:
        if entry.ended.is_set():
            raise Withdrawn("the agent stops or the task was dropped")
        driver = entry.driver
        if driver is None:
            raise errors.SessionLost()
        if (entry.claimed_session != driver.session_uuid
                or self._clock.monotonic() - entry.claimed_at > CLAIM_FRESH_S):
            self._claim(entry, driver.session_uuid)

    def _machine(self, entry: Attempt) -> Machine:
        assert entry.driver is not None and entry.order is not None, "entered before"
        return machine_for(entry.order, Surroundings(entry.driver, self._hypervisor, self._clock,
                                                     lambda: self._may_act(entry), entry.called_off.is_set))

    def _report_settled(self, entry: Attempt, machine: Machine, settled: Settled) -> None:
        entry.progress = 1.0
        self._report(entry, Report(entry.task, entry.attempt, True, settled.readings, settled.error,
                                   list(entry.fenced)))
        if entry.reported:
            try:
                machine.finish()
            except errors.Error as exc:
                LOG.info("The marks of task %s stay until xapi removes them: %s", entry.task, exc.message)

    def _report(self, entry: Attempt, report: Report) -> None:
        """Repeat ``report`` until it is heard; once only if it is not the last one.  Raises Withdrawn."""
        failures = 0
        while not entry.ended.is_set():
            try:
                wanted = self._conductor.report(report)
            except errors.Error as exc:
                LOG.info("A report of task %s was not heard: %s", entry.task, exc.message)
                if not report.settled:
                    return
                entry.ended.wait(self._pace.after(failures))
                failures += 1
                continue
            entry.reported = report.settled
            if not wanted and not report.settled:
                raise Withdrawn("the conductor wants no more of it")
            return

    def _leave(self, entry: Attempt) -> None:
        """End the attempt's session, unless work that depends on it may still run."""
        driver, entry.driver = entry.driver, None
        if driver is not None:
            # A logout makes a migration from the master fail that has not begun to stream (OBSERVED-2 §1).
            # A successor is told this session's uuid and ends it when it has found the work.
            driver.close(logout=entry.reported or entry.order is None)


def _pool_of(order: Order | None) -> str | None:
    """Return the pool whose master the order is carried out with; a joiner's is not the pool it joins."""
    return None if order is None or order.kind == "pool_join" else order.pool


def _end(entry: Attempt) -> None:
    entry.ended.set()
    driver = entry.driver
    if driver is not None:
        driver.interrupt()


def _log_bug(future: "Future[None]") -> None:
    if not future.cancelled() and (error := future.exception()) is not None:
        LOG.error("A worker ended with an error of our own", exc_info=error)
