"""Plans how the VMs that left a host come home; what can't is reported, never a failure."""
from collections.abc import Sequence
from dataclasses import replace

from conductor.plan.eligibility import hindrances, memory_refusal, static_refusal
from conductor.plan.memory import free_map, need_bytes
from conductor.plan.model import SERVING, Blocker, Estimates, Host, Limits, Plan, Snapshot, Vm
from conductor.plan.sequence import sequence

_LIMITS = Limits()
_ESTIMATES = Estimates()


def plan_restore(snapshot: Snapshot, host_uuid: str, home_vms: Sequence[str], *, limits: Limits = _LIMITS,
                 estimates: Estimates = _ESTIMATES) -> Plan:
    """Choose which of ``home_vms`` (uuids) go back to the host, and when: as many as fit.

    The host is taken as in service, since bringing it back is the step before. A VM that is there already
    or on its way there needs nothing; one that can't go stands in ``left``. Raises KeyError.
    """
    now = snapshot.host(host_uuid)
    home = replace(now, enabled=True, wanted=SERVING, leaving=False)
    left: list[Blocker] = []
    coming: list[Vm] = []
    for uuid in sorted(set(home_vms)):
        vm = snapshot.vms_by_uuid.get(uuid)
        refused = _refusal(snapshot, vm, home) if vm else _gone(uuid)
        if refused:
            left.append(refused)
        elif vm and not _is_home(snapshot, vm, home):
            coming.append(vm)
    pairs, too_many = _fitting(snapshot, home, coming)
    left.sort(key=lambda blocker: (blocker.vm_name, blocker.vm or ""))
    moves, eta = sequence(snapshot, pairs, limits, estimates)
    return Plan(home.uuid, SERVING, moves, eta, (*left, *too_many), snapshot.generation, home.name)


def _refusal(snapshot: Snapshot, vm: Vm, home: Host) -> Blocker | None:
    """Return what keeps ``vm`` from its home, memory aside; None also when it is there."""
    if _is_home(snapshot, vm, home):
        return None
    if vm.resident_on is None:
        return Blocker("VM_BAD_POWER_STATE", vm.uuid, vm.name, home.uuid,
                       f"{vm.name} is {vm.power_state.lower()} now and runs nowhere: nothing to bring home",
                       f"xe vm-start uuid={vm.uuid} on={home.name}")
    elsewhere = snapshot.destinations_to_be.get(vm.uuid)
    if elsewhere:
        return Blocker("OTHER_OPERATION_IN_PROGRESS", vm.uuid, vm.name, home.uuid,
                       f"{vm.name} is being moved to {snapshot.host_name(elsewhere)}",
                       "corral operation-list")
    own = hindrances(vm)
    refused = own[0] if own else static_refusal(snapshot, vm, home)
    return _about(vm, home, refused) if refused else None


def _is_home(snapshot: Snapshot, vm: Vm, home: Host) -> bool:
    return snapshot.destinations_to_be.get(vm.uuid, vm.resident_on) == home.uuid


def _fitting(snapshot: Snapshot, home: Host, vms: Sequence[Vm]) -> tuple[list[tuple[Vm, str]], list[Blocker]]:
    """Return those that go, smallest first since that brings home the most, and a blocker for each other."""
    free = free_map(snapshot)[home.uuid]
    pairs, too_many = list[tuple[Vm, str]](), list[Blocker]()
    for vm in sorted(vms, key=lambda vm: (need_bytes(vm), vm.uuid)):
        refused = memory_refusal(vm, home, free)
        if refused:
            too_many.append(_about(vm, home, refused))
        else:
            free -= need_bytes(vm)
            pairs.append((vm, home.uuid))
    return pairs, too_many


def _about(vm: Vm, home: Host, refused: Blocker) -> Blocker:
    return replace(refused, vm=vm.uuid, vm_name=vm.name, host=home.uuid)


def _gone(uuid: str) -> Blocker:
    return Blocker("VM_NOT_FOUND", uuid, uuid, None, f"VM {uuid} is no longer in the pool", "xe vm-list")
