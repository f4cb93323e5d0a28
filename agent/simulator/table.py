"""The classes, fields and messages of the simulator, read from datamodel.json and enums.json.

The data files hold facts only: one line per field ("rw string", "ro enum x = first") and one
per message that is not derived ("async (vm: VM ref) void"). Getters, setters and listings are
derived here by the rule the real data model follows. `plain` messages do what their name says to
a field or a row and nothing else; `unserved` ones exist but have no behaviour here. Knows nothing
of objects or behaviour.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

NULL = "OpaqueRef:NULL"
EPOCH = "19700101T00:00:00Z"
DATA_FILE = Path(__file__).with_name("datamodel.json")
ENUM_FILE = Path(__file__).with_name("enums.json")
# classes that a real xapi has and the table does not carry, in lower case as in valid_ref_counts
OTHER_CLASSES = frozenset(re.findall(r"\w+", """
    vdi_nbd_server_info user tunnel subject sr_stat secret role probe_result pool_update pool_patch network_sriov
    host_patch host_crashdump data_source crashdump blob auth vusb vmss vmpp vif_metrics vgpu_type vgpu usb_group
    sdn_controller repository pvs_site pvs_server pvs_proxy pvs_cache_storage pusb pgpu pci observer lvhd gpu_group
    feature diagnostics dr_task cluster_host cluster"""))
SETTER = re.compile(r"(set|add_to|remove_from|add|remove)_(\w+)")


class Moment(str):
    """A date as it stands on the wire, `YYYYMMDDTHH:MM:SSZ`."""

    __slots__ = ()


@dataclass(frozen=True)
class Field:
    """One field: `access` is rw, ctor (set at create), ro or gone (in records, but its getter is removed)."""

    name: str
    access: str
    type: str
    default: Any


@dataclass(frozen=True)
class Message:
    """One callable message; `kind` is custom, unserved, removed, or names the generic behaviour of `field`."""

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
            present = {name: field.default for name, field in fields.items()}  # records show removed ones too (seen)
            self.classes[cls] = ClassInfo(cls, fields, present)
            without, only = entry.get("without", []), entry.get("only")
            for message in derived_messages(cls, fields):
                if message.name not in without and "*" not in without and (only is None or message.name in only):
                    self.messages[message.full_name] = message
            for name, text in entry["messages"].items():
                self.messages[f"{cls}.{name}"] = parse_message(cls, name, text)
            for name, text in entry.get("unserved", {}).items():
                self.messages[f"{cls}.{name}"] = replace(parse_message(cls, name, text), kind="unserved")
        self.by_lower = {cls.lower(): cls for cls in self.classes}


@cache
def load_table() -> Table:
    """Read the data file once."""
    return Table(json.loads(DATA_FILE.read_text(encoding="utf-8")))


@cache
def load_enums() -> dict[str, frozenset[str]]:
    """Return the values that each enumeration may have."""
    data: dict[str, list[str]] = json.loads(ENUM_FILE.read_text(encoding="utf-8"))
    return {name: frozenset(values) for name, values in data.items()}


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
    """Read one message line, `[plain |removed ][async ][open ](<name>: <type>[ = <json>], ...) <result>`."""
    kind, field = "custom", ""
    if text.startswith("removed "):
        kind = "removed"
    elif text.startswith("plain "):
        setter = SETTER.fullmatch(name)
        kind, field = (setter[1], setter[2]) if setter else (name, "")
    text = text.removeprefix("removed ").removeprefix("plain ")
    is_async = text.startswith("async ")
    text = text.removeprefix("async ")
    needs_session = not text.startswith("open ")
    text = text.removeprefix("open ")
    end = closing(text)
    params, defaults = [], []
    for part in filter(None, re.split(r", (?=\w+: )", text[1:end])):
        declared, _, default = part.partition(" = ")
        param, _, type_ = declared.partition(": ")
        params.append((param, type_))
        if default:
            defaults.append(json.loads(default))
    result = text[end + 2:]
    return Message(cls, name, tuple(params), result, is_async, needs_session, kind, field, tuple(defaults))


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
    yield derived("get_all_records_where", (("expr", "string"),), f"({ref} -> {cls} record) map", "where", "")
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
