"""Which tasks come next for a host's drain, restore, disabling and enabling, and for one VM's move.

Pure: a View in, a Decision out.  It never asks the database or the clock, so the same
rows lead to the same step in any conductor, also after a restart.
"""

from dataclasses import replace
from typing import Any

from conductor import states
from conductor.operations import lasting
from conductor.operations.calling_off import too_late
from conductor.operations.view import (
    Attention,
    Decision,
    NewTask,
    TaskView,
    View,
    failure,
    ready,
    sendable,
    until_done,
    withdrawable,
)
from conductor.plan.model import Limits, Move
from conductor.plan.schedule import startable

_Op, _Task = states.Operation, states.Task


def drain(view: View, limits: Limits) -> Decision:
    """Decide for maintenance_start: disable, move every VM away, verify that nothing is left."""
    before = _not_running(view) or until_done(view, NewTask("host_disable"))
    if before is not None:
        return before
    decision, rescue, lost = _moves(view, limits), _rescue(view), _not_covered(view)
    if rescue is not None:
        return replace(rescue, send=decision.send)
    if lost or (view.retried and view.options.get("left")):
        return _not_true_any_more(view, decision, lost)
    if not any(task.is_open for task in view.of("vm_migrate") + view.of("vm_start")):
        decision = _verify(view)
    return replace(decision, attention=_slow()) if view.is_slow and decision.attention is None else decision


def restore(view: View, limits: Limits) -> Decision:
    """Decide for maintenance_stop: enable, then bring the host's own VMs home as far as they can go."""
    before = _not_running(view) or until_done(view, NewTask("host_enable"))
    if before is not None:
        return before
    decision, rescue = _moves(view, limits), _rescue(view)
    if rescue is not None:
        return replace(rescue, send=decision.send)
    if any(task.is_open for task in view.of("vm_migrate") + view.of("vm_start")):
        return decision
    stranded = [_blocker(task) for task in view.of("vm_migrate") if task.state is _Task.FAILED]
    return lasting.verified(view, {"not_home": [*view.options.get("left", []), *stranded]})


def relocate(view: View, limits: Limits) -> Decision:
    """Decide for vm_migrate: one move, which is done only when the VM was read at its destination."""
    if view.state in (_Op.CANCELLING, _Op.FAILING):
        return _wind_up(view, None) or Decision(event="settled", result=too_late(view.of("vm_migrate")[-1]))
    if view.state is not _Op.RUNNING:
        return Decision()
    decision, rescue = _moves(view, limits), _rescue(view)
    if rescue is not None or any(task.is_open for task in view.tasks):
        return rescue or decision
    move = view.of("vm_migrate")[-1]
    at = (move.readings.get("vm") or {}).get("resident_on")
    if _has_lost_power(move) or (move.state is _Task.DONE and at == move.args["destination"]):
        return Decision(event="verified")
    if move.state is _Task.DONE:
        return Decision(event="task_failed", error={
            "code": "vm_elsewhere", "details": {}, "message":
            f"{move.shown.get('vm_name')} was shut down, removed or taken elsewhere by somebody else meanwhile"})
    return Decision(event="task_failed", error=failure(move) if move.error else _blocker(move))


def single(view: View, kind: str) -> Decision:
    """Decide for host_disable and host_enable: one task of ``kind``."""
    if view.state is _Op.CANCELLING and kind == "host_disable" and _has_begun(view) and not view.options.get("drift"):
        return _give_back(view)
    if view.state in (_Op.CANCELLING, _Op.FAILING):
        return _let_go(view)
    if view.state is not _Op.RUNNING:
        return Decision()
    if view.options.get("held") and not view.retried and not view.tasks:
        return Decision(attention=Attention("enabled_again", "The host is enabled again and again; find out by whom, "
                                            "then retry, or abandon"))
    return until_done(view, NewTask(kind)) or (
        lasting.verified(view) if kind == "host_disable" else Decision(event="verified"))


