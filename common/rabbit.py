"""oslo.messaging's driver for RabbitMQ with a bound to every wait, and without queues for fanout.

It knows no topic of ours and no errors of ours but ``common/trouble.py``'s two.  See
doc/decisions/0011-bounded-broker.md.
"""

import concurrent.futures
import contextlib
import functools
import logging
import threading
from collections.abc import Callable, Set
from typing import Any
from urllib.parse import quote

# isort: off
from common import concurrency  # noqa: F401  it has to come before oslo_messaging
# isort: on
import amqp.exceptions
import amqp.transport
import oslo_messaging
from oslo_messaging._drivers import amqp as oslo_amqp
from oslo_messaging._drivers import amqpdriver, base, impl_rabbit
from oslo_messaging._drivers import common as oslo_common
from oslo_messaging._drivers import pool as oslo_pool

from common import shipped
from common.trouble import TROUBLE, Away, Refused, translated

LOG = logging.getLogger(__name__)

#: seconds that a broker gets to take a connection or a message, before it counts as away
PATIENCE_S = 4.0
#: seconds that it gets to declare a queue for a listener: after its restart all clients come at once
_DECLARE_S = 10.0
#: seconds between two attempts to listen, and between two attempts to bring a reply
RETRY_S = 1.0
#: read from a socket at once
_READ_BYTES = 64 * 1024
#: attempts to bring a reply while the broker is away; its caller waits about that long
_REPLY_ATTEMPTS = 60


def register_options(conf: Any) -> None:
    """Register the library's options for RabbitMQ on ``conf``."""
    conf.register_opts(impl_rabbit.rabbit_opts, group=shipped.GROUP)
    conf.register_opts(oslo_amqp.amqp_opts, group=shipped.GROUP)


