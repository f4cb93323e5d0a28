"""From an operation's rows to its next step, in the transaction of the event that made it possible.

It calls the pure deciders, carries out what they answer, and sets when a sweeper should
look again.  It decides nothing about hosts and pools itself.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from common import errors
from conductor import states
from conductor.db import hosts, moves, operations
from conductor.db.models import Host, Operation, Plan, Pool, Task
from conductor.operations import begin, ending, maintenance, membership, snapshot
from conductor.operations.engine import Transaction, new_id
from conductor.operations.settings import Settings
from conductor.operations.view import Attention, Decision, NewTask, TaskView, View
from conductor.plan import model
from conductor.plan.drain import plan_drain

#: steps in one transaction; each one changes rows, so more would be a circle
_STEPS = 50

#: kinds whose tasks any live agent of the pool may carry out through its master
THROUGH_MASTER = frozenset({"host_disable", "host_enable", "vm_migrate", "vm_start", "observe", "pool_eject",
                            "sync_database", "host_destroy"})

#: kinds of operations that move VMs
MOVING = ("maintenance_start", "maintenance_stop", "vm_migrate")
#: heartbeats that agents are given after an outage of conductors, broker or database, before their silence counts
GRACE_INTERVALS = 3


def advance(tx: Transaction, operation: Operation, *, retried: bool = False) -> None:
    """Take every step that the rows allow now, then set when to look again."""
    if operation.pool and operation.kind in MOVING:
        hosts.take_turn(tx.session, operation.pool)
    for _ in range(_STEPS):
        if operation.state == states.Operation.PLANNING and not _begin(tx, operation):
            return
        if operation.state in states.TERMINAL_OPERATION:
            return
        tasks = operations.tasks(tx.session, operation.id)
        decision = _while_frozen(tx, operation, decide(make_view(tx, operation, tasks, retried), tx.settings))
        wake = _carry_out(tx, operation, tasks, decision)
        retried = False
        tx.session.flush()
        if operation.state in states.TERMINAL_OPERATION:
            return
        if not (decision.create or decision.withdraw or decision.event) and wake != 0.0:
            operation.wake_at = wake or _wake_at(tx, tasks)
            return
    raise errors.Bug(f"operation {operation.id} takes no end of steps")


def _while_frozen(tx: Transaction, operation: Operation, decision: Decision) -> Decision:
    """Send nothing into a pool that two hosts claim to be the master of: nobody knows what is true there."""
    pool = hosts.find_pool(tx.session, operation.pool)
    if pool is None or pool.frozen is None or not decision.send:
        return decision
    return replace(decision, send=(), attention=Attention("pool_frozen", f"The pool is frozen: {pool.frozen}"))


def move_on(tx: Transaction, operation: Operation, event: str, **detail: Any) -> None:
    """Apply an event to an operation; when it ends it leaves what it held as promised, and the next may begin."""
    tx.apply(operation, event, **detail)
    tx.session.flush()
    if operation.state in states.TERMINAL_OPERATION:
        waiting = ending.finish(tx, operation)
        if waiting is not None:
            advance(tx, waiting)


def _begin(tx: Transaction, operation: Operation) -> bool:
    """Bring the operation out of planning; return False while it has to wait."""
    try:
        if not begin.take_turn(tx, operation):
            operation.wake_at = tx.now + tx.settings.sync_interval_s
            return False
    except errors.Unavailable as exc:
        # Accepted means kept: what can't be read now is waited for, but not for ever.
        since = operation.options.get("waits_since", tx.now)
        operation.options = {**operation.options, "waits_since": since}
        if tx.now - since < tx.settings.begin_limit_s:
            # The first report of a new pool is some syncs away; that is nothing to call a person for.
            if tx.now - since >= 3 * tx.settings.sync_interval_s:
                _attend(tx, operation, Attention(exc.code, exc.message, exc.details))
            operation.wake_at = tx.now + tx.settings.retry_pause_s
            return False
        operation.error = exc.to_wire()
        move_on(tx, operation, "deadline", error=exc.to_wire())
        return True
    except errors.Error as exc:
        operation.error = exc.to_wire()
        move_on(tx, operation, "infeasible", error=exc.to_wire())
        return True
    move_on(tx, operation, "plan_ready")
    return True


def decide(view: View, settings: Settings) -> Decision:
    """Return what comes next for an operation of any kind."""
    match view.kind:
        case "maintenance_start":
            return maintenance.drain(view, settings.limits)
        case "maintenance_stop":
            return maintenance.restore(view, settings.limits)
        case "vm_migrate":
            return maintenance.relocate(view, settings.limits)
        case "host_disable" | "host_enable":
            return maintenance.single(view, view.kind)
        case "aggregate_add_host":
            return membership.add(view, settings.join_limit_s)
        case "aggregate_remove_host":
            return membership.remove(view, settings.eject_limit_s)
    raise errors.Bug(f"there is no operation kind {view.kind}")


def make_view(tx: Transaction, operation: Operation, tasks: Sequence[Task], retried: bool = False) -> View:
    """Return the operation as its decider sees it."""
    host = hosts.find(tx.session, operation.host) if operation.host else None
    moving = operation.kind in MOVING and operation.pool
    in_pool = operations.open_moves(tx.session, operation.pool or "") if moving else []
    plans = operations.plans_of(tx.session, operation.id) if moving else []
    pool, every = hosts.find_pool(tx.session, operation.pool), hosts.every(tx.session)
    return View(
        kind=operation.kind, state=states.Operation(operation.state),
        options=operation.options,
        tasks=tuple(_task_view(tx, task) for task in tasks), now=tx.now,
        host_uuid=host.uuid if host else "",
        in_flight=tuple((task.args["source"], task.args["destination"]) for task in in_pool
                        if task.state != states.Task.PENDING),
        usable_hosts=frozenset(h.uuid for h in every if h.live and h.enabled),
        retried=retried, replans_left=tx.settings.replans + 1 - len(plans),
        arriving=sum(host is not None and task.operation_id != operation.id
                     and task.args["destination"] == host.uuid for task in in_pool),
        is_slow=_is_slow(tx, operation, plans), pool_size=_size(pool), writer=_writer(tx, pool, every))


def _size(pool: Pool | None) -> int:
    """Return how many hosts the pool's last report lists."""
    return len(pool.hosts or (pool.report or {}).get("hosts", ())) if pool is not None else 0


