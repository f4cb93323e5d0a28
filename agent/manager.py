"""What an agent listens to: the doorbell; casts only.  It decides nothing."""

from collections.abc import Callable
from typing import Any

from agent.worker import Worker


class AgentManager:
    """The RPC endpoint of one agent."""

    def __init__(self, worker: Worker, on_news: Callable[[], None] = lambda: None) -> None:
        """``on_news`` brings what the conductors have to say about an order that is at hand."""
        self._worker = worker
        self._on_news = on_news

    def ring(self, context: dict[str, Any], task: str, attempt: int) -> None:
        """Take note that an order waits.  Idempotent; a forged ring fetches a real order or nothing."""
        if not self._worker.ring(task, attempt):
            self._on_news()
