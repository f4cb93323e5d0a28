"""The simulator's placement and live migration: checks, reservation, time, cancel, saving in the middle."""

import json

import pytest

from agent.simulator import DirectClient, Failure, World, WorldSpec, direct_world
from agent.simulator.clocks import SetClock
from agent.simulator.memory import MIB, overhead_bytes
from agent.simulator.spec import GIB, HostSpec, NetworkSpec, PoolSpec, StorageSpec, VmSpec
from agent.simulator.state import load_world, save_world
from agent.simulator.table import NULL

# MiB, vCPUs, multiplier: hvm, pv, pv_in_pvh; observed on xapi 24.16
OVERHEADS = [
    (128, 1, 1.0, 4, 3, 28), (256, 1, 1.0, 5, 4, 30), (512, 2, 1.0, 8, 7, 36), (1024, 1, 1.0, 11, 10, 45),
    (1024, 4, 1.0, 14, 13, 48), (2048, 2, 1.0, 20, 19, 65), (4096, 2, 1.0, 36, 35, 104), (4096, 2, 0.5, 19, 18, 87),
    (4096, 2, 1.5, 53, 52, 121), (4096, 2, 2.0, 70, 69, 138), (8192, 4, 1.0, 70, 69, 184),
    (16384, 8, 1.0, 138, 137, 343), (65536, 16, 1.0, 530, 529, 1281), (131072, 32, 1.0, 1058, 1057, 2537)]


