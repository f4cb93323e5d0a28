"""Moves that nobody wants any more while an agent is at them: which these are, and that agents hear of it.

Only a move that is an operation of its own is called off.  A drain or a restore that is
cancelled awaits the moves under way.  Whether xapi could still end one is observed.
"""

from typing import Any

from conductor import states
from conductor.db import operations
from conductor.db.models import Operation, Task
from conductor.operations.engine import Transaction
from conductor.operations.view import TaskView


def is_called_off(task: Task, operation: Operation) -> bool:
    """Return whether the task's work should end as soon as it can."""
    return (task.kind == "vm_migrate" and operation.kind == "vm_migrate"
            and operation.state == states.Operation.CANCELLING)


def ring(tx: Transaction, operation: Operation) -> None:
    """Have the agents ask at once, after the commit; a ring that is lost only delays until the next sync."""
    for task in operations.tasks(tx.session, operation.id):
        if is_called_off(task, operation) and states.Task(task.state) in states.CLAIMED_TASK:
            tx.rings.append((task.executor, task.id, task.attempt))


def too_late(move: TaskView) -> dict[str, Any] | None:
    """Return what an operation stores as result when its move was carried out though it was called off."""
    at = (move.readings.get("vm") or {}).get("resident_on")
    if move.state is not states.Task.DONE or at != move.args["destination"]:
        return None
    name, host = move.shown.get("vm_name"), move.shown.get("destination_name")
    return {"moved": {"vm": move.args["vm"], "vm_name": name, "host": host,
                      "message": f"It was too late to call the move off: {name} is on {host}"}}
