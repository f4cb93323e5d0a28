"""Text for people: sizes, times, and nothing that a terminal would obey."""

from typing import Any

import pytest

from conductor.cli import words
from conductor.cli.client import FAILED, Refusal
from conductor.cli.operations import Moves


@pytest.mark.parametrize("value, text", [
    (None, "-"), ("web1", "web1"), ("a\x1b[2Jb", "a\\x1b[2Jb"), ("a\nb", "a\\nb"), ("a\u202eb", "a\\u202eb"),
    ("a\u00a0b", "a\u00a0b"), ("\ud800", "\\ud800"), ("Größe", "Größe"), (5, "5")])
def test_text_from_the_server_is_safe_to_print(value: object, text: str) -> None:
    assert words.safe(value) == text


@pytest.mark.parametrize("length_s, text", [(None, "-"), (0, "0 s"), (59.4, "59 s"), (59.6, "1:00"),
                                            (125, "2:05"), (3725, "1:02:05")])
def test_times_are_short(length_s: float | None, text: str) -> None:
    assert words.seconds(length_s) == text


@pytest.mark.parametrize("size_bytes, text", [(None, "-"), (0, "0.0 GiB"), (3.5 * 2 ** 30, "3.5 GiB")])
def test_sizes_are_in_gib(size_bytes: float | None, text: str) -> None:
    assert words.gib(size_bytes) == text


def test_a_plan_without_moves_says_so() -> None:
    told: dict[str, Any] = {"id": "p", "wanted": "disable", "host": "h", "moves": [], "left": [], "eta": None}
    assert words.plan(told) == "Plan p to restore h: no moves"


def test_a_plan_names_what_stays() -> None:
    left = [{"code": "c", "vm": "u", "vm_name": None, "host": None, "message": "m", "help": "do this"}]
    told = {"id": "p", "wanted": "enable", "host": "h", "moves": [], "left": left, "eta": None}
    assert words.plan(told).splitlines()[1:] == ["These stay:", "  - VM u: m (c)", "    help: do this"]


def test_moves_are_counted_as_in_the_plan_though_other_tasks_come_first() -> None:
    move = {"vm_name": "v", "source": "h1", "destination": "h2", "memory_bytes": 0, "state": "done", "progress": 1.0}
    rows = Moves([{**move, "position": 2}, {**move, "position": 3}]).human_readable().splitlines()[1:]
    assert [row.split()[0] for row in rows] == ["1", "2"]


def test_a_refusal_with_odd_details_is_still_a_sentence() -> None:
    odd: list[dict[str, Any]] = [{}, {"blockers": "none"}, {"blockers": [5, {}]}]
    for details in odd:
        assert words.refusal(Refusal("No", "code", FAILED, details)).startswith("error: No (code)")


def test_an_event_says_what_it_is_about() -> None:
    move = {"task": "t1", "vm_name": "web\x1b1", "destination": "h2"}
    about = words.subjects({"moves": [move], "tasks": [{"id": "t1", "kind": "vm_migrate", "host": "h1"},
                                                       {"id": "t2", "kind": "host_disable", "host": "h1"}]})
    told = {"at": "2026-11-22T07:45:00.123456", "subject": "task", "task": "t1", "task_kind": "vm_migrate",
            "state": "sent", "next": "executing", "why": "Claimed"}
    assert words.event(told, about) == "2026-11-22T07:45:00  move web\\x1b1 to h2: sent -> executing  Claimed"
    assert "host_disable h1: sent" in words.event({**told, "task": "t2"}, about)
    assert "vm_start: sent" in words.event({**told, "task": "t3", "task_kind": "vm_start"}, about)
    whole = {**told, "task": None, "task_kind": None, "subject": "operation"}
    assert "operation: sent" in words.event(whole, about)