@pytest.mark.parametrize(("size", "vcpus", "multiplier", "hvm", "pv", "shim"), OVERHEADS)
def test_the_memory_overhead_is_what_a_real_xapi_computed(size: int, vcpus: int, multiplier: float, hvm: int, pv: int,
                                                          shim: int) -> None:
    got = [overhead_bytes(size * MIB, vcpus, multiplier, kind) // MIB for kind in ("hvm", "pvh", "pv", "pv_in_pvh")]
    assert got == [hvm, hvm, pv, shim]


def pool(*vms: VmSpec, hosts: int = 2, memory: int = 64 * GIB, link: int = 600 * 10**6,
         **storage: object) -> tuple[World, SetClock, DirectClient]:
    names = tuple(f"h{number}" for number in range(1, hosts + 1))
    spec = WorldSpec(tuple(HostSpec(name, memory=memory, link=link) for name in names), (PoolSpec(names),),
                     (StorageSpec("shared", "h1", **storage),),  # type: ignore[arg-type]
                     (NetworkSpec("pool-wide", "h1", "eth1"), NetworkSpec("inside", "h1")), vms)
    world, clock = direct_world(spec)
    return world, clock, DirectClient(world, clock, "127.1.0.1").login()


def guest(name: str = "a", host: str = "h1", **more: object) -> VmSpec:
    return VmSpec(name, host, state="running", **more)  # type: ignore[arg-type]


def ref_of(client: DirectClient, cls: str, name: str) -> str:
    return str(client(f"{cls}.get_by_name_label", name)[0])


def failure_of(client: DirectClient, method: str, *params: object) -> list[str]:
    with pytest.raises(Failure) as caught:
        client(method, *params)
    return caught.value.description


def test_free_memory_counts_the_control_domain_and_drops_by_minimum_and_overhead() -> None:
    _world, _clock, client = pool(VmSpec("a", "h1", memory=GIB, memory_min=GIB // 2, vcpus=1))
    host = ref_of(client, "host", "h1")
    before = client("host.compute_free_memory", host)
    assert before == 64 * GIB - GIB - (GIB + 11 * MIB)
    client("VM.start_on", ref_of(client, "VM", "a"), host, False, False)
    assert client("host.compute_free_memory", host) == before - GIB // 2 - 11 * MIB


def test_a_migration_reserves_at_once_and_switches_before_its_operation_ends() -> None:
    _world, clock, client = pool(guest(memory=6 * GIB))
    vm, target = ref_of(client, "VM", "a"), ref_of(client, "host", "h2")
    begin, free = clock.at, client("host.compute_free_memory", target)
    task = client("Async.VM.pool_migrate", vm, target, {"live": "true"})
    record = client("VM.get_record", vm)
    assert record["current_operations"] == {task: "pool_migrate"}
    assert record["scheduled_to_be_resident_on"] == target
    assert record["allowed_operations"] == ["hard_reboot", "hard_shutdown"]
    assert client("host.get_current_operations", target) == {task: "vm_migrate"}
    assert client("host.compute_free_memory", target) < free - 6 * GIB
    assert client("task.get_allowed_operations", task) == ["cancel"]
    while client("VM.get_resident_on", vm) != target:
        client.step()
    assert client("VM.get_scheduled_to_be_resident_on", vm) == NULL
    assert client("VM.get_current_operations", vm) == {task: "pool_migrate"}
    assert (client("task.get_status", task), client("task.get_progress", task)) == ("pending", 1.0)
    ended = client.task(task)
    assert (ended["status"], ended["result"]) == ("success", "<value></value>")
    assert client("VM.get_current_operations", vm) == {}
    assert client("host.get_current_operations", target) == {}
    # 2 s setup, 10.7 s for 6 GiB at 600 MB/s, 1.2 s for what was dirtied meanwhile, 0.3 s pause, 2 s teardown
    assert clock.at - begin == pytest.approx(16.2, abs=0.1)


def test_streams_share_the_link_of_a_machine() -> None:
    def seconds(number: int) -> float:
        _world, clock, client = pool(*(guest(f"v{index}", memory=3 * GIB) for index in range(number)))
        begin, target = clock.at, ref_of(client, "host", "h2")
        tasks = [client("Async.VM.pool_migrate", ref_of(client, "VM", f"v{index}"), target, {})
                 for index in range(number)]
        for task in tasks:
            assert client.task(task)["status"] == "success"
        return clock.at - begin

    assert seconds(2) - seconds(1) == pytest.approx(3 * GIB / 600e6, rel=0.2)


def test_a_fifth_migration_of_a_host_waits_for_a_worker() -> None:
    world, _clock, client = pool(*(guest(f"v{index}") for index in range(5)))
    target = ref_of(client, "host", "h2")
    for index in range(5):
        client("Async.VM.pool_migrate", ref_of(client, "VM", f"v{index}"), target, {})
    client.pass_time(1)
    assert sorted(job["phase"] for job in world.jobs.values()) == ["queued", "setup", "setup", "setup", "setup"]


def test_a_guest_that_dirties_faster_than_the_link_pauses_for_its_working_set() -> None:
    world, _clock, client = pool(guest(memory=2 * GIB, dirty_rate=900 * 10**6, working_set=GIB), link=100 * 10**6)
    client("Async.VM.pool_migrate", ref_of(client, "VM", "a"), ref_of(client, "host", "h2"), {})
    job = next(iter(world.jobs.values()))
    while job["phase"] != "pause":
        client.step()
    assert job["round"] == 5
    assert job["left"] == pytest.approx(GIB)


def test_a_cancelled_migration_stays_at_home_and_frees_the_target() -> None:
    _world, _clock, client = pool(guest())
    vm, target = ref_of(client, "VM", "a"), ref_of(client, "host", "h2")
    free = client("host.compute_free_memory", target)
    task = client("Async.VM.pool_migrate", vm, target, {})
    client.pass_time(3)
    client("task.cancel", task)
    ended = client.task(task)
    assert (ended["status"], ended["error_info"], ended["result"]) == ("cancelled", [], "")
    assert client("VM.get_resident_on", vm) == ref_of(client, "host", "h1")
    assert client("VM.get_current_operations", vm) == {}
    assert client("host.compute_free_memory", target) == free


def test_a_migration_cannot_be_cancelled_from_the_pause_on() -> None:
    world, _clock, client = pool(guest())
    task = client("Async.VM.pool_migrate", ref_of(client, "VM", "a"), ref_of(client, "host", "h2"), {})
    job = next(iter(world.jobs.values()))
    while job["phase"] not in ("pause", "device"):
        client.step()
    assert client("task.get_allowed_operations", task) == []
    client("task.cancel", task)
    assert client.task(task)["status"] == "success"


def test_the_target_restarting_in_mid_stream_fails_the_task_and_leaves_the_guest_at_home() -> None:
    _world, _clock, client = pool(guest(memory=16 * GIB))
    vm, target = ref_of(client, "VM", "a"), ref_of(client, "host", "h2")
    task = client("Async.VM.pool_migrate", vm, target, {})
    client("host.restart_agent", target)
    ended = client.task(task)
    assert (ended["status"], ended["error_info"][0]) == ("failure", "INTERNAL_ERROR")
    assert client("VM.get_power_state", vm) == "Running"
    assert client("VM.get_resident_on", vm) == ref_of(client, "host", "h1")


def test_a_master_restart_loses_the_task_but_not_the_migration() -> None:
    _world, _clock, client = pool(guest(memory=16 * GIB))
    vm, source, target = ref_of(client, "VM", "a"), ref_of(client, "host", "h1"), ref_of(client, "host", "h2")
    task = client("Async.VM.pool_migrate", vm, target, {})
    client("host.restart_agent", source)
    client.pass_time(6)
    client.login()
    assert failure_of(client, "task.get_status", task) == ["HANDLE_INVALID", "task", task]
    assert client("VM.get_current_operations", vm) == {}
    client.pass_time(60)
    assert client("VM.get_resident_on", vm) == target


def test_logging_out_ends_a_migration_from_the_master_that_does_not_stream_yet() -> None:
    world, clock, client = pool(guest(), guest("b", "h2"), hosts=3)
    other = DirectClient(world, clock, "127.1.0.1").login()
    target = ref_of(client, "host", "h3")
    from_master = other("Async.VM.pool_migrate", ref_of(client, "VM", "a"), target, {})
    from_member = other("Async.VM.pool_migrate", ref_of(client, "VM", "b"), target, {})
    other("session.logout")
    assert client.task(from_master)["error_info"][0] == "INTERNAL_ERROR"
    assert client.task(from_member)["status"] == "success"


def test_two_migrations_of_one_guest_succeed_one_after_the_other() -> None:
    _world, _clock, client = pool(guest(), hosts=3)
    vm = ref_of(client, "VM", "a")
    tasks = [client("Async.VM.pool_migrate", vm, ref_of(client, "host", name), {}) for name in ("h2", "h3")]
    assert [client.task(task)["status"] for task in tasks] == ["success", "success"]
    assert client("VM.get_resident_on", vm) == ref_of(client, "host", "h3")


def test_a_guest_may_be_migrated_to_where_it_is_even_when_that_host_is_disabled() -> None:
    _world, _clock, client = pool(guest())
    host = ref_of(client, "host", "h1")
    client("host.disable", host)
    assert client("VM.pool_migrate", ref_of(client, "VM", "a"), host, {}) is None


@pytest.mark.parametrize(("blocker", "code"), [
    ("pci", "VM_HAS_PCI_ATTACHED"), ("vgpu", "VM_HAS_VGPU"), ("no_tools", "VM_LACKS_FEATURE"),
    ("nomigrate", "VM_IS_IMMOBILE")])
def test_a_blocker_is_named(blocker: str, code: str) -> None:
    _world, _clock, client = pool(guest(blockers=(blocker,)))
    vm = ref_of(client, "VM", "a")
    assert failure_of(client, "VM.pool_migrate", vm, ref_of(client, "host", "h2"), {}) == [code, vm]
    assert "pool_migrate" not in client("VM.get_allowed_operations", vm)
    assert client("host.get_vms_which_prevent_evacuation", ref_of(client, "host", "h1")) == {vm: [code, vm]}


def test_a_migration_is_refused_with_the_code_of_its_reason() -> None:
    _world, _clock, client = pool(
        guest(memory=4 * GIB, disks=("shared",)), guest("local", disks=("local",)), VmSpec("halted", "h1"),
        guest("stuck", blocked_operations={"pool_migrate": "not now"}), guest("fat", memory=12 * GIB),
        guest("other", "h2", memory=4 * GIB), memory=16 * GIB, hosts=2)
    target = ref_of(client, "host", "h2")
    vms = {name: ref_of(client, "VM", name) for name in ("a", "local", "halted", "stuck", "fat")}

    def refusal(name: str) -> list[str]:
        return failure_of(client, "VM.pool_migrate", vms[name], target, {})

    storage = client("VDI.get_SR", client("VBD.get_VDI", client("VM.get_VBDs", vms["local"])[0]))
    assert refusal("local") == ["VM_REQUIRES_SR", vms["local"], storage]
    assert refusal("halted") == ["VM_BAD_POWER_STATE", vms["halted"], "running", "halted"]
    assert refusal("stuck") == ["OPERATION_BLOCKED", vms["stuck"], "not now"]
    needed, available = refusal("fat")[1:]
    assert refusal("fat")[0] == "HOST_NOT_ENOUGH_FREE_MEMORY"
    assert int(needed) > int(available) == client("host.compute_free_memory", target)
    client("host.disable", target)
    assert refusal("a") == ["HOST_DISABLED", target]
    assert failure_of(client, "VM.pool_migrate", "OpaqueRef:x", target, {}) == ["HANDLE_INVALID", "VM", "OpaqueRef:x"]
    assert failure_of(client, "VM.start_on", vms["halted"], target, False, False) == ["HOST_DISABLED", target]
    assert client("VM.get_possible_hosts", vms["a"]) == [ref_of(client, "host", "h1")]


def test_storage_that_a_host_cannot_reach_and_a_network_it_is_not_on_refuse_the_guest() -> None:
    _world, _clock, client = pool(guest(disks=("shared",)), VmSpec("inside", "h1", networks=("inside",)),
                                  hosts=3, unreachable_from=("h2",))
    target = ref_of(client, "host", "h2")
    assert failure_of(client, "VM.assert_can_boot_here", ref_of(client, "VM", "a"), target)[0] == "VM_REQUIRES_SR"
    assert client("VM.assert_can_boot_here", ref_of(client, "VM", "inside"), target) is None


def test_a_network_without_interfaces_keeps_its_guests_on_the_host_where_it_is_in_use() -> None:
    _world, _clock, client = pool(guest("a", networks=("inside",)), VmSpec("b", "h1", networks=("inside",)))
    one, other, away = ref_of(client, "VM", "a"), ref_of(client, "VM", "b"), ref_of(client, "host", "h2")
    assert failure_of(client, "VM.pool_migrate", one, away, {})[:2] == ["VM_REQUIRES_NETWORK", one]
    assert failure_of(client, "VM.start_on", other, away, False, False)[0] == "VM_REQUIRES_NETWORK"
    client("VM.clean_shutdown", one)
    assert client("VM.assert_can_boot_here", other, away) is None


def test_a_host_that_is_not_on_the_guests_network_is_named_with_it() -> None:
    spec = WorldSpec((HostSpec("h1"), HostSpec("h2", nics=("eth0",))), (PoolSpec(("h1", "h2")),),
                     networks=(NetworkSpec("wide", "h1", "eth1"),), vms=(guest(networks=("wide",)),))
    world, clock = direct_world(spec)
    client = DirectClient(world, clock, "127.1.0.1").login()
    vm, network = ref_of(client, "VM", "a"), ref_of(client, "network", "wide")
    assert failure_of(client, "VM.pool_migrate", vm, ref_of(client, "host", "h2"), {}) == [
        "VM_REQUIRES_NETWORK", vm, network]
    options = {"network": network}
    assert failure_of(client, "VM.pool_migrate", vm, ref_of(client, "host", "h1"), options)[0] == "INTERFACE_HAS_NO_IP"


def test_a_guest_does_not_move_to_a_processor_of_another_maker_unless_forced() -> None:
    spec = WorldSpec((HostSpec("h1"), HostSpec("h2", cpu_vendor="AuthenticAMD")), (PoolSpec(("h1", "h2")),),
                     vms=(guest(),))
    world, clock = direct_world(spec)
    client = DirectClient(world, clock, "127.1.0.1").login()
    vm, target = ref_of(client, "VM", "a"), ref_of(client, "host", "h2")
    assert failure_of(client, "VM.pool_migrate", vm, target, {})[:3] == ["VM_INCOMPATIBLE_WITH_THIS_HOST", vm, target]
    client("VM.pool_migrate", vm, target, {"force": "true"})
    assert client("VM.get_resident_on", vm) == target


def test_the_second_of_two_reservations_is_refused_when_the_memory_is_spent() -> None:
    _world, _clock, client = pool(guest(memory=8 * GIB), guest("b", "h3", memory=8 * GIB), hosts=3, memory=16 * GIB)
    target = ref_of(client, "host", "h2")
    first = client("Async.VM.pool_migrate", ref_of(client, "VM", "a"), target, {})
    second = client("Async.VM.pool_migrate", ref_of(client, "VM", "b"), target, {})
    assert client.task(second)["error_info"][0] == "HOST_NOT_ENOUGH_FREE_MEMORY"
    assert client.task(first)["status"] == "success"


def test_evacuate_moves_batch_after_batch_under_subtasks() -> None:
    _world, _clock, client = pool(*(guest(f"v{index}", memory=GIB) for index in range(5)), hosts=3)
    source = ref_of(client, "host", "h1")
    task = client("Async.host.evacuate", source, NULL, "3")
    client.pass_time(0.1)
    assert len(client("task.get_subtasks", task)) == 3
    assert list(client("host.get_current_operations", source).values()) == ["evacuate"]
    assert client.task(task)["status"] == "success"
    assert len(client("host.get_resident_VMs", source)) == 1
    assert client("host.get_enabled", source) is True


def test_evacuate_moves_nothing_when_one_guest_cannot_move() -> None:
    _world, _clock, client = pool(guest(), guest("b", blocked_operations={"pool_migrate": "no"}))
    source, vm = ref_of(client, "host", "h1"), ref_of(client, "VM", "b")
    assert failure_of(client, "host.evacuate", source) == ["OPERATION_BLOCKED", vm, "no"]
    assert failure_of(client, "host.assert_can_evacuate", source) == ["CANNOT_EVACUATE_HOST",
                                                                      f"OPERATION_BLOCKED,{vm},no"]
    assert len(client("host.get_resident_VMs", source)) == 3


def test_a_world_saved_at_any_moment_of_a_migration_goes_on_where_it_was() -> None:
    for moments in range(1, 14):
        world, clock, client = pool(guest(memory=3 * GIB))
        vm, target = ref_of(client, "VM", "a"), ref_of(client, "host", "h2")
        task = client("Async.VM.pool_migrate", vm, target, {})
        for _ in range(moments):
            if world.next_due() is not None:
                client.step()
        state = json.loads(json.dumps(save_world(world)))
        later = SetClock(clock.at)
        loaded = load_world(state, later)
        assert json.loads(json.dumps(save_world(loaded))) == state
        client.task(task)
        again = DirectClient(loaded, later, "127.1.0.1")
        again.session = client.session
        assert again.task(task) == client("task.get_record", task)
        assert later.at == clock.at
        assert again("VM.get_record", vm) == client("VM.get_record", vm)


def test_power_operations_change_state_and_memory() -> None:
    _world, _clock, client = pool(VmSpec("a", "h1", memory=GIB, disks=("shared",)), default=True)
    vm, host = ref_of(client, "VM", "a"), ref_of(client, "host", "h2")
    client("VM.start_on", vm, host, False, False)
    assert (client("VM.get_power_state", vm), client("VM.get_resident_on", vm)) == ("Running", host)
    assert failure_of(client, "VM.start_on", vm, host, False, False) == ["VM_BAD_POWER_STATE", vm, "halted", "running"]
    client("VM.suspend", vm)
    assert client("VM.get_power_state", vm) == "Suspended"
    client("VM.resume_on", vm, host, False, False)
    assert client("VM.get_power_state", vm) == "Running"
    client("VM.clean_shutdown", vm)
    assert (client("VM.get_power_state", vm), client("VM.get_domid", vm)) == ("Halted", -1)
    copy = client("VM.clone", vm, "b")
    assert len(client("VM.get_VBDs", copy)) == 1
    client("VM.destroy", vm)
    assert failure_of(client, "VM.get_uuid", vm) == ["HANDLE_INVALID", "VM", vm]
