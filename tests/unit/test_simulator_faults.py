"""Faults in the simulator: rules for calls and migrations, incidents, the swarm, and what the log tells of them."""

import json
from typing import Any

import pytest

from agent.simulator import DirectClient, Dropped, Failure, WorldError, direct_world, incidents
from agent.simulator.fault_spec import (
    CallFault,
    EjectFault,
    FaultSpec,
    Incident,
    JoinFault,
    MigrationFault,
    faults_of,
)
from agent.simulator.spec import GIB, HostSpec, PoolSpec, StorageSpec, VmSpec, WorldSpec, default_spec, parse_spec
from agent.simulator.state import load_world, save_world
from agent.simulator.swarm import swarm


def pool(*faults: FaultSpec, memory: int = 4 * GIB) -> DirectClient:
    names = ("h1", "h2", "h3")
    guests = tuple(VmSpec(f"v{number}", "h2", state="running", memory=memory, disks=("shared",)) for number in range(2))
    spec = WorldSpec(tuple(HostSpec(name) for name in names), (PoolSpec(names),), (StorageSpec("shared", "h1"),),
                     vms=guests, faults=faults)
    world, clock = direct_world(spec)
    return DirectClient(world, clock, "127.1.0.1").login()


def ref(client: DirectClient, cls: str, name: str) -> str:
    return str(client(f"{cls}.get_by_name_label", name)[0])


def failure_of(client: DirectClient, method: str, *params: Any) -> list[str]:
    with pytest.raises(Failure) as caught:
        client(method, *params)
    return caught.value.description


def migrated(client: DirectClient, vm: str = "v0", host: str = "h3") -> dict[str, Any]:
    return client.task(client("Async.VM.pool_migrate", ref(client, "VM", vm), ref(client, "host", host), {}))


# ---- calls
def test_a_rule_skips_counts_and_fits_by_pattern_host_and_originator() -> None:
    client = pool(CallFault("host.get_*", "error", error=("HOST_BROKEN",), skip=1, times=2, originator="dir*"))
    host = client("host.get_all")[0]
    assert failure_of(client, "host.get_enabled", host) == ["HOST_BROKEN"]
    assert failure_of(client, "host.get_all") == ["HOST_BROKEN"]
    assert client("host.get_enabled", host) is True
    client.world.put_in(CallFault("*", "drop", originator="somebody else", times=0))
    assert client("host.get_enabled", host) is True
    client.world.put_in(CallFault("*", "drop", host="h2", times=0))
    assert client("host.get_enabled", host) is True
    with pytest.raises(Dropped):
        DirectClient(client.world, client.clock, "127.1.0.2").login()


@pytest.mark.parametrize("when, done", [("before", False), ("after", True)])
def test_a_call_fails_before_or_after_it_took_effect(when: str, done: bool) -> None:
    client = pool(CallFault("host.disable", "error", when, error=("HOST_BROKEN",)))
    host = ref(client, "host", "h2")
    assert failure_of(client, "host.disable", host) == ["HOST_BROKEN"]
    assert client("host.get_enabled", host) is not done


@pytest.mark.parametrize("when, first", [("before", True), ("after", False)])
def test_a_call_is_late_before_or_after_it_took_effect(when: str, first: bool) -> None:
    client = pool(CallFault("host.disable", "delay", when, seconds=5))
    host, begin = ref(client, "host", "h2"), client.clock.at
    waiting = client.world.call(client.address, "host.disable", [client.session, host])
    assert client("host.get_enabled", host) is first
    client.pass_time(5)
    assert waiting.poll(client.world) == (True, None)
    assert (client("host.get_enabled", host), client.clock.at - begin) == (False, 5)


def test_a_late_failure_is_told_late() -> None:
    client = pool(CallFault("VM.get_*", "delay", "after", seconds=3))
    begin = client.clock.at
    assert failure_of(client, "VM.get_record", "OpaqueRef:x") == ["HANDLE_INVALID", "VM", "OpaqueRef:x"]
    assert client.clock.at - begin == 3


def test_a_rule_ends_when_its_time_is_over() -> None:
    client = pool(CallFault("host.get_all", "drop", times=0, until=10))
    with pytest.raises(Dropped):
        client("host.get_all")
    client.pass_time(11)
    assert len(client("host.get_all")) == 3
    assert client.world.faults == []


def test_a_chance_strikes_about_as_often_as_it_says() -> None:
    client = pool(CallFault("host.get_all", "error", error=("HOST_BROKEN",), chance=0.3, times=0))
    hit = 0
    for _ in range(400):
        try:
            client("host.get_all")
        except Failure:
            hit += 1
    assert 80 < hit < 160


