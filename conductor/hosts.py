"""The rules of hosts: how one is enrolled, and what its agent's syncs and pool reports bring."""

import logging

from common import errors
from common.messages import HostReport, PoolReport, Sync, SyncAnswer, VmReport
from conductor.db import aggregates, hosts
from conductor.db.models import Host, Incarnation, Pool
from conductor.operations import drift, orders
from conductor.operations.advance import is_up
from conductor.operations.engine import Transaction

LOG = logging.getLogger(__name__)


def sync(tx: Transaction, said: Sync) -> SyncAnswer:
    """Take in an agent's heartbeat and return what waits for it.

    Raises WrongState when the host's name belongs to another machine (until host-forget).
    """
    host = hosts.find(tx.session, said.host)
    if host is None:
        if said.host_uuid is None or said.address is None:
            # A member of a pool can only be asked through its master, which is enrolled first.
            return SyncAnswer(interval_s=tx.settings.sync_interval_s, members=_members(tx, None, said))
        host = _enrol(tx, said)
    if not _is_newest(tx, host, said):
        return SyncAnswer(superseded=True)
    if said.host_uuid is not None and said.host_uuid != host.uuid:
        raise errors.WrongState(f"The name {said.host} belongs to the host with uuid {host.uuid}; forget that one "
                                "before another machine takes its name", code="host_uuid_changed")
    first = host.last_sync_at < tx.now - tx.settings.agent_down_s
    _note_state(tx, host, said)
    observed = _elect(tx, host)
    if said.report is not None and observed is not None and said.report.get("pool") == observed.uuid:
        _take_report(tx, observed, PoolReport.from_wire(said.report))
    _freeze(tx, host)
    waiting, dropped = orders.hear(tx, host, said.running)
    if first:
        LOG.info("The agent of host %s is heard", host.name)
    return SyncAnswer(observe=observed is not None, interval_s=tx.settings.sync_interval_s, orders=waiting,
                      dropped=dropped, members=_members(tx, host, said))


def _members(tx: Transaction, host: Host | None, said: Sync) -> dict[str, str]:
    """Return the addresses that HOST_IS_SLAVE may be followed to: those of enrolled hosts only.

    They are the hosts of the same pool and aggregate, and the one that the host names as
    its master.
    """
    place = aggregates.pool_backed_membership(tx.session, host.name) if host is not None else None
    together = {other.host for other in aggregates.memberships(tx.session, place.aggregate_id)} if place else set()
    pool = host.pool if host is not None else None
    return {one.uuid: one.address for one in hosts.every(tx.session)
            if one is host or one.address == said.master_address or one.name in together
            or (pool is not None and one.pool == pool)}


def _enrol(tx: Transaction, said: Sync) -> Host:
    taken = hosts.find_uuid(tx.session, said.host_uuid or "")
    if taken is not None:
        raise errors.WrongState(f"The host with uuid {said.host_uuid} is enrolled as {taken.name} already",
                                code="host_uuid_taken")
    host = Host(name=said.host, uuid=said.host_uuid or "", address=said.address or "", url=said.url,
                enrolled_at=tx.now, wanted="serving", quarantined=False, epoch=said.highest_epoch, role=said.role,
                incarnation=said.incarnation, sequence=0, last_sync_at=tx.now)
    tx.session.add(host)
    tx.session.add(Incarnation(id=said.incarnation, host=said.host, seen_at=tx.now))
    tx.session.flush()
    LOG.info("Host %s is enrolled", host.name, extra={"host": host.name, "uuid": host.uuid})
    return host


def _is_newest(tx: Transaction, host: Host, said: Sync) -> bool:
    """Return whether the agent process is the host's newest; one that was never seen becomes it."""
    if said.incarnation != host.incarnation:
        if hosts.is_known_incarnation(tx.session, said.incarnation):
            return False
        tx.session.add(Incarnation(id=said.incarnation, host=host.name, seen_at=tx.now))
        host.incarnation, host.sequence = said.incarnation, 0
    host.sequence = max(host.sequence, said.sequence)
    return True


