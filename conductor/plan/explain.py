"""Plans and refusals in words; tables are the commands' own affair."""
from conductor.plan.model import MAINTENANCE, Blocker, Plan, Refusal
from conductor.plan.wording import count, listing, size, span


def summary(plan: Plan) -> str:
    """Return the plan in one line."""
    verb = "drain" if plan.wanted == MAINTENANCE else "bring home the VMs of"
    what = f"{verb} {plan.host_name or plan.host}"
    if not plan.moves:
        return f"{what}: nothing to move" + _left(plan)
    places = len({move.destination for move in plan.moves})
    amount = size(sum(move.memory_bytes for move in plan.moves))
    how_long = f"about {span(plan.eta.likely_s)} ({span(plan.eta.low_s)} to {span(plan.eta.high_s)})"
    moves = f"{count(len(plan.moves), 'move')} to {count(places, 'host')}"
    return f"{what}: {moves}, {amount}, {how_long}" + _left(plan)


def lines(plan: Plan) -> list[str]:
    """Return the summary and one line for each VM that stays."""
    return [summary(plan), *(blocker_line(blocker) for blocker in plan.left)]


def sentence(refusal: Refusal) -> str:
    """Return the refusal in one or two sentences; the blockers themselves come with it."""
    where = refusal.host_name or refusal.host or "the host"
    names = list(dict.fromkeys(blocker.vm_name for blocker in refusal.blockers if blocker.vm))
    if names:
        said = f"{where} can't be drained: {count(len(names), 'VM')} can't leave ({listing(names)})."
    else:
        said = f"{where} can't be drained: {listing([blocker.message for blocker in refusal.blockers])}."
    return said + (f" It would be enough to {refusal.smallest_change}." if refusal.smallest_change else "")


def blocker_line(blocker: Blocker) -> str:
    """Return code, reason and the command that helps."""
    return f"{blocker.code}: {blocker.message} (try: {blocker.help})"


def _left(plan: Plan) -> str:
    return f"; {count(len(plan.left), 'VM')} can't move" if plan.left else ""
