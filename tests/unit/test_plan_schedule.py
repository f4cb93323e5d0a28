"""When moves start: the plan's own schedule, what may start right now, and how long it takes."""
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conductor.plan.estimate import copy_s, duration_s
from conductor.plan.model import Estimates, Limits, Move
from conductor.plan.schedule import eta, schedule, startable
from tests.unit.test_plan_world import GIB, a_move, vm

QUIET = Estimates(bandwidth_bytes_s=GIB, dirty_per_s=0.0, setup_s=0, teardown_s=0, pause_s=0)
ENDS = st.tuples(st.sampled_from("abc"), st.sampled_from("defg"))


def starts(moves: tuple[Move, ...]) -> dict[str, float]:
    return {move.vm: round(move.start_s, 3) for move in moves}


def test_the_longest_move_starts_first_where_that_shortens_the_end() -> None:
    moves = [a_move(1, "h1", "h2", gib=1), a_move(2, "h1", "h3", gib=1), a_move(3, "h1", "h4", gib=2)]
    timed = schedule(moves, Limits(per_source=2), QUIET)
    assert starts(timed) == {"vm3": 0, "vm1": 0, "vm2": 2}
    assert max(move.end_s for move in timed) == pytest.approx(4)


def test_a_move_waits_for_those_that_free_its_memory_and_not_for_others() -> None:
    moves = [a_move(1, "h2", "h3"), a_move(2, "h1", "h2", after=(1,)), a_move(3, "h1", "h4", gib=5)]
    timed = schedule(moves, Limits(per_source=1), QUIET)
    assert starts(timed) == {"vm1": 0, "vm3": 0, "vm2": 5}
    assert {move.vm: move.after for move in timed}["vm2"] == tuple(m.position for m in timed if m.vm == "vm1")


def test_positions_follow_the_starts_and_after_follows_the_positions() -> None:
    moves = [a_move(1, "h1", "h2"), a_move(2, "h3", "h4", gib=4), a_move(3, "h1", "h4", gib=2, after=(1,))]
    timed = schedule(moves, Limits(1, 1, 1), QUIET)
    assert [move.position for move in timed] == [1, 2, 3]
    waiting = next(move for move in timed if move.vm == "vm3")
    assert [move.vm for move in timed if move.position in waiting.after] == ["vm1"]


def test_moves_that_wait_for_later_ones_are_refused() -> None:
    with pytest.raises(ValueError, match="can't come after"):
        schedule([a_move(1, "h1", "h2", after=(2,)), a_move(2, "h1", "h2")], Limits(), QUIET)


def test_the_moves_of_others_take_their_turn_first() -> None:
    other = a_move(1, "h3", "h2", gib=3)
    timed = schedule([a_move(1, "h1", "h2")], Limits(per_destination=1), QUIET, busy=[other])
    assert starts(timed) == {"vm1": 3}


def test_a_limit_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="below 1"):
        Limits(per_pool=0)


def test_a_move_whose_ends_are_busy_is_passed_over() -> None:
    pending = [a_move(1, "h1", "h2"), a_move(2, "h1", "h3"), a_move(3, "h4", "h3")]
    ready = startable(pending, [("h9", "h2"), ("h9", "h2")], Limits(3, 2, 8))
    assert [move.position for move in ready] == [2, 3]


def test_a_move_starts_only_when_those_it_comes_after_are_done() -> None:
    pending = [a_move(2, "h1", "h2", after=(1,))]
    assert startable(pending, [], Limits()) == []
    assert startable(pending, [], Limits(), done=[1]) == pending


@given(st.lists(ENDS, max_size=12), st.lists(ENDS, max_size=4),
       st.builds(Limits, st.integers(1, 3), st.integers(1, 3), st.integers(1, 8)))
@settings(max_examples=200, deadline=None)
def test_what_may_start_never_exceeds_a_limit_and_leaves_no_slot_idle(
        ends: list[tuple[str, str]], in_flight: list[tuple[str, str]], limits: Limits) -> None:
    pending = [a_move(n, source, to) for n, (source, to) in enumerate(ends, start=1)]
    chosen = startable(list(reversed(pending)), in_flight, limits)
    assert chosen == sorted(chosen, key=lambda move: move.position)
    active = [*in_flight, *((move.source, move.destination) for move in chosen)]

    def place_left(move: Move) -> bool:
        return (len(active) < limits.per_pool
                and sum(source == move.source for source, _ in active) < limits.per_source
                and sum(to == move.destination for _, to in active) < limits.per_destination)

    assert not any(place_left(move) for move in pending if move not in chosen)
    for move in chosen:
        assert len(active) <= limits.per_pool
        assert sum(source == move.source for source, _ in active) <= limits.per_source
        assert sum(to == move.destination for _, to in active) <= limits.per_destination


def test_a_quiet_guest_is_copied_once_and_a_shared_link_takes_as_much_longer() -> None:
    assert copy_s(4 * GIB, QUIET) == pytest.approx(4)
    assert copy_s(4 * GIB, QUIET, streams=3) == pytest.approx(12)


def test_a_writing_guest_is_copied_again_in_ever_smaller_rounds() -> None:
    # 1 GiB at 1 GiB/s: each round leaves a tenth of the one before, the last is sent with the guest paused.
    writing = replace(QUIET, dirty_per_s=0.1, working_set=1)
    assert copy_s(GIB, writing) == pytest.approx(1.1111, abs=1e-3)


def test_a_guest_that_writes_faster_than_the_link_ends_after_the_stock_number_of_rounds() -> None:
    hot = replace(QUIET, dirty_per_s=9, working_set=0.5)
    assert copy_s(GIB, hot) == pytest.approx(1 + 5 * 0.5)


def test_what_counts_is_the_memory_that_a_ballooned_vm_is_shrunk_to() -> None:
    assert duration_s(vm("a", "h1", 2, memory_static_max_bytes=64 * GIB), QUIET) == pytest.approx(2)


@given(st.lists(ENDS, min_size=1, max_size=10))
@settings(max_examples=100, deadline=None)
def test_the_eta_is_a_range_around_the_schedules_end(ends: list[tuple[str, str]]) -> None:
    moves = [a_move(n, source, to, gib=n) for n, (source, to) in enumerate(ends, start=1)]
    found = eta(moves, Limits(), Estimates())
    assert found.low_s <= found.likely_s <= found.high_s
    assert found.likely_s == max(move.end_s for move in schedule(moves, Limits(), Estimates()))
