"""Every state, event and legal transition of an operation and of its tasks.

A state changes only through ``next_state``; nothing else assigns one.  This file
knows no database, no clock and no message, and what to *do* in a state is not here:
it is derived from the rows, so that it can be derived again after a crash.
"""

from enum import StrEnum
from typing import NamedTuple


class Operation(StrEnum):
    """What an accepted request promises at each moment."""

    PLANNING = "planning"      #: accepted and stored; no agent has been told anything
    RUNNING = "running"        #: its tasks are stored and may be sent
    PAUSED = "paused"          #: nothing new is sent; what is in flight may finish
    CANCELLING = "cancelling"  #: what is in flight is awaited, then the state promised for a cancel restored
    FAILING = "failing"        #: what is in flight is awaited, then the state promised for a failure reached
    SUCCEEDED = "succeeded"    #: the goal was observed on the hypervisor
    CANCELLED = "cancelled"    #: ended on request, in the state promised for that
    FAILED = "failed"          #: ended by an error, which is stored


class Task(StrEnum):
    """What one order to one executor promises at each moment."""

    PENDING = "pending"      #: nobody holds it; no effect of it is under way
    SENT = "sent"            #: the doorbell was rung for this attempt, perhaps unheard; no effect yet
    EXECUTING = "executing"  #: claimed; it may be taking effect
    UNKNOWN = "unknown"      #: claimed and silent; somebody must fence its claimant and observe
    DONE = "done"            #: the effect was observed on the hypervisor
    FAILED = "failed"        #: it will not be tried again
    SKIPPED = "skipped"      #: never claimed, and not needed any more


class Transition(NamedTuple):
    """One legal step.  ``why`` is the sentence that the log and the timeline show."""

    state: StrEnum
    event: str
    next: StrEnum
    why: str


_O, _T = Operation, Task

OPERATION: tuple[Transition, ...] = (
    Transition(_O.PLANNING, "plan_ready", _O.RUNNING, "What is to be done is stored and may begin"),
    Transition(_O.PLANNING, "infeasible", _O.FAILED, "It can't be done any more; nothing was touched"),
    Transition(_O.PLANNING, "cancel", _O.CANCELLED, "Cancelled before any agent was told"),
    Transition(_O.PLANNING, "deadline", _O.FAILED, "It could not begin before its deadline"),
    Transition(_O.RUNNING, "verified", _O.SUCCEEDED, "The goal was observed on the hypervisor"),
    Transition(_O.RUNNING, "replanned", _O.RUNNING, "The plan was no longer true; a new one goes on from here"),
    Transition(_O.RUNNING, "retry", _O.RUNNING, "Tried again on request"),
    Transition(_O.RUNNING, "pause", _O.PAUSED, "Paused; nothing new is sent"),
    Transition(_O.RUNNING, "task_failed", _O.FAILING, "A task failed for good; the rest is not sent"),
    Transition(_O.RUNNING, "cancel", _O.CANCELLING, "Cancelled; what is in flight is awaited"),
    Transition(_O.RUNNING, "deadline", _O.FAILING, "Past its deadline; what is in flight is awaited"),
    Transition(_O.RUNNING, "abandon", _O.FAILED, "Abandoned by an operator; the host stays quarantined"),
    Transition(_O.PAUSED, "resume", _O.RUNNING, "Resumed"),
    Transition(_O.PAUSED, "task_failed", _O.FAILING, "A task in flight failed for good"),
    Transition(_O.PAUSED, "cancel", _O.CANCELLING, "Cancelled while paused"),
    Transition(_O.PAUSED, "deadline", _O.FAILING, "Past its deadline while paused"),
    Transition(_O.PAUSED, "abandon", _O.FAILED, "Abandoned by an operator; the host stays quarantined"),
    Transition(_O.CANCELLING, "retry", _O.CANCELLING, "Giving back is tried again on request"),
    Transition(_O.CANCELLING, "settled", _O.CANCELLED, "Nothing is in flight and the promised state was observed"),
    Transition(_O.CANCELLING, "abandon", _O.FAILED, "Abandoned by an operator; the host stays quarantined"),
    Transition(_O.FAILING, "retry", _O.FAILING, "Ending it is tried again on request"),
    Transition(_O.FAILING, "settled", _O.FAILED, "Nothing is in flight and the promised state was observed"),
    Transition(_O.FAILING, "abandon", _O.FAILED, "Abandoned by an operator; the host stays quarantined"),
)

