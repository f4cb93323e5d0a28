"""Services, hypervisors, VMs and their moves, as a conductor shows them; one VM's move; availability zones."""

from pathlib import Path
from typing import Any

import alembic.command
import pytest
from conductor_world import World

from common import errors
from conductor.db import services
from conductor.db.session import Database
from conductor.views import Views


class Seen(World):
    """A world whose conductor serves all methods."""

    def start_conductor(self) -> None:
        """Begin with a new one."""
        super().start_conductor()
        self.conductor = Views(self.engine)

    def service(self, host: str) -> dict[str, Any]:
        """Return the service of one host or conductor."""
        (found,) = self.ask("service_list", host=host)["services"]
        return dict(found)

    def move(self, vm: str, host: str | None = None) -> str:
        """Begin to move a VM; return the operation."""
        return self.begin("vm_migrate", vm=vm, host=host)

    def silence(self, name: str) -> None:
        """Let an agent fall silent for good."""
        self.agents[name].is_up = False
        self.pass_time(50)


@pytest.fixture
def world(tmp_path: Path) -> Seen:
    """A pool of three hosts behind aggregate 1, with two VMs on h1."""
    made = Seen(tmp_path)
    made.start_pool()
    made.pool.add_vm("v1", "h1")
    made.pool.add_vm("v2", "h1")
    made.settle()
    return made


def test_every_agent_is_a_service_with_an_even_number(world: Seen) -> None:
    found = world.ask("service_list")["services"]
    assert [(one["id"], one["binary"], one["host"], one["zone"]) for one in found] == [
        (2, "nova-compute", "h1", "nova"), (4, "nova-compute", "h2", "nova"), (6, "nova-compute", "h3", "nova")]
    assert {(one["status"], one["state"], one["disabled_reason"], one["forced_down"]) for one in found} == {
        ("enabled", "up", None, False)}
    assert world.ask("service_list", binary="nova-conductor")["services"] == []


def test_a_conductor_with_a_name_is_a_service_until_it_falls_silent_and_is_forgotten(world: Seen) -> None:
    world.engine.run(lambda tx: services.beat(tx.session, "c1", "1.1", tx.now, tx.now))
    shown = world.service("c1")
    assert (shown["id"], shown["binary"], shown["zone"], shown["state"]) == (3, "nova-conductor", "internal", "up")
    assert world.refused("service_delete", id=3).code == "service_up"
    world.clock.advance(60)
    assert world.service("c1")["state"] == "down"
    assert world.ask("service_delete", id=3) == {}
    assert world.ask("service_list", host="c1")["services"] == []
    assert world.refused("service_delete", id=3).code == "service_not_found"


def test_the_sweeper_shows_that_its_conductor_is_there_every_ten_seconds(world: Seen) -> None:
    world.engine.name = "c1"
    for _ in range(30):
        world.tick()
    (row,) = world.engine.read(services.every)
    assert row.name == "c1" and world.clock.now() - row.seen_at <= 10 < world.clock.now() - row.started_at


def test_a_services_status_is_what_is_wanted_and_its_reason_says_why(world: Seen) -> None:
    world.ask("host_disable", host="h2", reason="new fans")
    shown = world.service("h2")
    assert (shown["status"], shown["state"], shown["disabled_reason"]) == ("disabled", "up", "new fans")
    operation = world.begin("maintenance_start", host="h1")
    assert world.service("h1")["disabled_reason"] == f"wanted maintenance by operation {operation}"


def test_a_host_that_is_forced_down_is_shown_down_and_is_no_destination(world: Seen) -> None:
    assert world.ask("service_force_down", host="h2", forced_down=True)["state"] == "down"
    assert {move["destination"] for move in world.ask("plan_create", host="h1", wanted="enable")["moves"]} == {"h3"}
    refused = world.refused("vm_migrate", vm="v1", host="h2")
    assert [blocker["code"] for blocker in refused.details["blockers"]] == ["HOST_IN_TROUBLE"]
    assert world.ask("service_force_down", host="h2", forced_down=False)["state"] == "up"
    assert world.refused("service_force_down", host="h9", forced_down=True).code == "host_not_found"


