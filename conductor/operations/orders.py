"""What agents may do with their orders: claim them, report on them, say that they are at them.

It accepts a claim or a report only from the task's executor and from the newest agent
process of that host; what the readings mean is ``judge``'s to say.
"""

from dataclasses import dataclass, field
from typing import Any

from common.messages import Claim, Order, Report
from conductor import states
from conductor.db import hosts, operations
from conductor.db.models import ClaimRecord, Host, Operation, Task
from conductor.operations import calling_off
from conductor.operations.advance import MOVING, advance, choose_executor, resend_after, silent_at
from conductor.operations.engine import Transaction
from conductor.operations.judge import Verdict, judge

_Task = states.Task

#: the error of a move that floats, kept until its outcome is known
_FLOATING = "floating"


def claim(tx: Transaction, executor: str, incarnation: str, number: int, task_id: str, attempt: int,
          session: str | None) -> Claim:
    """Answer a claim; with "yours" the claimant and its XenAPI session are recorded in the same transaction.

    Raises WrongState ``replayed`` when the agent's message ``number`` was taken in before.
    """
    host = hosts.find(tx.session, executor)
    if host is None or host.incarnation != incarnation:
        return Claim("superseded" if hosts.host_of_incarnation(tx.session, incarnation) == executor else "stale")
    hosts.take_in(tx.session, host, incarnation, number)
    task = operations.find_task(tx.session, task_id)
    if task is None or task.executor != executor or task.attempt != attempt or task.state in states.TERMINAL_TASK:
        return Claim("stale")
    if task.state == _Task.PENDING or (task.state == _Task.UNKNOWN and (task.not_before or 0.0) > tx.now):
        return Claim("not_yet")
    pool = hosts.find_pool(tx.session, task.pool)
    if pool is not None and pool.frozen:
        return Claim("not_yet")
    operation = operations.get(tx.session, task.operation_id)
    if task.state == _Task.EXECUTING and task.incarnation != incarnation:
        tx.apply(task, "silence", operation, why_silent="its agent was replaced")
    if task.state != _Task.EXECUTING:
        tx.apply(task, "claimed", operation, executor=executor)
    task.incarnation, task.claimed_at, task.heard_at = incarnation, tx.now, tx.now
    fence = operations.unfenced_sessions(tx.session, executor, incarnation, task_id)
    tx.session.add(ClaimRecord(task_id=task.id, attempt=attempt, incarnation=incarnation, session=session,
                               claimed_at=tx.now, fenced=False))
    host.epoch = max(host.epoch, operation.epoch)
    return Claim("yours", _order(tx, task, operation, [uuid for uuid in fence if uuid != session]).to_wire())


def _order(tx: Transaction, task: Task, operation: Operation, fence: list[str]) -> Order:
    near = hosts.in_pool(tx.session, task.pool) if task.pool else []
    members = {host.uuid: host.address for host in near}
    if "master_uuid" in task.args:
        members[task.args["master_uuid"]] = task.args["master_address"]
    return Order(task=task.id, attempt=task.attempt, kind=task.kind, operation=operation.id, host=task.host,
                 host_uuid=task.host_uuid, executor=task.executor, epoch=operation.epoch, pool=task.pool,
                 args=task.args, limit_s=task.limit_s, fence=fence, members=members,
                 called_off=calling_off.is_called_off(task, operation))


def report(tx: Transaction, executor: str, incarnation: str, number: int, said: Report) -> bool:
    """Take readings in; return whether more of them are wanted.  Raises as ``claim``."""
    sender = hosts.find(tx.session, executor)
    if sender is None or sender.incarnation != incarnation:
        return False
    hosts.take_in(tx.session, sender, incarnation, number)
    task = operations.find_task(tx.session, said.task)
    if (task is None or task.executor != executor or task.incarnation != incarnation
            or task.attempt != said.attempt or states.Task(task.state) not in states.CLAIMED_TASK):
        return False
    operation = operations.get(tx.session, task.operation_id)
    operations.mark_fenced(tx.session, said.fenced)
    task.heard_at = tx.now
    task.readings = said.readings
    task.progress = float(said.readings.get("progress") or task.progress)
    if task.state == _Task.UNKNOWN:
        tx.apply(task, "heard", operation)
    verdict = judge(task.kind, task.args, said)
    unfenced = operations.unfenced_sessions(tx.session, executor, incarnation, task.id)
    if verdict.event in ("no_effect", "refused", "halfway") and unfenced:
        # A predecessor could still act: nothing about this attempt is final before it is fenced.
        verdict = Verdict("silence", verdict.error, {"unfenced": len(unfenced)})
    if verdict.event == "floating" and (task.error or {}).get("code") == _FLOATING:
        # Its time has passed and it is where it was: what the restart left behind has come to nothing.
        verdict = Verdict("no_effect", verdict.error)
    if verdict.event is None:
        return not said.settled
    _settle(tx, operation, task, verdict)
    _observe_host(tx, task, said.readings)
    tx.session.flush()
    advance(tx, operation)
    if task.kind == "vm_migrate":
        _let_others_move(tx, operation)
    return False


