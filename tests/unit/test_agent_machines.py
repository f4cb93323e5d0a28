"""The step machines against a pool in memory."""

from itertools import pairwise

from agent_world import Session, World, machine, settled, steps_of

from agent.driver import Work, WorkState
from agent.tasks import MACHINES
from agent.tasks.machine import Machine
from common import errors

MOVE = {"vm": "v1", "source": "h1", "destination": "h2"}


def moving_world() -> World:
    world = World()
    world.add_vm("v1", "h1")
    return world


def test_every_kind_of_the_wire_is_carried_out_or_refused_clearly() -> None:
    assert set(MACHINES) >= {
        "pool_init",
        "pool_join",
        "pool_eject",
        "host_disable",
        "host_enable",
        "vm_migrate",
        "vm_start",
        "observe",
        "sync_database",
        "enable_tls",
        "host_destroy",
    }
    for kind in ("vm_suspend", "vm_resume", "vm_shutdown", "host_reboot", "designate_master"):
        try:
            machine(World(), kind)
        except errors.NotImplementedYet as exc:
            assert kind in exc.message
        else:
            raise AssertionError(kind)


# host_disable, host_enable
def test_a_host_is_marked_before_it_is_disabled() -> None:
    world = World()
    end = settled(world, "host_disable", {"mark": "op1"})
    assert end.readings == {"enabled": False, "live": True, "mark": "op1"} and end.error is None
    assert world.calls.index("set_mark") < world.calls.index("disable")


def test_a_host_that_is_disabled_and_marked_is_left_alone() -> None:
    world = World()
    world.set_host("h1", enabled=False, mark="op1")
    assert settled(world, "host_disable", {"mark": "op1"}).readings["enabled"] is False
    assert "disable" not in world.calls and "set_mark" not in world.calls


def test_a_host_that_somebody_else_disabled_is_disabled_by_us_too_so_that_it_stays_so_over_a_restart() -> None:
    world = World()
    world.set_host("h1", enabled=False)
    assert settled(world, "host_disable", {"mark": "op1"}).readings["mark"] == "op1"
    assert world.calls.count("disable") == 1


def test_a_refused_disable_leaves_no_mark_and_says_why() -> None:
    world = World()
    world.refuse("disable", "HA_OPERATION_WOULD_BREAK_FAILOVER_PLAN")
    end = settled(world, "host_disable", {"mark": "op1"})
    assert end.error is not None and end.error["code"] == "HA_OPERATION_WOULD_BREAK_FAILOVER_PLAN"
    assert end.readings == {"enabled": True, "live": True, "mark": None}


def test_a_lost_reply_to_disable_is_settled_by_looking() -> None:
    world = World()
    world.lost_replies.add("disable")
    assert settled(world, "host_disable", {"mark": "op1"}).readings["enabled"] is False
    assert world.calls.count("disable") == 1


def test_enabling_waits_while_the_host_is_booting_and_removes_the_mark_last() -> None:
    world = World()
    world.set_host("h1", enabled=False, mark="op1")
    world.refuse("enable", "HOST_STILL_BOOTING")
    end = settled(world, "host_enable")
    assert end.readings == {"enabled": True, "live": True, "mark": None} and end.error is None
    assert world.calls.count("enable") == 2


def test_a_host_is_not_told_to_be_enabled_while_it_is_updated_for_xapi_would_do_it_whenever_that_ends() -> None:
    world = World()
    world.set_host("h1", enabled=False, mark="op1", operations=("apply_updates",))
    world.after(100.0, lambda: world.set_host("h1", operations=()))
    end = settled(world, "host_enable", limit_s=120.0)
    assert end.readings == {"enabled": True, "live": True, "mark": None} and end.error is None
    assert world.calls.count("enable") == 1


def test_an_order_to_enable_a_host_that_is_updated_for_longer_ends_without_a_call_that_could_act_later() -> None:
    world = World()
    world.set_host("h1", enabled=False, mark="op1", operations=("apply_updates",))
    end = settled(world, "host_enable", limit_s=120.0)
    assert end.readings["enabled"] is False and end.readings["mark"] == "op1"
    assert end.error is not None and end.error["code"] == "host_being_updated"
    assert "enable" not in world.calls and "set_mark" not in world.calls


