"""Answers as text: sizes, times, plans, refusals; everything from the server made safe to print.

Pure functions; it asks nothing and prints nothing.
"""

import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

from cliff.columns import FormattableColumn

from conductor.cli.client import Json, Refusal


def safe(value: object) -> str:
    """Return ``value`` as one line whose control characters and invisible marks are escaped; None is "-"."""
    if value is None:
        return "-"
    return "".join(char if char.isprintable() or unicodedata.category(char) == "Zs"
                   else char.encode("unicode_escape", "backslashreplace").decode() for char in str(value))


def gib(size_bytes: float | None) -> str:
    """Return a size for people: "3.5 GiB"."""
    return "-" if size_bytes is None else f"{size_bytes / 2 ** 30:.1f} GiB"


def seconds(length_s: float | None) -> str:
    """Return a length of time for people: "1:02:05", "2:05", "8 s"."""
    if length_s is None:
        return "-"
    whole = round(length_s)
    if whole < 60:
        return f"{whole} s"
    hours, rest = divmod(whole, 3600)
    minutes, rest = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Text(FormattableColumn[Any]):
    """Text from the server: as it is for programs, escaped for people."""

    def human_readable(self) -> str:
        """Return it safe to print."""
        return safe(self._value)


class Size(FormattableColumn[Any]):
    """Bytes for programs, GiB for people."""

    def human_readable(self) -> str:
        """Return it in GiB."""
        return gib(self._value)


class Names(FormattableColumn[Any]):
    """A list for programs, names with commas for people."""

    def human_readable(self) -> str:
        """Return the names in one line."""
        return ", ".join(safe(name) for name in self._value) or "-"


class Pairs(FormattableColumn[Any]):
    """An object for programs, key=value with commas for people."""

    def human_readable(self) -> str:
        """Return the pairs in one line, sorted."""
        return ", ".join(f"{safe(key)}={safe(value)}" for key, value in sorted(self._value.items())) or "-"


class Members(FormattableColumn[Any]):
    """An aggregate's members for programs, one line each for people."""

    def human_readable(self) -> str:
        """Return each host with its state and what it is in the pool."""
        return "\n".join(f"{safe(one['host'])}: {safe(one['state'])}{', master' if one['master'] else ''}"
                         for one in self._value) or "-"


class Short(FormattableColumn[Any]):
    """A whole object for programs, one member of it for people."""

    def __init__(self, value: Any, member: str) -> None:
        super().__init__(value)
        self._member = member

    def human_readable(self) -> str:
        """Return the member."""
        return safe(self._value and self._value[self._member])


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return plain columns, two spaces between them."""
    lines = [list(heads), *[list(row) for row in rows]]
    widths = [max(len(line[n]) for line in lines) for n in range(len(heads))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
                     for line in lines)


def plan(told: Json) -> str:
    """Return a plan as people read it: every move, what stays, how long."""
    verb = "empty" if told["wanted"] == "enable" else "restore"
    head = f"Plan {safe(told['id'])} to {verb} {safe(told['host'])}: {count(told['moves'], 'move')}"
    if told["moves"] and told["eta"]:
        eta = told["eta"]
        head += f", about {seconds(eta['likely_s'])} ({seconds(eta['low_s'])} to {seconds(eta['high_s'])})"
    parts = [head]
    if told["moves"]:
        parts.append(table(
            ("#", "VM", "from", "to", "memory", "start", "end"),
            [(str(move["position"]), safe(move["vm_name"]), safe(move["source"]), safe(move["destination"]),
              gib(move["memory_bytes"]), seconds(move["start_s"]), seconds(move["end_s"]))
             for move in told["moves"]]))
    if told["left"]:
        parts.append("These stay:\n" + blockers(told["left"]))
    return "\n".join(parts)


def blockers(found: Iterable[Json]) -> str:
    """Return one line per blocker, and one with the help where there is some."""
    lines = []
    for one in found:
        what = " ".join(f"{noun} {safe(name)}" for noun, name in (
            ("VM", one.get("vm_name") or one.get("vm")), ("host", one.get("host_name"))) if name)
        lines.append(f"  - {what + ': ' if what else ''}{safe(one.get('message'))} ({safe(one.get('code'))})")
        if one.get("help"):
            lines.append(f"    help: {safe(one['help'])}")
    return "\n".join(lines)


def refusal(error: Refusal) -> str:
    """Return the error with every blocker and what would change it."""
    lines = [f"error: {safe(error.message)} ({safe(error.code)})"]
    found = error.details.get("blockers")
    if isinstance(found, list) and found:
        lines.append(blockers(one for one in found if isinstance(one, dict)))
    if error.details.get("smallest_change"):
        lines.append(f"  what would help: {safe(error.details['smallest_change'])}")
    if error.details.get("help"):
        lines.append(f"  help: {safe(error.details['help'])}")
    return "\n".join(lines)


def subjects(operation: Json) -> dict[str, str]:
    """Return what each task of the operation is about, by the task's id."""
    found = {task["id"]: f"{safe(task['kind'])} {safe(task['host'])}" for task in operation["tasks"]}
    moves = {move["task"]: f"move {safe(move['vm_name'])} to {safe(move['destination'])}"
             for move in operation["moves"]}
    return found | moves


def event(told: Json, about: dict[str, str]) -> str:
    """Return one event as one line; ``about`` are the operation's subjects."""
    what = about.get(told["task"]) or safe(told["task_kind"] or told["subject"])
    step = f"{safe(told['state'])} -> {safe(told['next'])}"
    return f"{safe(told['at'])[:19]}  {what}: {step}  {safe(told['why'])}"


def count(things: Sequence[object], noun: str) -> str:
    """Return "1 move", "3 moves", "no moves"."""
    return f"{len(things) or 'no'} {noun}{'' if len(things) == 1 else 's'}"
