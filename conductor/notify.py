"""What other services are told of, and who tells them; ``doc/rpc.md`` describes it.

Notices are rows that are stored with what they are about and removed when the broker has
them: nothing that was undone is told, and nothing that was done is forgotten.  It decides
nothing about hosts, and nobody waits for it.
"""

import logging
import threading
from collections.abc import Callable
from typing import Any

from common import errors
from common.clock import isoformat
from conductor import guests, states
from conductor.db import hosts, moves, notices
from conductor.db.models import Aggregate, Host
from conductor.operations.engine import Changed, Engine, Happened, Transaction, new_id
from conductor.present import Json, Presenter, event

LOG = logging.getLogger(__name__)

#: major.minor of the payloads: fields are only ever added
VERSION = "1.0"
#: how many are told between two looks at the database
_AT_ONCE = 50
#: for so long nobody else tells what one conductor is at
_LEASE_S = 60.0
#: pause after the broker was away, and between two looks when nothing happens here
_PAUSE_S = 5.0
#: what could not be told for so long is forgotten: a broker that nobody mends must not fill the database
KEPT_S = 7 * 86400.0

#: moves of a task that are nobody's business but the agent's: doorbells
_BELLS = ("send", "silence")


def kinds_of(happened: Happened) -> list[str]:
    """Return the types under which an event of an operation is told, without those about its host."""
    what, task = happened.event, happened.task
    if task is None:
        return [f"operation.{_phase(what.event, what.next in states.TERMINAL_OPERATION)}"]
    if task.kind != "vm_migrate":
        return ["operation.progress"] if what.next in states.TERMINAL_TASK else []
    if what.next in states.TERMINAL_TASK:
        return ["move.end"]
    if what.state == states.Task.SENT:
        return ["move.start"] if what.event == "claimed" else []
    return [] if what.event in _BELLS and what.state == states.Task.PENDING else ["move.progress"]


def _phase(name: str, is_end: bool) -> str:
    if is_end:
        return "end"
    if name in ("attention", "attention_cleared"):
        return "attention"
    return "start" if name == "accepted" else "progress"


def kinds_of_host(happened: Happened, host: Host | None) -> list[str]:
    """Return the types under which an event of an operation is told as one of its host."""
    what, operation = happened.event, happened.operation
    if happened.task is not None or host is None or operation.kind == "vm_migrate":
        return []
    if what.event == "accepted":
        return ["host.maintenance.start"] if operation.kind == "maintenance_start" else []
    if what.next not in states.TERMINAL_OPERATION:
        return []
    serves = host.wanted == "serving" and not host.quarantined
    return ["host.maintenance.end" if serves and operation.kind.startswith("maintenance") else "host.update"]


class Writer:
    """Stores what one transaction has to tell, in that transaction."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self._show = Presenter(tx.session, tx.now, tx.settings.agent_down_s, tx.receiving_since,
                               tx.settings.pool_backed_by_default)
        self._shown: dict[str, Json] = {}

    def write(self) -> None:
        """Store a notice of everything that happened."""
        for one in self._tx.happened:
            if isinstance(one, Changed):
                self._add(one.kind, self._of_row(one.row, one.host))
            else:
                self._of_event(one)

    def _of_event(self, one: Happened) -> None:
        session, operation = self._tx.session, one.operation
        known: Json = {"operation": self._operation(one), "event": event(one.event)}
        if one.task is not None and one.task.kind == "vm_migrate":
            known["migration"] = guests.migration_of(session, moves.of_task(session, one.task, operation))
        for kind in kinds_of(one):
            self._add(kind, known)
        host = hosts.find(session, operation.host) if operation.host else None
        for kind in kinds_of_host(one, host):
            self._add(kind, {**known, **self._of_row(host, None)})
        if one.event.next == states.Operation.SUCCEEDED and operation.aggregate_id is not None:
            aggregate = session.get(Aggregate, operation.aggregate_id)
            self._add(operation.kind.replace("_", ".", 1), {**known, **self._of_row(aggregate, operation.host)})

    def _operation(self, one: Happened) -> Json:
        row = one.operation
        if row.id not in self._shown:
            self._shown[row.id] = {name: value for name, value in self._show.operation(row).items()
                                   if name not in ("moves", "tasks", "actions")}
        return self._shown[row.id]

    def _of_row(self, row: Any, host: str | None) -> Json:
        if isinstance(row, Host):
            return {"host": _host(row)}
        return {"aggregate": self._show.aggregate(row), "member": host}

    def _add(self, kind: str, body: Json) -> None:
        uuid = new_id()
        notices.add(self._tx.session, uuid, self._tx.now, kind,
                    {"version": VERSION, "id": uuid, "at": isoformat(self._tx.now), "operation": None, "event": None,
                     **body})


def write(tx: Transaction) -> None:
    """Store what ``tx`` has to tell."""
    Writer(tx).write()


def _host(row: Host) -> Json:
    return {"name": row.name, "uuid": row.uuid, "address": row.address, "wanted": row.wanted, "reason": row.reason,
            "owner": row.owner, "quarantined": row.quarantined, "forced_down": row.forced_down, "pool": row.pool,
            "enabled": row.enabled, "live": row.live}


class Teller:
    """A thread that tells what is stored, as soon as it is; what can't be told now is told later."""

    def __init__(self, engine: Engine, tell: Callable[[str, Json], None]) -> None:
        """``tell`` raises Unavailable when it may not have been heard."""
        self._engine = engine
        self._tell = tell
        self._name = engine.name or new_id()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="notices", daemon=True)

    def start(self) -> None:
        """Begin to tell."""
        self._thread.start()

    def stop(self) -> None:
        """End after the notice under way; the others stay stored."""
        self._stopping.set()
        self._engine.wake()
        self._thread.join()

    def tell_all(self) -> None:
        """Tell all that is stored and that nobody else is at.  Raises Unavailable."""
        while not self._stopping.is_set() and self._tell_some():
            pass

    def _tell_some(self) -> bool:
        """Tell the oldest ones; return whether there were any."""
        taken = self._engine.run(
            lambda tx: notices.take(tx.session, self._name, tx.now, tx.now + _LEASE_S, _AT_ONCE))
        done: list[int] = []
        try:
            for one in taken:
                self._tell(one.event_type, one.payload)
                done.append(one.id)
        finally:
            if done:
                self._engine.run(lambda tx: notices.told(tx.session, done))
        return bool(taken)

    def _run(self) -> None:
        is_away = False
        while not self._stopping.is_set():
            seen = self._engine.news()
            try:
                self.tell_all()
                if is_away:
                    LOG.info("Other services are told again what happens")
                is_away = False
                self._engine.wait_news(seen, _PAUSE_S)
                continue
            except errors.Error as exc:
                if not is_away:
                    LOG.warning("Other services can't be told what happens; it is kept and told later: %s", exc.message)
                is_away = True
            except Exception:
                # The outermost loop of the teller: without it nobody would ever be told again.
                LOG.exception("Telling other services failed by an error of our own")
            self._stopping.wait(_PAUSE_S)
            self._forget()

    def _forget(self) -> None:
        """Forget what could not be told for very long."""
        before = self._engine.clock.now() - KEPT_S
        try:
            gone = self._engine.run(lambda tx: notices.drop_older(tx.session, before))
        except errors.Error as exc:
            LOG.debug("What could not be told for long is not forgotten yet: %s", exc.message)
            return
        if gone:
            LOG.warning("%s notices could not be told for %.0f days and are forgotten", gone, KEPT_S / 86400)
