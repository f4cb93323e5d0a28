"""corral-agent: one process per host, on a management machine; wires the parts, no logic."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from agent.build import AgentSettings, build
from common import rpc, service
from common.clock import SystemClock

#: exit status of an agent that a newer one of its host has replaced; not to be restarted
SUPERSEDED = 3


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the parsed command line."""
    parser = argparse.ArgumentParser(prog="corral-agent", description=__doc__)
    parser.add_argument("--host", required=True, help="the name under which the host is enrolled")
    parser.add_argument("--url", required=True, help="the host's xapi, e.g. https://192.0.2.10")
    parser.add_argument("--username", default="root")
    parser.add_argument("--password-file", type=Path, required=True)
    parser.add_argument("--pool-username")
    parser.add_argument("--pool-password-file", type=Path)
    parser.add_argument("--ca-file", help="the authorities that certificates are verified against")
    parser.add_argument("--transport-url", required=True, help="the message broker")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run until a signal comes or a newer agent of the same host takes over; return the exit status."""
    args = arguments(argv)
    return service.guarded("corral-agent", lambda: _run(args))


def _run(args: argparse.Namespace) -> int:
    service.log_to()
    pool_file = args.pool_password_file
    settings = AgentSettings(
        host=args.host, url=args.url, username=args.username, password=args.password_file.read_text().strip(),
        pool_username=args.pool_username, pool_password=pool_file.read_text().strip() if pool_file else None,
        ca_file=args.ca_file)
    agent = build(settings, transport=rpc.transport(args.transport_url), clock=SystemClock())
    stop = service.Stop()
    stop.catch(agent.end)
    agent.start()
    agent.wait()
    agent.stop()
    if agent.superseded:
        print(f"corral-agent: a newer agent of host {args.host} has taken over", file=sys.stderr)  # noqa: T201
        return SUPERSEDED
    return stop.status


if __name__ == "__main__":
    sys.exit(main())
