"""Requests about one host's service: what is accepted, what is refused and why, and what is asked twice.

Each function runs in one transaction: it refuses with all reasons before anything is
stored, or stores the operation, its plan and its tasks and takes the first step.
"""

from typing import Any

from common import errors
from conductor import states
from conductor.db import aggregates, hosts, operations
from conductor.db.models import Host, Operation, Plan
from conductor.operations import begin, snapshot
from conductor.operations.advance import advance, create, create_moves, is_up, move_on, store_plan
from conductor.operations.engine import Transaction
from conductor.operations.truth import what_changed
from conductor.operations.view import NewTask
from conductor.plan import model
from conductor.plan.drain import plan_drain
from conductor.plan.restore import plan_restore

_Op = states.Operation

#: what a host's holder is called towards people
_DOING = {"maintenance_start": "is entering maintenance", "maintenance_stop": "is leaving maintenance",
          "aggregate_add_host": "is joining its aggregate's pool", "aggregate_remove_host": "is leaving its aggregate",
          "host_disable": "is being disabled", "host_enable": "is being enabled"}


def maintenance_start(tx: Transaction, name: str, options: dict[str, Any], user: str) -> Operation | None:
    """Begin to drain the host; None when it is in maintenance already, as observed.

    Raises NotFound, WrongState, Infeasible (every blocker in details), Unavailable.
    """
    host = hosts.get(tx.session, name)
    active = operations.active_on(tx.session, name)
    if active is not None and active.kind == "maintenance_start" and active.state in (_Op.RUNNING, _Op.PAUSED):
        return active
    active = _drop_drift(tx, active)
    _nobody_holds(host, active)
    _may_be_taken(tx, host)
    seen = _look(tx, host)
    if host.wanted == model.MAINTENANCE and in_maintenance(seen, host):
        return None
    shown = operations.plan(tx.session, options["plan"]) if options.get("plan") else None
    # Nobody approved a plan that was made just now, so it may be made again.
    if_changed = options.get("if_changed") or ("stop" if shown else "replan")
    plan = _approved(tx, seen, host, shown, if_changed) if shown else None
    if plan is None:
        shown, plan = None, _drain_plan(tx, seen, host, options)
    operation = store_accepted(tx, "maintenance_start", host, user, {
        "if_changed": if_changed, "allow_partial": bool(options.get("allow_partial")),
        "left": [blocker.to_json() for blocker in plan.left], "wanted_before": host.wanted})
    operation.plan_id = _take_plan(tx, host, plan, shown, operation).id
    host.wanted, host.owner = model.MAINTENANCE, operation.id
    _call_back_moves_to(tx, host)
    create(tx, operation, NewTask("host_disable"))
    create_moves(tx, operation, operation.plan_id, plan)
    advance(tx, operation)
    return operation


def maintenance_stop(tx: Transaction, name: str, options: dict[str, Any], user: str) -> Operation | None:
    """Begin to bring the host back, or cancel the drain that runs; None when it serves already, as observed.

    Raises NotFound, WrongState, Unavailable.
    """
    host = hosts.get(tx.session, name)
    active = operations.active_on(tx.session, name)
    if active is not None and active.kind == "maintenance_stop":
        return active
    if active is not None and active.kind == "maintenance_start":
        if active.state in (_Op.RUNNING, _Op.PAUSED):
            move_on(tx, active, "cancel", by=user)
            advance(tx, active)
        return active
    active = _drop_drift(tx, active)
    _nobody_holds(host, active)
    if host.wanted == model.SERVING and host.enabled and not host.quarantined:
        return None
    _can_be_reached(tx, host)
    seen = _look(tx, host)
    plan = restore_plan(tx, seen, host)
    operation = store_accepted(tx, "maintenance_stop", host, user, {
        "left": [blocker.to_json() for blocker in plan.left], "wanted_before": host.wanted})
    operation.plan_id = store_plan(tx, host.name, plan, operation.id).id
    host.wanted, host.owner = model.SERVING, operation.id
    create(tx, operation, NewTask("host_enable"))
    create_moves(tx, operation, operation.plan_id, plan)
    advance(tx, operation)
    return operation


