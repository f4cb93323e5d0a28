"""Rows of VMs' moves with the numbers by which Nova's clients call them."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from common import errors
from conductor import states
from conductor.db.models import Move, Operation, Task

_ENDED = [str(state) for state in states.TERMINAL_TASK]


@dataclass(frozen=True)
class Numbered:
    """A move, its number and the operation that it belongs to."""

    number: int
    task: Task
    operation: Operation


def give_number(session: Session, task: Task) -> None:
    """Give a new move its number."""
    session.add(Move(task_id=task.id))


def listed(session: Session, *, limit: int, is_open: bool = False) -> Sequence[Numbered]:
    """Return the newest moves first; with ``is_open`` only those that have not ended."""
    query = (select(Move.id, Task, Operation).join(Task, Task.id == Move.task_id)
             .join(Operation, Operation.id == Task.operation_id).order_by(Move.id.desc()).limit(limit))
    if is_open:
        query = query.where(Task.state.not_in(_ENDED))
    return [Numbered(*row) for row in session.execute(query)]


def get(session: Session, number: int) -> Numbered:
    """Return the move with that number.  Raises NotFound."""
    row = session.execute(select(Move.id, Task, Operation).join(Task, Task.id == Move.task_id)
                          .join(Operation, Operation.id == Task.operation_id).where(Move.id == number)).first()
    if row is None:
        raise no_move(number)
    return Numbered(*row)


def of_task(session: Session, task: Task, operation: Operation) -> Numbered:
    """Return the move that a task carries out."""
    number = session.scalar(select(Move.id).where(Move.task_id == task.id))
    return Numbered(number or 0, task, operation)


def no_move(number: int) -> errors.NotFound:
    """Return the refusal of a number that names no move."""
    return errors.NotFound(f"There is no migration {number}", code="migration_not_found", migration=number)
