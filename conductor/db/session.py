"""The edge to SQLAlchemy: the engine, transactions, and errors translated into ours.

It knows no noun.  A transaction is a function that may be run again from its start:
a deadlock, or a row that somebody else changed first, reruns it whole.
"""

import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import alembic.command
import alembic.config
import alembic.migration
import alembic.script
import sqlalchemy
from oslo_db import exception as oslo_db_exception
from oslo_db.sqlalchemy import engines, exc_filters
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import StaleDataError

from common import errors

__all__ = ["Database", "Session"]

LOG = logging.getLogger(__name__)

T = TypeVar("T")

#: reruns of one transaction before the caller is told; each needs another writer to have got through
_RERUNS = 20

_MIGRATIONS = Path(__file__).parent / "migrations"


class Database:
    """A SQL database; hands out transactions."""

    def __init__(self, url: str) -> None:
        """Open ``url``, e.g. ``sqlite:////var/lib/corral/corral.sqlite`` or ``postgresql+psycopg://``.

        Raises Invalid when the URL can't be understood.
        """
        self.url = url
        try:
            if sqlalchemy.engine.make_url(url).get_backend_name() == "sqlite":
                self.engine = _sqlite(url)
            else:
                self.engine = engines.create_engine(url, max_retries=0)
        except (sqlalchemy.exc.ArgumentError, sqlalchemy.exc.NoSuchModuleError, ImportError) as exc:
            raise errors.Invalid(f"The database URL can't be used: {exc}", code="bad_database_url") from exc
        except (oslo_db_exception.DBConnectionError, oslo_db_exception.DBError) as exc:
            raise errors.Unavailable("The database can't be opened", code="database_unavailable") from exc

    def upgrade(self) -> None:
        """Bring the schema to the newest version; does nothing when it is there.  Raises Unavailable."""
        with _translated():
            alembic.command.upgrade(self._alembic(), "head")

    def version(self) -> tuple[str | None, str | None]:
        """Return the schema's version as found, and the newest one known.  Raises Unavailable."""
        newest = alembic.script.ScriptDirectory.from_config(self._alembic()).get_current_head()
        with _translated(), self.engine.connect() as connection:
            return alembic.migration.MigrationContext.configure(connection).get_current_revision(), newest

    def _alembic(self) -> alembic.config.Config:
        config = alembic.config.Config()
        config.set_main_option("script_location", str(_MIGRATIONS))
        config.attributes["engine"] = self.engine
        return config

    def run(self, work: Callable[[Session], T]) -> T:
        """Return ``work(session)`` after its commit; rerun it while another writer was faster.

        Raises what ``work`` raises (rolled back), Unavailable, ConcurrentUpdate.
        """
        for _ in range(_RERUNS):
            try:
                with _translated(), Session(self.engine, expire_on_commit=False) as session, session.begin():
                    return work(session)
            except errors.ConcurrentUpdate as exc:
                LOG.debug("Another writer was faster; running the transaction again: %s", exc)
        raise errors.ConcurrentUpdate("Too many writers at once; try again")

    def read(self, work: Callable[[Session], T]) -> T:
        """Return ``work(session)``, which only reads; it never waits for a writer.  Raises Unavailable."""
        engine = self.engine.execution_options(reads_only=True)
        with _translated(), Session(engine, expire_on_commit=False) as session:
            return work(session)

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()


@contextmanager
def _translated() -> Iterator[None]:
    """Translate the libraries' errors: somebody was faster, a name is taken, the database is away."""
    try:
        yield
    except (oslo_db_exception.DBDeadlock, StaleDataError, oslo_db_exception.RetryRequest) as exc:
        raise errors.ConcurrentUpdate() from exc
    except oslo_db_exception.DBDuplicateEntry as exc:
        # Every caller looks before it writes, so a duplicate means that somebody wrote in between.
        raise errors.ConcurrentUpdate(columns=list(exc.columns)) from exc
    except oslo_db_exception.DBConnectionError as exc:
        raise errors.Unavailable("The database can't be reached", code="database_unavailable") from exc
    except oslo_db_exception.DBError as exc:
        if isinstance(exc.inner_exception, (sqlite3.OperationalError, sqlalchemy.exc.OperationalError)):
            reason = getattr(exc.inner_exception, "orig", exc.inner_exception)
            raise errors.Unavailable(f"The database refuses to work: {reason}", code="database_unavailable") from exc
        raise


def _sqlite(url: str) -> sqlalchemy.Engine:
    """Return an engine on SQLite: readers beside one writer, waiting instead of failing.

    Two readers that both turn into writers can't both go on, so a writer takes its turn at
    BEGIN.  oslo.db's own engine begins otherwise and opens a connection per transaction;
    only its translation of errors is used here.
    """
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.pool.QueuePool, pool_size=16, max_overflow=16,
                                      connect_args={"check_same_thread": False, "timeout": 30})
    exc_filters.register_engine(engine)

    @sqlalchemy.event.listens_for(engine, "connect")
    def connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @sqlalchemy.event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        reads_only = connection.get_execution_options().get("reads_only")
        connection.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")

    return engine
