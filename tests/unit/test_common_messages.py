"""What crosses between conductors and agents, compared with golden files that are never edited."""

import json
from dataclasses import MISSING, fields
from pathlib import Path

import pytest

from common import messages
from common.messages import Message

_GOLDEN = Path(__file__).parents[1] / "contract" / "v1_0"

_TYPES: dict[str, type[Message]] = {
    "order": messages.Order, "claim": messages.Claim, "report": messages.Report, "host_report": messages.HostReport,
    "vm_report": messages.VmReport, "pool_report": messages.PoolReport, "sync": messages.Sync,
    "sync_answer": messages.SyncAnswer}


def test_every_message_has_a_golden_file() -> None:
    known = {kind for kind in vars(messages).values()
             if isinstance(kind, type) and issubclass(kind, Message) and kind is not Message}
    assert known == set(_TYPES.values())
    assert {path.stem for path in _GOLDEN.glob("*.json")} == set(_TYPES)


@pytest.mark.parametrize("name", sorted(_TYPES))
def test_a_message_of_1_0_is_understood_and_said_again_with_at_least_the_same_fields(name: str) -> None:
    golden = json.loads((_GOLDEN / f"{name}.json").read_text())
    said = _TYPES[name].from_wire(golden).to_wire()
    assert {key: said[key] for key in golden} == golden


@pytest.mark.parametrize("name", sorted(_TYPES))
def test_unknown_fields_are_ignored_and_fields_of_later_versions_have_defaults(name: str) -> None:
    golden = json.loads((_GOLDEN / f"{name}.json").read_text())
    kind = _TYPES[name]
    assert kind.from_wire({**golden, "from_the_future": 1}) == kind.from_wire(golden)
    later = [f for f in fields(kind) if f.name not in golden]  # type: ignore[arg-type]
    assert all(f.default is not MISSING or f.default_factory is not MISSING for f in later)


def test_a_message_without_a_required_field_is_refused() -> None:
    with pytest.raises(TypeError):
        messages.Claim.from_wire({})


def test_no_message_has_a_place_for_a_secret() -> None:
    names = {f.name for kind in _TYPES.values() for f in fields(kind)}  # type: ignore[arg-type]
    assert not {name for name in names if "password" in name or "secret" in name or "username" in name}
