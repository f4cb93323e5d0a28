"""One pool, kept up to date by one event.from stream; and what is reported of it.

The first answer of the stream is the whole pool, each later one what has changed, with
whole records: so nothing is ever read in bulk again, and what is reported was true at
one moment.
"""

import threading
from contextlib import suppress
from dataclasses import replace
from typing import Any

from agent.xenapi.link import Link
from agent.xenapi.report import FIELDS, Tables, pool_report
from common import errors
from common.clock import Clock
from common.messages import PoolReport

#: a stream without news is answered after it; then it is known to live
LATE_S = 15.0


class PoolMirror:
    """An Observer over one link."""

    def __init__(self, link: Link, clock: Clock) -> None:
        self._link = link
        self._clock = clock
        self._read_at = clock.monotonic()
        self._lock = threading.Lock()
        self._tables: Tables = {name: {} for name in FIELDS}
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
        with self._lock:
            whole = not self._token
            # A dump is as old as its question; a later answer says that nothing else has changed until now.
            self._read_at = asked_at if whole else self._clock.monotonic()
            if whole:
                self._tables = {name: {} for name in FIELDS}
            changed = self._take(answer["events"]) or not self._complete
            self._token = str(answer["token"])
            self._complete = True
            if not whole and self._missed(answer.get("valid_ref_counts", {})):
                # More was deleted between two calls than xapi remembers: begin anew.
                self._token = ""
        return changed

    def _take(self, events: list[dict[str, Any]]) -> bool:
        changed = False
        for event in events:
            fields = FIELDS.get(str(event["class"]).lower())
            if fields is None:
                continue
            table, ref = self._tables[str(event["class"]).lower()], str(event["ref"])
            if event["operation"] == "del" or "snapshot" not in event:
                changed |= table.pop(ref, None) is not None
                continue
            record = {name: event["snapshot"][name] for name in fields if name in event["snapshot"]}
            changed |= table.get(ref) != record
            table[ref] = record
        return changed

    def _missed(self, counts: dict[str, Any]) -> bool:
        lower = {str(name).lower(): int(count) for name, count in counts.items()}
        return any(name in lower and lower[name] != len(table) for name, table in self._tables.items())

    def _forget(self) -> None:
        with self._lock:
            self._token, self._complete = "", False

    def report(self) -> PoolReport | None:
        """Return the pool as last seen, None while nothing was read since the last error."""
        with self._lock:
            report = pool_report(self._tables) if self._complete else None
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
