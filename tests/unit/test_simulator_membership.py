"""The simulator's joins, ejects, restarts and master changes, each phase at its moment."""

from dataclasses import replace

import pytest

from agent.simulator import DirectClient, Dropped, Failure, World, WorldSpec, default_spec, direct_world
from agent.simulator.clocks import SetClock
from agent.simulator.fault_spec import Incident
from agent.simulator.spec import HostSpec, PoolSpec

MASTER, JOINER = "127.1.0.1", "127.1.0.2"


def two_hosts(**changes: object) -> tuple[World, SetClock]:
    spec = default_spec(hosts=2, vms=2)
    joiner = replace(spec.hosts[1], **changes)  # type: ignore[arg-type]
    return direct_world(replace(spec, hosts=(spec.hosts[0], joiner)))


def join(world: World, clock: SetClock, password: str = "secret", target: str = MASTER) -> dict[str, object]:
    joiner = DirectClient(world, clock, JOINER).login()
    return joiner.task(joiner("Async.pool.join", target, "root", password))


def state_at(world: World, clock: SetClock, address: str) -> str:
    """Return what a login finds: standalone, slave or gone."""
    client = DirectClient(world, clock, address)
    try:
        client.login()
    except Dropped:
        return "gone"
    except Failure as failure:
        return "slave" if failure.description == ["HOST_IS_SLAVE", MASTER] else failure.code
    client("session.logout")
    return "standalone"


def test_a_join_goes_through_the_phases_of_a_real_one() -> None:
    world, clock = two_hosts()
    begin = clock.at
    master = DirectClient(world, clock, MASTER).login()
    joiner = DirectClient(world, clock, JOINER).login()
    task = joiner("Async.pool.join", MASTER, "root", "secret")
    seen: dict[str, float] = {}
    uuid = world.node_named("h2").uuid
    for tenth in range(1, 250):
        joiner.pass_time(begin + tenth / 10 + 1e-6 - clock.at)
        at = round(clock.at - begin, 1)
        seen.setdefault(f"joiner {state_at(world, clock, JOINER)}", at)
        if "task" not in seen and at < 5 and joiner("task.get_status", task) == "success":
            seen["task"] = at
        for ref, record in master("host.get_all_records").items():
            if record["uuid"] == uuid:
                live = master("host_metrics.get_live", master("host.get_metrics", ref))
                seen.setdefault(f"host enabled={record['enabled']} live={live}", at)
    assert seen == {
        "joiner standalone": 0.1, "host enabled=False live=False": 1.6, "task": 2.0, "joiner gone": 14.7,
        "joiner slave": 15.9, "host enabled=False live=True": 20.8, "host enabled=True live=True": 21.2}


def test_a_joined_host_keeps_its_uuid_and_gets_a_new_reference() -> None:
    world, clock = two_hosts()
    before = world.host_of(world.node_named("h2"))
    join(world, clock)
    clock.at += 30
    master = DirectClient(world, clock, MASTER).login()
    after = master("host.get_by_uuid", world.node_named("h2").uuid)
    assert after != before
    assert master("host.get_cpu_info", after)["cpu_count"] == "8"
    with pytest.raises(Failure, match="HANDLE_INVALID"):
        master("host.get_name_label", before)


def test_halted_vms_and_storage_come_along_and_shared_storage_is_plugged() -> None:
    world, clock = two_hosts()
    joiner = DirectClient(world, clock, JOINER).login()
    vm = joiner("VM.create", {"name_label": "mine", "memory_static_max": str(2**30)})
    uuid = joiner("VM.get_uuid", vm)
    join(world, clock)
    clock.at += 30
    master = DirectClient(world, clock, MASTER).login()
    assert master("VM.get_name_label", master("VM.get_by_uuid", uuid)) == "mine"
    host = master("host.get_by_uuid", world.node_named("h2").uuid)
    attached = {master("SR.get_name_label", master("PBD.get_SR", pbd)) for pbd in master("host.get_PBDs", host)
                if master("PBD.get_currently_attached", pbd)}
    assert attached == {"Local storage", "shared"}
    assert len(master("network.get_all")) == 2
    assert master("VM.get_is_control_domain", master("host.get_control_domain", host)) is True


def test_a_join_sent_twice_joins_once() -> None:
    world, clock = two_hosts()
    joiner = DirectClient(world, clock, JOINER).login()
    first, second = (joiner("Async.pool.join", MASTER, "root", "secret") for _ in range(2))
    assert joiner.task(first)["status"] == "success"
    assert joiner("task.get_status", second) == "failure"
    clock.at += 60
    master = DirectClient(world, clock, MASTER).login()
    assert len(master("host.get_all")) == 2