# ---- migrations
@pytest.mark.parametrize("phase, state, moved", [
    ("setup", "Running", False), ("stream", "Running", False), ("pause", "Halted", False), ("device", "Halted", False),
    ("teardown", "Running", True)])
def test_a_migration_fails_in_each_phase_as_a_real_one_does(phase: str, state: str, moved: bool) -> None:
    client = pool(MigrationFault(phase, ("VM_MIGRATE_FAILED", "a", "b", "c", "why")))
    vm, home, target = ref(client, "VM", "v0"), ref(client, "host", "h2"), ref(client, "host", "h3")
    task = migrated(client)
    assert (task["status"], task["error_info"]) == ("failure", ["VM_MIGRATE_FAILED", "a", "b", "c", "why"])
    assert client("VM.get_power_state", vm) == state
    if state == "Running":
        assert client("VM.get_resident_on", vm) == (target if moved else home)
    record = client("VM.get_record", vm)
    assert (record["current_operations"], record["scheduled_to_be_resident_on"]) == ({}, "OpaqueRef:NULL")
    assert (client.world.jobs, client.db().reserved) == ({}, set())
    assert client("host.get_current_operations", target) == {}


def test_a_migration_fault_is_for_one_vm_and_one_host_and_strikes_in_the_middle_of_its_phase() -> None:
    client = pool(MigrationFault("stream", vm="v1", host="h3", seconds=4), memory=16 * GIB)
    assert migrated(client, "v0")["status"] == "success"
    assert migrated(client, "v1", "h1")["status"] == "success"
    begin = client.clock.at
    assert migrated(client, "v1", "h3")["status"] == "failure"
    assert client.clock.at - begin == pytest.approx(2 + 4)


# ---- machines
def test_power_goes_and_comes_back_at_its_moments() -> None:
    client = pool(Incident(10, "power_off", "h2"), Incident(700, "power_on", "h2"))
    host = ref(client, "host", "h2")
    metrics = client("host.get_metrics", host)
    client.pass_time(11)
    assert client.world.node_named("h2").power == "off"
    assert client("host_metrics.get_live", metrics) is True
    assert failure_of(client, "host.disable", host) == ["CANNOT_CONTACT_HOST", host]
    client.pass_time(620)
    assert client("host_metrics.get_live", metrics) is False
    client.pass_time(300)
    assert (client("host_metrics.get_live", metrics), client("host.get_enabled", host)) == (True, True)
    assert client("VM.get_power_state", ref(client, "VM", "v0")) == "Halted"


def test_power_that_goes_again_while_the_machine_starts_stays_away() -> None:
    client = pool(Incident(0, "power_off", "h2"), Incident(10, "power_on", "h2"), Incident(20, "power_off", "h2"))
    client.pass_time(400)
    assert client.world.node_named("h2").power == "off"


def test_a_killed_master_forgets_its_sessions_at_once_and_comes_back() -> None:
    client = pool(Incident(5, "kill", "h1"))
    client.pass_time(5)
    with pytest.raises(Dropped):
        client("host.get_all")
    client.pass_time(1.5)
    assert failure_of(client, "host.get_all") == ["SESSION_INVALID", client.session]
    client.login()
    assert client("host.get_enabled", ref(client, "host", "h1")) is False
    client.pass_time(9)
    assert client("host.get_enabled", ref(client, "host", "h1")) is True


def test_a_cut_host_goes_on_but_nobody_reaches_it_until_it_is_mended() -> None:
    client = pool(Incident(3, "cut", "h3"), Incident(800, "mend", "h3"))
    host = ref(client, "host", "h3")
    metrics = client("host.get_metrics", host)
    task = client("Async.VM.pool_migrate", ref(client, "VM", "v0"), host, {})
    assert client.task(task)["status"] == "failure"
    with pytest.raises(Dropped):
        DirectClient(client.world, client.clock, "127.1.0.3").login()
    assert failure_of(client, "host.disable", host) == ["CANNOT_CONTACT_HOST", host]
    client.pass_time(700)
    assert client("host_metrics.get_live", metrics) is False
    client.pass_time(200)
    assert client("host_metrics.get_live", metrics) is True
    client("host.disable", host)


