"""Calls of the class message: notices about objects, which clients write and read."""

from typing import TYPE_CHECKING, Any

from agent.simulator.failure import Failure
from agent.simulator.generic import check_handle

if TYPE_CHECKING:
    from agent.simulator.call import Call

OWNERS = {"Host": "host", "Pool": "pool"}  # the enumeration spells some classes in its own way


def create(call: "Call", name: str, priority: int, cls: str, obj_uuid: str, body: str) -> str:
    """Write a notice about an object; raises UUID_INVALID."""
    owner = OWNERS.get(cls, cls)
    if call.db.by_uuid(owner, obj_uuid) is None:
        raise Failure("UUID_INVALID", cls, obj_uuid)
    return call.db.add("message", {"name": name, "priority": priority, "cls": cls, "obj_uuid": obj_uuid,
                                   "timestamp": call.world.moment(), "body": body})


def destroy(call: "Call", message: str) -> None:
    """Remove a notice."""
    call.db.delete("message", message)


def destroy_many(call: "Call", messages: list[str]) -> None:
    """Remove notices; all must be there."""
    for ref in messages:
        check_handle(call.db, "message", ref)
    for ref in messages:
        call.db.delete("message", ref)


def get(call: "Call", cls: str, obj_uuid: str, since: str) -> dict[str, Any]:
    """Return the notices about one object from a moment on."""
    return {ref: record for ref, record in get_since(call, since).items()
            if (record["cls"], record["obj_uuid"]) == (cls, obj_uuid)}


def get_since(call: "Call", since: str) -> dict[str, Any]:
    """Return the notices from a moment on."""
    records = {ref: call.db.record("message", ref) for ref in call.db.refs("message")}
    return {ref: record for ref, record in records.items() if record["timestamp"] >= since}


CALLS = {"message.create": create, "message.destroy": destroy, "message.destroy_many": destroy_many,
         "message.get": get, "message.get_since": get_since}
