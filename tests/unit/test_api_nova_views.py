"""os-services, os-availability-zone, os-hypervisors, os-migrations and servers in Nova's forms, without a server."""

from typing import Any

import falcon.testing
import pytest

from conductor.api.app import make_app
from tests.unit.api_conductor import AT, InMemory

V11, V22, V23, V24, V25, V28, V30, V33, V42 = (f"compute 2.{n}" for n in (11, 22, 23, 24, 25, 28, 30, 33, 42))
SERVICES, HYPERVISORS, SERVERS = "/v2.1/os-services", "/v2.1/os-hypervisors", "/v2.1/servers"


class World:
    """An application, its conductor, and a client."""

    def __init__(self) -> None:
        self.conductor = InMemory()
        self.client = falcon.testing.TestClient(make_app(self.conductor))

    def ask(self, method: str, url: str, body: Any = None, version: str | None = None) -> Any:
        """Return falcon's result of one request."""
        headers = {"OpenStack-API-Version": version} if version else {}
        return self.client.simulate_request(method, url, json=body, headers=headers)

    def get(self, url: str, version: str | None = None) -> Any:
        """Return the body of what is there."""
        result = self.ask("GET", url, version=version)
        assert result.status_code == 200, result.text
        return result.json

    def called(self, method: str) -> list[Any]:
        """Return the arguments of each call of that method."""
        return [arguments for _, name, arguments in self.conductor.calls if name == method]


@pytest.fixture
def world() -> World:
    return World()


def service(**more: Any) -> dict[str, Any]:
    """Return the body that names a host's service."""
    return {"host": "h1", "binary": "nova-compute", **more}


def live(**more: Any) -> dict[str, Any]:
    """Return the body that moves a VM, as from 2.25 on."""
    return {"os-migrateLive": {"host": None, "block_migration": "auto", **more}}


MIGRATION = SERVERS + "/vm-1/migrations/1"
Case = tuple[str, str, Any, str | None, int]