def _writer(tx: Transaction, pool: Pool | None, every: Sequence[Host]) -> str | None:
    """Return the host of the pool whose agent can act, the master first; None when nobody's can, or may."""
    if pool is None or pool.frozen:
        return None
    able = [host for host in every if host.pool == pool.uuid and _can_act(tx, host)]
    return next((host.name for host in able if host.uuid == pool.master), able[0].name if able else None)


def _is_slow(tx: Transaction, operation: Operation, plans: Sequence[Plan]) -> bool:
    """Return whether the operation takes twice as long as its first plan said at most."""
    taken_s = tx.now - operation.created_at
    return taken_s > tx.settings.slow_at_least_s and bool(plans) and taken_s > 2 * float(
        plans[0].body["eta"]["high_s"])


def _task_view(tx: Transaction, task: Task) -> TaskView:
    overdue = (states.Task(task.state) in states.CLAIMED_TASK
               and tx.now - (task.sent_at or tx.now) > task.limit_s + tx.settings.silence_s)
    return TaskView(task.id, task.kind, states.Task(task.state), task.position, task.attempt, task.args,
                    task.shown or {}, task.readings or {}, task.error, task.not_before, overdue)


def _carry_out(tx: Transaction, operation: Operation, tasks: Sequence[Task], decision: Decision) -> float | None:
    """Write what was decided; return when to look again, 0.0 for at once, None for as the tasks say."""
    rows = {task.id: task for task in tasks}
    for task_id in decision.withdraw:
        tx.apply(rows[task_id], "withdraw", operation)
    for new in decision.create:
        create(tx, operation, new)
    for task_id in decision.send:
        send(tx, operation, rows[task_id])
    attention, wake = decision.attention, None
    if decision.replan:
        attention, wake = _replan(tx, operation)
    if attention is not None or not decision.replan:
        # What a new plan leaves of the last attention, the step after it says.
        _attend(tx, operation, attention)
    if decision.event is not None:
        operation.error = decision.error or operation.error
        operation.result = decision.result or operation.result
        move_on(tx, operation, decision.event, error=decision.error)
    return wake


