"""Compare the simulator's table with a dump of the real data model.

    python -m agent.simulator.check_datamodel FILE

FILE is JSON: classes -> {fields: {type, q, state}, messages: {params, result, async, session,
defaults}}. Prints one line per difference and a summary; ends 1 if there is any. Judges only what
the table carries: classes and messages that it leaves out are not differences.
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


def message_differences(table: Table, real: dict[str, Any]) -> Iterator[str]:
    """Yield a line for each served message that differs in parameters, result or asynchronous form."""
    for message in table.messages.values():
        entry = real.get(message.cls, {}).get("messages", {}).get(message.name)
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


def compare(table: Table, real: dict[str, Any]) -> list[str]:
    """Return all differences between the table and the real data model's classes."""
    return [*field_differences(table, real), *message_differences(table, real)]


def main(argv: list[str]) -> int:
    """Print the differences; return 0 for none, 1 for any, 2 for bad usage."""
    if len(argv) != 1:
        sys.stderr.write("usage: python -m agent.simulator.check_datamodel FILE\n")
        return 2
    try:
        real = json.loads(Path(argv[0]).read_text(encoding="utf-8"))["classes"]
    except (OSError, ValueError, KeyError) as exc:
        sys.stderr.write(f"cannot read a data model from {argv[0]}: {exc}\n")
        return 2
    table = load_table()
    differences = compare(table, real)
    sys.stdout.writelines(f"{line}\n" for line in differences)
    fields = sum(len(info.fields) for info in table.classes.values())
    sys.stdout.write(f"{len(table.classes)} classes, {fields} fields, {len(table.messages)} messages compared: "
                     f"{len(differences)} differences\n")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