RULES: dict[str, Case] = {
    "a service is disabled": ("PUT", SERVICES + "/disable", service(), None, 200),
    "an unknown host has no service": ("PUT", SERVICES + "/disable", service(host="h9"), None, 404),
    "an unknown binary is no service": ("PUT", SERVICES + "/enable", service(binary="nova-cert"), None, 404),
    "a service is named by host and binary": ("PUT", SERVICES + "/enable", {"host": "h1"}, None, 400),
    "an unknown member of a service's change is refused": ("PUT", SERVICES + "/enable", service(x=1), None, 400),
    "a binary with a control character is refused": ("PUT", SERVICES + "/enable", service(binary="a\x07"), None, 400),
    "a host with a space is refused": ("PUT", SERVICES + "/enable", service(host="h 1"), None, 400),
    "an unknown action on services is not found": ("PUT", SERVICES + "/explode", service(), None, 404),
    "a missing reason is refused": ("PUT", SERVICES + "/disable-log-reason", service(), None, 400),
    "a reason of spaces is refused": (
        "PUT", SERVICES + "/disable-log-reason", service(disabled_reason="  "), None, 400),
    "a reason of 256 characters is refused": (
        "PUT", SERVICES + "/disable-log-reason", service(disabled_reason="x" * 256), None, 400),
    "forcing down is not there below 2.11": ("PUT", SERVICES + "/force-down", service(forced_down=True), None, 404),
    "forced_down is unknown below 2.11": ("PUT", SERVICES + "/enable", service(forced_down=True), None, 400),
    "forcing down says whether": ("PUT", SERVICES + "/force-down", service(), V11, 400),
    "forcing down is yes or no": ("PUT", SERVICES + "/force-down", service(forced_down="maybe"), V11, 400),
    "a conductor is not disabled": (
        "PUT", SERVICES + "/disable", {"host": "c1", "binary": "nova-conductor"}, None, 400),
    "a conductor is not forced down": (
        "PUT", SERVICES + "/force-down", {"host": "c1", "binary": "nova-conductor", "forced_down": True}, V11, 400),
    "a conductor is enabled": ("PUT", SERVICES + "/enable", {"host": "c1", "binary": "nova-conductor"}, None, 200),
    "deleting a service by a word is refused": ("DELETE", SERVICES + "/abc", None, None, 400),
    "deleting an unknown service is not found": ("DELETE", SERVICES + "/999", None, None, 404),
    "deleting a service beyond the database's integers is not found": (
        "DELETE", SERVICES + "/" + "9" * 25, None, None, 404),
    "deleting a service that is up is a conflict": ("DELETE", SERVICES + "/2", None, None, 409),
    "an unknown member of the services' query is ignored": ("GET", SERVICES + "?xxx=nova-compute", None, None, 200),
    "showing an unknown hypervisor is not found": ("GET", HYPERVISORS + "/99", None, None, 404),
    "showing a hypervisor by a word is not found": ("GET", HYPERVISORS + "/abc", None, None, 404),
    "the uptime of an unknown hypervisor is not found": ("GET", HYPERVISORS + "/99/uptime", None, None, 404),
    "searching for no hypervisor is not found": ("GET", HYPERVISORS + "/nothing/search", None, None, 404),
    "the servers of no hypervisor are not found": ("GET", HYPERVISORS + "/nothing/servers", None, None, 404),
    "a marker that is none is refused": ("GET", HYPERVISORS + "?marker=99", None, V33, 400),
    "a limit that is no number is refused": ("GET", HYPERVISORS + "?limit=x", None, V33, 400),
    "an unknown server is not found": ("GET", SERVERS + "/nothing", None, None, 404),
    "a server's name with a space is not found": ("GET", SERVERS + "/my%20vm", None, None, 404),
    "a server's migrations are not there below 2.23": ("GET", SERVERS + "/vm-1/migrations", None, V22, 404),
    "the migrations of an unknown server are not found": ("GET", SERVERS + "/nothing/migrations", None, V23, 404),
    "an unknown migration is not found": ("GET", SERVERS + "/vm-1/migrations/9", None, V23, 404),
    "a migration of a word is not found": ("GET", SERVERS + "/vm-1/migrations/x", None, V23, 404),
    "aborting is not there below 2.24": ("DELETE", MIGRATION, None, V23, 404),
    "aborting an unknown migration is not found": ("DELETE", MIGRATION, None, V24, 404),
    "forcing an unknown migration to end is not found": (
        "POST", MIGRATION + "/action", {"force_complete": None}, V22, 404),
    "forcing a migration to end is not there below 2.22": (
        "POST", MIGRATION + "/action", {"force_complete": None}, None, 404),
    "an unknown action on a server is refused": ("POST", SERVERS + "/vm-1/action", {"reboot": {}}, None, 400),
    "moving an unknown server is not found": ("POST", SERVERS + "/vm-9/action", live(), V25, 404),
    "moving to an unknown host is refused": ("POST", SERVERS + "/vm-1/action", live(host="h9"), V25, 400),
    "moving says whether disks go along": ("POST", SERVERS + "/vm-1/action", {"os-migrateLive": {"host": None}}, V25,
                                           400),
    "moving disks along is refused": ("POST", SERVERS + "/vm-1/action", live(block_migration=True), V25, 400),
    "auto is unknown below 2.25": (
        "POST", SERVERS + "/vm-1/action", live(disk_over_commit=False), V24, 400),
    "disk_over_commit must be given below 2.25": (
        "POST", SERVERS + "/vm-1/action", live(block_migration=False), V24, 400),
    "disk_over_commit is unknown from 2.25 on": (
        "POST", SERVERS + "/vm-1/action", live(disk_over_commit=False), V25, 400),
    "force is unknown below 2.30": ("POST", SERVERS + "/vm-1/action", live(force=False), V25, 400),
    "checks are not skipped by force": ("POST", SERVERS + "/vm-1/action", live(host="h2", force=True), V30, 400),
    "force of no is accepted": ("POST", SERVERS + "/vm-1/action", live(host="h2", force=False), V30, 202),
    "moving is accepted in the form below 2.25": (
        "POST", SERVERS + "/vm-1/action", live(block_migration=False, disk_over_commit=False), None, 202),
}


