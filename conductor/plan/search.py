"""Finds room for VMs when it is tight: a board to try things on, greedy orders, back-tracking, third VMs.

Knows which host may take which VM only from what it is given, and nothing of why.
"""
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from conductor.plan.memory import held_bytes, need_bytes
from conductor.plan.model import Host, Vm

# Back-tracking looks at so many pairs of VM and host: all there are on a small pool.
SEARCH_BUDGET = 60_000
# It goes one call deeper for each VM; with more than these the budget would not reach far anyway.
SEARCH_VMS = 200
# A VM that doesn't fit may push so many others away; each is a live migration that nobody asked for.
THIRD_VMS_PER_VM = 8


@dataclass
class Board:
    """Destinations, what is free on them, and what has been put where so far."""

    hosts: dict[str, Host]
    free: dict[str, int]
    eligible: dict[str, tuple[str, ...]]                  # VM -> hosts that may take it, memory aside
    groups: dict[str, frozenset[str]]                     # VM -> its anti-affinity groups
    members: Counter[tuple[str, str]]                     # (group, host) -> running members there
    assigned: dict[str, str] = field(default_factory=dict)
    cleared: dict[str, str] = field(default_factory=dict)     # third VMs, in order -> where they go

    def put(self, vm: Vm, host: str) -> None:
        self.free[host] -= need_bytes(vm)
        self.assigned[vm.uuid] = host
        for group in self.groups[vm.uuid]:
            self.members[group, host] += 1

    def take_back(self, vm: Vm) -> None:
        host = self.assigned.pop(vm.uuid)
        self.free[host] += need_bytes(vm)
        for group in self.groups[vm.uuid]:
            self.members[group, host] -= 1

    def clear(self, vm: Vm, source: str, host: str) -> None:
        """Move the third VM ``vm`` from ``source`` to ``host``.

        It may use what third VMs before it freed, never after it: so no two ever wait for each other.
        """
        self.free[source] += held_bytes(vm)
        self.free[host] -= need_bytes(vm)
        self.cleared[vm.uuid] = host
        for group in self.groups[vm.uuid]:
            self.members[group, source] -= 1
            self.members[group, host] += 1

    def companions(self, vm: Vm, host: str) -> int:
        """Return how many members of the VM's anti-affinity groups run on ``host``."""
        return sum(self.members[group, host] for group in self.groups[vm.uuid])

    def fitting(self, vm: Vm) -> list[str]:
        need = need_bytes(vm)
        return [host for host in self.eligible[vm.uuid] if self.free[host] >= need]

    def balanced(self, vm: Vm, host: str) -> tuple[int, float, str]:
        """Smaller is better: apart from its group, then where the largest share stays free."""
        share = (self.free[host] - need_bytes(vm)) / max(1, self.hosts[host].memory_total_bytes)
        return self.companions(vm, host), -share, host

    def tight(self, vm: Vm, host: str) -> tuple[int, int, str]:
        """Smaller is better: apart from its group, then where the least stays free."""
        return self.companions(vm, host), self.free[host], host


def fill(board: Board, vms: Sequence[Vm]) -> bool:
    """Put every VM of ``vms`` on the board without moving others, or put none and return False."""
    largest_first = sorted(vms, key=lambda vm: (-need_bytes(vm), vm.uuid))
    choosiest_first = sorted(vms, key=lambda vm: (len(board.eligible[vm.uuid]), -need_bytes(vm), vm.uuid))
    return (_greedy(board, largest_first, board.balanced)
            or _greedy(board, choosiest_first, board.tight)
            or _by_regret(board, largest_first)
            or _search(board, choosiest_first))


def fill_partly(board: Board, vms: Sequence[Vm], residents: Mapping[str, Sequence[Vm]]) -> list[Vm]:
    """Put what fits on the board, moving others out of the way where that helps; return what found no room.

    ``residents`` are the third VMs of each host that may be moved; the board knows where to.
    """
    by_uuid = {vm.uuid: vm for vm in vms}
    # Largest first, and room is made at once: the small ones fit into the gaps that are left.
    homeless = sorted(vms, key=lambda vm: (-need_bytes(vm), vm.uuid))
    while True:     # what makes room for one VM may leave enough for another
        still = [vm for vm in homeless if not _make_room(board, vm, by_uuid, residents)]
        if len(still) == len(homeless):
            return still
        homeless = still


def _greedy(board: Board, vms: Sequence[Vm], rank: Callable[[Vm, str], tuple[float, float, str]]) -> bool:
    for number, vm in enumerate(vms):
        hosts = board.fitting(vm)
        if not hosts:
            _undo(board, vms[:number])
            return False
        board.put(vm, min(hosts, key=lambda host: rank(vm, host)))
    return True


