"""Requests about one VM's place: move it, and cancel one move; what is refused, and what is asked twice.

Such a move holds no host: several may leave one host at once, and a drain goes on beside
them.  What holds is the VM: it has at most one move at a time.
"""

from common import errors
from conductor import states
from conductor.db import hosts, moves, operations
from conductor.db.models import Host, Operation, Plan, Task
from conductor.db.session import Session
from conductor.operations import control, snapshot
from conductor.operations.advance import advance, create_moves
from conductor.operations.engine import Transaction, new_id
from conductor.plan import model
from conductor.plan.single import plan_move


def vm_migrate(tx: Transaction, pool: str, vm_uuid: str, destination: str | None, user: str) -> Operation:
    """Begin to move a VM of ``pool``; asked again while it runs, it is the same operation.

    Raises NotFound, Invalid (it is there), WrongState (it moves elsewhere), Infeasible, Unavailable.
    """
    hosts.take_turn(tx.session, pool)
    seen = snapshot.of_pool(tx, pool)
    vm = seen.vms_by_uuid.get(vm_uuid)
    if vm is None or vm.control_domain:
        raise no_vm(vm_uuid)
    to = hosts.get(tx.session, destination) if destination else None
    running = _running(tx.session, pool, vm_uuid, to)
    if running is not None:
        return running
    _may_move(seen, vm, to)
    source = hosts.find_uuid(tx.session, vm.resident_on or "")
    outcome = plan_move(seen, vm.uuid, to.uuid if to else None, limits=tx.settings.limits,
                        estimates=tx.settings.estimates)
    if isinstance(outcome, model.Refusal):
        raise errors.Infeasible(f"{vm.name} can't be moved: " + "; ".join(b.message for b in outcome.blockers[:3]),
                                code="no_plan", blockers=[blocker.to_json() for blocker in outcome.blockers],
                                smallest_change=outcome.smallest_change)
    if source is None:
        raise errors.WrongState(f"No agent is enrolled for the host of {vm.name}", code="host_not_enrolled")
    return _store(tx, pool, source, outcome, user)


def _running(session: Session, pool: str, vm_uuid: str, to: Host | None) -> Operation | None:
    """Return the operation of an identical request.  Raises WrongState when another one moves the VM."""
    for task in operations.open_moves(session, pool):
        if task.args["vm"] != vm_uuid:
            continue
        operation = operations.get(session, task.operation_id)
        if operation.kind == "vm_migrate" and (to is None or task.args["destination"] == to.uuid):
            return operation
        raise errors.WrongState(f"VM {vm_uuid} is to be moved by operation {operation.id} ({operation.kind}) already",
                                code="vm_busy", operation=operation.id, kind=operation.kind)
    return None


def _may_move(seen: model.Snapshot, vm: model.Vm, to: Host | None) -> None:
    going = seen.destinations_to_be.get(vm.uuid)
    if going is not None:
        raise errors.WrongState(f"{vm.name} is on its way to {seen.host_name(going)}, though not by Corral",
                                code="vm_busy")
    if to is None:
        return
    if to.uuid == vm.resident_on:
        raise errors.Invalid(f"{vm.name} is on {to.name} already", code="vm_is_there")
    if to.uuid not in seen.hosts_by_uuid:
        raise errors.Infeasible(f"Host {to.name} is not in the pool of {vm.name}, and VMs can't be moved to "
                                "another pool", code="host_in_other_pool", blockers=[])


def _store(tx: Transaction, pool: str, source: Host, plan: model.Plan, user: str) -> Operation:
    """Store the operation with its plan and its one task, and take the first step."""
    operation = Operation(
        id=new_id(), kind="vm_migrate", state=str(states.Operation.PLANNING), host=source.name, pool=pool,
        epoch=source.epoch, options={}, user=user, created_at=tx.now, updated_at=tx.now, last_event=0, wake_at=tx.now)
    tx.session.add(operation)
    tx.session.flush()
    tx.note(operation, "accepted", f"Accepted from {user}")
    row = Plan(id=new_id(), host=source.name, wanted="move", body=plan.to_json(), created_at=tx.now,
               operation_id=operation.id)
    tx.session.add(row)
    operation.plan_id = row.id
    tx.session.flush()
    create_moves(tx, operation, row.id, plan)
    advance(tx, operation)
    return operation


def abort(tx: Transaction, vm_uuid: str, number: int, user: str) -> Operation:
    """Cancel a move: with its operation if it is the only one there, else by withdrawing it.

    Of what an agent has begun xapi is asked to make an end; past its point of return the move succeeds,
    and the operation's result says so.
    Raises NotFound (no such move of the VM that has not ended), WrongState.
    """
    found = moves.get(tx.session, number)
    task, operation = found.task, found.operation
    if task.args["vm"] != vm_uuid or task.state in states.TERMINAL_TASK:
        raise moves.no_move(number)
    if operation.kind == "vm_migrate":
        return control.cancel(tx, operation.id, user)
    return _withdraw(tx, task, operation, user)


def _withdraw(tx: Transaction, task: Task, operation: Operation, user: str) -> Operation:
    if states.Task(task.state) in states.CLAIMED_TASK:
        raise errors.WrongState(f"The move is under way and belongs to operation {operation.id} ({operation.kind}), "
                                "which goes on; cancel that, or await the move", code="past_return",
                                operation=operation.id)
    tx.apply(task, "withdraw", operation, by=user)
    tx.session.flush()
    advance(tx, operation)
    return operation


def no_vm(uuid: str) -> errors.NotFound:
    """Return the refusal of a uuid that names no VM."""
    return errors.NotFound(f"There is no VM {uuid} in any pool's last report", code="vm_not_found", vm=uuid)
