"""Chooses a destination for each VM that leaves a host, all together; knows nothing of when they move."""
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from conductor.plan.eligibility import hindrances, host_refusal, memory_refusal, pair_refusal
from conductor.plan.memory import free_map, need_bytes
from conductor.plan.model import Blocker, Host, Snapshot, Vm
from conductor.plan.search import Board, fill, fill_partly
from conductor.plan.wording import listing, size


@dataclass(frozen=True, slots=True)
class Placement:
    """VM -> host: for the VMs asked about, and for third VMs that make room for them.

    ``cleared`` has the third VMs in the order in which they have to move. ``homeless`` have a blocker each;
    ``left_bytes`` is what stays free on every destination.
    """

    assigned: dict[str, str]
    cleared: dict[str, str]
    homeless: tuple[Vm, ...]
    blockers: tuple[Blocker, ...]
    left_bytes: dict[str, int]


def place(snapshot: Snapshot, source: str, vms: Sequence[Vm]) -> Placement:
    """Choose a host for every VM of ``vms``, none of them on ``source``, never above any host's free memory.

    Largest first to the host with the largest free share, members of an anti-affinity group apart where
    possible; when that doesn't fit, other orders, a bounded search, and third VMs out of the way. What fits
    nowhere has a blocker that names the reason of every host. Cost O(VMs x hosts) when it is not tight.
    """
    usable = [host for host in snapshot.hosts if host.uuid != source and not host_refusal(snapshot, host)]
    board = _board(snapshot, source, usable, vms)
    movable = [vm for vm in vms if board.eligible[vm.uuid]]
    homeless = [vm for vm in vms if not board.eligible[vm.uuid]]
    if not fill(board, movable):
        third_vms = _third_vms(snapshot, usable, vms)
        for residents in third_vms.values():
            for vm in residents:
                _admit(board, snapshot, vm, usable)
        homeless += fill_partly(board, movable, third_vms)
    homeless.sort(key=lambda vm: (vm.name, vm.uuid))
    blockers = tuple(_blocker(snapshot, source, vm, usable, board.free) for vm in homeless)
    return Placement(board.assigned, board.cleared, tuple(homeless), blockers, board.free)


def reasons(snapshot: Snapshot, source: str, vm: Vm, free: dict[str, int]) -> list[Blocker]:
    """Return for each host but ``source`` and foreign ones the rule that refuses ``vm`` there."""
    found = []
    for host in sorted(snapshot.hosts, key=lambda host: (host.name, host.uuid)):
        if host.uuid != source and host.member:
            refused = (host_refusal(snapshot, host) or pair_refusal(snapshot, vm, host)
                       or memory_refusal(vm, host, free.get(host.uuid, 0)))
            if refused:
                found.append(refused)
    return found


def _board(snapshot: Snapshot, source: str, usable: Sequence[Host], vms: Sequence[Vm]) -> Board:
    everywhere = free_map(snapshot)
    free = {host.uuid: everywhere[host.uuid] for host in usable}
    going = {vm.uuid for vm in vms}
    members: Counter[tuple[str, str]] = Counter()
    for vm in snapshot.vms:
        if vm.is_running and vm.uuid not in going:
            where = snapshot.destinations_to_be.get(vm.uuid) or vm.resident_on or ""
            members.update((group, where) for group in vm.groups & snapshot.anti_affinity_groups)
    board = Board({host.uuid: host for host in usable}, free, {}, {}, members)
    for vm in vms:
        _admit(board, snapshot, vm, usable)
    return board


def _admit(board: Board, snapshot: Snapshot, vm: Vm, usable: Sequence[Host]) -> None:
    board.eligible[vm.uuid] = tuple(host.uuid for host in usable if not pair_refusal(snapshot, vm, host))
    board.groups[vm.uuid] = vm.groups & snapshot.anti_affinity_groups


def _third_vms(snapshot: Snapshot, usable: Sequence[Host], vms: Sequence[Vm]) -> dict[str, tuple[Vm, ...]]:
    """Return the VMs on each destination that could be moved away: nothing holds or moves them."""
    going = {vm.uuid for vm in vms}
    return {host.uuid: tuple(vm for vm in snapshot.residents[host.uuid]
                             if not vm.control_domain and not hindrances(vm) and not vm.operations
                             and vm.uuid not in going and vm.uuid not in snapshot.destinations_to_be)
            for host in usable}


def _blocker(snapshot: Snapshot, source: str, vm: Vm, usable: Sequence[Host],
             free: dict[str, int]) -> Blocker:
    refused = reasons(snapshot, source, vm, free)
    if not usable:
        others = _compact(snapshot, refused)
        return Blocker("NO_HOSTS_AVAILABLE", vm.uuid, vm.name, None,
                       f"there is no other host in service for {vm.name}" + (f": {others}" if others else ""),
                       refused[0].help if refused else "corral aggregate-add-host <aggregate> <host>")
    in_service = {host.uuid for host in usable}
    telling = [blocker for blocker in refused if blocker.host in in_service]
    codes = Counter(blocker.code for blocker in telling)
    short = [blocker for blocker in telling if blocker.code == "HOST_NOT_ENOUGH_FREE_MEMORY"]
    first = short[0] if short else next(b for b in telling if b.code == codes.most_common(1)[0][0])
    return Blocker(first.code, vm.uuid, vm.name, None,
                   f"no host can take {vm.name} ({size(need_bytes(vm))}): {_compact(snapshot, refused)}",
                   first.help)


def _compact(snapshot: Snapshot, refused: Sequence[Blocker]) -> str:
    """Return the reasons of the hosts in one line: in words for a few hosts, by code for many."""
    if len(refused) <= 4:
        return "; ".join(blocker.message for blocker in refused)
    hosts: dict[str, list[str]] = {}
    for blocker in refused:
        hosts.setdefault(blocker.code, []).append(snapshot.host_name(blocker.host))
    return "; ".join(f"{code}: {listing(names)}" for code, names in sorted(hosts.items()))
