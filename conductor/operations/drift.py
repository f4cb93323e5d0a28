"""What changed behind our back: a host that serves again though Corral wants it out of service."""

from conductor import states
from conductor.db import operations
from conductor.db.models import Host
from conductor.operations import begin
from conductor.operations.advance import advance, create
from conductor.operations.engine import Transaction
from conductor.operations.view import NewTask

#: who asks for a re-assertion
CORRAL = "corral"


def check(tx: Transaction, host: Host, observed_at: float) -> None:
    """Have the host disabled again when it was seen enabled and is wanted otherwise.

    Re-assertion is an order like any other.  ``observed_at`` is when the reading began.
    """
    if host.wanted == "serving" or not host.enabled or _is_given_up(tx, host):
        return
    active = operations.active_on(tx.session, host.name)
    if active is None:
        _begin(tx, host)
    elif active.kind == "maintenance_start" and active.state == states.Operation.RUNNING:
        disabled = [task for task in operations.tasks(tx.session, active.id) if task.kind == "host_disable"]
        if disabled and disabled[-1].state == states.Task.DONE and (disabled[-1].ended_at or 0.0) < observed_at:
            tx.note(active, "drift", f"Host {host.name} was enabled behind our back; it is disabled again")
            create(tx, active, NewTask("host_disable"))
            advance(tx, active)


def _is_given_up(tx: Transaction, host: Host) -> bool:
    """Return whether a person has abandoned the re-assertion: from then on it is theirs to say what happens."""
    owner = operations.find(tx.session, host.owner) if host.quarantined else None
    return owner is not None and bool(owner.options.get("drift"))


def _begin(tx: Transaction, host: Host) -> None:
    settings = tx.settings
    since = tx.now - settings.reenabled_within_s
    before = operations.count_since(tx.session, host.name, "host_disable", CORRAL, since)
    restarted = host.disabled_at_start not in (None, host.started_at)
    why = "its toolstack has restarted" if restarted else "somebody enabled it"
    operation = begin.store(
        tx, "host_disable", host, CORRAL, {"wanted_before": host.wanted, "drift": True},
        reason=f"Host {host.name} is wanted {host.wanted} and serves: {why}")
    tx.note(operation, "drift", operation.reason or "")
    if before >= settings.reenabled_times:
        operation.options = {**operation.options, "held": True}
    advance(tx, operation)
