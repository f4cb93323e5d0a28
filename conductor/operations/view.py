"""What a decider is shown and what it answers: plain values, no rows, no clock."""

from dataclasses import dataclass, field
from typing import Any

from conductor import states


@dataclass(frozen=True)
class TaskView:
    """One task as a decider sees it."""

    id: str
    kind: str
    state: states.Task
    position: int
    attempt: int
    args: dict[str, Any]
    shown: dict[str, Any]
    readings: dict[str, Any]
    error: dict[str, Any] | None
    not_before: float | None
    #: claimed, and for longer than its limit and the time until silence counts
    overdue: bool = False

    @property
    def is_open(self) -> bool:
        """It has not ended."""
        return self.state not in states.TERMINAL_TASK

    @property
    def is_claimed(self) -> bool:
        """Somebody may be acting on it."""
        return self.state in states.CLAIMED_TASK


@dataclass(frozen=True)
class View:
    """One operation with all its tasks, in order of position, and what else its next step depends on."""

    kind: str
    state: states.Operation
    options: dict[str, Any]
    tasks: tuple[TaskView, ...]
    now: float
    host_uuid: str = ""
    #: (source, destination) of every move in flight in the pool, of all operations
    in_flight: tuple[tuple[str, str], ...] = ()
    #: uuids of hosts that were seen live and enabled in the last report
    usable_hosts: frozenset[str] = frozenset()
    #: a person asked to try again
    retried: bool = False
    replans_left: int = 0
    #: moves of other operations to this host that have not ended
    arriving: int = 0
    #: it takes more than twice as long as planned
    is_slow: bool = False
    #: how many hosts the pool has, by its last report
    pool_size: int = 0
    #: the host by whose agent the pool's database is best written: the master, or else any whose agent can act now
    writer: str | None = None

    def latest(self, kind: str) -> TaskView | None:
        """Return the last task of that kind, or None."""
        return next((task for task in reversed(self.tasks) if task.kind == kind), None)

    def of(self, kind: str) -> list[TaskView]:
        """Return the tasks of that kind."""
        return [task for task in self.tasks if task.kind == kind]


@dataclass(frozen=True)
class NewTask:
    """A task to be stored."""

    kind: str
    args: dict[str, Any] = field(default_factory=dict)
    shown: dict[str, Any] | None = None
    executor: str | None = None     #: name of a host; None: the operation's host
    limit_s: float | None = None    #: None: the short limit


@dataclass(frozen=True)
class Attention:
    """Why a person should look; ``code`` is stable."""

    code: str
    message: str
    details: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return it as stored and shown."""
        return {"code": self.code, "message": self.message, "details": self.details}


@dataclass(frozen=True)
class Decision:
    """What comes next; an empty one means: wait for what is in flight."""

    create: tuple[NewTask, ...] = ()
    send: tuple[str, ...] = ()
    withdraw: tuple[str, ...] = ()
    event: str | None = None                 #: of the operation's table
    error: dict[str, Any] | None = None      #: stored with a failing operation
    result: dict[str, Any] | None = None     #: stored with an ending operation
    attention: Attention | None = None
    replan: bool = False                     #: make a new plan for what is left


def failure(task: TaskView) -> dict[str, Any]:
    """Return the error of a failed task, as an operation stores it."""
    return task.error or {"code": "task_failed", "message": f"The task {task.kind} failed", "details": {}}


def withdrawable(view: View) -> tuple[str, ...]:
    """Return the tasks that nobody has claimed."""
    return tuple(task.id for task in view.tasks if task.is_open and not task.is_claimed)


def until_done(view: View, step: NewTask) -> Decision | None:
    """Return what leads to a done task of the step's kind; None once it is done."""
    task = view.latest(step.kind)
    if task is None:
        return Decision(create=(step,))
    if task.state is states.Task.FAILED:
        return Decision(event="task_failed", error=failure(task))
    return None if task.state is states.Task.DONE else Decision(send=sendable(view, task))


def sendable(view: View, task: TaskView) -> tuple[str, ...]:
    """Return the task if it may be sent now, as a decision lists it."""
    return (task.id,) if ready(task, view.now) else ()


def ready(task: TaskView, now: float) -> bool:
    """Return whether a task waits for nothing but to be sent."""
    return task.state is states.Task.PENDING and (task.not_before is None or task.not_before <= now)
