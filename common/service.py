"""What every daemon needs around its parts: logs, signals, and one sentence instead of a traceback."""

import logging
import signal
import sys
import threading
from collections.abc import Callable

from common import errors

_FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"


def log_to(stream: object = None, level: int = logging.INFO) -> None:
    """Log to ``stream`` (standard error) in one line per event."""
    logging.basicConfig(level=level, format=_FORMAT, stream=stream or sys.stderr, force=True)  # type: ignore[arg-type]
    for chatty in ("oslo_messaging", "alembic", "stevedore", "amqp"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


class Stop:
    """Waits for SIGINT or SIGTERM, or for somebody who calls ``set``."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._then: Callable[[], None] = lambda: None
        self.signal: int | None = None

    def catch(self, then: Callable[[], None] = lambda: None) -> None:
        """Take both signals from here on and call ``then``; the second one ends the process at once."""
        self._then = then
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._caught)

    def _caught(self, number: int, _frame: object) -> None:
        if self.signal is not None:
            raise SystemExit(128 + number)
        self.signal = number
        self._event.set()
        self._then()

    def set(self) -> None:
        """End the wait."""
        self._event.set()

    def wait(self) -> int:
        """Wait; return the exit status."""
        self._event.wait()
        return self.status

    @property
    def status(self) -> int:
        """The exit status that the end deserves: 130 after Ctrl-C, else 0."""
        return 130 if self.signal == signal.SIGINT else 0


def guarded(name: str, run: Callable[[], int]) -> int:
    """Return ``run()``; an error of ours or of the system becomes one sentence and status 2, or 5 when away."""
    try:
        return run()
    except errors.Unavailable as exc:
        print(f"{name}: {exc.message}", file=sys.stderr)  # noqa: T201
        return 5
    except errors.Error as exc:
        print(f"{name}: {exc.message}", file=sys.stderr)  # noqa: T201
        return 2
    except OSError as exc:
        print(f"{name}: {exc}", file=sys.stderr)  # noqa: T201
        return 2
