"""Compare the simulator's table with a dump of the real data model.

    python -m agent.simulator.check_datamodel FILE

FILE is JSON: classes -> {fields: {type, q, state}, messages: {params, result, async, session,
defaults}}, hidden_messages -> names. Prints one line per difference and a summary; ends 1 if there is
any. Judges the classes that the table carries, with all their messages: one that the table lacks is a
difference, one that it only names (`unserved`) is compared like those that are simulated.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agent.simulator.table import Table, load_table

ACCESS = {"RW": "rw", "RO/constructor": "ctor", "RO/runtime": "ro"}


def field_differences(table: Table, real: dict[str, Any]) -> Iterator[str]:
    """Yield a line for each field that is missing, invented, or of another type or access."""
    for cls, info in table.classes.items():
        if cls not in real:
            yield f"{cls}: no such class"
            continue
        theirs = real[cls]["fields"]
        for name in sorted(set(info.fields) ^ set(theirs)):
            yield f"{cls}.{name}: {'invented' if name in info.fields else 'field is missing'}"
        for name, field in info.fields.items():
            if name in theirs:
                entry = theirs[name]
                access = "gone" if entry["state"] == "removed" else ACCESS[entry["q"]]
                if (field.type, field.access) != (entry["type"], access):
                    yield f"{cls}.{name}: {field.access} {field.type}, real {access} {entry['type']}"


def missing_messages(table: Table, real: dict[str, Any]) -> Iterator[str]:
    """Yield a line for each message of a carried class that the table does not know."""
    for cls in table.classes:
        for name in real.get(cls, {}).get("messages", {}):
            if f"{cls}.{name}" not in table.messages:
                yield f"{cls}.{name}: message is missing"


def message_differences(table: Table, real: dict[str, Any], hidden: dict[str, Any]) -> Iterator[str]:
    """Yield a line for each message that differs in parameters, result or asynchronous form.

    Of hidden ones the dump tells no parameters; that they exist is all that is compared.
    """
    for message in table.messages.values():
        entry = real.get(message.cls, {}).get("messages", {}).get(message.name)
        if entry is None and message.name in hidden.get(message.cls, {}):
            continue
        if entry is None:
            yield f"{message.full_name}: no such message"
            continue
        session = (("session_id", "session ref"),) if message.needs_session else ()
        theirs = tuple((name, kind) for name, kind in entry["params"])
        if session + message.params != theirs:
            yield f"{message.full_name}: parameters {session + message.params}, real {theirs}"
        if message.result != entry["result"]:
            yield f"{message.full_name}: result {message.result}, real {entry['result']}"
        if (message.is_async, message.needs_session) != (entry["async"], entry["session"]):
            yield f"{message.full_name}: async or session flag differs"
        if list(message.defaults) != list((entry.get("defaults") or {}).values()):
            yield f"{message.full_name}: defaults {message.defaults}, real {entry.get('defaults')}"


def compare(table: Table, real: dict[str, Any], hidden: dict[str, Any]) -> list[str]:
    """Return all differences between the table and the real data model's classes."""
    return [*field_differences(table, real), *missing_messages(table, real),
            *message_differences(table, real, hidden)]


def main(argv: list[str]) -> int:
    """Print the differences; return 0 for none, 1 for any, 2 for bad usage."""
    if len(argv) != 1:
        sys.stderr.write("usage: python -m agent.simulator.check_datamodel FILE\n")
        return 2
    try:
        dump = json.loads(Path(argv[0]).read_text(encoding="utf-8"))
        real, hidden = dump["classes"], dump.get("hidden_messages", {})
    except (OSError, ValueError, KeyError) as exc:
        sys.stderr.write(f"cannot read a data model from {argv[0]}: {exc}\n")
        return 2
    table = load_table()
    differences = compare(table, real, hidden)
    sys.stdout.writelines(f"{line}\n" for line in differences)
    fields = sum(len(info.fields) for info in table.classes.values())
    unserved = sum(message.kind == "unserved" for message in table.messages.values())
    sys.stdout.write(f"{len(table.classes)} classes, {fields} fields, {len(table.messages)} messages "
                     f"({unserved} not simulated) compared: {len(differences)} differences\n")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
