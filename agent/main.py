"""corral-agent: one process per host, on a management machine; wires the parts, no logic."""

import argparse
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from agent.build import AgentSettings, build
from common import errors, rpc
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
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        pool_file = args.pool_password_file
        settings = AgentSettings(
            host=args.host, url=args.url, username=args.username, ca_file=args.ca_file,
            password=args.password_file.read_text().strip(), pool_username=args.pool_username,
            pool_password=pool_file.read_text().strip() if pool_file else None)
        agent = build(settings, transport=rpc.transport(args.transport_url), clock=SystemClock())
        agent.start()
    except (errors.Error, OSError) as exc:
        sys.stderr.write(f"corral-agent: {exc}\n")
        return 2
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: agent.end())
    agent.wait()
    agent.stop()
    if agent.superseded:
        sys.stderr.write(f"corral-agent: a newer agent of host {args.host} has taken over\n")
        return SUPERSEDED
    return 0


if __name__ == "__main__":
    sys.exit(main())
