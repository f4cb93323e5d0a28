"""What is the smallest change that would let a refused drain go; only says what it has tried or counted."""
from collections.abc import Sequence
from dataclasses import replace

from conductor.plan.eligibility import host_refusal, static_refusal
from conductor.plan.memory import need_bytes
from conductor.plan.model import SERVING, Host, Snapshot, Vm
from conductor.plan.placement import Placement, place
from conductor.plan.wording import listing, size_at_least

# Each is tried by planning once more.
_HOSTS_TRIED = 4


def smallest_change(snapshot: Snapshot, source: str, hindered: Sequence[Vm], movable: Sequence[Vm],
                    placement: Placement) -> str | None:
    """Return in words what would let all VMs leave ``source``, None when we know of nothing."""
    parts = []
    if hindered:
        parts.append(f"clear what holds {listing(sorted(vm.name for vm in hindered))}")
    if placement.homeless:
        room = [text for text in (_memory_to_free(snapshot, source, placement),
                                  _host_to_bring_back(snapshot, source, movable)) if text]
        if not room:
            return None
        parts.append(", or ".join(room))
    return "; and ".join(parts) or None


def _memory_to_free(snapshot: Snapshot, source: str, placement: Placement) -> str | None:
    """Return "free 3.0 GiB on h2": with the rest of the placement as it is, that is enough."""
    left = dict(placement.left_bytes)
    for vm in sorted(placement.homeless, key=lambda vm: (-need_bytes(vm), vm.uuid)):
        hosts = [host for host in snapshot.hosts if host.uuid in left
                 and not static_refusal(snapshot, vm, host) and _could_hold(host, vm)]
        if not hosts:
            return None
        chosen = min(hosts, key=lambda host: (max(0, need_bytes(vm) - max(0, left[host.uuid])), host.name))
        left[chosen.uuid] -= need_bytes(vm)
    short = sorted((snapshot.host_name(uuid), -free) for uuid, free in left.items() if free < 0)
    if not short:
        return None
    amounts = [f"{size_at_least(missing)} on {name}" for name, missing in short]
    return "free " + listing(amounts, at_most=len(amounts))


def _could_hold(host: Host, vm: Vm) -> bool:
    return host.memory_total_bytes - host.memory_overhead_bytes >= need_bytes(vm)


def _host_to_bring_back(snapshot: Snapshot, source: str, vms: Sequence[Vm]) -> str | None:
    """Return "enable h3", tried by planning with that host in service."""
    resting = [host for host in snapshot.hosts if host.uuid != source and host.member and host.live
               and host_refusal(snapshot, host)]
    for host in sorted(resting, key=lambda host: (host.leaving, host.name, host.uuid))[:_HOSTS_TRIED]:
        back = replace(host, enabled=True, wanted=SERVING, leaving=False)
        hosts = tuple(back if other is host else other for other in snapshot.hosts)
        if not place(replace(snapshot, hosts=hosts), source, vms).homeless:
            return f"put {host.name} back into service"
    return None
