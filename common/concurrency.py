"""Which kind of threads the process uses; imported before any library that asks.

Threads of the system are the default.  ``CORRAL_CONCURRENCY=eventlet`` selects green
threads, which the embedded mode does not offer.
"""

import os
import sys
import warnings

from oslo_service import backend

from common import errors

VARIABLE = "CORRAL_CONCURRENCY"


def select(kind: str) -> None:
    """Prepare the process for ``kind``: threads or eventlet.  Raises Invalid, NotImplementedYet."""
    if kind == "eventlet":
        raise errors.NotImplementedYet(f"{VARIABLE}=eventlet is not implemented in this version; use threads")
    if kind != "threads":
        raise errors.Invalid(f"{VARIABLE} is threads or eventlet, not {kind!r}")
    # Libraries import eventlet where it is installed, and warn of it although nothing here uses it.
    warnings.filterwarnings("ignore", message=r"\s*Eventlet is deprecated")
    warnings.filterwarnings("ignore", message="eventletutils module is deprecated")
    backend.init_backend(backend.BackendType.THREADING)


try:
    select(os.environ.get(VARIABLE, "threads"))
except errors.Error as exc:
    # No command has begun yet that could say it in its own way.
    sys.exit(exc.message)
