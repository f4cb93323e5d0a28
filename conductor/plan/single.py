"""Plans one VM's move to a host that is named, or to the one that suits best; touches no other VM."""
from dataclasses import replace

from conductor.plan.eligibility import hindrances, memory_refusal, static_refusal
from conductor.plan.memory import free_map
from conductor.plan.model import SERVING, Blocker, Estimates, Host, Limits, Plan, Refusal, Snapshot, Vm
from conductor.plan.sequence import sequence

_LIMITS = Limits()
_ESTIMATES = Estimates()


def plan_move(snapshot: Snapshot, vm_uuid: str, destination: str | None = None, *, limits: Limits = _LIMITS,
              estimates: Estimates = _ESTIMATES) -> Plan | Refusal:
    """Choose where the VM goes: fewest others of its anti-affinity groups first, then the most free memory.

    Returns a plan of one Move, or every host's refusal. Raises KeyError.
    """
    vm = snapshot.vm(vm_uuid)
    source, name = vm.resident_on or "", snapshot.host_name(vm.resident_on)
    free = free_map(snapshot)
    asked = [host for host in snapshot.hosts if host.uuid == destination or (not destination and host.uuid != source)]
    refused = {host.uuid: static_refusal(snapshot, vm, host) or memory_refusal(vm, host, free[host.uuid])
               for host in asked}
    fitting = [host for host in asked if refused[host.uuid] is None]
    own = hindrances(vm)
    if own or not fitting:
        there = [replace(one, vm=vm.uuid, vm_name=vm.name) for one in refused.values() if one]
        return Refusal((*own, *there) or (_nowhere(vm),), None, source, name)
    best = min(fitting, key=lambda host: (_peers(snapshot, vm, host), -free[host.uuid], host.name))
    moves, eta = sequence(snapshot, [(vm, best.uuid)], limits, estimates)
    return Plan(source, SERVING, moves, eta, (), snapshot.generation, name)


def _peers(snapshot: Snapshot, vm: Vm, host: Host) -> int:
    """Return how many VMs of the same anti-affinity groups are on the host or on their way there."""
    groups = vm.groups & snapshot.anti_affinity_groups
    return sum(bool(groups & other.groups) for other in snapshot.vms if other.uuid != vm.uuid
               and snapshot.destinations_to_be.get(other.uuid, other.resident_on) == host.uuid)


def _nowhere(vm: Vm) -> Blocker:
    return Blocker("NO_HOSTS_AVAILABLE", vm.uuid, vm.name, None, f"there is no other host that {vm.name} could go to",
                   "add a host to the aggregate")
