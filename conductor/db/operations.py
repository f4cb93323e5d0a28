"""Rows of operations, their tasks, claims, events and plans."""

from collections.abc import Sequence

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from common import errors
from conductor import states
from conductor.db.models import ClaimRecord, Event, Operation, Plan, Task

_ENDED = [str(state) for state in states.TERMINAL_OPERATION]
_IN_FLIGHT = [str(state) for state in (states.Task.SENT, *states.CLAIMED_TASK)]
_OPEN_TASK = [str(states.Task.PENDING), *_IN_FLIGHT]


def get(session: Session, operation_id: str) -> Operation:
    """Return the operation.  Raises NotFound."""
    operation = session.get(Operation, operation_id)
    if operation is None:
        raise errors.NotFound(f"There is no operation {operation_id}", code="operation_not_found",
                              operation=operation_id)
    return operation


def find(session: Session, operation_id: str | None) -> Operation | None:
    """Return the operation, or None."""
    return session.get(Operation, operation_id) if operation_id else None


def active_on(session: Session, host: str) -> Operation | None:
    """Return the operation that holds ``host``, or None."""
    return session.scalar(select(Operation).where(Operation.active_host == host))


def active_by_host(session: Session) -> dict[str, Operation]:
    """Return the operations that hold a host, by the host's name."""
    found = session.scalars(select(Operation).where(Operation.active_host.is_not(None)))
    return {str(operation.active_host): operation for operation in found}


def holder_of(session: Session, aggregate_id: int) -> Operation | None:
    """Return the operation that holds the aggregate, or None."""
    return session.scalar(select(Operation).where(Operation.active_aggregate == aggregate_id))


def waiting_for(session: Session, aggregate_id: int) -> Operation | None:
    """Return the oldest operation that waits in planning for its turn at the aggregate, or None."""
    return session.scalar(select(Operation).where(Operation.aggregate_id == aggregate_id,
                                                  Operation.state == states.Operation.PLANNING)
                          .order_by(Operation.created_at, Operation.id).limit(1))


def due(session: Session, now: float) -> Sequence[str]:
    """Return the ids of the operations that a sweeper should look at by ``now``, longest due first."""
    return session.scalars(select(Operation.id).where(Operation.wake_at <= now).order_by(Operation.wake_at)).all()


def next_wake(session: Session) -> float | None:
    """Return the earliest time at which an operation is due, or None."""
    return session.scalar(select(func.min(Operation.wake_at)))


def listed(session: Session, *, host: str | None = None, aggregate: int | None = None, state: str | None = None,
           active: bool | None = None, limit: int = 100, marker: str | None = None) -> Sequence[Operation]:
    """Return operations newest first; after ``marker`` (an id) if given.

    Raises NotFound for the marker, Invalid for a state that no operation has.
    """
    if state is not None and state not in [*states.Operation]:
        raise errors.Invalid(f"Operations have no state {state}; the states are {', '.join(states.Operation)}")
    query = select(Operation).order_by(Operation.created_at.desc(), Operation.id.desc()).limit(limit)
    if host is not None:
        query = query.where(Operation.host == host)
    if aggregate is not None:
        query = query.where(Operation.aggregate_id == aggregate)
    if state is not None:
        query = query.where(Operation.state == state)
    if active is not None:
        ended = Operation.state.in_(_ENDED)
        query = query.where(~ended if active else ended)
    if marker is not None:
        last = get(session, marker)
        query = query.where((Operation.created_at < last.created_at)
                            | ((Operation.created_at == last.created_at) & (Operation.id < last.id)))
    return session.scalars(query).all()


def last_served(session: Session, host: str) -> float:
    """Return when an operation last brought the host back into service; 0.0 when none ever did."""
    return session.scalar(select(func.max(Operation.ended_at)).where(
        Operation.host == host,
        ((Operation.kind == "maintenance_stop") & (Operation.state == states.Operation.SUCCEEDED))
        | ((Operation.kind == "maintenance_start") & (Operation.state == states.Operation.CANCELLED)))) or 0.0


def count_since(session: Session, host: str, kind: str, user: str, since: float) -> int:
    """Return how many operations of that kind and user began for the host since then."""
    return session.scalar(select(func.count()).select_from(Operation).where(
        Operation.host == host, Operation.kind == kind, Operation.user == user,
        Operation.created_at >= since)) or 0


def tasks(session: Session, operation_id: str) -> Sequence[Task]:
    """Return an operation's tasks in order of position."""
    return session.scalars(select(Task).where(Task.operation_id == operation_id)
                           .order_by(Task.position, Task.id)).all()


def count_tasks(session: Session, operation_id: str) -> int:
    """Return how many tasks an operation has."""
    return session.scalar(select(func.count()).select_from(Task).where(Task.operation_id == operation_id)) or 0