def create(tx: Transaction, operation: Operation, new: NewTask) -> Task:
    """Store a task at the end of the operation's."""
    host = hosts.get(tx.session, str(operation.host))
    limit_s = tx.settings.short_limit_s if new.limit_s is None else new.limit_s
    args = dict(new.args)
    if new.kind == "host_disable":
        args["mark"] = operation.id
    if new.kind == "observe":
        args.update(times=2, apart_s=tx.settings.observe_apart_s)
    position = operations.count_tasks(tx.session, operation.id) + 1
    task = Task(id=new_id(), operation_id=operation.id, kind=new.kind, position=position,
                state=str(states.Task.PENDING), attempt=1, host=host.name, host_uuid=host.uuid,
                executor=new.executor or host.name, pool=operation.pool, args=args, shown=new.shown,
                limit_s=limit_s, progress=0.0, sends=0)
    tx.session.add(task)
    tx.session.flush()
    if task.kind == "vm_migrate":
        moves.give_number(tx.session, task)
    return task


def create_moves(tx: Transaction, operation: Operation, plan_id: str, plan: model.Plan) -> None:
    """Store one task for each move of the plan, in its order."""
    for move in plan.moves:
        create(tx, operation, NewTask(
            "vm_migrate", {"vm": move.vm, "source": move.source, "destination": move.destination},
            {**move.to_json(), "plan": plan_id},
            limit_s=max(tx.settings.migration_limit_s, 3 * (move.end_s - move.start_s))))


def send(tx: Transaction, operation: Operation, task: Task) -> None:
    """Give the task to its executor; the doorbell rings after the commit."""
    if task.kind == "pool_eject":
        # Back to the host's own agent when that is heard again: no other one sees whether the host stands alone.
        task.executor = task.host
    task.executor = choose_executor(tx, task)
    task.sends += 1
    task.sent_at = tx.now
    task.not_before = None
    tx.apply(task, "send", operation, executor=task.executor, attempt=task.attempt)
    tx.rings.append((task.executor, task.id, task.attempt))


def choose_executor(tx: Transaction, task: Task) -> str:
    """Return who should act: the executor as set, or another agent of the pool when that one is down."""
    own = hosts.find(tx.session, task.executor)
    if task.kind not in THROUGH_MASTER or not task.pool or (own is not None and _can_act(tx, own)):
        return task.executor
    others = [host for host in hosts.in_pool(tx.session, task.pool) if _can_act(tx, host)]
    return others[0].name if others else task.executor


def _can_act(tx: Transaction, host: Host) -> bool:
    """Return whether the host's agent is heard and reaches its hypervisor, and nobody says that it is down."""
    return is_up(tx, host.last_sync_at) and not host.trouble and not host.forced_down


def is_up(tx: Transaction, last_sync_at: float) -> bool:
    """Return whether an agent was heard lately, or could not have been heard."""
    return tx.now - max(last_sync_at, tx.receiving_since) <= tx.settings.agent_down_s


def _attend(tx: Transaction, operation: Operation, attention: Attention | None) -> None:
    """Set or clear the operation's attention; each change is an event."""
    old = operation.attention
    if attention is not None and (old is None or (old["code"], old["message"]) != (attention.code, attention.message)):
        operation.attention = {**attention.to_json(), "since": tx.now}
        tx.note(operation, "attention", attention.message, code=attention.code)
    elif attention is None and old is not None:
        operation.attention = None
        tx.note(operation, "attention_cleared", "Its cause is gone", code=old["code"])