def test_a_host_is_forgotten_only_when_it_is_silent_in_no_aggregate_and_idle(tmp_path: Path) -> None:
    world = Seen(tmp_path)
    world.settle()
    world.ask("aggregate_create", name="label", metadata={"hypervisor_pool": "false"})
    world.ask("aggregate_add_host", id=1, host="h2")
    assert world.refused("host_forget", host="h2").code == "service_up"
    world.silence("h2")
    assert world.refused("host_forget", host="h2").code == "host_in_aggregate"
    world.ask("aggregate_remove_host", id=1, host="h2")
    assert world.ask("host_forget", host="h2") == {}
    assert world.refused("host_show", host="h2").code == "host_not_found"
    assert world.refused("host_forget", host="h2").code == "host_not_found"
    assert [one["host"] for one in world.ask("service_list")["services"]] == ["h1", "h3"]


def test_after_a_host_was_forgotten_another_machine_may_come_by_its_name(tmp_path: Path) -> None:
    world = Seen(tmp_path)
    world.settle()
    world.silence("h2")
    world.ask("service_delete", id=4)
    agent = world.agents["h2"]
    agent.host.uuid = "another"
    agent.is_up = True
    agent.restart()
    agent.sync()
    assert world.host("h2").uuid == "another"


def test_the_agent_of_a_forgotten_host_enrols_it_again_when_it_comes_back(tmp_path: Path) -> None:
    world = Seen(tmp_path)
    world.settle()
    world.silence("h2")
    world.ask("host_forget", host="h2")
    world.agents["h2"].is_up = True
    with pytest.raises(errors.WrongState, match="has to take a later one"):
        world.agents["h2"].sync()    # what was said under the old name enrols nothing
    world.agents["h2"].restart()
    world.pass_time(15)
    assert world.ask("host_show", host="h2")["agent"] == "up"


def test_a_hypervisor_shows_its_memory_and_what_runs_on_it(world: Seen) -> None:
    first, second, _ = world.ask("hypervisor_list")["hypervisors"]
    assert (first["id"], first["host"], first["service"]["id"], first["running"]) == (1, "h1", 2, 2)
    assert [vm["uuid"] for vm in first["vms"]] == ["v1", "v2"] and first["cpus"] == 16 and first["vcpus_used"] == 2
    assert (second["running"], second["vms"]) == (0, [])


def test_vms_are_found_by_uuid_by_name_and_by_host(world: Seen) -> None:
    assert world.ask("vm_show", vm="v1")["host"] == "h1"
    assert [vm["uuid"] for vm in world.ask("vm_list")["vms"]] == ["v1", "v2"]
    assert [vm["uuid"] for vm in world.ask("vm_list", name="name-v2")["vms"]] == ["v2"]
    assert world.ask("vm_list", host="h2")["vms"] == []
    assert world.refused("vm_show", vm="v9").code == "vm_not_found"


def test_one_vm_is_moved_to_the_host_asked_for(world: Seen) -> None:
    answer = world.ask("vm_migrate", vm="v1", host="h3")
    operation = answer["operation"]
    assert (operation["kind"], operation["host"], operation["state"]) == ("vm_migrate", "h1", "running")
    assert answer["plan"]["wanted"] == "move" and len(answer["plan"]["moves"]) == 1
    assert world.finish(operation["id"])["state"] == "succeeded"
    assert world.pool.on("h3") == ["v1"] and world.pool.on("h1") == ["v2"] and world.pool.harm == []
    assert world.ask("vm_show", vm="v1")["host"] == "h3"


def test_without_a_host_the_emptiest_one_is_chosen(world: Seen) -> None:
    world.pool.add_vm("big", "h2", memory=8 << 30)
    world.settle()
    assert world.ask("vm_migrate", vm="v1")["plan"]["moves"][0]["destination"] == "h3"


def test_a_move_holds_no_host_so_that_several_leave_one_at_once_and_a_drain_goes_beside_them(world: Seen) -> None:
    first, second = world.move("v1", "h2"), world.move("v2", "h3")
    drain = world.begin("maintenance_start", host="h1")
    assert [world.finish(one)["state"] for one in (first, second, drain)] == ["succeeded"] * 3
    assert world.tasks(drain, "vm_migrate") == [] and world.pool.harm == []


