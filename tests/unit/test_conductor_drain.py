"""A host goes into maintenance: whole stories, step by step."""

from pathlib import Path

import pytest
from conductor_pool import GIB
from conductor_world import World

from common import errors


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Three hosts in one pool, six VMs on h1."""
    world = World(tmp_path)
    for number in range(1, 7):
        world.pool.add_vm(f"v{number}", "h1")
    world.start_pool()
    return world


def ended(world: World, operation: str, state: str = "succeeded") -> None:
    assert world.finish(operation)["state"] == state, world.story()
    assert world.pool.harm == []


def test_a_drain_moves_every_vm_away_and_marks_the_host_with_its_owner(world: World) -> None:
    operation = world.begin("maintenance_start", host="h1")
    ended(world, operation)
    assert world.pool.on("h1") == []
    h1, row = world.pool.hosts["h1"], world.host("h1")
    assert (h1.enabled, h1.mark, row.wanted, row.owner) == (False, operation, "maintenance", operation)
    assert world.ask("host_show", host="h1")["state"] == "in_maintenance"


def test_nothing_moves_before_the_host_was_seen_disabled(world: World) -> None:
    operation = world.begin("maintenance_start", host="h1")
    assert [task.state for task in world.tasks(operation, "vm_migrate")] == ["pending"] * 6
    assert world.tasks(operation, "host_disable")[0].state == "sent"


def test_moves_run_under_the_limits_and_a_freed_slot_is_refilled_in_the_same_transaction(world: World) -> None:
    operation = world.begin("maintenance_start", host="h1")
    world.run(lambda: any(task.state == "done" for task in world.tasks(operation, "vm_migrate")))
    events = world.events(operation)
    done = next(event for event in events if event["task_kind"] == "vm_migrate" and event["event"] == "effect")
    refill = next(event for event in events if event["n"] > done["n"] and event["event"] == "send")
    assert refill["at"] == done["at"]
    assert max_at_once(world, operation) == 3
    ended(world, operation)


def max_at_once(world: World, operation: str) -> int:
    running = most = 0
    for event in world.events(operation):
        if event["task_kind"] == "vm_migrate":
            running += (event["event"] == "send") - (event["next"] in ("done", "failed", "pending"))
            most = max(most, running)
    return most


def test_it_succeeds_only_after_two_readings_at_least_two_seconds_apart(world: World) -> None:
    operation = world.begin("maintenance_start", host="h1")
    ended(world, operation)
    times = world.tasks(operation, "observe")[0].readings["times"]  # type: ignore[index]
    assert len(times) == 2
    assert times[1]["at_s"] - times[0]["at_s"] >= 2
    assert world.counts(operation)[-1] == "verified"


def test_the_plan_is_stored_and_shown_before_the_first_move(world: World) -> None:
    answer = world.ask("maintenance_start", host="h1")
    assert answer["maintenance_mode"] == "entering_maintenance"
    assert len(answer["plan"]["moves"]) == 6
    assert world.ask("plan_show", id=answer["plan"]["id"]) == answer["plan"]


def test_the_identical_request_returns_the_running_operation(world: World) -> None:
    operation = world.begin("maintenance_start", host="h1")
    assert world.begin("maintenance_start", host="h1") == operation
    ended(world, operation)
    again = world.ask("maintenance_start", host="h1")
    assert (again["operation"], again["maintenance_mode"]) == (None, "on_maintenance")


def test_contradictions_are_refused_with_a_sentence(world: World) -> None:
    drain = world.begin("maintenance_start", host="h1")
    refusal = world.refused("host_enable", host="h1")
    assert isinstance(refusal, errors.WrongState)
    assert refusal.details["operation"] == drain
    assert "is entering maintenance" in refusal.message
    assert world.refused("aggregate_remove_host", id=1, host="h1").code == "host_busy"


def test_the_same_key_gives_the_same_answer_and_another_body_is_refused(world: World) -> None:
    first = world.ask("maintenance_start", key="k", host="h1")
    world.pass_time(5)
    assert world.ask("maintenance_start", key="k", host="h1") == first
    assert world.refused("maintenance_start", key="k", host="h2").code == "idempotency_key_reused"


def test_an_infeasible_request_names_every_blocker_and_stores_nothing(world: World) -> None:
    world.pool.add_vm("huge", "h1", memory=31 * GIB)
    world.pool.vms["v1"].hindrances = [["VM_HAS_VGPU", "it has a virtual GPU"]]
    for number in range(24):
        world.pool.add_vm(f"w{number}", f"h{2 + number % 2}")
    world.settle()
    refusal = world.refused("maintenance_start", host="h1")
    assert isinstance(refusal, errors.Infeasible)
    assert refusal.code == "no_plan"
    assert {"v1", "huge"} <= {blocker["vm"] for blocker in refusal.details["blockers"]}
    assert world.ask("operation_list")["operations"] == []
    assert world.host("h1").wanted == "serving"


def test_cancel_awaits_what_is_in_flight_gives_the_host_back_and_leaves_moved_vms(world: World) -> None:
    operation = world.begin("maintenance_start", host="h1")
    world.run(lambda: len(world.pool.on("h1")) == 3)
    world.ask("operation_cancel", id=operation)
    assert world.state(operation) == "cancelling"
    ended(world, operation, "cancelled")
    h1, row = world.pool.hosts["h1"], world.host("h1")
    assert (h1.enabled, h1.mark, row.wanted, row.owner) == (True, None, "serving", None)
    assert 0 < len(world.pool.on("h1")) <= 3


def test_maintenance_stop_during_a_drain_is_its_cancel(world: World) -> None:
    operation = world.begin("maintenance_start", host="h1")
    world.pass_time(3)
    answer = world.ask("maintenance_stop", host="h1")
    assert answer["operation"]["id"] == operation
    assert answer["maintenance_mode"] == "leaving_maintenance"
    ended(world, operation, "cancelled")


def test_an_approved_plan_is_run_exactly(world: World) -> None:
    plan = world.ask("plan_create", host="h1", wanted="enable")
    answer = world.ask("maintenance_start", host="h1", options={"plan": plan["id"]})
    assert answer["plan"]["id"] == plan["id"]
    ended(world, answer["operation"]["id"])
    where = {move["vm"]: f"u-{move['destination']}" for move in plan["moves"]}
    assert {uuid: vm.host for uuid, vm in world.pool.vms.items()} == where
    assert world.refused("maintenance_start", host="h2", options={"plan": plan["id"]}).code == "plan_of_another_host"


def test_a_plan_that_is_not_true_any_more_is_refused_and_nothing_is_touched(world: World) -> None:
    plan = world.ask("plan_create", host="h1", wanted="enable")
    world.pool.add_vm("late", "h1")
    world.settle()
    refusal = world.refused("maintenance_start", host="h1", options={"plan": plan["id"]})
    assert refusal.code == "plan_changed"
    assert "name-late is on the host now" in refusal.message
    assert world.host("h1").wanted == "serving"


def test_a_plan_whose_destination_has_filled_up_is_refused(world: World) -> None:
    plan = world.ask("plan_create", host="h1", wanted="enable")
    for number in range(14):
        world.pool.add_vm(f"w{number}", "h2")
    world.settle()
    assert world.refused("maintenance_start", host="h1", options={"plan": plan["id"]}).code == "plan_changed"


def test_if_changed_replan_makes_another_plan_instead(world: World) -> None:
    plan = world.ask("plan_create", host="h1", wanted="enable")
    world.pool.add_vm("late", "h1")
    world.settle()
    answer = world.ask("maintenance_start", host="h1", options={"plan": plan["id"], "if_changed": "replan"})
    assert answer["plan"]["id"] != plan["id"]
    ended(world, answer["operation"]["id"])
    assert world.pool.on("h1") == []


def test_a_vm_that_appears_after_the_plan_is_planned_for_when_nobody_approved_one(world: World) -> None:
    operation = world.begin("maintenance_start", host="h1")
    world.pool.add_vm("late", "h1")
    ended(world, operation)
    assert world.pool.on("h1") == []
    assert "replanned" in world.counts(operation)


def test_with_an_approved_plan_it_stops_says_so_and_goes_on_when_asked_to_retry(world: World) -> None:
    plan = world.ask("plan_create", host="h1", wanted="enable")
    operation = world.begin("maintenance_start", host="h1", options={"plan": plan["id"]})
    world.pool.add_vm("late", "h1")
    world.run(lambda: bool(world.row(operation).attention))
    assert world.row(operation).attention["code"] == "plan_changed"  # type: ignore[index]
    assert "retry" in world.show(operation)["actions"]
    world.pass_time(60)
    assert world.state(operation) == "running"
    assert world.counts(operation).count("attention") == 1
    world.ask("operation_retry", id=operation)
    ended(world, operation)
    assert world.pool.on("h1") == []


def test_a_vm_that_appears_and_goes_by_itself_does_not_hold_up_the_drain(world: World) -> None:
    operation = world.begin("maintenance_start", host="h1")
    world.pool.add_vm("late", "h1")
    world.run(lambda: any(task.attempt > 1 for task in world.tasks(operation, "observe")))
    world.pool.vms["late"].power, world.pool.vms["late"].host = "Halted", None
    ended(world, operation)


def test_a_move_that_is_refused_for_good_is_planned_elsewhere(world: World) -> None:
    operation = world.begin("maintenance_start", host="h1")
    first = world.tasks(operation, "vm_migrate")[0]
    world.pool.move_fails[first.args["vm"]] = ["HOST_NOT_ENOUGH_FREE_MEMORY"]
    ended(world, operation)
    assert world.pool.on("h1") == []
    assert world.show(operation)["progress"]["moves_failed"] == 1


def test_attempts_at_one_move_are_bounded(world: World) -> None:
    world.pool.move_fails["v1"] = ["lost_connection"] * 3
    operation = world.begin("maintenance_start", host="h1")
    ended(world, operation)
    tried = [task for task in world.tasks(operation, "vm_migrate") if task.args["vm"] == "v1"]
    assert [(task.state, task.attempt) for task in tried] == [("failed", 3), ("done", 1)]


def test_a_vm_that_its_owner_halts_is_no_failure(world: World) -> None:
    operation = world.begin("maintenance_start", host="h1")
    world.pool.vms["v6"].power, world.pool.vms["v6"].host = "Halted", None
    ended(world, operation)
    assert world.show(operation)["progress"]["moves_failed"] == 0
    assert world.pool.vms["v6"].power == "Halted"


def test_a_vm_that_lost_power_after_its_suspension_is_started_on_the_destination(world: World) -> None:
    world.pool.move_fails["v1"] = ["lost_power"]
    operation = world.begin("maintenance_start", host="h1")
    ended(world, operation)
    move = next(task for task in world.tasks(operation, "vm_migrate") if task.args["vm"] == "v1")
    assert world.pool.vms["v1"].host == move.args["destination"]
    assert move.error["code"] == "vm_lost_power"  # type: ignore[index]


def test_a_vm_that_lost_power_in_a_cancelled_drain_is_started_too(world: World) -> None:
    world.pool.move_fails["v1"] = ["lost_power"]
    operation = world.begin("maintenance_start", host="h1")
    world.run(lambda: world.pool.vms["v1"].operations != [])
    world.ask("operation_cancel", id=operation)
    ended(world, operation, "cancelled")
    assert world.pool.vms["v1"].power == "Running"


def test_moves_for_third_vms_come_first_and_what_needs_their_room_waits(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.pool.add_vm("big", "h1", memory=20 * GIB)
    world.pool.add_vm("third", "h2", memory=12 * GIB)
    world.pool.add_vm("fixed", "h3", memory=14 * GIB)
    world.start_pool()
    operation = world.begin("maintenance_start", host="h1")
    moves = {task.args["vm"]: task for task in world.tasks(operation, "vm_migrate")}
    assert set(moves) == {"big", "third"}
    assert moves["big"].shown["after"] == [moves["third"].shown["position"]]  # type: ignore[index]
    ended(world, operation)
    restore = world.begin("maintenance_stop", host="h1")
    ended(world, restore)
    assert world.pool.on("h1") == ["big"]
    assert world.pool.on("h2") == []


def test_a_vm_that_can_not_move_is_left_behind_only_when_asked_and_keeps_the_drain_open(world: World) -> None:
    world.pool.vms["v1"].hindrances = [["VM_HAS_VGPU", "it has a virtual GPU"]]
    world.settle()
    operation = world.begin("maintenance_start", host="h1", options={"allow_partial": True})
    world.run(lambda: bool(world.row(operation).attention))
    world.pass_time(120)
    assert world.row(operation).attention["code"] == "left_behind"  # type: ignore[index]
    assert world.counts(operation).count("attention") == 1
    world.pool.vms["v1"].power, world.pool.vms["v1"].host = "Halted", None
    ended(world, operation)


def test_a_left_behind_vm_that_can_move_again_is_moved_on_retry(world: World) -> None:
    world.pool.vms["v1"].hindrances = [["VM_HAS_VGPU", "it has a virtual GPU"]]
    world.settle()
    operation = world.begin("maintenance_start", host="h1", options={"allow_partial": True})
    world.run(lambda: bool(world.row(operation).attention))
    world.pool.vms["v1"].hindrances = []
    world.pass_time(20)
    world.ask("operation_retry", id=operation)
    ended(world, operation)
    assert world.pool.vms["v1"].moves == [world.pool.vms["v1"].host]


def test_a_drain_that_takes_twice_as_long_as_planned_calls_for_attention(tmp_path: Path) -> None:
    world = World(tmp_path, slow_at_least_s=30.0, migration_limit_s=10_000.0)
    world.pool.add_vm("v1", "h1", memory=GIB)
    world.pool.move_s = 400.0
    world.start_pool()
    operation = world.begin("maintenance_start", host="h1")
    world.run(lambda: bool(world.row(operation).attention))
    assert world.row(operation).attention["code"] == "slow"  # type: ignore[index]
    ended(world, operation)
    assert world.row(operation).attention is None


def test_a_refused_disable_ends_the_drain_and_the_host_serves_as_before(world: World) -> None:
    operation = world.begin("maintenance_start", host="h1")
    agent = world.agents["h1"]
    world.ring()
    task, attempt = agent.heard.pop()
    agent.claim(task, attempt)
    run = agent.running.pop((task, attempt))
    run.error = {"code": "HA_OPERATION_WOULD_BREAK_FAILOVER_PLAN", "message": "no", "params": [], "effect": "none"}
    agent.report(run, True, {"enabled": True, "live": True, "mark": None})
    assert world.state(operation) == "failed"
    assert (world.host("h1").wanted, world.host("h1").owner) == ("serving", None)
    world.pass_time(30)
    assert world.active() == []


def test_two_drains_at_once_share_the_limits_and_never_a_slot_too_many(tmp_path: Path) -> None:
    world = World(tmp_path, hosts=4)
    for number in range(4):
        world.pool.add_vm(f"a{number}", "h1")
        world.pool.add_vm(f"b{number}", "h2")
    world.start_pool()
    first, second = world.begin("maintenance_start", host="h1"), world.begin("maintenance_start", host="h2")
    most = 0
    while {world.state(first), world.state(second)} != {"succeeded"}:
        world.tick()
        to_h3 = [work for work in world.pool.work.values() if work.status == "pending"
                 and work.args["destination"] == "u-h3"]
        most = max(most, len(to_h3))
        assert world.clock.now() < 1_700_001_000, world.story()
    assert most == 2
    assert world.pool.harm == []
    assert world.pool.on("h1") == world.pool.on("h2") == []


def test_a_slot_freed_by_one_operation_is_given_to_another_at_once(tmp_path: Path) -> None:
    world = World(tmp_path, hosts=3)
    for number in range(3):
        world.pool.add_vm(f"a{number}", "h1")
        world.pool.add_vm(f"b{number}", "h2")
    world.start_pool()
    first, second = world.begin("maintenance_start", host="h1"), world.begin("maintenance_start", host="h2")
    world.run(lambda: any(e["event"] == "send" and e["task_kind"] == "vm_migrate" for e in world.events(second)))
    sent = next(e for e in world.events(second) if e["event"] == "send" and e["task_kind"] == "vm_migrate")
    ends = [e["at"] for e in world.events(first) if e["event"] == "effect" and e["task_kind"] == "vm_migrate"]
    assert sent["at"] in ends
    ended(world, first)
    ended(world, second)


def test_taking_a_host_calls_back_unclaimed_moves_to_it_and_they_are_planned_elsewhere(tmp_path: Path) -> None:
    world = World(tmp_path, hosts=3)
    for number in range(6):
        world.pool.add_vm(f"a{number}", "h1")
    world.start_pool()
    first = world.begin("maintenance_start", host="h1")
    second = world.begin("maintenance_start", host="h2")
    ended(world, first)
    ended(world, second)
    assert len(world.pool.on("h3")) == 6, world.story()