@pytest.mark.parametrize(("changes", "error"), [
    ({"platform_version": "3.3.0"}, ["HOSTS_NOT_COMPATIBLE"]),
    ({"version": "24.17.0"}, ["HOSTS_NOT_HOMOGENEOUS", "Software version differs"]),
    ({"cpu_vendor": "AuthenticAMD"}, ["HOSTS_NOT_HOMOGENEOUS", "CPUs differ"]),
    ({"ha": True}, ["HA_IS_ENABLED"]),
    ({"shared_sr": True}, ["JOINING_HOST_CANNOT_CONTAIN_SHARED_SRS"]),
    ({"bonds": True}, ["POOL_JOINING_HOST_HAS_BONDS"]),
    ({"vlans": True}, ["POOL_JOINING_HOST_HAS_NON_MANAGEMENT_VLANS"]),
    ({"tls_verification": True}, ["POOL_JOINING_HOST_TLS_VERIFICATION_MISMATCH"]),
])
def test_a_join_is_refused_for_what_the_joiner_is(changes: dict[str, object], error: list[str]) -> None:
    world, clock = two_hosts(**changes)
    assert join(world, clock)["error_info"] == error
    clock.at += 60
    assert len(DirectClient(world, clock, MASTER).login()("host.get_all")) == 1


@pytest.mark.parametrize(("password", "target", "error", "after"), [
    ("wrong", MASTER, ["SESSION_AUTHENTICATION_FAILED", "root", "Authentication failure"], 2.5),
    ("secret", "127.9.9.9", ["JOINING_HOST_CONNECTION_FAILED"], 3.1),
    ("secret", "nowhere", ["JOINING_HOST_CONNECTION_FAILED"], 6.1),
    ("secret", JOINER, ["OPERATION_NOT_ALLOWED", "Host cannot become slave of itself"], 0.4),
])
def test_a_join_to_the_wrong_place_is_refused_after_its_time(password: str, target: str, error: list[str],
                                                             after: float) -> None:
    world, clock = two_hosts()
    begin = clock.at
    assert join(world, clock, password, target)["error_info"] == error
    assert clock.at - begin == pytest.approx(after)


def test_running_vms_and_other_members_forbid_a_join() -> None:
    world, clock = two_hosts()
    joiner = DirectClient(world, clock, JOINER).login()
    vm = joiner("VM.create", {"name_label": "mine", "memory_static_max": str(2**30),
                              "memory_dynamic_min": str(2**30), "memory_dynamic_max": str(2**30)})
    joiner("VM.start", vm, False, False)
    assert join(world, clock)["error_info"] == ["JOINING_HOST_CANNOT_HAVE_RUNNING_VMS"]
    master = DirectClient(world, clock, MASTER).login()
    joiner("VM.hard_shutdown", vm)
    assert join(world, clock)["status"] == "success"
    clock.at += 30
    error = master.task(master("Async.pool.join", JOINER, "root", "secret"))["error_info"]
    assert error == ["HOST_IS_SLAVE", MASTER]


def pool_of(number: int, version: str = "24.16.0") -> tuple[World, SetClock, DirectClient]:
    names = tuple(f"h{index}" for index in range(1, number + 1))
    hosts = tuple(HostSpec(name, version=version) for name in names)
    world, clock = direct_world(WorldSpec(hosts, (PoolSpec(names),)))
    return world, clock, DirectClient(world, clock, MASTER).login()


def test_an_ejected_host_comes_back_as_a_fresh_pool_of_one() -> None:
    world, clock, master = pool_of(2)
    host = master("host.get_by_uuid", world.node_named("h2").uuid)
    old_storage = world.node_named("h2").local_sr_uuid
    begin = clock.at
    master("pool.eject", host)
    assert clock.at - begin == pytest.approx(0.12)
    assert len(master("host.get_all")) == 1
    assert not world.pools[1].by_uuid("SR", old_storage)
    seen: dict[str, float] = {}
    for tenth in range(2, 150):
        master.pass_time(begin + tenth / 10 + 1e-6 - clock.at)
        seen.setdefault(state_at(world, clock, JOINER), round(clock.at - begin, 1))
    assert list(seen) == ["slave", "gone", "standalone"]
    assert seen["gone"] == pytest.approx(12.3, abs=0.11)
    assert seen["standalone"] == pytest.approx(13.5, abs=0.11)
    alone = DirectClient(world, clock, JOINER).login()
    assert alone("host.get_uuid", alone("host.get_all")[0]) == world.node_named("h2").uuid
    assert alone("SR.get_uuid", alone("SR.get_all")[0]) != old_storage


