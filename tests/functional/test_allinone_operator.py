"""An operator who acts at the hypervisors behind Corral's back."""

from pathlib import Path

from allinone_world import GIB, House, guest, pool_world, until

from agent.simulator.fault_spec import CallFault, Incident


def test_a_host_enabled_behind_our_back_is_disabled_again_and_the_timeline_says_so(tmp_path: Path) -> None:
    with House(tmp_path, pool_world(2, [])) as house:
        corral = house.corral
        corral.adopt("h1", "h2")
        corral.ask("host-update --maintenance enable h2 --wait")
        pool = house.pool()
        (there,) = pool.api.host.get_by_name_label("h2")
        pool.api.host.enable(there)
        again = until("Corral sets about it", lambda: [
            one for one in corral.client.get("v1", "operations", host="h2")["operations"]
            if one["kind"] == "host_disable"])[0]
        corral.ended(again["id"])
        assert not house.pool().enabled("h2") and corral.host("h2")["state"] == "in_maintenance"
        assert again["user"] == "corral" and "somebody enabled it" in again["reason"]
        assert any(event["event"] == "drift" for event in corral.events(again["id"]))
        corral.ask("host-update --maintenance disable h2 --wait")
        assert house.pool().enabled("h2")


def test_a_vm_started_on_the_host_between_plan_and_disable_is_moved_too(tmp_path: Path) -> None:
    vms = [guest("planned", "h2"), {**guest("late", "h2"), "state": "halted"}]
    with House(tmp_path, pool_world(2, vms)) as house:
        corral = house.corral
        corral.adopt("h1", "h2")
        with house.simulator.lock:
            house.simulator.world.delay_next("host.disable", 60)
        operation = corral.begin("host-update --maintenance enable h2")
        house.start_on("late", "h2")
        end = corral.ended(operation)
        assert house.pool().running() == {"h1": ["late", "planned"]}
        assert house.ways == {"planned": ["h2", "h1"], "late": ["h2", "h1"]}
        assert {move["vm_name"] for move in end["moves"]} == {"planned", "late"}
        assert "The plan was no longer true" in corral.story(operation)


def test_a_vm_shut_down_in_mid_drain_stays_down_and_the_drain_ends(tmp_path: Path) -> None:
    vms = [guest(f"vm{number}", "h2", 4) for number in range(6)]
    with House(tmp_path, pool_world(2, vms, memory=64 * GIB), speed=20) as house:
        corral = house.corral
        corral.adopt("h1", "h2")
        operation = corral.begin("host-update --maintenance enable h2")
        started = corral.reached(operation, lambda one: any(m["state"] == "executing" for m in one["moves"]))
        waiting = [move["vm_name"] for move in started["moves"] if move["state"] == "pending"][-1]
        pool = house.pool()
        pool.api.VM.hard_shutdown(pool.vms()[waiting]["ref"])
        corral.ended(operation)
        pool = house.pool()
        assert pool.vms()[waiting]["power_state"] == "Halted" and house.stopped == {waiting}
        assert len(pool.running()["h1"]) == 5 and "h2" not in pool.running()
        assert '"halted"' in str(corral.events(operation)).replace("'", '"')


def test_a_vm_migrated_back_in_mid_drain_is_moved_away_again(tmp_path: Path) -> None:
    vms = [guest("small", "h2"), guest("big", "h2", 12, dirty_rate=0)]
    with House(tmp_path, pool_world(2, vms, memory=64 * GIB), speed=10) as house:
        corral = house.corral
        corral.adopt("h1", "h2")
        operation = corral.begin("host-update --maintenance enable h2")
        corral.moves_done(operation, 1)
        moved = house.on("h1")
        pool = house.pool()
        (there,) = pool.api.host.get_by_name_label("h2")
        pool.api.host.enable(there)
        pool.api.VM.pool_migrate(pool.vms()[moved[0]]["ref"], there, {})
        corral.ended(operation)
        assert house.pool().running() == {"h1": ["big", "small"]} and not house.pool().enabled("h2")
        assert house.ways[moved[0]] == ["h2", "h1", "h2", "h1"] and not house.stopped
        story = corral.story(operation)
        assert "enabled behind our back" in story and "The plan was no longer true" in story


def test_an_enable_that_was_given_up_and_takes_effect_in_the_next_maintenance_is_undone(tmp_path: Path) -> None:
    with House(tmp_path, pool_world(2, [])) as house:
        corral = house.corral
        corral.adopt("h1", "h2")
        corral.ask("host-update --maintenance enable h2 --wait")
        with house.simulator.lock:  # the updates begin when the agent has looked, and before xapi gets its call
            house.simulator.world.put_in(CallFault("host.enable", "delay", seconds=40.0),
                                         Incident(30.0, "apply_updates", "h2", seconds=300.0))
        given_up = corral.begin("host-update --maintenance disable h2")
        until("the call waits in xapi for the updates", lambda: waiting(house, "host.enable"))
        assert corral.run(f"operation-abandon {given_up} --reason updates") == 0, corral.err
        corral.ask("host-update --maintenance enable h2 --wait")
        assert waiting(house, "host.enable") and not house.pool().enabled("h2")
        until("the updates have ended, and the host was enabled", lambda: not waiting(house, "host.enable"))
        undone = until("Corral sets about it", lambda: [
            one for one in corral.client.get("v1", "operations", host="h2")["operations"]
            if one["kind"] == "host_disable"])[0]
        corral.ended(undone["id"])
        assert undone["user"] == "corral" and "somebody enabled it" in undone["reason"]
        assert not house.pool().enabled("h2") and corral.host("h2")["state"] == "quarantined"
        assert house.calls("host.enable") == ["Success"] and house.calls("host.disable").count("Success") == 2


def waiting(house: House, method: str) -> bool:
    """Return whether xapi lets a call wait."""
    with house.simulator.lock:
        return any(db.get("task", task, "name_label") == method and db.get("task", task, "status") == "pending"
                   for db in house.simulator.world.pools.values() for task in db.refs("task"))