def test_a_host_that_left_the_pool_can_be_neither_disabled_nor_observed() -> None:
    for kind, args in (("host_disable", {"mark": "x"}), ("host_enable", {}), ("observe", {"times": 1})):
        end = settled(World(), kind, args, host="h9")
        assert end.error is not None and end.error["code"] == "host_not_in_pool"


# observe and the small ones
def test_observing_reads_as_often_and_as_far_apart_as_asked() -> None:
    world = moving_world()
    world.set_vm("v1", scheduled_on="h1")
    times = settled(world, "observe", {"times": 3, "apart_s": 2.0}).readings["times"]
    assert len(times) == 3 and all(
        b["at_s"] - a["at_s"] >= 2.0 for a, b in pairwise(times)
    )
    assert times[0]["resident"] == ["v1"] and times[0]["incoming"] == ["v1"] and times[0]["creating"] == []


def test_a_pool_is_named_once_and_an_adopted_one_keeps_its_name() -> None:
    world = World()
    assert settled(world, "pool_init", {"name_label": "rack1"}).readings["name_label"] == "rack1"
    assert settled(world, "pool_init", {"name_label": "rack1"}).readings["members"]["h2"] == "10.0.0.2"
    assert settled(world, "pool_init", {"name_label": None}).readings["name_label"] == "rack1"
    assert world.calls.count("set_pool_name") == 1


def test_a_pool_is_not_named_by_a_slave() -> None:
    end = settled(World(), "pool_init", {"name_label": "rack1"}, host="h2")
    assert end.error is not None and end.error["code"] == "not_master"


def test_database_tls_and_dead_records_are_seen_to() -> None:
    world = World()
    assert settled(world, "sync_database").readings == {"synced": True}
    assert settled(world, "enable_tls").readings == {"enabled": True}
    assert settled(world, "host_destroy", host="h3").readings == {"on_master": False}
    assert settled(world, "host_destroy", host="h3").readings == {"on_master": False}
    assert world.calls.count("destroy_host") == 1 and world.calls.count("enable_tls") == 1


def test_a_database_that_gives_no_answer_is_written_again_and_given_up_when_the_time_is_up() -> None:
    world = World()
    world.refusals["sync_database"] = errors.OutcomeUnknown("no answer")
    assert settled(world, "sync_database", limit_s=30.0).readings == {"synced": True}
    world.refusals["sync_database"] = errors.Unavailable("connection refused")
    end = settled(world, "sync_database", limit_s=0.0)
    assert end.readings == {"synced": False} and end.error is not None
    assert (end.error["code"], end.error["message"]) == ("unavailable", "connection refused")


# vm_migrate
def test_a_move_is_done_when_the_vm_is_there_and_idle() -> None:
    world = moving_world()
    waits, end = steps_of(machine(world, "vm_migrate", MOVE), world)
    assert end.error is None
    assert end.readings["vm"] == {
        "power_state": "Running",
        "resident_on": "h2",
        "scheduled_on": None,
        "operations": [],
    }
    assert end.readings["task"] == "success" and end.readings["acted"] is True
    assert end.readings["started_at"] == {"h1": "1000.0", "h2": "1000.0"}
    assert {kind for kind, _ in waits[0].watches} == {"work"}


def test_a_vm_that_is_not_on_the_expected_source_is_not_moved() -> None:
    world = moving_world()
    end = settled(world, "vm_migrate", {**MOVE, "source": "h3"})
    assert end.readings["acted"] is False and end.readings["vm"]["resident_on"] == "h1"
    assert "migrate" not in world.calls and "mark_work" not in world.calls


def test_a_halted_or_absent_vm_is_not_moved() -> None:
    world = moving_world()
    world.set_vm("v1", power_state="Halted", resident_on=None)
    assert settled(world, "vm_migrate", MOVE).readings["vm"]["power_state"] == "Halted"
    assert settled(world, "vm_migrate", {**MOVE, "vm": "v9"}).readings["vm"] is None
    assert "migrate" not in world.calls


def test_a_move_waits_until_another_operation_of_the_vm_is_over() -> None:
    world = moving_world()
    world.set_vm("v1", operations=("snapshot",))
    world.after(40.0, lambda: world.set_vm("v1", operations=()))
    assert settled(world, "vm_migrate", MOVE).readings["vm"]["resident_on"] == "h2"


