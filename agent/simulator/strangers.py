"""Looks what answers at addresses of no simulated host, as a joiner does: TLS, then a login.

Each conversation has a thread of its own and lasts until the other end says something or closes, or nobody waits for
it any more. Knows sockets; knows no world and takes no lock but its own.
"""

import contextlib
import http.client
import socket
import ssl
import threading
import xmlrpc.client
from collections.abc import Callable, Mapping
from typing import Any

from agent.simulator.knocks import Knock

CONNECT_S = 30.0
MOST_READ = 4096
DEAD = ["JOINING_HOST_CONNECTION_FAILED"]
REFUSED = ["JOINING_HOST_SERVICE_FAILED"]
NO_XML = ["INTERNAL_ERROR", 'Xmlm.Error(1:1, "expected root element")']  # seen
FOREIGN = ["NOT_IMPLEMENTED", "pool.join of what is no host of this simulator"]


class Strangers:
    """The conversations under way; `tell` gets the task and the error of each that has ended by itself."""

    def __init__(self, port: int, tell: Callable[[str, list[str]], None]) -> None:
        self._port, self._tell = port, tell
        self._lock = threading.Lock()
        self._sockets: dict[str, socket.socket] = {}
        self._threads: dict[str, threading.Thread] = {}

    def attend(self, wanted: Mapping[str, Knock]) -> None:
        """Begin the conversations that are new, and hang up where nobody waits any more."""
        if not wanted and not self._threads:
            return
        with self._lock:
            for task in self._sockets.keys() - wanted.keys():
                _hang_up(self._sockets.pop(task))
            self._threads = {task: thread for task, thread in self._threads.items() if thread.is_alive()}
            for task in wanted.keys() - self._sockets.keys() - self._threads.keys():
                self._sockets[task] = connection = _unconnected()
                self._threads[task] = threading.Thread(
                    target=self._talk, args=(task, connection, dict(wanted[task])), name=f"simulator-{task}",
                    daemon=True)
                self._threads[task].start()

    def stop(self) -> None:
        """End all conversations."""
        self.attend({})
        for thread in list(self._threads.values()):
            thread.join()

    def _talk(self, task: str, connection: ssl.SSLSocket, knock: Knock) -> None:
        with connection:
            error = _answer_of(connection, (knock["target"], self._port), knock["user"], knock["password"])
        with self._lock:
            if self._sockets.pop(task, None) is None:
                return  # nobody waits any more
        self._tell(task, error)


def _unconnected() -> ssl.SSLSocket:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # the first login of a join verifies nothing
    return context.wrap_socket(socket.socket(socket.AF_INET, socket.SOCK_STREAM), do_handshake_on_connect=False)


def _hang_up(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it may have ended
        socket.socket.shutdown(connection, socket.SHUT_RDWR)  # SSL's own takes the session from under its reader


def _answer_of(connection: ssl.SSLSocket, place: tuple[str, int], *login: Any) -> list[str]:
    body = xmlrpc.client.dumps((*login, "1.0", "xapi"), "session.login_with_password").encode()
    head = f"POST / HTTP/1.1\r\nHost: {place[0]}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    try:
        connection.settimeout(CONNECT_S)
        connection.connect(place)
        connection.settimeout(None)
        connection.do_handshake()
        connection.sendall(head.encode() + body)
        response = http.client.HTTPResponse(connection, method="POST")
        response.begin()
        text = response.read(MOST_READ).lstrip()
    except (OSError, ValueError, http.client.HTTPException):
        return DEAD
    if response.status != http.client.OK:
        return REFUSED
    return NO_XML if text and not text.startswith(b"<") else FOREIGN
