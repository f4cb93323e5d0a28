"""The ten things that go wrong for operators of such pools, each by its number, in a whole Corral; and four more."""

from pathlib import Path
from typing import Any

from allinone_world import GIB, House, guest, pool_world, until

from agent.simulator.build import start_domain
from agent.simulator.fault_spec import Incident, MigrationFault
from agent.simulator.strays import listed as strays
from conductor.cli.client import Refusal
from conductor.plan.model import Limits

FAILURES = {
    1: "VMs can't go home because others took their place",
    2: "a wrong reason is given why a VM can't move",
    3: "one local disk keeps a whole host from being emptied",
    4: "VMs that can't or may not move hold everything up",
    5: "maintenance does not survive a reboot, or outlives its end",
    6: "somebody else refills the host, or guests are sent to one in maintenance",
    7: "a host counts as empty while a VM still runs on it; asking twice harms",
    8: "a failed migration leaves a VM halted, or twice",
    9: "the master goes away and the work is forgotten or a VM runs twice",
    10: "a join is refused late, for one reason after the other, or leaves halves",
    11: "migrations take the management network",
    12: "too many migrations at once",
    13: "an ejection destroys local disks",
    14: "guests are sent to hosts that are not upgraded yet",
}


class Watched(House):
    """A house in which it is counted, at each change, how much moves at once and whether a VM runs twice."""

    def __init__(self, *args: Any, **more: Any) -> None:
        self.at_once: dict[str, int] = {}
        self.twice: set[str] = set()
        super().__init__(*args, **more)

    def _look(self) -> None:
        super()._look()
        world = self.simulator.world
        self.twice |= {str(one["vm"]) for one in strays(world) if one["twice"]}
        now: dict[str, int] = {}
        for job in world.jobs.values():
            if job["kind"] == "migrate" and job["phase"] != "teardown":
                for end in ("from " + world.nodes[job["node"]].name, "to " + world.nodes[job["target"]].name):
                    now[end] = now.get(end, 0) + 1
        self.at_once = {end: max(count, self.at_once.get(end, 0)) for end, count in (self.at_once | now).items()
                        for count in [now.get(end, 0)]}

    def blockers(self, host: str) -> dict[str, str]:
        """Ask for a drain that is refused; return the code for each VM."""
        try:
            self.corral.client.post("v1", "hosts", host, "maintenance", body={"wanted": "enable"})
        except Refusal as refusal:
            return {blocker["vm_name"]: blocker["code"] for blocker in refusal.details["blockers"]}
        raise AssertionError("the drain was not refused")

    def put_in(self, *faults: MigrationFault | Incident) -> None:
        """Put faults into the hypervisors' world."""
        with self.simulator.lock:
            self.simulator.world.put_in(*faults)
            self.simulator.lock.notify_all()


def test_every_failure_has_its_test() -> None:
    assert {int(name.split("_")[2]) for name in globals() if name.startswith("test_failure_")} == set(FAILURES)


def test_failure_1_what_can_not_go_home_is_reported_and_the_rest_goes_home(tmp_path: Path) -> None:
    vms = [guest("big", "h1", 8), guest("small", "h1"), {**guest("foreign", "h1", 10), "state": "halted"}]
    with Watched(tmp_path, pool_world(3, vms)) as house:
        corral = house.corral
        corral.adopt("h1", "h2", "h3")
        corral.ask("host-update --maintenance enable h1 --wait")
        with house.simulator.lock:
            world = house.simulator.world
            node = world.node_named("h1")
            db = world.pools[node.pool]
            (foreign,) = [vm for vm in db.refs("VM") if db.get("VM", vm, "name_label") == "foreign"]
            start_domain(world, db, foreign, world.host_of(node))
            house.simulator.lock.notify_all()
        until("Corral has seen it", lambda: corral.host("h1")["vms"] == 1)
        end = corral.ended(corral.begin("host-update --maintenance disable h1"))
        assert [(one["vm_name"], one["code"]) for one in end["result"]["not_home"]] == [
            ("big", "HOST_NOT_ENOUGH_FREE_MEMORY")]
        assert house.on("h1") == ["foreign", "small"] and corral.host("h1")["state"] == "serving"
        assert house.ways["big"][-1] != "h1" and not house.stopped


