"""What somebody with rights at the broker may put into a queue, and a server that goes on: no loop, one line each."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import kombu
import pytest
from oslo_config import cfg

from common import errors, rpc

LONG_S = 30.0
TOPIC = "test"


def enveloped(message: object) -> bytes:
    """Return a message as oslo.messaging wraps it."""
    return json.dumps({"oslo.version": "2.0", "oslo.message": json.dumps(message)}).encode()


GOOD = {"method": "echo", "args": {"value": "x"}, "version": "1.0", "_context_user": "ann", "_unique_id": "u"}
JSON = "application/json"
#: body and content type
GARBAGE: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", JSON),
    "no JSON": (b"{", JSON),
    "bytes": (b"\xff\xfe\x00", "application/octet-stream"),
    "text": (b"hello", "text/plain"),
    "a kind that nobody knows": (b"x", "application/x-nothing"),
    "a pickle": (b"cos\nsystem\n(S'true'\ntR.", "application/x-python-serialize"),
    "a list": (b"[]", JSON),
    "null": (b"null", JSON),
    "a number": (b"5", JSON),
    "an empty object": (b"{}", JSON),
    "nested deeply": (b"[" * 100_000 + b"]" * 100_000, JSON),
    "an envelope of a later version": (json.dumps({"oslo.version": "9.0", "oslo.message": "{}"}).encode(), JSON),
    "an envelope of no version": (json.dumps({"oslo.version": [], "oslo.message": "{}"}).encode(), JSON),
    "an envelope with no JSON": (json.dumps({"oslo.version": "2.0", "oslo.message": "{"}).encode(), JSON),
    "an envelope with an object": (json.dumps({"oslo.version": "2.0", "oslo.message": {}}).encode(), JSON),
    "an envelope with a list": (enveloped([]), JSON),
    "an envelope with null": (enveloped(None), JSON),
    "an envelope with depth": (enveloped({"method": json.loads("[" * 500 + "]" * 500)}), JSON),
    "no method": (enveloped({"args": {}}), JSON),
    "a method that is none": (enveloped({**GOOD, "method": ["echo"]}), JSON),
    "arguments that are none": (enveloped({**GOOD, "args": "x"}), JSON),
    "an argument of another type": (enveloped({**GOOD, "args": {"value": {"a": 1}}}), JSON),
    "a version that is none": (enveloped({**GOOD, "version": {"a": 1}}), JSON),
    "a reply to nobody": (enveloped({**GOOD, "_msg_id": "m1", "_reply_q": "reply_nobody", "_timeout": 1}), JSON),
    "a reply to something else": (enveloped({**GOOD, "_msg_id": ["m"], "_reply_q": {"a": 1}}), JSON),
    "a time-out that is none": (enveloped({**GOOD, "_msg_id": "m", "_reply_q": "reply_none", "_timeout": "x"}), JSON),
    "an id that is none": (enveloped({**GOOD, "_unique_id": ["u"]}), JSON),
    "8 MiB": (enveloped({**GOOD, "args": {"value": "x" * 2 ** 23}}), JSON),
}


@pytest.fixture
def served(vhost: str) -> Iterator[tuple[str, rpc.Client, list[Any]]]:
    """A server of one method in a vhost of its own: the vhost's URL, a client, and what the method was asked."""
    heard: list[Any] = []

    def echo(context: dict[str, Any], value: str) -> str:
        heard.append(value)
        return value
    transports = []
    for _ in range(2):
        conf = cfg.ConfigOpts()
        conf([], project="corral", default_config_files=[])
        transports.append(rpc.transport(vhost, conf))
    server = rpc.Server(transports[0], TOPIC, "s1", "1.1", {"echo": echo}, workers=2)
    server.start()
    assert server.listening(LONG_S)
    yield vhost, rpc.Client(transports[1], TOPIC, "1.0", LONG_S), heard
    server.stop()
    for transport in transports:
        transport.cleanup()


@pytest.mark.parametrize("what", GARBAGE)
def test_a_server_goes_on_after(served: tuple[str, rpc.Client, list[Any]], what: str,
                                caplog: pytest.LogCaptureFixture) -> None:
    url, client, heard = served
    body, kind = GARBAGE[what]
    with kombu.Connection(url.replace("rabbit://", "amqp://")) as connection:  # type: ignore[no-untyped-call]
        channel = connection.channel()
        for _ in range(3):
            message = channel.prepare_message(body, content_type=kind, content_encoding="utf-8")
            channel.basic_publish(message, exchange=rpc.EXCHANGE, routing_key=TOPIC)
        # each is answered by one of two workers, so four in a row have passed whatever stood before them
        for number in range(4):
            assert client.call({}, "echo", value=f"still {number}") == f"still {number}"
        left = channel.queue_declare(TOPIC, passive=True)
        assert left.message_count == 0, "what can't be read is not delivered again and again"
    assert heard[-1] == "still 3"
    with pytest.raises(errors.Error, match="has no method"):
        client.call({}, "shout")
    said = [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert len(said) <= 3 + 1, [one.getMessage()[:200] for one in said]
    assert all(len(one.getMessage()) < 2000 for one in said)
    # the library shows a traceback for what is no JSON, once a minute
    assert not [one for one in said if one.exc_info and one.name.startswith(("common", "conductor"))]