def host_disable(tx: Transaction, name: str, reason: str | None, user: str) -> Operation | None:
    """Begin to disable the host without moving its VMs; None when that is so already."""
    host = hosts.get(tx.session, name)
    active = operations.active_on(tx.session, name)
    if active is not None and active.kind in ("host_disable", "maintenance_start"):
        return active
    _nobody_holds(host, active)
    if host.wanted != model.SERVING and host.enabled is False:
        host.reason = reason or host.reason
        return None
    _can_be_reached(tx, host)
    operation = store_accepted(tx, "host_disable", host, user, {"wanted_before": host.wanted}, reason=reason)
    host.wanted, host.owner, host.reason = model.DISABLED, operation.id, reason
    advance(tx, operation)
    return operation


def host_enable(tx: Transaction, name: str, user: str) -> Operation | None:
    """Begin to enable a host that was disabled; None when it serves already.  Refused during maintenance."""
    host = hosts.get(tx.session, name)
    active = operations.active_on(tx.session, name)
    if active is not None and active.kind in ("host_enable", "maintenance_stop"):
        return active
    active = _drop_drift(tx, active)
    _nobody_holds(host, active)
    if host.wanted == model.MAINTENANCE:
        raise errors.WrongState(f"Host {name} is in maintenance; disable maintenance instead",
                                code="host_in_maintenance")
    if host.wanted == model.SERVING and host.enabled and not host.quarantined:
        return None
    _can_be_reached(tx, host)
    operation = store_accepted(tx, "host_enable", host, user, {"wanted_before": host.wanted})
    host.wanted, host.owner = model.SERVING, operation.id
    advance(tx, operation)
    return operation


def plan_preview(tx: Transaction, name: str, wanted: str, options: dict[str, Any]) -> Plan:
    """Store and return the plan that a request would run now.  Raises NotFound, Infeasible, Unavailable."""
    host = hosts.get(tx.session, name)
    seen = snapshot.of_pool(tx, host.pool)
    plan = _drain_plan(tx, seen, host, options) if wanted == "enable" else restore_plan(tx, seen, host)
    return store_plan(tx, host.name, plan, None)


def restore_plan(tx: Transaction, seen: model.Snapshot, host: Host) -> model.Plan:
    """Return the plan that brings home what the host's drains took away since it last served."""
    _is_observed(seen, host)
    moves = operations.moves_away(tx.session, host.name, operations.last_served(tx.session, host.name))
    home = sorted({move.args["vm"] for move in moves if move.args["source"] == host.uuid})
    return plan_restore(seen, host.uuid, home, limits=tx.settings.limits, estimates=tx.settings.estimates)


def _look(tx: Transaction, host: Host) -> model.Snapshot:
    """Return what is true of the host's pool and stays so until the transaction's end, as far as others plan there."""
    if host.pool:
        hosts.take_turn(tx.session, host.pool)
    return snapshot.of_pool(tx, host.pool)


def in_maintenance(seen: model.Snapshot, host: Host) -> bool:
    """Return whether the snapshot shows the host disabled and empty."""
    there = seen.hosts_by_uuid.get(host.uuid)
    running = [vm for vm in seen.residents.get(host.uuid, ()) if not vm.control_domain]
    return there is not None and not there.enabled and not running


def _is_observed(seen: model.Snapshot, host: Host) -> None:
    if host.uuid not in seen.hosts_by_uuid:
        raise errors.Unavailable(f"Host {host.name} is not in its pool's last report", code="pool_not_observed")


def _drain_plan(tx: Transaction, seen: model.Snapshot, host: Host, options: dict[str, Any]) -> model.Plan:
    _is_observed(seen, host)
    outcome = plan_drain(seen, host.uuid, limits=tx.settings.limits, estimates=tx.settings.estimates,
                         allow_partial=bool(options.get("allow_partial")))
    if isinstance(outcome, model.Refusal):
        codes = {blocker.code for blocker in outcome.blockers}
        message = (f"Host {host.name} can't be emptied: " + "; ".join(b.message for b in outcome.blockers[:3])
                   + (f"; and {len(outcome.blockers) - 3} more" if len(outcome.blockers) > 3 else ""))
        raise errors.Infeasible(message, code="host_not_live" if codes == {"HOST_NOT_LIVE"} else "no_plan",
                                blockers=[blocker.to_json() for blocker in outcome.blockers],
                                smallest_change=outcome.smallest_change)
    return outcome