def _by_regret(board: Board, vms: Sequence[Vm]) -> bool:
    """Put next the VM that has the fewest hosts left, the largest of those."""
    remaining = list(vms)
    while remaining:
        vm = min(remaining, key=lambda vm: (len(board.fitting(vm)), -need_bytes(vm), vm.uuid))
        hosts = board.fitting(vm)
        if not hosts:
            _undo(board, [vm for vm in vms if vm.uuid in board.assigned])
            return False
        board.put(vm, min(hosts, key=lambda host: board.tight(vm, host)))
        remaining.remove(vm)
    return True


def _search(board: Board, vms: Sequence[Vm]) -> bool:
    """Go through all placements, most promising first, as far as the budget reaches."""
    if len(vms) > SEARCH_VMS:
        return False
    budget = SEARCH_BUDGET
    needs = [need_bytes(vm) for vm in vms]

    def place_from(index: int) -> bool:
        nonlocal budget
        if index == len(vms):
            return True
        vm = vms[index]
        if sum(needs[index:]) > sum(board.free.values()):
            return False
        tried: set[tuple[object, ...]] = set()
        for host in sorted(board.fitting(vm), key=lambda host: board.tight(vm, host)):
            budget -= len(board.hosts)
            if budget < 0:
                return False
            alike = (board.free[host], tuple(host in board.eligible[later.uuid] for later in vms[index + 1:]))
            if alike in tried:
                continue
            tried.add(alike)
            board.put(vm, host)
            if place_from(index + 1):
                return True
            board.take_back(vm)
        return False

    return place_from(0)


def _make_room(board: Board, vm: Vm, movers: Mapping[str, Vm], residents: Mapping[str, Sequence[Vm]]) -> bool:
    """Put ``vm`` on some host after sending another mover elsewhere, or the fewest bytes of third VMs."""
    fitting = board.fitting(vm)
    if fitting:
        board.put(vm, min(fitting, key=lambda host: board.tight(vm, host)))
        return True
    roomiest_first = sorted(board.eligible[vm.uuid], key=lambda host: (-board.free[host], host))
    for host in roomiest_first:
        if _send_a_mover_elsewhere(board, host, need_bytes(vm) - board.free[host], movers):
            board.put(vm, host)
            return True
    ways = []
    for host in roomiest_first:
        way = _clearing(board, host, need_bytes(vm) - board.free[host], residents.get(host, ()))
        if way:
            ways.append((sum(held_bytes(third) for third, _ in way), host, way))
    if not ways:
        return False
    _, host, way = min(ways, key=lambda found: found[:2])
    for third, refuge in way:
        board.clear(third, host, refuge)
    board.put(vm, host)
    return True


def _send_a_mover_elsewhere(board: Board, host: str, deficit: int, movers: Mapping[str, Vm]) -> bool:
    """Give one VM put on ``host`` another destination, so that ``deficit`` more is free: costs no move."""
    here = [movers[uuid] for uuid, where in board.assigned.items() if where == host]
    for mover in sorted(here, key=lambda vm: (need_bytes(vm), vm.uuid)):
        others = [other for other in board.fitting(mover) if other != host]
        if need_bytes(mover) >= deficit and others:
            board.take_back(mover)
            board.put(mover, min(others, key=lambda other: board.tight(mover, other)))
            return True
    return False


def _clearing(board: Board, host: str, deficit: int, residents: Sequence[Vm]) -> list[tuple[Vm, str]]:
    """Return third VMs of ``host`` and where they could go, so that ``deficit`` more is free, or [].

    One VM, the smallest that is enough; else several, largest first.
    """
    candidates = sorted((vm for vm in residents if vm.uuid not in board.cleared),
                        key=lambda vm: (held_bytes(vm), vm.uuid))
    for third in candidates:
        refuges = _refuges(board, third, host, {})
        if held_bytes(third) >= deficit and refuges:
            return [(third, refuges[0])]
    way: list[tuple[Vm, str]] = []
    spent: Counter[str] = Counter()
    for third in reversed(candidates):
        refuges = _refuges(board, third, host, spent)
        if refuges:
            way.append((third, refuges[0]))
            spent[refuges[0]] += need_bytes(third)
            deficit -= held_bytes(third)
        if deficit <= 0:
            return way
        if len(way) == THIRD_VMS_PER_VM:
            break
    return []


def _refuges(board: Board, third: Vm, host: str, spent: Mapping[str, int]) -> list[str]:
    """Return where ``third`` could go, best first."""
    need = need_bytes(third)
    found = [other for other in board.eligible[third.uuid] if other != host
             and board.free[other] - spent.get(other, 0) >= need]
    return sorted(found, key=lambda other: board.tight(third, other))


def _undo(board: Board, vms: Sequence[Vm]) -> None:
    for vm in vms:
        board.take_back(vm)
