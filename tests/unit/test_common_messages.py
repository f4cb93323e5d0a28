"""What crosses between conductors and agents, compared with golden files that are never edited."""

import json
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest

from common import messages
from common.messages import Message

_GOLDEN = Path(__file__).parents[1] / "contract"

_TYPES: dict[str, type[Message]] = {
    "order": messages.Order, "claim": messages.Claim, "report": messages.Report, "host_report": messages.HostReport,
    "vm_report": messages.VmReport, "pool_report": messages.PoolReport, "sync": messages.Sync,
    "sync_answer": messages.SyncAnswer}
#: a file is named after its message, and after what is special about it
_FILES = {path.relative_to(_GOLDEN).with_suffix("").as_posix(): path for path in sorted(_GOLDEN.glob("v*/*.json"))}


def type_of(name: str) -> type[Message]:
    """Return the type of the message in a golden file."""
    return _TYPES[max((known for known in _TYPES if name.partition("/")[2].startswith(known)), key=len)]


def read(name: str) -> dict[str, Any]:
    """Return what stands in a golden file."""
    golden: dict[str, Any] = json.loads(_FILES[name].read_text())
    return golden


def test_every_message_has_a_golden_file() -> None:
    known = {kind for kind in vars(messages).values()
             if isinstance(kind, type) and issubclass(kind, Message) and kind is not Message}
    assert known == set(_TYPES.values())
    assert {name for name in _FILES if name.startswith("v1_0/")} == {f"v1_0/{name}" for name in _TYPES}


@pytest.mark.parametrize("name", _FILES)
def test_a_message_of_each_version_is_understood_and_said_again_with_at_least_the_same_fields(name: str) -> None:
    golden = read(name)
    said = type_of(name).from_wire(golden).to_wire()
    assert {key: said[key] for key in golden} == golden


@pytest.mark.parametrize("name", _FILES)
def test_unknown_fields_are_ignored_and_fields_of_later_versions_have_defaults(name: str) -> None:
    golden, kind = read(name), type_of(name)
    assert kind.from_wire({**golden, "from_the_future": 1}) == kind.from_wire(golden)
    later = [f for f in fields(kind) if f.name not in golden]  # type: ignore[arg-type]
    assert all(f.default is not MISSING or f.default_factory is not MISSING for f in later)


def test_the_newest_golden_messages_have_every_field() -> None:
    for name, kind in _TYPES.items():
        newest = read(max(file for file in _FILES if file.endswith(f"/{name}")))
        assert set(newest) == {f.name for f in fields(kind)}, name  # type: ignore[arg-type]


def test_an_agent_of_1_0_says_what_it_speaks_by_saying_nothing() -> None:
    assert messages.Sync.from_wire(read("v1_0/sync")).version == "1.0"
    assert messages.Sync.from_wire(read("v1_1/sync")).version == "1.1"
    assert messages.SyncAnswer.from_wire(read("v1_0/sync_answer")).report_digest is None


def test_nothing_is_called_off_by_conductors_before_1_2() -> None:
    assert messages.SyncAnswer.from_wire(read("v1_1/sync_answer")).called_off == []
    assert not messages.Order.from_wire(read("v1_0/order")).called_off
    assert messages.Order.from_wire(read("v1_2/order")).called_off


def test_a_message_without_a_required_field_is_refused() -> None:
    with pytest.raises(TypeError):
        messages.Claim.from_wire({})


def test_no_message_has_a_place_for_a_secret() -> None:
    names = {f.name for kind in _TYPES.values() for f in fields(kind)}  # type: ignore[arg-type]
    assert not {name for name in names if "password" in name or "secret" in name or "username" in name}
