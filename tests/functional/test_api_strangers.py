"""The API and clients that mean no good: two requests in one, slow ones, very many, those that never read."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from conductor.api import serve
from conductor.api.app import make_app
from conductor.api.serve import Service
from tests.unit.api_conductor import InMemory

BODY = b'{"aggregate": {"name": "a"}}'
HOST, CLOSE, CHUNKED = b"Host: here\r\n", b"Connection: close\r\n", b"Transfer-Encoding: chunked\r\n"
POST = b"POST /v2.1/os-aggregates HTTP/1.1\r\n" + HOST
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
GET = b"GET /v2.1/os-hosts HTTP/1.1\r\n" + HOST
HIDDEN = GET + CLOSE + b"\r\n"


@pytest.fixture
def conductor() -> InMemory:
    return InMemory()


@pytest.fixture
def service(conductor: InMemory) -> Iterator[Service]:
    """Return a service with two threads, whose clients have a second."""
    service = Service(make_app(conductor), "127.0.0.1", 0, threads=2, request_s=1.0)
    service.start()
    yield service
    service.stop()


def connected(service: Service) -> socket.socket:
    """Return a connection to the service."""
    return socket.create_connection(("127.0.0.1", int(service.url.rpartition(":")[2])), timeout=20)


def rest(connection: socket.socket) -> bytes:
    """Return all that is still answered, up to the connection's end."""
    return b"".join(iter(lambda: connection.recv(65536), b""))


def answered(service: Service, data: bytes) -> bytes:
    """Return what comes back for ``data``, up to the connection's end."""
    with connected(service) as connection:
        connection.sendall(data)
        return rest(connection)


#: what two readers could take for two things
AMBIGUOUS: dict[str, bytes] = {
    "two lengths": POST + b"Content-Length: 2\r\n" + LENGTH + b"\r\n" + BODY,
    "a length twice": POST + LENGTH + LENGTH + b"\r\n" + BODY,
    "a list of lengths": POST + b"Content-Length: 28, 28\r\n\r\n" + BODY,
    "a length and chunks": POST + LENGTH + CHUNKED + b"\r\n1c\r\n" + BODY + b"\r\n0\r\n\r\n",
    "chunks twice": POST + CHUNKED + CHUNKED + b"\r\n1c\r\n" + BODY + b"\r\n0\r\n\r\n",
    "chunks in chunks": POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n1c\r\n" + BODY + b"\r\n0\r\n\r\n",
    "no coding": POST + b"Transfer-Encoding:\r\n\r\n",
    "a coding with an invisible mark": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n1c\r\n" + BODY + b"\r\n0\r\n\r\n",
    "chunks in HTTP/1.0": (b"POST /v2.1/os-aggregates HTTP/1.0\r\nConnection: Keep-Alive\r\n" + CHUNKED + b"\r\n"
                           + HIDDEN),
    "a size with 0x": POST + CHUNKED + b"\r\n0x1c\r\n" + BODY + b"\r\n0\r\n\r\n",
    "a size with a sign": POST + CHUNKED + b"\r\n+1c\r\n" + BODY + b"\r\n0\r\n\r\n",
    "a size with an underscore": POST + CHUNKED + b"\r\n1_c\r\n" + BODY + b"\r\n0\r\n\r\n",
    "a size below zero": POST + CHUNKED + b"\r\n1c\r\n" + BODY + b"\r\n-1\r\n\r\n",
    "a size with a bare line feed": POST + CHUNKED + b"\r\n1c\n" + BODY + b"\r\n0\r\n\r\n",
    "a size without end": POST + CHUNKED + b"\r\n1c;" + b"x" * 10_000,
    "trailers without end": POST + CHUNKED + b"\r\n1c\r\n" + BODY + b"\r\n0\r\n" + b"X: y\r\n" * 100,
    "a folded header": GET + b"X-A: b\r\n c\r\n\r\n",
    "a fold before all headers": b"GET / HTTP/1.1\r\n X: y\r\n" + HOST + b"\r\n",
    "a space before the colon": POST + b"Content-Length : 28\r\n\r\n" + BODY,
    "a header without a name": GET + b": c\r\n\r\n",
    "a name with a space": GET + b"X A: c\r\n\r\n",
    "NUL in a value": GET + b"X-A: b\0c\r\n\r\n",
    "CR in a value": GET + b"X-A: b\rX-B: c\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": GET + b"Host: there\r\n\r\n",
    "a host with a path": b"GET /v2.1 HTTP/1.1\r\nHost: there/<x>?\r\n\r\n",
    "a host that is none": b"GET /v2.1 HTTP/1.1\r\nHost:\r\n\r\n",
    "two tokens": GET + b"X-Auth-Token: a\r\nX-Auth-Token: b\r\n\r\n",
    "two microversions": GET + b"X-OpenStack-Nova-API-Version: 2.1\r\nX-OpenStack-Nova-API-Version: 2.42\r\n\r\n",
    "an absolute address": b"GET http://there/v2.1 HTTP/1.1\r\n" + HOST + b"\r\n",
    "the methods of an absolute address": b"OPTIONS http://there/v2.1 HTTP/1.1\r\n" + HOST + b"\r\n",
    "a version with a sign": b"GET / HTTP/1.+1\r\n" + HOST + b"\r\n",
    "HTTP/0.9": b"GET /\r\n",
}


