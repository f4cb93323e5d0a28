"""The private servers themselves: they answer, come back with their data, and are gone afterwards."""

import time

import kombu
import pytest

from tools.servers import rabbitmq


def amqp(url: str) -> kombu.Connection:
    return kombu.Connection(f"amqp{url.removeprefix('rabbit')}")


def test_a_vhost_carries_messages_and_tells_its_queues_depths(broker: rabbitmq.Access, vhost: str,
                                                              vhost_name: str) -> None:
    with amqp(vhost) as connection, connection.channel() as channel:
        kombu.Queue("q", durable=True)(channel).declare()
        kombu.Producer(channel).publish({"n": 1}, routing_key="q")
        assert kombu.Queue("q")(channel).get() is not None
        kombu.Producer(channel).publish({"n": 2}, routing_key="q")
        end = time.monotonic() + 20
        while not (queues := broker.queues(vhost_name)) or queues[0]["messages"] != 2:
            assert time.monotonic() < end, queues
    # The first message was taken, but not acknowledged.
    assert [(queue["name"], queue["type"], queue["durable"]) for queue in queues] == [("q", "classic", True)]
    assert broker.close_connections(vhost_name) <= 1


def test_a_user_may_do_what_it_was_given_and_nothing_else(broker: rabbitmq.Access, vhost_name: str) -> None:
    url = broker.user(f"{vhost_name}-bob", "secret", vhost_name, configure="mine", write="mine", read="mine",
                      topics={"amq.topic": ("a", "b")})
    with amqp(url) as connection:
        kombu.Queue("mine", durable=True)(connection.channel()).declare()
        with pytest.raises(connection.channel_errors, match=r"ACCESS_REFUSED|access"):
            kombu.Queue("yours", durable=True)(connection.channel()).declare()
    assert [queue["name"] for queue in broker.queues(vhost_name)] == ["mine"]
    broker.drop_user(f"{vhost_name}-bob")
