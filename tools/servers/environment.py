"""How processes share servers: one owns them, the others find them by these variables."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tools.servers import mariadb, postgresql, rabbitmq

RABBITMQ, MANAGEMENT = "CORRAL_TEST_RABBITMQ", "CORRAL_TEST_RABBITMQ_MANAGEMENT"
POSTGRESQL, MARIADB = "CORRAL_TEST_POSTGRESQL", "CORRAL_TEST_MARIADB"

Own = rabbitmq.Broker | postgresql.Server | mariadb.Server
#: what makes a server of one's own, by name
KINDS: dict[str, type[rabbitmq.Broker] | type[postgresql.Server] | type[mariadb.Server]] = {
    "rabbitmq": rabbitmq.Broker, "postgresql": postgresql.Server, "mariadb": mariadb.Server}


def variables(server: Own) -> dict[str, str]:
    """Return the variables by which others find a server that runs."""
    if isinstance(server, rabbitmq.Broker):
        return {RABBITMQ: server.url(), MANAGEMENT: server.management_url}
    return {POSTGRESQL if isinstance(server, postgresql.Server) else MARIADB: server.url}


@contextmanager
def broker(environ: Mapping[str, str]) -> Iterator[rabbitmq.Access]:
    """Give the RabbitMQ that the variables name, else one of our own.  Raises Broken, Missing."""
    if RABBITMQ in environ:
        yield rabbitmq.Access(environ[RABBITMQ], environ[MANAGEMENT])
        return
    with rabbitmq.Broker() as own:
        yield own


@contextmanager
def postgresql_server(environ: Mapping[str, str]) -> Iterator[postgresql.Access]:
    """Give the PostgreSQL that the variables name, else one of our own.  Raises Broken, Missing."""
    if POSTGRESQL in environ:
        yield postgresql.Access(environ[POSTGRESQL])
        return
    with postgresql.Server() as own:
        yield own


@contextmanager
def mariadb_server(environ: Mapping[str, str]) -> Iterator[mariadb.Access]:
    """Give the MariaDB that the variables name, else one of our own.  Raises Broken, Missing."""
    if MARIADB in environ:
        yield mariadb.Access(environ[MARIADB])
        return
    with mariadb.Server() as own:
        yield own