@pytest.mark.parametrize("what", AMBIGUOUS)
def test_what_could_be_read_in_two_ways_is_refused_and_ends_the_connection(service: Service, conductor: InMemory,
                                                                           what: str) -> None:
    head, _, body = answered(service, AMBIGUOUS[what]).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ") and b"connection: close" in head.lower()
    assert list(json.loads(body)) == ["badRequest"], "one answer and no more"
    assert conductor.calls == []


def test_what_follows_the_last_chunk_is_a_trailer_and_no_request(service: Service, conductor: InMemory) -> None:
    found = answered(service, POST + CHUNKED + b"\r\n1c\r\n" + BODY + b"\r\n0\r\n" + HIDDEN)
    assert found.startswith(b"HTTP/1.1 200 ") and found.count(b"HTTP/1.1") == 1
    assert [method for _, method, _ in conductor.calls] == ["aggregate_create"]


def test_requests_that_follow_each_other_are_answered_in_order(service: Service) -> None:
    chunked = POST + CHUNKED + b"\r\n1c;x=y\r\n" + BODY + b"\r\n0\r\nX: y\r\n\r\n"
    last = GET.replace(b"os-hosts", b"none") + CLOSE + b"\r\n"
    found = answered(service, GET + b"\r\n" + chunked + GET + b"\r\n" + last)
    assert [int(one[:3]) for one in found.split(b"HTTP/1.1 ")[1:]] == [200, 200, 200, 404]


def test_more_headers_than_anybody_needs_are_refused(service: Service) -> None:
    assert answered(service, GET + b"X: y\r\n" * 1000 + b"\r\n").startswith(b"HTTP/1.1 413 ")


def test_a_header_with_an_underscore_is_not_taken_for_another(service: Service) -> None:
    found = answered(service, GET + b"X_OpenStack_Nova_API_Version: 99.1\r\n" + CLOSE + b"\r\n")
    assert found.startswith(b"HTTP/1.1 200 ")


def test_a_compressed_body_is_refused(service: Service, conductor: InMemory) -> None:
    found = answered(service, POST + LENGTH + CLOSE + b"Content-Encoding: gzip\r\n\r\n" + BODY)
    assert found.startswith(b"HTTP/1.1 415 ") and conductor.calls == []


def test_http_1_0_without_a_host_is_told_the_address_that_it_asked(service: Service) -> None:
    found = answered(service, b"GET /v2.1 HTTP/1.0\r\nX-Forwarded-Host: evil\r\nForwarded: host=evil\r\n\r\n")
    assert f'"{service.url}/v2.1/"'.encode() in found and b"evil" not in found


@pytest.mark.parametrize("method, status", [("OPTIONS", 200), ("HEAD", 405), ("TRACE", 405), ("PATCH", 405)])
def test_other_methods_do_nothing_and_say_what_is_possible(service: Service, conductor: InMemory, method: str,
                                                           status: int) -> None:
    head = GET.replace(b"GET", method.encode()) + b"X-HTTP-Method-Override: GET\r\n"
    found = answered(service, head + CLOSE + b"\r\n")
    assert found.startswith(f"HTTP/1.1 {status} ".encode()) and b"allow: GET" in found
    assert conductor.calls == []