def test_moves_beyond_the_limits_wait_for_a_free_slot_and_get_it_at_once(world: Seen) -> None:
    for number in range(3, 6):
        world.pool.add_vm(f"v{number}", "h1")
    world.settle()
    moves = [world.move(f"v{number}", "h2") for number in range(1, 6)]
    world.run(lambda: world.pool.on("h2") != [])
    assert len([vm for vm in world.pool.vms.values() if vm.operations]) <= 2
    assert {world.finish(one)["state"] for one in moves} == {"succeeded"}
    # two at once, twenty seconds each: three rounds and no pause of a sweeper between them
    ends = [world.row(one).ended_at or 0.0 for one in moves]
    assert max(ends) - world.row(moves[0]).created_at < 80


def test_asked_twice_it_is_the_same_move_and_to_another_host_it_is_refused(world: Seen) -> None:
    operation = world.move("v1", "h2")
    assert world.move("v1", "h2") == world.move("v1") == operation
    assert world.refused("vm_migrate", vm="v1", host="h3").code == "vm_busy"


def test_a_move_that_can_not_be_is_refused_with_every_reason(world: Seen) -> None:
    assert world.refused("vm_migrate", vm="v9").code == "vm_not_found"
    assert world.refused("vm_migrate", vm="v1", host="h1").code == "vm_is_there"
    assert world.refused("vm_migrate", vm="v1", host="h9").code == "host_not_found"
    world.pool.vms["v1"].hindrances = [["VM_HAS_VGPU", "it has a vGPU"]]
    world.settle()
    refused = world.refused("vm_migrate", vm="v1")
    assert refused.code == "no_plan" and "VM_HAS_VGPU" in [one["code"] for one in refused.details["blockers"]]
    assert world.active() == []


def test_a_move_that_fails_for_good_fails_its_operation_and_nothing_is_quarantined(world: Seen) -> None:
    world.pool.move_fails["v1"] = ["VM_LACKS_FEATURE"]
    ended = world.finish(world.move("v1", "h2"))
    assert (ended["state"], ended["error"]["code"]) == ("failed", "VM_LACKS_FEATURE")
    assert world.host("h1").wanted == "serving" and not world.host("h1").quarantined


def test_an_abandoned_move_takes_no_host_out_of_service(world: Seen) -> None:
    operation = world.move("v1", "h2")
    assert world.ask("operation_abandon", id=operation, reason="enough")["state"] == "failed"
    assert (world.host("h1").wanted, world.host("h1").quarantined, world.host("h1").owner) == ("serving", False, None)


def test_a_vm_that_its_owner_shuts_down_meanwhile_is_not_said_to_have_arrived(world: Seen) -> None:
    operation = world.move("v1", "h2")
    vm = world.pool.vms["v1"]
    vm.power, vm.host = "Halted", None
    ended = world.finish(operation)
    assert (ended["state"], ended["error"]["code"]) == ("failed", "vm_elsewhere")


def test_a_vm_that_lost_power_in_its_move_is_started_at_its_destination(world: Seen) -> None:
    world.pool.move_fails["v1"] = ["lost_power"]
    assert world.finish(world.move("v1", "h2"))["state"] == "succeeded"
    assert world.pool.on("h2") == ["v1"] and world.pool.harm == []


def test_moves_have_numbers_and_are_listed_newest_first(world: Seen) -> None:
    world.finish(world.move("v1", "h2"))
    second = world.ask("vm_migrate", vm="v2", host="h3")["operation"]
    found = world.ask("migration_list")["migrations"]
    assert [(one["id"], one["vm"], one["source"], one["destination"]) for one in found] == [
        (2, "v2", "h1", "h3"), (1, "v1", "h1", "h2")]
    assert (found[0]["operation"], found[0]["destination_address"]) == (second["id"], "10.0.0.3")
    assert [one["id"] for one in world.ask("migration_list", filters={"open": True})["migrations"]] == [2]
    assert [one["id"] for one in world.ask("migration_list", filters={"vm": "v1"})["migrations"]] == [1]
    assert [one["id"] for one in world.ask("migration_list", filters={"host": "h3"})["migrations"]] == [2]
    assert [one["id"] for one in world.ask("migration_list", filters={"state": "done"})["migrations"]] == [1]
    assert world.ask("migration_show", id=1)["state"] == "done"
    assert world.refused("migration_show", id=9).code == "migration_not_found"


def test_aborting_a_move_of_its_own_cancels_it_before_an_agent_has_claimed_it(world: Seen) -> None:
    world.move("v1", "h2")
    assert world.ask("migration_abort", vm="v1", id=1)["state"] == "cancelled"
    assert world.refused("migration_abort", vm="v1", id=1).code == "migration_not_found"
    world.pass_time(60)
    assert world.pool.on("h1") == ["v1", "v2"] and world.pool.calls == []


