"""Plans how all VMs leave a host, or says everything that prevents it; stores and starts nothing."""
from conductor.plan.advice import smallest_change
from conductor.plan.eligibility import hindrances, host_refusal, pair_refusal
from conductor.plan.memory import need_bytes
from conductor.plan.model import MAINTENANCE, Blocker, Estimates, Host, Limits, Plan, Refusal, Snapshot, Vm
from conductor.plan.placement import Placement, place
from conductor.plan.sequence import sequence

_LIMITS = Limits()
_ESTIMATES = Estimates()


def plan_drain(snapshot: Snapshot, host_uuid: str, *, limits: Limits = _LIMITS,
               estimates: Estimates = _ESTIMATES, allow_partial: bool = False) -> Plan | Refusal:
    """Choose a destination and a time for every VM on the host; control domains stay.

    Returns one Move for each running VM, and for third VMs that make room; a VM that somebody moves off
    the host already has none. With ``allow_partial`` the VMs that can't move stand in ``left``, otherwise
    one of them refuses the whole. Raises KeyError.
    """
    host = snapshot.host(host_uuid)
    if not host.live:
        return _not_live(host)
    staying = sorted((vm for vm in snapshot.residents[host.uuid] if _has_to_leave(snapshot, vm)),
                     key=lambda vm: (vm.name, vm.uuid))
    hindered = [vm for vm in staying if hindrances(vm)]
    movable = [vm for vm in staying if not hindrances(vm)]
    placement = place(snapshot, host.uuid, movable)
    blockers = tuple(sorted((*_hindered_blockers(snapshot, host, hindered), *placement.blockers),
                            key=lambda blocker: (blocker.vm_name, blocker.vm or "", blocker.code)))
    if blockers and not allow_partial:
        change = smallest_change(snapshot, host.uuid, hindered, movable, placement)
        return Refusal(blockers, change, host.uuid, host.name)
    moves, eta = sequence(snapshot, _pairs(snapshot, placement), limits, estimates)
    return Plan(host.uuid, MAINTENANCE, moves, eta, blockers, snapshot.generation, host.name)


def _has_to_leave(snapshot: Snapshot, vm: Vm) -> bool:
    on_its_way = snapshot.destinations_to_be.get(vm.uuid, vm.resident_on) != vm.resident_on
    return not vm.control_domain and not on_its_way


def _pairs(snapshot: Snapshot, placement: Placement) -> list[tuple[Vm, str]]:
    """Return who goes where: third VMs in their order, then the others.

    Smallest first, so that as few as possible count as those who have to wait for room.
    """
    thirds = [(snapshot.vm(uuid), host) for uuid, host in placement.cleared.items()]
    movers = [(snapshot.vm(uuid), host) for uuid, host in placement.assigned.items()]
    return [*thirds, *sorted(movers, key=lambda pair: (need_bytes(pair[0]), pair[0].uuid))]


def _hindered_blockers(snapshot: Snapshot, source: Host, vms: list[Vm]) -> list[Blocker]:
    """Return what holds these VMs, and what would next: nobody should clear the one to meet the other."""
    nowhere = [vm for vm in vms if not any(
        host.uuid != source.uuid and not host_refusal(snapshot, host) and not pair_refusal(snapshot, vm, host)
        for host in snapshot.hosts)]
    return [*(blocker for vm in vms for blocker in hindrances(vm)),
            *place(snapshot, source.uuid, nowhere).blockers]


def _not_live(host: Host) -> Refusal:
    blocker = Blocker("HOST_NOT_LIVE", None, "", host.uuid,
                      f"{host.name} is not live, so nothing can migrate off it",
                      f"start {host.name} or repair its network")
    return Refusal((blocker,), None, host.uuid, host.name)
