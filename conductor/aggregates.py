"""The rules of aggregates: names, metadata, and which hosts may come and go."""

import unicodedata
from typing import Any

from common import errors
from conductor import zones
from conductor.db import aggregates, hosts, operations
from conductor.db.aggregates import Entry
from conductor.db.models import Aggregate, Host, Membership, Operation
from conductor.operations import begin
from conductor.operations.accept import in_maintenance, store_accepted
from conductor.operations.advance import advance, is_up
from conductor.operations.engine import Transaction, new_id
from conductor.operations.snapshot import of_pool

#: metadata keys that are computed; setting them has no effect
RESERVED = frozenset({"operational_state", "availability_zone", "master_compute"})
#: the metadata key that says whether a pool stands behind the aggregate
POOL_BACKED = "hypervisor_pool"


def is_pool_backed(aggregate: Aggregate | Entry, default: bool) -> bool:
    """Return whether a resource pool stands behind the aggregate, as its metadata or the default says."""
    value = aggregate.user_metadata.get(POOL_BACKED)
    return default if value is None else str(value).lower() == "true"


def create(tx: Transaction, name: str, availability_zone: str | None, metadata: dict[str, str]) -> Aggregate:
    """Store a new aggregate.  Raises AlreadyExists, Invalid."""
    if availability_zone is not None:
        _check_words("availability zone", availability_zone)
    _name_is_free(tx, name, None)
    aggregate = Aggregate(uuid=new_id(), name=name, availability_zone=availability_zone, pool=None,
                          user_metadata=_user_metadata(metadata), created_at=tx.now, updated_at=None)
    tx.session.add(aggregate)
    tx.session.flush()
    tx.tell("aggregate.create", aggregate)
    return aggregate


def update(tx: Transaction, aggregate_id: int, changes: dict[str, Any]) -> Aggregate:
    """Change name or availability zone.  Raises NotFound, AlreadyExists, Invalid, WrongState (its hosts forbid it)."""
    aggregate = aggregates.get(tx.session, aggregate_id)
    unknown = set(changes) - {"name", "availability_zone"}
    if unknown or not changes:
        raise errors.Invalid("An update changes name or availability_zone")
    if "name" in changes:
        _name_is_free(tx, changes["name"], aggregate)
        aggregate.name = changes["name"]
    if "availability_zone" in changes:
        _check_words("availability zone", changes["availability_zone"])
        zones.may_become(tx, aggregate, changes["availability_zone"])
        aggregate.availability_zone = changes["availability_zone"]
    aggregate.updated_at = tx.now
    tx.tell("aggregate.update", aggregate)
    return aggregate


def set_metadata(tx: Transaction, aggregate_id: int, metadata: dict[str, str | None]) -> Aggregate:
    """Merge ``metadata``; None removes a key.  Raises NotFound, WrongState, Invalid."""
    aggregate = aggregates.get(tx.session, aggregate_id)
    default = tx.settings.pool_backed_by_default
    before = is_pool_backed(aggregate, default)
    _no_twin_keys(aggregate, metadata)
    merged = dict(aggregate.user_metadata)
    for key, value in metadata.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = value
    aggregate.user_metadata = _user_metadata(merged)
    if metadata.get("availability_zone"):
        zones.may_become(tx, aggregate, str(metadata["availability_zone"]))
        aggregate.availability_zone = metadata["availability_zone"]
    if is_pool_backed(aggregate, default) != before and aggregates.memberships(tx.session, aggregate.id):
        raise errors.WrongState(f"Aggregate {aggregate.id} has hosts; {POOL_BACKED} can only be changed without",
                                code="aggregate_not_empty")
    aggregate.updated_at = tx.now
    tx.tell("aggregate.update_metadata", aggregate)
    return aggregate


def delete(tx: Transaction, aggregate_id: int) -> None:
    """Remove an aggregate without hosts.  Raises NotFound, WrongState."""
    aggregate = aggregates.get(tx.session, aggregate_id)
    places = aggregates.memberships(tx.session, aggregate.id)
    if places:
        names = [place.host for place in places]
        # Nova's words, which say "host" where they mean the aggregate, and what helps.
        raise errors.WrongState(f"Cannot remove host from aggregate {aggregate.id}. Reason: Host aggregate is not "
                                f"empty. Remove {', '.join(names)} first.", code="aggregate_not_empty", hosts=names)
    tx.session.delete(aggregate)
    tx.tell("aggregate.delete", aggregate)


