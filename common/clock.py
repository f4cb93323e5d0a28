"""Time as something handed in: the system's clock and one that tests can set.

``now`` is UTC seconds since the epoch, for rows and messages; ``monotonic`` measures
lengths.  Beside this only the edges to a broker, a database or a hypervisor read a clock,
to bound how long they wait.
"""

import threading
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What code that needs the time is given."""

    def now(self) -> float:
        """Return UTC seconds since the epoch."""

    def monotonic(self) -> float:
        """Return seconds that never go back, from an arbitrary start."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        """Return UTC seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return time.monotonic()


class SetClock:
    """A clock that stands still until it is moved; for tests and simulated schedules."""

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self._now = start
        self._lock = threading.Lock()

    def now(self) -> float:
        """Return the set time."""
        return self._now

    def monotonic(self) -> float:
        """Return the set time."""
        return self._now

    def advance(self, seconds: float) -> float:
        """Move the clock forward; return the new time."""
        with self._lock:
            self._now += seconds
            return self._now


def isoformat(at: float | None) -> str | None:
    """Return ``at`` as naive ISO 8601 UTC text with microseconds, Nova's form; None stays None."""
    if at is None:
        return None
    return datetime.fromtimestamp(at, UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
