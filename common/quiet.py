"""Lets what is said again and again through once a minute, with how often it was said.

It knows nothing of who speaks: loggers are named by whoever wants them quiet.
"""

import logging
import re
import threading
from collections.abc import Callable, Hashable, Iterable

from common.clock import Clock, SystemClock

#: kinds of messages that are remembered; templates that hold values must not fill the memory
KINDS = 1000

#: what oslo.messaging, kombu and we ourselves say of a connection that is not there
_TROUBLE = re.compile("unreachable|closed the connection|[Cc]onnection failed|Unable to connect|[Cc]an't listen"
                      "|Failed to (?:consume|publish|declare|process incoming)|Can not send reply|heartbeat")

Alike = Callable[[logging.LogRecord], Hashable]


def same_words(record: logging.LogRecord) -> Hashable:
    """Return what two records have in common when they are the same sentence about other values."""
    return record.name, record.levelno, str(record.msg)


def broker_trouble(record: logging.LogRecord) -> Hashable:
    """Return one kind for all that libraries say while a message broker is away, else as ``same_words``."""
    if record.levelno >= logging.WARNING and _TROUBLE.search(str(record.msg)):
        return "broker"
    return same_words(record)


class Quiet(logging.Filter):
    """Lets one record of each kind through in ``every_s`` seconds.

    ``alike`` gives records of one kind the same value, and None to those that always pass.
    """

    def __init__(self, clock: Clock, every_s: float = 60.0, alike: Alike = same_words) -> None:
        super().__init__()
        self._clock = clock
        self._every_s = every_s
        self._alike = alike
        self._lock = threading.Lock()
        #: when a kind was last let through, and how many of it were held back since
        self._held: dict[Hashable, tuple[float, int]] = {}

    def forget(self) -> None:
        """Begin anew: the next record of each kind is let through."""
        with self._lock:
            self._held.clear()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether ``record`` is let through; if others were held back, it says how many."""
        kind = self._alike(record)
        if kind is None:
            return True
        now = self._clock.monotonic()
        with self._lock:
            since, held = self._held.get(kind, (None, 0))
            if since is not None and now - since < self._every_s:
                self._held[kind] = (since, held + 1)
                return False
            if len(self._held) >= KINDS:
                self._held = {other: (then, count) for other, (then, count) in self._held.items()
                              if now - then < self._every_s}
            self._held[kind] = (now, 0)
        if held:
            record.msg = f"{record.msg} ({held} more like it)"
        return True


def quieten(logger_names: Iterable[str], clock: Clock | None = None, every_s: float = 60.0,
            alike: Alike = same_words) -> Quiet:
    """Put one filter on the named loggers and on those that exist below them; return it.

    What a logger says at most ``every_s`` apart is counted instead.  A logger that is
    quiet already stays as it is.  Loggers that are made later are not covered, so import
    what is to be quiet first.
    """
    quiet = Quiet(clock or SystemClock(), every_s, alike)
    # A filter on a logger does not see what its children log, so each gets it.
    existing = sorted(logging.Logger.manager.loggerDict)
    for name in logger_names:
        for one in {name, *(other for other in existing if other.startswith(name + "."))}:
            logger = logging.getLogger(one)
            if not any(isinstance(other, Quiet) for other in logger.filters):
                logger.addFilter(quiet)
    return quiet
