"""Getters, setters and listings of all classes, from the table."""

from typing import TYPE_CHECKING, Any

from agent.simulator import filters
from agent.simulator.database import Database, Row
from agent.simulator.derived import field_value, full_record
from agent.simulator.failure import Failure
from agent.simulator.table import NULL, Message

if TYPE_CHECKING:
    from agent.simulator.call import Call


def check_handle(db: Database, cls: str, ref: str) -> None:
    """Raise HANDLE_INVALID unless the reference is valid."""
    if cls in db.rows and ref not in db.rows[cls]:
        raise Failure("HANDLE_INVALID", cls, ref)


def check_handles(db: Database, message: Message, args: list[Any]) -> None:
    """Raise HANDLE_INVALID for the first bad reference among the arguments; NULL passes but as the first or a host."""
    for position, ((_name, kind), value) in enumerate(zip(message.params, args, strict=True)):
        stored = message.kind in ("set", "add", "remove") and position > 0  # xapi takes any text there
        absent = value == NULL and position > 0 and kind != "host ref"
        if kind.endswith(" ref") and not stored and not absent:
            check_handle(db, kind[:-4], value)


def serve(call: "Call", args: list[Any]) -> Any:
    """Answer a derived message."""
    db, cls, kind, field = call.db, call.message.cls, call.message.kind, call.message.field
    if kind in ("all", "all_records", "by_uuid", "by_name", "where"):
        return _listing(db, cls, kind, args)
    ref = args[0]
    if kind == "record":
        return full_record(db, cls, ref)
    if kind == "get":
        return field_value(db, cls, ref, field)
    old = db.get(cls, ref, field)
    change(db, cls, ref, field, kind, args[1:], old)
    return None


def _listing(db: Database, cls: str, kind: str, args: list[Any]) -> Any:
    if kind == "all":
        return db.refs(cls)
    if kind == "all_records":
        return {ref: full_record(db, cls, ref) for ref in db.refs(cls)}
    if kind == "where":
        return matching(db, cls, args[0])
    if kind == "by_name":
        return [ref for ref in db.refs(cls) if db.get(cls, ref, "name_label") == args[0]]
    found = db.by_uuid(cls, args[0])
    if found is None:
        raise Failure("UUID_INVALID", cls, args[0])
    return found


def matching(db: Database, cls: str, expression: str) -> dict[str, Row]:
    """Return the records for which an expression holds; raises INVALID_VALUE."""
    test = filters.parse(expression)
    columns = {filters.column(cls, field): field for field in db.table.classes[cls].defaults}

    def value(ref: str, name: str) -> str:
        if name not in columns:
            raise Failure("INTERNAL_ERROR", f'Db_exn.DBCache_NotFound("missing field", "{name}", "")')
        return filters.text_of(field_value(db, cls, ref, columns[name]))

    return {ref: full_record(db, cls, ref) for ref in db.refs(cls) if test(lambda name: value(ref, name))}  # noqa: B023


def change(db: Database, cls: str, ref: str, field: str, kind: str, args: list[Any], old: Any) -> None:
    """Set a field, or a part of a map or set; raises MAP_DUPLICATE_KEY."""
    if kind == "set":
        new = args[0]
        if isinstance(new, dict) and "" in new:
            raise Failure("INTERNAL_ERROR", "Db_exn.Empty_key_in_map")
    elif kind == "add_to":
        key, value = args
        if key == "":
            raise Failure("INTERNAL_ERROR", "Db_exn.Empty_key_in_map")
        if key in old:
            raise Failure("MAP_DUPLICATE_KEY", cls, field, ref, key)
        new = {**old, key: value}
    elif kind == "remove_from":
        new = {key: value for key, value in old.items() if key != args[0]}
    elif kind == "add":
        new = old if args[0] in old else [*old, args[0]]
    else:
        new = [item for item in old if item != args[0]]
    db.set(cls, ref, **{field: new})