def test_failure_2_each_vm_gets_its_own_reason(tmp_path: Path) -> None:
    vms = [guest("full", "h1", 13), guest("big", "h2", 10), guest("fits", "h2", 0.25),
           guest("kept", "h2", blocked_operations={"pool_migrate": "ask the owner"}),
           guest("pinned", "h2", blockers=["pci"])]
    with Watched(tmp_path, pool_world(2, vms)) as house:
        house.corral.adopt("h1", "h2")
        assert house.blockers("h2") == {"big": "HOST_NOT_ENOUGH_FREE_MEMORY", "kept": "OPERATION_BLOCKED",
                                        "pinned": "VM_HAS_PCI_ATTACHED"}
        assert house.corral.run("host-update --maintenance enable h2") == 3
        assert "ask the owner" in house.corral.err and "GiB" in house.corral.err


def test_failure_2_high_availability_is_not_taken_for_a_lack_of_memory(tmp_path: Path) -> None:
    with Watched(tmp_path, pool_world(2, [guest("unprotected", "h2")])) as house:
        house.corral.adopt("h1", "h2")
        with house.simulator.lock:
            world = house.simulator.world
            db = world.pools[world.node_named("h1").pool]
            db.set("pool", db.refs("pool")[0], ha_enabled=True)
            house.simulator.lock.notify_all()
        pool = house.pool()
        (there,) = pool.api.host.get_by_name_label("h2")
        ((code, _vm),) = pool.api.host.get_vms_which_prevent_evacuation(there).values()
        assert code == "HOST_NOT_ENOUGH_FREE_MEMORY", "what xapi says of a VM that is not protected"
        house.corral.ask("host-update --maintenance enable h2 --wait")
        assert house.on("h1") == ["unprotected"] and house.on("h2") == []


def test_failure_3_one_local_disk_blocks_only_its_vm(tmp_path: Path) -> None:
    vms = [guest("fixed", "h2", disks=["local"]), guest("free", "h2")]
    with Watched(tmp_path, pool_world(2, vms)) as house:
        corral = house.corral
        corral.adopt("h1", "h2")
        assert list(house.blockers("h2")) == ["fixed"] and house.pool().enabled("h2")
        assert corral.run("host-update --maintenance enable h2 --allow-partial --wait") == 6
        assert house.on("h1") == ["free"] and house.on("h2") == ["fixed"] and not house.stopped


def test_failure_4_unwilling_vms_are_left_running_until_somebody_decides(tmp_path: Path) -> None:
    vms = [guest("pinned", "h2", blockers=["pci"]), guest("toolless", "h2", blockers=["no_tools"]),
           guest("free", "h2")]
    with Watched(tmp_path, pool_world(2, vms)) as house:
        corral = house.corral
        corral.adopt("h1", "h2")
        assert house.blockers("h2") == {"pinned": "VM_HAS_PCI_ATTACHED", "toolless": "VM_LACKS_FEATURE"}
        operation = corral.begin("host-update --maintenance enable h2 --allow-partial")
        corral.needs_a_person(operation, "left_behind")
        assert house.on("h1") == ["free"] and house.on("h2") == ["pinned", "toolless"] and not house.stopped
        pool = house.pool()
        for vm in ("pinned", "toolless"):
            pool.api.VM.hard_shutdown(pool.vms()[vm]["ref"])
        until("Corral has seen it", lambda: corral.host("h2")["vms"] == 0)
        corral.run(f"operation-retry {operation}")
        corral.ended(operation)