GREEN = """
from common import concurrency
import http.client, time
from conductor.api.app import make_app
from conductor.api.serve import Service
from tests.unit.api_conductor import InMemory
service = Service(make_app(InMemory()), "127.0.0.1", 0, threads=2)
service.start()
connection = http.client.HTTPConnection(service.url.removeprefix("http://"), timeout=20)
began = time.monotonic()
for _ in range(20):
    connection.request("GET", "/healthcheck")
    connection.getresponse().read()
print(time.monotonic() - began)
connection.close()
service.stop()
"""


def test_with_green_threads_a_kept_connection_is_served_without_a_pause() -> None:
    done = subprocess.run([sys.executable, "-c", GREEN], env={**os.environ, "CORRAL_CONCURRENCY": "eventlet"},
                          capture_output=True, text=True, timeout=60, check=True)
    assert float(done.stdout) < 5, "half a second each would be ten"


def drip(connection: socket.socket, data: bytes, ended: threading.Event) -> None:
    """Send ``data`` a byte at a time, up to its end or that of the connection."""
    with contextlib.suppress(OSError):
        for byte in data:
            if ended.wait(0.05):
                return
            connection.send(bytes([byte]))


@pytest.mark.parametrize("begin, dripped", [
    (b"", b""), (b"", b"GET / HTTP/1.1\r\nX: " + b"x" * 1000),
    (POST + b"Content-Length: 1000\r\n\r\n", b" " * 1000)])
def test_slow_clients_hold_no_thread_and_are_sent_away(service: Service, begin: bytes, dripped: bytes) -> None:
    ended = threading.Event()
    slow = [connected(service) for _ in range(20)]
    for one in slow:
        one.sendall(begin)
    dripping = [threading.Thread(target=drip, args=(one, dripped, ended), daemon=True) for one in slow]
    for thread in dripping:
        thread.start()
    try:
        with connected(service) as honest:
            honest.settimeout(0.8)      # before the first of the slow ones is sent away
            honest.sendall(HIDDEN)
            assert rest(honest).startswith(b"HTTP/1.1 200 ")
        for one in slow:
            # of a request that has begun it is said; the rest may be cut off while they send
            with contextlib.suppress(ConnectionError):
                found = rest(one)
                assert found == b"" if not begin + dripped else found.startswith(b"HTTP/1.1 408 ")
    finally:
        ended.set()
        for thread in dripping:
            thread.join(20)
        for one in slow:
            one.close()


def test_clients_that_do_not_read_their_answers_leave_threads_to_others(service: Service) -> None:
    asked = b"GET /v1/openapi.json HTTP/1.1\r\n" + HOST + b"\r\n"
    with contextlib.ExitStack() as held:
        for _ in range(6):
            deaf = held.enter_context(connected(service))
            deaf.settimeout(0.2)
            with contextlib.suppress(OSError):
                while True:
                    deaf.send(asked * 100)
        with connected(service) as honest:
            honest.settimeout(10)       # those that are deaf would be given a minute
            honest.sendall(HIDDEN)
            assert rest(honest).startswith(b"HTTP/1.1 200 ")


def test_a_slow_body_in_chunks_has_an_end(service: Service, conductor: InMemory) -> None:
    ended = threading.Event()
    with connected(service) as slow:
        slow.sendall(POST + CHUNKED + b"\r\nffff\r\n")
        dripping = threading.Thread(target=drip, args=(slow, b" " * 1000, ended), daemon=True)
        dripping.start()
        try:
            with contextlib.suppress(ConnectionError):
                assert rest(slow).startswith(b"HTTP/1.1 400 ")
        finally:
            ended.set()
            dripping.join(20)
    assert conductor.calls == []


def test_of_very_many_connections_the_oldest_makes_room(service: Service) -> None:
    with contextlib.ExitStack() as held:
        many = [held.enter_context(connected(service)) for _ in range(serve.MOST_WAITING + 5)]
        assert rest(many[0]) == b""
        with connected(service) as honest:
            honest.sendall(HIDDEN)
            assert rest(honest).startswith(b"HTTP/1.1 200 ")
