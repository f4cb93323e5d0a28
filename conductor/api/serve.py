"""An HTTP server around a WSGI application, and where it may listen.

It knows nothing of what is served; what is said to bytes that are no request is ``conductor/api/wire.py``'s.
"""

import ipaddress
import logging
import queue
import threading
from collections.abc import Callable
from typing import Any

from cheroot import wsgi

from common import concurrency, errors
from common.clock import SystemClock
from conductor.api import wire
from conductor.api.intake import LARGEST_BODY_BYTES, LARGEST_HEADER_BYTES, Patience

LOG = logging.getLogger(__name__)

#: each client that waits for events holds one
THREADS = 32
#: connections that are open and have no complete request: beyond, the one that has waited longest is ended.  With those
#: that wait for a thread they are fewer than the files that a process may have open, 1024 where nobody allows more.
MOST_WAITING = 400
#: complete requests that wait for a thread: beyond, the answer is 503
MOST_QUEUED = 200
#: with green threads, seconds after which it is looked which connections there are to wait for: while they are waited
#: for, one that is put back is not seen
_GREEN_LOOK_S = 0.02
#: seconds within which a request has to arrive whole, and a connection to be used again
REQUEST_S = 10.0


class _Server(wsgi.Server):
    """cheroot's server, which writes to standard error unless told otherwise."""

    ConnectionClass = wire.Connection
    keep_alive_conn_limit = MOST_WAITING // 2

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if concurrency.selected() == "eventlet":
            self.expiration_interval = _GREEN_LOOK_S
        self.patience = Patience(max(1, self.numthreads // 2), SystemClock())
        self._lock = threading.Lock()
        #: connections without a request, the one that has waited longest first
        self._waiting: dict[wire.Connection, None] = {}

    def process_conn(self, conn: wire.Connection) -> None:
        """Give a new connection, or one with news, to a thread as soon as its request is there."""
        if not conn.has_request():
            self.put_conn(conn)
        elif conn.is_over():
            conn.end()
        else:
            self.forget(conn)
            try:
                self.requests.put(conn)
            except queue.Full:
                LOG.warning("A request was refused: %s others wait for a thread", MOST_QUEUED)
                conn.refuse("503 Service Unavailable", "Too many requests wait; try again later.")

    def put_conn(self, conn: wire.Connection) -> None:
        """Watch a connection until it has a request."""
        with self._lock:
            self._waiting.setdefault(conn)
            too_old = next(iter(self._waiting)) if len(self._waiting) > MOST_WAITING else None
        if too_old is not None:
            self.forget(too_old)
            too_old.hang_up()
        super().put_conn(conn)

    def forget(self, conn: wire.Connection) -> None:
        """Count a connection no longer."""
        with self._lock:
            self._waiting.pop(conn, None)

    def error_log(self, msg: str = "", level: int = logging.INFO, traceback: bool = False) -> None:
        """Log what the server has to say."""
        LOG.log(level, "%s", msg, exc_info=traceback)


class Service:
    """A listening server; ``start`` and ``stop`` may each be called once."""

    def __init__(self, app: Callable[..., Any], host: str, port: int, threads: int = THREADS,
                 request_s: float = REQUEST_S) -> None:
        self._host = host
        self._server: Any = _Server((host, port), app, numthreads=threads, server_name="Corral",
                                    request_queue_size=128, timeout=request_s,
                                    accepted_queue_size=MOST_QUEUED, accepted_queue_timeout=0)
        self._server.max_request_body_size = LARGEST_BODY_BYTES
        self._server.max_request_header_size = LARGEST_HEADER_BYTES
        self._refusal: OSError | None = None
        self._listening = threading.Event()
        # a daemon, so that its children are: a request that hangs must not keep the process alive
        self._thread = threading.Thread(target=self._serve, name="corral-api", daemon=True)

    def start(self) -> None:
        """Listen and serve; port 0 takes a free one.  Raises Unavailable when the address can't be had."""
        self._thread.start()
        self._listening.wait()
        if self._refusal is not None:
            raise errors.Unavailable(f"Can't listen on {self._host}, port {self._server.bind_addr[1]}: "
                                     f"{self._refusal}", code="address_not_available") from self._refusal

    def _serve(self) -> None:
        try:
            self._server.prepare()
        except OSError as exc:
            self._refusal = exc
            return
        finally:
            self._listening.set()
        self._server.serve()

    def stop(self, patience_s: float = 5.0) -> None:
        """Take no more requests and answer those in hand; what takes longer is cut off."""
        # cheroot itself would wait for ever
        stopping = threading.Thread(target=self._server.stop, name="corral-api-stop", daemon=True)
        stopping.start()
        stopping.join(patience_s)
        if stopping.is_alive():
            LOG.warning("Requests were still unanswered after %.0f s and are cut off", patience_s)

    @property
    def url(self) -> str:
        """Where it listens, with the port that it got."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._server.bind_addr[1]}"


def refuse_exposure(host: str, force_noauth: bool) -> None:
    """Raise Forbidden when everybody who reaches ``host`` could command, unless that is forced."""
    if not force_noauth and not _is_loopback(host):
        raise errors.Forbidden(f"Without authentication the API listens on loopback only, and {host} is not; "
                               "force_noauth allows it to whoever can reach it", code="noauth_exposed")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
