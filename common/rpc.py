"""The edge to oslo.messaging: transports, clients, servers; third-party errors end here.

Errors of ours cross as data: a server answers ``{"result": ...}`` or ``{"error":
{...}}``, and the client raises the error again.  An exception never crosses.

Over RabbitMQ every wait has a bound (``PATIENCE_S``), which oslo.messaging's own driver
has not: with the broker away its calls, its listeners and its stopping wait for ever.
See doc/decisions/0011-bounded-broker.md.
"""

import concurrent.futures
import contextlib
import functools
import logging
import threading
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import quote

# isort: off
from common import concurrency  # noqa: F401  it has to come before oslo_messaging
# isort: on
import oslo_messaging
from oslo_config import cfg
from oslo_messaging import dispatcher as oslo_dispatcher
from oslo_messaging import transport as oslo_transport
from oslo_messaging._drivers import amqp as oslo_amqp
from oslo_messaging._drivers import amqpdriver, base, impl_rabbit
from oslo_messaging._drivers import common as oslo_common
from oslo_messaging._drivers import pool as oslo_pool
from oslo_messaging._metrics import client as oslo_metrics
from oslo_messaging._tracing import client as oslo_tracing
from oslo_messaging.rpc import server as oslo_server

from common import errors, quiet, shipped
from common.answering import Desk
from common.trouble import TROUBLE, Away, Refused, translated

LOG = logging.getLogger(__name__)

EXCHANGE = "corral"
TOPIC_AGENT = "corral.agent"           #: conductor -> one agent, casts only
TOPIC_AGENTS = "corral.agents"         #: agents -> conductors
TOPIC_CONDUCTOR = "corral.conductor"   #: API and other services -> conductors

#: topics whose messages always name their server, so that no queue is shared
_NAMED_ONLY = frozenset({TOPIC_AGENT})

#: seconds that a broker gets to take a connection or a message, before it counts as away
PATIENCE_S = 4.0
#: seconds that it gets to declare a queue for a listener: after its restart all clients come at once
_DECLARE_S = 10.0
#: seconds between two attempts to listen, and between two attempts to bring a reply
_RETRY_S = 1.0
#: attempts to bring a reply while the broker is away; its caller waits about that long
_REPLY_ATTEMPTS = 60

Context = dict[str, Any]
Transport = oslo_messaging.Transport


def transport(url: str | None, conf: Any = None, process: str | None = None, password: str | None = None) -> Any:
    """Return an RPC transport for ``url``, or for the configured one.

    ``process`` names this process among those of its machine (queues are named after
    it); ``password`` is for the hosts in the URL that have none.  The broker need not be
    there.  Raises Invalid.
    """
    conf = conf or cfg.CONF
    # oslo.messaging registers these two on the global configuration only; without them it drops every message.
    conf.register_opts(oslo_metrics.oslo_messaging_metrics, group="oslo_messaging_metrics")
    conf.register_opts(oslo_tracing.oslo_messaging_tracing, group="oslo_messaging_tracing")
    oslo_messaging.set_transport_defaults(control_exchange=EXCHANGE)
    parsed = address(url, conf, password)
    try:
        if parsed.transport != "rabbit":
            return oslo_messaging.get_rpc_transport(conf, url=parsed)
        conf.register_opts(impl_rabbit.rabbit_opts, group=shipped.GROUP)
        conf.register_opts(oslo_amqp.amqp_opts, group=shipped.GROUP)
        shipped.set_defaults(conf, process)
        quiet.quieten(("oslo.messaging", "oslo_messaging", "kombu", "amqp", __name__), alike=quiet.broker_trouble)
        return oslo_transport.RPCTransport(_Driver(conf, parsed, default_exchange=EXCHANGE))
    except (oslo_messaging.DriverLoadFailure, RuntimeError, ValueError) as exc:
        raise errors.Invalid(f"The transport URL can't be used: {exc}", code="bad_transport_url") from exc


