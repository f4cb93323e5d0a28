"""What is wrong with a message broker, or with our standing there, in sentences; for the start of each daemon.

It looks from the outside, with kombu, as the user that the daemon is; every look has a
time-out.  It changes nothing but what the daemon declares anyway when it listens.
"""

import functools
import ipaddress
import logging
import re
import ssl
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

# isort: off
from common import concurrency  # noqa: F401  it has to come before kombu
# isort: on
import amqp
import amqp.exceptions
import kombu.connection
from oslo_config import cfg

from common import rpc, shipped
from common.trouble import TROUBLE, Refused, translated

LOG = logging.getLogger(__name__)

#: seconds for each question
ANSWER_S = 4.0
#: the first RabbitMQ with quorum queues
OLDEST = (3, 8)

_DIFFERS = re.compile(r"inequivalent arg '(?P<what>[^']+)' for (?P<kind>exchange|queue) '(?P<name>[^']+)'"
                      r".*?received (?P<wanted>.*?) but current is (?P<found>.*)")
#: how the broker calls the exchange without a name
_DEFAULT = "amq.default"
#: options of oslo.messaging that become arguments of a quorum queue
_LIMITS = {"rabbit_quorum_delivery_limit": "x-delivery-limit",
           "rabbit_quorum_max_memory_length": "x-max-in-memory-length",
           "rabbit_quorum_max_memory_bytes": "x-max-in-memory-bytes"}
#: behind the consumers that are there already
_LAST = {"x-priority": -10}


@dataclass(frozen=True)
class Finding:
    """Something that an operator should mend."""

    code: str
    sentence: str


def check(conf: Any, url: str | None, topics: Iterable[str] = (), password: str | None = None) -> list[Finding]:
    """Return what is wrong with the broker at ``url``, or at the configured one; nothing for other transports.

    ``topics`` are the queues that this process listens on, with the server's name where
    only that is listened on, e.g. ``corral.agent.h1``; none for one that only calls.
    """
    conf = conf or cfg.CONF
    address = rpc.address(url, conf, password)
    if address.transport != "rabbit":
        return []
    rpc.transport(url, conf)        # so that the library's options are registered
    found = list(_of_address(conf, address))
    for host in address.hosts:
        connection = _connection(conf, address, host)
        try:
            connection.ensure_connection(max_retries=0)
            connection.connection.sock.settimeout(ANSWER_S)
        except TROUBLE as exc:
            found.append(_of_failure(exc, address, host))
            continue
        # What follows is the same on all hosts of a cluster.
        try:
            return [*found, *_of_broker(conf, connection, host.username or "guest", list(topics))]
        finally:
            connection.collect()
    return found


def warn(findings: Iterable[Finding]) -> None:
    """Log each finding as one warning."""
    for one in findings:
        LOG.warning("%s", one.sentence, extra={"code": one.code})


def _of_address(conf: Any, address: Any) -> Iterator[Finding]:
    away = [host for host in address.hosts if not _is_loopback(host.hostname)]
    if away and not _encrypted(conf, address):
        yield Finding("broker_plain", f"The broker at {away[0].hostname} is spoken to without TLS, so who is between "
                                      "can read and change everything; set [oslo_messaging_rabbit] ssl = true")
    if any(host.username in (None, "", "guest") for host in away):
        yield Finding("broker_guest", "The user guest, whose password everybody knows, is used at a broker on another "
                                      "machine; make a user for Corral")
    if (address.virtual_host or "/") == "/":
        yield Finding("broker_shared_vhost", "The broker's vhost / is used, where other services may be, too; make one "
                                             "for Corral alone: rabbitmqctl add_vhost corral")


def _of_failure(exc: Exception, address: Any, host: Any) -> Finding:
    where, why = f"{host.hostname}:{host.port or 5672}", translated(exc)
    if not isinstance(why, Refused):
        return Finding("broker_unavailable", f"The broker at {where} can't be reached: {why}")
    if "vhost" in str(why):
        return Finding("broker_vhost", f"The broker at {where} does not let {host.username} into the vhost "
                                       f"{address.virtual_host or '/'}: {why}")
    return Finding("broker_login", f"The broker at {where} refuses the user {host.username} or its password: {why}")


def _of_broker(conf: Any, connection: Any, user: str, topics: list[str]) -> Iterator[Finding]:
    version = str(connection.connection.server_properties.get("version", ""))
    if is_too_old(version):
        yield Finding("broker_too_old", f"The broker is RabbitMQ {version}, which has no quorum queues; use "
                                        f"{'.'.join(map(str, OLDEST))} or newer")
    for permission, thing, look in _looks(conf, topics):
        yield from _look(connection, look, permission, thing, user)
    if not topics:
        return
    refused = list(_look(connection, lambda channel: _publish(channel, ""), "write", f"exchange {_DEFAULT}", user))
    is_agent = any(topic.startswith(rpc.TOPIC_AGENT + ".") for topic in topics)
    if not is_agent:
        yield from refused      # replies go there
    elif not refused:
        yield Finding("broker_default_exchange",
                      f"The user {user} may write to the default exchange, and so into the queue of every agent, which "
                      f"no agent needs; take {_DEFAULT} out of its write permission")