def _replan(tx: Transaction, operation: Operation) -> tuple[Attention | None, float | None]:
    """Make and store a new plan for what is still on the host; return why not, and when to try again."""
    settings = tx.settings
    host = hosts.get(tx.session, str(operation.host))
    own = [task for task in operations.tasks(tx.session, operation.id) if task.kind == "vm_migrate"]
    unclaimed = [task for task in own if task.state in (states.Task.PENDING, states.Task.SENT)]
    try:
        seen = snapshot.of_pool(tx, operation.pool, without={task.id for task in unclaimed})
    except errors.Unavailable as exc:
        return Attention(exc.code, exc.message, exc.details), tx.now + settings.retry_pause_s
    outcome = plan_drain(seen, host.uuid, limits=settings.limits, estimates=settings.estimates,
                         allow_partial=bool(operation.options.get("allow_partial")))
    if isinstance(outcome, model.Refusal):
        blockers = [blocker.to_json() for blocker in outcome.blockers]
        return Attention("no_plan", "No plan fits what is left on the host: "
                         + "; ".join(b.message for b in outcome.blockers[:5]), {"blockers": blockers}
                         ), tx.now + settings.refused_replan_s
    lost = [task for task in own if task.state in (states.Task.FAILED, states.Task.SKIPPED)
            and not (task.shown or {}).get("resolved")]
    pool = hosts.find_pool(tx.session, operation.pool)
    if not outcome.moves and lost and pool and (pool.report_at or 0.0) <= max(t.ended_at or 0.0 for t in lost):
        # The report does not show yet what the order's readings showed; the next one will.
        return None, tx.now + settings.retry_pause_s
    for task in unclaimed:
        tx.apply(task, "withdraw", operation)
    for task in (*lost, *unclaimed):
        task.shown = {**(task.shown or {}), "resolved": True}
    _look_again(tx, operation)
    operation.options = {**operation.options, "left": [blocker.to_json() for blocker in outcome.left]}
    if outcome.moves:
        plan = store_plan(tx, host.name, outcome, operation.id)
        operation.plan_id = plan.id
        create_moves(tx, operation, plan.id, outcome)
        tx.apply(operation, "replanned", plan=plan.id, moves=len(outcome.moves))
    return None, 0.0


def _look_again(tx: Transaction, operation: Operation) -> None:
    """Forget what was last seen on the host: what comes next starts from a new look."""
    for task in operations.tasks(tx.session, operation.id):
        if task.kind == "observe":
            task.readings = None


def store_plan(tx: Transaction, host: str, plan: model.Plan, operation_id: str | None) -> Plan:
    """Store a plan as it was or will be shown."""
    row = Plan(id=new_id(), host=host, wanted="enable" if plan.wanted == model.MAINTENANCE else "disable",
               body=plan.to_json(), created_at=tx.now, operation_id=operation_id)
    tx.session.add(row)
    tx.session.flush()
    return row


def _wake_at(tx: Transaction, tasks: Sequence[Task]) -> float:
    """Return when silence or a pause ends that some task of the operation waits for."""
    times = [tx.now + 30.0]
    for task in tasks:
        match states.Task(task.state):
            case states.Task.SENT:
                times.append((task.sent_at or tx.now) + resend_after(tx, task))
            case states.Task.EXECUTING:
                times.append(silent_at(tx, task))
            case states.Task.UNKNOWN:
                times.append(max(task.not_before or 0.0, tx.now + tx.settings.sync_interval_s))
            case states.Task.PENDING if task.not_before is not None and task.not_before > tx.now:
                times.append(task.not_before)
    return max(min(times), tx.now + 0.05)


def silent_at(tx: Transaction, task: Task) -> float:
    """Return when a claimed task without news becomes unknown; silence counts only while we could receive."""
    graced = tx.receiving_since + GRACE_INTERVALS * tx.settings.sync_interval_s
    return max(task.heard_at or 0.0, graced) + tx.settings.silence_s


def resend_after(tx: Transaction, task: Task) -> float:
    """Return how many seconds after its sending an unclaimed task is sent again."""
    waits = tx.settings.resend_s
    return waits[min(max(task.sends, 1), len(waits)) - 1]
