"""The classes, fields and messages the simulator serves, read from datamodel.json.

The data file holds facts only: one line per field ("rw string", "ro enum x = first") and one
per message that is not derived ("async (vm: VM ref) void"). Getters, setters and listings are
derived here by the rule the real data model follows. Knows nothing of objects or behaviour.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

NULL = "OpaqueRef:NULL"
EPOCH = "19700101T00:00:00Z"
DATA_FILE = Path(__file__).with_name("datamodel.json")


class Moment(str):
    """A date as it stands on the wire, `YYYYMMDDTHH:MM:SSZ`."""

    __slots__ = ()


@dataclass(frozen=True)
class Field:
    """One field: `access` is rw, ctor (set at create), ro or gone (its getter says MESSAGE_REMOVED)."""

    name: str
    access: str
    type: str
    default: Any


@dataclass(frozen=True)
class Message:
    """One callable message; `kind` is custom, or names the generic behaviour and `field` its field."""

    cls: str
    name: str
    params: tuple[tuple[str, str], ...]
    result: str
    is_async: bool = False
    needs_session: bool = True
    kind: str = "custom"
    field: str = ""
    defaults: tuple[Any, ...] = ()

    @property
    def full_name(self) -> str:
        """Return `Class.message`."""
        return f"{self.cls}.{self.name}"

    @property
    def required(self) -> int:
        """Return how many parameters must be given, the session not counted."""
        return len(self.params) - len(self.defaults)


@dataclass(frozen=True)
class ClassInfo:
    """One class with its carried fields, in the order of the wire."""

    name: str
    fields: dict[str, Field]
    defaults: dict[str, Any]


class Table:
    """All classes and messages by name."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.classes: dict[str, ClassInfo] = {}
        self.messages: dict[str, Message] = {}
        for cls, entry in data.items():
            fields = {name: parse_field(name, text) for name, text in entry["fields"].items()}
            present = {name: field.default for name, field in fields.items() if field.access != "gone"}
            self.classes[cls] = ClassInfo(cls, fields, present)
            without = entry.get("without", [])
            if "*" not in without:
                for message in derived_messages(cls, fields):
                    if message.name not in without:
                        self.messages[message.full_name] = message
            for name, text in entry["messages"].items():
                self.messages[f"{cls}.{name}"] = parse_message(cls, name, text)
        self.by_lower = {cls.lower(): cls for cls in self.classes}


@cache
def load_table() -> Table:
    """Read the data file once."""
    return Table(json.loads(DATA_FILE.read_text(encoding="utf-8")))


def zero_of(kind: str) -> Any:
    """Return the value of a field of this type for which the table names none."""
    if kind.endswith(" set"):
        return []
    if kind.endswith(" map"):
        return {}
    if kind.endswith(" ref"):
        return NULL
    return {"int": 0, "float": 0.0, "bool": False, "datetime": Moment(EPOCH)}.get(kind, "")


def parse_field(name: str, text: str) -> Field:
    """Read one field line, `<access> <type>[ = <default>]`."""
    access, _, rest = text.partition(" ")
    kind, _, given = rest.partition(" = ")
    default = zero_of(kind)
    if given:
        converters: dict[str, Callable[[str], Any]] = {"int": int, "float": float, "bool": "true".__eq__}
        default = converters.get(kind, str)(given)
    return Field(name, access, kind, default)


def parse_message(cls: str, name: str, text: str) -> Message:
    """Read one message line, `[async ][open ](<name>: <type>[ = <json>], ...) <result>`."""
    is_async = text.startswith("async ")
    text = text.removeprefix("async ")
    needs_session = not text.startswith("open ")
    text = text.removeprefix("open ")
    end = closing(text)
    params, defaults = [], []
    for part in filter(None, re.split(r", (?=\w+: )", text[1:end])):
        declared, _, default = part.partition(" = ")
        param, _, kind = declared.partition(": ")
        params.append((param, kind))
        if default:
            defaults.append(json.loads(default))
    result = text[end + 2:]
    return Message(cls, name, tuple(params), result, is_async, needs_session, defaults=tuple(defaults))


def closing(text: str) -> int:
    """Return where the parenthesis that a text begins with is closed."""
    depth = 0
    for position, char in enumerate(text):
        depth += {"(": 1, ")": -1}.get(char, 0)
        if depth == 0:
            return position
    raise ValueError(f"no closing parenthesis in {text!r}")


def derived_messages(cls: str, fields: dict[str, Field]) -> Iterator[Message]:
    """Yield the messages that every class has because of its fields."""
    me, ref = ("self", f"{cls} ref"), f"{cls} ref"

    def derived(name: str, params: tuple[tuple[str, str], ...], result: str, kind: str, field: str) -> Message:
        return Message(cls, name, params, result, kind=kind, field=field)

    yield derived("get_record", (me,), f"{cls} record", "record", "")
    yield derived("get_by_uuid", (("uuid", "string"),), ref, "by_uuid", "")
    yield derived("get_all", (), f"{ref} set", "all", "")
    yield derived("get_all_records", (), f"({ref} -> {cls} record) map", "all_records", "")
    if "name_label" in fields:
        yield derived("get_by_name_label", (("label", "string"),), f"{ref} set", "by_name", "")
    for name, field in fields.items():
        yield derived(f"get_{name}", (me,), field.type, "removed" if field.access == "gone" else "get", name)
        if field.access != "rw":
            continue
        yield derived(f"set_{name}", (me, ("value", field.type)), "void", "set", name)
        if field.type.endswith(" map"):
            key, value = field.type[1:-5].split(" -> ")
            yield derived(f"add_to_{name}", (me, ("key", key), ("value", value)), "void", "add_to", name)
            yield derived(f"remove_from_{name}", (me, ("key", key)), "void", "remove_from", name)
        elif field.type.endswith(" set"):
            item = field.type[:-4]
            yield derived(f"add_{name}", (me, ("value", item)), "void", "add", name)
            yield derived(f"remove_{name}", (me, ("value", item)), "void", "remove", name)
