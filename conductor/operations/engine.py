"""The only writer of states.

Theory of operation.  Everything that happens (a request, a claim, a report, silence, a
deadline, drift) runs as one transaction: it applies events to rows by the tables of
``states.py``, each with an event row beside it, and then lets ``advance`` derive the next
step from the rows in the same transaction.  Doorbells are rung after the commit; if they
are lost the rows still say SENT, and a sweeper or the agent's own sync finds them.  Nothing
is kept between transactions, so a restarted conductor has nothing to replay.
"""

import logging
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from common import errors
from common.clock import Clock
from conductor import states
from conductor.db.models import Event, Operation, Task
from conductor.db.session import Database, Session
from conductor.operations.settings import Settings

LOG = logging.getLogger(__name__)

R = TypeVar("R")
Ring = Callable[[str, str, int], None]


@dataclass(frozen=True)
class Happened:
    """An event row, with the operation and the task that it is about."""

    event: Event
    operation: Operation
    task: Task | None


@dataclass(frozen=True)
class Changed:
    """A change of another noun than an operation: what kind, of which row, and because of which host."""

    kind: str
    row: Any
    host: str | None = None


class Transaction:
    """One unit of work: a session, the time, and what is to be told after the commit."""

    def __init__(self, session: Session, now: float, settings: Settings, receiving_since: float,
                 conductor: str | None = None) -> None:
        self.session = session
        self.now = now
        self.settings = settings
        #: name of the conductor that writes
        self.conductor = conductor
        #: since when this conductor could hear agents; silence counts only from then
        self.receiving_since = receiving_since
        self.rings: list[tuple[str, str, int]] = []
        #: what happened in it, in order, for whoever tells others
        self.happened: list[Happened | Changed] = []
        self.changed = False

    def apply(self, row: Operation | Task, event: str, operation: Operation | None = None, **detail: Any) -> None:
        """Move ``row`` by ``event`` and write the event row; ``operation`` is the task's own.

        Raises IllegalTransition when the table has no such row, ConcurrentUpdate at the
        commit when somebody changed the row since it was read.
        """
        kind = states.Operation if isinstance(row, Operation) else states.Task
        step = states.next_state(kind(row.state), event)
        row.state = str(step.next)
        if isinstance(row, Operation):
            operation = row
            if step.next in states.TERMINAL_OPERATION:
                row.ended_at, row.wake_at, row.attention = self.now, None, None
                row.active_host = row.active_aggregate = row.active_pool = None
        elif step.next in states.TERMINAL_TASK:
            row.ended_at = self.now
        if operation is None:
            raise errors.Bug("a task's event needs its operation")
        self._write(operation, row if isinstance(row, Task) else None, step, detail)

    def tell(self, kind: str, row: Any, host: str | None = None) -> None:
        """Have other services told of a change that has no event row."""
        self.changed = True
        self.happened.append(Changed(kind, row, host))

    def note(self, operation: Operation, event: str, why: str, **detail: Any) -> None:
        """Write an event row that changes no state, e.g. that attention is needed."""
        state = states.Operation(operation.state)
        self._write(operation, None, states.Transition(state, event, state, why), detail)

    def _write(self, operation: Operation, task: Task | None, step: states.Transition, detail: dict[str, Any]) -> None:
        detail = {key: value for key, value in detail.items() if value is not None}
        operation.last_event += 1
        operation.updated_at = self.now
        self.changed = True
        event = Event(
            operation_id=operation.id, n=operation.last_event, at=self.now, task_id=task.id if task else None,
            task_kind=task.kind if task else None, state=str(step.state), event=step.event, next=str(step.next),
            why=step.why, detail=detail, conductor=self.conductor)
        self.session.add(event)
        self.happened.append(Happened(event, operation, task))
        LOG.info("%s: %s", operation.kind if task is None else task.kind, step.why, extra={
            "operation": operation.id, "task": task.id if task else None, "host": operation.host})


class Engine:
    """Runs units of work, rings the doorbells they leave, and wakes who waits for news."""

    def __init__(self, database: Database, ring: Ring, clock: Clock, settings: Settings,
                 name: str | None = None, write_notices: Callable[[Transaction], None] | None = None) -> None:
        """``write_notices`` stores what others are to be told of a transaction, in that transaction."""
        self._database = database
        self._write_notices = write_notices
        self._ring = ring
        self.clock = clock
        self.settings = settings
        self.name = name
        #: since when agents could be heard here
        self.receiving_since = clock.now()
        #: nobody may wait here any more
        self.ending = False
        self._news = threading.Condition()
        self._count = 0

    def run(self, work: Callable[[Transaction], R]) -> R:
        """Return ``work(transaction)`` once it is committed; it may be run several times before.

        Raises what ``work`` raises, with nothing stored; Unavailable when the database is away.
        """
        def attempt(session: Session) -> tuple[Transaction, R]:
            # Its turn first, then the time: events stand in the order of their times.
            session.connection()
            transaction = Transaction(session, self.clock.now(), self.settings, self.receiving_since, self.name)
            result = work(transaction)
            session.flush()
            if self._write_notices is not None and transaction.happened:
                self._write_notices(transaction)
            return transaction, result

        try:
            transaction, result = self._database.run(attempt)
        except errors.Unavailable as exc:
            if exc.code == "database_unavailable":
                self.heard_again()
            raise
        if transaction.changed:
            self.wake()
        for executor, task, number in transaction.rings:
            try:
                self._ring(executor, task, number)
            except errors.Unavailable as exc:
                LOG.debug("The doorbell of %s was not heard: %s", executor, exc.message)
        return result

    def heard_again(self) -> None:
        """Count the silence of agents from now on: until now nobody could be heard here."""
        self.receiving_since = self.clock.now()

    def read(self, work: Callable[[Session], R], at_once: bool = False) -> R:
        """Return ``work(session)``, which only reads; ``at_once``: with one statement."""
        return self._database.read(work, at_once)

    def end_waits(self) -> None:
        """Let everybody who waits for news go, now and from now on: this conductor is about to end."""
        self.ending = True
        self.wake()

    def wake(self) -> None:
        """Wake everybody who waits for news."""
        with self._news:
            self._count += 1
            self._news.notify_all()

    def news(self) -> int:
        """Return a number that grows with every change made through this conductor."""
        with self._news:
            return self._count

    def wait_news(self, seen: int, timeout_s: float) -> int:
        """Wait until ``news()`` is above ``seen`` or the time is over; return it."""
        with self._news:
            self._news.wait_for(lambda: self._count > seen, timeout_s)
            return self._count


def new_id() -> str:
    """Return a fresh identifier for a row."""
    return str(uuid.uuid4())
