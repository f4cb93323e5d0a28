"""Where xapi's planner puts the VMs of an evacuation: those of an anti-affinity group apart, if all find a place so.

First each group is spread evenly, else kept on two hosts at least, else groups are ignored.
"""

from collections import Counter

from agent.simulator.arguments import release
from agent.simulator.database import Database
from agent.simulator.memory import free_memory, vm_need

GROUPS_SINCE = (24, 19)
FEWEST_HOSTS = 3  # in a pool, for groups to be looked at
Moves = list[tuple[str, str]]


def places(db: Database, vms: list[str], targets: list[str], version: str) -> Moves:
    """Return a target for each VM that finds one."""
    groups = {vm: group for vm in vms for group in db.get("VM", vm, "groups")
              if db.get("VM_group", group, "placement") == "anti_affinity"}
    if groups and release(version) >= GROUPS_SINCE and len(db.refs("host")) >= FEWEST_HOSTS:
        for evenly in (True, False):
            moves = _apart(db, vms, targets, groups, evenly=evenly)
            if len(moves) == len(vms):
                return moves
    return _packed(db, vms, _free(db, targets))


def _free(db: Database, targets: list[str]) -> dict[str, int]:
    return {target: free_memory(db, target) for target in targets}


def _packed(db: Database, vms: list[str], free: dict[str, int]) -> Moves:
    """Put the largest first, each where most is left; what does not fit there is left out."""
    moves: Moves = []
    for vm in sorted(vms, key=lambda one: -vm_need(db, one)):
        best = max(free, key=lambda target: free[target])
        if free[best] >= vm_need(db, vm):
            free[best] -= vm_need(db, vm)
            moves.append((vm, best))
    return moves


def _apart(db: Database, vms: list[str], targets: list[str], groups: dict[str, str], *, evenly: bool) -> Moves:
    """Put members, the smallest first, where fewest of their group run; or only until two hosts have some."""
    free, moves = _free(db, targets), Moves()
    running = {group: Counter(db.get("VM", vm, "resident_on") for vm in db.get("VM_group", group, "VMs")
                              if vm not in vms and db.get("VM", vm, "power_state") == "Running")
               for group in groups.values()}
    for vm in sorted(groups, key=lambda one: vm_need(db, one)):
        there = running[groups[vm]]
        fitting = [target for target in targets if free[target] >= vm_need(db, vm)]
        if not fitting or (not evenly and len(there) > 1):
            continue
        best = min(fitting, key=lambda target: (there[target], free[target]))
        there[best] += 1
        free[best] -= vm_need(db, vm)
        moves.append((vm, best))
    placed = {vm for vm, _target in moves}
    return moves + _packed(db, [vm for vm in vms if vm not in placed], free)
