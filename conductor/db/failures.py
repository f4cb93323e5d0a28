"""The libraries' errors translated into ours: somebody was faster, it is away, it can't hold this.

It goes by the standard's SQLSTATE and MySQL's numbers where there are any: servers speak
many languages.  What is left is what oslo.db made of it.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import sqlalchemy
from oslo_db import exception as oslo_db
from sqlalchemy.orm.exc import StaleDataError

from common import errors

#: the whole transaction may succeed when it is run again, by SQLSTATE or MySQL's number
_AGAIN: Mapping[str | int, str] = {
    "40001": "serialization failure", "40P01": "deadlock", "55P03": "lock not available",
    "23503": "what it refers to has gone", 1451: "it is referred to by now", 1452: "what it refers to has gone",
    # Galera's, which may also come at COMMIT, when another node was faster: 1213 as well.
    1213: "deadlock", 1205: "lock wait time-out", 1020: "changed since it was read", 3101: "refused by the group"}
_DUPLICATE = ("23505", 1062)
_NO_SCHEMA = ("42P01", "42703", 1146, 1054)
#: SQLSTATEs of a server that works, but not for us: no such database, no privilege
_REFUSED = ("3D000", "42501")
#: a server, or the way to it, that is in trouble
_TROUBLE = (sqlalchemy.exc.OperationalError, sqlalchemy.exc.InterfaceError, sqlalchemy.exc.InternalError)
_PREFIX = "uniq_"


@contextmanager
def translated() -> Iterator[None]:
    """Raise our errors instead of the libraries'."""
    try:
        yield
    except StaleDataError as exc:
        raise errors.ConcurrentUpdate() from exc
    except sqlalchemy.exc.TimeoutError as exc:
        raise errors.Unavailable("No connection to the database became free in time",
                                 code="database_unavailable") from exc
    except (oslo_db.DBError, oslo_db.RetryRequest, sqlalchemy.exc.DBAPIError) as exc:
        ours = _ours(exc)
        if ours is exc:
            raise
        raise ours from exc


def _ours(exc: Exception) -> Exception:
    wrapper = exc if isinstance(exc, sqlalchemy.exc.DBAPIError) else getattr(exc, "inner_exception", None)
    cause = wrapper.orig if isinstance(wrapper, sqlalchemy.exc.DBAPIError) else wrapper
    code = _code(cause)
    if code in _AGAIN or isinstance(exc, (oslo_db.DBDeadlock, oslo_db.RetryRequest)):
        return errors.ConcurrentUpdate()
    if code in _DUPLICATE or isinstance(exc, oslo_db.DBDuplicateEntry):
        # Every caller looks before it writes, so a duplicate means that somebody wrote in between.
        return errors.ConcurrentUpdate(columns=_columns(exc, cause))
    if code in _NO_SCHEMA:
        return _unavailable("The database's schema is not this version's, run corral-manage db sync", cause)
    if isinstance(wrapper, sqlalchemy.exc.DataError):
        return errors.Invalid(f"The database can't hold this: {cause}")
    if isinstance(exc, oslo_db.DBConnectionError):
        return _unavailable("The database can't be reached", cause)
    if code in _REFUSED or isinstance(wrapper, _TROUBLE):
        return _unavailable("The database refuses to work", cause)
    return exc


def _unavailable(sentence: str, cause: object) -> errors.Unavailable:
    return errors.Unavailable(f"{sentence}: {str(cause).strip()}", code="database_unavailable")


def _code(cause: object) -> str | int | None:
    """Return MySQL's number or the SQLSTATE of a driver's error, if it has one."""
    first = cause.args[0] if isinstance(cause, Exception) and cause.args else None
    # MySQL's SQLSTATEs tell less: many of its errors share one.
    return first if isinstance(first, int) else getattr(cause, "sqlstate", None)


def _columns(exc: Exception, cause: object) -> list[str]:
    """Return the columns that a unique constraint is named for."""
    name = getattr(getattr(cause, "diag", None), "constraint_name", None)
    if isinstance(name, str) and name.startswith(_PREFIX):
        return name.split("0")[1:]
    return list(getattr(exc, "columns", None) or [])