def test_failure_5_maintenance_survives_a_reboot_and_ends_when_it_is_ended(tmp_path: Path) -> None:
    with Watched(tmp_path, pool_world(2, [], reboot_s=30), speed=120) as house:
        corral = house.corral
        corral.adopt("h1", "h2")
        corral.ask("host-update --maintenance enable h2 --wait")
        pool = house.pool()
        (there,) = pool.api.host.get_by_name_label("h2")
        pool.api.host.reboot(there)
        (again,) = until("it enabled itself and was disabled again", lambda: [
            one for one in corral.client.get("v1", "operations", host="h2")["operations"]
            if one["kind"] == "host_disable" and one["ended_at"]])
        assert again["state"] == "succeeded" and not house.pool().enabled("h2")
        assert corral.host("h2")["state"] == "in_maintenance"
        corral.ask("host-update --maintenance disable h2 --wait")
        assert house.pool().enabled("h2") and corral.host("h2")["state"] == "serving"


def test_failure_6_nobody_fills_the_host_again_and_no_guest_goes_to_one_in_maintenance(tmp_path: Path) -> None:
    vms = [guest("v1", "h2"), guest("v2", "h2"), {**guest("late", "h2"), "state": "halted"}]
    with Watched(tmp_path, pool_world(3, vms)) as house:
        corral = house.corral
        corral.adopt("h1", "h2", "h3")
        corral.ask("host-update --maintenance enable h3 --wait")
        operation = corral.begin("host-update --maintenance enable h2")
        corral.moves_done(operation, 1)
        house.put_in(*(Incident(0, operator="VM.start_on", params=[{"VM": "late"}, {"host": host}, False, False])
                       for host in ("h2", "h3")))
        corral.ended(operation)
        assert len(house.calls("VM.start_on")) == 2 and house.pool().vms()["late"]["power_state"] == "Halted"
        assert house.ways == {"v1": ["h2", "h1"], "v2": ["h2", "h1"]}


def test_failure_7_a_host_is_in_maintenance_only_when_it_was_read_as_empty_twice(tmp_path: Path) -> None:
    vms = [guest(f"v{number}", "h2", 2) for number in range(3)]
    with Watched(tmp_path, pool_world(2, vms)) as house:
        corral = house.corral
        corral.adopt("h1", "h2")
        house.put_in(MigrationFault("stream", vm="v1"))
        operation = corral.begin("host-update --maintenance enable h2")
        assert corral.begin("host-update --maintenance enable h2") == operation
        corral.ended(operation)
        assert house.on("h2") == [] and len(house.on("h1")) == 3 and not house.stopped
        assert sorted(house.calls("VM.pool_migrate")) == ["Success"] * 4, "only the one that failed was moved again"
        observed = [task for task in corral.operation(operation)["tasks"] if task["kind"] == "observe"]
        assert observed and observed[-1]["state"] == "done"


def test_failure_8_a_vm_that_lost_power_in_its_move_runs_again_and_once(tmp_path: Path) -> None:
    with Watched(tmp_path, pool_world(2, [guest("v1", "h2", 2), guest("v2", "h2", 2)])) as house:
        corral = house.corral
        corral.adopt("h1", "h2")
        house.put_in(MigrationFault("pause", vm="v1"))
        operation = corral.begin("host-update --maintenance enable h2")
        corral.ended(operation)
        assert house.pool().running() == {"h1": ["v1", "v2"]} and house.stopped == {"v1"} and not house.twice
        assert house.calls("VM.start_on") == ["Success"]
        assert any(event["task_kind"] == "vm_start" for event in corral.events(operation)), "and that is recorded"


def test_failure_9_a_master_that_dies_in_mid_drain_costs_no_vm_and_doubles_none(tmp_path: Path) -> None:
    vms = [guest(f"v{number}", "h1", 8, dirty_rate=0) for number in range(3)]
    with Watched(tmp_path, pool_world(3, vms, memory=64 * GIB), speed=20) as house:
        corral = house.corral
        corral.adopt("h1", "h2", "h3")
        operation = corral.begin("host-update --maintenance enable h1")
        with house.simulator.lock:
            assert house.simulator.lock.wait_for(
                lambda: any(job["phase"] == "stream" for job in house.simulator.world.jobs.values()), 20.0)
        house.put_in(Incident(0, "crash", "h1"))
        # What may still be going on for all that can be read is left alone until the move's deadline.
        end = corral.reached(operation, lambda one: one["ended_at"] or not any(
            task["state"] in ("pending", "sent", "executing") for task in (*one["moves"], *one["tasks"])))
        floats = sorted(move["vm_name"] for move in end["moves"] if move["state"] == "unknown")
        assert house.on("h1", "h2") == floats and not house.pool("h2").enabled("h1"), corral.story(operation)
        assert sum(map(len, house.pool("h2").running().values())) == 3
        with house.simulator.lock:
            assert not house.twice and not strays(house.simulator.world)