class _Connection(impl_rabbit.Connection):  # type: ignore[misc]
    """oslo.messaging's connection, without its waits that have no end."""

    def __init__(self, conf: Any, url: Any, purpose: str, retry: int | None = None, *,
                 hurry: threading.Event) -> None:
        self._hurry = hurry
        self._hosts = max(1, len(url.hosts))
        #: the channel whose socket has a time-out, and how long that is
        self._bounded: tuple[Any, float] | None = None
        super().__init__(conf, url, purpose, retry)

    def _transform_transport_url(self, url: Any, host: Any, default_username: str = "", default_password: str = "",
                                 default_hostname: str = "") -> str:
        # The library leaves a slash in a password as it is, and then can't read the URL that it made.
        who, word, vhost = (quote(text, safe="") for text in (
            host.username or default_username, host.password or default_password, url.virtual_host or ""))
        name = host.hostname or default_hostname
        return f"amqp://{who}:{word}@{f'[{name}]' if ':' in name else name}:{host.port or 5672}/{vhost}"

    def ensure_connection(self) -> None:
        """Connect, trying each host once.  Raises Away, Refused."""
        self._drop()
        self.connection.connect_timeout = PATIENCE_S
        # Between connecting and the socket's own time-outs, which the library sets when it has a channel.
        self.connection.transport_options.update(read_timeout=_DECLARE_S, write_timeout=_DECLARE_S)
        try:
            self.connection.ensure_connection(max_retries=self._hosts - 1, interval_start=0, interval_step=0,
                                              interval_max=0)
            self._set_current_channel(self.connection.channel())
        except TROUBLE as exc:
            self._drop()
            raise translated(exc) from exc
        self.set_transport_socket_timeout()

    def _set_current_channel(self, new_channel: Any) -> None:
        if new_channel is not None and new_channel != self.channel:
            _read_ahead(new_channel.connection.transport)
        super()._set_current_channel(new_channel)

    def set_transport_socket_timeout(self, timeout: float | None = None) -> None:
        """Bound every write, and every answer that is waited for."""
        longest = PATIENCE_S if self.purpose == oslo_common.PURPOSE_SEND else _DECLARE_S
        bounded = self.channel, longest if timeout is None else min(timeout, longest)
        if bounded != self._bounded:        # the library asks for it twice with every message
            super().set_transport_socket_timeout(bounded[1])
            self._bounded = bounded

    def ensure(self, method: Callable[[], Any], retry: int | None = None,
               recoverable_error_callback: Callable[..., Any] | None = None,
               error_callback: Callable[..., Any] | None = None, timeout_is_error: bool = True) -> Any:
        """Return ``method()``, once more over a new connection if the old one is broken.  Raises Away, Refused."""
        if recoverable_error_callback is not None:      # consuming, which ends by its own timer
            return self._ensure_consuming(method, recoverable_error_callback, error_callback)
        for is_last in (True,) if retry == 0 else (False, True):
            try:
                if self.channel is None or not self.connection.connected:
                    self.ensure_connection()
                return method()
            except (oslo_messaging.exceptions.MessageUndeliverable, oslo_amqp.AMQPDestinationNotFound, Away):
                raise
            except TROUBLE as exc:
                self._drop()
                failure = translated(exc, sent=True)
                # Who is silent now will be silent again; only a connection that is broken is worth another.
                if is_last or isinstance(failure, Refused) or isinstance(exc, TimeoutError):
                    raise failure from exc
        return None

    def _ensure_consuming(self, method: Callable[[], Any], *callbacks: Callable[..., Any] | None) -> Any:
        """Return ``method()``, over a new connection if the old one is broken.

        The library prepares for all that can go wrong before each message, which takes as long as the
        rest; so it learns of a failure only when there was one.
        """
        failures = list[BaseException]()
        if self.channel is not None and self.connection.connected:
            try:
                return method()
            except TROUBLE as exc:
                failures.append(exc)

        def once_more() -> Any:
            if failures:
                raise failures.pop()
            return method()

        return super().ensure(once_more, None, *callbacks)

    def consume(self, timeout: float | None = None) -> None:
        """Handle what arrives; return or raise Timeout after a second, so that a stop is noticed.

        The library asks for a thousandth of one after each message, and then for twice as long again and
        again: so it gets to acknowledge what was put off, which calls and replies never are.
        """
        try:
            super().consume(timeout=RETRY_S)
        except oslo_messaging.MessageDeliveryFailure as exc:
            # The library has said so, listens anew at the next attempt, and would make that at once.
            threading.Event().wait(RETRY_S)
            raise oslo_common.Timeout from exc

    def _heartbeat_thread_job(self) -> None:
        # The library would connect again here, and keep everybody else from the connection meanwhile.
        while not self._heartbeat_exit_event.wait(self._heartbeat_wait_timeout):
            with self._connection_lock.for_heartbeat():
                self._beat()
        self._heartbeat_exit_event.clear()

    def _beat(self) -> None:
        try:
            if self.connection.connected:
                self._heartbeat_check()
                with contextlib.suppress(TimeoutError):
                    self.connection.drain_events(timeout=0.001)
        except TROUBLE as exc:
            LOG.debug("An idle connection to the message broker is given up: %s", exc)
            self._drop()

    def declare_direct_consumer(self, topic: str, callback: Callable[[Any], None]) -> None:
        """Take replies from the queue ``topic``."""
        super().declare_direct_consumer(topic, come(callback))

    def direct_send(self, msg_id: str, msg: Any) -> None:
        """Bring a reply.  Raises Away; MessageUndeliverable, after which the library tries again for long."""
        try:
            super().direct_send(msg_id, msg)
        except oslo_messaging.exceptions.MessageUndeliverable as exc:
            if self._hurry.is_set():
                raise Away("the caller is gone") from exc
            raise

    def _drop(self) -> None:
        """Forget the connection without a word to the other side, which may not be there to answer."""
        self.channel = None
        self._declared_exchanges.clear()
        self._declared_queues.clear()
        if self.connection._connection is not None:
            self.connection._connection.collect()


def come(callback: Callable[[Any], None]) -> Callable[[Any], None]:
    """Return ``callback`` for messages that count though the broker, which just went, can't be told that they came.

    The library acknowledges a reply first, and drops it when that fails.
    """
    def handle(message: Any) -> None:
        acknowledge = message.acknowledge

        def tell() -> None:
            try:
                acknowledge()
            except TROUBLE as exc:
                LOG.debug("A reply has come and can't be acknowledged: %s", exc)

        message.acknowledge = tell
        callback(message)

    return handle


def _read_ahead(transport: Any) -> None:
    """Let the transport of amqp, which keeps what is too much, read all that has come.

    It asks for the head, the body and the end of each of a message's three frames, and each time
    another thread gets its turn first.
    """
    read = transport.sock.read if isinstance(transport, amqp.transport.SSLTransport) else transport.sock.recv
    transport._quick_recv = lambda size: read(max(size, _READ_BYTES))


