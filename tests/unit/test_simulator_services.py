"""What goes on round a simulated host: updates that somebody applies, plugins that run."""

import json
from typing import Any

import pytest

from agent.simulator import DirectClient, WorldError, direct_world
from agent.simulator.clocks import SetClock
from agent.simulator.fault_spec import Incident, faults_of
from agent.simulator.spec import parse_spec
from agent.simulator.state import load_world, save_world

PAIR: dict[str, Any] = {
    "hosts": [{"name": "h1"}, {"name": "h2"}], "pools": [{"hosts": ["h1", "h2"]}],
    "plugins": [{"name": "storage", "function": "list", "result": "a, b", "seconds": 30.0}]}


def master(world: dict[str, Any]) -> DirectClient:
    return DirectClient(*direct_world(parse_spec(world)), "127.1.0.1").login()


def second(client: DirectClient) -> str:
    return str(client("host.get_by_name_label", "h2")[0])


def reloaded(client: DirectClient) -> DirectClient:
    state = json.loads(json.dumps(save_world(client.world)))
    clock = SetClock(client.clock.at)
    again = DirectClient(load_world(state, clock), clock, client.address)
    again.session = client.session
    return again


def test_updates_wait_until_a_restart_of_the_machine_is_over_and_then_keep_others_waiting() -> None:
    client = master(PAIR)
    host = second(client)
    client("host.disable", host)
    client("host.reboot", host)
    client.world.put_in(Incident(0, "apply_updates", "h2", seconds=60))
    client.pass_time(5)
    assert list(client("host.get_current_operations", host).values()) == ["shutdown"]
    client.pass_time(200)  # it is back, and enabled: the operator is refused
    assert client("host.get_current_operations", host) == {}


def test_updates_of_an_enabled_host_do_not_begin() -> None:
    client = master(PAIR)
    client.world.put_in(Incident(0, "apply_updates", "h2", seconds=60))
    client.pass_time(1)
    assert client("host.get_current_operations", second(client)) == {}


def test_updates_do_not_keep_an_evacuation_waiting() -> None:
    client = master(PAIR)
    client("host.disable", second(client))
    client.world.put_in(Incident(0, "apply_updates", "h2", seconds=600))
    client.pass_time(1)
    client("host.evacuate", second(client))
    assert list(client("host.get_current_operations", second(client)).values()) == ["apply_updates"]


def test_a_restart_of_the_toolstack_ends_the_operation_of_the_updates() -> None:
    client = master(PAIR)
    client("host.disable", second(client))
    client.world.put_in(Incident(0, "apply_updates", "h2", seconds=600), Incident(10, "kill", "h2"))
    client.pass_time(60)
    assert client("host.get_current_operations", second(client)) == {}


@pytest.mark.parametrize("entry", [{"do": "apply_updates"}, {"do": "kill", "seconds": 3}])
def test_only_updates_last_and_they_must(entry: dict[str, Any]) -> None:
    with pytest.raises(WorldError, match=r"faults\[0\].seconds: apply_updates needs them"):
        faults_of([{"at": 0, "host": "h2", **entry}])


def test_a_saved_world_goes_on_with_updates_and_plugins() -> None:
    client = master(PAIR)
    host = second(client)
    client("host.disable", host)
    client.world.put_in(Incident(0, "apply_updates", "h2", seconds=60))
    client.pass_time(0)
    listing = client("Async.host.call_plugin", host, "storage", "list", {})
    again = reloaded(client)
    assert list(again("host.get_current_operations", host).values()) == ["apply_updates"]
    assert again.task(listing)["result"] == "<value>a, b</value>"
    again.pass_time(60)
    assert again("host.get_current_operations", host) == {}
    assert again("host.call_plugin", host, "storage", "list", {}) == "a, b"


def test_a_function_that_nobody_described_is_not_made_up() -> None:
    client = master(PAIR)
    listing = client.task(client("Async.host.call_plugin", second(client), "storage", "drop", {}))
    assert listing["error_info"] == ["NOT_IMPLEMENTED", "host.call_plugin storage drop"]
