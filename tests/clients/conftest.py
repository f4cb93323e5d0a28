"""A Keystone for all tests of this folder, one per process that runs tests."""

from collections.abc import Iterator

import pytest

from conductor.api.auth import Strategy
from tests.clients.clients_world import authenticator
from tools.servers.keystone import Server

#: a region without any Corral
HOME = "home"


@pytest.fixture(scope="session")
def keystone() -> Iterator[Server]:
    """A Keystone that knows the user of Corral's own."""
    with Server() as server:
        server.user("corral", "corral", "service", "service")
        server.endpoint("identity", HOME, server.url)
        yield server


@pytest.fixture(scope="session")
def strategy(keystone: Server) -> Strategy:
    """What asks that Keystone."""
    return authenticator(keystone)
