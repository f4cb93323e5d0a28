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

    Raises WrongState when the host's name belongs to another machine (until host-forget),
    when anything that was said after this was taken in already (``replayed``), and for a
    process not seen before whose name does not sort after the present one's.
    """
    host = hosts.find(tx.session, said.host)
    if host is None:
        if said.host_uuid is None or said.address is None:
            # A member of a pool can only be asked through its master, which is enrolled first.
            return SyncAnswer(interval_s=tx.settings.sync_interval_s, members=_members(tx, None, said))
        host = _enrol(tx, said)
    elif not _is_newest(tx, host, said):
        return SyncAnswer(superseded=True)
    elif said.host_uuid not in (None, host.uuid):
        raise errors.WrongState(f"The name {said.host} belongs to the host with uuid {host.uuid}; forget that one "
                                "before another machine takes its name", code="host_uuid_changed")
    else:
        # In order: an old message that arrives late must not undo what newer ones have brought.
        hosts.take_in(tx.session, host, said.incarnation, said.sequence, in_order=True)
    first = host.last_sync_at < tx.now - tx.settings.agent_down_s
    _note_state(tx, host, said)
    observed = _elect(tx, host)
    digest = _see(tx, observed, said) if observed is not None else None
    _freeze(tx, host)
    heard = orders.hear(tx, host, said.running)
    if first:
        LOG.info("The agent of host %s is heard", host.name)
    return SyncAnswer(observe=observed is not None, interval_s=tx.settings.sync_interval_s, orders=heard.waiting,
                      dropped=heard.dropped, called_off=heard.called_off, members=_members(tx, host, said),
                      report_digest=digest)


def _members(tx: Transaction, host: Host | None, said: Sync) -> dict[str, str]:
    """Return the addresses that HOST_IS_SLAVE may be followed to: those of enrolled hosts only.

    They are the hosts of the same pool and aggregate, and the one that the host names as
    its master.
    """
    place = aggregates.pool_backed_membership(tx.session, host.name) if host is not None else None
    together = [other.host for other in aggregates.memberships(tx.session, place.aggregate_id)] if place else []
    if host is not None:
        together.append(host.name)
    return hosts.addresses(tx.session, together, host.pool if host is not None else None, said.master_address)


def _enrol(tx: Transaction, said: Sync) -> Host:
    taken = hosts.find_uuid(tx.session, said.host_uuid or "")
    if taken is not None:
        raise errors.WrongState(f"The host with uuid {said.host_uuid} is enrolled as {taken.name} already",
                                code="host_uuid_taken")
    host = Host(name=said.host, uuid=said.host_uuid or "", address=said.address or "", url=said.url,
                enrolled_at=tx.now, wanted="serving", quarantined=False, epoch=said.highest_epoch, role=said.role,
                incarnation=said.incarnation, sequence=said.sequence, heard=1, last_sync_at=tx.now)
    tx.session.add(host)
    # The name may have been another machine's, or was forgotten: what was said before that has no effect any more.
    _register(tx, said, hosts.newest_incarnation(tx.session, said.host) or "")
    tx.session.flush()
    tx.tell("host.create", host)
    LOG.info("Host %s is enrolled", host.name, extra={"host": host.name, "uuid": host.uuid})
    return host


def _is_newest(tx: Transaction, host: Host, said: Sync) -> bool:
    """Return whether the agent process is the host's newest; one that was never seen becomes it.

    Raises WrongState when it was never seen but sorts before the present one.  It may be a
    real process whose clock is behind: that one answers by taking a name which sorts
    after.  A recording of a process that was never heard can't answer (decision 0012).
    """
    if said.incarnation == host.incarnation:
        return True
    if hosts.host_of_incarnation(tx.session, said.incarnation) == host.name:
        return False
    _register(tx, said, host.incarnation)
    return True


def _register(tx: Transaction, said: Sync, newest: str) -> None:
    """Store the name of an agent process that was never seen.  Raises WrongState when it has to take a later one."""
    taken = hosts.host_of_incarnation(tx.session, said.incarnation) is not None
    if taken or said.incarnation < newest:
        raise errors.WrongState(f"The agent of host {said.host} started before the present one by the name it gives "
                                "itself, or under a name that is taken; it has to take a later one",
                                code="older_incarnation", newest=max(newest, said.incarnation))
    tx.session.add(Incarnation(id=said.incarnation, host=said.host, seen_at=tx.now))


def _note_state(tx: Transaction, host: Host, said: Sync) -> None:
    host.last_sync_at = tx.now
    host.trouble = said.trouble
    host.agent_version = said.version[:16]
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
    So does what a host says that claims to be the master of others, as long as one of those
    is heard: no agent makes itself the observer of a pool that is not its own.
    """
    if said.pool is None or said.pool == host.pool:
        return said.pool or host.pool
    others = [one for one in hosts.in_pool(tx.session, said.pool) if is_up(tx, one.last_sync_at)]
    if said.role != "slave" and not others:
        return said.pool
    pool = hosts.find_pool(tx.session, said.pool)
    listed = pool is not None and host.uuid in _listed(pool)
    newer = pool is not None and (pool.report_at or 0.0) > (host.observed_at or 0.0)
    return said.pool if listed and newer else host.pool


