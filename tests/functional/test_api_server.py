"""The API behind a real socket: bodies of all kinds, bytes that are no request, and a stop with requests in hand."""

import http.client
import json
import re
import socket
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


def sent(service: Service, data: bytes) -> tuple[int, dict[str, str], Any]:
    """Return status, headers and body of the answer to these bytes; the server has to end the connection."""
    with socket.create_connection(("127.0.0.1", int(service.url.rpartition(":")[2])), timeout=20) as connection:
        connection.sendall(data)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.decode().partition("\r\n\r\n")
    first, *lines = head.split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    assert "transfer-encoding" not in headers and len(body) == int(headers["content-length"]), "one answer and no more"
    return int(first.split()[1]), headers, json.loads(body)


POST, CHUNKED = b"POST %s HTTP/1.1\r\nHost: here\r\n" % URL.encode(), b"Transfer-Encoding: chunked\r\n"
#: what is sent, its status, and the name of the error in Nova's form
BYTES: dict[str, tuple[bytes, int, str]] = {
    "noise": (b"\x16\x03\x01\r\n\r\n", 400, "badRequest"),
    "a length that is a word": (POST + b"Content-Length: two\r\n\r\n{}", 400, "badRequest"),
    "a length below zero": (POST + b"Content-Length: -2\r\n\r\n{}", 400, "badRequest"),
    "a length with a sign": (POST + b"Content-Length: +2\r\n\r\n{}", 400, "badRequest"),
    "a length of gigabytes": (POST + b"Content-Length: 99999999999\r\n\r\n{}", 413, "overLimit"),
    "a chunk without a size": (POST + CHUNKED + b"\r\nzz\r\n{}\r\nGET / HTTP/1.1\r\n\r\n", 400, "badRequest"),
    "a chunk that is not as long as it says": (POST + CHUNKED + b"\r\n1\r\n{}xx\r\n0\r\n\r\n", 400, "badRequest"),
    "chunks without end": (
        POST + CHUNKED + b"\r\n" + b"100000\r\n%s\r\n" % (b" " * 2 ** 20) * 16 + b"1\r\n", 413, "overLimit"),
    "a chunk of gigabytes": (POST + CHUNKED + b"\r\nffffffff\r\n", 413, "overLimit"),
    "headers without measure": (POST + b"X: " + b"x" * 70_000 + b"\r\n\r\n", 413, "overLimit"),
    "an address with raw bytes": (b"GET /v2.1/os-hosts/\xff HTTP/1.1\r\nHost: here\r\n\r\n", 400, "badRequest"),
    "an address of another kind": (b"GET //v2.1 HTTP/1.1\r\nHost: here\r\n\r\n", 400, "badRequest"),
    "an address with a bracket": (b"GET http://[x/v2.1 HTTP/1.1\r\nHost: here\r\n\r\n", 400, "badRequest"),
    "a method of an absolute address": (b"CONNECT here HTTP/1.1\r\nHost: here\r\n\r\n", 405, "badMethod"),
    "a header that is none": (b"GET / HTTP/1.1\r\nHost\r\n\r\n", 400, "badRequest"),
    "another coding": (POST + b"Transfer-Encoding: gzip\r\n\r\n", 501, "notImplemented"),
    "another protocol": (b"GET /v2.1 HTTP/3.0\r\nHost: here\r\n\r\n", 505, "computeFault"),
}


@pytest.mark.parametrize("what", BYTES)
def test_bytes_that_are_no_request_are_refused_in_novas_form_with_an_id(service: Service, conductor: Patient,
                                                                        what: str) -> None:
    data, status, name = BYTES[what]
    found, headers, body = sent(service, data)
    assert (found, list(body), body[name]["code"]) == (status, [name], status) and body[name]["message"]
    assert headers["content-type"] == "application/json" and "corral-error" in headers
    assert re.fullmatch("req-[0-9a-f-]{36}", headers["x-compute-request-id"])
    assert headers["x-openstack-request-id"] == headers["x-compute-request-id"] and conductor.calls == []


def test_bytes_that_are_no_request_are_refused_in_our_own_form_below_v1(service: Service) -> None:
    status, headers, body = sent(service, b"POST /v1/plans HTTP/1.1\r\nHost: here\r\nContent-Length: x\r\n\r\n")
    assert (status, body["error"]["code"]) == (400, "invalid")
    assert body["error"]["request_id"] == headers["x-compute-request-id"]


@pytest.mark.parametrize("data", [
    POST + b"Content-Length: 40\r\n\r\n" + BODY, POST + CHUNKED + b"\r\n%x\r\n%s\r\n" % (len(BODY), BODY),
    b"POST /v1/operations/op-1/cancel HTTP/1.1\r\nHost: here\r\nContent-Length: 2\r\n\r\n"])
def test_a_body_that_broke_off_is_not_taken_for_what_was_meant(service: Service, conductor: Patient,
                                                               data: bytes) -> None:
    with socket.create_connection(("127.0.0.1", int(service.url.rpartition(":")[2])), timeout=20) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    assert answer.startswith("HTTP/1.1 400 ") and "corral-error: body_unreadable" in answer.lower()
    assert conductor.calls == []


def test_what_is_left_of_a_body_that_nobody_read_is_not_taken_for_a_request(service: Service) -> None:
    hidden = b"GET /v1/hosts HTTP/1.1\r\nHost: here\r\n\r\n"
    unread = b"POST /nowhere HTTP/1.1\r\nHost: here\r\n" + CHUNKED + b"\r\n%x\r\n%s\r\n0\r\n\r\n"
    assert sent(service, unread % (len(hidden), hidden))[0] == 404


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
