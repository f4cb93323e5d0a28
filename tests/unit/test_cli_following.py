"""Following an operation: an API that goes away, attention, and the bars on a terminal."""

import io
from typing import Any

import pytest
from rich.console import Console
from rich.progress import Progress, TextColumn

from conductor.cli import following
from conductor.cli.client import ATTENTION, DONE, FAILED, NOT_FOUND, UNAVAILABLE, Refusal
from tests.unit.api_conductor import InMemory

AWAY = Refusal("away", "api_unreachable", UNAVAILABLE)


class Door:
    """An API that is a conductor in memory, and refuses the next requests as told."""

    def __init__(self, refusals: list[Refusal] | None = None) -> None:
        self.conductor = InMemory()
        self.conductor.maintenance_start("h1", {})
        self.refusals = refusals or []

    def get(self, *path: str | int, **query: Any) -> dict[str, Any]:
        """Answer events."""
        if self.refusals:
            raise self.refusals.pop()
        return self.conductor.operation_events(str(path[2]), query["after"], query["wait"])


def followed(door: Door, pauses: list[float], **options: Any) -> dict[str, Any]:
    """Follow the one operation there is."""
    return following.follow(door, "op-1", following.Silent(), 20, pause=pauses.append, **options)


def test_an_api_that_comes_back_is_followed_on() -> None:
    pauses: list[float] = []
    assert followed(Door([AWAY, AWAY]), pauses)["state"] == "succeeded"
    assert len(pauses) == 2


def test_an_api_that_stays_away_is_given_up() -> None:
    pauses: list[float] = []
    with pytest.raises(Refusal, match="away"):
        followed(Door([AWAY] * 100), pauses)
    assert len(pauses) == following.TRIES - 1


def test_an_operation_that_is_not_there_is_not_waited_for() -> None:
    pauses: list[float] = []
    with pytest.raises(Refusal):
        followed(Door([Refusal("gone", "operation_not_found", NOT_FOUND)]), pauses)
    assert pauses == []


def test_attention_ends_a_wait_but_not_a_watch() -> None:
    door = Door()
    door.conductor.attention = True
    operation = followed(door, [], to_the_end=False)
    assert following.exit_status(operation) == ATTENTION
    door.conductor.attention = False
    assert following.exit_status(followed(door, [])) == DONE


def test_a_cancelled_operation_is_not_done() -> None:
    assert following.exit_status({"ended_at": "t", "state": "cancelled", "attention": None}) == FAILED


def test_what_did_not_go_home_is_named() -> None:
    door = Door()
    operation = followed(door, [])
    operation["result"] = {"not_home": [{"code": "c", "vm_name": "web1", "message": "its home is full"}]}
    assert "VM web1: its home is full (c)" in following.ending(operation)


def test_warnings_of_an_operation_that_has_succeeded_are_told() -> None:
    door = Door()
    operation = followed(door, [])
    operation["result"] = {"warnings": [{"code": "c", "message": "it was not written\x1b[2J", "details": {}}]}
    assert "warning: it was not written\\x1b[2J (c)" in following.ending(operation)


def test_a_move_that_was_cancelled_too_late_is_told() -> None:
    door = Door()
    operation = followed(door, [])
    operation["result"] = {"moved": {"message": "It was too late to call the move off: web1 is on h2"}}
    assert "too late" in following.ending(operation)


def test_each_vm_has_a_bar_on_a_terminal() -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=100)
    door = Door()
    door.conductor.operations["op-1"]["moves"][0]["vm_name"] = "[red]web\x1b[2J"
    with Progress(TextColumn("{task.description}", markup=False), console=console) as progress:
        following.follow(door, "op-1", following.Bars(progress), 2)
        assert [task.completed for task in progress.tasks] == [1.0, 1.0]
    assert "[red]web\\x1b[2J  h1 -> h2" in stream.getvalue() and "\x1b[2J" not in stream.getvalue()


def test_what_is_no_terminal_gets_no_bars() -> None:
    plain = following.Silent()
    with following.display(io.StringIO(), plain) as (shown, wait_s):
        assert (shown, wait_s) == (plain, following.LONG_WAIT_S)
