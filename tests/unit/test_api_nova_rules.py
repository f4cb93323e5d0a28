"""Nova's rules for aggregates, zones, hosts and services, asked of the API in front of a whole conductor.

The worlds have no pool-backed aggregates by default, as an operator sets it who brings a test
suite that was written for Nova; the last tests say what is otherwise with a pool behind.
"""

import json
from pathlib import Path
from typing import Any

import falcon.testing
import pytest
from conductor_world import World

from conductor.api.app import make_app
from conductor.views import Views

AGGREGATES, SERVICES = "/v2.1/os-aggregates", "/v2.1/os-services"


class Served(World):
    """A world with the API in front; aggregate 1 is in z1, 2 in z2, 3 in no zone."""

    def __init__(self, folder: Path, **options: Any) -> None:
        super().__init__(folder, **options)
        self.client = falcon.testing.TestClient(make_app(self))
        self.settle()
        for name, zone in (("a1", "z1"), ("a2", "z2"), ("a3", None)):
            self.ask("aggregate_create", name=name, availability_zone=zone)

    def start_conductor(self) -> None:
        """Begin with a new one."""
        super().start_conductor()
        self.conductor = Views(self.engine)

    def call(self, context: dict[str, Any], method: str, **arguments: Any) -> Any:
        """Ask the conductor as the API does, with a JSON round trip."""
        return json.loads(json.dumps(getattr(self.conductor, method)(context, **json.loads(json.dumps(arguments)))))

    def http(self, method: str, url: str, body: Any = None, version: str = "2.42") -> Any:
        """Return falcon's result of one request."""
        self.clock.advance(0.001)
        return self.client.simulate_request(method, url, json=body,
                                            headers={"OpenStack-API-Version": f"compute {version}"})

    def act(self, number: int, **action: Any) -> Any:
        """Return the result of an action on an aggregate."""
        return self.http("POST", f"{AGGREGATES}/{number}/action", action)

    def add(self, number: int, host: str) -> int:
        """Add a host; return the status."""
        return int(self.act(number, add_host={"host": host}).status_code)

    def remove(self, number: int, host: str) -> int:
        """Remove a host; return the status."""
        return int(self.act(number, remove_host={"host": host}).status_code)

    def change(self, number: int, **members: Any) -> Any:
        """Return the result of an update."""
        return self.http("PUT", f"{AGGREGATES}/{number}", {"aggregate": members})

    def tag(self, number: int, **metadata: Any) -> Any:
        """Return the result of setting metadata."""
        return self.act(number, set_metadata={"metadata": metadata})

    def aggregate(self, number: int) -> Any:
        """Return an aggregate."""
        return self.http("GET", f"{AGGREGATES}/{number}").json["aggregate"]

    def with_vm(self, host: str) -> None:
        """Start a VM on a host."""
        self.pool.add_vm(f"vm-{host}", host)
        self.settle()


@pytest.fixture
def nova(tmp_path: Path) -> Served:
    return Served(tmp_path, pool_backed_by_default=False)


def test_a_zone_becomes_metadata_and_goes_with_it(nova: Served) -> None:
    assert nova.aggregate(1)["metadata"] == {"availability_zone": "z1"} and nova.aggregate(3)["metadata"] == {}
    assert nova.tag(3, availability_zone="z3").json["aggregate"]["availability_zone"] == "z3"


def test_a_taken_name_is_a_conflict_on_create_and_on_update(nova: Served) -> None:
    result = nova.http("POST", AGGREGATES, {"aggregate": {"name": "a1"}})
    assert (result.status_code, result.json["conflictingRequest"]["message"]) == (409, "Aggregate a1 already exists.")
    assert nova.change(2, name="a1").status_code == 409 and nova.change(1, name="a1").status_code == 200


def test_a_deleted_name_may_be_used_again(nova: Served) -> None:
    assert nova.http("DELETE", f"{AGGREGATES}/3").status_code == 200
    assert nova.http("POST", AGGREGATES, {"aggregate": {"name": "a3"}}).json["aggregate"]["id"] != 1


def test_an_update_sets_its_time_and_a_new_aggregate_has_none(nova: Served) -> None:
    assert nova.aggregate(3)["updated_at"] is None
    assert nova.change(3, name="b3").json["aggregate"]["updated_at"] > nova.aggregate(3)["created_at"]


def test_a_host_that_is_there_is_a_conflict_in_novas_words(nova: Served) -> None:
    assert nova.add(1, "h1") == 200
    result = nova.act(1, add_host={"host": "h1"})
    assert result.json == {"conflictingRequest": {"code": 409, "message": "Aggregate 1 already has host h1."}}


