"""The rules of Nova's os-aggregates and os-hosts, one case each, without a server."""

import json
import re
from typing import Any

import falcon.testing
import pytest

from common import errors
from conductor.api.app import make_app
from tests.unit.api_conductor import InMemory

URL = "/v2.1/os-aggregates"


class World:
    """An application, its conductor, and a client."""

    def __init__(self) -> None:
        self.conductor = InMemory()
        self.client = falcon.testing.TestClient(make_app(self.conductor))

    def ask(self, method: str, url: str, body: Any = None, **headers: str) -> Any:
        """Return falcon's result of one request."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.simulate_request(method, url, json=body, headers=sent)


@pytest.fixture
def world() -> World:
    """An aggregate 1 named agg in zone z1 with host h1, and an empty aggregate 2."""
    world = World()
    world.conductor.aggregate_create("agg", "z1")
    world.conductor.aggregate_create("empty")
    world.conductor.aggregate_add_host(1, "h1", {})
    return world


def create(**members: Any) -> tuple[str, str, Any]:
    """Return the request that creates an aggregate of these members."""
    return "POST", URL, {"aggregate": members}


def update(**members: Any) -> tuple[str, str, Any]:
    """Return the request that changes aggregate 2 so."""
    return "PUT", URL + "/2", {"aggregate": members}


def act(action: Any, number: object = 1) -> tuple[str, str, Any]:
    """Return the request for an action on an aggregate."""
    return "POST", f"{URL}/{number}/action", action


def metadata(value: Any) -> tuple[str, str, Any]:
    """Return the request that sets metadata of aggregate 1."""
    return act({"set_metadata": {"metadata": value}})


RULES: dict[str, tuple[tuple[str, str, Any], int]] = {
    "a name of 255 characters is accepted": (create(name="x" * 255), 200),
    "a name of 256 characters is refused": (create(name="x" * 256), 400),
    "an empty name is refused": (create(name=""), 400),
    "a name of another script is accepted": (create(name="Größe 東京"), 200),
    "a name with a control character is refused": (create(name="a\x07b"), 400),
    "a name with a line feed at its end is refused": (create(name="a\n"), 400),
    "a name with a bidirectional mark is refused": (create(name="a\u202eb"), 400),
    "a name with an invisible mark is refused": (create(name="a\u200bb"), 400),
    "a name with a line separator is refused": (create(name="a\u2028b"), 400),
    "a name of private or unassigned characters is refused": (create(name="a\ue000\u0378"), 400),
    "a name with a no-break space inside is accepted": (create(name="a\u00a0b"), 200),
    "a name with a space at its start is refused on create": (create(name=" a"), 400),
    "a name with a space at its end is refused on create": (create(name="a "), 400),
    "a name with spaces around it is accepted on update": (update(name=" b "), 200),
    "a name of spaces only is refused on update": (update(name="   "), 400),
    "a name that is a number is refused": (create(name=5), 400),
    "a missing name is refused": (create(availability_zone="z"), 400),
    "no zone is accepted": (create(name="b"), 200),
    "a zone of null is accepted on create": (create(name="b", availability_zone=None), 200),
    "an empty zone is refused on create": (create(name="b", availability_zone=""), 400),
    "a zone with a colon is refused": (create(name="b", availability_zone="a:b"), 400),
    "a zone of 256 characters is refused": (create(name="b", availability_zone="z" * 256), 400),
    "a zone of 255 characters is accepted": (create(name="b", availability_zone="z" * 255), 200),
    "a zone with a control character is refused": (create(name="b", availability_zone="a\x07"), 400),
    "a zone with a colon is refused on update": (update(availability_zone="a:b"), 400),
    "a zone of 256 characters is refused on update": (update(availability_zone="z" * 256), 400),
    "a name of 256 characters is refused on update": (update(name="x" * 256), 400),
    "a name with a control character is refused on update": (update(name="a\x07b"), 400),
    "an unknown member of an update is refused": (update(name="b", color="red"), 400),
    "an unknown member beside an update is refused": (
        ("PUT", URL + "/2", {"aggregate": {"name": "b"}, "more": 1}), 400),
    "an unknown member of the aggregate is refused": (create(name="b", color="red"), 400),
    "an unknown member beside the aggregate is refused": (
        ("POST", URL, {"aggregate": {"name": "b"}, "more": 1}), 400),
    "a body without aggregate is refused": (("POST", URL, {}), 400),
    "a body that is a list is refused": (("POST", URL, [1]), 400),
    "a name that is taken is a conflict": (create(name="agg"), 409),
    "showing an id that is no integer is refused": (("GET", URL + "/agg", None), 400),
    "showing a fraction is refused": (("GET", URL + "/1.5", None), 400),
    "showing an unknown id is not found": (("GET", URL + "/999", None), 404),
    "showing minus one is not found": (("GET", URL + "/-1", None), 404),
    "changing an id that is no integer is refused": (("PUT", URL + "/agg", {"aggregate": {"name": "b"}}), 400),
    "changing minus one is not found": (("PUT", URL + "/-1", {"aggregate": {"name": "b"}}), 404),
    "an action on an id that is no integer is refused": (act({"add_host": {"host": "h2"}}, "agg"), 400),
    "an action on minus one is not found": (act({"add_host": {"host": "h2"}}, -1), 404),
    "showing an id beyond the database's integers is not found": (("GET", URL + "/" + "9" * 25, None), 404),
    "an update without members is refused": (update(), 400),
    "an update to a zone of null is refused": (update(availability_zone=None), 400),
    "an update to an empty zone is refused": (update(availability_zone=""), 400),
    "an update of the zone is accepted": (update(availability_zone="z2"), 200),
    "an update of an unknown aggregate is not found": (
        ("PUT", URL + "/9", {"aggregate": {"name": "b"}}), 404),
    "a zone that its hosts forbid is a bad request": (
        ("PUT", URL + "/1", {"aggregate": {"availability_zone": "z2"}}), 400),
    "adding a host is accepted": (act({"add_host": {"host": "h2"}}), 200),
    "adding an unknown host is not found": (act({"add_host": {"host": "h9"}}), 404),
    "adding a host whose name has another case is not found": (act({"add_host": {"host": "H2"}}), 404),
    "adding a host to an unknown aggregate is not found": (act({"add_host": {"host": "h2"}}, 99), 404),
    "adding a host that is there is a conflict": (act({"add_host": {"host": "h1"}}), 409),
    "a host name with a space is refused": (act({"add_host": {"host": "h 2"}}), 400),
    "a host name with a line feed at its end is refused": (act({"add_host": {"host": "h2\n"}}), 400),
    "an empty host name is refused": (act({"add_host": {"host": ""}}), 400),
    "a host name of 256 characters is refused": (act({"add_host": {"host": "h" * 256}}), 400),
    "a host name of 255 characters is looked for": (act({"add_host": {"host": "h" * 255}}), 404),
    "a host name of all the signs there are is looked for": (act({"add_host": {"host": "aZ09-._"}}), 404),
    "a host name with a colon is refused": (act({"add_host": {"host": "h:2"}}), 400),
    "a host name that is a number is refused": (act({"add_host": {"host": 2}}), 400),
    "an unknown member of remove_host is refused": (act({"remove_host": {"host": "h1", "force": True}}), 400),
    "an unknown member of add_host is refused": (act({"add_host": {"host": "h2", "force": True}}), 400),
    "two actions at once are refused": (
        act({"add_host": {"host": "h2"}, "remove_host": {"host": "h1"}}), 400),
    "an unknown action is refused": (act({"explode": {}}), 400),
    "no action is refused": (act({}), 400),
    "removing a host that serves is a conflict": (act({"remove_host": {"host": "h1"}}), 409),
    "removing a host that is not in the aggregate is not found": (act({"remove_host": {"host": "h3"}}), 404),
    "removing a host from an unknown aggregate is not found": (act({"remove_host": {"host": "h1"}}, 99), 404),
    "removing an unknown host is not found": (act({"remove_host": {"host": "h9"}}), 404),
    "metadata is accepted": (metadata({"ssd": "true"}), 200),
    "metadata of null for a missing key is accepted": (metadata({"nothing": None}), 200),
    "metadata with the longest key and value is accepted": (metadata({"k" * 255: "v" * 255}), 200),
    "metadata with an empty value is accepted": (metadata({"k": ""}), 200),
    "metadata with all signs that a key may have is accepted": (metadata({"aZ09-_:. ": "v"}), 200),
    "metadata with an empty key is refused": (metadata({"": "v"}), 400),
    "metadata of an unknown aggregate is not found": (act({"set_metadata": {"metadata": {"k": "v"}}}, 99), 404),
    "an unknown member of set_metadata is refused": (act({"set_metadata": {"metadata": {}, "more": 1}}), 400),
    "metadata with a key of 256 characters is refused": (metadata({"k" * 256: "v"}), 400),
    "metadata with an odd key is refused": (metadata({"a/b": "v"}), 400),
    "metadata with a value of 256 characters is refused": (metadata({"k": "v" * 256}), 400),
    "metadata with a number as value is refused": (metadata({"k": 1}), 400),
    "metadata that is a list is refused": (metadata([]), 400),
    "metadata that empties the zone is refused": (metadata({"availability_zone": ""}), 400),
    "metadata that removes the zone is refused": (metadata({"availability_zone": None}), 400),
    "deleting an aggregate with hosts is a bad request": (("DELETE", URL + "/1", None), 400),
    "deleting an unknown aggregate is not found": (("DELETE", URL + "/9", None), 404),
    "deleting minus one is not found": (("DELETE", URL + "/-1", None), 404),
    "deleting an id that is no integer is refused": (("DELETE", URL + "/x", None), 400),
    "an unknown member of a query is ignored": (("GET", URL + "?color=red", None), 200),
    "images are not there below microversion 2.81": (("POST", URL + "/1/images", {"cache": []}), 404),
    "showing an unknown host is not found": (("GET", "/v2.1/os-hosts/h9", None), 404),
    "a host update without members is refused": (("PUT", "/v2.1/os-hosts/h1", {}), 400),
    "an unknown status is refused": (("PUT", "/v2.1/os-hosts/h1", {"status": "on"}), 400),
    "an unknown maintenance mode is refused": (("PUT", "/v2.1/os-hosts/h1", {"maintenance_mode": True}), 400),
    "an unknown member of a host update is refused": (
        ("PUT", "/v2.1/os-hosts/h1", {"status": "enable", "x": 1}), 400),
    "enabling a host while it enters maintenance is refused": (
        ("PUT", "/v2.1/os-hosts/h1", {"status": "enable", "maintenance_mode": "enable"}), 400),
    "contradictory changes of an unknown host are not found": (
        ("PUT", "/v2.1/os-hosts/h9", {"status": "enable", "maintenance_mode": "enable"}), 404),
    "maintenance of an unknown host is not found": (
        ("PUT", "/v2.1/os-hosts/h9", {"maintenance_mode": "enable"}), 404),
    "powering a host off is not implemented": (("GET", "/v2.1/os-hosts/h1/shutdown", None), 501),
    "rebooting a host is not implemented": (("GET", "/v2.1/os-hosts/h1/reboot", None), 501),
    "powering an unknown host off is not found": (("GET", "/v2.1/os-hosts/h9/shutdown", None), 404),
    "rebooting an unknown host is not found": (("GET", "/v2.1/os-hosts/h9/reboot", None), 404),
    "starting an unknown host is not found": (("GET", "/v2.1/os-hosts/h9/startup", None), 404),
    "starting a host is not implemented": (("GET", "/v2.1/os-hosts/h1/startup", None), 501),
}


@pytest.mark.parametrize("rule", RULES)
def test_nova_answers_so(world: World, rule: str) -> None:
    (method, url, body), status = RULES[rule]
    result = world.ask(method, url, body)
    assert result.status_code == status, result.text
    if status >= 400:
        (error,) = result.json.values()
        assert set(error) == {"code", "message"} and error["code"] == status and error["message"]


@pytest.mark.parametrize("status, name", [
    (400, "badRequest"), (404, "itemNotFound"), (409, "conflictingRequest"), (501, "notImplemented")])
def test_an_error_body_has_novas_name(world: World, status: int, name: str) -> None:
    rule = next(rule for rule, (_, wanted) in RULES.items() if wanted == status)
    assert list(world.ask(*RULES[rule][0]).json) == [name]


def test_the_stable_code_goes_in_a_header(world: World) -> None:
    assert world.ask("DELETE", URL + "/1").headers["Corral-Error"] == "aggregate_not_empty"
    assert world.ask("GET", URL + "/999").headers["Corral-Error"] == "aggregate_not_found"


def test_times_are_without_zone_and_deleted_is_always_there(world: World) -> None:
    world.ask(*update(name="b"))
    shown = [world.ask("GET", URL).json["aggregates"][1], world.ask("GET", URL + "/2").json["aggregate"],
             world.ask(*update(name="c")).json["aggregate"]]
    for one in shown:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?", one["created_at"])
        assert (one["deleted"], one["deleted_at"]) == (False, None)


def test_created_has_neither_hosts_nor_metadata_and_uuid_from_2_41_on(world: World) -> None:
    old = world.ask("POST", URL, {"aggregate": {"name": "b", "availability_zone": "z"}}).json["aggregate"]
    assert set(old) == {"availability_zone", "created_at", "deleted", "deleted_at", "id", "name",
                        "updated_at"}
    assert old["deleted"] is False and old["deleted_at"] is None and old["updated_at"] is None
    new = world.ask("POST", URL, {"aggregate": {"name": "c"}}, OpenStack_API_Version="compute 2.41")
    assert set(new.json["aggregate"]) == set(old) | {"uuid"}


def test_shown_is_what_nova_shows(world: World) -> None:
    shown = world.ask("GET", URL + "/1").json["aggregate"]
    assert set(shown) == {"availability_zone", "created_at", "deleted", "deleted_at", "hosts", "id",
                          "metadata", "name", "updated_at"}
    assert (shown["hosts"], shown["metadata"]) == (["h1"], {"availability_zone": "z1"})
    assert "uuid" not in world.ask("GET", URL + "/1", OpenStack_API_Version="compute 2.40").json["aggregate"]
    listed = world.ask("GET", URL, OpenStack_API_Version="compute 2.41").json["aggregates"]
    assert [("uuid" in one, one["id"]) for one in listed] == [(True, 1), (True, 2)]


def test_the_list_can_be_narrowed_to_a_zone(world: World) -> None:
    listed = world.ask("GET", URL + "?availability_zone=z1").json["aggregates"]
    assert [one["name"] for one in listed] == ["agg"]


def test_metadata_that_its_hosts_forbid_is_a_conflict(world: World) -> None:
    world.conductor.down = errors.WrongState("It has hosts", code="aggregate_not_empty")
    assert world.ask(*metadata({"hypervisor_pool": "false"})).status_code == 409


def test_update_takes_spaces_off_the_name(world: World) -> None:
    assert world.ask("PUT", URL + "/2", {"aggregate": {"name": "  b "}}).json["aggregate"]["name"] == "b"


def test_metadata_is_merged_and_null_removes(world: World) -> None:
    world.ask(*metadata({"a": "1", "b": "2"}))
    merged = world.ask(*metadata({"a": None, "c": "3"})).json["aggregate"]["metadata"]
    assert merged == {"availability_zone": "z1", "b": "2", "c": "3"}


def test_a_successful_delete_has_an_empty_body(world: World) -> None:
    result = world.ask("DELETE", URL + "/2")
    assert (result.status_code, result.text) == (200, "")


def test_membership_names_its_operation(world: World) -> None:
    result = world.ask(*act({"add_host": {"host": "h2"}}))
    assert result.json["aggregate"]["hosts"] == ["h1", "h2"]
    assert result.headers["Corral-Operation"] in world.conductor.operations


def test_data_loss_must_be_confirmed_in_the_request(world: World) -> None:
    world.conductor.hosts["h1"]["state"] = "in_maintenance"
    world.ask(*act({"remove_host": {"host": "h1", "confirm_data_loss": True}}))
    assert world.conductor.calls[-1][2]["options"] == {"confirm_data_loss": True}


def test_hosts_are_listed_with_their_zone(world: World) -> None:
    world.conductor.hosts["h2"]["zone"] = "z1"
    assert world.ask("GET", "/v2.1/os-hosts?zone=z1").json == {
        "hosts": [{"host_name": "h2", "service": "compute", "zone": "z1"}]}
    every = world.ask("GET", "/v2.1/os-hosts").json["hosts"]
    assert [one["host_name"] for one in every] == ["h1", "h2", "h3", "h4", "c1"]
    assert every[-1] == {"host_name": "c1", "service": "conductor", "zone": "internal"}
    assert world.ask("GET", "/v2.1/os-hosts?zone=").json["hosts"] == every
    assert world.ask("GET", "/v2.1/os-hosts?zone=nowhere").json["hosts"] == []


def test_a_host_shows_its_memory_in_resources(world: World) -> None:
    rows = [row["resource"] for row in world.ask("GET", "/v2.1/os-hosts/h1").json["host"]]
    assert [(row["project"], row["memory_mb"], row["cpu"]) for row in rows] == [
        ("(total)", 65536, 0), ("(used_now)", 16384, 4), ("(used_max)", 8192, 4)]


def test_maintenance_is_202_until_it_is_observed(world: World) -> None:
    first = world.ask("PUT", "/v2.1/os-hosts/h1", {"maintenance_mode": "enable"})
    assert first.status_code == 202 and first.headers["Corral-Operation"] in world.conductor.operations
    assert first.json["maintenance_mode"] == "entering_maintenance"
    again = world.ask("PUT", "/v2.1/os-hosts/h1", {"maintenance_mode": "enable", "status": "disable"})
    assert again.status_code == 200 and "Corral-Operation" not in again.headers
    assert again.json == {"host": "h1", "maintenance_mode": "on_maintenance", "status": "disabled"}
    back = world.ask("PUT", "/v2.1/os-hosts/h1", {"maintenance_mode": "Disable", "status": "Enable"})
    assert (back.status_code, back.json["maintenance_mode"]) == (202, "leaving_maintenance")
    rest = world.ask("PUT", "/v2.1/os-hosts/h1", {"maintenance_mode": "disable", "status": "enable"})
    assert (rest.status_code, rest.json) == (
        200, {"host": "h1", "maintenance_mode": "off_maintenance", "status": "enabled"})


def test_status_alone_disables_without_a_drain(world: World) -> None:
    result = world.ask("PUT", "/v2.1/os-hosts/h1", {"status": "disable"})
    assert (result.status_code, result.json["status"]) == (202, "disabled")
    assert world.conductor.calls[-1][1] == "host_disable"
    assert world.ask("PUT", "/v2.1/os-hosts/h1", {"status": "disable"}).status_code == 200


def test_leaving_maintenance_and_enabling_enables_a_host_that_was_only_disabled(world: World) -> None:
    world.conductor.hosts["h1"]["enabled"] = False
    result = world.ask("PUT", "/v2.1/os-hosts/h1", {"status": "enable", "maintenance_mode": "disable"})
    assert (result.status_code, result.json["status"]) == (202, "enabled")
    (stop, _, _), (enable, method, _) = world.conductor.calls[-2:]
    assert method == "host_enable" and stop["idempotency_key"] != enable["idempotency_key"]


def test_an_infeasible_maintenance_is_a_conflict(world: World) -> None:
    world.conductor.feasible = False
    result = world.ask("PUT", "/v2.1/os-hosts/h1", {"maintenance_mode": "enable"})
    assert (result.status_code, result.headers["Corral-Error"]) == (409, "no_plan")


@pytest.mark.parametrize("url", ["/", "/v2", "/v2/", "/v2.1", "/v2.1/"])
def test_version_documents_are_found_with_and_without_slash(world: World, url: str) -> None:
    assert world.ask("GET", url).status_code == 200


def test_every_self_link_answers_its_own_document(world: World) -> None:
    versions = world.ask("GET", "/").json["versions"]
    assert [one["id"] for one in versions] == ["v2.0", "v2.1"]
    told = {key: versions[1][key] for key in ("version", "min_version", "status")}
    assert told == {"version": "2.42", "min_version": "2.1", "status": "CURRENT"}
    for one in versions:
        link = one["links"][0]["href"]
        assert link.startswith("http://") and link.endswith("/")
        found = world.ask("GET", link.removeprefix("http://falconframework.org")).json["version"]
        assert found["links"][0]["href"] == link and found["id"] == one["id"]


def test_links_carry_the_public_address_when_there_is_one() -> None:
    client = falcon.testing.TestClient(make_app(InMemory(), public_url="https://corral.example"))
    version = client.simulate_get("/v2.1").json["version"]
    assert version["links"][0]["href"] == "https://corral.example/v2.1/"


MICROVERSIONS = [
    ({}, 200, "2.1"),
    ({"OpenStack_API_Version": "compute 2.42"}, 200, "2.42"),
    ({"OpenStack_API_Version": "compute latest"}, 200, "2.42"),
    ({"OpenStack_API_Version": "identity 3, compute 2.5"}, 200, "2.5"),
    ({"OpenStack_API_Version": "volume 3.5"}, 200, "2.1"),
    ({"X_OpenStack_Nova_API_Version": "2.41"}, 200, "2.41"),
    ({"X_OpenStack_Nova_API_Version": "2.1", "OpenStack_API_Version": "compute 2.2"}, 200, "2.2"),
    ({"OpenStack_API_Version": "compute 2.43"}, 406, None),
    ({"OpenStack_API_Version": "compute 2.0"}, 406, None),
    ({"OpenStack_API_Version": "compute 3.1"}, 406, None),
    ({"OpenStack_API_Version": "compute two"}, 400, None),
    ({"OpenStack_API_Version": "compute 2.01"}, 400, None),
    ({"X_OpenStack_Nova_API_Version": "2"}, 400, None),
]


@pytest.mark.parametrize("headers, status, served", MICROVERSIONS)
def test_microversions_are_negotiated(world: World, headers: dict[str, str], status: int,
                                      served: str | None) -> None:
    result = world.ask("GET", URL, **headers)
    assert result.status_code == status
    assert result.headers["Vary"] == "OpenStack-API-Version, X-OpenStack-Nova-API-Version"
    if served:
        assert result.headers["OpenStack-API-Version"] == f"compute {served}"
        assert result.headers["X-OpenStack-Nova-API-Version"] == served
    else:
        assert json.loads(result.text) and result.headers["x-compute-request-id"].startswith("req-")
    if status == 406:
        assert "2.42" in result.json["computeFault"]["message"]


def test_an_unavailable_conductor_is_503_with_retry_after(world: World) -> None:
    world.conductor.down = errors.Unavailable("Nobody listens", code="nobody_listens")
    result = world.ask("GET", URL)
    assert (result.status_code, list(result.json)) == (503, ["serviceUnavailable"])
    assert int(result.headers["Retry-After"]) > 0