def find_task(session: Session, task_id: str) -> Task | None:
    """Return the task, or None."""
    return session.get(Task, task_id)


def for_executor(session: Session, executor: str) -> Sequence[Task]:
    """Return the executor's tasks that are sent or claimed."""
    return session.scalars(select(Task).where(Task.executor == executor, Task.state.in_(_IN_FLIGHT))
                           .order_by(Task.sent_at, Task.id)).all()


def open_moves(session: Session, pool: str) -> Sequence[Task]:
    """Return the moves in ``pool`` that have not ended, of all operations."""
    return session.scalars(select(Task).where(Task.pool == pool, Task.kind == "vm_migrate",
                                              Task.state.in_(_OPEN_TASK))).all()


def open_moves_to(session: Session, pool: str, destination: str) -> Sequence[Task]:
    """Return the moves in ``pool`` to the host with that uuid that have not ended, of all operations."""
    return [task for task in open_moves(session, pool) if task.args["destination"] == destination]


def active_in_pool(session: Session, pool: str, kinds: Sequence[str]) -> Sequence[Operation]:
    """Return the operations of these kinds in ``pool`` that have not ended, oldest first."""
    return session.scalars(select(Operation).where(
        Operation.pool == pool, Operation.kind.in_(kinds), Operation.ended_at.is_(None))
        .order_by(Operation.created_at, Operation.id)).all()


def moves_done_since(session: Session, pool: str, since: float) -> Sequence[Task]:
    """Return the moves and starts in ``pool`` whose effect was observed at ``since`` or later, oldest first."""
    return session.scalars(select(Task).where(Task.pool == pool, Task.kind.in_(["vm_migrate", "vm_start"]),
                                              Task.state == states.Task.DONE, Task.ended_at >= since)
                           .order_by(Task.ended_at)).all()


def moves_away(session: Session, host: str, since: float) -> Sequence[Task]:
    """Return the moves of the host's drains accepted at ``since`` or later that took a VM away, oldest first.

    One in which the VM lost power took it away too: it was started again at the destination.
    """
    ended = session.scalars(select(Task).join(Operation, Operation.id == Task.operation_id).where(
        Operation.host == host, Operation.kind == "maintenance_start", Operation.created_at >= since,
        Task.kind == "vm_migrate", Task.state.in_([states.Task.DONE, states.Task.FAILED])).order_by(Task.ended_at))
    return [task for task in ended
            if task.state == states.Task.DONE or (task.error or {}).get("code") == "vm_lost_power"]


def claims(session: Session, task_id: str) -> Sequence[ClaimRecord]:
    """Return who ever claimed the task, oldest first."""
    return session.scalars(select(ClaimRecord).where(ClaimRecord.task_id == task_id).order_by(ClaimRecord.id)).all()


def unfenced_sessions(session: Session, executor: str, incarnation: str, task_id: str) -> list[str]:
    """Return the XenAPI session uuids under which others may still act: on the task, or for the executor."""
    found = session.scalars(select(ClaimRecord.session).join(Task, Task.id == ClaimRecord.task_id).where(
        ClaimRecord.fenced.is_(False), ClaimRecord.session.is_not(None), ClaimRecord.incarnation != incarnation,
        (Task.executor == executor) | (Task.id == task_id)).distinct())
    return sorted(str(uuid) for uuid in found)


def mark_ended(session: Session, task_id: str, incarnation: str) -> None:
    """Record that this agent process acts no more under its claims of the task."""
    session.execute(update(ClaimRecord).where(ClaimRecord.task_id == task_id, ClaimRecord.incarnation == incarnation)
                    .values(fenced=True), execution_options={"synchronize_session": False})


def mark_fenced(session: Session, sessions: Sequence[str]) -> None:
    """Record that the sessions with these uuids can't act any more."""
    if sessions:
        session.execute(update(ClaimRecord).where(ClaimRecord.session.in_(list(sessions))).values(fenced=True),
                        execution_options={"synchronize_session": False})


def events(session: Session, operation_id: str, after: int, limit: int = 1000) -> Sequence[Event]:
    """Return an operation's events with a number above ``after``, in order."""
    return session.scalars(select(Event).where(Event.operation_id == operation_id, Event.n > after)
                           .order_by(Event.n).limit(limit)).all()


def plan(session: Session, plan_id: str) -> Plan:
    """Return the plan.  Raises NotFound."""
    found = session.get(Plan, plan_id)
    if found is None:
        raise errors.NotFound(f"There is no plan {plan_id}", code="plan_not_found", plan=plan_id)
    return found


def plans_of(session: Session, operation_id: str) -> Sequence[Plan]:
    """Return the plans that the operation ran, oldest first."""
    return session.scalars(select(Plan).where(Plan.operation_id == operation_id).order_by(Plan.created_at)).all()
