"""Real servers for tests: those of ``python -m tools.servers``, else private ones of this run.

Tests share them, so each stays in a vhost or database of its own and breaks none; a test
that breaks a server starts one for itself.  Where programs are missing and can't be
installed, the tests fail with the sentence that says what to install: what was not tried
has not passed.
"""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.servers import environment
from tools.servers.mariadb import Access as MariaDB
from tools.servers.postgresql import Access as PostgreSQL
from tools.servers.rabbitmq import Access as RabbitMQ


@pytest.fixture(scope="session")
def broker() -> Iterator[RabbitMQ]:
    """A RabbitMQ."""
    with environment.broker(os.environ) as found:
        yield found


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """A PostgreSQL."""
    with environment.postgresql_server(os.environ) as found:
        yield found


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDB]:
    """A MariaDB."""
    with environment.mariadb_server(os.environ) as found:
        yield found


@pytest.fixture
def own_name() -> str:
    """A name that no other test uses."""
    return f"test_{uuid.uuid4().hex[:12]}"


@pytest.fixture
def vhost_name(broker: RabbitMQ, own_name: str) -> Iterator[str]:
    """The name of a vhost for this test alone, for the methods of ``broker``."""
    broker.vhost(own_name)
    yield own_name
    broker.drop_vhost(own_name)


@pytest.fixture
def vhost(broker: RabbitMQ, vhost_name: str) -> str:
    """oslo.messaging's URL of the vhost for this test alone."""
    return broker.url(vhost_name)


@pytest.fixture
def postgresql_url(postgresql: PostgreSQL, own_name: str) -> Iterator[str]:
    """The URL of an empty database for this test alone, on PostgreSQL."""
    yield postgresql.database(own_name)
    postgresql.drop(own_name)


@pytest.fixture
def mariadb_url(mariadb: MariaDB, own_name: str) -> Iterator[str]:
    """The URL of an empty database for this test alone, on MariaDB."""
    yield mariadb.database(own_name)
    mariadb.drop(own_name)


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database for this test alone, on each kind in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/test.sqlite"
    return str(request.getfixturevalue(f"{request.param}_url"))