def _settle(tx: Transaction, operation: Operation, task: Task, verdict: Verdict) -> None:
    """Apply the verdict; an attempt too many becomes a refusal, and a repeated one waits a little."""
    event, settings = verdict.event or "", tx.settings
    awaited = bool(verdict.detail and verdict.detail.get("past_return"))
    patient = awaited or (task.kind == "observe" and operation.kind == "maintenance_start")
    patient = patient or calling_off.is_called_off(task, operation)
    if event == "no_effect" and not patient and task.attempt >= settings.move_attempts:
        event = "exhausted"
    if event in ("refused", "exhausted", "halfway"):
        task.error = verdict.error or {"code": "no_effect", "details": task.readings or {},
                                       "message": f"{task.attempt} attempts had no effect"}
    elif event == "floating":
        task.error = {"code": _FLOATING, "details": verdict.detail or {},
                      "message": "A toolstack restarted in mid-move; the move may still be going on"}
    elif event in ("effect", "no_effect"):
        task.error = None
    if event in ("effect", "no_effect", "refused", "exhausted", "halfway"):
        # Its claimant has said that it acts no more; whoever comes after it has nothing to fence.
        operations.mark_ended(tx.session, task.id, task.incarnation or "")
    tx.apply(task, event, operation, error=verdict.error, **(verdict.detail or {}))
    if event == "no_effect":
        # Each further attempt waits twice as long, so that what stays as it is does not fill the timeline.
        task.not_before = tx.now + min(settings.retry_pause_s * 2 ** min(task.attempt - 1, 10),
                                       settings.refused_replan_s)
        task.attempt += 1
        task.sends = 0
        task.incarnation = task.claimed_at = task.heard_at = None
    elif event in ("floating", "silence"):
        # Its claimant has ended: what it says again is not news, and whoever acts next has to claim first.
        task.incarnation = None
        task.not_before = tx.now + (task.limit_s if event == "floating" else settings.retry_pause_s)
    elif event == "effect":
        task.progress = 1.0


def _observe_host(tx: Transaction, task: Task, readings: dict[str, Any]) -> None:
    """Keep what an order has read about its host: it is newer than the pool's last report."""
    if task.state == _Task.DONE and task.kind in ("pool_join", "pool_eject"):
        moved = hosts.find(tx.session, task.host)
        if moved is not None:
            moved.pool, moved.observed_at = (task.pool if task.kind == "pool_join" else None), tx.now
            moved.enabled = moved.live = task.kind == "pool_join" or None
            moved.role = "slave" if task.kind == "pool_join" else "unreachable"
    if task.kind not in ("host_disable", "host_enable", "observe"):
        return
    read = (readings.get("times") or [{}])[-1] if task.kind == "observe" else readings
    host = hosts.find(tx.session, task.host)
    if host is not None and isinstance(read.get("enabled"), bool):
        host.enabled, host.live, host.observed_at = read["enabled"], read.get("live", host.live), tx.now


def _let_others_move(tx: Transaction, operation: Operation) -> None:
    """Give the freed slot to another operation's move in the same pool, the oldest operation first.

    A drain that only waits for this move's arrival goes on as well.
    """
    for other in operations.active_in_pool(tx.session, operation.pool or "", MOVING):
        if other.id != operation.id:
            advance(tx, other)


@dataclass
class Heard:
    """What an agent is told about its orders, as a SyncAnswer lists it."""

    waiting: list[dict[str, Any]] = field(default_factory=list)
    called_off: list[dict[str, Any]] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)


def hear(tx: Transaction, host: Host, running: list[dict[str, Any]]) -> Heard:
    """Take in what an agent says it is at; return what waits for it, and what it should end or drop.

    A task that an earlier process of the same host had claimed becomes unknown here, and is
    offered to this one.
    """
    at = {(str(one.get("task")), one.get("attempt")): one for one in running}
    answer, wanted = Heard(), set()
    for task in operations.for_executor(tx.session, host.name):
        wanted.add(task.id)
        said = at.get((task.id, task.attempt))
        operation = None
        if task.state == _Task.EXECUTING and task.incarnation != host.incarnation:
            operation = operations.get(tx.session, task.operation_id)
            tx.apply(task, "silence", operation, why_silent="its agent was replaced")
        if said is not None and task.state in states.CLAIMED_TASK and task.incarnation == host.incarnation:
            task.heard_at = tx.now
            task.progress = float(said.get("progress") or task.progress)
            if task.state == _Task.UNKNOWN and (task.not_before or 0.0) <= tx.now:
                operation = operations.get(tx.session, task.operation_id)
                tx.apply(task, "heard", operation)
            if calling_off.is_called_off(task, operation or operations.get(tx.session, task.operation_id)):
                answer.called_off.append({"task": task.id, "attempt": task.attempt})
        elif task.state in (_Task.SENT, _Task.UNKNOWN) and (task.not_before or 0.0) <= tx.now:
            answer.waiting.append({"task": task.id, "attempt": task.attempt})
        if operation is not None:
            operation.wake_at = tx.now
    answer.dropped = sorted({task_id for task_id, _ in at} - wanted)
    return answer


def silence(tx: Transaction, operation: Operation) -> None:
    """Apply what the passing of time means to the operation's tasks."""
    for task in operations.tasks(tx.session, operation.id):
        if task.state == _Task.SENT and tx.now - (task.sent_at or 0.0) >= resend_after(tx, task):
            tx.apply(task, "silence", operation)
        elif task.state == _Task.EXECUTING and tx.now >= silent_at(tx, task):
            tx.apply(task, "silence", operation)
            task.not_before = tx.now
        if task.state == _Task.UNKNOWN and (task.not_before or 0.0) <= tx.now:
            _offer(tx, task)


def _offer(tx: Transaction, task: Task) -> None:
    """Ring for an unknown task; another agent of the pool gets it when its executor is down."""
    task.executor = choose_executor(tx, task)
    tx.rings.append((task.executor, task.id, task.attempt))
