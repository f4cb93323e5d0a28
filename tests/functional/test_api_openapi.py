"""The OpenAPI document, and random requests made from it against a whole running Corral."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from allinone_world import House, guest, pool_world
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import CheckContext
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from conductor.api import openapi
from conductor.api.routes import ROUTES, Route
from conductor.api.schemas.check import Checker
from conductor.api.schemas.fields import END

DOCUMENT = openapi.document(ROUTES)
#: requests of each kind for each route
EXAMPLES = 6
IDS = [f"{route.method} {route.url}" for route in ROUTES]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A pool of three hosts with two VMs behind aggregate 1."""
    vms = [guest("web1", "h1"), guest("web2", "h2")]
    # the machine is busy with making requests: an agent that is late must not count as down
    with House(tmp_path_factory.mktemp("openapi"), pool_world(3, vms), "--sync-interval", "3") as made:
        made.corral.adopt("h1", "h2", "h3")
        yield made


@pytest.fixture(scope="module")
def schema(house: House) -> Any:
    """The document as it is served."""
    return schemathesis.openapi.from_url(house.corral.url + "/v1/openapi.json")


@pytest.fixture(scope="module")
def known(house: House) -> dict[str, str]:
    """What the names in addresses may stand for, so that there is something to find."""
    (vm, *_) = house.corral.client.get("v2.1", "servers", name="web1")["servers"]
    house.corral.begin("host-update --maintenance enable h3")
    (operation, *_) = house.corral.client.get("v1", "operations")["operations"]
    return {"aggregate": "1", "host": "h3", "server": vm["id"], "service": "2", "hypervisor": "1", "migration": "1",
            "operation": operation["id"], "plan": "none"}


def refs(value: Any) -> Iterator[str]:
    """Yield every reference in a document."""
    if isinstance(value, dict):
        yield from (one for key, one in value.items() if key == "$ref")
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from refs(one)


def test_the_document_is_served_with_the_address_it_was_asked_at(house: House) -> None:
    served = house.corral.client.get("v1", "openapi.json")
    assert served.pop("servers") == [{"url": house.corral.url}]
    assert set(served["paths"]) == {route.url for route in ROUTES} - {"/v1/openapi.json"}


def test_every_reference_has_a_component_and_every_component_is_a_schema() -> None:
    named = DOCUMENT["components"]["schemas"]
    assert {one.removeprefix("#/components/schemas/") for one in refs(DOCUMENT)} == set(named)
    for one in named.values():
        Checker.check_schema(one)


@pytest.mark.parametrize("route", ROUTES, ids=IDS)
def test_a_route_is_described_by_the_schemas_that_judge_it(route: Route) -> None:
    told = DOCUMENT["paths"][route.url][route.method.lower()]
    wanted = json.loads(json.dumps(route.body).replace(json.dumps(END)[1:-1], "$"))
    assert told.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema") == wanted
    asked = {one["name"] for one in told["parameters"] if one["in"] == "query"}
    assert asked == set((route.query or {"properties": {}})["properties"])
    assert told["summary"].endswith((".", "none"))
    assert route.answers or route.url.endswith("/os-services/{service}")


def no_surprise(context: CheckContext, response: Any, case: Any) -> None:
    """Fail for an answer that says that the service is broken or away; 501 only where it is announced."""
    announced = "501" in case.operation.definition.raw["responses"]
    assert response.status_code < 500 or (response.status_code == 501 and announced), response.text
    assert response.headers["x-compute-request-id"][0].startswith("req-") and "Traceback" not in response.text


CHECKS = (no_surprise, status_code_conformance, content_type_conformance, response_schema_conformance)


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["good", "bad"])
@pytest.mark.parametrize("route", ROUTES[:-1], ids=IDS[:-1])
def test_whatever_is_asked_the_answer_is_one_that_is_described(schema: Any, known: dict[str, str], route: Route,
                                                               mode: GenerationMode) -> None:
    if mode is GenerationMode.NEGATIVE and not (route.body or route.query or "{" in route.url):
        mode = GenerationMode.POSITIVE     # there is nothing to be wrong in it
    operation = schema[route.url][route.method]

    @settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode), there=st.booleans())
    def ask(case: Any, there: bool) -> None:
        if there:
            case.path_parameters = {name: known[name] for name in case.path_parameters or {}}
        case.call_and_validate(checks=list(CHECKS), timeout=30)

    ask()
