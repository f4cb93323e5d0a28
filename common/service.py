"""What every daemon needs around its parts: configuration, logs, signals, systemd, an end in time.

It runs parts and knows none of them.  A signal's number arrives in a socket, where the
main thread waits: green threads sleep in ``poll``, which Python resumes after a signal
handler, so that an event set by the handler alone would be seen at the hub's next timer.
"""

import argparse
import faulthandler
import gc
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from oslo_config import cfg
from oslo_log import log

from common import config, errors, logs
from common.clock import Clock, SystemClock
from common.logs import log_to
from common.parts import Part
from common.pulse import Pulse
from common.systemd import Notifier

__all__ = ["Daemon", "Part", "Pulse", "Stop", "guarded", "log_to", "parser"]

LOG = logging.getLogger(__name__)

_STATUSES = """exit status:
  0 ended by SIGTERM   2 can't run as configured   3 replaced by a newer one (agents)
  5 something that it needs at its start is away   130 ended by Ctrl-C

SIGHUP reads the files again; the log says what took effect and what needs a restart.
"""


class Stop:
    """Waits for SIGINT or SIGTERM, or for somebody who calls ``set``."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        self._then: Callable[[], None] = lambda: None
        self._reload: Callable[[], None] | None = None
        self.signal: int | None = None

    def catch(self, then: Callable[[], None] = lambda: None, reload: Callable[[], None] | None = None) -> None:
        """Take both signals from here on and call ``then``; the second one ends the process at once.

        ``reload`` is called for each SIGHUP, in the thread that waits.
        """
        self._then, self._reload = then, reload
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM, *((signal.SIGHUP,) if reload else ())):
            signal.signal(number, self._caught)

    def _caught(self, number: int, _frame: object) -> None:
        if number == signal.SIGHUP:
            return
        if self.signal is not None:
            os._exit(128 + number)
        self.signal = number
        self._then()

    def set(self) -> None:
        """End the wait; for any thread."""
        with suppress(BlockingIOError):     # full of news already
            self._writer.send(b"\0")

    def wait(self) -> int:
        """Wait; return the exit status."""
        while True:
            for number in self._reader.recv(64):
                if number != signal.SIGHUP:
                    return self.status
                if self._reload is not None:
                    self._reload()

    @property
    def status(self) -> int:
        """The exit status that the end deserves: 130 after Ctrl-C, else 0."""
        return 130 if self.signal == signal.SIGINT else 0


class _Told:
    """A pulse that tells systemd, and the log, which is quiet about what it has just said."""

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier
        self._is_waiting = False

    def heard(self) -> None:
        """Take note of a round trip."""
        was_waiting, self._is_waiting = self._is_waiting, False
        if was_waiting:
            LOG.info("The wait is over: what was away answers again")
        self._notifier.heard()

    def waiting(self, why: str) -> None:
        """Take note of what is away."""
        self._is_waiting = True
        # A library's words may have several lines.
        LOG.warning("Waiting: %s", " ".join(why.split()))
        self._notifier.waiting(why)


@dataclass
class Daemon:
    """One daemon process; to make it loads ``conf``, sets up logs and catches signals.  Raises Invalid."""

    prog: str
    kind: str
    files: Sequence[str]                 #: configuration files as named on the command line
    debug: bool = False
    conf: Any = field(default_factory=lambda: cfg.CONF)
    clock: Clock = field(default_factory=SystemClock)

    def __post_init__(self) -> None:
        self._argv = [word for file in self.files for word in ("--config-file", file)]
        log.register_options(self.conf)
        config.load(self.conf, self.prog, self._argv, self.kind)
        if self.debug:
            self.conf.set_override("debug", True)
        logs.log_by(self.conf, self.prog)
        # systemd's watchdog ends a process by SIGABRT; where its threads stood is the only trace.
        faulthandler.enable()
        self._notifier = Notifier.from_environment(os.environ, self.clock)
        self.pulse: Pulse = _Told(self._notifier)
        self._ending: errors.Error | None = None
        self._reread: Callable[[], None] = lambda: None
        self._stop = Stop()
        self._stop.catch(reload=self._reload)

    def end(self, why: errors.Error | None = None) -> None:
        """End the process, with an error's sentence and status if there is one; for any thread."""
        self._ending = self._ending or why
        self._stop.set()

    def run(self, *parts: Part, reload: Callable[[], None] = lambda: None) -> int:
        """Start the parts in order, wait for the end, stop them backwards; return the exit status.

        ``reload`` is called after SIGHUP once the new values stand in ``conf``; what it
        raises leaves the process as it was.  Raises what a start or ``end`` gave.
        """
        self._reread = reload
        begun: list[Part] = []
        try:
            for part in parts:
                part.start()
                begun.append(part)
            # What the start has made stays to the end; to look through it for garbage holds up a request for long.
            gc.freeze()
            status = self._stop.wait()
        finally:
            self._stop_in_time(begun[::-1])
        if self._ending is not None:
            raise self._ending
        return status

    def _stop_in_time(self, parts: list[Part]) -> None:
        bound_s = float(self.conf.graceful_stop_s)
        self._notifier.stopping(bound_s)
        LOG.info("%s ends", self.prog)
        stopping = threading.Thread(target=self._stop_all, args=(parts,), name="stop", daemon=True)
        stopping.start()
        stopping.join(bound_s)
        if stopping.is_alive():
            LOG.error("%s did not end within %g s and is cut off; what was under way is found again", self.prog,
                      bound_s)
            os._exit(2 if self._ending is not None else self._stop.status)

    def _stop_all(self, parts: list[Part]) -> None:
        for part in parts:
            try:
                part.stop()
            except Exception:
                # The outermost frame of a part's end: the other parts are to end as well.
                LOG.exception("A part of %s did not end well", self.prog)

    def _reload(self) -> None:
        """Read the files again; a mistake in them changes nothing."""
        self._notifier.reloading()
        try:
            config.check(self.prog, self._argv, self.kind)
            # This logs each change that took effect, and each that needs a restart.
            self.conf.mutate_config_files()
            self._reread()
            LOG.info("The configuration was read again")
            # Secret ones are starred.
            self.conf.log_opt_values(LOG, logging.DEBUG)
        except errors.Error as exc:
            LOG.error("The configuration can't be used and stays as it was: %s", exc.message)
        except cfg.Error as exc:
            LOG.error("The configuration can't be used and stays as it was: %s", type(exc).__name__)
        finally:
            self._notifier.ready()


def parser(prog: str, what: str, examples: str) -> argparse.ArgumentParser:
    """Return a daemon's command line: its files, and nothing that belongs into them."""
    options = argparse.ArgumentParser(prog=prog, description=what, epilog=f"examples:\n{examples}\n{_STATUSES}",
                                      formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--config-file", action="append", default=[], metavar="FILE",
                         help=f"file with options; may be given several times, the last one wins (default "
                              f"/etc/corral/{prog}.conf). Every option stands in {prog}.conf.sample")
    options.add_argument("--debug", action="store_true", help="log more than anybody wants to read")
    return options


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
