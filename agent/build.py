"""Puts an agent together: the same for the daemon and for many agents in one process.

Nothing here is global: each agent has its settings, its threads and its sessions.
"""

import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from agent.inventory import Inventory, Rhythm, Speaker
from agent.manager import AgentManager
from agent.worker import Pace, Worker
from agent.xenapi.session import Access, XenHypervisor
from common import messages, rpc
from common.agents_api import AgentsAPI
from common.clock import Clock
from common.pulse import Pulse


@dataclass(frozen=True)
class AgentSettings:
    """All that distinguishes one agent from another.  Intervals in seconds."""

    host: str                              #: the name under which the host is enrolled
    url: str                               #: its xapi, e.g. https://192.0.2.10
    username: str
    password: str = field(repr=False)
    pool_username: str | None = None       #: None: as the host's own
    pool_password: str | None = field(default=None, repr=False)
    key: bytes | None = field(default=None, repr=False)   #: what its messages are signed with; None: not at all
    ca_file: str | None = None             #: None: the system's authorities
    verify: bool = True                    #: False trusts any certificate; for a laboratory only
    pins: tuple[str, ...] = ()             #: SHA-256 of the only certificates that are trusted; (): any verified one
    workers: int = 8                       #: orders carried out at the same time
    sync_interval_s: float = 10.0          #: until the conductor's answer says another one
    coalesce_s: float = 0.2                #: changes within it are told by one sync
    poll_s: float = 30.0                   #: longest wait for an event of the pool
    retry_first_s: float = 0.2             #: pause after a first failure; doubled each time
    retry_longest_s: float = 5.0
    login_hold_s: float = 10.0             #: pause after a refused login
    connect_timeout_s: float = 5.0
    read_timeout_s: float = 60.0
    watch_timeout_s: float = 10.0          #: as before, for the heartbeat's own questions
    call_timeout_s: float = 20.0           #: for an answer of the conductors


class Agent:
    """One running agent; ``start`` and ``stop`` may each be called once."""

    def __init__(self, settings: AgentSettings, transport: Any, clock: Clock, incarnation: str,
                 pulse: Pulse | None = None) -> None:
        self.settings = settings
        self.superseded = False
        self._ended = threading.Event()
        speaker = Speaker(AgentsAPI(transport, settings.call_timeout_s, settings.key), settings.host, incarnation)
        pace = Pace(settings.retry_first_s, settings.retry_longest_s)
        self._hypervisor = XenHypervisor(_access(settings), f"corral:{settings.host}", clock)
        self._worker = Worker(self._hypervisor, speaker, clock, threads=settings.workers, pace=pace,
                              on_superseded=self._supersede, on_news=self._poke)
        rhythm = Rhythm(settings.sync_interval_s, settings.coalesce_s, settings.poll_s)
        self._inventory = Inventory(speaker, self._hypervisor, self._worker, clock, url=settings.url,
                                    rhythm=rhythm, pace=pace, pulse=pulse, on_superseded=self._supersede)
        self._server = rpc.Server(transport, rpc.TOPIC_AGENT, settings.host, messages.AGENTS_VERSION,
                                  rpc.methods_of(AgentManager(self._worker, self._poke), ["ring"]), workers=1)

    def start(self) -> None:
        """Listen, and say that we are here.  Returns at once; the hypervisor need not answer."""
        self._server.start()
        self._inventory.start()

    def stop(self) -> None:
        """Let go of everything and wait for the threads; work in the pool goes on and is found again."""
        self._ended.set()
        self._server.stop()
        self._inventory.stop()
        self._worker.stop()
        self._hypervisor.close()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Return whether the agent has ended by itself, which it does when a newer one is there."""
        return self._ended.wait(timeout_s)

    def end(self) -> None:
        """Make ``wait`` return; for signal handlers."""
        self._ended.set()

    def _poke(self) -> None:
        self._inventory.poke()

    def _supersede(self) -> None:
        # Called by the agent's own threads, so nothing is waited for here.
        self.superseded = True
        self._worker.end()
        self._inventory.end()
        self._ended.set()


def _access(settings: AgentSettings) -> Access:
    return Access(url=settings.url, username=settings.username, password=settings.password,
                  pool_username=settings.pool_username, pool_password=settings.pool_password,
                  ca_file=settings.ca_file, verify=settings.verify, pins=settings.pins,
                  connect_s=settings.connect_timeout_s, read_s=settings.read_timeout_s,
                  hold_s=settings.login_hold_s, watch_s=settings.watch_timeout_s)


def incarnation_of(clock: Clock, token: Callable[[], str]) -> str:
    """Return a name for this process that sorts after those of earlier ones of the same host."""
    return f"{int(clock.now() * 1000):013d}-{token()}"


def build(settings: AgentSettings, *, transport: Any, clock: Clock,
          token: Callable[[], str] = lambda: uuid.uuid4().hex[:12], pulse: Pulse | None = None) -> Agent:
    """Return an agent ready to start; ``pulse`` is told how its heartbeats end."""
    return Agent(settings, transport, clock, incarnation_of(clock, token), pulse)
