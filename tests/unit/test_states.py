"""The tables are checked as data: no state is lost, stuck or ambiguous."""

from enum import StrEnum

import pytest

from conductor import states
from conductor.states import Operation, Task, Transition

Table = tuple[Transition, ...]

_TABLES = [pytest.param(Operation, states.OPERATION, states.TERMINAL_OPERATION, id="operation"),
           pytest.param(Task, states.TASK, states.TERMINAL_TASK, id="task")]


@pytest.mark.parametrize("kind, table, terminal", _TABLES)
class TestTable:
    """What holds for both tables."""

    def test_every_state_is_reachable_from_the_first(self, kind: type[StrEnum], table: Table,
                                                     terminal: frozenset[StrEnum]) -> None:
        seen: set[StrEnum] = {next(iter(kind))}
        while new := {step.next for step in table if step.state in seen} - seen:
            seen |= new
        assert seen == set(kind)

    def test_exactly_the_terminal_states_have_no_way_out(self, kind: type[StrEnum], table: Table,
                                                         terminal: frozenset[StrEnum]) -> None:
        assert {state for state in kind if not states.events_of(state)} == terminal

    def test_every_state_can_still_end(self, kind: type[StrEnum], table: Table,
                                       terminal: frozenset[StrEnum]) -> None:
        ends = set(terminal)
        while new := {step.state for step in table if step.next in ends} - ends:
            ends |= new
        assert ends == set(kind)

    def test_there_is_one_row_for_each_state_and_event(self, kind: type[StrEnum], table: Table,
                                                       terminal: frozenset[StrEnum]) -> None:
        keys = [(step.state, step.event) for step in table]
        assert len(keys) == len(set(keys))

    def test_every_row_says_why_without_a_full_stop(self, kind: type[StrEnum], table: Table,
                                                    terminal: frozenset[StrEnum]) -> None:
        assert all(step.why and not step.why.endswith(".") for step in table)

    def test_the_diagram_has_a_line_for_every_row(self, kind: type[StrEnum], table: Table,
                                                  terminal: frozenset[StrEnum]) -> None:
        assert len(states.diagram(table).splitlines()) == len(table) + 1


def test_a_late_report_is_refused() -> None:
    with pytest.raises(states.IllegalTransition):
        states.next_state(Task.DONE, "effect")


def test_silence_never_means_failure() -> None:
    assert {step.next for step in states.TASK if step.event == "silence"} == {Task.PENDING, Task.UNKNOWN}


def test_nothing_unknown_becomes_pending_or_failed_before_it_was_claimed_again() -> None:
    assert {step.event for step in states.TASK
            if step.state is Task.UNKNOWN and step.next in (Task.PENDING, Task.FAILED)} == {"abandon"}


def test_nothing_claimed_is_ever_withdrawn() -> None:
    withdrawn = {step.state for step in states.TASK if step.event == "withdraw"}
    assert withdrawn == {Task.PENDING, Task.SENT}
    assert not withdrawn & states.CLAIMED_TASK


def test_an_operation_that_has_begun_can_always_be_abandoned() -> None:
    begun = set(Operation) - states.TERMINAL_OPERATION - {Operation.PLANNING}
    assert {step.state for step in states.OPERATION if step.event == "abandon"} == begun


def test_equal_names_of_the_two_kinds_do_not_mix() -> None:
    assert states.next_state(Task.EXECUTING, "refused").next is Task.FAILED
    assert states.next_state(Operation.FAILING, "settled").next is Operation.FAILED