def test_a_refused_move_reports_the_refusal_with_what_is_seen() -> None:
    world = moving_world()
    world.refuse("migrate", "HOST_DISABLED", "h2")
    end = settled(world, "vm_migrate", MOVE)
    assert end.error is not None and end.error["code"] == "HOST_DISABLED" and end.error["params"] == ["h2"]
    assert end.readings["vm"]["resident_on"] == "h1" and end.readings["task"] is None


def test_a_destination_that_can_not_take_the_vm_any_more_is_found_out_before_anything_is_marked() -> None:
    world = moving_world()
    world.refuse("check_destination", "HOST_NOT_ENOUGH_FREE_MEMORY", "2048", "1024")
    end = settled(world, "vm_migrate", MOVE)
    assert end.error is not None and end.error["code"] == "HOST_NOT_ENOUGH_FREE_MEMORY"
    assert end.error["effect"] == "none" and end.readings["acted"] is False
    assert end.readings["vm"]["resident_on"] == "h1" and "mark_work" not in world.calls


def test_a_lost_reply_is_followed_through_the_mark_and_never_sent_again() -> None:
    world = moving_world()
    world.lost_replies.add("migrate")
    end = settled(world, "vm_migrate", MOVE)
    assert end.readings["vm"]["resident_on"] == "h2" and end.readings["task"] == "success"
    assert world.calls.count("migrate") == 1


def test_a_mark_without_work_ends_as_unknown_and_nothing_is_sent() -> None:
    world = moving_world()
    world.lost_replies.add("mark_work")
    end = settled(world, "vm_migrate", MOVE)
    assert (
        end.error is not None and end.error["code"] == "outcome_unknown" and end.error["effect"] == "unknown"
    )
    assert "migrate" not in world.calls


def test_a_predecessors_running_move_is_adopted() -> None:
    world = moving_world()
    before = Session(world)
    before.migrate(before.mark_work("t1", 1, '{"h1": "900.0"}'), "v1", "h2")
    end = settled(world, "vm_migrate", MOVE, attempt=2)
    assert end.readings["vm"]["resident_on"] == "h2" and end.readings["acted"] is True
    assert end.readings["started_at_before"] == {"h1": "900.0"}
    assert world.calls.count("migrate") == 1


def test_a_predecessors_failed_move_is_no_reason_not_to_try() -> None:
    world = moving_world()
    world.marks["work-0"] = "t1", Work("work-0", 1)
    world.work["work-0"] = WorkState("failure", 1.0, False, ("VM_MIGRATE_FAILED",))
    end = settled(world, "vm_migrate", MOVE, attempt=2)
    assert end.error is None and end.readings["vm"]["resident_on"] == "h2"


def test_a_move_over_its_limit_is_cancelled_once_and_watched_to_its_end() -> None:
    world = moving_world()
    world.move_s = 10_000.0
    end = settled(world, "vm_migrate", MOVE, limit_s=60.0)
    assert end.readings["task"] == "cancelled" and end.readings["vm"]["resident_on"] == "h1"
    assert world.calls.count("cancel") == 1


def test_a_failed_task_does_not_hide_that_the_vm_has_moved() -> None:
    world = moving_world()
    run = machine(world, "vm_migrate", MOVE)
    run.step()
    work = next(iter(world.work))
    world.set_vm("v1", resident_on="h2", operations=())
    world.work[work] = WorkState("failure", 1.0, False, ("INTERNAL_ERROR", "End_of_file"))
    _, end = steps_of(run, world)
    assert end.readings["vm"]["resident_on"] == "h2" and end.readings["task"] == "failure"
    assert end.error is not None and end.error["effect"] == "unknown"


def test_a_move_whose_task_is_gone_is_read_twice_and_shows_the_restart() -> None:
    world = moving_world()
    run = machine(world, "vm_migrate", MOVE)
    run.step()
    world.marks.clear()
    world.set_vm("v1", operations=())
    world.set_host("h1", agent_start_time="2000.0")
    reads = world.calls.count("vm")
    _, end = steps_of(run, world)
    assert end.readings["task"] == "gone" and world.calls.count("vm") - reads >= 2
    assert (
        end.readings["started_at"]["h1"] == "2000.0" and end.readings["started_at_before"]["h1"] == "1000.0"
    )


