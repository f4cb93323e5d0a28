"""What of the driver for RabbitMQ can be told without a broker; the rest is in tests/real."""

import json
from typing import Any

import kombu
import pytest

# isort: off
from common import rabbit
# isort: on
from oslo_messaging._drivers import common as oslo_common
from oslo_messaging._drivers import impl_rabbit


class Gone:
    """A channel of a broker that has just gone, or whose connection has an error of another kind."""

    def __init__(self, failure: Exception) -> None:
        self._failure = failure
        self.no_ack_consumers = None

    def basic_ack(self, *_: Any, **__: Any) -> None:
        """Fail."""
        raise self._failure


def handled(failure: Exception) -> list[int]:
    """Return what a caller gets of a reply that can't be acknowledged because of ``failure``."""
    found: list[int] = []

    def keep(message: Any) -> None:
        message.acknowledge()
        found.append(message["result"])

    envelope = json.dumps(oslo_common.serialize_msg({"result": 7}))
    reply = kombu.Message(body=envelope, channel=Gone(failure), delivery_tag=1, content_type="application/json",
                          content_encoding="utf-8")
    rabbit.come(keep)(impl_rabbit.RabbitMessage(reply))
    return found


def test_a_reply_counts_though_the_broker_that_brought_it_has_gone() -> None:
    assert handled(ConnectionResetError()) == [7]


def test_an_error_of_our_own_in_acknowledging_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        handled(ZeroDivisionError())
