"""Hosts come into aggregates' pools and leave them, one after the other, also when it goes wrong."""

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from conductor_world import World

from common import errors
from conductor.db import hosts
from conductor.operations.engine import Transaction


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Four hosts that stand alone, each with its agent, and an aggregate without hosts."""
    world = World(tmp_path, hosts=4)
    world.settle()
    world.ask("aggregate_create", name="a1", availability_zone="z1")
    return world


def add(world: World, name: str, aggregate: int = 1) -> str:
    return world.begin("aggregate_add_host", id=aggregate, host=name)


def shown(world: World, aggregate: int = 1) -> dict[str, Any]:
    found: dict[str, Any] = world.ask("aggregate_show", id=aggregate)
    return found


def members(world: World) -> dict[str, str]:
    return {member["host"]: member["state"] for member in shown(world)["members"]}


def empty(world: World, name: str) -> None:
    """Put a host into maintenance."""
    assert world.finish(world.begin("maintenance_start", host=name))["state"] == "succeeded", world.story()


def joined(world: World, *names: str) -> None:
    for name in names:
        assert world.finish(add(world, name))["state"] == "succeeded", world.story()
    world.pass_time(11)


def test_the_first_host_becomes_the_pool_and_the_second_joins_it(world: World) -> None:
    assert shown(world)["metadata"]["operational_state"] == "created"
    joined(world, "h1")
    assert world.pool.pools["pool-1"].name_label == "a1"
    answer = world.ask("aggregate_add_host", id=1, host="h2")
    assert answer["aggregate"]["hosts"] == ["h1", "h2"]
    assert answer["aggregate"]["metadata"]["operational_state"] == "changing"
    assert world.ask("host_show", host="h2")["state"] == "joining"
    assert world.finish(answer["operation"]["id"])["state"] == "succeeded"
    assert world.pool.pools["pool-1"].records == ["u-h1", "u-h2"]
    world.pass_time(11)
    assert shown(world)["metadata"]["operational_state"] == "active"
    assert [member["master"] for member in shown(world)["members"]] == [True, False]
    assert (world.host("h2").pool, world.host("h2").role) == ("pool-1", "slave")


def test_several_requests_queue_and_are_carried_out_in_the_order_of_their_acceptance(world: World) -> None:
    ids = [add(world, name) for name in ("h3", "h1", "h4", "h2")]
    assert [world.state(one) for one in ids] == ["running", "planning", "planning", "planning"]
    for one in ids:
        world.finish(one)
    ends = [world.row(one).ended_at or 0.0 for one in ids]
    assert ends == sorted(ends)
    assert world.pool.pools["pool-3"].records == ["u-h3", "u-h1", "u-h4", "u-h2"]


def test_a_failing_join_gives_up_its_place_and_the_next_in_the_queue_goes_on(world: World) -> None:
    joined(world, "h1")
    world.pool.join_fails["h2"] = "POOL_JOINING_HOST_MUST_HAVE_SAME_PRODUCT_VERSION"
    second, third = add(world, "h2"), add(world, "h3")
    ended = world.finish(second)
    assert (ended["state"], ended["error"]["code"]) == ("failed", "POOL_JOINING_HOST_MUST_HAVE_SAME_PRODUCT_VERSION")
    assert members(world) == {"h1": "member", "h3": "joining"}
    assert world.finish(third)["state"] == "succeeded"


def test_a_dead_record_left_by_a_join_is_removed_and_there_is_no_second_join(world: World) -> None:
    joined(world, "h1")
    world.pool.join_fails["h2"] = "dead_record"
    operation = add(world, "h2")
    assert world.finish(operation)["state"] == "failed"
    assert [task.kind for task in world.tasks(operation)] == ["pool_join", "host_destroy"]
    assert world.pool.pools["pool-1"].records == ["u-h1"]
    assert [call[1] for call in world.pool.calls] == ["join"]


def test_a_join_whose_end_the_master_could_not_tell_is_looked_at_again(world: World) -> None:
    joined(world, "h1")
    operation = add(world, "h2")
    world.ring()
    agent = world.agents["h2"]
    world.run(lambda: agent.running != {})
    run = next(iter(agent.running.values()))
    run.report = {"joiner": "unreachable", "task": "gone"}
    world.run(lambda: world.tasks(operation)[0].state == "unknown")
    assert world.finish(operation)["state"] == "succeeded"
    assert [call[1] for call in world.pool.calls] == ["join"]


def test_a_join_under_way_can_not_be_cancelled_and_a_queued_one_can(world: World) -> None:
    joined(world, "h1")
    second, third = add(world, "h2"), add(world, "h3")
    world.run(lambda: world.pool.calls != [])
    assert world.refused("operation_cancel", id=second).code == "past_return"
    assert world.ask("operation_cancel", id=third)["state"] == "cancelled"
    assert members(world) == {"h1": "member", "h2": "joining"}
    assert world.finish(second)["state"] == "succeeded"


def test_cancelling_a_queued_request_leaves_the_pool_to_the_one_under_way(world: World) -> None:
    first, second = add(world, "h1"), add(world, "h2")
    world.ask("operation_cancel", id=second)
    assert world.finish(first)["state"] == "succeeded"
    assert shown(world)["pool"] == "pool-1"


def test_a_master_that_is_not_known_yet_is_waited_for(tmp_path: Path) -> None:
    world = World(tmp_path, hosts=2)
    for agent in world.agents.values():
        agent.sync()
    world.ask("aggregate_create", name="a1")
    first, second = add(world, "h1"), add(world, "h2")
    world.agents["h1"].observes = False
    assert world.finish(first)["state"] == "succeeded"
    assert world.finish(second)["state"] == "succeeded", world.story()


def test_a_sync_database_that_fails_is_a_warning_since_the_host_is_in_the_pool(world: World) -> None:
    joined(world, "h1")
    operation = add(world, "h2")
    world.run(lambda: len(world.tasks(operation)) == 2)
    for attempt in (1, 2, 3):
        world.run(lambda at=attempt: world.tasks(operation)[1].attempt == at  # type: ignore[misc]
                  and world.tasks(operation)[1].state == "sent")
        agent, task = world.agents["h1"], world.tasks(operation)[1]
        agent.heard.clear()
        world.rings.clear()
        agent.claim(task.id, attempt)
        run = agent.running.pop((task.id, attempt))
        agent.report(run, True, {"synced": False})
    ended = world.show(operation)
    assert ended["state"] == "succeeded"
    assert ended["result"]["warnings"]
    assert members(world) == {"h1": "member", "h2": "member"}


def test_an_existing_pool_is_adopted_and_its_other_hosts_stay_foreign(tmp_path: Path) -> None:
    world = World(tmp_path, hosts=3)
    world.pool.merge("h1", "h2", "h3")
    world.pool.pools["pool-1"].name_label = "theirs"
    world.pool.add_vm("v1", "h1")
    world.settle()
    world.ask("aggregate_create", name="a1")
    assert world.finish(add(world, "h2"))["state"] == "succeeded"
    assert world.finish(add(world, "h1"))["state"] == "succeeded"
    assert world.pool.pools["pool-1"].name_label == "theirs"
    assert world.pool.calls == []
    world.pass_time(11)
    plan = world.ask("plan_create", host="h1", wanted="enable")
    assert [move["destination"] for move in plan["moves"]] == ["h2"]
    world.ask("maintenance_start", host="h1")
    world.run(lambda: world.active() == [])
    assert world.finish(world.begin("aggregate_remove_host", id=1, host="h1"))["state"] == "succeeded"
    assert members(world) == {"h2": "member"}
    assert world.pool.pools["pool-1"].records == ["u-h1", "u-h2", "u-h3"]


def test_a_pool_that_backs_another_aggregate_is_refused(world: World) -> None:
    joined(world, "h1", "h2")
    world.ask("aggregate_create", name="a2", availability_zone="z1")
    assert world.refused("aggregate_add_host", id=2, host="h1").code == "host_in_other_aggregate"
    world.pool.merge("h1", "h3")
    world.pass_time(21)
    assert world.refused("aggregate_add_host", id=2, host="h3").code == "pool_backs_another_aggregate"


def test_a_host_of_another_pool_with_several_hosts_can_not_join(world: World) -> None:
    world.pool.merge("h3", "h4")
    world.settle()
    joined(world, "h1")
    assert world.refused("aggregate_add_host", id=1, host="h4").code == "host_in_other_pool"


def test_asking_to_add_twice_is_the_same_operation_while_it_runs_and_409_afterwards(world: World) -> None:
    operation = add(world, "h1")
    assert add(world, "h1") == operation
    world.finish(operation)
    assert isinstance(world.refused("aggregate_add_host", id=1, host="h1"), errors.AlreadyExists)


def test_a_host_is_not_added_while_its_agent_or_its_hypervisor_is_away(world: World) -> None:
    world.agents["h2"].sync(trouble={"code": "unavailable", "message": "wrong password"})
    refusal = world.refused("aggregate_add_host", id=1, host="h2")
    assert (refusal.code, "wrong password" in refusal.message) == ("hypervisor_unreachable", True)
    world.agents["h3"].is_up = False
    world.pass_time(60)
    assert world.refused("aggregate_add_host", id=1, host="h3").code == "agent_down"
    assert members(world) == {}


def test_zones_must_agree_and_high_availability_forbids_to_join(world: World) -> None:
    world.ask("aggregate_create", name="label", availability_zone="z2", metadata={"hypervisor_pool": "false"})
    world.ask("aggregate_add_host", id=2, host="h1")
    assert world.refused("aggregate_add_host", id=1, host="h1").code == "zone_differs"
    joined(world, "h2")
    world.pool.pools["pool-2"].ha = True
    world.pass_time(11)
    assert world.refused("aggregate_add_host", id=1, host="h3").code == "ha_enabled"


def test_a_host_that_serves_or_is_not_empty_or_is_the_master_of_others_is_not_removed(world: World) -> None:
    joined(world, "h1", "h2")
    world.pool.add_vm("v1", "h2")
    assert world.refused("aggregate_remove_host", id=1, host="h2").code == "host_still_serving"
    world.finish(world.begin("host_disable", host="h2"))
    world.pass_time(11)
    refusal = world.refused("aggregate_remove_host", id=1, host="h2")
    assert (refusal.code, "name-v1" in refusal.message) == ("host_not_empty", True)
    empty(world, "h1")
    assert world.refused("aggregate_remove_host", id=1, host="h1").code == "master_leaves_last"
    assert world.refused("aggregate_remove_host", id=1, host="h3").code == "host_not_in_aggregate"
    assert world.refused("aggregate_delete", id=1).code == "aggregate_not_empty"


def test_an_emptied_host_is_ejected_and_comes_back_fresh(world: World) -> None:
    joined(world, "h1", "h2")
    empty(world, "h2")
    operation = world.begin("aggregate_remove_host", id=1, host="h2")
    assert members(world)["h2"] == "leaving"
    assert world.begin("aggregate_remove_host", id=1, host="h2") == operation
    assert world.finish(operation)["state"] == "succeeded"
    assert [task.kind for task in world.tasks(operation)] == ["observe", "pool_eject"]
    assert members(world) == {"h1": "member"}
    world.pass_time(21)
    row = world.host("h2")
    assert (row.wanted, row.owner, row.enabled, row.pool != "pool-1") == ("serving", None, True, True)
    assert world.pool.harm == []
    joined(world, "h2")


def test_an_ejected_host_that_still_calls_itself_a_member_is_not_believed(world: World) -> None:
    joined(world, "h1", "h2")
    empty(world, "h2")
    world.finish(world.begin("aggregate_remove_host", id=1, host="h2"))
    world.agents["h2"].sync(role="slave", pool="pool-1", report=None)
    assert world.host("h2").pool != "pool-1"


def test_local_disks_block_an_ejection_unless_their_loss_is_confirmed(world: World) -> None:
    joined(world, "h1", "h2")
    world.pool.hosts["h2"].disks = 2
    world.pass_time(11)
    empty(world, "h2")
    refusal = world.refused("aggregate_remove_host", id=1, host="h2")
    assert (refusal.code, refusal.details["disks"]) == ("data_loss", 2)
    operation = world.begin("aggregate_remove_host", id=1, host="h2", options={"confirm_data_loss": True})
    assert world.finish(operation)["state"] == "succeeded"


def test_a_vm_that_appears_before_the_ejection_stops_it(world: World) -> None:
    joined(world, "h1", "h2")
    empty(world, "h2")
    operation = world.begin("aggregate_remove_host", id=1, host="h2")
    world.pool.add_vm("late", "h2")
    assert world.finish(operation)["state"] == "failed"
    assert world.pool.harm == []
    assert members(world) == {"h1": "member", "h2": "member"}


def test_the_last_host_leaves_by_name_and_the_aggregate_can_then_be_deleted(world: World) -> None:
    joined(world, "h1")
    empty(world, "h1")
    assert world.finish(world.begin("aggregate_remove_host", id=1, host="h1"))["state"] == "succeeded"
    assert (world.pool.pools["pool-1"].name_label, shown(world)["pool"]) == ("", None)
    assert world.pool.pools["pool-1"].records == ["u-h1"]
    world.ask("aggregate_delete", id=1)
    assert world.refused("aggregate_show", id=1).code == "aggregate_not_found"


def test_a_plain_aggregate_is_a_label_for_hosts_that_come_and_go(world: World) -> None:
    world.ask("aggregate_create", name="label", metadata={"hypervisor_pool": "false"})
    joined(world, "h1")
    answer = world.ask("aggregate_add_host", id=2, host="h1")
    assert (answer["operation"], answer["aggregate"]["hosts"]) == (None, ["h1"])
    assert "operational_state" not in answer["aggregate"]["metadata"]
    assert world.ask("aggregate_remove_host", id=2, host="h1")["operation"] is None
    assert world.host("h1").wanted == "serving"


def test_whether_a_pool_stands_behind_can_not_change_while_there_are_hosts(world: World) -> None:
    joined(world, "h1")
    assert world.refused("aggregate_set_metadata", id=1, metadata={"hypervisor_pool": "false"}).code == (
        "aggregate_not_empty")
    changed = world.ask("aggregate_set_metadata", id=1, metadata={"rack": "7", "operational_state": "mine"})
    assert changed["metadata"] == {"rack": "7", "availability_zone": "z1", "operational_state": "active"}
    assert world.ask("aggregate_set_metadata", id=1, metadata={"rack": None})["metadata"].get("rack") is None
    assert isinstance(world.refused("aggregate_set_metadata", id=1, metadata={"hypervisor_pool": "perhaps"}),
                      errors.Invalid)


def test_names_of_aggregates_are_unique_and_can_be_changed(world: World) -> None:
    assert world.refused("aggregate_create", name="a1").code == "aggregate_exists"
    changed = world.ask("aggregate_update", id=1, changes={"name": "b1", "availability_zone": "z9"})
    assert (changed["name"], changed["availability_zone"]) == ("b1", "z9")
    assert world.ask("aggregate_list", availability_zone="z9")["aggregates"][0]["name"] == "b1"
    assert world.ask("aggregate_list", availability_zone="z1")["aggregates"] == []


def test_who_does_not_ask_for_the_members_gets_the_names_of_the_hosts_only(world: World) -> None:
    joined(world, "h1")
    whole, short = world.ask("aggregate_show", id=1), world.ask("aggregate_show", id=1, members=False)
    assert [member["host"] for member in whole["members"]] == short["hosts"] == ["h1"]
    assert short == {name: value for name, value in whole.items() if name not in ("members", "foreign")}
    assert world.ask("aggregate_list", members=False) == {"aggregates": [short]}


def test_an_aggregate_with_the_names_of_its_hosts_costs_one_statement_and_nothing_else(world: World) -> None:
    joined(world, "h1")
    joined(world, "h2")
    sent: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        sent.append(statement)

    sqlalchemy.event.listen(sqlalchemy.Engine, "before_cursor_execute", note)
    try:
        assert world.ask("aggregate_show", id=1, members=False)["hosts"] == ["h1", "h2"]
        assert [statement.split()[0] for statement in sent] == ["SELECT"]
        assert world.refused("aggregate_show", id=99, members=False).code == "aggregate_not_found"
        sent.clear()
        world.ask("aggregate_show", id=1)
        assert sent[0] == "BEGIN"
    finally:
        sqlalchemy.event.remove(sqlalchemy.Engine, "before_cursor_execute", note)


def test_a_quarantined_host_is_not_taken_into_a_pool(world: World) -> None:
    operation = add(world, "h1")
    world.ask("operation_abandon", id=operation, reason="wrong host")
    assert world.refused("aggregate_add_host", id=1, host="h1").code == "host_not_serving"
    world.finish(world.begin("maintenance_stop", host="h1"))
    joined(world, "h1")


def test_a_host_waits_for_the_first_report_of_its_pool_and_calls_a_person_only_later(world: World) -> None:
    joined(world, "h1")
    world.agents["h1"].is_up = False

    def forget_master(tx: Transaction) -> None:
        pool = hosts.find_pool(tx.session, "pool-1")
        assert pool is not None
        pool.master = None

    world.engine.run(forget_master)
    operation = add(world, "h2")
    world.pass_time(20)
    assert (world.state(operation), world.row(operation).attention) == ("planning", None)
    world.pass_time(20)
    assert (world.row(operation).attention or {})["code"] == "master_unknown"
    world.agents["h1"].is_up = True
    assert world.finish(operation)["state"] == "succeeded", world.story()