def _looks(conf: Any, topics: list[str]) -> Iterator[tuple[str, str, Callable[[Any], Any]]]:
    """Yield what the daemon will do there: the permission that it needs, for what, and the doing."""
    options = conf[shipped.GROUP]
    durable = options.rabbit_quorum_queue or options.amqp_durable_queues
    exchange = f"exchange {rpc.EXCHANGE}"
    yield "configure", exchange, lambda channel: channel.exchange_declare(
        rpc.EXCHANGE, "topic", durable=durable, auto_delete=options.amqp_auto_delete)
    for topic in topics:
        queue = f"queue {topic}"
        yield "configure", queue, functools.partial(_declare, topic, options, durable)
        yield "write", queue, functools.partial(_bind, topic)
        yield "read", queue, functools.partial(_consume, topic)
    yield "write", exchange, lambda channel: _publish(channel, rpc.EXCHANGE)


def _look(connection: Any, look: Callable[[Any], Any], permission: str, thing: str, user: str) -> Iterator[Finding]:
    """Do one thing in a channel of its own, which an error ends; yield what is wrong with it."""
    try:
        channel = connection.channel()
        look(channel)
        channel.close()
    except amqp.exceptions.AccessRefused as exc:
        if "access to topic" in exc.reply_text:
            return      # The exchange may be written to; which keys is the operator's business.
        if permission == "write" and thing.startswith("queue") and "exchange" in exc.reply_text:
            permission, thing = "read", f"exchange {rpc.EXCHANGE}"      # what binding needs besides
        yield Finding("broker_permission", f"The user {user} lacks the permission to {permission} for the {thing} "
                                           f"({exc.reply_text}); give it with rabbitmqctl set_permissions")
    except amqp.exceptions.PreconditionFailed as exc:
        yield _difference(exc.reply_text)
    except amqp.exceptions.NotFound:
        return          # It could not be made, which was found before.
    except TimeoutError:
        connection.collect()
        yield Finding("broker_silent", f"The broker takes connections, but did not answer in {ANSWER_S:.0f} s about "
                                       f"the {thing}; see its log. A queue that never answers is damaged: delete it")
    except TROUBLE as exc:
        connection.collect()
        yield Finding("broker_unavailable", f"The broker went away when it was asked about the {thing}: {exc}")


def _difference(words: str) -> Finding:
    found = _DIFFERS.search(words)
    if found is None:
        return Finding("broker_differs", f"Something at the broker has other properties than Corral's: {words}")
    kind, name = found["kind"], found["name"]
    how = f"rabbitmqctl delete_queue {name}" if kind == "queue" else f"rabbitmqadmin delete exchange name={name}"
    return Finding("broker_differs",
                   f"The {kind} {name} exists already, and its {found['what']} differs: Corral declares "
                   f"{found['wanted']}, it has {found['found']}. Stop what uses it, delete it ({how}) and start again")


def _publish(channel: Any, exchange: str) -> None:
    # To nobody: the broker looks at the permission first and then drops it.
    channel.basic_publish(amqp.Message("", expiration="0"), exchange, f"corral-check-{uuid.uuid4().hex}")


def _declare(queue: str, options: Any, durable: bool, channel: Any) -> None:
    channel.queue_declare(queue, durable=durable, exclusive=False, auto_delete=options.amqp_auto_delete,
                          arguments=_arguments(options))


def _bind(queue: str, channel: Any) -> None:
    channel.queue_bind(queue, rpc.EXCHANGE, queue)


def _consume(queue: str, channel: Any) -> None:
    # At most one message, which goes back when the channel is closed.
    channel.basic_qos(0, 1, False)
    channel.basic_cancel(channel.basic_consume(queue, callback=lambda message: None, arguments=_LAST))


def _arguments(options: Any) -> dict[str, Any]:
    """Return the arguments with which oslo.messaging declares queues under these options."""
    arguments: dict[str, Any] = {"x-queue-type": "quorum"} if options.rabbit_quorum_queue else {}
    if options.rabbit_ha_queues:
        arguments["x-ha-policy"] = "all"
    if options.rabbit_quorum_queue:
        arguments |= {name: options[option] for option, name in _LIMITS.items() if options[option]}
    return arguments


def _connection(conf: Any, address: Any, host: Any) -> Any:
    options = conf[shipped.GROUP]
    secured: dict[str, Any] | bool = _encrypted(conf, address)
    if secured:
        given = {"ca_certs": options.ssl_ca_file, "certfile": options.ssl_cert_file, "keyfile": options.ssl_key_file}
        secured = {name: value for name, value in given.items() if value}
        if options.ssl_ca_file:
            secured |= {"cert_reqs": ssl.CERT_REQUIRED, "server_hostname": host.hostname}
        secured = secured or True
    connection: Any = kombu.connection.Connection      # which has no types
    return connection(
        hostname=host.hostname, port=host.port or 5672, userid=host.username or "guest",
        password=host.password or "guest", virtual_host=address.virtual_host or "/", transport="pyamqp", ssl=secured,
        login_method=options.rabbit_login_method, connect_timeout=ANSWER_S,
        transport_options={"confirm_publish": True, "read_timeout": ANSWER_S, "write_timeout": ANSWER_S})


def is_too_old(version: str) -> bool:
    """Return whether a RabbitMQ of that version has no quorum queues."""
    numbers = re.findall(r"\d+", version)
    return bool(numbers) and tuple(map(int, numbers[:2])) < OLDEST


def _encrypted(conf: Any, address: Any) -> bool:
    asked = address.query.get("ssl", conf[shipped.GROUP].ssl)
    return str(asked).lower() in ("1", "true", "yes", "on")


def _is_loopback(name: str) -> bool:
    try:
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