class _Incoming(amqpdriver.AMQPIncomingMessage):  # type: ignore[misc]
    """A call, whose reply outlives an outage."""

    def reply(self, reply: Any = None, failure: Any = None) -> None:
        """Bring the reply, if need be when the broker is back; only one attempt when the process wants to end."""
        for attempt in range(_REPLY_ATTEMPTS):
            try:
                super().reply(reply, failure)
                return
            except Away:
                if attempt == _REPLY_ATTEMPTS - 1 or self.listener.driver.hurry.wait(RETRY_S):
                    raise


class _Listener(amqpdriver.RpcAMQPListener):  # type: ignore[misc]
    message_cls = _Incoming


class _Pool(oslo_pool.ConnectionPool):  # type: ignore[misc]
    """The connections to send over; who finds all of them taken does not wait for ever."""

    def __init__(self, conf: Any, size: int, least: int, ttl_s: int, url: Any, connection: Callable[..., Any]) -> None:
        super().__init__(conf, size, least, ttl_s, url, connection)
        self._free = threading.Semaphore(size)

    def get(self, retry: int | None = None) -> Any:
        """Return a connection.  Raises Away."""
        if not self._free.acquire(timeout=PATIENCE_S):
            raise Away("all connections are in use")
        got = False
        try:
            connection = super().get(retry=retry)
            got = True
            return connection
        finally:
            if not got:
                self._free.release()

    def put(self, item: Any) -> None:
        """Take a connection back."""
        super().put(item)
        self._free.release()


class Driver(impl_rabbit.RabbitDriver):  # type: ignore[misc]
    """oslo.messaging's driver for RabbitMQ over bounded connections, without queues for fanout."""

    def __init__(self, conf: Any, url: Any, default_exchange: str, named_only: Set[str] = frozenset()) -> None:
        """``named_only``: topics whose messages always name their server, so that no queue is shared."""
        super().__init__(conf, url, default_exchange=default_exchange)
        self._named_only = named_only
        #: set when the process wants to end: nothing more is tried again
        self.hurry = threading.Event()
        options = self.conf.oslo_messaging_rabbit
        self._connection_pool = _Pool(self.conf, options.rpc_conn_pool_size, options.conn_pool_min_size,
                                      options.conn_pool_ttl, url, functools.partial(_Connection, hurry=self.hurry))
        self._process = shipped.Name(conf, f"{options.hostname}:{options.processname}") \
            if options.use_queue_manager else None
        self._asking = threading.Lock()
        self._asked: concurrent.futures.Future[str] | None = None

    def listen(self, target: Any, batch_size: int, batch_timeout: float | None) -> Any:
        """Return a listener for the topic and for the topic at this server; nothing of ours is sent to all."""
        connection = self._get_connection(oslo_common.PURPOSE_LISTEN)
        listener = _Listener(self, connection)
        own = f"{target.topic}.{target.server}"
        for queue in (own,) if target.topic in self._named_only else (target.topic, own):
            connection.declare_topic_consumer(exchange_name=self._get_exchange(target), topic=queue, callback=listener)
        return base.PollStyleListenerAdapter(listener, batch_size, batch_timeout)

    def _get_reply_queue_name(self) -> str:
        return f"reply_{self._process.taken()}" if self._process else str(super()._get_reply_queue_name())

    def _get_reply_q(self) -> str:
        """Return the name of the queue for replies; all who need it wait for the same attempt to make it."""
        with self._asking:
            if self._asked is None or (self._asked.done() and self._asked.exception()):
                self._asked = concurrent.futures.Future()
                threading.Thread(target=self._ask, args=(self._asked,), daemon=True, name="rpc-replies").start()
            asked = self._asked
        try:
            return asked.result(PATIENCE_S)
        except concurrent.futures.TimeoutError as exc:
            raise Away("no answer") from exc

    def _ask(self, asked: "concurrent.futures.Future[str]") -> None:
        try:
            asked.set_result(super()._get_reply_q())
        except Away as exc:
            asked.set_exception(exc)
        except Exception as exc:
            # The outermost frame of a thread: whatever it is, those who wait have to learn it.
            LOG.exception("The queue for replies could not be made")
            asked.set_exception(exc)

    def listeners(self, queue: str) -> int:
        """Return how many take messages from ``queue``; none when there is no such queue.  Raises Away, Refused."""
        with self._get_connection(oslo_common.PURPOSE_SEND) as connection:
            try:
                return int(connection.connection.connection.channel().queue_declare(queue, passive=True).consumer_count)
            except amqp.exceptions.NotFound:
                return 0
            except TROUBLE as exc:
                raise translated(exc) from exc
