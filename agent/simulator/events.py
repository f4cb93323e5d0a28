"""`event.from`: the difference between a client's token and the database, not a log.

An object that came and went in between is never seen; a change shows only the newest record.
"""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agent.simulator.database import Database
from agent.simulator.derived import full_record
from agent.simulator.failure import Dropped, Failure
from agent.simulator.table import OTHER_CLASSES
from agent.simulator.wire_xml import RealInt

if TYPE_CHECKING:
    from agent.simulator.call import Call
    from agent.simulator.world import World

LONGEST_S = 86400.0
HIDDEN = ("session", "event")  # counted, but never delivered (seen)


@dataclass
class EventWait:
    """A blocked event.from; `timeout_s` is in the client's seconds, whatever the simulated speed."""

    address: str
    incarnation: int
    session: str
    classes: frozenset[str]
    objects: frozenset[str]
    since: int
    timeout_s: float
    looked: int = 0  # up to there nothing is wanted, so that no poll looks at it again

    def poll(self, world: "World") -> tuple[bool, Any]:
        """Say whether there is something to tell; the skin then waits a little and calls `batch`."""
        db = self._database(world)
        after = max(self.since, self.looked)
        ready = any(self.wants(cls, ref) for ref, cls, _created, _changed in db.changed_since(after)) or any(
            gone and gone[-1][0] > after and any(
                at > after and self.wants(cls, ref) and self.knew(created) for at, ref, created in gone)
            for cls, gone in db.deleted.items())
        if not ready:
            self.looked = db.generation
        return ready, None

    def batch(self, world: "World") -> dict[str, Any]:
        """Return the reply for now, empty or not."""
        db = self._database(world)
        added: list[dict[str, Any]] = []
        changed: list[dict[str, Any]] = []
        newest = self.since  # what nobody asked for does not move the token (seen)
        for ref, cls, created, at in db.changed_since(self.since):
            if self.wants(cls, ref):
                newest, is_new = max(newest, at), created > self.since
                (added if is_new else changed).append({
                    **self._head(db, cls, "add" if is_new else "mod", ref), "snapshot": full_record(db, cls, ref)})
        gone = []
        for cls, entries in db.deleted.items():
            for at, ref, created in entries:
                if at > self.since and self.wants(cls, ref):
                    newest = max(newest, at)
                    told = self.knew(created) and not db.has(cls, ref)  # a crash may have brought it back
                    gone += [self._head(db, cls, "del", ref)] if told else []
        counts = dict.fromkeys(OTHER_CLASSES, RealInt(0)) | {
            cls.lower(): RealInt(len(rows)) for cls, rows in db.rows.items()}
        return {"events": added + changed + gone, "valid_ref_counts": counts,
                "token": f"{newest:020d},{0:020d}"}

    def wants(self, cls: str, ref: str) -> bool:
        """Tell whether the subscription covers an object."""
        return cls not in HIDDEN and (cls in self.classes or ref in self.objects)

    def knew(self, created: int) -> bool:
        """Tell whether the end of what was created then is told: only to who saw it, or knows nothing (both seen)."""
        return created <= self.since or not self.since

    def _database(self, world: "World") -> Database:
        node = world.nodes[self.address]
        if node.incarnation != self.incarnation:
            raise Dropped
        db = world.pools[node.pool]
        if not db.has("session", self.session):
            raise Failure("SESSION_INVALID", self.session)
        return db

    @staticmethod
    def _head(db: Database, cls: str, operation: str, ref: str) -> dict[str, Any]:
        return {"id": str(db.generation), "timestamp": "0.0", "class": cls.lower(), "operation": operation,
                "ref": ref}


def event_from(call: "Call", classes: list[str], token: str, timeout: float) -> EventWait:
    """Begin to wait for what the client does not know yet; raises EVENT_FROM_TOKEN_PARSE_FAILURE."""
    since = 0
    if token:
        match = re.fullmatch(r"(\d+),(\d+)", token)
        if not match:
            raise Failure("EVENT_FROM_TOKEN_PARSE_FAILURE", token)
        since = int(match[1])
    wanted: set[str] = set()
    objects: set[str] = set()
    for text in classes:
        name, _, ref = text.partition("/")
        if name == "*":
            wanted.update(call.world.table.classes)
        elif ref:
            objects.add(ref)
        elif name.lower() in call.world.table.by_lower:
            wanted.add(call.world.table.by_lower[name.lower()])
    return EventWait(call.node.address, call.node.incarnation, call.session, frozenset(wanted), frozenset(objects),
                     since, min(timeout, LONGEST_S))


CALLS = {"event.from": event_from}
