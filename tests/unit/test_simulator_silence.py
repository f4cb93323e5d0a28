"""Toolstacks that stay away, and what their master makes of hearing nothing from them."""

from agent.simulator import DirectClient, direct_world
from agent.simulator.fault_spec import Incident
from agent.simulator.spec import HostSpec, PoolSpec, WorldSpec


def pool() -> DirectClient:
    spec = WorldSpec((HostSpec("h1"), HostSpec("h2")), (PoolSpec(("h1", "h2")),))
    return DirectClient(*direct_world(spec), "127.1.0.1").login()


def befall(client: DirectClient, what: str, host: str, seconds: float = 0) -> None:
    client.world.put_in(Incident(0, what, host))
    client.pass_time(seconds)


def is_live(client: DirectClient, name: str = "h2") -> bool:
    (host,) = client("host.get_by_name_label", name)
    return bool(client("host_metrics.get_live", client("host.get_metrics", host)))


def test_a_toolstack_that_was_stopped_stays_away_whatever_would_start_it_again() -> None:
    client = pool()
    client("host.restart_agent", client("host.get_by_name_label", "h2")[0])
    befall(client, "stop", "h2", 60)
    befall(client, "kill", "h2", 60)
    assert client.world.node_named("h2").power == "down"
    befall(client, "start", "h2", 15)
    assert client.world.node_named("h2").power == "up" and is_live(client)


def test_a_machine_that_boots_starts_a_toolstack_that_was_stopped() -> None:
    client = pool()
    befall(client, "stop", "h2", 700)
    assert not is_live(client)
    befall(client, "power_off", "h2", 1)
    befall(client, "power_on", "h2", 200)
    assert is_live(client)


def test_a_silence_that_is_shorter_or_was_broken_has_no_consequence() -> None:
    client = pool()
    befall(client, "stop", "h2", 590)
    befall(client, "start", "h2", 700)
    assert is_live(client)


def test_a_master_that_was_away_itself_counts_a_members_silence_anew() -> None:
    client = pool()
    befall(client, "stop", "h2", 300)
    befall(client, "stop", "h1", 400)
    befall(client, "start", "h1", 20)
    client.login()
    assert is_live(client)
    client.pass_time(600)
    assert not is_live(client)


def test_members_of_a_master_whose_toolstack_stays_away_are_in_emergency_mode_until_it_is_back() -> None:
    client = pool()
    befall(client, "stop", "h1", 200)
    assert client.world.node_named("h2").facts["emergency"] == ["HOST_STILL_BOOTING"]
    befall(client, "start", "h1", 100)
    client.login()
    assert is_live(client) and client("host.get_enabled", client("host.get_by_name_label", "h2")[0])