def _not_running(view: View) -> Decision | None:
    """Return what is left to do for an operation that does not go forward (any more); None if it does."""
    match view.state:
        case _Op.RUNNING:
            return None
        case _Op.CANCELLING:
            return _give_back(view)
        case _Op.FAILING:
            return _let_go(view)
    return Decision()


def _moves(view: View, limits: Limits) -> Decision:
    """Send the moves that the limits allow right now: whenever one ends, the next may start."""
    waiting = [task for task in view.of("vm_migrate") if ready(task, view.now)]
    in_flight = list(view.in_flight)
    send: list[str] = []
    for plan in dict.fromkeys(task.shown["plan"] for task in waiting):
        of_plan = [task for task in view.of("vm_migrate") if task.shown["plan"] == plan]
        done = {int(task.shown["position"]) for task in of_plan if task.state is _Task.DONE or _has_lost_power(task)}
        moves = {move.position: (task, move) for task in of_plan if task in waiting
                 for move in [Move.from_json(task.shown)]}
        for chosen in startable([move for _, move in moves.values()], in_flight, limits, done):
            send.append(moves[chosen.position][0].id)
            in_flight.append((chosen.source, chosen.destination))
    send += [task.id for task in view.of("vm_start") if ready(task, view.now)]
    return Decision(send=tuple(send))


def _rescue(view: View) -> Decision | None:
    """Start a VM again that lost power in a move of ours; None when there is none to start.

    When a toolstack restarted in mid-move the VM may be running at the destination though
    its record says Halted: starting it there heals the record, starting it elsewhere would
    make two of it.  So it is only ever started on the move's destination, once that is back.
    """
    started = {task.args["vm"]: task for task in view.of("vm_start")}
    for task in view.of("vm_migrate"):
        if not _has_lost_power(task):
            continue
        start = started.get(task.args["vm"])
        # Asked to try again, it is ordered again: what a person did meanwhile is then observed.
        if start is not None and start.position > task.position and not (
                start.state is _Task.FAILED and view.retried):
            continue
        if task.args["destination"] not in view.usable_hosts and not view.retried:
            return Decision(attention=Attention(
                "vm_lost_power", f"{task.shown.get('vm_name')} lost power in its move; it is started on "
                f"{task.shown.get('destination_name')} as soon as that host is live and enabled; "
                "if you have started it yourself, retry", {"vm": task.args["vm"]}))
        return Decision(create=(NewTask("vm_start", {"vm": task.args["vm"], "destination": task.args["destination"]},
                                        {"vm_name": task.shown.get("vm_name")}),))
    failed = [task for task in started.values() if task.state is _Task.FAILED]
    if failed:
        return Decision(attention=Attention("vm_halted", f"{failed[0].shown.get('vm_name')} lost power in its move and "
                                            "could not be started again; start it by hand, then retry",
                                            {"vm": failed[0].args["vm"]}))
    return None


def _not_covered(view: View) -> list[dict[str, Any]]:
    """Return what the plan does not cover any more: VMs whose move failed, and VMs that were found on the host."""
    latest: dict[str, TaskView] = {task.args["vm"]: task for task in view.of("vm_migrate")}
    lost = [_blocker(task) for task in latest.values()
            if task.state in (_Task.FAILED, _Task.SKIPPED) and not task.shown.get("resolved")
            and not _has_lost_power(task)]
    observe = view.latest("observe")
    named = {blocker["vm"] for blocker in [*lost, *view.options.get("left", [])]}
    if observe is not None and observe.state is _Task.PENDING and observe.readings.get("times"):
        for vm in observe.readings["times"][-1].get("resident", []):
            if vm not in named and not (vm in latest and latest[vm].is_open):
                lost.append({"code": "not_in_plan", "vm": vm, "vm_name": vm, "host": None, "help": "",
                             "message": f"VM {vm} is on the host and no move of the plan takes it away"})
    return lost