def test_a_dead_link_holds_migrations_up_until_it_is_as_it_was() -> None:
    client = pool(Incident(3, "link", "h3", rate=0), Incident(100, "link", "h3"), memory=16 * GIB)
    begin = client.clock.at
    task = client("Async.VM.pool_migrate", ref(client, "VM", "v0"), ref(client, "host", "h3"), {})
    client.pass_time(90)
    assert client("task.get_status", task) == "pending"
    assert client.task(task)["status"] == "success"
    assert client.clock.at - begin > 100 + 16 * GIB / 600e6 - 1
    client.world.put_in(Incident(0, "link", "h3", rate=60 * 10**6))
    begin = client.clock.at
    assert migrated(client, "v1")["status"] == "success"
    assert client.clock.at - begin > 16 * GIB / 60e6


def test_a_migration_over_a_dead_link_can_be_cancelled() -> None:
    client = pool(Incident(0, "link", "h2", rate=0))
    task = client("Async.VM.pool_migrate", ref(client, "VM", "v0"), ref(client, "host", "h3"), {})
    client.pass_time(10)
    client("task.cancel", task)
    client.pass_time(1)
    assert client("task.get_status", task) == "cancelled"


def test_a_host_enables_itself_and_an_operator_acts_behind_our_back() -> None:
    client = pool(Incident(10, "enable", "h2"),
                  Incident(20, operator="VM.clean_shutdown", params=[{"VM": "v0"}], every=15, times=2),
                  Incident(30, operator="pool.designate_new_master", host="h2", params=[{"host": "h2"}]))
    client("host.disable", ref(client, "host", "h2"))
    client.pass_time(10)
    assert client("host.get_enabled", ref(client, "host", "h2")) is True
    client.pass_time(13)
    assert client("VM.get_power_state", ref(client, "VM", "v0")) == "Halted"
    client.pass_time(50)
    assert client.world.node_named("h2").is_master
    log = [(one.method, one.result) for one in client.world.calls if one.originator == "operator"]
    assert log == [("Async.VM.clean_shutdown", "Success"), ("Async.pool.designate_new_master", "Success"),
                   ("Async.VM.clean_shutdown", "Success")]
    tasks = [one.task for one in client.world.calls if one.originator == "operator"]
    assert all(task.startswith("OpaqueRef:") for task in tasks)


def test_an_operator_who_names_nothing_leaves_a_line_in_the_log() -> None:
    client = pool(Incident(1, operator="VM.start", params=[{"VM": "nobody"}, False, False]))
    client.pass_time(2)
    assert [one.result for one in client.world.calls if one.originator == "operator"] == ["HANDLE_INVALID"]


def test_an_operator_at_a_host_that_points_to_nowhere_gets_an_answer_of_its_own() -> None:
    client = pool(Incident(1, operator="pool.emergency_reset_master", params=["127.9.9.9"], host="h1"),
                  Incident(40, operator="host.get_all", host="h1"))
    client.pass_time(60)
    assert client.world.node_named("h1").master == "127.9.9.9"
    asked = [one for one in client.world.calls if one.originator == "operator"]
    assert [(one.address, one.result == "pending") for one in asked] == [("127.1.0.1", False)] * 2


# ---- what is kept
def test_rules_and_incidents_are_saved_with_the_world_and_can_be_taken_out() -> None:
    client = pool(CallFault("VM.*", "drop", times=3), Incident(50, "cut", "h3"), Incident(60, "mend", "h3"))
    loaded = load_world(json.loads(json.dumps(save_world(client.world))), client.clock)
    assert loaded.faults == client.world.faults
    assert [one["do"] for one in incidents.pending(loaded)] == ["cut", "mend"]
    assert incidents.take_out(loaded, 2) == 1
    assert [one["do"] for one in incidents.pending(loaded)] == ["mend"]
    assert incidents.take_out(loaded, 2) == 0
    assert incidents.take_out(loaded) == 2
    assert loaded.put_in(CallFault("*", "drop")) == [4]


def test_the_log_numbers_calls_and_tells_when_they_ended_and_what_struck_them() -> None:
    client = pool(CallFault("host.get_all", "error", error=("HOST_BROKEN",)))
    client("VM.get_all")
    failure_of(client, "host.get_all")
    client("VM.clean_shutdown", ref(client, "VM", "v0"))
    log = client.world.calls.after(1)
    assert [one.number for one in log] == [2, 3, 4, 5]
    assert (log[1].result, log[1].fault) == ("HOST_BROKEN", 1)
    assert (log[3].result, round(log[3].ended - log[3].at, 3)) == ("Success", 2.0)


