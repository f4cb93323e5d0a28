"""Every message is answered: with a result, or with an error that says what does not fit and who has to be upgraded."""

from typing import Any

import pytest

from common import errors, rpc
from common.answering import Desk, speaks


def desk() -> Desk:
    """A desk that speaks 1.1."""
    def echo(context: dict[str, Any], value: Any = None) -> Any:
        return {"value": value, "user": context.get("user")}
    return Desk("corral.test", "1.1", {"echo": echo})


def error(message: dict[str, Any]) -> dict[str, Any]:
    """The error that a message is answered with."""
    answer: dict[str, Any] = desk().answer({}, message)["error"]
    return answer


@pytest.mark.parametrize("served, asked, understood", [
    ("1.1", "1.0", True), ("1.1", "1.1", True), ("1.1", "1.2", False), ("1.10", "1.9", True),
    ("1.1", "2.0", False), ("2.0", "1.0", False), ("1.1", "1", False), ("1.1", "x.y", False), ("1.1", "", False),
    ("1.1", "1.1.1", False), ("1.1", "-1.0", False),
])
def test_older_minor_versions_are_understood_and_no_others(served: str, asked: str, understood: bool) -> None:
    assert speaks(served, asked) is understood


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_message_of_an_understood_version_is_handled(version: str) -> None:
    message = {"method": "echo", "args": {"value": 1}, "version": version}
    assert desk().answer({"user": "ann"}, message) == {"result": {"value": 1, "user": "ann"}}


@pytest.mark.parametrize("version, sentence", [
    ("1.2", "echo was asked in version 1.2 of corral.test, and version 1.1 is spoken here; so upgrade the service"),
    ("2.0", "so upgrade the service that answers here"),
    ("0.9", "so upgrade the service that asks"),
    ("new", "which is no version"),
])
def test_another_version_is_refused_with_who_has_to_be_upgraded(version: str, sentence: str) -> None:
    refusal = error({"method": "echo", "args": {}, "version": version})
    assert (refusal["kind"], refusal["code"]) == ("Error", "version_not_supported")
    assert sentence in refusal["message"]
    assert refusal["details"] == {"asked": version, "spoken": "1.1"}


def test_an_unknown_method_is_refused_by_name() -> None:
    refusal = error({"method": "shout", "args": {}, "version": "1.0"})
    assert (refusal["kind"], refusal["code"]) == ("Error", "no_such_method")
    assert "corral.test has no method shout" in refusal["message"]


@pytest.mark.parametrize("message", [
    {}, {"method": None}, {"method": ["echo"]}, {"method": "__class__"}, {"method": "_method"},
    {"method": "echo", "args": [1]}, {"method": "echo", "args": None}, {"method": "echo", "version": {"a": 1}},
    {"method": "echo", "args": {"no": "such argument"}},
])
def test_whatever_the_message_holds_it_is_answered_with_an_error(message: dict[str, Any]) -> None:
    assert error(message)["kind"] in ("Error", "Invalid", "Bug")


def test_a_client_sends_the_version_in_which_the_method_last_changed() -> None:
    transport = rpc.transport("corral-inproc://rpc-versions/")
    server = rpc.Server(transport, "corral.test", "s1", "1.1", {"echo": lambda context: "heard"})
    server.start()
    try:
        newer = rpc.Client(transport, "corral.test", "1.2", 5.0)
        assert newer.call({}, "echo", version="1.0") == "heard"
        with pytest.raises(errors.Error) as refusal:
            newer.call({}, "echo")
        assert refusal.value.code == "version_not_supported"
        with pytest.raises(errors.Error) as refusal:
            newer.call({}, "shout", version="1.1")
        assert refusal.value.code == "no_such_method"
    finally:
        server.stop()