def test_aborting_a_move_under_way_has_its_agent_end_it_at_once(world: Seen) -> None:
    operation = world.move("v1", "h2")
    world.run(lambda: world.pool.calls != [])
    began = world.clock.now()
    assert world.ask("migration_abort", vm="v1", id=1)["state"] == "cancelling"
    ended = world.finish(operation)
    assert (ended["state"], ended["result"]) == ("cancelled", None)
    assert world.clock.now() - began <= 5.0, "sooner than the next heartbeat"
    assert world.pool.on("h1") == ["v1", "v2"] and world.pool.harm == []
    assert [call for _, call, _ in world.pool.calls] == ["migrate", "cancel"]
    assert world.ask("migration_show", id=1)["state"] == "skipped"


def test_a_move_that_is_aborted_too_late_is_done_and_the_operation_says_so(world: Seen) -> None:
    operation = world.move("v1", "h2")
    world.run(lambda: world.pool.calls != [])
    world.pass_time(world.pool.move_s - 2.0)
    assert world.ask("operation_cancel", id=operation)["state"] == "cancelling"
    ended = world.finish(operation)
    assert ended["state"] == "cancelled" and ended["result"]["moved"]["host"] == "h2"
    assert "too late" in ended["result"]["moved"]["message"]
    assert world.ask("migration_show", id=1)["state"] == "done" and world.pool.on("h2") == ["v1"]


def test_a_move_is_aborted_by_the_next_heartbeat_when_the_doorbell_is_lost(world: Seen) -> None:
    operation = world.move("v1", "h2")
    world.run(lambda: world.pool.calls != [])
    world.loses_rings = True
    world.ask("migration_abort", vm="v1", id=1)
    assert world.finish(operation)["state"] == "cancelled" and world.pool.on("h1") == ["v1", "v2"]


def test_a_successor_of_the_agent_begins_no_move_that_is_called_off_meanwhile(world: Seen) -> None:
    operation = world.move("v1", "h2")
    world.pool.vms["v1"].operations = ["snapshot"]      # its agent has claimed it, and waits
    world.run(lambda: world.ask("migration_show", id=1)["state"] == "executing")
    world.agents["h1"].deaf = True
    world.ask("migration_abort", vm="v1", id=1)
    world.agents["h1"].restart()
    world.agents["h1"].deaf = False
    world.pool.vms["v1"].operations = []
    assert world.finish(operation)["state"] == "cancelled"
    assert world.pool.calls == [] and world.ask("migration_show", id=1)["state"] == "skipped"


def test_an_agent_before_1_2_is_awaited(world: Seen) -> None:
    for agent in world.agents.values():
        agent.version = "1.1"
    operation = world.move("v1", "h2")
    world.run(lambda: world.pool.calls != [])
    world.ask("migration_abort", vm="v1", id=1)
    assert world.finish(operation)["result"]["moved"]["vm"] == "v1" and world.pool.on("h2") == ["v1"]


def test_aborting_a_move_of_a_drain_withdraws_it_and_the_drain_plans_again(world: Seen) -> None:
    drain = world.begin("maintenance_start", host="h1")
    assert world.refused("migration_abort", vm="v2", id=1).code == "migration_not_found"
    world.run(lambda: world.tasks(drain, "vm_migrate")[0].state == "sent")
    world.ask("migration_abort", vm=world.tasks(drain, "vm_migrate")[0].args["vm"], id=1)
    assert world.finish(drain)["state"] == "succeeded"
    assert "replanned" in world.counts(drain) and world.pool.on("h1") == []


def test_a_drains_move_that_is_under_way_can_not_be_aborted(world: Seen) -> None:
    world.begin("maintenance_start", host="h1")
    world.run(lambda: world.pool.calls != [])
    vm = world.ask("migration_show", id=1)["vm"]
    assert world.refused("migration_abort", vm=vm, id=1).code == "past_return"


@pytest.fixture
def plain(tmp_path: Path) -> Seen:
    """Three hosts for themselves, plain aggregates 1 in z1, 2 in z2 and 3 in no zone."""
    made = Seen(tmp_path, pool_backed_by_default=False)
    made.settle()
    for name, zone in (("a1", "z1"), ("a2", "z2"), ("a3", None)):
        made.ask("aggregate_create", name=name, availability_zone=zone)
    return made