# ---- descriptions
@pytest.mark.parametrize("entry, words", [
    ([], r"faults\[0\]: exactly one of call, migration, join, eject, at"),
    ({"call": "*", "at": 1}, "exactly one of"),
    ({"call": "*"}, "'do' is missing"),
    ({"call": "*", "do": "explode"}, r"faults\[0\].do: 'explode' is not known"),
    ({"call": "*", "do": "drop", "when": "never"}, r"\.when: 'never'"),
    ({"call": "*", "do": "error"}, r"\.error: a code"),
    ({"call": "*", "do": "delay"}, r"\.seconds: a delay"),
    ({"call": "*", "do": "drop", "chance": 2}, r"\.chance: a number"),
    ({"call": "*", "do": "drop", "times": -1}, r"\.times: no negative"),
    ({"call": "*", "do": "delay", "seconds": float("inf")}, r"\.seconds: a number is expected"),
    ({"call": "*", "do": "drop", "chance": float("nan")}, r"\.chance: a number is expected"),
    ({"call": "*", "do": "drop", "why": 1}, "unknown key 'why'"),
    ({"migration": "flight"}, r"\.migration: 'flight' is not known"),
    ({"migration": "setup", "reboot": True}, r"\.reboot: a guest reboots while its memory is sent"),
    ({"join": "late"}, r"\.join: 'late' is not known"),
    ({"join": "role", "vm": "v"}, r"\.vm: only `join: vm`"),
    ({"join": "vm", "vm": "w"}, "no VM 'w'"),
    ({"eject": "half"}, r"\.eject: 'half' is not known"),
    ({"eject": "role", "host": "z"}, "no host 'z'"),
    ({"at": 1}, "either `do` or `operator`"),
    ({"at": 1, "do": "cut"}, "'host' is missing"),
    ({"at": 1, "do": "explode", "host": "a"}, r"\.do: 'explode'"),
    ({"at": -1, "do": "cut", "host": "a"}, r"\.at: no negative"),
    ({"at": 1, "do": "cut", "host": "z"}, "no host 'z'"),
    ({"at": 1, "operator": "VM.dance"}, r"\.operator: 'VM.dance' is not simulated"),
    ({"at": 1, "operator": "VM.snapshot"}, "is not simulated"),
    ({"at": 1, "operator": "VM.start", "params": []}, r"\.params: VM.start takes 3"),
    ({"at": 1, "operator": "host.enable", "params": [{"Host": "a"}]}, r"\.params\[0\]: there is no class 'Host'"),
    ({"at": 1, "operator": "host.enable", "params": [{}]}, r"\.params\[0\]: one class and one name"),
    ({"at": 1, "operator": "host.enable", "params": [{"host": "a", "VM": "v"}]}, "one class and one name"),
    ({"at": 1, "operator": "host.enable", "params": "a"}, r"\.params: a list"),
    ({"migration": "setup", "vm": "nobody"}, "there is no VM 'nobody'"),
])
def test_a_wrong_fault_is_refused_with_the_place(entry: Any, words: str) -> None:
    with pytest.raises(WorldError, match=words):
        parse_spec({"hosts": [{"name": "a"}], "faults": [entry]})


def test_faults_are_read_from_a_world() -> None:
    spec = parse_spec({"hosts": [{"name": "a"}], "vms": [{"name": "v", "host": "a"}], "faults": [
        {"call": "VM.*", "do": "error", "error": ["X", "y"], "times": 0, "chance": 0.5},
        {"migration": "stream", "vm": "v"}, {"at": 3, "do": "link", "host": "a", "rate": "20 MB/s"},
        {"at": 3, "operator": "VM.start", "params": [{"VM": "v"}, False, False], "every": 60, "times": 0}]})
    assert spec.faults[0] == CallFault("VM.*", "error", error=("X", "y"), times=0, chance=0.5)
    assert spec.faults[2] == Incident(3, "link", "a", rate=20 * 10**6)
    assert len(spec.faults) == len(faults_of([{"call": "*", "do": "drop"}] * 4))


def test_a_swarm_is_the_same_for_the_same_seed_and_each_seed_draws_its_own_rates() -> None:
    spec = default_spec(hosts=3, vms=3)
    drawn = [swarm(spec, seed) for seed in range(40)]
    assert drawn == [swarm(spec, seed) for seed in range(40)]
    assert len(set(map(repr, drawn))) > 35
    assert {type(fault) for faults in drawn for fault in faults} == {
        CallFault, MigrationFault, JoinFault, EjectFault, Incident}
    chances = {fault.chance for faults in drawn for fault in faults if isinstance(fault, CallFault)}
    assert len(chances) > 20
    for faults in drawn:
        direct_world(WorldSpec(spec.hosts, spec.pools, spec.storage, spec.networks, spec.vms, faults))
