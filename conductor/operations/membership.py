"""Which tasks come next when a host is brought into a pool or taken out of it.

Pure: a View in, a Decision out.  How a host gets in is settled when its turn comes and
stored in ``options["way"]``: init (it becomes the pool), join, or adopt (it is there).
"""

from dataclasses import replace

from conductor import states
from conductor.operations.judge import is_halfway
from conductor.operations.view import (
    Attention,
    Decision,
    NewTask,
    TaskView,
    View,
    failure,
    sendable,
    until_done,
    withdrawable,
)

_Op, _Task = states.Operation, states.Task


def add(view: View, join_limit_s: float) -> Decision:
    """Decide for aggregate_add_host."""
    if view.state in (_Op.CANCELLING, _Op.FAILING):
        return _undo(view)
    if view.state is not _Op.RUNNING:
        return Decision()
    if view.options["way"] == "join":
        synced = view.latest("sync_database")
        if synced is not None and synced.state is _Task.FAILED:
            # The host is in the pool all the same; xapi writes its database to all members by itself later.
            return Decision(event="verified", result={"warnings": [failure(synced)]})
        decision = _in_turn(view, [
            NewTask("pool_join", {"master_uuid": view.options["master_uuid"],
                                  "master_address": view.options["master_address"]}, limit_s=join_limit_s),
            NewTask("sync_database", executor=view.options["master_host"])])
        return replace(decision, attention=_unfinished(view.latest("pool_join")))
    name = view.options["name_label"] if view.options["way"] == "init" else None
    return _in_turn(view, [NewTask("pool_init", {"name_label": name})])


def _unfinished(join: TaskView | None) -> Attention | None:
    """Return why a person should look at a join that has used up its time and can't be called a failure."""
    if join is None or not join.is_open:
        return None
    read = join.readings
    if join.attempt > 1 and read.get("on_master"):
        at_last = {"slave": "it answered as a member", "unreachable": "it gave no answer"}.get(
            str(read.get("joiner")), f"it was {read.get('joiner')}")
        seen = ("The pool lists the host, which was not seen live and enabled within the time that a join may take; "
                f"when it was last asked, {at_last}")
    elif join.overdue:
        seen = "Nothing was heard of the join for longer than it may take, so nobody knows how it stands"
    else:
        return None
    return Attention("join_unfinished", f"{seen}. Bring the host back, or its agent: the join then goes on by itself. "
                     "If it won't come back, abandon the operation, and remove what the pool still lists of it at the "
                     "pool's master", read)


def remove(view: View, eject_limit_s: float) -> Decision:
    """Decide for aggregate_remove_host: eject, or only take the name off the last one."""
    if view.state in (_Op.CANCELLING, _Op.FAILING):
        return _undo(view)
    if view.state is not _Op.RUNNING:
        return Decision()
    if view.options["way"] == "leave":
        return Decision(event="verified")
    if view.options["way"] == "unname":
        return _in_turn(view, [NewTask("pool_init", {"name_label": ""})])
    eject = view.latest("pool_eject")
    if eject is not None and eject.state is _Task.FAILED and is_halfway(eject.kind, eject.readings):
        return _clear_away(view, eject_limit_s)
    observe = view.latest("observe")
    steps = [NewTask("observe"), NewTask("pool_eject", limit_s=eject_limit_s)]
    if observe is not None and observe.state is _Task.FAILED and failure(observe)["code"] == "host_not_in_pool":
        # Somebody has removed its record: that it is absent is read twice, and nothing is left to be ejected.
        steps = steps[1:]
    return _in_turn(view, steps)


def _clear_away(view: View, limit_s: float) -> Decision:
    """Have the record of a host removed that stands alone already, which xapi allows once it takes it for dead."""
    destroy = view.latest("host_destroy")
    if destroy is None or (destroy.state is _Task.FAILED and view.retried):
        return Decision(create=(NewTask("host_destroy", executor=view.options.get("master_host"), limit_s=limit_s),))
    if destroy.state is _Task.FAILED:
        error = failure(destroy)
        return Decision(attention=Attention(
            "record_left", "The host was ejected and stands alone, but its old pool still lists it, and that record "
            f"could not be removed: {error['message']}. Find out what keeps it, or remove it at the pool's master "
            "(host.destroy), then retry", error))
    return Decision(event="verified") if destroy.state is _Task.DONE else Decision(send=sendable(view, destroy))


def _in_turn(view: View, steps: list[NewTask]) -> Decision:
    """Carry out ``steps`` one after the other; the first that fails for good fails the whole."""
    return next((found for step in steps if (found := until_done(view, step)) is not None),
                Decision(event="verified"))


def _undo(view: View) -> Decision:
    """After a cancel or a failure: await what is in flight; remove the dead record of a failed join."""
    unclaimed = tuple(task.id for task in view.tasks
                      if task.id in withdrawable(view) and task.kind != "host_destroy")
    if unclaimed:
        return Decision(withdraw=unclaimed)
    if any(task.is_claimed for task in view.tasks):
        return Decision()
    join = view.latest("pool_join")
    destroy = view.latest("host_destroy")
    if destroy is None and join is not None and join.state is _Task.FAILED and join.readings.get("on_master"):
        return Decision(create=(NewTask("host_destroy", executor=view.options["master_host"]),))
    if destroy is not None and destroy.is_open:
        return Decision(send=sendable(view, destroy))
    return Decision(event="settled")
