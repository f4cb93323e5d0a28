"""Whether what was sent has the names and the types of what is taken."""

from typing import Any

import pytest

from common import errors
from common.answering import Desk
from common.arguments import fits


@pytest.mark.parametrize("wanted, good, bad", [
    (str, ["", "x" * 255, "\u202e"], [None, 1, b"x", "x" * 256, "a\0", "\ud800", ["x"]]),
    (int, [0, -1, 2 ** 63 - 1], [True, 1.0, "1", None, 2 ** 63]),
    (float, [0, 1.5], [True, "1", float("nan"), float("inf")]),
    (bool, [True], [0, 1, "true", None]),
    (str | None, [None, "x"], [0, [], "x" * 256]),
    (dict[str, str | None], [{}, {"a": "b", "c": None}], [[], None, {"a": 1}, {"a": ["b"]}, {"x" * 256: "y"}]),
    (list[dict[str, Any]], [[], [{"a": object()}]], [{}, [1], [[]]]),
    (Any, [None, object()], [])])
def test_a_value_is_of_the_type_that_is_named_with_all_that_it_holds(wanted: Any, good: list[Any],
                                                                     bad: list[Any]) -> None:
    assert [fits(one, wanted) for one in good] == [True] * len(good)
    assert [fits(one, wanted) for one in bad] == [False] * len(bad)


@pytest.mark.parametrize("context, message", [
    ({}, None), ({}, "hello"), ({}, []), ([], {"method": "echo", "args": {"value": "x"}}),
    ({}, {"method": "echo", "args": ["x"]}), ({}, {"method": "echo", "args": {}}),
    ({}, {"method": "echo", "args": {"value": 5}}), ({}, {"method": "echo", "args": {"value": "x", "more": 1}}),
    ({}, {"method": "echo", "version": "1." + "9" * 5000}), ({}, {"method": "x" * 100_000}),
    ({}, {"method": {"a": "b"}, "version": {"c": 1}})])
def test_what_does_not_fit_is_no_bug_and_is_said_once_and_short(context: Any, message: Any,
                                                                caplog: pytest.LogCaptureFixture) -> None:
    def echo(context: dict[str, Any], value: str) -> str:
        return value
    refusal = Desk("corral.test", "1.1", {"echo": echo}).answer(context, message)["error"]
    assert refusal["code"] in ("bad_message", "no_such_method", "version_not_supported")
    assert len(refusal["message"]) < 400
    line, = caplog.records
    assert line.levelname == "WARNING" and line.exc_info is None and len(line.getMessage()) < 500


def test_what_a_method_refuses_is_not_logged_again(caplog: pytest.LogCaptureFixture) -> None:
    def refuse(context: dict[str, Any]) -> None:
        raise errors.NotFound("no")
    answer = Desk("corral.test", "1.1", {"refuse": refuse}).answer({}, {"method": "refuse"})
    assert answer["error"]["code"] == "not_found" and not caplog.records
