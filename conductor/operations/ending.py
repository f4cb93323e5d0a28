"""What an operation's end means for the host and the aggregate that it held."""

from conductor import states
from conductor.db import aggregates, hosts, operations
from conductor.db.models import Host, Operation
from conductor.operations.engine import Transaction

_Op = states.Operation


def finish(tx: Transaction, operation: Operation) -> Operation | None:
    """Leave host and aggregate as promised for this end; return the operation whose turn it is now, if any."""
    host = hosts.find(tx.session, operation.host) if operation.host else None
    state = _Op(operation.state)
    if operation.aggregate_id is not None:
        _finish_membership(tx, operation, host, state)
        return operations.waiting_for(tx.session, operation.aggregate_id)
    if host is None:
        return None
    match operation.kind, state:
        case ("maintenance_start" | "maintenance_stop", _Op.CANCELLED):
            give_back(host)
        case ("maintenance_stop" | "host_enable", _Op.SUCCEEDED):
            give_back(host)
        case ("maintenance_start", _Op.FAILED) if not _was_disabled(tx, operation):
            # The hypervisor refused to take it out of service: it serves as it did before.
            host.wanted = operation.options.get("wanted_before", "serving")
            host.owner = None if host.wanted == "serving" else host.owner
        case ("maintenance_stop" | "host_enable", _Op.FAILED | _Op.CANCELLED):
            # It could not be brought back: it stays out of service, and this operation says why.
            host.wanted = operation.options.get("wanted_before", "maintenance")
            host.owner = operation.id
        case ("host_disable", _Op.FAILED | _Op.CANCELLED) if operation.options.get("wanted_before") == "serving":
            give_back(host)
        case _:
            pass
    return None


def _was_disabled(tx: Transaction, operation: Operation) -> bool:
    return any(task.kind == "host_disable" and task.state == states.Task.DONE
               for task in operations.tasks(tx.session, operation.id))


def give_back(host: Host) -> None:
    """Record that Corral wants the host to serve."""
    host.wanted, host.owner, host.reason, host.quarantined = "serving", None, None, False


def _finish_membership(tx: Transaction, operation: Operation, host: Host | None, state: _Op) -> None:
    aggregate = aggregates.get(tx.session, operation.aggregate_id or 0)
    places = list(aggregates.memberships(tx.session, aggregate.id))
    own = next((place for place in places if place.host == operation.host), None)
    came = operation.kind == "aggregate_add_host" and state is _Op.SUCCEEDED
    stayed = operation.kind == "aggregate_remove_host" and state is not _Op.SUCCEEDED
    if own is not None and (came or stayed):
        own.state = "member"
        own.adopted = own.adopted or operation.options.get("way") == "adopt"
    elif own is not None:
        tx.session.delete(own)
        places.remove(own)
        if operation.options.get("way") == "eject" and state is _Op.SUCCEEDED and host is not None:
            # What comes back from an ejection is a fresh host, which nobody has taken out of service.
            give_back(host)
    tx.session.flush()
    if not any(place.state in ("member", "leaving") for place in places) and not operations.holder_of(
            tx.session, aggregate.id):
        aggregate.pool = None
    tx.session.flush()