def test_a_vm_that_lost_power_in_the_move_is_reported_as_past_suspend() -> None:
    world = moving_world()
    run = machine(world, "vm_migrate", MOVE)
    run.step()
    work = next(iter(world.work))
    world.set_vm("v1", power_state="Halted", resident_on=None, operations=())
    world.work[work] = WorkState("failure", 1.0, False, ("VM_MIGRATE_FAILED", "v1"))
    _, end = steps_of(run, world)
    assert end.readings["suspended"] is True and end.readings["vm"]["power_state"] == "Halted"


def test_the_marks_are_cleared_away_only_when_the_outcome_is_known_to_the_conductor() -> None:
    world = moving_world()
    run = machine(world, "vm_migrate", MOVE)
    steps_of(run, world)
    assert world.marks
    run.finish()
    assert not world.marks


# vm_start
def test_a_halted_vm_is_started_on_the_moves_destination() -> None:
    world = World()
    world.add_vm("v1", None, "Halted")
    end = settled(world, "vm_start", {"vm": "v1", "destination": "h2"})
    assert end.readings["vm"]["resident_on"] == "h2" and end.error is None


def test_a_running_vm_is_not_started() -> None:
    world = moving_world()
    assert settled(world, "vm_start", {"vm": "v1", "destination": "h2"}).readings["vm"]["resident_on"] == "h1"
    assert "start_on" not in world.calls


# pool_eject
def test_an_ejected_host_is_reported_early_and_settled_when_absent_twice() -> None:
    world = World()
    waits, end = steps_of(machine(world, "pool_eject", host="h3"), world)
    assert end.readings == {"on_master": False, "standalone": False} and end.error is None
    assert [wait.news for wait in waits if wait.news] == [{"on_master": False, "standalone": False}]


def test_a_refused_eject_says_why_and_that_the_host_is_still_there() -> None:
    world = World()
    world.refuse("eject", "OPERATION_NOT_ALLOWED", "VM resident on host")
    end = settled(world, "pool_eject", host="h3")
    assert end.readings["on_master"] is True and end.error is not None
    assert end.error["params"] == ["VM resident on host"]


# called off
def called_off_machine(world: World, begins_s: float, limit_s: float = 600.0) -> tuple[Machine, list[bool]]:
    """Return the machine of a move that is called off ``begins_s`` from now, and a list to call it off by."""
    made, off = machine(world, "vm_migrate", MOVE, limit_s=limit_s), [False]
    made.around.called_off = lambda: off[0]
    world.after(begins_s, lambda: off.__setitem__(0, True))
    return made, off


def test_a_move_that_is_called_off_in_mid_stream_is_cancelled_once_and_the_vm_stays() -> None:
    world = moving_world()
    moving, _ = called_off_machine(world, 5.0)
    _, end = steps_of(moving, world)
    assert world.calls.count("cancel") == 1 and world.vms["v1"].resident_on == "h1"
    assert end.readings["task"] == "cancelled" and end.readings["acted"] and end.error is None


def test_a_move_that_is_called_off_before_it_began_does_not_begin() -> None:
    world = moving_world()
    moving, off = called_off_machine(world, 0.0)
    off[0] = True
    _, end = steps_of(moving, world)
    assert "migrate" not in world.calls and not end.readings["acted"]


def test_a_move_whose_vm_is_suspended_already_is_not_cancelled_and_ends_where_it_goes() -> None:
    world = moving_world()
    moving, _ = called_off_machine(world, 5.0)
    world.after(4.0, lambda: world.work.update(
        {name: WorkState("pending", 0.9, False) for name in world.work}))
    _, end = steps_of(moving, world)
    assert "cancel" not in world.calls and world.vms["v1"].resident_on == "h2"
    assert end.readings["task"] == "success"


def test_a_cancel_without_effect_is_not_said_again() -> None:
    world = moving_world()
    moving, _ = called_off_machine(world, 5.0, limit_s=20.0)
    world.refuse("cancel", "INTERNAL_ERROR")
    _, end = steps_of(moving, world)
    assert world.calls.count("cancel") == 1 and end.readings["task"] == "success" and end.error is None
