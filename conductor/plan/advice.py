"""What is the smallest change that would let a refused drain go; only says what it has tried."""
from collections.abc import Sequence
from dataclasses import replace

from conductor.plan.eligibility import host_refusal, static_refusal
from conductor.plan.memory import need_bytes
from conductor.plan.model import SERVING, Host, Snapshot, Vm
from conductor.plan.placement import Placement, place
from conductor.plan.wording import listing, rounded_up, size

# Each host and each round is tried by planning once more.
_HOSTS_TRIED = 4
_ROUNDS = 4


def smallest_change(snapshot: Snapshot, source: str, hindered: Sequence[Vm], movable: Sequence[Vm],
                    placement: Placement) -> str | None:
    """Return in words what would let all VMs leave ``source``, None when we know of nothing."""
    parts = []
    if hindered:
        parts.append(f"clear what holds {listing(sorted(vm.name for vm in hindered))}")
    if placement.homeless:
        room = [text for text in (_memory_to_free(snapshot, source, movable, placement),
                                  _host_to_bring_back(snapshot, source, movable)) if text]
        if not room:
            return None
        parts.append(", or ".join(room))
    return ", and ".join(parts) or None


def _memory_to_free(snapshot: Snapshot, source: str, vms: Sequence[Vm], placement: Placement) -> str | None:
    """Return "free 3.0 GiB on h2", tried by planning with that much more there."""
    more: dict[str, int] = {}
    for _ in range(_ROUNDS):
        missing = _missing(snapshot, placement)
        if not missing:
            return None
        more = {uuid: rounded_up(more.get(uuid, 0) + missing.get(uuid, 0)) for uuid in {*more, *missing}}
        hosts = tuple(replace(host, memory_total_bytes=host.memory_total_bytes + more.get(host.uuid, 0))
                      for host in snapshot.hosts)
        placement = place(replace(snapshot, hosts=hosts), source, vms)
        if not placement.homeless:
            amounts = [f"{size(more[host.uuid])} on {host.name}"
                       for host in _by_name(hosts) if host.uuid in more]
            return "free " + listing(amounts, at_most=len(amounts))
    return None


def _missing(snapshot: Snapshot, placement: Placement) -> dict[str, int]:
    """Return the memory that lacks where the homeless would fit with the least more; empty when nowhere."""
    left = dict(placement.left_bytes)
    for vm in sorted(placement.homeless, key=lambda vm: (-need_bytes(vm), vm.uuid)):
        hosts = [host for host in _by_name(snapshot.hosts) if host.uuid in left
                 and not static_refusal(snapshot, vm, host) and _could_hold(host, vm)]
        if not hosts:
            return {}
        chosen = min(hosts, key=lambda host: need_bytes(vm) - max(0, left[host.uuid]))
        left[chosen.uuid] -= need_bytes(vm)
    return {uuid: -free for uuid, free in left.items() if free < 0}


def _by_name(hosts: Sequence[Host]) -> list[Host]:
    return sorted(hosts, key=lambda host: (host.name, host.uuid))


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
