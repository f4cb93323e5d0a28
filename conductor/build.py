"""Puts a conductor together: the same for the daemon and for the all-in-one."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from common import conductor_api, messages, rpc
from common.agent_api import AgentAPI
from common.clock import Clock
from conductor.db.session import Database
from conductor.manager import Agents, Conductor
from conductor.operations.engine import Engine
from conductor.operations.settings import Settings
from conductor.operations.sweeper import Sweeper
from conductor.plan.model import Estimates, Limits


class Service:
    """One running conductor; ``start`` and ``stop`` may each be called once."""

    def __init__(self, database: Database, transport: Any, clock: Clock, settings: Settings, name: str,
                 workers: int = 16) -> None:
        self._database = database
        self.engine = Engine(database, AgentAPI(transport).ring, clock, settings, name)
        self._sweeper = Sweeper(self.engine)
        self._servers = [
            rpc.Server(transport, rpc.TOPIC_CONDUCTOR, name, messages.CONDUCTOR_VERSION,
                       rpc.methods_of(Conductor(self.engine), conductor_api.METHODS), workers),
            rpc.Server(transport, rpc.TOPIC_AGENTS, name, messages.AGENTS_VERSION,
                       rpc.methods_of(Agents(self.engine), ("sync", "claim", "report")), workers)]

    def start(self) -> None:
        """Bring the schema up to date and listen.  Raises Unavailable when the database is away."""
        self._database.upgrade()
        for server in self._servers:
            server.start()
        self._sweeper.start()

    def stop(self) -> None:
        """Handle what was taken and end; everything else is in the database."""
        self.engine.end_waits()
        with ThreadPoolExecutor(len(self._servers)) as together:
            list(together.map(lambda server: server.stop(), self._servers))
        self._sweeper.stop()
        self._database.close()


def settings_from(conf: Any) -> Settings:
    """Return the engine's numbers as configured (``common.config`` is registered on ``conf``)."""
    return Settings(
        sync_interval_s=conf.agents.sync_interval_s, agent_down_s=conf.agents.down_after_s,
        silence_s=conf.agents.silence_s, resend_s=tuple(conf.agents.resend_s),
        join_limit_s=conf.operations.join_limit_s, eject_limit_s=conf.operations.eject_limit_s,
        migration_limit_s=conf.operations.migration_limit_s, move_attempts=conf.operations.move_attempts,
        pool_backed_by_default=conf.aggregates.pool_backed_by_default,
        limits=Limits(conf.planner.moves_per_source, conf.planner.moves_per_destination,
                      conf.planner.moves_per_pool),
        estimates=Estimates(bandwidth_bytes_s=conf.planner.bandwidth_bytes_s))
