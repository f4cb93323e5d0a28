"""SQLAlchemy engines for SQLite, PostgreSQL and MariaDB or MySQL, made to behave alike.

Whoever writes sees what others have committed (READ COMMITTED; on SQLite writers take
turns), whoever only reads sees one moment and may not write.  Nothing waits for ever.
It knows no table.
"""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy
from oslo_db.sqlalchemy import exc_filters
from sqlalchemy import event

from common import errors

_POOL: dict[str, Any] = {"poolclass": sqlalchemy.pool.QueuePool, "pool_size": 8, "max_overflow": 8}
#: seconds for which a reader's connection that was used needs no look at whether it is still there
FRESH_S = 1.0
#: what a message may take in a MySQL packet besides its largest values
_PACKET_SPARE_BYTES = 64 * 1024


@dataclass(frozen=True)
class Patience:
    """How long a connection waits for what, in seconds; None: as long as it takes."""

    connect_s: int = 5
    #: for a connection of the pool
    pool_s: float = 10.0
    #: for one statement; the server ends it then.  A pool's report of some megabytes takes a second
    statement_s: float | None = 30.0
    #: for a row or table that another transaction has
    lock_s: float | None = 10.0
    #: for the next statement of a transaction: the locks of a conductor that is frozen are not kept for ever
    idle_s: float = 120.0
    #: more than the server's own limit, after which it is the server that hangs
    spare_s: float = 10.0

    @property
    def answer_s(self) -> float | None:
        """Return after how many seconds without an answer the server is given up."""
        return None if self.statement_s is None else self.statement_s + self.spare_s


def create(url: str, patience: Patience, reads_only: bool = False) -> sqlalchemy.Engine:
    """Return an engine; it connects when it is first used.

    ``reads_only``: its connections write nothing, and begin nothing by themselves: one statement sees
    one moment, and so do several after a BEGIN.  They are its own, since to turn a connection from one
    into the other costs more than a small query.

    Raises sqlalchemy.exc.ArgumentError, sqlalchemy.exc.NoSuchModuleError, ImportError; Invalid for
    a kind of database that is not supported.
    """
    parsed = sqlalchemy.engine.make_url(url)
    kind = parsed.get_backend_name()
    kinds = {"sqlite": _sqlite, "postgresql": _postgresql, "mysql": _mysql, "mariadb": _mysql}
    if kind not in kinds:
        raise errors.Invalid(f"The database is SQLite, PostgreSQL, MariaDB or MySQL, not {kind}",
                             code="bad_database_url")
    engine = kinds[kind](parsed, patience, reads_only)
    # On the dialect, since an engine with events of its own looks for them at every step.
    event.listen(engine.dialect, "handle_error", _told_apart, retval=True)
    return engine


def _told_apart(context: sqlalchemy.ExceptionContext) -> Any:
    """Return oslo.db's error for a driver's; ours stay as they are."""
    return None if isinstance(context.original_exception, errors.Error) else exc_filters.handler(context)


def _sqlite(url: sqlalchemy.URL, _: Patience, reads_only: bool) -> sqlalchemy.Engine:
    """Return an engine on SQLite: readers beside one writer, waiting instead of failing.

    Two readers that both turn into writers can't both go on, so a writer takes its turn at
    BEGIN.  oslo.db's own engine begins otherwise and opens a connection per transaction;
    only its translation of errors is used here.
    """
    engine = sqlalchemy.create_engine(url, **_POOL, connect_args={"check_same_thread": False, "timeout": 30})

    @event.listens_for(engine, "connect")
    def connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    if not reads_only:
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    return engine


def _served(url: sqlalchemy.URL, patience: Patience, reads_only: bool,
            arguments: Mapping[str, Any]) -> sqlalchemy.Engine:
    """Return an engine on a server, whose connections are looked at before they are used again.

    That costs a round trip; readers, who may read once more, only look at idle ones.
    ``arguments`` are the driver's, as far as the URL does not say otherwise.
    """
    engine = sqlalchemy.create_engine(
        url, **_POOL, pool_timeout=patience.pool_s, pool_recycle=3600, pool_pre_ping=not reads_only,
        isolation_level="AUTOCOMMIT" if reads_only else "READ COMMITTED",
        connect_args={name: value for name, value in arguments.items() if name not in url.query})
    if reads_only:
        _look_at_idle_ones(engine)
    return engine