def test_unknown_aggregates_and_hosts_are_not_found(nova: Served) -> None:
    assert [nova.add(99, "h1"), nova.add(1, "h9"), nova.add(1, "H1"), nova.remove(99, "h1"), nova.remove(1, "h1"),
            nova.remove(1, "h9"), nova.change(99, name="x").status_code, nova.tag(99, a="b").status_code,
            nova.http("DELETE", f"{AGGREGATES}/99").status_code, nova.http("GET", f"{AGGREGATES}/-1").status_code
            ] == [404] * 10


def test_a_host_may_be_in_several_aggregates_whose_zones_agree(nova: Served) -> None:
    assert [nova.add(1, "h1"), nova.add(3, "h1"), nova.add(2, "h1")] == [200, 200, 409]
    assert nova.tag(3, availability_zone="z1").status_code == 200
    assert (nova.aggregate(1)["hosts"], nova.aggregate(2)["hosts"], nova.aggregate(3)["hosts"]) == (["h1"], [], ["h1"])


def test_refusals_that_clients_may_know_by_heart_have_novas_words(nova: Served) -> None:
    nova.add(1, "h1")
    said = {
        nova.act(1, remove_host={"host": "h2"}): "Cannot remove host h2 in aggregate 1",
        nova.change(2, name="a1"): "Aggregate a1 already exists.",
        nova.change(2, availability_zone=""): "Aggregate 2 does not support empty named availability zone",
        nova.change(2, availability_zone=" "): "Aggregate 2 does not support empty named availability zone",
        nova.change(2, availability_zone=None): "Aggregate 2 does not support empty named availability zone",
        nova.change(9, name="b"): "Aggregate 9 could not be found.",
        nova.act(1, add_host={"host": "h1"}): "Aggregate 1 already has host h1.",
        nova.act(1, paint={}): "There is no such action: paint",
        nova.http("DELETE", f"{AGGREGATES}/1"):
            "Cannot remove host from aggregate 1. Reason: Host aggregate is not empty.",
    }
    assert not [(wanted, result.text) for result, wanted in said.items() if wanted not in result.text]


def test_a_zone_change_against_another_aggregate_of_a_host_is_a_bad_request(nova: Served) -> None:
    nova.add(1, "h1")
    nova.add(3, "h1")
    assert nova.change(3, availability_zone="z2").status_code == 400
    result = nova.tag(3, availability_zone="z2")
    assert (result.status_code, result.headers["Corral-Error"]) == (400, "zone_differs")
    assert nova.aggregate(3)["availability_zone"] is None


def test_a_zone_change_with_vms_on_a_host_is_a_bad_request(nova: Served) -> None:
    nova.add(1, "h1")
    nova.with_vm("h1")
    assert nova.change(1, availability_zone="z9").status_code == 400
    result = nova.tag(1, availability_zone="z9")
    assert (result.status_code, result.headers["Corral-Error"]) == (400, "zone_in_use")
    assert nova.tag(1, availability_zone="z1", ssd="true").status_code == 200


def test_adding_or_removing_a_host_with_vms_is_a_conflict_when_its_zone_would_change(nova: Served) -> None:
    nova.with_vm("h1")
    assert nova.add(1, "h1") == 409 and nova.add(3, "h1") == 200 and nova.remove(3, "h1") == 200
    nova.add(1, "h2")
    nova.with_vm("h2")
    assert nova.remove(1, "h2") == 409
    assert nova.tag(3, availability_zone="z1").status_code == 200 and nova.add(3, "h2") == 200
    assert nova.remove(1, "h2") == 200 and nova.remove(3, "h2") == 409


def test_metadata_is_merged_null_removes_and_null_for_nothing_is_ignored(nova: Served) -> None:
    nova.tag(1, ssd="true", rack="7")
    assert nova.tag(1, ssd=None, nothing=None, row="b").json["aggregate"]["metadata"] == {
        "availability_zone": "z1", "rack": "7", "row": "b"}


def test_a_metadata_key_that_differs_by_its_case_only_is_a_bad_request(nova: Served) -> None:
    nova.tag(1, ssd="true")
    assert nova.tag(1, SSD="true").status_code == 400
    assert nova.tag(1, ssd="false").status_code == 200


def test_deleting_an_aggregate_with_hosts_is_a_bad_request_until_they_are_gone(nova: Served) -> None:
    nova.add(1, "h1")
    assert nova.http("DELETE", f"{AGGREGATES}/1").status_code == 400
    assert nova.remove(1, "h1") == 200
    result = nova.http("DELETE", f"{AGGREGATES}/1")
    assert (result.status_code, result.text) == (200, "")
    assert nova.http("GET", f"{AGGREGATES}/1").status_code == 404


def test_the_uuid_is_shown_from_2_41_on(nova: Served) -> None:
    assert "uuid" in nova.http("GET", f"{AGGREGATES}/1", version="2.41").json["aggregate"]
    assert "uuid" not in nova.http("GET", f"{AGGREGATES}/1", version="2.40").json["aggregate"]


