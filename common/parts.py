"""Parts that daemons share: something done again and again, a condition of the start, a proof of life.

They know how to try and whom to tell, not what is tried.
"""

import logging
import threading
from collections.abc import Callable
from typing import Protocol

from common import errors
from common.pulse import Pulse

LOG = logging.getLogger(__name__)

#: seconds until what failed by an error of our own is tried again
_SET_ASIDE_S = 60.0


class Part(Protocol):
    """Something with threads of its own."""

    def start(self) -> None:
        """Begin; return at once."""

    def stop(self) -> None:
        """End, and wait for it."""


class Repeated:
    """A part: does one thing again and again in a thread of its own, until it is told to stop.

    ``work`` returns the seconds until it wants to be called again, or None when it is done.
    """

    def __init__(self, name: str, work: Callable[[], float | None]) -> None:
        self._work = work
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin at once."""
        self._thread.start()

    def stop(self) -> None:
        """Call it no more.  One that goes on is not waited for: it ends with the process."""
        self._stopping.set()

    def _run(self) -> None:
        pause_s: float | None = 0.0
        while pause_s is not None and not self._stopping.wait(pause_s):
            try:
                pause_s = self._work()
            except Exception:
                # The outermost loop of a thread that nobody would miss otherwise.
                LOG.exception("%s failed by an error of our own", self._thread.name)
                pause_s = _SET_ASIDE_S


class Gate:
    """A part: what has to be true before the process is of use; who is away is asked again while others run already.

    ``check`` raises Unavailable when it can't tell, and any other error to end the process.
    """

    def __init__(self, check: Callable[[], None], pulse: Pulse, end: Callable[[errors.Error], None],
                 apart_s: float = 2.0) -> None:
        self._check = check
        self._pulse = pulse
        self._end = end
        self._apart_s = apart_s
        self._again = Repeated("gate", self._once)

    def start(self) -> None:
        """Check.  Raises what makes the process useless."""
        try:
            self._check()
        except errors.Unavailable as exc:
            self._pulse.waiting(exc.message)
            self._again.start()

    def stop(self) -> None:
        """Check no more."""
        self._again.stop()

    def _once(self) -> float | None:
        try:
            self._check()
        except errors.Unavailable as exc:
            self._pulse.waiting(exc.message)
            return self._apart_s
        except errors.Error as exc:
            self._end(exc)
        return None


def round_trips(trip: Callable[[], object], pulse: Pulse, every_s: float = 10.0, again_s: float = 2.0) -> Repeated:
    """Return a part that tells ``pulse`` how each round trip ended; without any answer it tells nothing.

    After one that failed the next comes after ``again_s``.
    """
    def once() -> float:
        try:
            trip()
        except errors.OutcomeUnknown:
            LOG.warning("There was no answer, though the broker took the question")
            return again_s
        except errors.Unavailable as exc:
            pulse.waiting(exc.message)
            return again_s
        except errors.Error:
            LOG.debug("A refusal is an answer", exc_info=True)
        pulse.heard()
        return every_s
    return Repeated("round trips", once)