def _look_at_idle_ones(engine: sqlalchemy.Engine) -> None:
    """Replace connections that were not used lately and have ended meanwhile."""

    @event.listens_for(engine, "checkin")
    def checkin(_connection: Any, record: Any) -> None:
        record.info["used_at"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def checkout(connection: Any, record: Any, _proxy: Any) -> None:
        if time.monotonic() - record.info.get("used_at", math.inf) > FRESH_S and not _answers(engine, connection):
            raise sqlalchemy.exc.InvalidatePoolError()


def _answers(engine: sqlalchemy.Engine, connection: Any) -> bool:
    try:
        return engine.dialect.do_ping(connection)
    except engine.dialect.loaded_dbapi.Error:
        return False


def _postgresql(url: sqlalchemy.URL, patience: Patience, reads_only: bool) -> sqlalchemy.Engine:
    arguments: dict[str, Any] = {"connect_timeout": patience.connect_s}
    if url.get_driver_name() == "psycopg":
        # A plan that was prepared before another process changed the schema fails until its connection ends.
        arguments["prepare_threshold"] = None
    engine = _served(url, patience, reads_only, arguments)
    settings = {"statement_timeout": patience.statement_s, "lock_timeout": patience.lock_s,
                "idle_in_transaction_session_timeout": patience.idle_s}
    words = ", ".join(f"set_config('{name}', '{math.ceil(1000 * (seconds or 0))}', false)"
                      for name, seconds in settings.items())

    @event.listens_for(engine, "connect")
    def connect(connection: Any, _record: Any) -> None:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute(f"SELECT {words}")
        if reads_only:
            # The other one is left to the server, which may have turned into a standby that takes no writes.
            cursor.execute("SET default_transaction_read_only = on")
            cursor.execute("SET default_transaction_isolation = 'repeatable read'")
        connection.autocommit = reads_only

    if url.get_driver_name() == "psycopg" and patience.answer_s is not None:
        from conductor.db import impatient  # the driver is there only where PostgreSQL is used
        kind = impatient.connection_class(patience.answer_s)
        event.listen(engine, "do_connect", lambda _dialect, _record, args, kwargs: kind.connect(*args, **kwargs))
    return engine


def _mysql(url: sqlalchemy.URL, patience: Patience, reads_only: bool) -> sqlalchemy.Engine:
    # What old configurations ask for, "utf8", has no characters of four bytes.
    url = url.difference_update_query(["charset"]).update_query_dict({"charset": "utf8mb4"})
    engine = _served(url, patience, reads_only, {
        "connect_timeout": patience.connect_s, "read_timeout": patience.connect_s, "write_timeout": patience.answer_s})
    wanted = _mysql_variables(patience)
    names = ", ".join(f"'{name}'" for name in (*wanted, "max_allowed_packet"))

    @event.listens_for(engine, "connect")
    def connect(connection: Any, record: Any) -> None:
        if "read_timeout" not in url.query:
            # PyMySQL waits for a server's first words as long as for all others, and they come at once or never.
            connection._read_timeout = patience.answer_s
        cursor = connection.cursor()
        cursor.execute(f"SHOW SESSION VARIABLES WHERE Variable_name IN ({names})")
        found = dict(cursor.fetchall())
        record.info["packet_bytes"] = int(found.pop("max_allowed_packet"))
        cursor.execute("SET SESSION " + ", ".join(f"{name} = {wanted[name]}" for name in wanted if name in found))
        if reads_only:
            cursor.execute("SET SESSION TRANSACTION READ ONLY")
            cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        cursor.close()

    @event.listens_for(engine, "before_cursor_execute")
    def fits(connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool) -> None:
        _check_size(parameters if many else [parameters], statement, connection.info["packet_bytes"])

    return engine


def _mysql_variables(patience: Patience) -> dict[str, str]:
    """Return the variables of a session, which not every version has, with their values.

    ``wsrep_sync_wait``: on a Galera cluster a SELECT waits for what other nodes have committed
    before; so a claim finds the task that another conductor stored through another node.
    """
    forever = 31536000
    lock_s = math.ceil(patience.lock_s or forever)
    statement_s = patience.statement_s or 0
    return {"sql_mode": "'TRADITIONAL'", "wsrep_sync_wait": "1", "innodb_lock_wait_timeout": str(lock_s),
            "lock_wait_timeout": str(lock_s), "idle_transaction_timeout": str(math.ceil(patience.idle_s)),
            # MariaDB's, in seconds, and MySQL's, in milliseconds, for SELECT only.
            "max_statement_time": f"{statement_s:g}", "max_execution_time": str(math.ceil(1000 * statement_s))}


def _check_size(rows: Sequence[Any], statement: str, packet_bytes: int) -> None:
    """Raise Invalid when the server would refuse a statement for its size: it does so by hanging up."""
    for row in rows:
        values = [value for value in (row.values() if isinstance(row, Mapping) else row or ())
                  if isinstance(value, str)]
        # No character takes more than four bytes, so that most rows need no closer look.
        if 4 * sum(map(len, values)) < packet_bytes // 2:
            continue
        size = len(statement) + sum(map(_sent_bytes, values))
        if size + _PACKET_SPARE_BYTES > packet_bytes:
            raise errors.Invalid(f"This takes {size} bytes, and the database takes {packet_bytes} at once: raise the "
                                 "server's max_allowed_packet", code="too_large_for_database")


def _sent_bytes(value: str) -> int:
    """Return what a text takes in a statement, where some characters get another one before them."""
    return len(value.encode(errors="replace")) + sum(map(value.count, "'\"\\\n\r\0\x1a"))