def test_hosts_services_hypervisors_and_zones_agree_about_a_hosts_zone(nova: Served) -> None:
    nova.add(1, "h1")
    assert {"host_name": "h1", "service": "compute", "zone": "z1"} in nova.http("GET", "/v2.1/os-hosts").json["hosts"]
    (service,) = nova.http("GET", SERVICES + "?host=h1").json["services"]
    assert service["zone"] == "z1"
    zones = nova.http("GET", "/v2.1/os-availability-zone/detail").json["availabilityZoneInfo"]
    assert [(one["zoneName"], sorted(one["hosts"])) for one in zones] == [("nova", ["h2", "h3"]), ("z1", ["h1"])]
    found = nova.http("GET", "/v2.1/os-hypervisors/detail").json["hypervisors"]
    assert [one["service"]["host"] for one in found if (one["state"], one["status"]) == ("up", "enabled")] == [
        "h1", "h2", "h3"]


def test_a_service_is_disabled_with_a_reason_and_enabled_again(nova: Served) -> None:
    body = {"host": "h1", "binary": "nova-compute"}
    result = nova.http("PUT", SERVICES + "/disable-log-reason", {**body, "disabled_reason": "fans"})
    assert result.json == {"service": {**body, "disabled_reason": "fans", "status": "disabled"}}
    nova.finish(result.headers["Corral-Operation"])
    (shown,) = nova.http("GET", SERVICES + "?host=h1").json["services"]
    assert (shown["status"], shown["disabled_reason"], shown["state"]) == ("disabled", "fans", "up")
    back = nova.http("PUT", SERVICES + "/enable", body)
    nova.finish(back.headers["Corral-Operation"])
    (shown,) = nova.http("GET", SERVICES + "?host=h1").json["services"]
    assert (shown["status"], shown["disabled_reason"]) == ("enabled", None)


@pytest.fixture
def backed(tmp_path: Path) -> Served:
    """Hosts h1 to h3 are a pool behind aggregate 4; h1 has a VM."""
    made = Served(tmp_path)
    made.start_pool(aggregate="a4")
    made.with_vm("h1")
    return made


def test_with_a_pool_behind_a_host_with_vms_is_adopted_into_a_zone(tmp_path: Path) -> None:
    world = Served(tmp_path)
    world.pool.merge("h1", "h2")
    world.with_vm("h1")
    world.pass_time(21)
    result = world.act(1, add_host={"host": "h1"})
    assert result.status_code == 200 and result.json["aggregate"]["hosts"] == ["h1"]
    assert result.json["aggregate"]["metadata"]["operational_state"] == "changing"


def test_with_a_pool_behind_a_host_is_in_one_aggregate_only_and_labels_may_have_it_too(backed: Served) -> None:
    assert backed.add(3, "h1") == 409
    assert backed.tag(3, hypervisor_pool="false").status_code == 200 and backed.add(3, "h1") == 200
    assert backed.tag(3, hypervisor_pool="true").status_code == 409


def test_one_server_is_moved_and_seen_as_a_migration_until_it_is_there(backed: Served) -> None:
    begun = backed.http("POST", "/v2.1/servers/vm-h1/action",
                        {"os-migrateLive": {"host": "h2", "block_migration": "auto"}})
    assert begun.status_code == 202
    (running,) = backed.http("GET", "/v2.1/servers/vm-h1/migrations").json["migrations"]
    assert (running["source_compute"], running["dest_compute"], running["status"]) == ("h1", "h2", "preparing")
    backed.run(lambda: backed.state(begun.headers["Corral-Operation"]) == "succeeded")
    assert backed.http("GET", "/v2.1/servers/vm-h1/migrations").json["migrations"] == []
    (moved,) = backed.http("GET", "/v2.1/os-migrations?host=h2").json["migrations"]
    assert (moved["status"], moved["instance_uuid"]) == ("completed", "vm-h1")
    assert backed.http("GET", "/v2.1/servers/vm-h1").json["server"]["OS-EXT-SRV-ATTR:host"] == "h2"
    (there,) = backed.http("GET", "/v2.1/os-hypervisors/h2/servers").json["hypervisors"]
    assert there["servers"] == [{"name": "name-vm-h1", "uuid": "vm-h1"}] and backed.pool.harm == []


def test_a_move_of_its_own_is_aborted(backed: Served) -> None:
    backed.http("POST", "/v2.1/servers/vm-h1/action", {"os-migrateLive": {"host": None, "block_migration": False}})
    assert backed.http("DELETE", "/v2.1/servers/vm-h1/migrations/1").status_code == 202
    (seen,) = backed.http("GET", "/v2.1/os-migrations").json["migrations"]
    assert seen["status"] == "cancelled"
    assert backed.http("DELETE", "/v2.1/servers/vm-h1/migrations/1").status_code == 404