def address(url: str | None, conf: Any = None, password: str | None = None) -> Any:
    """Return ``url``, or the configured one, as oslo.messaging reads it.  Raises Invalid."""
    try:
        parsed = oslo_messaging.TransportURL.parse(conf or cfg.CONF, url)
    except (oslo_messaging.InvalidTransportURL, ValueError) as exc:
        raise errors.Invalid(f"The transport URL can't be used: {exc}", code="bad_transport_url") from exc
    for host in parsed.hosts:
        host.password = host.password or password
    return parsed


class Client:
    """Calls and casts to one topic.  ``retry``: how often a broken connection is replaced while sending."""

    def __init__(self, transport: Any, topic: str, version: str, timeout_s: float = 60.0, retry: int = 2) -> None:
        self._client = oslo_messaging.get_rpc_client(
            transport, oslo_messaging.Target(exchange=EXCHANGE, topic=topic, version=version),
            timeout=timeout_s, retry=retry,
            transport_options=oslo_messaging.TransportOptions(at_least_once=True))

    def call(self, context: Context, method: str, timeout_s: float | None = None, version: str | None = None,
             **arguments: Any) -> Any:
        """Return what the other side answers; ``version`` is the one in which the method last changed.

        Raises the error it answered with; Unavailable when nobody listens or the broker
        is away or refuses us, OutcomeUnknown when no reply came in time.
        """
        changed = {"timeout": timeout_s, "version": version}
        client = self._client.prepare(**{name: value for name, value in changed.items() if value is not None})
        answer = _sent(lambda: client.call(context, method, **arguments), method)
        if "error" in answer:
            raise errors.from_wire(answer["error"])
        return answer["result"]

    def cast(self, context: Context, method: str, server: str, version: str | None = None, **arguments: Any) -> None:
        """Send without waiting for an answer.  Raises Unavailable, as ``call``."""
        client = self._client.prepare(server=server, **({} if version is None else {"version": version}))
        _sent(lambda: client.cast(context, method, **arguments), method)


def _sent(send: Callable[[], Any], method: str) -> Any:
    """Return ``send()`` with the messaging library's errors translated into ours."""
    try:
        return send()
    except oslo_messaging.exceptions.MessageUndeliverable as exc:
        raise errors.Unavailable(f"Nobody listens for {method}; is the service running?",
                                 code="nobody_listens") from exc
    except oslo_messaging.MessagingTimeout as exc:
        raise errors.OutcomeUnknown(f"No answer to {method} in time") from exc
    except Refused as exc:
        raise errors.Unavailable(f"The message broker refuses this service: {exc}", code="broker_refused") from exc
    except (oslo_messaging.MessageDeliveryFailure, *TROUBLE) as exc:
        unknown = {"effect": "unknown"} if getattr(exc, "sent", False) else {}
        raise errors.Unavailable("The message broker can't be reached", code="broker_unavailable", **unknown) from exc
    except oslo_messaging.MessagingException as exc:
        raise errors.Error(f"{method} was refused: {exc}", code="rpc_refused") from exc


