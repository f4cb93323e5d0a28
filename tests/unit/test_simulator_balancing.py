"""Workload balancing: evacuations go by an appliance while it answers, and by xapi's own plan otherwise."""

from typing import Any

import pytest
from simulator_host import failure_of

from agent.simulator import DirectClient, WorldError, direct_world
from agent.simulator.spec import parse_spec


def pool(**appliance: Any) -> DirectClient:
    world, clock = direct_world(parse_spec({
        "hosts": [{"name": "h1"}, {"name": "h2"}, {"name": "h3", "memory": "8 GiB"}],
        "pools": [{"hosts": ["h1", "h2", "h3"]}], "balancing": [{"pool": "h2", **appliance}],
        "vms": [{"name": "v", "host": "h1", "state": "running", "memory": "1 GiB"}]}))
    return DirectClient(world, clock, "127.1.0.1").login()


def ref(client: DirectClient, cls: str, name: str) -> str:
    return str(client(f"{cls}.get_by_name_label", name)[0])


def home(client: DirectClient) -> str:
    return str(client("host.get_name_label", client("VM.get_resident_on", ref(client, "VM", "v"))))


def notices(client: DirectClient) -> list[str]:
    return [record["name"] for record in client("message.get_all_records").values()]


def test_an_evacuation_goes_where_the_appliance_says() -> None:
    client = pool(evacuations={"v": "h3"})
    client("host.evacuate", ref(client, "host", "h1"))
    assert home(client) == "h3"


def test_a_vm_that_the_appliance_leaves_out_keeps_the_host_from_being_emptied() -> None:
    client = pool()
    host, vm = ref(client, "host", "h1"), ref(client, "VM", "v")
    assert failure_of(client, "host.evacuate", host) == ["HOST_NOT_ENOUGH_FREE_MEMORY", vm]


@pytest.mark.parametrize("appliance", [
    {"failure": ["WLB_TIMEOUT", "30"]}, {"evacuations": {"v": "h1"}}], ids=["silent", "senseless"])
def test_without_sensible_advice_xapi_plans_by_itself_and_says_so(appliance: dict[str, Any]) -> None:
    client = pool(**appliance)
    client("host.evacuate", ref(client, "host", "h1"))
    assert (home(client), "WLB_CONSULTATION_FAILED" in notices(client)) == ("h2", True)


@pytest.mark.parametrize("change", ["pool.set_wlb_enabled", "pool.add_to_other_config"])
def test_an_appliance_that_is_not_to_be_asked_is_not(change: str) -> None:
    client = pool(evacuations={"v": "h3"})
    given: list[Any] = [False] if change.endswith("enabled") else ["wlb_choose_host_disable", "True"]
    client(change, client("pool.get_all")[0], *given)
    client("host.evacuate", ref(client, "host", "h1"))
    assert (home(client), "WLB_CONSULTATION_FAILED" in notices(client)) == ("h2", False)


def test_ratings_that_leave_out_a_host_are_no_answer() -> None:
    client = pool(ratings={"v": {"h1": "3", "h2": "4"}})
    assert failure_of(client, "VM.retrieve_wlb_recommendations", ref(client, "VM", "v"))[:2] == [
        "WLB_MALFORMED_RESPONSE", "VMGetRecommendations"]


def test_what_the_appliance_fails_with_is_told() -> None:
    client = pool(failure=["WLB_TIMEOUT", "30"])
    assert failure_of(client, "VM.retrieve_wlb_recommendations", ref(client, "VM", "v")) == ["WLB_TIMEOUT", "30"]
    assert failure_of(client, "host.retrieve_wlb_evacuate_recommendations", ref(client, "host", "h1")) == [
        "WLB_TIMEOUT", "30"]


def test_what_else_an_appliance_can_be_asked_is_not_simulated_and_says_so() -> None:
    assert failure_of(pool(), "pool.retrieve_wlb_configuration") == [
        "NOT_IMPLEMENTED", "pool.retrieve_wlb_configuration"]


@pytest.mark.parametrize("appliance, place", [
    ({"evacuations": {"v": "h9"}}, "evacuations.v"), ({"ratings": {"v": {"h9": "1"}}}, "ratings.v")])
def test_advice_about_hosts_that_are_not_there_is_refused_with_the_place(appliance: dict[str, Any],
                                                                        place: str) -> None:
    with pytest.raises(WorldError, match=rf"balancing\[0\].{place}: there is no host 'h9'"):
        pool(**appliance)
