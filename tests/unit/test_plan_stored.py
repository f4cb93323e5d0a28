"""Plans as JSON, and plans in words."""
import json

import pytest

from conductor.plan.model import Blocker, Eta, Limits, Move, Plan, Refusal, Vm
from conductor.plan.wording import count, listing, rounded_up, size, span
from tests.unit.test_plan_world import GIB, vm

PLAN = Plan("h1", "maintenance", (Move(1, "v", "web", "h1", "h2", GIB, 0.0, 9.5),), Eta(8, 9.5, 20),
            (Blocker("VM_HAS_VGPU", "w", "gpu", None, "it has a virtual GPU", "xe vm-shutdown uuid=w"),), 3)


def test_a_plan_is_plain_json() -> None:
    assert Plan.from_json(json.loads(json.dumps(PLAN.to_json()))) == PLAN


def test_a_plan_of_another_release_is_read_with_fields_ignored_and_defaults_filled_in() -> None:
    stored = PLAN.to_json() | {"colour": "blue"}
    del stored["host_name"]
    assert Plan.from_json(stored) == PLAN


@pytest.mark.parametrize("change", [{"moves": "none"}, {"generation": "3"}, {"generation": True}, {"eta": 5},
                                    {"left": [None]}, {"moves": [{"position": 1}]}])
def test_what_is_not_a_plan_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        Plan.from_json(PLAN.to_json() | change)


def test_sets_are_stored_in_one_order_and_whole_seconds_come_back_as_seconds() -> None:
    many = vm("a", "h1", srs=frozenset({"z", "a", "m"}))
    assert many.to_json()["srs"] == ["a", "m", "z"]
    assert Vm.from_json(many.to_json()) == many
    assert isinstance(Eta.from_json({"low_s": 1, "likely_s": 2, "high_s": 3}).low_s, float)
    assert Limits.from_json({}) == Limits()


def test_a_refusal_without_a_known_remedy_says_none() -> None:
    assert Refusal.from_json(Refusal(PLAN.left, None).to_json()).smallest_change is None


def test_sizes_and_times_are_written_for_people() -> None:
    assert [size(512 << 20), size(3 * GIB), size(rounded_up(1)), size(rounded_up(GIB + 1))] \
        == ["512 MiB", "3.0 GiB", "1 MiB", "1.1 GiB"]
    assert [span(0.2), span(59.6), span(130), span(7300)] == ["0 s", "1 min 0 s", "2 min 10 s", "2 h 1 min"]
    assert [listing([]), listing(["a"]), listing(["a", "b", "c"]), listing(list("abcdefg"))] \
        == ["", "a", "a, b and c", "a, b, c, d, e and 2 more"]
    assert [count(1, "move"), count(2, "move")] == ["1 move", "2 moves"]
