"""Calls of the classes session and task."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agent.simulator import daemons, migrations
from agent.simulator.database import Database
from agent.simulator.failure import Dropped, Failure
from agent.simulator.table import NULL
from agent.simulator.timing import FAILED_LOGIN, SESSION_IDLE, SESSION_NOTED, SESSIONS_KEPT

if TYPE_CHECKING:
    from agent.simulator.call import Call
    from agent.simulator.world import World

STATUSES = ("pending", "success", "failure", "cancelling", "cancelled")


@dataclass
class LateRefusal:
    """A login that fails only after a while, so that guessing is slow."""

    address: str
    incarnation: int
    due: float
    user: str

    def poll(self, world: "World") -> tuple[bool, Any]:
        """See call.Waiting."""
        if world.nodes[self.address].incarnation != self.incarnation:
            raise Dropped
        if world.now < self.due:
            return False, None
        raise Failure("SESSION_AUTHENTICATION_FAILED", self.user, "Authentication failure")


def login_with_password(call: "Call", uname: str, pwd: str, _version: str, originator: str) -> Any:
    """Answer with a session, or refuse after the delay."""
    world = call.world
    if uname != "root" or pwd != call.node.password:
        world.later(FAILED_LOGIN, "tick")
        return LateRefusal(call.node.address, call.node.incarnation, world.now + FAILED_LOGIN, uname)
    collect(call, originator)
    return call.db.add("session", {
        "this_host": world.host_of(call.node), "this_user": NULL, "last_active": world.moment(), "pool": False,
        "is_local_superuser": True, "validation_time": world.moment(), "auth_user_name": "root",
        "originator": originator})


def collect(call: "Call", originator: str) -> None:
    """End sessions that were idle for a day, and the oldest of an originator that has too many."""
    db = call.db
    last = {ref: str(db.get("session", ref, "last_active")) for ref in db.refs("session")}
    oldest = call.world.moment(call.world.now - SESSION_IDLE)
    gone = {ref for ref, at in last.items() if at < oldest}
    own = [ref for ref in last if db.get("session", ref, "originator") == originator and ref not in gone]
    gone |= set(sorted(own, key=lambda ref: last[ref])[:max(0, len(own) + 1 - SESSIONS_KEPT)])
    for ref in gone:
        db.delete("session", ref)


def is_open(world: "World", db: Database, session: str) -> bool:
    """Tell whether a session is one; one that was idle for a day ends here, if no login has ended it before."""
    if db.has("session", session) and db.get("session", session, "last_active") < world.moment(
            world.now - SESSION_IDLE):
        db.delete("session", session)
    return db.has("session", session)


def used(call: "Call") -> None:
    """Note that a session is in use; xapi writes it down every ten minutes at most."""
    last = call.db.get("session", call.session, "last_active")
    if last < call.world.moment(call.world.now - SESSION_NOTED):
        call.db.set("session", call.session, last_active=call.world.moment())


def logout(call: "Call") -> None:
    """End the session; a migration from the master that does not stream yet loses its way (seen)."""
    call.db.delete("session", call.session)
    migrations.session_ended(call.world, call.node, call.session)


def get_all_subject_identifiers(_call: "Call") -> list[str]:
    """Return nobody: all sessions are of local root, who is no subject of a directory (seen)."""
    return []


def create(call: "Call", label: str, description: str) -> str:
    """Add a task of the client's own; it lives until it is destroyed."""
    return call.world.new_task(call.node.pool, label, call.session, description=description,
                               subtask_of=call.subtask_of)


def destroy(call: "Call", task: str) -> None:
    """Remove a finished task; a pending one is only marked (seen)."""
    if call.db.get("task", task, "status") == "pending":
        _mark(call, task, "destroy")
    else:
        call.db.delete("task", task)


def cancel(call: "Call", task: str) -> None:
    """Ask for the end of a task; what cannot be cancelled goes on all the same."""
    if call.db.get("task", task, "status") == "pending":
        daemons.assert_known(call.world, task)
        _mark(call, task, "cancel")
        migrations.cancel_asked(call.world, call.node.pool, task)


def _mark(call: "Call", task: str, operation: str) -> None:
    current = call.db.get("task", task, "current_operations")
    call.db.set("task", task, current_operations={**current, task: operation})


def set_status(call: "Call", task: str, value: str) -> None:
    """Set the status, and nothing else (seen: `finished` stays 1970)."""
    if value not in STATUSES:
        raise Failure("INTERNAL_ERROR", 'Failure("Unknown tag/contents")')
    call.db.set("task", task, status=value)


def set_progress(call: "Call", task: str, value: float) -> None:
    """Set the progress; xapi allows it on any task."""
    call.db.set("task", task, progress=value)


def set_result(call: "Call", task: str, value: str) -> None:
    """Set the result text."""
    call.db.set("task", task, result=value)


def set_error_info(call: "Call", task: str, value: list[str]) -> None:
    """Set the error list."""
    call.db.set("task", task, error_info=value)


def set_other_config(call: "Call", task: str, value: dict[str, str]) -> None:
    """Replace the tags."""
    call.db.set("task", task, other_config=value)


def add_to_other_config(call: "Call", task: str, key: str, value: str) -> None:
    """Add one tag; MAP_DUPLICATE_KEY if it is there."""
    old = call.db.get("task", task, "other_config")
    if not key:
        raise Failure("INTERNAL_ERROR", "Db_exn.Empty_key_in_map")
    if key in old:
        raise Failure("MAP_DUPLICATE_KEY", "task", "other_config", task, key)
    call.db.set("task", task, other_config={**old, key: value})


def remove_from_other_config(call: "Call", task: str, key: str) -> None:
    """Remove one tag; absent is no error."""
    old = call.db.get("task", task, "other_config")
    call.db.set("task", task, other_config={name: value for name, value in old.items() if name != key})


CALLS = {
    "session.login_with_password": login_with_password, "session.logout": logout,
    "session.get_all_subject_identifiers": get_all_subject_identifiers,
    "task.create": create, "task.destroy": destroy, "task.cancel": cancel, "task.set_status": set_status,
    "task.set_progress": set_progress, "task.set_result": set_result, "task.set_error_info": set_error_info,
    "task.set_other_config": set_other_config, "task.add_to_other_config": add_to_other_config,
    "task.remove_from_other_config": remove_from_other_config,
}
