"""What an agent listens to: the doorbell; casts only.  It decides nothing."""

from typing import Any

from agent.worker import Worker


class AgentManager:
    """The RPC endpoint of one agent."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def ring(self, context: dict[str, Any], task: str, attempt: int) -> None:
        """Take note that an order waits.  Idempotent; a forged ring fetches a real order or nothing."""
        self._worker.ring(task, attempt)
