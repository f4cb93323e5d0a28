"""Alembic's entry: runs the migrations on the engine that ``session.Database`` hands in, one process at a time."""

from collections.abc import Iterator
from contextlib import contextmanager

from alembic import context
from sqlalchemy import Connection, text

from common import errors
from conductor.db import models

#: any number that no other program uses for a lock in this database
_LOCK = 0x636F7272616C
#: seconds to wait for another process on MySQL, which has no "for ever"
_WAIT_S = 86400


@contextmanager
def _alone(connection: Connection) -> Iterator[None]:
    """Wait until no other process changes the schema, and keep the others waiting.

    SQLite and PostgreSQL change a schema in one transaction, which holds the lock; MySQL
    ends the transaction at every change, so there the connection holds it.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    if connection.dialect.name not in ("mysql", "mariadb"):
        yield
        return
    lock = {"lock": "corral." + str(connection.execute(text("SELECT database()")).scalar())}
    if connection.execute(text("SELECT get_lock(:lock, :wait)"), {**lock, "wait": _WAIT_S}).scalar() != 1:
        raise errors.Unavailable("Another process is changing the schema", code="database_unavailable")
    try:
        yield
    finally:
        connection.execute(text("SELECT release_lock(:lock)"), lock)


with context.config.attributes["engine"].connect() as connection:
    # SQLite's changes of a schema are as transactional as PostgreSQL's, in the transactions that our engine begins.
    context.configure(connection=connection, target_metadata=models.Base.metadata,
                      render_as_batch=connection.dialect.name == "sqlite",
                      transactional_ddl=connection.dialect.name in ("sqlite", "postgresql"))
    with context.begin_transaction(), _alone(connection):
        context.run_migrations()
