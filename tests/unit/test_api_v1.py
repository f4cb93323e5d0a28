"""``/v1``: hosts, plans, operations, and what is not there yet, without a server."""

import falcon.testing
import pytest

from common import conductor_api, errors
from conductor.api.app import STATUS, make_app, status_of
from tests.unit.api_conductor import InMemory

Client = falcon.testing.TestClient


@pytest.fixture
def conductor() -> InMemory:
    return InMemory()


@pytest.fixture
def client(conductor: InMemory) -> Client:
    return falcon.testing.TestClient(make_app(conductor))


def maintain(client: Client, **body: object) -> falcon.testing.Result:
    """Ask for maintenance of h1."""
    return client.simulate_post("/v1/hosts/h1/maintenance", json=body)


def test_hosts_and_their_vms_go_out_as_the_conductor_says(client: Client,
                                                          conductor: InMemory) -> None:
    assert client.simulate_get("/v1/hosts").json == {"hosts": list(conductor.hosts.values())}
    assert client.simulate_get("/v1/hosts?zone=z").json == {"hosts": []}
    assert client.simulate_get("/v1/hosts/h1").json == {"host": conductor.hosts["h1"]}
    assert client.simulate_get("/v1/hosts/h1/vms").json == conductor.host_vms("h1")


def test_an_error_has_code_message_details_and_request_id(client: Client) -> None:
    result = client.simulate_get("/v1/hosts/h9")
    assert result.status_code == 404
    assert result.json["error"] == {"code": "host_not_found", "message": "Host h9 could not be found.",
                                    "details": {}, "request_id": result.headers["x-openstack-request-id"]}


def test_maintenance_answers_with_plan_and_operation(client: Client) -> None:
    result = maintain(client, wanted="enable", options={"allow_partial": True, "if_changed": "replan"})
    assert result.status_code == 202
    assert result.headers["Corral-Operation"] == result.json["operation"]["id"]
    assert result.json["maintenance_mode"] == "entering_maintenance" and result.json["plan"]["moves"]
    again = maintain(client, wanted="enable")
    assert (again.status_code, again.json["maintenance_mode"]) == (200, "on_maintenance")
    assert maintain(client, wanted="disable").json["maintenance_mode"] == "leaving_maintenance"


def test_a_plan_is_previewed_and_approved_by_its_id(client: Client, conductor: InMemory) -> None:
    made = client.simulate_post("/v1/plans", json={"host": "h1", "wanted": "enable"})
    assert made.status_code == 201 and not conductor.operations
    plan = made.json["plan"]
    assert made.headers["Location"].endswith(f"/v1/plans/{plan['id']}")
    assert client.simulate_get(f"/v1/plans/{plan['id']}").json == {"plan": plan}
    maintain(client, wanted="enable", plan=plan["id"], options={"if_changed": "stop"})
    assert conductor.calls[-1][2] == {"host": "h1", "options": {"if_changed": "stop", "plan": plan["id"]}}


def test_an_infeasible_plan_names_every_blocker(client: Client, conductor: InMemory) -> None:
    conductor.feasible = False
    for result in (maintain(client, wanted="enable"),
                   client.simulate_post("/v1/plans", json={"host": "h1", "wanted": "enable"})):
        assert result.status_code == 409
        assert [one["code"] for one in result.json["error"]["details"]["blockers"]] == [
            "vm_has_local_disk", "no_memory"]


@pytest.mark.parametrize("body", [{}, {"wanted": "maybe"}, {"wanted": "enable", "plan": 5},
                                  {"wanted": "enable", "options": {"force": True}},
                                  {"wanted": "enable", "options": {"if_changed": "never"}},
                                  {"wanted": "enable", "more": 1}])
def test_a_wrong_maintenance_body_is_refused(client: Client, conductor: InMemory,
                                             body: dict[str, object]) -> None:
    result = maintain(client, **body)
    assert result.status_code == 400 and result.json["error"]["details"]["findings"] and not conductor.calls


