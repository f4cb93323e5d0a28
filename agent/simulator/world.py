"""The core: simulated machines, their pools, and a list of what is due; pure, told the time by a clock.

`call` answers one request, `advance` does what has become due. Everything that is still to happen is a
record (due time, kind, arguments) in `agenda`; nothing waits inside, so `save` at any moment and `load`
later go on where it was. Knows nothing of HTTP, threads or files. Not thread-safe: the skin has the lock.
"""

import heapq
import random
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from agent.simulator import daemons, emergency, faults, generic, incidents, knocks, plain, sessions, steps, timing
from agent.simulator.arguments import bound
from agent.simulator.call import LATER, Call, Clock, TaskWait
from agent.simulator.calls import CallLog, CallRecord
from agent.simulator.database import Database
from agent.simulator.failure import Dropped, Failure
from agent.simulator.fault_spec import FaultSpec, Incident
from agent.simulator.node import Node
from agent.simulator.strays import Stray
from agent.simulator.table import NULL, OTHER_CLASSES, Moment, load_table
from agent.simulator.wire_xml import encode_value

OUTCOMES_KEPT = 1000  # results of synchronous calls whose client may have gone away


class World:
    """All simulated machines and pools."""

    def __init__(self, clock: Clock, seed: int = 0) -> None:
        self.clock, self.table = clock, load_table()
        self.random = random.Random(seed)
        self.now = clock.now()
        self.nodes: dict[str, Node] = {}  # by address
        self.pools: dict[int, Database] = {}
        self.jobs: dict[str, dict[str, Any]] = {}  # work of the hypervisor daemons, by id
        self.held: list[dict[str, Any]] = []  # migrations that wait for another operation of their VM
        self.agenda: list[tuple[float, int, str, dict[str, Any]]] = []
        self.outcomes: OrderedDict[str, tuple[Any, list[str]]] = OrderedDict()
        self.calls = CallLog()
        self.faults: list[faults.Rule] = []
        self.fault_number = 0
        self.strays: list[Stray] = []
        self.knocks: dict[str, knocks.Knock] = {}  # joins that wait for what is no host of ours, by task
        self.looks_outside = False  # whether somebody looks at those
        self.reissue: Callable[[str, str], dict[str, Any]] | None = None  # makes a machine's internal certificate
        self.sequence = 0
        self._shifts = 0

    # ---- time
    def advance(self) -> None:
        """Do everything that is due by now, each at its own moment."""
        present = max(self.clock.now(), self.now)
        while self.agenda and self.agenda[0][0] <= present:
            due, _sequence, kind, args = heapq.heappop(self.agenda)
            self.now = max(due, self.now)
            if not daemons.put_off(self, kind, args):
                steps.STEPS[kind](self, **args)
            self._shifts += 1
        self.now = present

    def later(self, delay_s: float, kind: str, **args: Any) -> None:
        """Put a step on the agenda; its arguments must be JSON values."""
        self.sequence += 1
        heapq.heappush(self.agenda, (self.now + delay_s, self.sequence, kind, args))

    def next_due(self) -> float | None:
        """Return when the next step is due, None when nothing is."""
        return self.agenda[0][0] if self.agenda else None

    def forget_steps(self, kind: str, which: Callable[[dict[str, Any]], bool]) -> None:
        """Take steps off the agenda."""
        self.agenda = [step for step in self.agenda if step[2] != kind or not which(step[3])]
        heapq.heapify(self.agenda)
        self._shifts += 1

    def version(self) -> tuple[int, int]:
        """Return a value that differs whenever something has changed."""
        return sum(db.generation for db in self.pools.values()), self._shifts + self.sequence

    def moment(self, at: float | None = None) -> Moment:
        """Return a time, by default now, as it stands on the wire."""
        when = datetime.fromtimestamp(self.now if at is None else at, UTC)
        return Moment(when.strftime("%Y%m%dT%H:%M:%SZ"))

    # ---- names
    def new_uuid(self) -> str:
        """Return a fresh uuid from the seed."""
        text = f"{self.random.getrandbits(128):032x}"
        return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))

    def new_ref(self) -> str:
        """Return a fresh reference."""
        return "OpaqueRef:" + self.new_uuid()

    def new_pool(self) -> int:
        """Add an empty pool database and return its number."""
        number = max(self.pools, default=0) + 1
        self.pools[number] = Database(self.table, self.new_ref, self.new_uuid)
        return number

    def node_of_host(self, db: Database, host: str) -> Node:
        """Return the machine behind a host record."""
        uuid = db.get("host", host, "uuid")
        return next(node for node in self.nodes.values() if node.uuid == uuid)

    def host_of(self, node: Node) -> str:
        """Return the host reference of a machine in its pool's database, NULL if it has none."""
        db = self.pools.get(node.pool)
        return (db.by_uuid("host", node.uuid) if db else None) or NULL

    def name_of(self, pool: int, cls: str, ref: str) -> str:
        """Return an object's name_label, "" if it is gone."""
        db = self.pools.get(pool)
        return str(db.get(cls, ref, "name_label")) if db and db.has(cls, ref) else ""

    def node_named(self, name: str) -> Node:
        """Return a machine by its name in the world file."""
        return next(node for node in self.nodes.values() if node.name == name)

    def members(self, pool: int) -> list[Node]:
        """Return the machines that belong to a pool."""
        return [node for node in self.nodes.values() if node.pool == pool]

    # ---- calls
    def call(self, address: str, method: str, params: list[Any],
             headers: Mapping[str, str] | None = None) -> Any:
        """Answer a call made to the machine at `address`: a value, or a Waiting to be polled.

        Raises Failure (the API's) and Dropped (no answer at all).
        """
        self.advance()
        record, node = self.calls.begin(self.now, address, method), self.nodes[address]
        if node.cut or node.power in ("down", "off"):  # no fault is needed here
            self.calls.end(record, "dropped", self.now)
            raise Dropped
        record.originator = self._originator(node, method, params)
        return faults.apply(self, record, lambda: self.answer(record, method, list(params), headers or {}))

    def _originator(self, node: Node, method: str, params: list[Any]) -> str:
        if method == "session.login_with_password":
            return str(params[3]) if len(params) > 3 else ""
        session = params[0] if params and isinstance(params[0], str) else ""
        db = self.pools.get(node.pool)
        return str(db.get("session", session, "originator")) if db and db.has("session", session) else ""

    def answer(self, record: CallRecord, method: str, params: list[Any], headers: Mapping[str, str]) -> Any:
        """Answer a call that is in the log already and that no fault concerns."""
        node = self.nodes[record.address]
        if not node.reachable and node.power != "booting":
            raise Dropped
        is_async = method.startswith("Async.")
        name = method.removeprefix("Async.")
        alone = name in emergency.ANSWERED_ALONE
        if node.power == "booting" and not alone:
            raise Failure(*node.facts.get("emergency") or ["HOST_STILL_BOOTING"])
        if node.master and not alone:
            raise self._sent_on(node, name, params)
        message = self.table.messages.get(name)
        if message is None and name.partition(".")[0].lower() in OTHER_CLASSES:
            raise Failure("NOT_IMPLEMENTED", name)  # it may exist; that is not known here
        if message is None:
            raise Failure("MESSAGE_METHOD_UNKNOWN", method)
        if is_async and not message.is_async:
            raise Failure("Fault", f"No async mode for this operation (rpc: {name})")
        db, session = self.pools[node.pool], ""
        if message.needs_session:
            if not params:
                raise Failure("MESSAGE_PARAMETER_COUNT_MISMATCH", name, str(message.required), "-1")
            session = str(params.pop(0))
        args = bound(message, params, node.version)
        local = alone and session in node.local_sessions
        if message.needs_session and not local and (node.power == "booting" or node.master
                                                    or not sessions.is_open(self, db, session)):
            raise Failure("SESSION_INVALID", session)
        if message.kind == "removed":
            raise Failure("MESSAGE_REMOVED")
        if message.kind == "unserved":  # the code that xapi has for it; a real one would serve this
            raise Failure("NOT_IMPLEMENTED", name)
        parent = headers.get("subtask-of", NULL)
        call = Call(self, node, db, message, session, is_async=is_async,
                    subtask_of=parent if db.has("task", parent) else NULL)
        if session and not local:
            sessions.used(call)
        if is_async:
            record.task = self._run_async(call, args)
            return record.task
        return self._run(call, args)

    def _sent_on(self, node: Node, name: str, params: list[Any]) -> Failure:
        """Return what a member answers: that it is one, or, once it has started, that the session is none (seen)."""
        message, db = self.table.messages.get(name), self.pools[node.pool]
        session = params[0] if params and isinstance(params[0], str) else ""
        known = db.has("session", session) or session in node.local_sessions or node.facts.get("starting")
        if message and message.needs_session and not known:
            return Failure("SESSION_INVALID", session)
        return Failure("HOST_IS_SLAVE", node.master)

    def _run(self, call: Call, args: list[Any]) -> Any:
        result = self.serve(call, args)
        if result is LATER:
            return TaskWait(call.node.address, call.node.incarnation, call.task)
        return result

    def _run_async(self, call: Call, args: list[Any]) -> str:
        if call.message.full_name == "VM.pool_migrate":  # seen: a bad VM is refused before there is a task
            generic.check_handle(call.db, "VM", args[0])
        call.task = self.new_task(call.node.pool, f"Async.{call.message.full_name}", call.session,
                                  subtask_of=call.subtask_of)
        pool, task = call.node.pool, call.task
        try:
            result = self.serve(call, args)
        except Failure as failure:
            self.fail_task(pool, task, failure.description)
        else:
            if result is not LATER:
                self.finish_task(pool, task, result)
        return task

    def serve(self, call: Call, args: list[Any]) -> Any:
        """Do what a call says: its result, or LATER when its task will have it."""
        message = call.message
        if message.full_name not in emergency.ANSWERED_ALONE:
            generic.check_handles(call.db, message, args)
        if message.kind == "create":
            return plain.create(call.db, message.cls, args[0])
        if message.kind == "destroy":
            plain.destroy(call.db, message.cls, args[0])
            return None
        if message.kind != "custom":
            return generic.serve(call, args)
        return steps.CALLS[message.full_name](call, *args)

    def resumed_call(self, node: Node, method: str, session: str, task: str) -> Call:
        """Return the call that a pending task stands for, to go on with it later."""
        return Call(self, node, self.pools[node.pool], self.table.messages[method], session, task)

    # ---- tasks
    def new_task(self, pool: int, label: str, session: str, *, subtask_of: str = NULL,
                 transient: bool = False, description: str = "") -> str:
        """Add a pending task; a transient one goes when its synchronous call ends."""
        db = self.pools[pool]
        self._collect_tasks(db)
        master = next((node for node in self.members(pool) if node.is_master), None)
        return db.add("task", {
            "name_label": label, "name_description": description, "created": self.moment(),
            "subtask_of": subtask_of, "resident_on": self.host_of(master) if master else NULL,
            "_session": session or NULL, "_transient": transient})

    def finish_task(self, pool: int, task: str, value: Any = None) -> None:
        """End a task with a result; a task that is gone is none of our business."""
        self._end_task(pool, task, value, [], status="success", result=encode_value(value))

    def fail_task(self, pool: int, task: str, description: list[str]) -> None:
        """End a task with [code, params...]."""
        self._end_task(pool, task, None, description, status="failure", error_info=description)

    def cancel_task(self, pool: int, task: str) -> None:
        """End a task as cancelled: no error, no result (seen)."""
        self._end_task(pool, task, None, ["TASK_CANCELLED", task], status="cancelled")

    def _end_task(self, pool: int, task: str, value: Any, error: list[str], **fields: Any) -> None:
        db = self.pools.get(pool)
        if db is None or not db.has("task", task) or db.get("task", task, "_ended"):
            return
        parent = db.get("task", task, "subtask_of")
        if parent in self.jobs:
            self.later(0, "evacuate.next", job=parent)
        if db.get("task", task, "_transient"):
            self.outcomes[task] = (value, error)
            while len(self.outcomes) > OUTCOMES_KEPT:
                self.outcomes.popitem(last=False)
            db.delete("task", task)
            return
        db.set("task", task, progress=1.0, finished=self.moment(), allowed_operations=[],
               current_operations={}, _ended=self.now, **fields)

    def _collect_tasks(self, db: Database) -> None:
        ended = [(db.get("task", ref, "_ended"), ref) for ref in db.refs("task") if db.get("task", ref, "_ended")]
        surplus = len(db.rows["task"]) - timing.TASKS_KEPT
        for at, ref in sorted(ended, key=lambda one: float(one[0])):
            if surplus > 0 or at < self.now - timing.TASK_KEPT:
                db.delete("task", ref)
                surplus -= 1

    # ---- faults, for tests
    def fail_next(self, method: str, code: str, *params: str, address: str = "") -> None:
        """Let the next call of `method` fail with this error, without effect."""
        self._next(method, address, do="error", error=[code, *params])

    def drop_next(self, method: str, *, after: bool = False, address: str = "") -> None:
        """Let the connection of the next call of `method` end unanswered, before or after it took effect."""
        self._next(method, address, do="drop", when="after" if after else "before")

    def delay_next(self, method: str, seconds: float, *, address: str = "") -> None:
        """Let the next call of `method` begin that many simulated seconds later."""
        self._next(method, address, do="delay", seconds=seconds)

    def _next(self, method: str, address: str, **more: Any) -> None:
        self.fault_number += 1
        self.faults.append(faults.Rule(self.fault_number, call=method, address=address, **more))

    def put_in(self, *specs: FaultSpec) -> list[int]:
        """Let faults be at work from now on; return their numbers."""
        return incidents.put_in(self, specs)

    def lose_power(self, name: str) -> None:
        """Take the power from a machine, guests and all, without a word to its pool."""
        self.put_in(Incident(0, "power_off", name))

    def restore_power(self, name: str) -> None:
        """Let a machine without power boot."""
        self.put_in(Incident(0, "power_on", name))
