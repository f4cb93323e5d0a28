"""The rules of availability zones: a host is in one at most, and its VMs don't change theirs unasked.

They are Nova's.  One is milder: a host with VMs may enter an aggregate with a pool behind it,
since pools that are there already are adopted with all that runs in them.
"""

from collections.abc import Sequence

from common import errors
from conductor.db import aggregates, hosts
from conductor.db.models import Aggregate, Host
from conductor.operations.engine import Transaction
from conductor.operations.snapshot import moved_since_report


def may_become(tx: Transaction, aggregate: Aggregate, zone: str | None) -> None:
    """Raise WrongState unless the aggregate, with the hosts that it has, may be in ``zone``."""
    if zone == aggregate.availability_zone:
        return
    names = [place.host for place in aggregates.memberships(tx.session, aggregate.id)]
    for name in names:
        _is_nowhere_else(tx, aggregate, name, zone)
    _have_no_vms(tx, names, f"aggregate {aggregate.id} can't change its availability zone to {zone}")


def may_enter(tx: Transaction, aggregate: Aggregate, host: Host, backed: bool) -> None:
    """Raise WrongState unless the host may be in the aggregate's zone."""
    if not aggregate.availability_zone:
        return
    _is_nowhere_else(tx, aggregate, host.name, aggregate.availability_zone)
    if not backed and not _zones_elsewhere(tx, aggregate, host.name):
        _have_no_vms(tx, [host.name], f"host {host.name} can't change its availability zone to "
                                      f"{aggregate.availability_zone}")


def may_leave(tx: Transaction, aggregate: Aggregate, host: Host) -> None:
    """Raise WrongState when the host would leave its zone with VMs on it."""
    if aggregate.availability_zone and not _zones_elsewhere(tx, aggregate, host.name):
        _have_no_vms(tx, [host.name], f"host {host.name} can't leave availability zone {aggregate.availability_zone}")


def _zones_elsewhere(tx: Transaction, aggregate: Aggregate, host: str) -> set[str]:
    """Return the zones of the other aggregates that have the host."""
    places = aggregates.memberships_of(tx.session, host)
    zones = [aggregates.get(tx.session, place.aggregate_id).availability_zone for place in places
             if place.aggregate_id != aggregate.id]
    return {zone for zone in zones if zone}


def _is_nowhere_else(tx: Transaction, aggregate: Aggregate, host: str, zone: str | None) -> None:
    others = sorted(_zones_elsewhere(tx, aggregate, host) - {zone})
    if zone and others:
        raise errors.WrongState(f"Host {host} is in availability zone {others[0]} already", code="zone_differs",
                                host=host, zones=others)


def _have_no_vms(tx: Transaction, names: Sequence[str], what: str) -> None:
    """Raise WrongState when a VM is on one of the hosts, as last observed."""
    rows = [row for row in (hosts.find(tx.session, name) for name in names) if row is not None]
    for pool_uuid in sorted({row.pool for row in rows if row.pool}):
        pool = hosts.find_pool(tx.session, pool_uuid)
        if pool is None or pool.report is None:
            continue
        moved = moved_since_report(tx.session, pool)
        at = {moved.get(vm["uuid"], vm["resident_on"]) for vm in pool.report["vms"] if not vm["control_domain"]}
        taken = [row.name for row in rows if row.uuid in at]
        if taken:
            raise errors.WrongState(f"There are VMs on {', '.join(taken[:5])}: {what}", code="zone_in_use", hosts=taken)
