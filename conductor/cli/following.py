"""Waiting for an operation by the long poll, with progress on standard error.

It decides nothing and stops nothing: whoever goes away leaves the operation running.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from conductor.cli import words
from conductor.cli.client import ATTENTION, DETACHED, DONE, FAILED, UNAVAILABLE, Json, Refusal

#: seconds that one request waits for an event
LONG_WAIT_S = 20
#: a person who watches wants to see the VMs go on between events
LIVE_WAIT_S = 2
#: how often, and with which pause, an API that has gone away is asked again
TRIES = 30
PAUSE_S = 1.0

#: nobody sets it: waiting for it is a pause that Ctrl-C ends
_NEVER = threading.Event()


class Display(Protocol):
    """Where progress goes."""

    def show(self, operation: Json, events: list[Json]) -> None:
        """Show the newest state and what has happened since the last call."""


class Door(Protocol):
    """What is asked: a Client."""

    def get(self, *path: str | int, **query: Any) -> Json:
        """Return what ``path`` shows."""


class Silent:
    """Shows nothing."""

    def show(self, operation: Json, events: list[Json]) -> None:
        """Show nothing."""


class Lines:
    """One plain line per event."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def show(self, operation: Json, events: list[Json]) -> None:
        """Print the new events."""
        about = words.subjects(operation)
        for event in events:
            print(words.event(event, about), file=self._stream, flush=True)


class Bars:
    """One bar per VM, on a terminal."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._bars: dict[str, TaskID] = {}

    def show(self, operation: Json, events: list[Json]) -> None:
        """Move the bars; events are printed above them."""
        about = words.subjects(operation)
        for event in events:
            self._progress.console.print(words.event(event, about), markup=False, highlight=False)
        for move in operation["moves"]:
            if move["task"] not in self._bars:
                vm, source, destination = (words.safe(move[name]) for name in ("vm_name", "source", "destination"))
                label = f"{vm}  {source} -> {destination}"
                self._bars[move["task"]] = self._progress.add_task(label, total=1.0, state="")
            done = 1.0 if move["state"] == "done" else move["progress"] or 0.0
            self._progress.update(self._bars[move["task"]], completed=done, state=words.safe(move["state"]))


@contextmanager
def display(stream: TextIO, plain: Display) -> Iterator[tuple[Display, int]]:
    """Give bars and a short wait when ``stream`` is a terminal, else ``plain`` and a long one."""
    if not stream.isatty():
        yield plain, LONG_WAIT_S
        return
    text = TextColumn("{task.description}", markup=False)
    state = TextColumn("{task.fields[state]}", markup=False)
    with Progress(text, BarColumn(), state, TimeElapsedColumn(), console=Console(file=stream)) as progress:
        yield Bars(progress), LIVE_WAIT_S


def follow(client: Door, operation_id: str, shown: Display, wait_s: int, *, to_the_end: bool = True,
           after: int = 0, pause: Callable[[float], object] = _NEVER.wait) -> Json:
    """Return the operation once it has ended, or (unless ``to_the_end``) once it asks for attention.

    An API that goes away meanwhile is asked again for TRIES times.  Raises Refusal.
    """
    failures = 0
    while True:
        try:
            answer = client.get("v1", "operations", operation_id, "events", after=after, wait=wait_s)
            failures = 0
        except Refusal as exc:
            failures += 1
            if exc.exit_status != UNAVAILABLE or failures >= TRIES:
                raise
            pause(PAUSE_S)
            continue
        operation: Json = answer["operation"]
        shown.show(operation, answer["events"])
        after = max([after, *[event["n"] for event in answer["events"]]])
        if operation["ended_at"] or (operation["attention"] and not to_the_end):
            return operation


def exit_status(operation: Json) -> int:
    """Return what a command that waited for ``operation`` ends with."""
    if not operation["ended_at"]:
        return ATTENTION if operation["attention"] else DONE
    return DONE if operation["state"] == "succeeded" else FAILED


def ending(operation: Json) -> str:
    """Return how the operation stands or ended, with its reason, as lines for people."""
    name = f"operation {words.safe(operation['id'])}"
    lines = [f"{name}: {words.safe(operation['state'])}"]
    for kind in ("error", "attention"):
        if operation[kind]:
            told = operation[kind]
            lines.append(f"{kind}: {words.safe(told['message'])} ({words.safe(told['code'])})")
    if operation["attention"] and not operation["ended_at"]:
        lines.append(f"it goes on; corral operation-watch {words.safe(operation['id'])} follows it")
    result = operation["result"] or {}
    if moved := result.get("moved"):
        lines.append(words.safe(moved["message"]))
    lines += [f"warning: {words.safe(told['message'])} ({words.safe(told['code'])})"
              for told in result.get("warnings") or []]
    away = result.get("not_home") or []
    if away:
        lines.append("These did not go home:\n" + words.blockers(away))
    return "\n".join(lines)


def detached(operation_id: str) -> Refusal:
    """Return what to say after Ctrl-C: the operation goes on."""
    name = words.safe(operation_id)
    return Refusal(f"Detached; operation {name} goes on. Follow it: corral operation-watch {name}; "
                   f"cancel it: corral operation-cancel {name}", "detached", DETACHED)
