"""One pool, kept up to date by one event.from stream; and what is reported of it.

The first answer of the stream is the whole pool, each later one what has changed, with
whole records: so nothing is ever read in bulk again, and what is reported was true at
one moment.
"""

import logging
import threading
from contextlib import suppress
from dataclasses import replace
from typing import Any

from agent.xenapi.answers import BadAnswer, poisoned
from agent.xenapi.link import Link
from agent.xenapi.picture import Picture
from agent.xenapi.report import FIELDS
from common import errors
from common.clock import Clock
from common.messages import PoolReport

LOG = logging.getLogger(__name__)

#: a stream without news is answered after it; then it is known to live
LATE_S = 15.0


class PoolMirror:
    """An Observer over one link."""

    def __init__(self, link: Link, clock: Clock) -> None:
        self._link = link
        self._clock = clock
        self._read_at = clock.monotonic()
        self._lock = threading.Lock()
        self._picture = Picture()
        self._poisoned: dict[str, set[str]] = {}
        self._token = ""
        self._complete = False
        self._closing = threading.Event()

    def follow(self, timeout_s: float) -> bool:
        """Wait for changes and take them in; return whether anything that is reported changed."""
        if self._closing.is_set():
            raise errors.Unavailable("The observation has been ended")
        asked_at = self._clock.monotonic()
        try:
            answer = self._link.read(
                "event.from",
                list(FIELDS),
                self._token,
                float(timeout_s if self._token else 0.0),
                timeout_s=timeout_s + LATE_S,
            )
        except errors.Error:
            self._forget()
            raise
        try:
            return self._take(answer, asked_at)
        except BadAnswer as exc:
            self._forget()
            self._link.close()
            raise errors.Unavailable(f"{self._link.url} answers, but not as xapi does: {exc}",
                                     code="hypervisor_answer") from exc

    def _take(self, answer: dict[str, Any], asked_at: float) -> bool:
        with self._lock:
            whole = not self._token
            # A dump is as old as its question; a later answer says that nothing else has changed until now.
            self._read_at = asked_at if whole else self._clock.monotonic()
            if whole:
                self._picture = Picture()
            changed = not self._complete
            for event in answer["events"]:
                changed |= self._picture.take(event)
                self._warn(event)
            self._token = answer["token"]
            self._complete = True
            if not whole and self._missed(answer["valid_ref_counts"]):
                # More was deleted between two calls than xapi remembers: begin anew.
                self._token = ""
        return changed

    def _warn(self, event: dict[str, Any]) -> None:
        """Tell once of keys that JSON survives and XML doesn't: other clients of the pool are blind."""
        found = {poisoned(event["ref"], field, key) for field, value in event.get("snapshot", {}).items()
                 if type(value) is dict for key in value if "<" in key or "&" in key}
        known = self._poisoned.pop(event["ref"], set())
        if found:
            self._poisoned[event["ref"]] = found
        for sentence in found - known:
            LOG.warning("map_key_unreadable: %s: %s", self._link.url, sentence)

    def _missed(self, counts: dict[str, int]) -> bool:
        lower = {name.lower(): count for name, count in counts.items()}
        return any(name in lower and lower[name] != len(table) for name, table in self._picture.tables.items())

    def _forget(self) -> None:
        with self._lock:
            self._token, self._complete = "", False

    def report(self) -> PoolReport | None:
        """Return the pool as last seen, None while nothing was read since the last error."""
        with self._lock:
            report = self._picture.report() if self._complete else None
            return report and replace(report, age_s=self._clock.monotonic() - self._read_at)

    def interrupt(self) -> None:
        """Make a running ``follow`` fail now."""
        self._closing.set()
        self._link.abort()

    def close(self) -> None:
        """End the session and the connections."""
        with suppress(errors.Error):  # it ends by itself when idle
            self._link.logout()
        self._link.close()