def test_hosts_come_to_plain_aggregates_and_go_freely_several_to_a_host(plain: Seen) -> None:
    for aggregate in (1, 3):
        answer = plain.ask("aggregate_add_host", id=aggregate, host="h1")
        assert answer["operation"] is None and answer["aggregate"]["hosts"] == ["h1"]
    assert plain.service("h1")["zone"] == "z1"
    assert "operational_state" not in plain.ask("aggregate_show", id=1)["metadata"]
    for aggregate in (1, 3):
        assert plain.ask("aggregate_remove_host", id=aggregate, host="h1")["aggregate"]["hosts"] == []
        plain.ask("aggregate_delete", id=aggregate)


def test_a_host_is_in_one_zone_at_most(plain: Seen) -> None:
    plain.ask("aggregate_add_host", id=1, host="h1")
    plain.ask("aggregate_add_host", id=3, host="h1")
    assert plain.refused("aggregate_add_host", id=2, host="h1").code == "zone_differs"
    assert plain.refused("aggregate_update", id=3, changes={"availability_zone": "z2"}).code == "zone_differs"
    assert plain.refused("aggregate_set_metadata", id=3, metadata={"availability_zone": "z2"}).code == "zone_differs"
    assert plain.ask("aggregate_update", id=3, changes={"availability_zone": "z1"})["availability_zone"] == "z1"


def test_the_zone_of_hosts_with_vms_does_not_change(plain: Seen) -> None:
    plain.ask("aggregate_add_host", id=1, host="h1")
    plain.pool.add_vm("v1", "h1")
    plain.pool.add_vm("v2", "h2")
    plain.settle()
    assert plain.refused("aggregate_update", id=1, changes={"availability_zone": "z9"}).code == "zone_in_use"
    assert plain.refused("aggregate_set_metadata", id=1, metadata={"availability_zone": "z9"}).code == "zone_in_use"
    assert plain.refused("aggregate_add_host", id=1, host="h2").code == "zone_in_use"
    assert plain.refused("aggregate_remove_host", id=1, host="h1").code == "zone_in_use"
    assert plain.ask("aggregate_update", id=1, changes={"availability_zone": "z1", "name": "b1"})["name"] == "b1"
    assert plain.ask("aggregate_add_host", id=3, host="h2")["aggregate"]["hosts"] == ["h2"]
    plain.ask("aggregate_remove_host", id=3, host="h2")


def test_a_metadata_key_that_differs_by_its_case_only_is_refused(plain: Seen) -> None:
    plain.ask("aggregate_set_metadata", id=1, metadata={"ssd": "true"})
    assert plain.refused("aggregate_set_metadata", id=1, metadata={"SSD": "true"}).code == "bad_metadata"
    assert plain.refused("aggregate_set_metadata", id=1, metadata={"a": "1", "A": "1"}).code == "bad_metadata"


def test_moves_from_before_they_had_numbers_get_them_in_their_order(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/old.sqlite")
    alembic.command.upgrade(database._alembic(database.engine), "0002")
    with database.engine.begin() as connection:
        for operation, at in (("late", 20), ("early", 10)):
            connection.exec_driver_sql(
                "INSERT INTO operations (id, kind, state, epoch, options, user, created_at, updated_at, last_event, "
                f"generation) VALUES ('{operation}', 'maintenance_start', 'running', 1, '{{}}', 'u', {at}, {at}, 0, 0)")
        for task, operation, kind, position in (("m3", "late", "vm_migrate", 1), ("m1", "early", "vm_migrate", 2),
                                                ("m2", "early", "vm_migrate", 3), ("d", "early", "host_disable", 1)):
            connection.exec_driver_sql(
                "INSERT INTO tasks (id, operation_id, kind, position, state, attempt, host, host_uuid, executor, args, "
                f"limit_s, progress, sends, generation) VALUES ('{task}', '{operation}', '{kind}', {position}, "
                "'pending', 1, 'h', 'u', 'h', '{}', 1, 0, 0, 0)")
    database.upgrade()
    with database.engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT id, task_id FROM moves ORDER BY id").all() == [
            (1, "m1"), (2, "m2"), (3, "m3")]
    database.close()
