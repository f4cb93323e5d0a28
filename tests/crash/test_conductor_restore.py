"""A host comes back from maintenance, is disabled and enabled, is paused, retried and given up."""

from pathlib import Path

import pytest
from conductor_pool import GIB
from conductor_world import World

from common import errors


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Three hosts in one pool, three VMs on h1, one on h2."""
    world = World(tmp_path)
    for number in range(1, 4):
        world.pool.add_vm(f"v{number}", "h1")
    world.pool.add_vm("other", "h2")
    world.start_pool()
    return world


def do(world: World, method: str, state: str = "succeeded", **arguments: object) -> str:
    operation = world.begin(method, **arguments)
    assert world.finish(operation)["state"] == state, world.story()
    assert world.pool.harm == []
    return operation


def test_a_restore_brings_home_exactly_the_hosts_own_vms(world: World) -> None:
    do(world, "maintenance_start", host="h1")
    world.pool.add_vm("stranger", "h3")
    answer = world.ask("maintenance_stop", host="h1")
    assert answer["maintenance_mode"] == "leaving_maintenance"
    assert world.finish(answer["operation"]["id"])["state"] == "succeeded"
    assert world.pool.on("h1") == ["v1", "v2", "v3"]
    row = world.host("h1")
    assert (row.wanted, row.owner, world.pool.hosts["h1"].mark) == ("serving", None, None)


def test_vms_that_left_in_an_earlier_drain_are_not_brought_home_twice(world: World) -> None:
    do(world, "maintenance_start", host="h1")
    do(world, "maintenance_stop", host="h1")
    world.pool.vms["v1"].host = "u-h2"      # its owner moved it
    world.pass_time(11)
    do(world, "maintenance_start", host="h1")
    do(world, "maintenance_stop", host="h1")
    assert world.pool.on("h1") == ["v2", "v3"]


def test_vms_moved_by_a_cancelled_drain_stay_also_after_the_next_restore(world: World) -> None:
    operation = world.begin("maintenance_start", host="h1")
    world.run(lambda: len(world.pool.on("h1")) < 3)
    world.ask("operation_cancel", id=operation)
    world.finish(operation)
    stayed = world.pool.on("h1")
    do(world, "maintenance_start", host="h1")
    do(world, "maintenance_stop", host="h1")
    assert world.pool.on("h1") == stayed


def test_a_vm_that_can_not_go_home_is_reported_and_the_restore_succeeds(world: World) -> None:
    do(world, "maintenance_start", host="h1")
    world.pool.vms["v1"].hindrances = [["VM_HAS_VGPU", "it has a virtual GPU"]]
    world.pool.add_vm("big", "h1", memory=28 * GIB)
    world.pass_time(11)
    operation = do(world, "maintenance_stop", host="h1")
    not_home = world.show(operation)["result"]["not_home"]
    assert {blocker["vm"]: blocker["code"] for blocker in not_home} == {
        "v1": "VM_HAS_VGPU", "v3": "HOST_NOT_ENOUGH_FREE_MEMORY"}
    assert world.pool.on("h1") == ["big", "v2"]


def test_a_move_home_that_fails_is_reported_too(world: World) -> None:
    do(world, "maintenance_start", host="h1")
    world.pool.move_fails["v2"] = ["VM_LACKS_FEATURE"]
    operation = do(world, "maintenance_stop", host="h1")
    assert [blocker["vm"] for blocker in world.show(operation)["result"]["not_home"]] == ["v2"]
    assert world.pool.on("h1") == ["v1", "v3"]


def test_nothing_comes_home_before_the_host_was_seen_enabled(world: World) -> None:
    do(world, "maintenance_start", host="h1")
    operation = world.begin("maintenance_stop", host="h1")
    assert {task.state for task in world.tasks(operation, "vm_migrate")} == {"pending"}


def test_a_cancelled_restore_leaves_the_host_in_service(world: World) -> None:
    do(world, "maintenance_start", host="h1")
    operation = world.begin("maintenance_stop", host="h1")
    world.run(lambda: world.pool.on("h1") != [])
    world.ask("operation_cancel", id=operation)
    assert world.finish(operation)["state"] == "cancelled"
    assert (world.pool.hosts["h1"].enabled, world.host("h1").wanted) == (True, "serving")


def test_stopping_maintenance_of_a_serving_host_is_observed_already(world: World) -> None:
    answer = world.ask("maintenance_stop", host="h1")
    assert (answer["operation"], answer["maintenance_mode"]) == (None, "off_maintenance")


def test_disabling_leaves_the_vms_and_enabling_takes_it_back(world: World) -> None:
    operation = do(world, "host_disable", host="h1", reason="noisy fan")
    row = world.host("h1")
    assert (row.wanted, row.owner, row.reason) == ("disabled", operation, "noisy fan")
    assert world.pool.on("h1") == ["v1", "v2", "v3"]
    assert world.ask("host_disable", host="h1")["operation"] is None
    do(world, "host_enable", host="h1")
    assert world.host("h1").wanted == "serving"
    assert world.ask("host_enable", host="h1")["operation"] is None


def test_enabling_a_host_in_maintenance_is_refused(world: World) -> None:
    do(world, "maintenance_start", host="h1")
    assert world.refused("host_enable", host="h1").code == "host_in_maintenance"


def test_a_cancelled_disable_that_had_begun_gives_the_host_back(world: World) -> None:
    operation = world.begin("host_disable", host="h1")
    world.ring()
    agent = world.agents["h1"]
    assert agent.claim(*agent.heard.pop()) == "yours"
    world.ask("operation_cancel", id=operation)
    assert world.finish(operation)["state"] == "cancelled"
    assert (world.pool.hosts["h1"].enabled, world.pool.hosts["h1"].mark, world.host("h1").wanted) == (
        True, None, "serving")


def test_a_paused_drain_sends_nothing_new_and_what_is_in_flight_ends(world: World) -> None:
    for number in range(4, 7):
        world.pool.add_vm(f"v{number}", "h1")
    world.pass_time(11)
    operation = world.begin("maintenance_start", host="h1")
    world.run(lambda: len(world.pool.calls) == 3)
    world.ask("operation_pause", id=operation)
    world.pass_time(60)
    assert len(world.pool.calls) == len(world.pool.on("h1")) == 3
    assert world.ask("host_show", host="h1")["state"] == "draining"
    world.ask("operation_resume", id=operation)
    assert world.finish(operation)["state"] == "succeeded"


def test_a_paused_operation_does_not_keep_the_sweeper_busy(world: World) -> None:
    world.pool.move_fails["v1"] = ["lost_connection"] * 2
    operation = world.begin("maintenance_start", host="h1")
    world.run(lambda: any(task.not_before for task in world.tasks(operation, "vm_migrate")))
    world.ask("operation_pause", id=operation)
    world.pass_time(60)
    assert world.sweeper.due() > 1


def test_abandoning_quarantines_the_host_and_raises_its_epoch(world: World) -> None:
    operation = world.begin("maintenance_start", host="h1")
    world.run(lambda: world.pool.calls != [])
    before = world.host("h1").epoch
    world.ask("operation_abandon", id=operation, reason="the rack burns")
    row = world.host("h1")
    assert world.state(operation) == "failed"
    assert (row.quarantined, row.owner, row.reason, row.epoch > before) == (True, operation, "the rack burns", True)
    assert world.ask("host_show", host="h1")["state"] == "quarantined"
    assert {task.state for task in world.tasks(operation, "vm_migrate")} <= {"failed", "skipped"}
    world.pass_time(60)
    assert world.agents["h1"].running == {}
    do(world, "maintenance_stop", host="h1")
    assert not world.host("h1").quarantined


def test_an_operation_without_attention_can_not_be_retried(world: World) -> None:
    operation = world.begin("maintenance_start", host="h1")
    assert "retry" not in world.show(operation)["actions"]
    assert world.refused("operation_retry", id=operation).code == "not_allowed_now"
    world.finish(operation)
    assert world.show(operation)["actions"] == []
    assert world.refused("operation_cancel", id=operation).code == "not_allowed_now"


def test_a_vm_that_could_not_be_started_again_waits_for_a_person_and_is_looked_at_on_retry(world: World) -> None:
    world.pool.move_fails["v1"] = ["lost_power"]
    operation = world.begin("maintenance_start", host="h1")
    world.run(lambda: any(task.state == "sent" for task in world.tasks(operation, "vm_start")))
    start = world.tasks(operation, "vm_start")[0]
    agent = world.agents["h1"]
    agent.heard.clear()
    world.rings.clear()
    agent.claim(start.id, start.attempt)
    run = agent.running.pop((start.id, start.attempt))
    run.error = {"code": "VM_REQUIRES_SR", "message": "no", "params": [], "effect": "none"}
    agent.report(run, True, {"vm": world.pool.read_vm("v1"), "task": "failure"})
    world.pass_time(90)
    assert world.row(operation).attention["code"] == "vm_halted"  # type: ignore[index]
    assert len(world.pool.on("h2") + world.pool.on("h3")) == 3, "the others moved on meanwhile"
    world.pool.vms["v1"].power, world.pool.vms["v1"].host = "Running", "u-h2"
    world.ask("operation_retry", id=operation)
    assert world.finish(operation)["state"] == "succeeded", world.story()
    assert world.pool.harm == []


def test_a_floating_move_is_not_retried_before_its_limit_and_then_goes_to_the_same_host(world: World) -> None:
    world.pool.move_s = 1000.0
    operation = world.begin("maintenance_start", host="h1")
    world.run(lambda: len(world.pool.calls) == 3)
    moves = {task.args["vm"]: task for task in world.tasks(operation, "vm_migrate")}
    to = moves["v1"].args["destination"]
    # The destination's toolstack restarts: the task is forgotten, and nothing of the move goes on.
    world.pool.restart_toolstack(to.removeprefix("u-"))
    world.pool.move_s = 20.0
    for work in list(world.pool.work.values()):
        if work.status == "gone":
            world.pool.vms[work.args["vm"]].operations = []
            world.pool.vms[work.args["vm"]].scheduled = None
            work.ends_at = 1e12
    world.run(lambda: world.tasks(operation, "vm_migrate")[0].state == "unknown")
    floating = world.clock.now()
    calls = len(world.pool.calls)
    world.agents["h1"].heard.append((moves["v1"].id, 1))
    world.pass_time(200)
    assert len(world.pool.calls) == calls
    assert "not_yet" in world.agents["h1"].answers
    for work in world.pool.work.values():
        work.attempt = 0
    world.run(lambda: len(world.pool.calls) > calls, 200)
    assert world.clock.now() - floating >= 239
    assert all(call[2].split()[0] != "v1" or f"u-{call[2].split()[1]}" == to for call in world.pool.calls)


def test_requests_about_unknown_hosts_and_operations_are_not_found(world: World) -> None:
    assert world.refused("maintenance_start", host="h9").code == "host_not_found"
    assert world.refused("operation_show", id="nope").code == "operation_not_found"
    assert world.refused("plan_show", id="nope").code == "plan_not_found"
    assert isinstance(world.refused("plan_create", host="h1", wanted="maybe"), errors.Invalid)
    assert world.refused("operation_abandon", id="nope", reason=" ").code == "reason_missing"


def test_a_vm_that_loses_power_in_two_moves_is_started_each_time(world: World) -> None:
    world.pool.move_fails["v1"] = ["lost_power"]
    operation = world.begin("maintenance_start", host="h1")
    assert world.finish(operation)["state"] == "succeeded"
    world.pool.move_fails["v1"] = ["lost_power"]
    home = world.begin("maintenance_stop", host="h1")
    assert world.finish(home)["state"] == "succeeded", world.story()
    assert world.pool.on("h1") == ["v1", "v2", "v3"]
    assert world.pool.vms["v1"].power == "Running"


def test_a_vm_that_a_person_started_elsewhere_ends_the_wait_for_its_destination(world: World) -> None:
    operation = world.begin("maintenance_start", host="h1")
    to = world.tasks(operation, "vm_migrate")[0].args["destination"].removeprefix("u-")
    vm = world.tasks(operation, "vm_migrate")[0].args["vm"]
    world.pool.move_fails[vm] = ["lost_power"]
    world.run(lambda: world.pool.vms[vm].operations != [])
    world.pool.hosts[to].enabled = False
    world.agents["h1"].sync()
    world.run(lambda: (world.row(operation).attention or {}).get("code") == "vm_lost_power")
    other = next(name for name in ("h2", "h3") if name != to)
    world.pool.vms[vm].power, world.pool.vms[vm].host = "Running", f"u-{other}"
    world.ask("operation_retry", id=operation)
    assert world.finish(operation)["state"] == "succeeded", world.story()
    assert world.pool.harm == []
