"""The edge to SQLAlchemy: transactions on an engine of ``engines``, errors translated by ``failures``.

It knows no noun.  A transaction is a function that may be run again from its start:
a deadlock, or a row that somebody else changed first, reruns it whole.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import alembic.command
import alembic.config
import alembic.migration
import alembic.script
import sqlalchemy
from sqlalchemy.orm import Session

from common import errors
from conductor.db import engines, failures

__all__ = ["Database", "Session"]

LOG = logging.getLogger(__name__)

T = TypeVar("T")

#: reruns of one transaction before the caller is told; each needs another writer to have got through
_RERUNS = 20

_UPGRADING = threading.Lock()

_MIGRATIONS = Path(__file__).parent / "migrations"


class Database:
    """A SQL database; hands out transactions."""

    def __init__(self, url: str, patience: engines.Patience | None = None) -> None:
        """Take ``url``, e.g. ``sqlite:////var/lib/corral/corral.sqlite`` or ``postgresql+psycopg://``.

        It connects when it is first used, so that the server may come later.  Raises Invalid
        when the URL can't be understood.
        """
        self.url = url
        self.patience = patience or engines.Patience()
        self.engine = self._engine(self.patience)
        self._reading = self._engine(self.patience, reads_only=True)

    def _engine(self, patience: engines.Patience, reads_only: bool = False) -> sqlalchemy.Engine:
        try:
            return engines.create(self.url, patience, reads_only)
        except (sqlalchemy.exc.ArgumentError, sqlalchemy.exc.NoSuchModuleError, ImportError) as exc:
            raise errors.Invalid(f"The database URL can't be used: {exc}", code="bad_database_url") from exc

    def upgrade(self) -> None:
        """Bring the schema to the newest version; does nothing when it is there.

        Of several processes one does it, and the others wait for it.  Raises Unavailable, and Invalid
        for a schema that a newer version of Corral has made.
        """
        found, newest = self.version()
        if found is not None and not self.knows(found):
            raise errors.Invalid(f"The database's schema is {found}, which a newer version of Corral has made; this "
                                 f"one knows up to {newest} and leaves it as it is", code="schema_differs")
        # To change a table of years may take long, and so may waiting for who does.
        engine = self._engine(replace(self.patience, statement_s=None, lock_s=None))
        try:
            # Alembic's environment is global, for all threads.
            with _UPGRADING, failures.translated():
                alembic.command.upgrade(self._alembic(engine), "head")
        finally:
            engine.dispose()

    def version(self) -> tuple[str | None, str | None]:
        """Return the schema's version as found, and the newest one known.  Raises Unavailable."""
        newest = alembic.script.ScriptDirectory.from_config(self._alembic(self.engine)).get_current_head()
        with failures.translated(), self.engine.connect() as connection:
            return alembic.migration.MigrationContext.configure(connection).get_current_revision(), newest

    def knows(self, version: str) -> bool:
        """Return whether a schema's version is one of those that ``upgrade`` passes through."""
        scripts = alembic.script.ScriptDirectory.from_config(self._alembic(self.engine))
        return version in {script.revision for script in scripts.walk_revisions()}

    def _alembic(self, engine: sqlalchemy.Engine) -> alembic.config.Config:
        config = alembic.config.Config()
        config.set_main_option("script_location", str(_MIGRATIONS))
        config.attributes["engine"] = engine
        return config

    def run(self, work: Callable[[Session], T]) -> T:
        """Return ``work(session)`` after its commit; rerun it while another writer was faster.

        Raises what ``work`` raises (rolled back), Unavailable, ConcurrentUpdate.
        """
        last = errors.ConcurrentUpdate()
        for _ in range(_RERUNS):
            try:
                with failures.translated(), Session(self.engine, expire_on_commit=False) as session, session.begin():
                    return work(session)
            except errors.ConcurrentUpdate as exc:
                LOG.debug("Another writer was faster; running the transaction again: %s", exc)
                last = exc
        raise errors.ConcurrentUpdate("Too many writers at once; try again", **last.details) from last

    def read(self, work: Callable[[Session], T], at_once: bool = False) -> T:
        """Return ``work(session)``, which only reads, as of one moment; it never waits for a writer.

        ``work`` may be run twice; ``at_once``: it sends one statement.  Raises Unavailable.
        """
        began = time.monotonic()
        try:
            return self._read(work, at_once)
        except errors.Unavailable:
            if time.monotonic() - began > engines.FRESH_S:
                raise
            # A connection may have ended with a server that is back by now; what took longer has used up its patience.
            return self._read(work, at_once)

    def _read(self, work: Callable[[Session], T], at_once: bool) -> T:
        with failures.translated(), Session(self._reading, expire_on_commit=False) as session:
            if not at_once:
                session.connection().exec_driver_sql("BEGIN")
            return work(session)

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()
        self._reading.dispose()