def add_host(tx: Transaction, aggregate_id: int, name: str, user: str) -> tuple[Aggregate, Operation | None]:
    """Give the host its place at once and begin to bring it into the pool.

    Asked again while it runs, it is the same operation.  Raises NotFound, WrongState,
    AlreadyExists, Unavailable.
    """
    aggregate = aggregates.get(tx.session, aggregate_id)
    host = hosts.get(tx.session, name)
    backed = is_pool_backed(aggregate, tx.settings.pool_backed_by_default)
    active = operations.active_on(tx.session, name)
    for place in aggregates.memberships_of(tx.session, name):
        _check_place(tx, aggregate, place, active, backed)
        if place.aggregate_id == aggregate.id:
            return aggregate, active
    zones.may_enter(tx, aggregate, host, backed)
    if backed:
        _may_join(tx, aggregate, host, active)
    tx.session.add(Membership(aggregate_id=aggregate.id, host=name, pool_backed_host=name if backed else None,
                              state="joining" if backed else "member", adopted=False))
    aggregate.updated_at = tx.now
    tx.session.flush()
    if not backed:
        tx.tell("aggregate.add_host", aggregate, name)
        return aggregate, None
    return aggregate, _begin(tx, "aggregate_add_host", aggregate, host, user, {})


def remove_host(tx: Transaction, aggregate_id: int, name: str, options: dict[str, Any],
                user: str) -> tuple[Aggregate, Operation | None]:
    """Begin to take the host out of the aggregate's pool; its place stays until that was observed.

    Raises NotFound, WrongState (it serves, is not empty, is the master of others), Unavailable.
    """
    aggregate = aggregates.get(tx.session, aggregate_id)
    host = hosts.get(tx.session, name)
    place = next((p for p in aggregates.memberships_of(tx.session, name) if p.aggregate_id == aggregate.id), None)
    if place is None:
        raise errors.NotFound(f"Cannot remove host {name} in aggregate {aggregate.id}: it is not there",
                              code="host_not_in_aggregate")
    if place.pool_backed_host is None:
        zones.may_leave(tx, aggregate, host)
        tx.session.delete(place)
        aggregate.updated_at = tx.now
        tx.session.flush()
        tx.tell("aggregate.remove_host", aggregate, name)
        return aggregate, None
    active = operations.active_on(tx.session, name)
    if active is not None and active.kind == "aggregate_remove_host":
        return aggregate, active
    if active is not None:
        raise errors.WrongState(f"Host {name} is held by operation {active.id} ({active.kind}, {active.state})",
                                code="host_busy", operation=active.id)
    _may_leave(tx, aggregate, host, place, bool(options.get("confirm_data_loss")))
    place.state = "leaving"
    aggregate.updated_at = tx.now
    return aggregate, _begin(tx, "aggregate_remove_host", aggregate, host, user, dict(options))


def _check_place(tx: Transaction, aggregate: Aggregate, place: Membership, active: Operation | None,
                 backed: bool) -> None:
    """Raise unless the host's present place allows (or already is) one in ``aggregate``."""
    if place.aggregate_id == aggregate.id:
        if place.state == "joining" and active is not None and active.kind == "aggregate_add_host":
            return
        raise errors.AlreadyExists(f"Aggregate {aggregate.id} already has host {place.host}.",
                                   code="host_in_aggregate")
    if backed and place.pool_backed_host is not None:
        raise errors.WrongState(f"Host {place.host} is in aggregate {place.aggregate_id} already; a host is in at most "
                                "one aggregate with a pool behind it", code="host_in_other_aggregate",
                                aggregate=place.aggregate_id)


