"""Every row of what is known about xapi has a case or says why it has none, and every case shows a row."""

from collections import Counter
from typing import Any

import pytest
from xapi_cases import Row, cases, rows

from agent.simulator import timing


def test_no_row_and_no_case_stands_there_twice() -> None:
    for ids in ([row.id for row in rows()], [case.id for case in cases()]):
        assert [name for name, times in Counter(ids).items() if times > 1] == []


def test_every_row_has_a_case_or_says_why_it_has_none() -> None:
    shown = {case.row for case in cases()}
    assert [row.id for row in rows() if (row.id in shown) + bool(row.not_shown) + bool(row.see) != 1] == []


def test_a_row_that_points_to_another_points_to_one_that_is_shown() -> None:
    shown = {case.row for case in cases()}
    assert [row.id for row in rows() if row.see and row.see not in shown] == []


def test_every_case_shows_a_row() -> None:
    known = {row.id for row in rows()}
    assert [case.id for case in cases() if case.row not in known] == []


@pytest.mark.parametrize("row", [row for row in rows() if row.seconds], ids=lambda row: row.id)
def test_the_simulator_takes_as_long_as_was_seen(row: Row) -> None:
    for name, seen in row.seconds.items():
        lowest, highest = seen if isinstance(seen, list) else (seen, seen)
        assert lowest <= figure(name) <= highest, name


def figure(name: str) -> float:
    """Return a figure of the simulator's: a constant's, or with a dot the one under a key or a position of it."""
    constant, _, key = name.partition(".")
    value: Any = getattr(timing, constant)
    return float(value[int(key) if key.isdigit() else key] if key else value)
