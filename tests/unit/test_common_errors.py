"""Errors cross as code, message and details, and never as an exception of somebody else's."""

import json

import pytest

from common import errors


@pytest.mark.parametrize("name", sorted(errors.KINDS))
def test_every_error_crosses_and_comes_back_as_itself(name: str) -> None:
    kind = errors.KINDS[name]
    error = kind("It did not work", code="its_code", hosts=["h1"], number=3)
    back = errors.from_wire(json.loads(json.dumps(error.to_wire())))
    assert type(back) is kind
    assert (back.code, back.message, back.details) == ("its_code", "It did not work", {"hosts": ["h1"], "number": 3})
    assert (back.retryable, back.effect) == (error.retryable, error.effect)


def test_an_error_without_words_says_its_own() -> None:
    assert errors.NotFound().message == "There is no such thing."
    assert errors.NotFound().code == "not_found"


def test_an_error_of_a_room_of_its_own_crosses_as_the_nearest_known_kind() -> None:
    class Special(errors.WrongState):
        """Only known here."""

    assert Special("x", code="special").to_wire() == {
        "kind": "WrongState", "code": "special", "message": "x", "details": {}}


@pytest.mark.parametrize("wire", [{}, {"kind": "os.system", "code": "c", "message": "m"},
                                  {"kind": "KeyError", "details": "no object"}, {"kind": 7, "message": None}])
def test_what_is_not_known_becomes_a_plain_error_and_nothing_is_imported(wire: dict[str, object]) -> None:
    back = errors.from_wire(wire)
    assert type(back) is errors.Error
    assert isinstance(back.details, dict)


def test_codes_of_the_classes_are_unique() -> None:
    codes = [kind.code for kind in errors.KINDS.values()]
    assert len(codes) == len(set(codes))