def _approved(tx: Transaction, seen: model.Snapshot, host: Host, shown: Plan, if_changed: str) -> model.Plan | None:
    """Return the plan that was shown, if it is still true; what was approved is what is run.

    None when it is not and the request says that another may be made.  Raises Invalid, WrongState.
    """
    if shown.host != host.name or shown.wanted != "enable":
        raise errors.Invalid(f"Plan {shown.id} is not for maintenance of host {host.name}", code="plan_of_another_host")
    if shown.operation_id is not None:
        raise errors.WrongState(f"Plan {shown.id} was run already by operation {shown.operation_id}",
                                code="plan_used")
    _is_observed(seen, host)
    plan = model.Plan.from_json(shown.body)
    changed = what_changed(seen, plan)
    if changed and if_changed == "replan":
        return None
    if changed:
        raise errors.WrongState(f"Plan {shown.id} is not true any more: " + "; ".join(changed[:5])
                                + ". Make a new one", code="plan_changed", changed=changed)
    return plan


def _call_back_moves_to(tx: Transaction, host: Host) -> None:
    """Withdraw the moves to the host that nobody has claimed; their operations plan anew."""
    for task in operations.open_moves_to(tx.session, host.pool or "", host.uuid):
        if states.Task(task.state) not in states.CLAIMED_TASK:
            other = operations.get(tx.session, task.operation_id)
            tx.apply(task, "withdraw", other, host_taken=host.name)
            other.wake_at = tx.now


def _take_plan(tx: Transaction, host: Host, plan: model.Plan, shown: Plan | None, operation: Operation) -> Plan:
    if shown is None:
        return store_plan(tx, host.name, plan, operation.id)
    shown.operation_id = operation.id
    return shown


def store_accepted(tx: Transaction, kind: str, host: Host, user: str, options: dict[str, Any],
                   **more: Any) -> Operation:
    """Store an operation that a person or a service asked for."""
    operation = begin.store(tx, kind, host, user, options, **more)
    tx.note(operation, "accepted", f"Accepted from {user}")
    return operation


def _nobody_holds(host: Host, active: Operation | None) -> None:
    if active is not None:
        raise errors.WrongState(
            f"Host {host.name} {_DOING.get(active.kind, 'is held')}: operation {active.id} ({active.state}); "
            "wait for its end or cancel it", code="host_busy", operation=active.id, kind=active.kind)


def _drop_drift(tx: Transaction, active: Operation | None) -> Operation | None:
    """End Corral's own re-assertion, which what a person asks now replaces; return any other operation."""
    if active is None or not active.options.get("drift"):
        return active
    if any(states.Task(task.state) in states.CLAIMED_TASK for task in operations.tasks(tx.session, active.id)):
        raise errors.WrongState("The host is being disabled again at this moment; try again in some seconds",
                                code="host_busy", operation=active.id)
    move_on(tx, active, "cancel")
    advance(tx, active)
    tx.session.flush()
    return None


def _may_be_taken(tx: Transaction, host: Host) -> None:
    """Raise unless the host can be taken out of service."""
    place = aggregates.pool_backed_membership(tx.session, host.name)
    if place is not None and place.state != "member":
        raise errors.WrongState(f"Host {host.name} is {place.state} its aggregate", code="host_busy")
    if host.live is False:
        raise errors.WrongState(f"Host {host.name} is not live: its VMs can't be moved; if it is dead, power it off "
                                "and declare it dead", code="host_not_live")
    _can_be_reached(tx, host)


def _can_be_reached(tx: Transaction, host: Host) -> None:
    """Raise Unavailable unless some agent of the host's pool can act now."""
    near = [host, *(hosts.in_pool(tx.session, host.pool) if host.pool else [])]
    if not any(is_up(tx, one.last_sync_at) for one in near):
        raise errors.Unavailable(f"No agent of host {host.name} or of its pool was heard lately", code="agent_down")
    if all(one.trouble for one in near):
        raise errors.Unavailable(f"The hypervisor of host {host.name} can't be used: "
                                 f"{(host.trouble or {}).get('message')}", code="hypervisor_unreachable",
                                 trouble=host.trouble)