class _Dispatcher(oslo_dispatcher.DispatcherBase):  # type: ignore[misc]
    """Hands every message to the desk, whatever it says."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def dispatch(self, incoming: Any) -> dict[str, Any]:
        """Return the answer."""
        return self._desk.answer(incoming.ctxt, incoming.message)


class Server:
    """One listening topic; ``start`` may be called once, ``stop`` at any time and again."""

    def __init__(self, transport: Any, topic: str, server: str, version: str,
                 methods: dict[str, Callable[..., Any]], workers: int = 16) -> None:
        self._transport = transport
        self._target = oslo_messaging.Target(exchange=EXCHANGE, topic=topic, server=server)
        self._dispatcher = _Dispatcher(Desk(topic, version, methods))
        self._workers = workers
        self._server: Any = None
        self._listening, self._ended = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to handle messages, with at most ``workers`` at once; returns at once also without a broker.

        Over a broker, ``listening`` says when; it is tried until ``stop``.
        """
        if not isinstance(self._transport._driver, _Driver):
            self._listen()
            return
        self._thread = threading.Thread(target=self._keep_trying, daemon=True, name=f"rpc-{self._target.topic}")
        self._thread.start()

    def listening(self, timeout_s: float = 0.0) -> bool:
        """Return whether it has begun to listen, waiting for that so long."""
        return self._listening.wait(timeout_s)

    def stop(self) -> None:
        """Take no more messages and wait for those being handled."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        server, self._server = self._server, None
        if server is None:
            return
        if isinstance(self._transport._driver, _Driver):
            self._transport._driver.hurry.set()
        server.stop()
        server.wait()

    def _listen(self) -> None:
        # Each attempt needs a new one: the library's can't be started again after a failure.
        server = oslo_server.RPCServer(self._transport, self._target, self._dispatcher)
        server.start(override_pool_size=self._workers)
        self._server = server
        self._listening.set()

    def _keep_trying(self) -> None:
        while not self._ended.is_set():
            try:
                self._listen()
                return
            except (oslo_messaging.MessagingException, *TROUBLE) as exc:
                LOG.warning("Can't listen on %s at the message broker yet: %s", self._target.topic, exc)
            self._ended.wait(_RETRY_S)


def methods_of(obj: object, names: Iterable[str]) -> dict[str, Callable[..., Any]]:
    """Return the named methods of ``obj``, to be served."""
    return {name: getattr(obj, name) for name in names}


class _Connection(impl_rabbit.Connection):  # type: ignore[misc]
    """oslo.messaging's connection, without its waits that have no end."""

    def __init__(self, conf: Any, url: Any, purpose: str, retry: int | None = None, *,
                 hurry: threading.Event) -> None:
        self._hurry = hurry
        self._hosts = max(1, len(url.hosts))
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

    def set_transport_socket_timeout(self, timeout: float | None = None) -> None:
        """Bound every write, and every answer that is waited for."""
        longest = PATIENCE_S if self.purpose == oslo_common.PURPOSE_SEND else _DECLARE_S
        super().set_transport_socket_timeout(longest if timeout is None else min(timeout, longest))

    def ensure(self, method: Callable[[], Any], retry: int | None = None,
               recoverable_error_callback: Callable[..., Any] | None = None,
               error_callback: Callable[..., Any] | None = None, timeout_is_error: bool = True) -> Any:
        """Return ``method()``, once more over a new connection if the old one is broken.  Raises Away, Refused."""
        if recoverable_error_callback is not None:      # consuming, which ends by its own timer
            return super().ensure(method, retry, recoverable_error_callback, error_callback, timeout_is_error)
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

    def consume(self, timeout: float | None = None) -> None:
        """Handle what arrives; return or raise Timeout at least every second, so that a stop is noticed."""
        try:
            super().consume(timeout=_RETRY_S if timeout is None else min(timeout, _RETRY_S))
        except oslo_messaging.MessageDeliveryFailure:
            # The library would try again at once, and fill the log.
            threading.Event().wait(_RETRY_S)
            raise

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

    def direct_send(self, msg_id: str, msg: Any) -> None:
        """Bring a reply, if need be when the broker is back; only one attempt when the process wants to end."""
        for attempt in range(_REPLY_ATTEMPTS):
            try:
                super().direct_send(msg_id, msg)
                return
            except oslo_messaging.exceptions.MessageUndeliverable as exc:
                if self._hurry.is_set():
                    raise Away("the caller is gone") from exc
                raise
            except Away:
                if attempt == _REPLY_ATTEMPTS - 1 or self._hurry.wait(_RETRY_S):
                    raise

    def _drop(self) -> None:
        """Forget the connection without a word to the other side, which may not be there to answer."""
        self.channel = None
        self._declared_exchanges.clear()
        self._declared_queues.clear()
        if self.connection._connection is not None:
            self.connection._connection.collect()


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


class _Driver(impl_rabbit.RabbitDriver):  # type: ignore[misc]
    """oslo.messaging's driver for RabbitMQ over bounded connections, without queues for fanout."""

    def __init__(self, conf: Any, url: Any, default_exchange: str) -> None:
        super().__init__(conf, url, default_exchange=default_exchange)
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
        listener = amqpdriver.RpcAMQPListener(self, connection)
        own = f"{target.topic}.{target.server}"
        for queue in (own,) if target.topic in _NAMED_ONLY else (target.topic, own):
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
