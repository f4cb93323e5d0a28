"""What the agents' door lets in over RabbitMQ and PostgreSQL; stories of ``tests/unit/conductor_door.py``."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from conductor_door import (
    Door,
    a_message_without_a_mac_is_refused_before_anything_is_looked_at,
    a_recorded_message_has_no_effect_a_second_time,
    an_agent_can_not_speak_for_another_host,
    an_order_of_another_host_can_neither_be_claimed_nor_reported_on,
    door,
    nothing_that_a_service_may_ask_is_served_to_agents,
    of_one_message_that_comes_many_times_at_once_one_is_taken_in,
)
from oslo_config import cfg

from common import rpc

#: those that depend on what crosses the broker
STORIES = (
    a_message_without_a_mac_is_refused_before_anything_is_looked_at, a_recorded_message_has_no_effect_a_second_time,
    an_agent_can_not_speak_for_another_host, an_order_of_another_host_can_neither_be_claimed_nor_reported_on,
    nothing_that_a_service_may_ask_is_served_to_agents, of_one_message_that_comes_many_times_at_once_one_is_taken_in,
)


@pytest.fixture
def transport(vhost: str) -> Iterator[Any]:
    """A transport to a vhost of this test alone."""
    conf = cfg.ConfigOpts()
    conf([], project="corral", default_config_files=[])
    made = rpc.transport(vhost, conf)
    yield made
    made.cleanup()


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_the_agents_door_over_rabbitmq(story: Callable[[Door], None], transport: Any, postgresql_url: str) -> None:
    with door(transport, postgresql_url) as held:
        story(held)
