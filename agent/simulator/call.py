"""What a call is: what a handler may know of it, and what it may wait for."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from agent.simulator.database import Database
from agent.simulator.failure import Dropped, Failure
from agent.simulator.node import Node
from agent.simulator.table import NULL, Message

if TYPE_CHECKING:
    from agent.simulator.world import World


class Clock(Protocol):
    """Whoever tells the time, in seconds since 1970 (simulated ones)."""

    def now(self) -> float:
        """Return the present time."""


class Waiting(Protocol):
    """A call that is not answered yet; the skin polls it whenever the world has changed."""

    def poll(self, world: "World") -> tuple[bool, Any]:
        """Return (True, result), or (False, None); raise Failure or Dropped for a bad end."""


@dataclass
class Call:
    """What a handler may know of the call that it serves."""

    world: "World"
    node: Node
    db: Database
    message: Message
    session: str
    task: str = ""
    is_async: bool = False
    subtask_of: str = NULL

    def defer(self, *, cancellable: bool = False) -> str:
        """Say that the result comes later, by finish_task or fail_task; return the task."""
        if not self.task:
            self.task = self.world.new_task(self.node.pool, self.message.full_name, self.session,
                                            subtask_of=self.subtask_of, transient=True)
        if cancellable:
            self.db.set("task", self.task, allowed_operations=["cancel"])
        return self.task


LATER = object()


@dataclass
class TaskWait:
    """A synchronous call that waits for its own task."""

    address: str
    incarnation: int
    task: str

    def poll(self, world: "World") -> tuple[bool, Any]:
        """See Waiting."""
        if self.task in world.outcomes:
            value, error = world.outcomes.pop(self.task)
            if error:
                raise Failure(*error)
            return True, value
        if world.nodes[self.address].incarnation != self.incarnation:
            raise Dropped
        return False, None
