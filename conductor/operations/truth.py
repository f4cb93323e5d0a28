"""Whether a plan that was shown is still true: what a fresh look at the pool says against it.

Pure: a snapshot and a plan in, sentences out.
"""

from conductor.plan import model
from conductor.plan.eligibility import hindrances, static_refusal
from conductor.plan.sequence import sequence


def what_changed(seen: model.Snapshot, plan: model.Plan) -> list[str]:
    """Return why the drain's plan can't be run as it stands, one sentence for each reason; empty when it can."""
    covered = {move.vm for move in plan.moves} | {blocker.vm for blocker in plan.left}
    changed = [f"{vm.name} is on the host now" for vm in seen.residents[plan.host]
               if not vm.control_domain and vm.uuid not in covered]
    pairs = []
    for move in plan.moves:
        vm = seen.vms_by_uuid.get(move.vm)
        if vm is None or vm.power_state == "Halted":
            continue        # gone or shut down by its owner: nothing to move, and no harm
        to = seen.hosts_by_uuid.get(move.destination)
        refused = next(iter(hindrances(vm)), None) or (static_refusal(seen, vm, to) if to else None)
        if vm.resident_on != move.source:
            changed.append(f"{move.vm_name} is not on {move.source_name} any more")
        elif to is None:
            changed.append(f"{move.destination_name} is not in the pool any more")
        elif refused is not None:
            changed.append(f"{move.vm_name} can't go to {move.destination_name} any more: {refused.message}")
        else:
            pairs.append((vm, move.destination))
    if not changed:
        changed += _lacking_memory(seen, pairs)
    return changed


def _lacking_memory(seen: model.Snapshot, pairs: list[tuple[model.Vm, str]]) -> list[str]:
    try:
        sequence(seen, pairs, model.Limits(), model.Estimates())
    except ValueError as exc:
        return [str(exc)]
    return []
