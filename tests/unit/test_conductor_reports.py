"""What agents' syncs bring: enrolment, observers, pool reports, and what changed behind our back."""

import threading
from pathlib import Path
from typing import Any

import pytest
from conductor_world import World

from common import errors


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Three hosts in one pool, one VM on h1."""
    world = World(tmp_path)
    world.pool.add_vm("v1", "h1")
    world.start_pool()
    return world


def maintained(world: World, name: str = "h1") -> str:
    operation = world.begin("maintenance_start", host=name)
    assert world.finish(operation)["state"] == "succeeded"
    world.pass_time(11)
    return operation


def drifts(world: World) -> list[dict[str, Any]]:
    return [one for one in world.ask("operation_list")["operations"] if one["user"] == "corral"]


def test_a_name_that_belongs_to_another_machine_is_refused_until_it_is_forgotten(world: World) -> None:
    with pytest.raises(errors.WrongState) as refusal:
        world.agents["h1"].sync(host_uuid="another")
    assert refusal.value.code == "host_uuid_changed"
    with pytest.raises(errors.WrongState) as refusal:
        world.agents["h1"].sync(host="h7", incarnation="new")
    assert refusal.value.code == "host_uuid_taken"
    assert world.host("h1").uuid == "u-h1"


def test_a_host_exists_only_once_its_agent_could_read_who_it_is(tmp_path: Path) -> None:
    world = World(tmp_path, hosts=1)
    answer = world.agents["h1"].sync(host_uuid=None, role="unreachable")
    assert (answer["orders"], answer["observe"]) == ([], False)
    assert world.refused("host_show", host="h1").code == "host_not_found"
    world.agents["h1"].sync()
    assert world.ask("host_show", host="h1")["address"] == "10.0.0.1"


def test_only_the_observer_is_believed_and_only_about_its_own_pool(world: World) -> None:
    report = world.agents["h1"].message()["report"]
    forged = {**report, "hosts": [{**host, "enabled": False} for host in report["hosts"]]}
    assert not world.agents["h2"].sync(report=forged)["observe"]
    assert world.host("h3").enabled is True
    world.agents["h1"].sync(report={**forged, "pool": "pool-9"})
    assert world.host("h3").enabled is True
    world.clock.advance(1)
    world.agents["h1"].sync(report=forged)
    assert world.host("h3").enabled is False


def test_a_pool_that_is_seen_again_as_it_was_stays_observed_without_its_report(world: World) -> None:
    before = world.host("h3").observed_at
    told = len(world.told)
    world.pass_time(60)
    syncs = [said["sync"] for method, said in world.told[told:] if method == "sync" and said["sync"]["host"] == "h1"]
    assert len(syncs) > 3
    assert not [sync for sync in syncs if sync["report"] is not None]
    assert (world.host("h3").observed_at or 0.0) > (before or 0.0) + 45
    assert world.finish(world.begin("maintenance_start", host="h1"))["state"] == "succeeded", world.story()


def test_a_report_that_says_again_what_it_said_outweighs_what_an_order_read_before_it(world: World) -> None:
    operation = world.begin("host_disable", host="h2")
    agent = world.agents["h2"]
    agent.sync()
    agent.claim(*agent.heard.pop())
    run = next(iter(agent.running.values()))
    agent.report(run, True, agent._host_disable(run))
    world.ring()
    writer = world.agents["h1"]
    writer.claim(*writer.heard.pop())
    writer.report(next(iter(writer.running.values())), True, {"synced": True})
    assert (world.state(operation), world.host("h2").enabled) == ("succeeded", False)
    # Somebody enables it before the observer has looked: its report is the one that is known.
    world.pool.hosts["h2"].enabled, world.pool.hosts["h2"].mark = True, None
    world.clock.advance(1)
    world.agents["h1"].sync()
    assert world.told[-1][1]["sync"]["report"] is None
    assert world.host("h2").enabled is True
    (again,) = drifts(world)
    assert "somebody enabled it" in again["reason"]


def test_another_agent_observes_when_the_observer_is_silent_or_in_trouble(world: World) -> None:
    assert [world.agents[name].observes for name in ("h1", "h2", "h3")] == [True, False, False]
    world.agents["h1"].is_up = False
    world.pass_time(60)
    assert [world.agents[name].observes for name in ("h2", "h3")].count(True) == 1
    observer = next(name for name in ("h2", "h3") if world.agents[name].observes)
    world.pool.hosts[observer].answers = False
    world.pass_time(21)
    other = next(name for name in ("h2", "h3") if name != observer)
    assert world.agents[other].observes


def test_no_plan_is_made_from_a_report_that_is_too_old(world: World) -> None:
    for agent in world.agents.values():
        agent.observes = False
    for _ in range(4):
        world.clock.advance(10)
        for agent in world.agents.values():
            agent.sync(report=None)
    refusal = world.refused("maintenance_start", host="h1")
    assert isinstance(refusal, errors.Unavailable)
    assert refusal.code == "pool_not_observed"


def test_a_report_of_an_older_agent_with_fewer_fields_is_taken(world: World) -> None:
    report = world.agents["h1"].message()["report"]
    for vm in report["vms"]:
        for name in ("srs", "networks", "operations", "hindrances"):
            vm.pop(name)
    world.clock.advance(1)
    world.agents["h1"].sync(report=report)
    assert [vm["uuid"] for vm in world.ask("host_vms", host="h1")["vms"]] == ["v1"]


def test_a_second_host_that_claims_to_be_master_freezes_the_pool_until_one_is_left(world: World) -> None:
    operation = world.begin("maintenance_start", host="h1")
    world.rings.clear()
    world.agents["h2"].sync(role="master")
    refusal = world.refused("maintenance_start", host="h3")
    assert (refusal.code, "h1 and h2" in refusal.message) == ("pool_frozen", True)
    world.agents["h2"].deaf = True
    world.pass_time(10)
    assert world.row(operation).attention["code"] == "pool_frozen"  # type: ignore[index]
    assert world.tasks(operation, "host_disable")[0].state == "pending"
    world.agents["h2"].deaf = False
    assert world.finish(operation)["state"] == "succeeded", world.story()


def test_a_host_enabled_by_a_person_in_maintenance_is_disabled_again_with_an_event(world: World) -> None:
    owner = maintained(world)
    world.pool.hosts["h1"].enabled = True
    world.pass_time(25)
    (operation,) = drifts(world)
    assert (operation["kind"], operation["state"]) == ("host_disable", "succeeded")
    assert "somebody enabled it" in operation["reason"]
    assert not world.pool.hosts["h1"].enabled
    row = world.host("h1")
    assert (row.wanted, row.owner) == ("maintenance", owner)


def test_a_host_that_enabled_itself_in_a_restart_is_disabled_again(world: World) -> None:
    maintained(world)
    world.pool.restart_toolstack("h1")
    world.pass_time(25)
    (operation,) = drifts(world)
    assert "its toolstack has restarted" in operation["reason"]
    assert not world.pool.hosts["h1"].enabled


def test_the_fourth_time_within_ten_minutes_a_person_is_asked(world: World) -> None:
    maintained(world)
    for _ in range(4):
        world.pool.hosts["h1"].enabled = True
        world.pass_time(25)
    newest = drifts(world)[0]
    assert [one["state"] for one in drifts(world)] == ["running", "succeeded", "succeeded", "succeeded"]
    assert newest["attention"]["code"] == "enabled_again"
    assert world.pool.hosts["h1"].enabled
    world.ask("operation_retry", id=newest["id"])
    assert world.finish(newest["id"])["state"] == "succeeded"
    assert not world.pool.hosts["h1"].enabled


def test_an_abandoned_reassertion_does_not_come_back_by_itself(world: World) -> None:
    maintained(world)
    for _ in range(4):
        world.pool.hosts["h1"].enabled = True
        world.pass_time(25)
    world.ask("operation_abandon", id=drifts(world)[0]["id"], reason="they need it")
    world.pass_time(60)
    assert len(drifts(world)) == 4
    assert (world.host("h1").wanted, world.host("h1").quarantined) == ("maintenance", True)
    assert world.finish(world.begin("maintenance_stop", host="h1"))["state"] == "succeeded"


def test_a_person_who_wants_the_host_back_replaces_a_held_reassertion(world: World) -> None:
    maintained(world)
    for _ in range(4):
        world.pool.hosts["h1"].enabled = True
        world.pass_time(25)
    assert world.finish(world.begin("maintenance_stop", host="h1"))["state"] == "succeeded"
    assert drifts(world)[0]["state"] == "cancelled"
    assert world.pool.on("h1") == ["v1"]


def test_a_host_wanted_serving_is_not_touched_whoever_disables_it(world: World) -> None:
    world.pool.hosts["h2"].enabled = False
    world.pass_time(60)
    assert drifts(world) == []
    assert world.ask("host_show", host="h2")["state"] == "disabled"
    assert world.refused("aggregate_remove_host", id=1, host="h2").code == "host_still_serving"


def test_a_host_enabled_during_its_drain_is_disabled_again_within_it(world: World) -> None:
    world.pool.move_s = 60.0
    operation = world.begin("maintenance_start", host="h1")
    world.run(lambda: world.pool.calls != [])
    world.pool.hosts["h1"].enabled = True
    assert world.finish(operation)["state"] == "succeeded"
    assert "drift" in world.counts(operation)
    assert not world.pool.hosts["h1"].enabled
    assert drifts(world) == []


def test_a_database_that_knows_less_than_the_agents_continues_above_their_epochs(world: World) -> None:
    world.agents["h1"].sync(highest_epoch=41)
    operation = world.begin("maintenance_start", host="h1")
    assert world.row(operation).epoch == 42


def test_a_long_poll_wakes_at_the_next_event(world: World) -> None:
    operation = world.begin("maintenance_start", host="h1")
    after = world.show(operation)["last_event"]
    answers: list[dict[str, Any]] = []
    waiting = threading.Thread(target=lambda: answers.append(
        world.conductor.operation_events({}, operation, after=after, wait_s=15.0)))
    waiting.start()
    world.ask("operation_pause", id=operation)
    waiting.join(10.0)
    assert not waiting.is_alive()
    assert [event["event"] for event in answers[0]["events"]] == ["pause"]


def test_a_poll_of_an_ended_operation_does_not_wait(world: World) -> None:
    operation = maintained(world)
    last = world.show(operation)["last_event"]
    answer = world.ask("operation_events", id=operation, after=last, wait_s=20.0)
    assert (answer["events"], answer["operation"]["state"]) == ([], "succeeded")


def test_operations_are_listed_newest_first_page_by_page(world: World) -> None:
    ids = [world.begin("host_disable", host=name) for name in ("h1", "h2", "h3")]
    assert [one["id"] for one in world.ask("operation_list")["operations"]] == ids[::-1]
    page = world.ask("operation_list", limit=2)["operations"]
    assert [one["id"] for one in world.ask("operation_list", marker=page[-1]["id"])["operations"]] == ids[:1]
    assert [one["id"] for one in world.ask("operation_list", filters={"host": "h2"})["operations"]] == ids[1:2]
    with pytest.raises(errors.Invalid, match="the states are planning, running, "):
        world.ask("operation_list", filters={"state": "runing"})
