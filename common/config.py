"""All options, a group per room.  The configuration object is passed in; nothing here is global.

oslo.messaging adds its own groups when a transport is made.  Secrets never stand in an
option: they are read from the file that an option names.
"""

from typing import Any

from oslo_config import cfg, types

from common import errors

DATABASE = (
    cfg.StrOpt("connection", secret=True, default="sqlite:////var/lib/corral/corral.sqlite",
               help="SQLAlchemy URL of the conductors' database, driver written out: postgresql+psycopg://, "
                    "mysql+pymysql:// or sqlite:///."),
)

CONDUCTOR = (
    cfg.HostAddressOpt("name", help="Name under which this conductor listens; by default the machine's name."),
    cfg.IntOpt("workers", default=16, min=1, max=256, help="How many messages are handled at once."),
)

AGENTS = (
    cfg.FloatOpt("sync_interval_s", default=10.0, min=0.2, max=300.0,
                 help="Seconds between two heartbeats of an agent, which are told it by the conductor."),
    cfg.FloatOpt("down_after_s", default=35.0, min=0.5, max=3600.0,
                 help="Seconds without a heartbeat after which an agent counts as down."),
    cfg.FloatOpt("silence_s", default=30.0, min=0.5, max=3600.0,
                 help="Seconds without news after which a claimed task becomes unknown. It is never taken for failed."),
    cfg.ListOpt("resend_s", item_type=types.Float(min=0.1), default=[2.0, 5.0, 10.0, 30.0],
                help="Seconds after which an unclaimed task is sent again, for the first, second, ... time; the last "
                     "one repeats."),
)

OPERATIONS = (
    cfg.FloatOpt("join_limit_s", default=600.0, min=1.0, help="Seconds that a pool join may take."),
    cfg.FloatOpt("eject_limit_s", default=1800.0, min=1.0, help="Seconds that an eject may take."),
    cfg.FloatOpt("migration_limit_s", default=240.0, min=1.0,
                 help="Seconds that a migration may take at least; three times its estimate, if that is more."),
    cfg.IntOpt("move_attempts", default=3, min=1, max=100,
               help="How often a task without effect is tried before it counts as failed."),
)

PLANNER = (
    cfg.IntOpt("moves_per_source", default=3, min=1, help="Moves that may leave one host at once."),
    cfg.IntOpt("moves_per_destination", default=2, min=1, help="Moves that may arrive at one host at once."),
    cfg.IntOpt("moves_per_pool", default=8, min=1, help="Moves that may go on in one pool at once."),
    cfg.FloatOpt("bandwidth_bytes_s", default=110e6, min=1e3,
                 help="Bytes per second that one migration gets on the migration network, for estimates."),
)

AGGREGATES = (
    cfg.BoolOpt("pool_backed_by_default", default=True,
                help="Whether an aggregate is backed by a resource pool unless its metadata hypervisor_pool says "
                     "otherwise."),
)

GROUPS = {"database": DATABASE, "conductor": CONDUCTOR, "agents": AGENTS, "operations": OPERATIONS,
          "planner": PLANNER, "aggregates": AGGREGATES}


def register(conf: Any) -> None:
    """Register all groups on ``conf``; a second time changes nothing."""
    for group, options in GROUPS.items():
        conf.register_opts(options, group=group)


def load(conf: Any, prog: str, argv: list[str] | None) -> None:
    """Read command line and configuration files into ``conf``.  Raises Invalid."""
    register(conf)
    try:
        conf(argv, project="corral", prog=prog)
    except cfg.Error as exc:
        raise errors.Invalid(str(exc), code="bad_configuration") from exc


def list_opts() -> list[tuple[str, list[Any]]]:
    """Return what oslo-config-generator asks for."""
    return [(group, list(options)) for group, options in GROUPS.items()]