def _note_state(tx: Transaction, host: Host, said: Sync) -> None:
    host.last_sync_at = tx.now
    host.trouble = said.trouble
    # A database restored from a backup may know less than the agents have seen.
    host.epoch = max(host.epoch, said.highest_epoch)
    if said.role != "unreachable":
        host.role = said.role
        host.pool = _confirmed_pool(tx, host, said)
        host.address = said.address or host.address
        host.url = said.url or host.url


def _confirmed_pool(tx: Transaction, host: Host, said: Sync) -> str | None:
    """Return the pool the host is in: its own when it stands alone, else one whose report lists it.

    A host that was just ejected goes on answering as a member for a while, so what a slave
    says of itself counts only together with the master's word, read after the last change.
    """
    if said.role != "slave" or said.pool is None or said.pool == host.pool:
        return said.pool or host.pool
    pool = hosts.find_pool(tx.session, said.pool)
    listed = pool is not None and any(one["uuid"] == host.uuid for one in (pool.report or {}).get("hosts", []))
    newer = pool is not None and (pool.report_at or 0.0) > (host.observed_at or 0.0)
    return said.pool if listed and newer else host.pool


def _freeze(tx: Transaction, host: Host) -> None:
    """Freeze the host's pool while two hosts that are heard claim to be its master; thaw it when one is left."""
    pool = hosts.find_pool(tx.session, host.pool)
    if pool is None:
        return
    claimants = [one.name for one in hosts.in_pool(tx.session, pool.uuid)
                 if one.role in ("master", "standalone") and is_up(tx, one.last_sync_at)]
    frozen = f"{' and '.join(claimants)} claim to be its master" if len(claimants) > 1 else None
    if frozen != pool.frozen:
        LOG.warning("The pool %s is %s", pool.uuid, f"frozen: {frozen}" if frozen else "not frozen any more")
        pool.frozen = frozen


def _elect(tx: Transaction, host: Host) -> Pool | None:
    """Return the pool that this host's agent observes, if any; the present observer keeps it while it is heard."""
    if host.pool is None or host.trouble or host.role == "unreachable":
        return None
    pool = hosts.find_pool(tx.session, host.pool)
    if pool is None:
        pool = Pool(uuid=host.pool, plan_generation=0)
        tx.session.add(pool)
    if pool.observer != host.name:
        other = hosts.find(tx.session, pool.observer) if pool.observer else None
        if other is not None and other.pool == pool.uuid and not other.trouble and is_up(tx, other.last_sync_at):
            return None
        pool.observer = host.name
        tx.session.flush()
    return pool


def _take_report(tx: Transaction, pool: Pool, report: PoolReport) -> None:
    """Store what the pool's observer has read, and look for what changed behind our back."""
    began = tx.now - max(report.age_s, 0.0)
    seen_hosts = [HostReport.from_wire(wire) for wire in report.hosts]
    # Every field is there from here on, also when an older agent left out what it does not know.
    pool.report = {**report.to_wire(), "hosts": [seen.to_wire() for seen in seen_hosts],
                   "vms": [VmReport.from_wire(wire).to_wire() for wire in report.vms]}
    pool.hosts = {seen.uuid: seen.hostname for seen in seen_hosts}
    pool.report_at, pool.master = began, report.master
    known = {host.uuid: host for host in hosts.in_pool(tx.session, pool.uuid)}
    for seen in seen_hosts:
        host = known.get(seen.uuid)
        if host is None or (host.observed_at or 0.0) > began:
            continue
        host.enabled, host.live, host.observed_at = seen.enabled, seen.live, began
        host.started_at = seen.agent_start_time or host.started_at
        if not seen.enabled:
            host.disabled_at_start = host.started_at
        drift.check(tx, host, began)