def test_eject_refuses_the_master_and_a_host_with_guests() -> None:
    world, _clock, master = pool_of(2)
    own, other = (master("host.get_by_uuid", world.node_named(name).uuid) for name in ("h1", "h2"))
    with pytest.raises(Failure) as refusal:
        master("pool.eject", own)
    assert refusal.value.description == ["INTERNAL_ERROR", "Xapi_pool.Cannot_eject_master"]
    vm = master("VM.create", {"name_label": "guest"})
    master("VM.start_on", vm, other, False, False)
    with pytest.raises(Failure) as refusal:
        master("pool.eject", other)
    assert refusal.value.description == ["OPERATION_NOT_ALLOWED", "VM resident on host"]


@pytest.mark.parametrize("auto_enable", [True, False])
def test_a_member_whose_toolstack_restarts_enables_itself_unless_told_not_to(auto_enable: bool) -> None:
    world, clock, master = pool_of(2, "25.31.0")
    host = master("host.get_by_uuid", world.node_named("h2").uuid)
    master("host.disable", host, auto_enable)
    before = master("host.get_other_config", host)["agent_start_time"]
    master("host.restart_agent", host)
    master.pass_time(2.1)
    assert state_at(world, clock, JOINER) == "gone"
    master.pass_time(1.2)
    assert state_at(world, clock, JOINER) == "slave"
    assert master("host_metrics.get_live", master("host.get_metrics", host)) is True
    master.pass_time(8.2)
    assert master("host.get_enabled", host) is auto_enable
    assert master("host.get_other_config", host)["agent_start_time"] != before


def test_a_master_that_restarts_forgets_sessions_and_tasks() -> None:
    world, _clock, master = pool_of(2)
    task = master("task.create", "mine", "")
    token = master("event.from", ["host"], "", 0.0)["token"]
    master("host.restart_agent", master("host.get_by_uuid", world.node_named("h1").uuid))
    master.pass_time(4)
    with pytest.raises(Dropped):
        master("host.get_all")
    master.pass_time(2)
    with pytest.raises(Failure, match="SESSION_INVALID"):
        master("host.get_all")
    master.login()
    with pytest.raises(Failure, match="HANDLE_INVALID"):
        master("task.get_status", task)
    again = master("event.from", ["host"], token, 0.0)["events"]
    assert [event["operation"] for event in again] == ["add", "add"]


def test_a_reboot_wants_a_disabled_host_and_first_moves_the_guests_that_can() -> None:
    world, _clock, master = pool_of(2)
    host = master("host.get_by_uuid", world.node_named("h2").uuid)
    vm = master("VM.create", {"name_label": "guest"})
    master("VM.start_on", vm, host, False, False)
    tied = master("VM.create", {"name_label": "tied", "blocked_operations": {"pool_migrate": "stays"}})
    master("VM.start_on", tied, host, False, False)
    with pytest.raises(Failure, match="HOST_NOT_DISABLED"):
        master("host.reboot", host)
    master("host.disable", host)
    master("host.reboot", host)
    assert list(master("host.get_current_operations", host).values()) == ["shutdown"]
    with pytest.raises(Failure, match="HOST_DISABLED_UNTIL_REBOOT"):
        master("host.enable", host)
    master.pass_time(11)
    assert (master("VM.get_power_state", tied), master("VM.get_power_state", vm)) == ("Halted", "Running")
    assert master("host_metrics.get_live", master("host.get_metrics", host)) is True
    master.pass_time(10)
    assert master("VM.get_power_state", vm) == "Running"
    assert master("VM.get_resident_on", vm) != host
    assert master("host_metrics.get_live", master("host.get_metrics", host)) is False
    master.pass_time(130)
    assert master("host.get_enabled", host) is True
    assert master("host.get_current_operations", host) == {}


def test_a_host_that_goes_down_waits_for_its_guests_for_four_minutes_only() -> None:
    world, _clock, master = pool_of(2)
    host = master("host.get_by_uuid", world.node_named("h2").uuid)
    vm = master("VM.create", {"name_label": "guest", "memory_static_max": 2**30, "memory_dynamic_max": 2**30,
                              "memory_dynamic_min": 2**30})
    master("VM.start_on", vm, host, False, False)
    world.put_in(Incident(0, "link", "h2", rate=0))
    master("host.disable", host)
    master("host.reboot", host)
    master.pass_time(240)
    assert master("VM.get_power_state", vm) == "Running"
    master.pass_time(20)
    assert master("VM.get_power_state", vm) == "Halted"


