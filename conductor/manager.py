"""The RPC endpoints: each method turns a message into one call below, and decides nothing.

``Conductor`` serves the API and other services, ``Agents`` the agents.
"""

import hashlib
import json
import logging
from collections.abc import Callable
from typing import Any

from common import errors
from common.arguments import fits
from common.conductor_api import LONGEST_WAIT_S
from common.mac import Keys
from common.messages import Report, Sync
from common.rpc import Context
from conductor import aggregates, heard, hosts, states
from conductor.db import aggregates as aggregate_rows
from conductor.db import hosts as host_rows
from conductor.db import operations
from conductor.db.models import Operation, Request
from conductor.operations import accept, control, orders
from conductor.operations.engine import Engine, Transaction
from conductor.present import Json, Presenter, event

LOG = logging.getLogger(__name__)

#: what narrows a list, and for operations by what
Filters = dict[str, str | int | bool | None]
_FILTERS: dict[str, type] = {"host": str, "aggregate": int, "state": str, "active": bool}
#: what else is wanted of an operation
Options = dict[str, str | bool | None]


class Conductor:
    """What the API and other services may ask; one method per REST action.

    Each returns plain JSON and raises errors of ``common.errors``.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    # Reads.

    def aggregate_list(self, context: Context, availability_zone: str | None = None, members: bool = True) -> Json:
        """Return all aggregates, or those of one zone; without ``members`` only their hosts' names."""
        return self._read(lambda show, s: {
            "aggregates": show.aggregates(aggregate_rows.every(s, availability_zone), members)})

    def aggregate_show(self, context: Context, id: int, members: bool = True) -> Json:
        """Return one aggregate; without ``members`` only its hosts' names."""
        if members:
            return self._read(lambda show, s: show.aggregate(aggregate_rows.get(s, id)))
        return self._read(lambda show, s: show.names(*aggregate_rows.with_places(s, id)), at_once=True)

    def host_list(self, context: Context, zone: str | None = None) -> Json:
        """Return all hosts, or those of one availability zone."""
        def work(show: Presenter, s: Any) -> Json:
            found = [show.host(row) for row in host_rows.every(s)]
            return {"hosts": [host for host in found if zone is None or host["zone"] == zone]}
        return self._read(work)

    def host_show(self, context: Context, host: str) -> Json:
        """Return one host."""
        return self._read(lambda show, s: show.host(host_rows.get(s, host)))

    def host_vms(self, context: Context, host: str) -> Json:
        """Return the VMs that are on a host or belong there."""
        return self._read(lambda show, s: {"vms": show.vms(host_rows.get(s, host))})

    def plan_show(self, context: Context, id: str) -> Json:
        """Return one plan."""
        return self._read(lambda show, s: show.plan(operations.plan(s, id)))

    def operation_list(self, context: Context, filters: Filters | None = None, limit: int = 100,
                       marker: str | None = None) -> Json:
        """Return operations, newest first."""
        wanted: Json = {name: value for name, value in (filters or {}).items() if name in _FILTERS}
        if not all(fits(value, _FILTERS[name] | None) for name, value in wanted.items()):
            raise errors.Invalid("A filter is of another type")
        return self._read(lambda show, s: {"operations": [show.operation(row) for row in operations.listed(
            s, limit=max(1, min(limit, 1000)), marker=marker, **wanted)]})

    def operation_show(self, context: Context, id: str) -> Json:
        """Return one operation."""
        return self._read(lambda show, s: show.operation(operations.get(s, id)))

    def operation_events(self, context: Context, id: str, after: int = 0, wait_s: float = 0.0) -> Json:
        """Return an operation and its events above ``after``; wait for one while it has not ended."""
        def work(show: Presenter, s: Any) -> Json:
            row = operations.get(s, id)
            return {"operation": show.operation(row), "events": [event(e) for e in operations.events(s, id, after)]}

        clock = self._engine.clock
        deadline = clock.monotonic() + min(max(wait_s, 0.0), LONGEST_WAIT_S)
        while True:
            seen = self._engine.news()
            answer = self._read(work)
            left = deadline - clock.monotonic()
            ended = answer["operation"]["state"] in states.TERMINAL_OPERATION
            if answer["events"] or ended or left <= 0 or self._engine.ending:
                return answer
            # Another conductor's changes are not heard here, so the wait is cut in pieces.
            self._engine.wait_news(seen, min(left, 1.0))

    # Changes.

    def aggregate_create(self, context: Context, name: str, availability_zone: str | None = None,
                         metadata: dict[str, str] | None = None) -> Json:
        """Create an aggregate."""
        return self._change(context, "aggregate_create", [name, availability_zone, metadata],
                            lambda tx: aggregates.create(tx, name, availability_zone, metadata or {}),
                            lambda show, row: show.aggregate(row))

    def aggregate_update(self, context: Context, id: int, changes: dict[str, str | None]) -> Json:
        """Change an aggregate's name or zone."""
        return self._change(context, "aggregate_update", [id, changes],
                            lambda tx: aggregates.update(tx, id, changes), lambda show, row: show.aggregate(row))

    def aggregate_set_metadata(self, context: Context, id: int, metadata: dict[str, str | None]) -> Json:
        """Merge metadata; None removes a key."""
        return self._change(context, "aggregate_set_metadata", [id, metadata],
                            lambda tx: aggregates.set_metadata(tx, id, metadata),
                            lambda show, row: show.aggregate(row))

    def aggregate_delete(self, context: Context, id: int) -> Json:
        """Delete an aggregate without hosts."""
        return self._change(context, "aggregate_delete", [id], lambda tx: aggregates.delete(tx, id),
                            lambda show, _: {})

    def aggregate_add_host(self, context: Context, id: int, host: str, options: Options | None = None) -> Json:
        """Begin to add a host."""
        return self._change(context, "aggregate_add_host", [id, host, options],
                            lambda tx: aggregates.add_host(tx, id, host, user_of(context)), _membership)

    def aggregate_remove_host(self, context: Context, id: int, host: str, options: Options | None = None) -> Json:
        """Begin to remove a host."""
        return self._change(context, "aggregate_remove_host", [id, host, options],
                            lambda tx: aggregates.remove_host(tx, id, host, options or {}, user_of(context)),
                            _membership)

    def maintenance_start(self, context: Context, host: str, options: Options | None = None) -> Json:
        """Begin to take a host into maintenance."""
        return self._service(context, "maintenance_start", host, [options],
                             lambda tx: accept.maintenance_start(tx, host, options or {}, user_of(context)),
                             "entering_maintenance", "on_maintenance")

    def maintenance_stop(self, context: Context, host: str, options: Options | None = None) -> Json:
        """Begin to take a host out of maintenance, or cancel the drain that runs."""
        return self._service(context, "maintenance_stop", host, [options],
                             lambda tx: accept.maintenance_stop(tx, host, options or {}, user_of(context)),
                             "leaving_maintenance", "off_maintenance")

    def host_disable(self, context: Context, host: str, reason: str | None = None) -> Json:
        """Begin to disable a host; its VMs stay."""
        return self._service(context, "host_disable", host, [reason],
                             lambda tx: accept.host_disable(tx, host, reason, user_of(context)), None, None)

    def host_enable(self, context: Context, host: str) -> Json:
        """Begin to enable a host."""
        return self._service(context, "host_enable", host, [],
                             lambda tx: accept.host_enable(tx, host, user_of(context)), None, None)

    def plan_create(self, context: Context, host: str, wanted: str, options: Options | None = None) -> Json:
        """Make and store a plan, to be looked at; nothing is claimed."""
        if wanted not in ("enable", "disable"):
            raise errors.Invalid("wanted is enable or disable")
        return self._change(context, "plan_create", [host, wanted, options],
                            lambda tx: accept.plan_preview(tx, host, wanted, options or {}),
                            lambda show, row: show.plan(row))

    def operation_cancel(self, context: Context, id: str) -> Json:
        """Cancel an operation."""
        return self._control(context, "operation_cancel", id, lambda tx: control.cancel(tx, id, user_of(context)))

    def operation_pause(self, context: Context, id: str) -> Json:
        """Pause an operation."""
        return self._control(context, "operation_pause", id, lambda tx: control.pause(tx, id, user_of(context)))

    def operation_resume(self, context: Context, id: str) -> Json:
        """Resume a paused operation."""
        return self._control(context, "operation_resume", id, lambda tx: control.resume(tx, id, user_of(context)))

    def operation_retry(self, context: Context, id: str) -> Json:
        """Try again what waits for a person."""
        return self._control(context, "operation_retry", id, lambda tx: control.retry(tx, id, user_of(context)))

    def operation_abandon(self, context: Context, id: str, reason: str) -> Json:
        """Give an operation up; its host stays quarantined."""
        if not reason.strip():
            raise errors.Invalid("Say why the operation is abandoned", code="reason_missing")
        return self._control(context, "operation_abandon", id,
                             lambda tx: control.abandon(tx, id, reason, user_of(context)))

    # How all of them work.

    def _presenter(self, session: Any) -> Presenter:
        settings = self._engine.settings
        return Presenter(session, self._engine.clock.now(), settings.agent_down_s, self._engine.receiving_since,
                         settings.pool_backed_by_default)

    def _read(self, work: Callable[[Presenter, Any], Json], at_once: bool = False) -> Json:
        return self._engine.read(lambda session: work(self._presenter(session), session), at_once)

    def _change(self, context: Context, method: str, arguments: list[Any], work: Callable[[Transaction], Any],
                show: Callable[[Presenter, Any], Json]) -> Json:
        """Do ``work`` once per idempotency key of the one who asks; asked again, give the first answer again."""
        key = _kept_under(context)
        digest = hashlib.sha256(json.dumps([method, arguments], sort_keys=True).encode()).hexdigest()

        def once(tx: Transaction) -> Json:
            before = tx.session.get(Request, key) if key else None
            if before is not None and before.digest != digest:
                raise errors.WrongState("This Idempotency-Key was used for another request",
                                        code="idempotency_key_reused")
            if before is not None:
                return before.answer
            made = work(tx)
            tx.session.flush()
            answer = show(self._presenter(tx.session), made)
            if key:
                tx.session.add(Request(key=key, digest=digest, answer=answer, created_at=tx.now))
            return answer

        return self._engine.run(once)

    def _service(self, context: Context, method: str, host: str, arguments: list[Any],
                 work: Callable[[Transaction], Operation | None], going: str | None, there: str | None) -> Json:
        def show(presenter: Presenter, operation: Operation | None) -> Json:
            answer: Json = {"host": self._host(presenter, host), "operation": None, "plan": None}
            if going is not None:
                answer["maintenance_mode"] = there if operation is None else going
            if operation is not None:
                answer["operation"] = presenter.operation(operation)
                if operation.plan_id is not None:
                    answer["plan"] = presenter.plan(operations.plan(presenter.session, operation.plan_id))
            return answer
        return self._change(context, method, [host, *arguments], work, show)

    @staticmethod
    def _host(presenter: Presenter, host: str) -> Json:
        return presenter.host(host_rows.get(presenter.session, host))

    def _control(self, context: Context, method: str, operation_id: str,
                 work: Callable[[Transaction], Operation]) -> Json:
        return self._change(context, method, [operation_id], work, lambda show, row: show.operation(row))


