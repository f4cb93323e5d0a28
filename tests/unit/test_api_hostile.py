"""Bodies, headers and addresses that nobody should send: refused in JSON, nothing done, no traceback."""

import json
from typing import Any

import falcon.testing
import pytest

from common import errors
from conductor.api.app import make_app
from conductor.api.routes import ROUTES
from conductor.api.schemas.check import compiled
from conductor.api.serve import Service, refuse_exposure
from tests.unit.api_conductor import InMemory

JSON = {"Content-Type": "application/json"}

Client = falcon.testing.TestClient


@pytest.fixture
def conductor() -> InMemory:
    return InMemory()


@pytest.fixture
def client(conductor: InMemory) -> Client:
    return falcon.testing.TestClient(make_app(conductor))


BODIES: dict[str, tuple[bytes, int]] = {
    "no JSON": (b"{", 400),
    "not UTF-8": (b'{"aggregate": {"name": "\xff"}}', 400),
    "a number": (b"5", 400),
    "nested too deeply": (b'{"aggregate": ' + b"[" * 40 + b"]" * 40 + b"}", 400),
    "nested as deeply as it fits": (b"[" * 32000 + b"]" * 32000, 400),
    "NaN": (b'{"aggregate": {"name": NaN}}', 400),
    "a huge number": (b'{"aggregate": {"name": ' + b"9" * 6000 + b"}}", 400),
    "a member twice": (b'{"aggregate": {"name": "a", "name": "b"}}', 400),
    "NUL in a text": (b'{"aggregate": {"name": "a\\u0000"}}', 400),
    "half a character": (b'{"aggregate": {"name": "a\\ud800"}}', 400),
    "64 KiB and one byte": (b'{"aggregate": {"name": "a"}}'.ljust(64 * 1024 + 1), 413),
    "a thousand unknown members": (json.dumps({f"m{n}": 1 for n in range(1000)}).encode(), 400),
}


@pytest.mark.parametrize("what", BODIES)
@pytest.mark.parametrize("url", ["/v2.1/os-aggregates", "/v1/plans"])
def test_a_body_is_refused_that_is(client: Client, conductor: InMemory, url: str,
                                   what: str) -> None:
    body, status = BODIES[what]
    result = client.simulate_post(url, body=body, headers=JSON)
    assert result.status_code == status
    assert conductor.calls == []
    assert len(result.text) < 8000 and "Traceback" not in result.text


def test_a_body_of_exactly_64_kib_is_read(client: Client) -> None:
    body = b'{"aggregate": {"name": "a"}}'.ljust(64 * 1024)
    assert client.simulate_post("/v2.1/os-aggregates", body=body, headers=JSON).status_code == 200


@pytest.mark.parametrize("media, status", [
    ("application/json", 200), ("application/json; charset=UTF-8", 200), ("", 200),
    ("application/x-www-form-urlencoded", 415), ("text/plain", 415), ("application/xml", 415)])
def test_only_json_is_read(client: Client, media: str, status: int) -> None:
    result = client.simulate_post("/v2.1/os-aggregates", body=b'{"aggregate": {"name": "a"}}',
                                  headers={"Content-Type": media} if media else {})
    assert result.status_code == status


@pytest.mark.parametrize("path", [
    "/v1/hosts/h%0a1", "/v1/hosts/h%E2%80%AE1", "/v1/hosts/h%001", "/v1/hosts/a%20b",
    "/v1/operations/a%0d%0aX-Evil:%201", "/v1/plans/..%5c..", "/v1/hosts/" + "h" * 300,
    "/v2.1/os-hosts/h%C2%85", "/v2.1/os-aggregates/%D9%A1"])
def test_odd_names_in_a_url_are_refused(client: Client, conductor: InMemory, path: str) -> None:
    result = client.simulate_get(path)
    assert result.status_code == 400 and conductor.calls == []
    assert "x-evil" not in {name.lower() for name in result.headers}
    assert result.text.isprintable()


@pytest.mark.parametrize("query", [
    "wait=soon", "wait=-1", "after=x", "after=-1", "after=1&after=2", "wait=1e9", "color=red", "wait=inf",
    "wait=nan"])
def test_odd_queries_are_refused(client: Client, query: str) -> None:
    result = client.simulate_get("/v1/operations/op-1/events", query_string=query)
    assert (result.status_code, result.json["error"]["code"]) == (400, "invalid")