def test_writes_after_a_master_change_was_agreed_are_lost() -> None:
    world, clock, master = pool_of(3)
    host = master("host.get_by_uuid", world.node_named("h2").uuid)
    master("pool.designate_new_master", host)
    pool = master("pool.get_all")[0]
    master("pool.add_to_other_config", pool, "late", "lost")
    master.pass_time(20)
    assert state_at(world, clock, MASTER) == "HOST_IS_SLAVE"
    new = DirectClient(world, clock, JOINER).login()
    assert new("pool.get_master", pool) == host
    assert "late" not in new("pool.get_other_config", pool)
    assert all(new("host.get_enabled", one) for one in new("host.get_all"))


def test_only_the_record_of_a_dead_host_can_be_destroyed() -> None:
    world, _clock, master = pool_of(2)
    host = master("host.get_by_uuid", world.node_named("h2").uuid)
    with pytest.raises(Failure, match="HOST_IS_LIVE"):
        master("host.destroy", host)
    master("host.disable", host)
    master("host.shutdown", host)
    master.pass_time(13)
    master("host.destroy", host)
    assert len(master("host.get_all")) == 1
    assert len(master("PBD.get_all")) == 1


def test_a_host_that_loses_power_looks_alive_for_ten_minutes_and_its_guests_running() -> None:
    world, clock, master = pool_of(2)
    host = master("host.get_by_uuid", world.node_named("h2").uuid)
    vm = master("VM.create", {"name_label": "guest"})
    master("VM.start_on", vm, host, False, False)
    world.lose_power("h2")
    master.pass_time(599)
    metrics = master("host.get_metrics", host)
    assert (master("host_metrics.get_live", metrics), master("VM.get_power_state", vm)) == (True, "Running")
    assert state_at(world, clock, JOINER) == "gone"
    with pytest.raises(Failure, match="CANNOT_CONTACT_HOST"):
        master("host.disable", host)
    master.pass_time(2)
    assert master("host_metrics.get_live", metrics) is False
    with pytest.raises(Failure, match="HOST_OFFLINE"):
        master("pool.eject", host)
    with pytest.raises(Failure, match="HOST_HAS_RESIDENT_VMS"):
        master("host.destroy", host)
    world.restore_power("h2")
    master.pass_time(130)
    assert (master("host.get_enabled", host), master("VM.get_power_state", vm)) == (True, "Halted")


def test_an_older_host_refuses_the_long_form_of_disable() -> None:
    world, _clock, master = pool_of(2)
    host = master("host.get_by_uuid", world.node_named("h2").uuid)
    with pytest.raises(Failure) as refusal:
        master("host.disable", host, False)
    assert refusal.value.description == ["MESSAGE_PARAMETER_COUNT_MISMATCH", "host.disable", "1", "2"]
    assert master("host.get_enabled", host) is True


def test_a_member_has_its_masters_password_and_after_an_eject_its_own_again() -> None:
    world, clock = two_hosts(password="mine")
    joiner = DirectClient(world, clock, JOINER).login("mine")
    assert joiner.task(joiner("Async.pool.join", MASTER, "root", "secret"))["status"] == "success"
    joiner.pass_time(30)
    assert world.node_named("h2").password == "secret"
    master = DirectClient(world, clock, MASTER).login()
    master("pool.eject", master("host.get_by_uuid", world.node_named("h2").uuid))
    clock.at += 30
    assert DirectClient(world, clock, JOINER).login("mine").session


def test_an_ejected_host_cannot_come_back_to_a_pool_that_verifies_tls_before_it_does_too() -> None:
    world, clock, master = pool_of(2)
    master("pool.enable_tls_verification")
    master("pool.eject", master("host.get_by_uuid", world.node_named("h2").uuid))
    clock.at += 30
    assert join(world, clock)["error_info"] == ["POOL_JOINING_HOST_TLS_VERIFICATION_MISMATCH"]
    DirectClient(world, clock, JOINER).login()("pool.enable_tls_verification")
    assert join(world, clock)["status"] == "success"


def test_a_joiner_whose_new_master_goes_away_in_between_leaves_a_dead_record_there() -> None:
    world, clock = two_hosts()
    joiner = DirectClient(world, clock, JOINER).login()
    master = DirectClient(world, clock, MASTER).login()
    task = joiner("Async.pool.join", MASTER, "root", "secret")
    joiner.pass_time(1.6)
    world.nodes[MASTER].go_down()
    assert joiner.task(task)["error_info"] == ["JOINING_HOST_CONNECTION_FAILED"]
    world.nodes[MASTER].power = "up"
    joiner.pass_time(60)
    host = master("host.get_by_uuid", world.node_named("h2").uuid)
    assert master("host.get_enabled", host) is False
    assert joiner("pool.get_all")
    assert join(world, clock)["error_info"] == ["OPERATION_NOT_ALLOWED", "Host is already part of a pool"]
    master("host.destroy", host)
    assert join(world, clock)["status"] == "success"
