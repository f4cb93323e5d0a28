"""The clock's events: silence, pauses that end, orders that nobody claimed.

Any conductor's sweeper may look at any operation: the transaction that it runs either
changes rows that nobody changed meanwhile, or is run again.
"""

import logging
import threading

from common import errors
from common.messages import CONDUCTOR_VERSION
from conductor import states
from conductor.db import operations, services
from conductor.operations.advance import advance
from conductor.operations.engine import Engine, Transaction
from conductor.operations.orders import silence

LOG = logging.getLogger(__name__)

#: a conductor that changes nothing itself looks at least so often, for what others' clocks missed
_LONGEST_PAUSE_S = 5.0
#: an operation whose step raised an error of our own is looked at again after this long
_SET_ASIDE_S = 30.0
#: a conductor shows so often that it is there; others take it for gone after ``agent_down_s``
_BEAT_S = 10.0


def sweep(tx: Transaction, operation_id: str) -> None:
    """Look at one operation now."""
    operation = operations.get(tx.session, operation_id)
    if operation.state in states.TERMINAL_OPERATION or operation.wake_at is None or operation.wake_at > tx.now:
        return
    silence(tx, operation)
    tx.session.flush()
    advance(tx, operation)


def set_aside(tx: Transaction, operation_id: str) -> None:
    """Leave an operation alone for a while."""
    operation = operations.get(tx.session, operation_id)
    if operation.state not in states.TERMINAL_OPERATION:
        operation.wake_at = tx.now + _SET_ASIDE_S


class Sweeper:
    """A thread that looks at each operation when it is due."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sweeper", daemon=True)
        self._started_at = engine.clock.now()
        self._beat_at: float | None = None

    def start(self) -> None:
        """Begin to sweep."""
        self._thread.start()

    def stop(self) -> None:
        """End after the sweep under way."""
        self._stopping.set()
        self._engine.wake()
        self._thread.join()

    def due(self) -> float:
        """Sweep what is due; return seconds until the next operation is."""
        now = self._engine.clock.now()
        self._beat(now)
        for operation_id in self._engine.read(lambda session: operations.due(session, now)):
            self._look_at(operation_id)
        wake = self._engine.read(operations.next_wake)
        return _LONGEST_PAUSE_S if wake is None else max(wake - self._engine.clock.now(), 0.0)

    def _beat(self, now: float) -> None:
        """Show that this conductor is there; one without a name is nobody's service."""
        name = self._engine.name
        if name is None or (self._beat_at is not None and 0 <= now - self._beat_at < _BEAT_S):
            return
        self._engine.run(lambda tx: services.beat(tx.session, name, CONDUCTOR_VERSION, self._started_at, tx.now))
        self._beat_at = now

    def _look_at(self, operation_id: str) -> None:
        """Sweep one operation; one that can't be advanced is set aside, so that it stops no other."""
        try:
            self._engine.run(lambda tx: sweep(tx, operation_id))
        except errors.Unavailable:
            raise
        except Exception:
            # The outermost frame of this operation's work: a defect in one must not hold up all others.
            LOG.exception("Operation %s can't be advanced; it is looked at again in %s s", operation_id, _SET_ASIDE_S)
            self._engine.run(lambda tx: set_aside(tx, operation_id))

    def _run(self) -> None:
        while not self._stopping.is_set():
            seen = self._engine.news()
            pause = _LONGEST_PAUSE_S
            try:
                pause = self.due()
            except errors.Error as exc:
                LOG.warning("The sweep was interrupted: %s", exc.message)
            except Exception:
                # The outermost loop of the sweeper: without it nothing is ever sent again.
                LOG.exception("The sweep failed")
            self._engine.wait_news(seen, min(max(pause, 0.01), _LONGEST_PAUSE_S))
