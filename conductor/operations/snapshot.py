"""From rows to the planner's snapshot: the pool's last report, corrected by what was observed since."""

from collections.abc import Collection
from dataclasses import replace

from common import errors
from common.messages import HostReport, PoolReport, VmReport
from conductor.db import aggregates, hosts, operations
from conductor.db.models import Host, Pool, Task
from conductor.db.session import Session
from conductor.operations.engine import Transaction
from conductor.plan import model

#: operations that take the host out of service
_TAKING = ("maintenance_start", "aggregate_remove_host", "host_disable")


def of_pool(tx: Transaction, pool_uuid: str | None, without: Collection[str] = ()) -> model.Snapshot:
    """Return the snapshot of a pool whose report is younger than an agent's silence may last.

    The moves with the ids ``without`` are taken as if they were never planned.

    Raises Unavailable when there is none: no plan is made on what was not observed.
    """
    session, pool = tx.session, hosts.find_pool(tx.session, pool_uuid)
    if (pool is None or pool.report is None or pool.report_at is None
            or tx.now - pool.report_at > tx.settings.agent_down_s):
        raise errors.Unavailable("The pool has not been observed lately; its agents may be down or can't reach "
                                 "the hypervisor", code="pool_not_observed", pool=pool_uuid)
    if pool.frozen:
        raise errors.Unavailable(f"The pool is frozen: {pool.frozen}", code="pool_frozen", pool=pool_uuid)
    report = PoolReport.from_wire(pool.report)
    moves = [task for task in operations.open_moves(session, pool.uuid) if task.id not in without]
    vms = _vms(report, moved_since_report(session, pool))
    return model.Snapshot(
        pool=pool.uuid, master=report.master, hosts=_hosts(session, pool, report), vms=vms,
        pending=tuple(model.Pending(m.args["vm"], m.args["source"], m.args["destination"]) for m in moves),
        anti_affinity_groups=frozenset(group for vm in vms for group in vm.groups),
        migration_network=report.migration_network, generation=pool.plan_generation)


def _hosts(session: Session, pool: Pool, report: PoolReport) -> tuple[model.Host, ...]:
    known = {host.uuid: host for host in hosts.every(session)}
    aggregate = aggregates.of_pool(session, pool.uuid)
    members = {place.host for place in aggregates.memberships(session, aggregate.id)
               if place.state == "member"} if aggregate else set()
    active = operations.active_by_host(session)
    found = []
    for wire in report.hosts:
        seen = HostReport.from_wire(wire)
        row = known.get(seen.uuid)
        holder = active.get(row.name) if row else None
        found.append(model.Host(
            uuid=seen.uuid, name=row.name if row else seen.hostname,
            enabled=_latest_enabled(row, seen, pool), live=seen.live,
            member=row is not None and row.name in members,
            wanted=row.wanted if row else model.SERVING, leaving=holder is not None and holder.kind in _TAKING,
            version=_version(seen.version), cpu_vendor=seen.cpu_vendor, cpu_features=seen.cpu_features,
            cpus=seen.cpus, memory_total_bytes=seen.memory_total_bytes,
            memory_overhead_bytes=seen.memory_overhead_bytes, srs=frozenset(seen.srs),
            networks=frozenset(seen.networks), trouble=_trouble(row) if row else ""))
    return tuple(found)


def _trouble(row: Host) -> str:
    return "an operator says that it is down" if row.forced_down else str((row.trouble or {}).get("message", ""))


def _latest_enabled(row: Host | None, seen: HostReport, pool: Pool) -> bool:
    """Return the newer of the report's reading and an order's reading."""
    if row is not None and row.enabled is not None and (row.observed_at or 0.0) > (pool.report_at or 0.0):
        return row.enabled
    return seen.enabled


def moved_since_report(session: Session, pool: Pool) -> dict[str, str]:
    """Return the hosts at which VMs were observed to arrive since the pool's last report, by VM."""
    done = operations.moves_done_since(session, pool.uuid, pool.report_at or 0.0)
    return {task.args["vm"]: task.args["destination"] for task in done if _arrived(task)}


def _vms(report: PoolReport, moved: dict[str, str]) -> tuple[model.Vm, ...]:
    """Return the VMs, those that moved since the report where they were observed to be."""
    vms = [_vm(VmReport.from_wire(wire)) for wire in report.vms]
    return tuple(replace(vm, resident_on=moved[vm.uuid], power_state="Running", scheduled_on=None, operations=())
                 if vm.uuid in moved else vm for vm in vms)


def _arrived(task: Task) -> bool:
    """Return whether the VM was read at the move's destination (it may also be gone or halted)."""
    vm = (task.readings or {}).get("vm") or {}
    return bool(vm.get("resident_on") == task.args["destination"])


def _vm(seen: VmReport) -> model.Vm:
    return model.Vm(
        uuid=seen.uuid, name=seen.name_label, resident_on=seen.resident_on, scheduled_on=seen.scheduled_on,
        power_state=seen.power_state, control_domain=seen.control_domain,
        memory_dynamic_min_bytes=seen.memory_dynamic_min_bytes,
        memory_static_max_bytes=seen.memory_static_max_bytes,
        memory_overhead_bytes=seen.memory_overhead_bytes, domain_type=seen.domain_type, vcpus=seen.vcpus,
        srs=frozenset(seen.srs), networks=frozenset(seen.networks), groups=frozenset(seen.groups),
        operations=tuple(seen.operations),
        cpu_features=seen.cpu_features,
        hindrances=tuple(model.Hindrance(code, message) for code, message in seen.hindrances))


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdigit())