def _not_true_any_more(view: View, decision: Decision, lost: list[dict[str, Any]]) -> Decision:
    """Plan again, or stop and say so, as the request asked."""
    wanted = view.options.get("if_changed") == "replan" and view.replans_left > 0
    if wanted or view.retried:
        return Decision(send=decision.send, replan=True)
    return Decision(send=decision.send, attention=Attention(
        "plan_changed", "The plan is not true any more: " + "; ".join(blocker["message"] for blocker in lost[:5])
        + ". Retry to plan again from here, or cancel", {"blockers": lost}))


def _verify(view: View) -> Decision:
    """Have the emptiness of the host read; whoever reads it reads twice."""
    if view.arriving:
        # Another operation's move to this host was claimed before the host was taken: it is not empty yet.
        return Decision()
    observe, disable = view.latest("observe"), view.latest("host_disable")
    if observe is None or observe.state in (_Task.FAILED, _Task.SKIPPED):
        return Decision(create=(NewTask("observe"),))
    if observe.state is _Task.DONE and disable is not None and disable.position > observe.position:
        # It was enabled behind our back after it had been seen empty, and is disabled again: it may have got a VM.
        return Decision(create=(NewTask("observe"),))
    if observe.state is _Task.DONE:
        return lasting.verified(view)
    return Decision(send=sendable(view, observe), attention=_left_behind(view))


def _left_behind(view: View) -> Attention | None:
    left = view.options.get("left", [])
    if not left:
        return None
    return Attention("left_behind", "VMs that can't be moved keep the host from being empty: "
                     + "; ".join(blocker["message"] for blocker in left[:5])
                     + ". Clear what holds them and retry, or shut them down", {"blockers": left})


def _slow() -> Attention:
    return Attention("slow", "It takes more than twice as long as planned")


def _give_back(view: View) -> Decision:
    """After a cancel: await what is in flight, then put the host back into service; moved VMs stay."""
    enable = view.latest("host_enable")
    first = _wind_up(view, enable)
    if first is not None:
        return first
    if enable is None or (enable.state is _Task.FAILED and view.retried):
        return Decision(create=(NewTask("host_enable"),))
    if enable.state is _Task.FAILED:
        return Decision(attention=Attention("not_given_back", "The host could not be put back into service: "
                                            + str((enable.error or {}).get("message")), enable.error or {}))
    if enable.state is _Task.DONE:
        return Decision(event="settled")
    return Decision(send=sendable(view, enable))


def _let_go(view: View) -> Decision:
    """After a failure: await what is in flight and leave the host as it is."""
    return _wind_up(view, None) or Decision(event="settled")


def _wind_up(view: View, keep: TaskView | None) -> Decision | None:
    """Withdraw what nobody claimed, await what is in flight, start what lost power in it; None when that is done."""
    kept = {task.id for task in (keep, *view.of("vm_start")) if task is not None}
    unclaimed = tuple(task for task in withdrawable(view) if task not in kept)
    if unclaimed:
        return Decision(withdraw=unclaimed)
    if any(task.is_claimed for task in view.tasks if task is not keep):
        return Decision()
    starting = [task for task in view.of("vm_start") if task.is_open]
    if starting:
        return Decision(send=tuple(task.id for task in starting if ready(task, view.now)))
    return _rescue(view)


def _has_begun(view: View) -> bool:
    """Return whether a task of the operation may have had an effect."""
    return any(task.state not in (_Task.PENDING, _Task.SENT, _Task.SKIPPED) for task in view.tasks)


def _has_lost_power(move: TaskView) -> bool:
    return move.state is _Task.FAILED and (move.error or {}).get("code") == "vm_lost_power"


def _blocker(task: TaskView) -> dict[str, Any]:
    error = task.error or {}
    if task.state is _Task.SKIPPED:
        error = {"code": "destination_taken", "message": "that host is being taken out of service"}
    return {"code": error.get("code", "move_failed"), "vm": task.args["vm"], "vm_name": task.shown.get("vm_name"),
            "host": task.args["destination"], "help": "",
            "message": f"{task.shown.get('vm_name')} could not be moved to {task.shown.get('destination_name')}: "
                       f"{error.get('message', 'it had no effect')}"}
