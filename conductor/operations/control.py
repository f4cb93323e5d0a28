"""What a person may do to a running operation: cancel, pause, resume, retry, abandon."""

from common import errors
from conductor import states
from conductor.db import hosts, operations
from conductor.db.models import Operation, Task
from conductor.operations import calling_off
from conductor.operations.advance import advance, move_on
from conductor.operations.engine import Transaction

_Op, _Task = states.Operation, states.Task

#: what people may ask for, and the events of the table behind it
ACTIONS = ("cancel", "pause", "resume", "retry", "abandon")

#: tasks that can't be called back once they were claimed
_PAST_RETURN = frozenset({"pool_join", "pool_eject", "pool_init"})


def actions(operation: Operation) -> list[str]:
    """Return what may be asked of the operation in its present state."""
    events = states.events_of(_Op(operation.state))
    return [action for action in ACTIONS if action in events and (action != "retry" or operation.attention)]


def cancel(tx: Transaction, operation_id: str, user: str) -> Operation:
    """Stop sending, await what is in flight, then put the host into the state promised for a cancel.

    A move that is an operation of its own is called off, and ends early if xapi can still do that.

    Raises NotFound, WrongState (ended, or past the point of return).
    """
    operation = _changeable(tx, operation_id, "cancel")
    tasks = operations.tasks(tx.session, operation.id)
    gone = next((task.kind for task in tasks if _is_past_return(operation, task)), None)
    if gone is not None:
        raise errors.WrongState(f"Operation {operation.id} can't be cancelled: {gone} is under way and "
                                "can't be called back; it has to be awaited", code="past_return")
    if operation.kind == "host_enable" and any(states.Task(task.state) in states.CLAIMED_TASK for task in tasks):
        raise errors.WrongState("The host is being enabled at this moment; disable it afterwards", code="past_return")
    move_on(tx, operation, "cancel", by=user)
    advance(tx, operation)
    calling_off.ring(tx, operation)
    return operation


def _is_past_return(operation: Operation, task: Task) -> bool:
    """Return whether the task can't be called back: it was claimed, or what was seen of it stands for that."""
    state = states.Task(task.state)
    if task.kind == "host_destroy":
        return operation.kind == "aggregate_remove_host"    # what is left of an ejection
    listed = task.kind == "pool_join" and state not in states.TERMINAL_TASK and (task.readings or {}).get("on_master")
    return task.kind in _PAST_RETURN and (state in states.CLAIMED_TASK or bool(listed))


def pause(tx: Transaction, operation_id: str, user: str) -> Operation:
    """Send nothing new; what is in flight may finish.  Raises NotFound, WrongState."""
    operation = _changeable(tx, operation_id, "pause")
    move_on(tx, operation, "pause", by=user)
    return operation


def resume(tx: Transaction, operation_id: str, user: str) -> Operation:
    """Go on after a pause.  Raises NotFound, WrongState."""
    operation = _changeable(tx, operation_id, "resume")
    move_on(tx, operation, "resume", by=user)
    advance(tx, operation)
    return operation


def retry(tx: Transaction, operation_id: str, user: str) -> Operation:
    """Try again what waits for a person: plan anew, or send what failed.  Raises NotFound, WrongState."""
    operation = _changeable(tx, operation_id, "retry")
    if operation.attention is None:
        raise errors.WrongState(f"Operation {operation.id} is {operation.state} and waits for nobody",
                                code="not_allowed_now")
    move_on(tx, operation, "retry", by=user)
    advance(tx, operation, retried=True)
    return operation


def abandon(tx: Transaction, operation_id: str, reason: str, user: str) -> Operation:
    """Give the operation up: failed at once, the host it held quarantined (kept disabled and owned), epoch raised.

    What an agent had begun may still be going on; nothing of Corral acts on it any more.
    Raises NotFound, WrongState.
    """
    operation = _changeable(tx, operation_id, "abandon")
    for task in operations.tasks(tx.session, operation.id):
        _give_up(tx, operation, task)
    operation.error = {"code": "abandoned", "message": f"Abandoned by {user}: {reason}", "details": {}}
    host = hosts.find(tx.session, operation.host) if operation.host else None
    move_on(tx, operation, "abandon", by=user, reason=reason)
    # One VM's move never took its host out of service.
    if host is not None and operation.kind != "vm_migrate":
        if operation.kind.startswith("maintenance"):
            host.wanted = "maintenance"
        elif operation.kind.startswith("host_") and not operation.options.get("drift"):
            host.wanted = "disabled"
        host.owner, host.quarantined, host.reason = operation.id, True, reason
        host.epoch += 1
    return operation


def _give_up(tx: Transaction, operation: Operation, task: Task) -> None:
    state = states.Task(task.state)
    if state in states.CLAIMED_TASK:
        tx.apply(task, "abandon", operation)
    elif state not in states.TERMINAL_TASK:
        tx.apply(task, "withdraw", operation)


def _changeable(tx: Transaction, operation_id: str, event: str) -> Operation:
    operation = operations.get(tx.session, operation_id)
    if event not in states.events_of(_Op(operation.state)):
        raise errors.WrongState(f"Operation {operation.id} is {operation.state}; {event} is not possible now",
                                code="not_allowed_now", state=operation.state)
    return operation
