"""Puts a conductor together: the same for the daemon and for the all-in-one."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from common import conductor_api, messages, rpc
from common.agent_api import AgentAPI
from common.clock import Clock
from common.mac import Keys
from common.pulse import NoPulse, Pulse
from conductor import notify
from conductor.db import hosts
from conductor.db.session import Database
from conductor.manager import Agents
from conductor.operations.engine import Engine
from conductor.operations.settings import Settings
from conductor.operations.sweeper import Sweeper
from conductor.plan.model import Estimates, Limits
from conductor.pulse import ANSWER_S, RoundTrips
from conductor.views import Views


class Service:
    """One running conductor; ``start`` and ``stop`` may each be called once.

    ``keys``: agents' messages need a MAC made with one of them; None: none is looked at.
    ``pulse`` is told how the round trips through broker and database end.
    ``tell``: how other services are told what happens; None: nobody is, and nothing is kept for them.
    """

    def __init__(self, database: Database, transport: Any, clock: Clock, settings: Settings, name: str,
                 workers: int = 16, keys: Keys | None = None, pulse: Pulse | None = None,
                 tell: Callable[[str, dict[str, Any]], None] | None = None) -> None:
        self._database = database
        self.engine = Engine(database, AgentAPI(transport).ring, clock, settings, name,
                             None if tell is None else notify.write)
        self._teller = None if tell is None else notify.Teller(self.engine, tell)
        self._sweeper = Sweeper(self.engine)
        self._agents = Agents(self.engine, keys)
        self._servers = [
            rpc.Server(transport, rpc.TOPIC_CONDUCTOR, name, messages.CONDUCTOR_VERSION,
                       rpc.methods_of(Views(self.engine), conductor_api.METHODS), workers),
            rpc.Server(transport, rpc.TOPIC_AGENTS, name, messages.AGENTS_VERSION,
                       rpc.methods_of(self._agents, ("sync", "claim", "report", "ping")), workers)]
        # The queue of the agents' topic that only this conductor reads, by a worker that never waits for people.
        to_itself = rpc.Client(transport, f"{rpc.TOPIC_AGENTS}.{name}", messages.AGENTS_VERSION, ANSWER_S)
        self._round_trips = RoundTrips(self.engine, lambda: to_itself.call({}, "ping"),
                                       lambda: self.engine.read(lambda session: hosts.find(session, name)),
                                       pulse or NoPulse())

    def start(self) -> None:
        """Listen and sweep; returns at once, neither broker nor database need be there.  The schema is the newest."""
        for server in self._servers:
            server.start()
        self._sweeper.start()
        if self._teller is not None:
            self._teller.start()
        self._round_trips.start()

    def use_keys(self, keys: Keys | None) -> None:
        """Check the messages of agents against these keys from now on."""
        self._agents.keys = keys

    def stop(self) -> None:
        """Handle what was taken and end; everything else is in the database."""
        self._round_trips.stop()
        self.engine.end_waits()
        with ThreadPoolExecutor(len(self._servers)) as together:
            list(together.map(lambda server: server.stop(), self._servers))
        self._sweeper.stop()
        if self._teller is not None:
            self._teller.stop()
        self._database.close()


def settings_from(conf: Any) -> Settings:
    """Return the engine's numbers as configured (``common.config`` is registered on ``conf``)."""
    own, agents, planner = conf.operations, conf.agents, conf.planner
    return Settings(
        sync_interval_s=agents.sync_interval_s, agent_down_s=agents.down_after_s, silence_s=agents.silence_s,
        resend_s=tuple(agents.resend_s), join_limit_s=own.join_limit_s, eject_limit_s=own.eject_limit_s,
        migration_limit_s=own.migration_limit_s, short_limit_s=own.short_limit_s, begin_limit_s=own.begin_limit_s,
        slow_at_least_s=own.slow_at_least_s, observe_apart_s=own.observe_apart_s, retry_pause_s=own.retry_pause_s,
        refused_replan_s=own.refused_replan_s, move_attempts=own.move_attempts, replans=own.replans,
        reenabled_times=own.reenabled_times, reenabled_within_s=own.reenabled_within_s,
        pool_backed_by_default=conf.aggregates.pool_backed_by_default,
        limits=Limits(planner.moves_per_source, planner.moves_per_destination, planner.moves_per_pool),
        estimates=Estimates(bandwidth_bytes_s=planner.bandwidth_bytes_s))
