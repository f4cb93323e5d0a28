"""The last step of what takes a host out of service or gives it back: that the pool does not forget it.

Pure: a View in, a Decision out.  A master whose toolstack is killed soon forgets what its
database had not written yet: flags, marks, where VMs are.  So it is written on all members
once, when all has been verified.  Nothing depends on that: whatever comes of it, the
operation ends as it would have without it, with a warning if need be.
"""

from typing import Any

from conductor import states
from conductor.operations.view import Decision, NewTask, TaskView, View, failure, sendable, withdrawable

#: within which an agent asks again when it gets no answer, for the host is held meanwhile
LIMIT_S = 30.0

_Task = states.Task


def verified(view: View, result: dict[str, Any] | None = None) -> Decision:
    """End with ``result`` once the pool's database was written, or could not be, which is a warning."""
    written = view.latest("sync_database")
    if written is None and view.pool_size < 2:
        return Decision(event="verified", result=result)
    if written is None and view.writer is not None:
        return Decision(create=(NewTask("sync_database", executor=view.writer, limit_s=LIMIT_S),))
    if written is not None and written.is_open:
        if view.writer is None and written.id in withdrawable(view):
            return Decision(withdraw=(written.id,))
        return Decision(send=sendable(view, written))
    if written is None or written.state is not _Task.DONE:
        result = {**(result or {}), "warnings": [_warning(written)]}
    return Decision(event="verified", result=result)


def _warning(written: TaskView | None) -> dict[str, Any]:
    why = "no agent of the pool can be asked now" if written is None or written.state is _Task.SKIPPED else str(
        failure(written)["message"])
    return {"code": "database_not_written", "details": {} if written is None else written.error or {},
            "message": f"The pool's database could not be written on all its members: {why}. xapi writes it by itself "
                       "after a while; what this operation did may be forgotten if the master's toolstack is killed "
                       "before that"}
