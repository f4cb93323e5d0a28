"""corral-conductor: decides and remembers; wires the parts, no logic."""

import socket
import sys

# isort: off
from common import concurrency  # it has to come before all that asks which kind of threads there is
# isort: on
from common import config, notices, parts, rpc, service
from common.standing import standing
from conductor.build import Service, settings_from
from conductor.conditions import keys_from, require_schema
from conductor.db.session import Database

PROG = "corral-conductor"
EXAMPLES = """  corral-manage --config-file /etc/corral/corral-conductor.conf db sync
  corral-conductor
  corral-conductor --config-file /etc/corral/corral-conductor.conf --config-file second.conf
    several conductors on one machine each need a [conductor] name of their own"""


def main(argv: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; return the exit status."""
    args = service.parser(PROG, "Decides about aggregates and maintenance, and remembers.", EXAMPLES).parse_args(argv)
    return service.guarded(PROG, lambda: _run(service.Daemon(PROG, "conductor", args.config_file, args.debug)))


def _run(daemon: service.Daemon) -> int:
    conf = daemon.conf
    secrets = config.require(conf, (), ("broker.password_file", "database.password_file"))
    keys = keys_from(conf)
    name = conf.conductor.name or socket.gethostname()
    url = config.database_url(conf)
    concurrency.check_database(url)
    database = Database(url)
    transport = rpc.transport(None, conf, f"{PROG}-{name}", secrets["broker.password_file"])
    tell = notices.Notices(conf, transport, f"{PROG}.{name}").tell if notices.wanted(conf) else None
    running = Service(database, transport, daemon.clock, settings_from(conf), name, conf.conductor.workers, keys,
                      daemon.pulse, tell)

    def reload() -> None:
        running.use_keys(keys_from(conf))
        running.engine.settings = settings_from(conf)

    schema = parts.Gate(lambda: require_schema(database), daemon.pulse, daemon.end)
    topics = [each for topic in (rpc.TOPIC_CONDUCTOR, rpc.TOPIC_AGENTS) for each in (topic, f"{topic}.{name}")]
    return daemon.run(schema, running, standing(conf, topics, secrets["broker.password_file"]), reload=reload)


if __name__ == "__main__":
    sys.exit(main())