def test_failure_10_all_that_speaks_against_a_join_is_said_at_once_and_nothing_is_left_behind(tmp_path: Path) -> None:
    hosts = {"hosts": [{"name": "h1"}, {"name": "h2", "bonds": True, "vlans": True, "shared_sr": True,
                                        "traits": {"management_vlan": 0, "edition": "other"}}],
             "vms": [{"name": "busy", "host": "h2", "state": "running"}]}
    with Watched(tmp_path, hosts) as house:
        corral = house.corral
        corral.adopt("h1")
        until("h2 is read", lambda: corral.is_read("h2"))
        operation = corral.begin("aggregate-add-host 1 h2")
        corral.ended(operation, "failed")
        for said in ("has bonds", "VLANs that are not its management's: 7", "shared storage", "VMs run on it: busy",
                     "VLAN 0, the pool's on no VLAN (-1)", "edition is other"):
            assert said in corral.story(operation), corral.story(operation)
        assert house.calls("pool.join") == [] and house.pool().members() == ["h1"]
        assert corral.ask("aggregate-details 1")["hosts"] == ["h1"] and house.on("h2", "h2") == ["busy"]


def test_failure_11_migrations_take_the_network_that_the_pool_has_for_them(tmp_path: Path) -> None:
    fast = {"name": "fast", "pool": "h1", "device": "eth1", "addresses_on": ["h1", "h2"], "migrations": True}
    with Watched(tmp_path, {**pool_world(3, [guest("v1", "h2"), guest("v2", "h2")]), "networks": [fast]}) as house:
        house.corral.adopt("h1", "h2", "h3")
        house.corral.ask("host-update --maintenance enable h2 --wait")
        assert house.on("h1") == ["v1", "v2"] and house.on("h3") == []
        assert house.calls("VM.pool_migrate") == ["Success"] * 2


def test_failure_12_no_host_sends_or_takes_more_at_once_than_it_may(tmp_path: Path) -> None:
    vms = [guest(f"v{number}", "h2", 1, dirty_rate=0) for number in range(9)]
    with Watched(tmp_path, pool_world(3, vms, memory=32 * GIB), speed=30) as house:
        house.corral.adopt("h1", "h2", "h3")
        house.corral.ask("host-update --maintenance enable h2 --wait")
        limits = Limits()
        assert 1 < house.at_once["from h2"] <= limits.per_source
        assert all(house.at_once[f"to {host}"] <= limits.per_destination for host in ("h1", "h3"))
        assert house.calls("host.evacuate") == []


def test_failure_13_local_disks_are_not_destroyed_unless_their_loss_is_confirmed(tmp_path: Path) -> None:
    hosts = {"hosts": [{"name": "h1"}, {"name": "h2"}], "vms": [{"name": "kept", "host": "h2", "disks": ["local"]}]}
    with Watched(tmp_path, hosts) as house:
        corral = house.corral
        corral.adopt("h1", "h2")
        corral.ask("host-update --maintenance enable h2 --wait")
        assert corral.run("aggregate-remove-host 1 h2") == 3 and "(data_loss)" in corral.err
        assert house.calls("pool.eject") == [] and house.pool().members() == ["h1", "h2"]


def test_failure_14_no_guest_goes_back_to_a_host_that_is_older(tmp_path: Path) -> None:
    world = pool_world(3, [guest("v1", "h2"), guest("v2", "h2"), guest("there", "h1", 8)])
    world["hosts"][2] |= {"platform_version": "3.3.0"}
    with Watched(tmp_path, world) as house:
        house.corral.adopt("h1", "h2", "h3")
        house.corral.ask("host-update --maintenance enable h2 --wait")
        assert house.on("h1") == ["there", "v1", "v2"] and house.on("h3") == []
