"""Every address that takes a body, a name or a microversion, with what nobody should send: 4xx, and nothing is done."""

import json
import re
from typing import Any

import falcon.testing
import pytest

from conductor.api.app import make_app
from conductor.api.routes import ROUTES, Route
from tests.unit.api_conductor import InMemory

#: what the names in an address stand for
NAMES = {"aggregate": "1", "host": "h1", "server": "vm-1", "service": "2", "hypervisor": "1", "migration": "1",
         "operation": "op-1", "plan": "plan-1"}
WITH_BODY = [route for route in ROUTES if route.body is not None]
WITH_NAME = [route for route in ROUTES if "{" in route.url]
NOVA = [route for route in ROUTES if route.url.startswith("/v2.1/")]

BODIES: dict[str, tuple[bytes, int]] = {
    "no JSON": (b"{", 400),
    "a list": (b"[1]", 400),
    "a text": (b'"x"', 400),
    "nested too deeply": (b'{"a": ' + b"[" * 40 + b"]" * 40 + b"}", 400),
    "an unknown member": (b'{"color": "red"}', 400),
    "NaN": (b'{"a": NaN}', 400),
    "NUL in a text": (b'{"a": "\\u0000"}', 400),
    "too large": (b"{}".ljust(64 * 1024 + 1), 413),
}
#: put into any text of a good body
TEXTS = {"a control character": "a\x07", "a bidirectional mark": "a\u202eb", "a line feed": "a\n",
         "an invisible mark": "a\u200bb", "a thousand characters and more": "x" * 1001}
GOOD: dict[str, Any] = {
    "PUT /v2.1/os-services/disable-log-reason": {"host": "h1", "binary": "nova-compute", "disabled_reason": "fans"},
    "PUT /v2.1/os-hosts/{host}": {"status": "disable"},
    "POST /v2.1/servers/{server}/action": {"os-migrateLive": {"host": "h2", "block_migration": "auto"}},
    "POST /v2.1/os-aggregates": {"aggregate": {"name": "a", "availability_zone": "z"}},
    "PUT /v2.1/os-aggregates/{aggregate}": {"aggregate": {"name": "a", "availability_zone": "z"}},
    "POST /v1/operations/{operation}/abandon": {"reason": "because"},
    "POST /v1/plans": {"host": "h1", "wanted": "enable"},
}


@pytest.fixture(scope="module")
def app() -> tuple[InMemory, falcon.testing.TestClient]:
    """One application for all, since making it takes longer than asking it; what is refused changes nothing in it."""
    conductor = InMemory()
    return conductor, falcon.testing.TestClient(make_app(conductor))


@pytest.fixture
def conductor(app: tuple[InMemory, falcon.testing.TestClient]) -> InMemory:
    app[0].calls.clear()
    return app[0]


@pytest.fixture
def client(app: tuple[InMemory, falcon.testing.TestClient]) -> falcon.testing.TestClient:
    return app[1]


def name_of(route: Route) -> str:
    """Return a route as people write it."""
    return f"{route.method} {route.url}"


def url_of(route: Route, **names: str) -> str:
    """Return an address at which the route is asked."""
    known = {**NAMES, **names}
    return re.sub("{([a-z]+)}", lambda found: known[found[1]], route.url)


def refused(result: Any, status: int) -> None:
    """Fail unless the answer is that status in the form of its API, with the request's id and no traceback."""
    assert result.status_code == status, result.text
    (error,) = result.json.values()
    assert error["message"] and "Traceback" not in result.text and len(result.text) < 8000
    assert result.headers["x-compute-request-id"].startswith("req-") and result.text.isprintable()


@pytest.mark.parametrize("what", BODIES)
@pytest.mark.parametrize("route", WITH_BODY, ids=name_of)
def test_a_body_is_refused_and_nothing_is_done_that_is(client: falcon.testing.TestClient, conductor: InMemory,
                                                       route: Route, what: str) -> None:
    body, status = BODIES[what]
    refused(client.simulate_request(route.method, url_of(route), body=body,
                                    headers={"Content-Type": "application/json"}), status)
    assert conductor.calls == []


def spoiled(body: Any, text: str) -> list[Any]:
    """Return copies of a body, each with one of its texts replaced."""
    found = []
    for key, value in body.items():
        if isinstance(value, dict):
            found += [{**body, key: one} for one in spoiled(value, text)]
        elif isinstance(value, str):
            found.append({**body, key: text})
    return found


@pytest.mark.parametrize("what", TEXTS)
@pytest.mark.parametrize("place", GOOD)
def test_no_text_of_a_body_may_have(client: falcon.testing.TestClient, conductor: InMemory, place: str,
                                    what: str) -> None:
    route = next(route for route in ROUTES if name_of(route) == place)
    bodies = spoiled(GOOD[place], TEXTS[what])
    assert bodies
    for body in bodies:
        refused(client.simulate_request(route.method, url_of(route), json=body,
                                        headers={"OpenStack-API-Version": "compute 2.42"}), 400)
    assert conductor.calls == []


@pytest.mark.parametrize("name", ["%0d%0aX-Evil:%201", "a%00", "%E2%80%AE", "..%2f..", "a%20b", "x" * 300, "%C2%85"])
@pytest.mark.parametrize("route", WITH_NAME, ids=name_of)
def test_an_odd_name_in_an_address_is_refused(client: falcon.testing.TestClient, conductor: InMemory, route: Route,
                                              name: str) -> None:
    body = json.dumps(GOOD.get(name_of(route), {})).encode()
    result = client.simulate_request(route.method, url_of(route, **dict.fromkeys(NAMES, name)), body=body,
                                     headers={"Content-Type": "application/json",
                                              "OpenStack-API-Version": "compute 2.42"}
                                     if not route.url.startswith("/v1/") else {"Content-Type": "application/json"})
    assert result.status_code in (400, 404), result.text
    refused(result, result.status_code)
    assert conductor.calls == [] and "x-evil" not in {header.lower() for header in result.headers}


@pytest.mark.parametrize("version, status", [
    ("compute 2.43", 406), ("compute 2.0", 406), ("compute two", 400), ("compute 2.1.1", 400),
    ("compute " + "9" * 40, 400)])
@pytest.mark.parametrize("route", NOVA, ids=name_of)
def test_a_wrong_microversion_is_refused_everywhere(client: falcon.testing.TestClient, conductor: InMemory,
                                                    route: Route, version: str, status: int) -> None:
    result = client.simulate_request(route.method, url_of(route), json={},
                                     headers={"OpenStack-API-Version": version})
    refused(result, status)
    assert conductor.calls == [] and result.headers["Vary"].startswith("OpenStack-API-Version")


@pytest.mark.parametrize("route", [route for route in NOVA if route.method == "GET"], ids=name_of)
def test_every_answer_of_novas_says_its_microversion_in_both_headers(client: falcon.testing.TestClient,
                                                                     route: Route) -> None:
    result = client.simulate_request(route.method, url_of(route), headers={"X-OpenStack-Nova-API-Version": "2.30"})
    assert result.headers["OpenStack-API-Version"] == "compute 2.30"
    assert result.headers["X-OpenStack-Nova-API-Version"] == "2.30"
    assert result.headers["Vary"] == "OpenStack-API-Version, X-OpenStack-Nova-API-Version"
