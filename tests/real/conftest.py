"""Real servers for tests: those of ``python -m tools.servers``, else private ones of this run.

Where their programs are missing and can't be installed, the tests fail with the sentence
that says what to install: what was not tried has not passed.
"""

import os
import uuid
from collections.abc import Iterator

import pytest

from tools.servers import rabbitmq


@pytest.fixture(scope="session")
def broker() -> Iterator[rabbitmq.Access]:
    """A RabbitMQ that all tests of the run share, so they stay in vhosts of their own and never stop it."""
    if url := os.environ.get("CORRAL_TEST_RABBITMQ"):
        yield rabbitmq.Access(url, os.environ["CORRAL_TEST_RABBITMQ_MANAGEMENT"])
        return
    with rabbitmq.Broker() as own:
        yield own


@pytest.fixture
def vhost_name(broker: rabbitmq.Access) -> Iterator[str]:
    """The name of a vhost for this test alone, for the methods of ``broker``."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    broker.vhost(name)
    yield name
    broker.drop_vhost(name)


@pytest.fixture
def vhost(broker: rabbitmq.Access, vhost_name: str) -> str:
    """oslo.messaging's URL of the vhost for this test alone."""
    return broker.url(vhost_name)
