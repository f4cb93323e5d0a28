"""corral-agent: one process per host, on a management machine; wires the parts, no logic."""

import logging
import sys

# isort: off
from common import concurrency  # noqa: F401  it has to come before all that asks which kind of threads there is
# isort: on
from agent.build import build
from agent.settings import changed_secrets, settings_from
from common import parts, rpc, service
from common.standing import standing

LOG = logging.getLogger(__name__)

PROG = "corral-agent"
EXAMPLES = """  corral-agent --config-file /etc/corral/corral-agent.conf --config-file /etc/corral/agents/h1.conf
  corral-agent --config-file /etc/corral/agents/h1.conf --host h1
    one process per host, on a management machine, never in a VM of the pool that it manages"""
#: exit status of an agent that a newer one of its host has replaced; not to be restarted
SUPERSEDED = 3
_PATIENCE_S = 60.0


def main(argv: list[str] | None = None) -> int:
    """Run until a signal comes or a newer agent of the same host takes over; return the exit status."""
    options = service.parser(PROG, "Carries out the conductors' orders at one host, and says how it does.", EXAMPLES)
    options.add_argument("--host", help="the name under which the host is enrolled, instead of [agent] host")
    args = options.parse_args(argv)
    return service.guarded(PROG, lambda: _run(service.Daemon(PROG, "agent", args.config_file, args.debug), args.host))


def _run(daemon: service.Daemon, host: str | None) -> int:
    if host is not None:
        daemon.conf.set_override("host", host, group="agent")
    settings, broker_password = settings_from(daemon.conf)
    transport = rpc.transport(None, daemon.conf, f"{PROG}-{settings.host}", broker_password)
    agent = build(settings, transport=transport, clock=daemon.clock, pulse=daemon.pulse)

    def reload() -> None:
        for secret in changed_secrets(settings, settings_from(daemon.conf)[0]):
            LOG.warning("The %s in its file has changed; a restart takes it up, and harms nothing under way", secret)

    def watch() -> float | None:
        if not agent.wait(_PATIENCE_S):
            return 0.0
        daemon.end()
        return None

    look = standing(daemon.conf, [f"{rpc.TOPIC_AGENT}.{settings.host}"], broker_password)
    status = daemon.run(agent, parts.Repeated("superseded", watch), look, reload=reload)
    if agent.superseded:
        print(f"{PROG}: a newer agent of host {settings.host} has taken over", file=sys.stderr)  # noqa: T201
        return SUPERSEDED
    return status


if __name__ == "__main__":
    sys.exit(main())
