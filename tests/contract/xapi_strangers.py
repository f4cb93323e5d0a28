"""What answers beside the simulated hosts: something else over TLS, nobody at all, or no TLS.  Knows no XenAPI."""

import socket
import ssl
import threading
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from agent.simulator.certificates import Authority

NET = "127.177.0.{}"
MOST = 200
HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
KINDS = ("hello", "refusing", "plain", "silent")


class Stranger:
    """A listener at an address of its own: `hello` and `refusing` answer so over TLS, `plain` without, `silent` never.

    It ends with `close`, and with it the connections that it has taken.
    """

    def __init__(self, kind: str, port: int) -> None:
        if kind not in KINDS:
            raise ValueError(f"a stranger is one of {', '.join(KINDS)}, not {kind}")
        self._kind, self._listener = kind, _listener(port)
        self.address: str = self._listener.getsockname()[0]
        self._taken: list[socket.socket] = []
        self.met = threading.Event()  #: somebody has connected
        self._thread = threading.Thread(target=self._serve, name=f"stranger-{kind}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End; may be done twice."""
        for one in (self._listener, *self._taken):
            with suppress(OSError):  # it has ended already
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self._thread.join()

    def _serve(self) -> None:
        with TemporaryDirectory() as folder:
            context = Authority(Path(folder)).certificate("stranger", self.address).context()
        with suppress(OSError, ValueError):  # until the listener is closed
            while True:
                self._answer(self._listener.accept()[0], context)

    def _answer(self, connection: socket.socket, context: ssl.SSLContext) -> None:
        self._taken.append(connection)
        self.met.set()
        if self._kind == "silent":
            return
        connection.settimeout(20.0)
        reply = HELLO if self._kind != "refusing" else HELLO.replace(b"200 OK", b"403 Forbidden")
        with suppress(OSError):
            if self._kind != "plain":
                connection = context.wrap_socket(connection, server_side=True)
            connection.recv(65536)
            connection.sendall(reply)
        connection.close()


def _listener(port: int) -> socket.socket:
    for number in range(1, MOST):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            listener.bind((NET.format(number), port))
        except OSError:
            listener.close()
        else:
            listener.listen()
            return listener
    raise OSError(f"port {port} is taken at all addresses {NET.format('*')}")
