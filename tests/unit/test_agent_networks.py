"""Which networks a report says that VMs can use, and which one migrations take."""

from typing import Any

import pytest
from agent_world import World, machine, steps_of

from agent.xenapi.networks import migration_network, networks_by_host

POOL = {"other_config": {"xo:migrationNetwork": "fast"}}


def pif(host: str, network: str = "N", **more: Any) -> dict[str, Any]:
    return {"host": host, "network": network, "currently_attached": True, "primary_address_type": "IPv4",
            "IP": "10.9.0.1", "IPv6": [], **more}


def tables(*pifs: dict[str, Any]) -> dict[str, dict[str, dict[str, Any]]]:
    return {"host": {"H1": {}, "H2": {}}, "network": {"N": {"uuid": "fast"}, "G": {"uuid": "guests"}},
            "pif": {f"P{number}": one for number, one in enumerate(pifs)}, "vif": {}}


def test_a_pool_without_a_choice_leaves_the_network_to_xapi() -> None:
    assert migration_network(tables(), {"other_config": {}}) is None
    assert migration_network(tables(), {"other_config": {"xo:migrationNetwork": ""}}) is None


@pytest.mark.parametrize("said", ["fast", "N"])
def test_the_choice_is_named_by_uuid_or_by_reference(said: str) -> None:
    assert migration_network(tables(), {"other_config": {"xo:migrationNetwork": said}}) == "fast"


def test_a_choice_that_is_gone_is_on_no_host_instead_of_on_any() -> None:
    known = tables(pif("H1"), pif("H2"))
    gone = migration_network(known, {"other_config": {"xo:migrationNetwork": "gone"}})
    assert gone == "gone"
    assert all(gone not in networks for networks in networks_by_host(known, (), gone).values())


@pytest.mark.parametrize("without", [{"IP": ""}, {"currently_attached": False}, {"primary_address_type": "IPv6"}])
def test_the_migration_network_is_only_where_the_host_has_an_address_on_it(without: dict[str, Any]) -> None:
    known = tables(pif("H1"), pif("H2", **without), pif("H2", "G", IP=""))
    assert networks_by_host(known, (), "fast") == {"H1": ["fast"], "H2": ["guests"]}
    assert networks_by_host(known, ()) == {"H1": ["fast"], "H2": ["fast", "guests"]}


def test_an_ipv6_host_needs_an_ipv6_address_on_the_migration_network() -> None:
    known = tables(pif("H1", primary_address_type="IPv6", IP="", IPv6=["fd00::1/64"]))
    assert networks_by_host(known, (), "fast")["H1"] == ["fast", "guests"]


def test_a_move_goes_over_the_network_that_the_pool_has_chosen() -> None:
    world = World()
    world.add_vm("v1", "h1")
    world.migration_network = "fast"
    _, end = steps_of(machine(world, "vm_migrate", {"vm": "v1", "source": "h1", "destination": "h2"}), world)
    assert end.error is None and "migrate over fast" in world.calls
    assert world.calls.index("migration_network") < world.calls.index("mark_work"), "no mark without knowing the way"