def _listed(pool: Pool) -> set[str]:
    """Return the uuids of the hosts in the pool's last report."""
    if pool.hosts is not None:
        return set(pool.hosts)
    return {str(one["uuid"]) for one in (pool.report or {}).get("hosts", [])}


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


def _see(tx: Transaction, pool: Pool, said: Sync) -> str | None:
    """Take in what the pool's observer sees; return the digest of the report that is stored, if it is the same."""
    if said.report is not None:
        if said.report.get("pool") != pool.uuid:
            return None
        _take_report(tx, pool, PoolReport.from_wire(said.report))
        # An observer before 1.1 gives none; its next report is a whole one as well.
        pool.report_digest = said.report_digest[:64] if said.report_digest else None
    elif said.report_digest is None or said.report_digest != pool.report_digest or pool.master is None:
        # Another observer's, or from before this database's backup, or what it said was given up since.
        return None
    else:
        _see_again(tx, pool, tx.now - max(said.report_age_s, 0.0))
    return pool.report_digest


def _take_report(tx: Transaction, pool: Pool, report: PoolReport) -> None:
    """Store what the pool's observer has read, and look for what changed behind our back."""
    began = tx.now - max(report.age_s, 0.0)
    seen = [HostReport.from_wire(wire) for wire in report.hosts]
    # Every field is there from here on, also when an older agent left out what it does not know.
    pool.report = {**report.to_wire(), "hosts": [one.to_wire() for one in seen],
                   "vms": [VmReport.from_wire(wire).to_wire() for wire in report.vms]}
    pool.hosts = {one.uuid: one.hostname for one in seen}
    pool.report_at, pool.master = began, report.master
    _note_hosts(tx, pool, seen, began)


def _see_again(tx: Transaction, pool: Pool, began: float) -> None:
    """Take in that the pool was seen as it is stored, by a reading that began at ``began``."""
    before = pool.report_at or 0.0
    # The same reading told again, a little longer on its way, is not an older one.
    began = pool.report_at = max(began, before)
    listed = _listed(pool)
    members = [host for host in hosts.in_pool(tx.session, pool.uuid) if host.uuid in listed]
    if any(host.observed_at != before for host in members):
        # An order has read more of a host since then, or a host has come: the report says again what it said.
        _note_hosts(tx, pool, [HostReport.from_wire(wire) for wire in (pool.report or {})["hosts"]], began)
        return
    for host in members:
        host.observed_at = began
        drift.check(tx, host, began)


def _note_hosts(tx: Transaction, pool: Pool, report: list[HostReport], began: float) -> None:
    """Note what a reading says of the hosts that are known, unless something newer is known of one."""
    known = {host.uuid: host for host in hosts.in_pool(tx.session, pool.uuid)}
    for seen in report:
        host = known.get(seen.uuid)
        if host is None or (host.observed_at or 0.0) > began:
            continue
        host.enabled, host.live, host.observed_at = seen.enabled, seen.live, began
        host.started_at = seen.agent_start_time or host.started_at
        if not seen.enabled:
            host.disabled_at_start = host.started_at
        drift.check(tx, host, began)
