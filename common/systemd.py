"""What a daemon tells systemd: ready, alive, waiting, reloading, stopping (sd_notify's protocol).

It knows the protocol and the clock, not what it means to be alive: whoever made a real
round trip says ``heard``.  Without systemd nothing is sent.
"""

import logging
import os
import socket
import threading
from collections.abc import Mapping

from common.clock import Clock

LOG = logging.getLogger(__name__)

_MICRO = 1_000_000
#: how much longer a start may take, counted from each time that it is said to be waiting
_EXTENSION_S = 120.0
#: between two signs of life while nobody watches; only the text in ``systemctl status`` depends on it
_UNWATCHED_S = 10.0
_HEARD = "Heard by the other side"


class Notifier:
    """One process's voice to systemd; for any thread.  Nothing is raised: a deaf systemd is no reason to end."""

    def __init__(self, address: str | None, clock: Clock, watchdog_s: float | None = None) -> None:
        """Speak to the socket ``address``, a path or @name; ``watchdog_s`` is systemd's patience, if it watches."""
        self._address = address
        self._clock = clock
        self._watchdog_s = watchdog_s
        self._apart_s = _UNWATCHED_S if watchdog_s is None else watchdog_s / 4
        self._lock = threading.Lock()
        self._is_ready = False
        self._status: str | None = None
        self._alive_at: float | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], clock: Clock) -> "Notifier":
        """Return the notifier that systemd asks for in the process's environment."""
        watchdog = environment.get("WATCHDOG_USEC", "")
        meant = environment.get("WATCHDOG_PID") in (None, "", str(os.getpid()))
        return cls(environment.get("NOTIFY_SOCKET") or None, clock,
                   int(watchdog) / _MICRO if meant and watchdog.isdigit() and int(watchdog) else None)

    def heard(self) -> None:
        """Say that a real round trip has just succeeded: READY=1 the first time, a sign of life later."""
        with self._lock:
            if not self._is_ready:
                self._is_ready = True
                self._send("READY=1", *self._alive(_HEARD))
            elif self._is_due(_HEARD):
                self._send(*self._alive(_HEARD))

    def waiting(self, why: str) -> None:
        """Say that others are away: alive, but never ready by that; the start may take longer."""
        with self._lock:
            if self._is_due(why):
                longer = () if self._is_ready else (f"EXTEND_TIMEOUT_USEC={int(_EXTENSION_S * _MICRO)}",)
                self._send(*self._alive(why), *longer)

    def reloading(self) -> None:
        """Say that the configuration is being read again; ``ready`` ends it."""
        with self._lock:
            if self._is_ready:
                self._send("RELOADING=1", f"MONOTONIC_USEC={int(self._clock.monotonic() * _MICRO)}")

    def ready(self) -> None:
        """Say that the reload is over.  A process that was not ready before is not by that."""
        with self._lock:
            if self._is_ready:
                self._send("READY=1")

    def stopping(self, extend_s: float) -> None:
        """Say that the process ends, and how many seconds that may take."""
        with self._lock:
            self._send("STOPPING=1", f"EXTEND_TIMEOUT_USEC={int(extend_s * _MICRO)}", "STATUS=Stopping")

    def _is_due(self, status: str) -> bool:
        return (status != self._status or self._alive_at is None
                or self._clock.monotonic() - self._alive_at >= self._apart_s)

    def _alive(self, status: str) -> tuple[str, str]:
        self._status = status
        self._alive_at = self._clock.monotonic()
        # one line: a line break would begin another assignment
        return "STATUS=" + " ".join(status.split()), "WATCHDOG=1"

    def _send(self, *lines: str) -> None:
        if self._address is None:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
                channel.setblocking(False)
                channel.sendto("\n".join(lines).encode(), address)
        except OSError as exc:
            LOG.debug("systemd did not hear %s: %s", lines[0], exc)
