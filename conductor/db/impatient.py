"""A psycopg connection that gives a silent server up; by itself psycopg waits for ever.

Imported only where PostgreSQL is used.  The server's own time-outs come first; this is for
a server, or a network, that stands still.
"""

import time
from collections.abc import Generator
from typing import Any

import psycopg


class Silent(psycopg.OperationalError):
    """The server has not answered in time."""


def connection_class(answer_s: float) -> type[psycopg.Connection[Any]]:
    """Return a class of connections that end, with Silent, after so many seconds of waiting for one answer."""

    def bounded(steps: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        end = time.monotonic() + answer_s
        try:
            wanted = next(steps)
            while True:
                # psycopg comes by with "nothing yet" ten times a second.
                ready = yield wanted
                if not ready and time.monotonic() > end:
                    raise Silent(f"the server has not answered for {answer_s:g} s")
                wanted = steps.send(ready)
        except StopIteration as done:
            return done.value

    class Impatient(psycopg.Connection[Any]):
        def wait(self, gen: Any, *args: Any, **kwargs: Any) -> Any:
            try:
                return super().wait(bounded(gen), *args, **kwargs)
            except Silent:
                # What it may still say belongs to nobody; the pool sees that it is closed.
                self.pgconn.finish()
                raise

    return Impatient