@pytest.mark.parametrize("rule", RULES)
def test_nova_answers_so(world: World, rule: str) -> None:
    method, url, body, version, status = RULES[rule]
    result = world.ask(method, url, body, version)
    assert result.status_code == status, result.text
    if status >= 400:
        (error,) = result.json.values()
        assert set(error) == {"code", "message"} and error["code"] == status and error["message"]


def test_services_are_agents_and_conductors_under_novas_names(world: World) -> None:
    found = world.get(SERVICES)["services"]
    assert [(one["binary"], one["host"]) for one in found] == [
        ("nova-compute", "h1"), ("nova-compute", "h2"), ("nova-compute", "h3"), ("nova-compute", "h4"),
        ("nova-conductor", "c1")]
    assert found[0] == {"id": 2, "binary": "nova-compute", "host": "h1", "zone": "nova", "status": "enabled",
                        "state": "up", "updated_at": AT, "disabled_reason": None}
    assert found[4]["zone"] == "internal"
    assert world.get(SERVICES, V11)["services"][0]["forced_down"] is False


@pytest.mark.parametrize("query, hosts", [
    ("?host=h2", ["h2"]), ("?binary=nova-conductor", ["c1"]), ("?host=h2&binary=nova-conductor", []),
    ("?host=nothing", []), ("?host=", ["h1", "h2", "h3", "h4", "c1"])])
def test_services_are_narrowed_by_host_and_binary(world: World, query: str, hosts: list[str]) -> None:
    assert [one["host"] for one in world.get(SERVICES + query)["services"]] == hosts


def test_disabling_names_the_operation_and_the_status_wanted(world: World) -> None:
    result = world.ask("PUT", SERVICES + "/disable", service())
    assert result.json == {"service": service(status="disabled")}
    assert result.headers["Corral-Operation"] in world.conductor.operations
    assert world.get(SERVICES + "?host=h1")["services"][0]["status"] == "disabled"
    back = world.ask("PUT", SERVICES + "/enable", service())
    assert back.json == {"service": service(status="enabled")} and back.status_code == 200
    again = world.ask("PUT", SERVICES + "/enable", service())
    assert again.status_code == 200 and "Corral-Operation" not in again.headers


def test_the_reason_of_disabling_is_kept_without_the_spaces_around_it(world: World) -> None:
    result = world.ask("PUT", SERVICES + "/disable-log-reason", service(disabled_reason=" new fans "))
    assert result.json == {"service": service(status="disabled", disabled_reason="new fans")}
    assert world.get(SERVICES + "?host=h1")["services"][0]["disabled_reason"] == "new fans"


@pytest.mark.parametrize("word, down", [(True, True), ("yes", True), ("1", True), (False, False), ("Off", False)])
def test_a_host_is_forced_down_in_any_of_novas_words(world: World, word: Any, down: bool) -> None:
    result = world.ask("PUT", SERVICES + "/force-down", service(forced_down=word), V11)
    assert result.json == {"service": service(forced_down=down)}
    assert world.get(SERVICES + "?host=h1", V11)["services"][0]["state"] == ("down" if down else "up")


def test_deleting_a_service_that_is_down_forgets_its_host(world: World) -> None:
    world.conductor.hosts["h3"]["agent"] = "down"
    result = world.ask("DELETE", SERVICES + "/6")
    assert (result.status_code, result.text) == (204, "") and "h3" not in world.conductor.hosts
    assert world.ask("DELETE", SERVICES + "/7").status_code == 204 and world.conductor.conductors == {}


def test_zones_are_those_of_hosts_and_available_while_one_is_enabled(world: World) -> None:
    world.conductor.hosts["h2"].update(zone="z1", enabled=False)
    assert world.get("/v2.1/os-availability-zone") == {"availabilityZoneInfo": [
        {"zoneName": "nova", "zoneState": {"available": True}, "hosts": None},
        {"zoneName": "z1", "zoneState": {"available": False}, "hosts": None}]}


