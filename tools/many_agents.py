"""Many agents in one process over one connection: for tests and figures with more hosts than processes are worth.

Arguments: the file that all agents share, and one file for each agent.
"""

import sys
from concurrent.futures import ThreadPoolExecutor

# isort: off
from common import concurrency  # noqa: F401  it has to come before all that asks which kind of threads there is
# isort: on
from oslo_config import cfg

from agent.build import Agent, build
from agent.settings import settings_from
from common import config, rpc, service

PROG = "many-agents"


class Together:
    """A part: all agents."""

    def __init__(self, agents: list[Agent]) -> None:
        self._agents = agents

    def start(self) -> None:
        """Start each."""
        for agent in self._agents:
            agent.start()

    def stop(self) -> None:
        """Stop all at once."""
        with ThreadPoolExecutor(len(self._agents)) as together:
            list(together.map(Agent.stop, self._agents))


def main(shared: str, *files: str) -> int:
    """Run until told to stop."""
    return service.guarded(PROG, lambda: _run(shared, files))


def _run(shared: str, files: tuple[str, ...]) -> int:
    daemon = service.Daemon(PROG, "agent", [shared])
    transport = rpc.transport(None, daemon.conf, PROG)
    agents = []
    for file in files:
        conf = cfg.ConfigOpts()
        config.load(conf, PROG, ["--config-file", shared, "--config-file", file], "agent")
        agents.append(build(settings_from(conf)[0], transport=transport, clock=daemon.clock, pulse=daemon.pulse))
    return daemon.run(Together(agents))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
