"""Memory of hosts and VMs by xapi's own formula; knows nothing of who should go where.

Source: memory_check.ml. ``host_metrics.memory_free`` lags behind and is never used.
"""
from collections.abc import Iterable

from conductor.plan.model import Snapshot, Vm

MIB = 1 << 20
# It runs inside a PVH domain of its own, and xapi asks for all its memory at the destination. (For plain
# PVH only xapi's own evacuation planner does so; we call VM.pool_migrate, which asks for dynamic_min.)
_COUNTED_BY_STATIC_MAX = "pv_in_pvh"


def need_bytes(vm: Vm) -> int:
    """Return what a host must have free before xapi lets ``vm`` migrate to it."""
    counted = vm.memory_dynamic_min_bytes
    if vm.domain_type == _COUNTED_BY_STATIC_MAX:
        counted = max(counted, vm.memory_static_max_bytes)
    return -(-counted // MIB) * MIB + vm.memory_overhead_bytes


def held_bytes(vm: Vm) -> int:
    """Return what xapi counts for ``vm`` on a host where it is or is about to be, at most its need."""
    return vm.memory_dynamic_min_bytes + vm.memory_overhead_bytes


def free_map(snapshot: Snapshot) -> dict[str, int]:
    """Return the free memory of every host; what is there, coming there or promised to a move is taken.

    Cost O(hosts + VMs).
    """
    free = {host.uuid: host.memory_total_bytes - host.memory_overhead_bytes for host in snapshot.hosts}
    for vm in snapshot.vms:
        for host in _counted_on(snapshot, vm):
            if host in free:
                free[host] -= held_bytes(vm)
    return {host: max(0, left) for host, left in free.items()}


def free_bytes(snapshot: Snapshot, host_uuid: str, *, without: Vm | None = None) -> int:
    """Return the free memory of one host, as if ``without`` were not counted there."""
    host = snapshot.host(host_uuid)
    free = host.memory_total_bytes - host.memory_overhead_bytes
    for vm in snapshot.vms:
        if vm is not without and host_uuid in _counted_on(snapshot, vm):
            free -= held_bytes(vm)
    return max(0, free)


def _counted_on(snapshot: Snapshot, vm: Vm) -> Iterable[str]:
    hosts = {vm.resident_on, vm.scheduled_on, snapshot.destinations_to_be.get(vm.uuid)}
    return (host for host in hosts if host)
