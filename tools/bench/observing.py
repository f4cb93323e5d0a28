"""Processes whose cost is that of watching a pool: an agent's heartbeat and observer, and the least that could do it.

`python -m tools.bench.observing agent URL` has an agent's own parts before a conductor that wants it to observe and
has nothing else to say; `member URL ADDRESS`: one that is not wanted, and knows its master's address; `plain URL`:
a loop of event.from by the XenAPI package that keeps nothing.
"""

import sys
import threading
import time
from dataclasses import dataclass

import XenAPI

from agent.inventory import Inventory, Rhythm, Speaker
from agent.worker import Worker
from agent.xenapi.report import FIELDS
from agent.xenapi.session import Access, XenHypervisor
from common import service
from common.clock import SystemClock
from common.messages import Claim, Report, Sync, SyncAnswer

USER, PASSWORD = "root", "corral-sim"
SYNC_S = 10.0


@dataclass
class Door:
    """Conductors that acknowledge what they are told; says `ready` when the pool has been reported."""

    observe: bool
    master: str | None = None
    told: bool = False

    def sync(self, sync: Sync) -> SyncAnswer:
        """Acknowledge."""
        if not self.told and (sync.report if self.observe else sync.host_uuid) and not sync.trouble:
            self.told = True
            print(f"ready: {time.process_time()}", flush=True)
        members = {"master": self.master} if self.master else {}
        return SyncAnswer(observe=self.observe, interval_s=SYNC_S, members=members, report_digest=sync.report_digest)

    def claim(self, host: str, incarnation: str, sequence: int, task: str, attempt: int, session: str | None) -> Claim:
        """Give nothing."""
        return Claim("stale")

    def report(self, host: str, incarnation: str, sequence: int, report: Report) -> bool:
        """Want nothing."""
        return False


def agent(url: str, door: Door) -> None:
    """Be an agent until told to stop."""
    stop, clock = service.Stop(), SystemClock()
    stop.catch()
    speaker = Speaker(door, "bench", "0000000000001-bench")
    hypervisor = XenHypervisor(Access(url, USER, PASSWORD), "bench", clock)
    worker = Worker(hypervisor, speaker, clock)
    inventory = Inventory(speaker, hypervisor, worker, clock, url=url, rhythm=Rhythm(SYNC_S))
    inventory.start()
    stop.wait()
    inventory.stop()
    worker.stop()
    hypervisor.close()


def plain(url: str) -> None:
    """Follow the same classes, each call as long as an agent's, until told to stop."""
    threading.Thread(target=_follow, args=(url,), daemon=True).start()
    stop = service.Stop()
    stop.catch()
    stop.wait()


def _follow(url: str) -> None:
    session = XenAPI.Session(url)
    session.xenapi.login_with_password(USER, PASSWORD, "1.0", "plain")
    token = ""
    while True:
        answer = session.xenapi_request("event.from", (list(FIELDS), token, SYNC_S if token else 0.0))
        if not token:
            print(f"ready: {time.process_time()}", flush=True)
        token = answer["token"]


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["agent", url]:
            agent(url, Door(True))
        case ["member", url, master]:
            agent(url, Door(False, master))
        case ["plain", url]:
            plain(url)
