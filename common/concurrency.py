"""Which kind of threads the process uses; imported before any library that asks.

Threads of the system are the default.  ``CORRAL_CONCURRENCY=eventlet`` selects green
threads: then the first import of a command has to be this module, so that nobody has
kept what eventlet replaces.
"""

import os
import sys
import warnings

from common import errors

VARIABLE = "CORRAL_CONCURRENCY"
KINDS = ("threads", "eventlet")

#: database URLs that mean psycopg 3, which waits in the C library and holds up all green threads
_PSYCOPG_3 = ("postgresql", "postgresql+psycopg", "postgresql+psycopg_async")


def selected() -> str:
    """Return the kind that the environment asks for: one of KINDS.  Raises Invalid."""
    kind = os.environ.get(VARIABLE) or "threads"
    if kind not in KINDS:
        raise errors.Invalid(f"{VARIABLE} is {' or '.join(KINDS)}, not {kind!r}", code="bad_configuration")
    return kind


def select(kind: str) -> None:
    """Prepare the process for ``kind``, one of KINDS."""
    # Libraries import eventlet where it is installed, and warn of it even if nothing here uses it.
    warnings.filterwarnings("ignore", message=r"\s*Eventlet is deprecated")
    warnings.filterwarnings("ignore", message="eventletutils module is deprecated")
    if kind == "eventlet":
        import eventlet
        eventlet.monkey_patch()
    # Only now: it keeps locks and threads of the kind that it finds.
    from oslo_service import backend
    backend.init_backend(backend.BackendType.EVENTLET if kind == "eventlet" else backend.BackendType.THREADING)


def check_database(url: str, kind: str | None = None) -> None:
    """Refuse a database driver that would hold up all green threads.  Raises Invalid."""
    if (kind or selected()) == "eventlet" and url.partition("://")[0] in _PSYCOPG_3:
        raise errors.Invalid(f"{VARIABLE}=eventlet does not go with psycopg 3, which holds up all green threads "
                             "while it waits; use threads, or name another driver in [database] connection",
                             code="eventlet_with_psycopg")


try:
    select(selected())
except errors.Error as exc:
    # No command has begun yet that could say it in its own way.
    sys.exit(exc.message)