def test_operations_are_filtered_by_typed_arguments(client: Client, conductor: InMemory) -> None:
    client.simulate_get("/v1/operations?host=h1&aggregate=3&active=true&state=running&limit=5&marker=op-1")
    assert conductor.calls[-1][1:] == ("operation_list", {
        "filters": {"host": "h1", "aggregate": 3, "active": True, "state": "running"}, "limit": 5,
        "marker": "op-1"})


def test_events_are_waited_for_no_longer_than_conductors_allow(client: Client,
                                                               conductor: InMemory) -> None:
    operation = maintain(client, wanted="enable").json["operation"]["id"]
    first = client.simulate_get(f"/v1/operations/{operation}/events").json
    assert [event["n"] for event in first["events"]] == [1] and first["operation"]["id"] == operation
    later = client.simulate_get(f"/v1/operations/{operation}/events?after=1&wait=600").json
    assert [event["n"] for event in later["events"]] == [2]
    assert conductor.calls[-1][2]["wait_s"] == conductor_api.LONGEST_WAIT_S


@pytest.mark.parametrize("action, state", [
    ("pause", "paused"), ("resume", "running"), ("cancel", "cancelling"), ("retry", "running")])
def test_what_is_asked_of_an_operation_is_accepted(client: Client, action: str,
                                                   state: str) -> None:
    operation = maintain(client, wanted="enable").json["operation"]["id"]
    result = client.simulate_post(f"/v1/operations/{operation}/{action}")
    assert (result.status_code, result.json["operation"]["state"]) == (202, state)
    assert client.simulate_post(f"/v1/operations/none/{action}").status_code == 404


def test_abandoning_needs_a_reason(client: Client) -> None:
    operation = maintain(client, wanted="enable").json["operation"]["id"]
    for body in (None, {}, {"reason": ""}, {"reason": "a\nb"}):
        assert client.simulate_post(f"/v1/operations/{operation}/abandon", json=body).status_code == 400
    done = client.simulate_post(f"/v1/operations/{operation}/abandon", json={"reason": "the host burnt"})
    assert (done.status_code, done.json["operation"]["state"]) == (202, "failed")
    assert client.simulate_post(f"/v1/operations/{operation}/cancel").status_code == 409


@pytest.mark.parametrize("method, url", [("POST", "/v1/aggregates/1/roll"), ("GET", "/v1/why?vm=a&host=b")])
def test_what_is_not_there_yet_says_so(client: Client, method: str, url: str) -> None:
    result = client.simulate_request(method, url)
    assert (result.status_code, result.json["error"]["code"]) == (501, "not_implemented")


def test_healthcheck_tells_whether_a_conductor_answers(client: Client,
                                                       conductor: InMemory) -> None:
    assert client.simulate_get("/healthcheck").json == {"status": "ok"}
    conductor.down = errors.Unavailable("Nobody listens", code="nobody_listens")
    result = client.simulate_get("/healthcheck")
    assert (result.status_code, result.json["error"]["code"]) == (503, "nobody_listens")


def test_each_mutation_has_an_idempotency_key_the_clients_or_a_new_one(client: Client,
                                                                       conductor: InMemory) -> None:
    first = client.simulate_post("/v2.1/os-aggregates", json={"aggregate": {"name": "a"}},
                                 headers={"Idempotency-Key": "mine"})
    again = client.simulate_post("/v2.1/os-aggregates", json={"aggregate": {"name": "a"}},
                                 headers={"Idempotency-Key": "mine"})
    assert first.json == again.json and len(conductor.aggregates) == 1
    client.simulate_put("/v2.1/os-aggregates/1", json={"aggregate": {"name": "b"}})
    client.simulate_delete("/v2.1/os-aggregates/1")
    client.simulate_get("/v2.1/os-aggregates")
    keys = [context["idempotency_key"] for context, _, _ in conductor.calls]
    assert keys[:2] == ["mine", "mine"] and keys[-1] is None
    assert len(set(keys[2:4])) == 2 and all(key.startswith("api-") for key in keys[2:4])


@pytest.mark.parametrize("kind", errors.KINDS.values(), ids=lambda kind: kind.__name__)
def test_each_error_has_a_number(kind: type[errors.Error]) -> None:
    assert 400 <= status_of(kind()) <= 599
    assert errors.Error in STATUS