def _membership(show: Presenter, made: tuple[Any, Operation | None]) -> Json:
    aggregate, operation = made
    return {"aggregate": show.aggregate(aggregate), "operation": show.operation(operation) if operation else None}


def _kept_under(context: Context) -> str | None:
    """Return the key under which an answer is kept, None without one: two who choose the same key have two.

    A digest, as ids and key together may be longer than the column.
    """
    key = context.get("idempotency_key")
    whose = [context.get("user_id") or user_of(context), context.get("project_id") or "", key]
    return hashlib.sha256(json.dumps(whose).encode()).hexdigest() if key else None


def user_of(context: Context) -> str:
    """Return who asks, as it can be stored and printed."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(context.get("user") or "unknown"))[:255]


class Agents:
    """What the agents may say; see ``common/agents_api.py``.

    With ``keys`` a message counts only when its MAC shows that the host's own agent made it;
    before that nothing is looked up.  Who an agent says to be in the context means nothing.
    """

    def __init__(self, engine: Engine, keys: Keys | None = None) -> None:
        self._engine = engine
        self.keys = keys

    def sync(self, context: Context, sync: Json, mac: str | None = None) -> Json:
        """Take in a heartbeat."""
        self._admit("sync", {"sync": sync}, sync, mac)
        heard.check_sync(sync)
        said = Sync.from_wire(sync)
        return self._engine.run(lambda tx: hosts.sync(tx, said)).to_wire()

    def claim(self, context: Context, host: str, incarnation: str, sequence: int, task: str, attempt: int,
              session: str | None, mac: str | None = None) -> Json:
        """Answer a claim."""
        arguments = {"host": host, "incarnation": incarnation, "sequence": sequence, "task": task,
                     "attempt": attempt, "session": session}
        self._admit("claim", arguments, arguments, mac)
        return self._engine.run(
            lambda tx: orders.claim(tx, host, incarnation, sequence, task, attempt, session)).to_wire()

    def report(self, context: Context, host: str, incarnation: str, sequence: int, report: Json,
               mac: str | None = None) -> Json:
        """Take in readings."""
        arguments = {"host": host, "incarnation": incarnation, "sequence": sequence, "report": report}
        self._admit("report", arguments, arguments, mac)
        heard.check_report(report)
        said = Report.from_wire(report)
        return {"wanted": self._engine.run(lambda tx: orders.report(tx, host, incarnation, sequence, said))}

    def ping(self, context: Context) -> Json:
        """Answer a conductor that asks itself whether agents can be heard; nothing is looked at or changed."""
        return {}

    def _admit(self, method: str, arguments: Json, sender: object, mac: object) -> None:
        """Return when the sender is named as it should be and is who it says.  Raises Invalid, Forbidden."""
        if not isinstance(sender, dict) or not _is_named(sender):
            raise errors.Invalid(f"A {method} without a host's name, an incarnation and a sequence number",
                                 code="bad_message")
        if self.keys is None:
            return
        try:
            self.keys.verify(sender["host"], method, arguments, mac)
        except errors.Forbidden as exc:
            LOG.warning("A message of an agent was refused: %s", exc.message)
            raise


def _is_named(sender: Json) -> bool:
    """Return whether host, incarnation and sequence have the form that rows of them take."""
    for name, longest in (("host", 255), ("incarnation", 36)):
        text = sender.get(name)
        if not isinstance(text, str) or not 0 < len(text) <= longest or not text.isprintable():
            return False
    number = sender.get("sequence")
    return type(number) is int and 0 < number < 1 << 31
