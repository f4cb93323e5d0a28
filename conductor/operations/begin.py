"""How an operation begins: it is stored, and one on an aggregate takes its turn there and settles its way."""

from typing import Any

from common import errors
from conductor import states
from conductor.db import aggregates, hosts, operations
from conductor.db.models import Aggregate, Host, Operation
from conductor.operations.engine import Transaction, new_id


def store(tx: Transaction, kind: str, host: Host, user: str, options: dict[str, Any], *,
          aggregate: Aggregate | None = None, reason: str | None = None) -> Operation:
    """Store an operation that holds ``host``; taking or giving back a host raises its epoch."""
    host.epoch += 1
    operation = Operation(
        id=new_id(), kind=kind, state=str(states.Operation.PLANNING), host=host.name, active_host=host.name,
        aggregate_id=aggregate.id if aggregate else None, pool=(aggregate and aggregate.pool) or host.pool,
        epoch=host.epoch, options=options, user=user, reason=reason, created_at=tx.now, updated_at=tx.now,
        last_event=0, wake_at=tx.now)
    tx.session.add(operation)
    tx.session.flush()
    return operation


def take_turn(tx: Transaction, operation: Operation) -> bool:
    """Take hold of the operation's aggregate and settle its way; return False while another one holds it.

    An operation on a single host holds it since its acceptance and has nothing to wait for.
    Raises WrongState or Unavailable when it can't be done any more.
    """
    aggregate_id = operation.aggregate_id
    if aggregate_id is None:
        return True
    holder = operations.holder_of(tx.session, aggregate_id)
    if holder is not None and holder.id != operation.id:
        return False
    first = operations.waiting_for(tx.session, aggregate_id)
    if first is not None and first.id != operation.id:
        return False
    way = add_way(tx, operation) if operation.kind == "aggregate_add_host" else remove_way(tx, operation)
    operation.options = {**operation.options, **way}
    operation.active_aggregate = aggregate_id
    operation.active_pool = operation.pool = aggregates.get(tx.session, aggregate_id).pool
    return True


def add_way(tx: Transaction, operation: Operation) -> dict[str, Any]:
    """Return how the host gets in: it becomes the pool, it joins it, or it is there already.

    Raises WrongState, Unavailable.
    """
    aggregate = aggregates.get(tx.session, operation.aggregate_id or 0)
    host = hosts.get(tx.session, str(operation.host))
    if host.pool is None:
        raise errors.Unavailable(f"The hypervisor of host {host.name} can't be read", code="hypervisor_unreachable")
    others = [place for place in aggregates.memberships(tx.session, aggregate.id)
              if place.state == "member" and place.host != host.name]
    if not others or aggregate.pool is None:
        backed = aggregates.of_pool(tx.session, host.pool)
        if backed is not None and backed.id != aggregate.id:
            raise errors.WrongState(f"The pool of host {host.name} backs aggregate {backed.id} already",
                                    code="pool_backs_another_aggregate")
        aggregate.pool = host.pool
        return {"way": "init", "name_label": aggregate.name} if host.role == "standalone" else {"way": "adopt"}
    if host.pool == aggregate.pool:
        return {"way": "adopt"}
    if host.role != "standalone":
        raise errors.WrongState(f"Host {host.name} belongs to another pool with several hosts",
                                code="host_in_other_pool")
    pool = hosts.find_pool(tx.session, aggregate.pool)
    master = hosts.find_uuid(tx.session, pool.master) if pool and pool.master else None
    if master is None:
        raise errors.Unavailable("The master of the aggregate's pool is not known; its agent has to synchronise first",
                                 code="master_unknown")
    return {"way": "join", "master_uuid": master.uuid, "master_address": master.address, "master_host": master.name}


def remove_way(tx: Transaction, operation: Operation) -> dict[str, Any]:
    """Return how the host gets out: by ejection, or, being the last or never joined by us, by name only.

    Raises WrongState.
    """
    aggregate = aggregates.get(tx.session, operation.aggregate_id or 0)
    host = hosts.get(tx.session, str(operation.host))
    places = aggregates.memberships(tx.session, aggregate.id)
    own = next((place for place in places if place.host == host.name), None)
    if own is not None and own.adopted:
        return {"way": "leave"}
    pool = hosts.find_pool(tx.session, aggregate.pool)
    in_pool = len((pool.report or {}).get("hosts", [])) if pool else 1
    if pool is not None and pool.master == host.uuid:
        if in_pool > 1:
            raise errors.WrongState(f"Host {host.name} is the pool's master and leaves last; "
                                    "remove the other hosts first", code="master_leaves_last")
        return {"way": "unname"}
    master = hosts.find_uuid(tx.session, pool.master) if pool and pool.master else None
    return {"way": "eject", "master_host": master.name if master else None}