def _may_join(tx: Transaction, aggregate: Aggregate, host: Host, active: Operation | None) -> None:
    """Raise unless the host can be brought into the aggregate's pool now, as far as can be read here."""
    if active is not None:
        raise errors.WrongState(f"Host {host.name} is held by operation {active.id} ({active.kind}, {active.state})",
                                code="host_busy", operation=active.id)
    if not is_up(tx, host.last_sync_at):
        raise errors.Unavailable(f"The agent of host {host.name} was not heard lately", code="agent_down")
    if host.trouble:
        raise errors.Unavailable(f"The hypervisor of host {host.name} can't be used: {host.trouble.get('message')}",
                                 code="hypervisor_unreachable", trouble=host.trouble)
    if host.pool is None:
        raise errors.Unavailable(f"The pool of host {host.name} has not been observed yet; try again in some seconds",
                                 code="pool_not_observed")
    if host.wanted != "serving" or host.quarantined:
        held = "quarantined" if host.quarantined else f"wanted {host.wanted}"
        raise errors.WrongState(f"Host {host.name} is {held}; put it back into service first",
                                code="host_not_serving")
    backed = aggregates.of_pool(tx.session, host.pool) if host.pool else None
    if backed is not None and backed.id != aggregate.id:
        raise errors.WrongState(f"The pool of host {host.name} backs aggregate {backed.id} already",
                                code="pool_backs_another_aggregate", aggregate=backed.id)
    if aggregate.pool is not None and host.pool != aggregate.pool and host.role != "standalone":
        raise errors.WrongState(f"Host {host.name} belongs to another pool with several hosts",
                                code="host_in_other_pool")
    # A pool that backs no aggregate yet is adopted as it is; only who joins one changes it.
    pool = hosts.find_pool(tx.session, aggregate.pool) if host.pool != aggregate.pool else None
    if pool is not None and pool.report and pool.report.get("ha_enabled"):
        raise errors.WrongState("High availability is on in the pool; hosts can't join while it is", code="ha_enabled")


def _may_leave(tx: Transaction, aggregate: Aggregate, host: Host, place: Membership, confirmed: bool) -> None:
    """Raise unless Corral has disabled the host and it is observed empty."""
    if host.wanted == "serving" or host.enabled is not False:
        raise errors.WrongState(f"Host {host.name} is still serving; enable maintenance first",
                                code="host_still_serving")
    probe = Operation(aggregate_id=aggregate.id, host=host.name)
    way = begin.remove_way(tx, probe)["way"]
    if place.adopted:
        return
    seen = of_pool(tx, host.pool)
    if not in_maintenance(seen, host):
        running = [vm.name for vm in seen.residents.get(host.uuid, ()) if not vm.control_domain]
        raise errors.WrongState(f"Host {host.name} is not empty: {', '.join(running[:5]) or 'it is not disabled'}",
                                code="host_not_empty")
    pool = hosts.find_pool(tx.session, host.pool)
    if pool is not None and pool.report and pool.report.get("ha_enabled"):
        raise errors.WrongState("High availability is on in the pool; hosts can't leave while it is", code="ha_enabled")
    disks = (pool.report or {}).get("local_disks", {}).get(host.uuid, 0) if pool else 0
    if way == "eject" and disks and not confirmed:
        raise errors.WrongState(f"Removing host {host.name} wipes its local storage with {disks} disks on it; "
                                "say confirm_data_loss (--confirm-data-loss) if they may go", code="data_loss",
                                disks=disks)


def _begin(tx: Transaction, kind: str, aggregate: Aggregate, host: Host, user: str,
           options: dict[str, Any]) -> Operation:
    """Store an operation that waits for its turn at the aggregate, and begin it if that is now."""
    operation = store_accepted(tx, kind, host, user, options, aggregate=aggregate)
    advance(tx, operation)
    return operation


def _user_metadata(metadata: dict[str, Any]) -> dict[str, Any]:
    value = metadata.get(POOL_BACKED)
    if value is not None and str(value).lower() not in ("true", "false"):
        raise errors.Invalid(f"{POOL_BACKED} is true or false", code="bad_metadata")
    return {key: value for key, value in metadata.items() if key not in RESERVED}


def _no_twin_keys(aggregate: Aggregate, metadata: dict[str, Any]) -> None:
    """Raise Invalid for a key that differs from another one by its case only, as Nova's database does."""
    known = {key.lower(): key for key in aggregate.user_metadata}
    for key in metadata:
        other = known.setdefault(key.lower(), key)
        if other != key:
            raise errors.Invalid(f"Aggregate {aggregate.id} already has metadata with key {other}", code="bad_metadata")


def _check_words(what: str, text: str | None) -> None:
    """Raise Invalid for a name or a zone that nobody could read."""
    kinds = {unicodedata.category(letter) for letter in text or ""}
    if not text or text != text.strip() or any(kind[0] == "C" or kind in ("Zl", "Zp") for kind in kinds):
        raise errors.Invalid(f"An aggregate's {what} is of printable characters, without a space at either end")


def _name_is_free(tx: Transaction, name: str, own: Aggregate | None) -> None:
    _check_words("name", name)
    other = aggregates.named(tx.session, name)
    if other is not None and (own is None or other.id != own.id):
        raise errors.AlreadyExists(f"Aggregate {name} already exists.", code="aggregate_exists")
