"""The API behind a real socket: bodies of all kinds, and a stop with requests in hand."""

import http.client
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from conductor.api.app import make_app
from conductor.api.serve import Service
from tests.unit.api_conductor import InMemory

URL = "/v2.1/os-aggregates"
BODY = b'{"aggregate": {"name": "a"}}'


class Patient(InMemory):
    """A conductor that answers host_list only when it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.go = threading.Event(), threading.Event()

    def host_list(self, zone: str | None = None) -> dict[str, Any]:
        """Wait for ``go``."""
        self.asked.set()
        assert self.go.wait(20)
        return super().host_list(zone)


@pytest.fixture
def conductor() -> Patient:
    return Patient()


@pytest.fixture
def service(conductor: Patient) -> Iterator[Service]:
    service = Service(make_app(conductor), "127.0.0.1", 0, threads=4)
    service.start()
    yield service
    conductor.go.set()
    service.stop()


def connected(service: Service) -> http.client.HTTPConnection:
    """Return a connection to the service."""
    return http.client.HTTPConnection(service.url.removeprefix("http://"), timeout=20)


@pytest.mark.parametrize("body, status", [
    (BODY, 200), (BODY.ljust(64 * 1024 + 1), 413), (b" " * 5_000_000, 413)])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_is_read_with_its_length_or_in_chunks(service: Service, body: bytes, status: int,
                                                     chunked: bool) -> None:
    connection = connected(service)
    pieces = iter([body[n:n + 50_000] for n in range(0, len(body), 50_000)])
    connection.request("POST", URL, pieces if chunked else body, {"Content-Type": "application/json"},
                       encode_chunked=chunked)
    answer = connection.getresponse()
    assert answer.status == status
    assert next(iter(json.loads(answer.read()))) == ("aggregate" if status == 200 else "overLimit")
    connection.close()


def test_one_connection_serves_many_requests_also_after_a_refusal(service: Service) -> None:
    connection = connected(service)
    for body, status in ((BODY, 200), (b"{", 400), (BODY.ljust(70_000), 413), (BODY, 409)):
        connection.request("POST", URL, body)
        answer = connection.getresponse()
        assert (answer.status, bool(answer.read())) == (status, True)
    connection.close()


def test_stop_answers_the_request_in_hand(service: Service, conductor: Patient) -> None:
    connection = connected(service)
    connection.request("GET", "/v1/hosts")
    assert conductor.asked.wait(20)
    stopping = threading.Thread(target=service.stop)
    stopping.start()
    conductor.go.set()
    assert connection.getresponse().status == 200
    stopping.join(20)
    assert not stopping.is_alive()
    connection.close()


def test_stop_does_not_wait_for_ever(conductor: Patient) -> None:
    service = Service(make_app(conductor), "127.0.0.1", 0, threads=2)
    service.start()
    connection = connected(service)
    connection.request("GET", "/v1/hosts")
    assert conductor.asked.wait(20)
    service.stop(patience_s=0.1)
    conductor.go.set()
    connection.close()
