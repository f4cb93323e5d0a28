"""What agents say to the conductors: the client side of topic ``corral.agents``.

1.0  sync, claim, report
1.1  ``mac`` with all three; a sync says the agent's version; a pool report that was acknowledged
     by its digest is not sent again while nothing changes
1.2  the answers to a sync and to a claim say which moves are called off
"""

from typing import Any

from common import mac, messages, rpc


class AgentsAPI:
    """An agent's door to whichever conductor listens.

    With a ``key`` every message carries a MAC, which conductors before 1.1 don't understand.
    Each method raises Unavailable (nobody heard it), OutcomeUnknown (no answer), or what
    the conductor refused with: WrongState ``replayed`` when ``sequence`` was used before,
    Forbidden when the MAC is not the host's.  All three may be repeated under a new number.
    """

    def __init__(self, transport: Any, timeout_s: float = 20.0, key: bytes | None = None) -> None:
        self._key = key
        self._client = rpc.Client(transport, rpc.TOPIC_AGENTS, "1.0" if key is None else "1.1", timeout_s)

    def sync(self, sync: messages.Sync) -> messages.SyncAnswer:
        """Bring heartbeat, progress and readings; take back the orders that wait."""
        return messages.SyncAnswer.from_wire(self._call("sync", sync=sync.to_wire()))

    def claim(self, host: str, incarnation: str, sequence: int, task: str, attempt: int,
              session: str | None) -> messages.Claim:
        """Ask for the order ``task`` under the XenAPI session with uuid ``session``."""
        return messages.Claim.from_wire(self._call(
            "claim", host=host, incarnation=incarnation, sequence=sequence, task=task, attempt=attempt,
            session=session))

    def report(self, host: str, incarnation: str, sequence: int, report: messages.Report) -> bool:
        """Bring readings of one task; return False when the conductor wants no more of it."""
        answer = self._call("report", host=host, incarnation=incarnation, sequence=sequence, report=report.to_wire())
        return bool(answer["wanted"])

    def _call(self, method: str, **arguments: Any) -> Any:
        if self._key is not None:
            arguments["mac"] = mac.sign(self._key, method, arguments)
        return self._client.call({}, method, **arguments)