def test_zones_in_detail_have_hosts_and_the_conductors(world: World) -> None:
    world.conductor.hosts["h2"].update(zone="z1", enabled=False)
    world.conductor.hosts["h3"]["enabled"] = False
    internal, nova, off = world.get("/v2.1/os-availability-zone/detail")["availabilityZoneInfo"]
    assert (internal["zoneName"], list(internal["hosts"])) == ("internal", ["c1"])
    assert internal["hosts"]["c1"] == {"nova-conductor": {"available": True, "active": True, "updated_at": AT}}
    assert sorted(nova["hosts"]) == ["h1", "h3", "h4"] and nova["hosts"]["h3"]["nova-compute"]["active"] is False
    assert (off["zoneState"], off["hosts"]) == ({"available": False}, None)


def test_hypervisors_are_listed_short_and_in_detail(world: World) -> None:
    assert world.get(HYPERVISORS)["hypervisors"][0] == {
        "id": 1, "hypervisor_hostname": "h1", "state": "up", "status": "enabled"}
    long = world.get(HYPERVISORS + "/detail")["hypervisors"][0]
    assert long == world.get(HYPERVISORS + "/1")["hypervisor"]
    assert (long["memory_mb"], long["free_ram_mb"], long["memory_mb_used"]) == (65536, 49152, 16384)
    assert (long["hypervisor_type"], long["hypervisor_version"], long["running_vms"]) == ("XenServer", 3004000, 2)
    assert long["service"] == {"id": 2, "host": "h1", "disabled_reason": None} and long["cpu_info"] == "{}"
    assert world.get(HYPERVISORS + "/1", V28)["hypervisor"]["cpu_info"] == {}


def test_a_disabled_hypervisor_is_not_in_the_statistics(world: World) -> None:
    world.conductor.hosts["h4"]["enabled"] = False
    told = world.get(HYPERVISORS + "/statistics")["hypervisor_statistics"]
    assert (told["count"], told["memory_mb"], told["vcpus"], told["running_vms"]) == (3, 3 * 65536, 48, 2)
    assert len(told) == 12


def test_the_uptime_of_a_hypervisor_that_is_down_is_not_told(world: World) -> None:
    assert world.get(HYPERVISORS + "/1/uptime")["hypervisor"]["uptime"] == " 23:14:21 up 1 day,  1:01"
    world.conductor.hosts["h1"]["agent"] = "down"
    assert world.ask("GET", HYPERVISORS + "/1/uptime").status_code == 400


def test_hypervisors_are_found_by_a_part_of_their_name_with_their_servers(world: World) -> None:
    assert len(world.get(HYPERVISORS + "/h/search")["hypervisors"]) == 4
    first, *others = world.get(HYPERVISORS + "/h/servers")["hypervisors"]
    assert [one["uuid"] for one in first["servers"]] == ["vm-1", "vm-2"]
    assert all("servers" not in one for one in others)


def test_hypervisors_come_in_pages_from_2_33_on(world: World) -> None:
    first = world.get(HYPERVISORS + "?limit=3", V33)
    assert [one["id"] for one in first["hypervisors"]] == [1, 2, 3]
    (link,) = first["hypervisors_links"]
    rest = world.get(link["href"].removeprefix("http://falconframework.org"), V33)
    assert [one["id"] for one in rest["hypervisors"]] == [4] and "hypervisors_links" not in rest
    assert len(world.get(HYPERVISORS + "?limit=3")["hypervisors"]) == 4


def test_one_server_is_moved_by_an_operation_of_its_own(world: World) -> None:
    result = world.ask("POST", SERVERS + "/vm-1/action", live(host="h3"), V25)
    assert (result.status_code, result.text) == (202, "")
    assert world.conductor.operations[result.headers["Corral-Operation"]]["kind"] == "vm_migrate"
    assert world.called("vm_migrate") == [{"vm": "vm-1", "host": "h3"}]
    assert world.get(SERVERS + "/vm-1")["server"]["status"] == "MIGRATING"
    assert world.ask("POST", SERVERS + "/vm-1/action", live(host="h2"), V25).status_code == 409


def test_a_move_that_fits_nowhere_is_a_bad_request(world: World) -> None:
    world.conductor.feasible = False
    result = world.ask("POST", SERVERS + "/vm-1/action", live(), V25)
    assert (result.status_code, result.headers["Corral-Error"]) == (400, "no_plan")


