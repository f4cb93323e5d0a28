"""What a claim and a report cost, said by an agent that has no hypervisor: it answers every order as carried out."""

import queue
import time
import uuid
from collections.abc import Callable
from typing import Any

from agent.build import incarnation_of
from agent.inventory import Speaker
from common import messages, rpc
from common.agents_api import AgentsAPI
from common.clock import SystemClock
from tools.bench.client import Corral, until
from tools.bench.figures import Figure, spread
from tools.bench.processes import PATIENCE_S, Broken

HOST, ROUNDS, WARM_UP = "claimant", 40, 4


class Claimant:
    """An agent whose host exists only in what it says of it."""

    def __init__(self, transport: Any, host: str, key: bytes) -> None:
        self._speaker = Speaker(AgentsAPI(transport, key=key), host,
                                incarnation_of(SystemClock(), lambda: uuid.uuid4().hex[:12]))
        self._said = messages.Sync(host, "", 0, url="http://192.0.2.1", role="standalone", host_uuid=str(uuid.uuid4()),
                                   address="192.0.2.1", pool=str(uuid.uuid4()), version=messages.AGENTS_VERSION)
        self._rings = queue.SimpleQueue[tuple[str, int]]()
        self._server = rpc.Server(transport, rpc.TOPIC_AGENT, host, messages.AGENTS_VERSION, {"ring": self._ring},
                                  workers=1)

    def _ring(self, context: dict[str, Any], task: str, attempt: int) -> None:
        self._rings.put((task, attempt))

    def start(self) -> None:
        """Listen for rings, and enrol the host.  Raises Broken."""
        self._server.start()
        if not self._server.listening(PATIENCE_S):
            raise Broken("the broker lets no agent listen")
        self.sync()

    def sync(self) -> None:
        """Say that it is there."""
        self._speaker.sync(self._said)

    def carry_out(self) -> float:
        """Wait for a ring; return the seconds from the claim's sending to the report's answer.  Raises Broken."""
        try:
            task, attempt = self._rings.get(timeout=PATIENCE_S)
        except queue.Empty:
            raise Broken("no ring for an order came") from None
        began = time.perf_counter()
        claim = self._speaker.claim(task, attempt, str(uuid.uuid4()))
        if claim.order is None:
            raise Broken(f"a claim was answered with {claim.verdict}")
        order = messages.Order.from_wire(claim.order)
        self._speaker.report(messages.Report(task, attempt, True, readings_of(order)))
        return time.perf_counter() - began

    def stop(self) -> None:
        """Listen no more."""
        self._server.stop()


def readings_of(order: messages.Order) -> dict[str, Any]:
    """Return what would be read had the order been carried out.  Raises Broken for all but the two that are asked."""
    match order.kind:
        case "host_disable":
            return {"enabled": False, "live": True, "mark": order.args["mark"]}
        case "host_enable":
            return {"enabled": True, "live": True, "mark": None}
        case _:
            raise Broken(f"the claimant was ordered to {order.kind}")


def measure(url: str, transport: Any, key: bytes, bare_call: Callable[[], None]) -> list[Figure]:
    """Return the medians of claim and report and, between them, of two bare calls; takes about 10 s."""
    claimant, corral = Claimant(transport, HOST, key), Corral(url)
    ours, bare = [], []
    try:
        claimant.start()
        for number in range(WARM_UP + ROUNDS):
            status = ("enable", "disable")[number % 2 == 0]
            corral.ask("PUT", f"/v2.1/os-hosts/{HOST}", {"status": status})
            ours.append(1e3 * claimant.carry_out())
            _ended(corral, status)
            began = time.perf_counter()
            bare_call()
            bare_call()
            bare.append(1e3 * (time.perf_counter() - began))
            claimant.sync()
    finally:
        claimant.stop()
        corral.close()
    mine = spread("claim and report of one task over RabbitMQ", ours[WARM_UP:], "ms",
                  means="an agent's two calls with MACs, each a transaction on PostgreSQL")
    theirs = spread("two bare oslo.messaging calls", bare[WARM_UP:], "ms", means="between the claims")
    return [*mine, *theirs, mine[0].beside(theirs[0])]


def _ended(corral: Corral, status: str) -> None:
    until(f"the claimant's operation to {status} its host has ended",
          lambda: not corral.ask("GET", "/v1/operations?active=true")["operations"], 0.05)