@pytest.mark.parametrize("key, status", [("k", 200), ("k" * 255, 200), ("k" * 256, 400), ("k\u00e9", 400),
                                         ("a b", 200), ("\x7f", 400)])
def test_an_idempotency_key_is_1_to_255_printable_characters(client: Client, key: str,
                                                             status: int) -> None:
    result = client.simulate_post("/v2.1/os-aggregates", json={"aggregate": {"name": "a"}},
                                  headers={"Idempotency-Key": key})
    assert result.status_code == status


@pytest.mark.parametrize("url, name", [
    ("/nothing", "error"), ("/v1/nothing", "error"), ("/v1", "error"), ("/v2.1/flavors", "itemNotFound"),
    ("/v2.1/os-hosts/h/x", "itemNotFound")])
def test_an_unknown_address_is_404_in_json(client: Client, url: str, name: str) -> None:
    result = client.simulate_get(url)
    assert (result.status_code, list(result.json)) == (404, [name])
    assert result.headers["Corral-Error"] == "no_such_route"


@pytest.mark.parametrize("url, name", [
    ("/v1/hosts", "error"), ("/v2.1/os-hosts", "badMethod"), ("/", "badMethod")])
def test_an_unknown_method_is_405_in_json_and_says_what_is_allowed(client: Client, url: str,
                                                                   name: str) -> None:
    result = client.simulate_patch(url)
    assert (result.status_code, list(result.json)) == (405, [name])
    assert "GET" in result.headers["Allow"]


def test_every_answer_has_a_request_id_of_its_own(client: Client, conductor: InMemory) -> None:
    ids = []
    for result in (client.simulate_get("/v1/hosts"), client.simulate_get("/nothing"),
                   client.simulate_post("/"), client.simulate_get("/v1/hosts/h9"),
                   client.simulate_put("/v2.1/os-hosts/h1", body=b"{")):
        assert result.headers["x-openstack-request-id"] == result.headers["x-compute-request-id"]
        ids.append(result.headers["x-compute-request-id"])
    assert len(set(ids)) == 5 and all(one.startswith("req-") and len(one) == 40 for one in ids)
    assert conductor.calls[0][0]["request_id"] == ids[0]


def test_what_nobody_thought_of_is_500_with_the_request_id(client: Client, conductor: InMemory,
                                                           caplog: pytest.LogCaptureFixture) -> None:
    conductor.broken = ZeroDivisionError("secret detail")
    result = client.simulate_get("/v1/hosts")
    assert result.status_code == 500 and result.json["error"]["code"] == "bug"
    assert result.json["error"]["request_id"] == result.headers["x-compute-request-id"]
    assert "secret" not in result.text and "Traceback" not in result.text
    assert "ZeroDivisionError" in caplog.text
    assert list(client.simulate_get("/v2.1/os-hosts").json) == ["computeFault"]


@pytest.mark.parametrize("route", [route for route in ROUTES if route.body or route.query],
                         ids=lambda route: f"{route.method} {route.url}")
def test_each_schema_is_a_schema_and_names_its_members(route: Any) -> None:
    for schema in filter(None, (route.body, route.query)):
        compiled(schema)
        assert "additionalProperties" in schema


def test_each_route_is_there_once() -> None:
    assert len({(route.method, route.url) for route in ROUTES}) == len(ROUTES)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.3.2.1", "::1", "localhost"])
def test_loopback_needs_no_force(host: str) -> None:
    refuse_exposure(host, force_noauth=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "10.1.2.3", "example.org"])
def test_without_authentication_other_addresses_are_refused_unless_forced(host: str) -> None:
    with pytest.raises(errors.Forbidden, match="force_noauth"):
        refuse_exposure(host, force_noauth=False)
    refuse_exposure(host, force_noauth=True)


def test_an_address_in_use_is_said_in_a_sentence(conductor: InMemory) -> None:
    first = Service(make_app(conductor), "127.0.0.1", 0, threads=1)
    first.start()
    try:
        port = int(first.url.rpartition(":")[2])
        with pytest.raises(errors.Unavailable, match="Can't listen"):
            Service(make_app(conductor), "127.0.0.1", port, threads=1).start()
    finally:
        first.stop()