TASK: tuple[Transition, ...] = (
    Transition(_T.PENDING, "send", _T.SENT, "The agent's doorbell was rung"),
    Transition(_T.PENDING, "withdraw", _T.SKIPPED, "Not needed any more"),
    Transition(_T.SENT, "claimed", _T.EXECUTING, "The agent has claimed it"),
    Transition(_T.SENT, "silence", _T.PENDING, "Nobody claimed it, so it had no effect; it is sent again"),
    Transition(_T.SENT, "withdraw", _T.SKIPPED, "Withdrawn before anybody claimed it"),
    Transition(_T.EXECUTING, "effect", _T.DONE, "The effect was observed"),
    Transition(_T.EXECUTING, "no_effect", _T.PENDING, "It ended without effect and may be tried again"),
    Transition(_T.EXECUTING, "refused", _T.FAILED, "The hypervisor refuses it for good"),
    Transition(_T.EXECUTING, "exhausted", _T.FAILED, "It was tried often enough without effect"),
    Transition(_T.EXECUTING, "halfway", _T.FAILED, "It ended halfway; what it left behind is cleared away"),
    Transition(_T.EXECUTING, "silence", _T.UNKNOWN, "No news from its claimant; the outcome is unknown"),
    Transition(_T.EXECUTING, "floating", _T.UNKNOWN, "A toolstack restarted in mid-move; it may still be going on"),
    Transition(_T.EXECUTING, "abandon", _T.FAILED, "Abandoned with its operation"),
    Transition(_T.UNKNOWN, "heard", _T.EXECUTING, "Its claimant is still at it"),
    Transition(_T.UNKNOWN, "claimed", _T.EXECUTING, "A successor has claimed it, to fence and to observe"),
    Transition(_T.UNKNOWN, "effect", _T.DONE, "The effect was observed"),
    Transition(_T.UNKNOWN, "abandon", _T.FAILED, "Abandoned with its operation"),
)

TERMINAL_OPERATION = frozenset({_O.SUCCEEDED, _O.CANCELLED, _O.FAILED})
TERMINAL_TASK = frozenset({_T.DONE, _T.FAILED, _T.SKIPPED})
#: somebody may be acting on it right now
CLAIMED_TASK = frozenset({_T.EXECUTING, _T.UNKNOWN})

# The kind is part of the key: members of two StrEnums with the same text are equal.
_STEPS = {(type(step.state), step.state, step.event): step for step in OPERATION + TASK}


class IllegalTransition(Exception):
    """No row of the table allows this event in this state."""


def next_state(state: StrEnum, event: str) -> Transition:
    """Return the one row for ``event`` in ``state``.

    Raises IllegalTransition; a late or repeated report is normal on a message bus, so
    whoever applies reports drops such an event, and whoever serves a person refuses it.
    """
    try:
        return _STEPS[type(state), state, event]
    except KeyError:
        raise IllegalTransition(f"{event!r} is not allowed in {type(state).__name__} {state!r}") from None


def events_of(state: StrEnum) -> frozenset[str]:
    """Return the events that are legal in ``state``."""
    return frozenset(event for kind, at, event in _STEPS if kind is type(state) and at == state)


def diagram(table: tuple[Transition, ...]) -> str:
    """Return the table as a Mermaid state diagram, the form in which ARCHITECTURE.md shows it."""
    return "\n".join(["stateDiagram-v2", *(f"    {step.state} --> {step.next}: {step.event}" for step in table)])
