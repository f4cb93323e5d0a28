"""Every row of what is known about xapi has a case or says why it has none, and every case shows a row."""

from collections import Counter

from xapi_cases import cases, rows


def test_no_row_and_no_case_stands_there_twice() -> None:
    for ids in ([row.id for row in rows()], [case.id for case in cases()]):
        assert [name for name, times in Counter(ids).items() if times > 1] == []


def test_every_row_has_a_case_or_says_why_it_can_not_be_shown() -> None:
    shown = {case.row for case in cases()}
    assert [row.id for row in rows() if (row.id in shown) == bool(row.not_shown)] == []


def test_every_case_shows_a_row() -> None:
    known = {row.id for row in rows()}
    assert [case.id for case in cases() if case.row not in known] == []
