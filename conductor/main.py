"""corral-conductor: decides and remembers; wires the parts, no logic."""

import socket
import sys

from oslo_config import cfg

from common import config, rpc, service
from common.clock import SystemClock
from conductor.build import Service, settings_from
from conductor.db.session import Database


def main(argv: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; return the exit status."""
    return service.guarded("corral-conductor", lambda: _run(argv))


def _run(argv: list[str] | None) -> int:
    conf = cfg.CONF
    config.load(conf, "corral-conductor", argv)
    service.log_to()
    stop = service.Stop()
    stop.catch()
    running = Service(Database(conf.database.connection), rpc.transport(None, conf), SystemClock(),
                      settings_from(conf), conf.conductor.name or socket.gethostname(), conf.conductor.workers)
    running.start()
    status = stop.wait()
    running.stop()
    return status


if __name__ == "__main__":
    sys.exit(main())