def test_migrations_are_moves_in_novas_words(world: World) -> None:
    world.conductor.vm_migrate("vm-1", "h3")
    world.conductor.vm_migrate("vm-2", "h2")
    world.conductor.migrations[2]["state"] = "done"
    second, first = world.get("/v2.1/os-migrations")["migrations"]
    assert first == {
        "id": 1, "instance_uuid": "vm-1", "source_compute": "h1", "source_node": "h1", "dest_compute": "h3",
        "dest_node": "h3", "dest_host": "127.0.0.1", "status": "running", "created_at": AT, "updated_at": AT,
        "old_instance_type_id": None, "new_instance_type_id": None}
    assert second["status"] == "completed"
    second, first = world.get("/v2.1/os-migrations", V23)["migrations"]
    assert first["links"][0]["href"].endswith("/v2.1/servers/vm-1/migrations/1") and "links" not in second
    assert first["migration_type"] == "live-migration"


@pytest.mark.parametrize("query, numbers", [
    ("?host=h3", [1]), ("?host=h1", [2, 1]), ("?status=completed", [2]), ("?instance_uuid=vm-1", [1]),
    ("?migration_type=resize", []), ("?source_compute=h1", [2, 1]), ("?status=&host=", [2, 1])])
def test_migrations_are_narrowed(world: World, query: str, numbers: list[int]) -> None:
    world.conductor.vm_migrate("vm-1", "h3")
    world.conductor.vm_migrate("vm-2", "h2")
    world.conductor.migrations[2]["state"] = "done"
    assert [one["id"] for one in world.get("/v2.1/os-migrations" + query)["migrations"]] == numbers


def test_a_servers_migration_is_there_until_it_ends_and_can_be_aborted(world: World) -> None:
    world.conductor.vm_migrate("vm-1", "h3")
    (listed,) = world.get(SERVERS + "/vm-1/migrations", V23)["migrations"]
    assert listed == world.get(MIGRATION, V23)["migration"]
    assert (listed["memory_total_bytes"], listed["memory_processed_bytes"]) == (2 ** 32, 2 ** 30)
    assert listed["server_uuid"] == "vm-1" and listed["memory_remaining_bytes"] == 3 * 2 ** 30
    assert world.ask("GET", SERVERS + "/vm-2/migrations/1", version=V23).status_code == 404
    assert world.ask("POST", MIGRATION + "/action", {"force_complete": None}, V22).status_code == 501
    result = world.ask("DELETE", MIGRATION, version=V24)
    assert (result.status_code, result.text, result.headers["Corral-Operation"]) == (202, "", "op-1")
    assert world.conductor.operations["op-1"]["state"] == "cancelling"
    world.conductor.migrations[1]["state"] = "skipped"
    assert world.get(SERVERS + "/vm-1/migrations", V23)["migrations"] == []
    assert world.ask("GET", MIGRATION, version=V23).status_code == 404


@pytest.mark.parametrize("name, found", [
    ("web1", ["vm-1"]), ("eb", ["vm-1"]), ("^web1$", ["vm-1"]), ("^web$", []), ("^web", ["vm-1"]),
    ("(a%2B)%2B$", []), ("", ["vm-1", "vm-2"])])
def test_servers_are_found_by_name(world: World, name: str, found: list[str]) -> None:
    assert [one["id"] for one in world.get(f"{SERVERS}?name={name}")["servers"]] == found


def test_a_server_shows_its_host_and_state(world: World) -> None:
    shown = world.get(SERVERS + "/vm-1")["server"]
    assert (shown["status"], shown["OS-EXT-SRV-ATTR:host"], shown["OS-EXT-STS:power_state"]) == ("ACTIVE", "h1", 1)
    assert shown in world.get(SERVERS + "/detail?status=active")["servers"]
    assert world.get(SERVERS + "/detail?host=h2")["servers"] == []


def test_a_silent_host_is_forgotten_by_our_own_address_too(world: World) -> None:
    assert world.ask("DELETE", "/v1/hosts/h2").status_code == 409
    world.conductor.hosts["h2"]["agent"] = "down"
    assert world.ask("DELETE", "/v1/hosts/h2").status_code == 204
    assert world.ask("DELETE", "/v1/hosts/h2").status_code == 404
