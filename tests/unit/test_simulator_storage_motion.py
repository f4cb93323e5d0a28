"""VM.migrate_send: who may go, what goes over, and what is left when it does not come to its end."""

import json
from typing import Any

import pytest
from simulator_host import failure_of

from agent.simulator import DirectClient, direct_world
from agent.simulator.clocks import SetClock
from agent.simulator.fault_spec import Incident, MigrationFault
from agent.simulator.spec import parse_spec
from agent.simulator.state import load_world, save_world

SECONDS_TO_COPY = 10  # 6 GB at 600 MB/s


class Pool(DirectClient):
    """Two hosts with own disks, one that does not see a shared repository, and a VM on the first."""

    def ref(self, cls: str, name: str) -> str:
        return str(self(f"{cls}.get_by_name_label", name)[0])

    def token(self, host: str = "h2") -> dict[str, str]:
        pif = self("host.get_PIFs", self.ref("host", host))[0]
        given: dict[str, str] = self("host.migrate_receive", self.ref("host", host), self("PIF.get_network", pif), {})
        return given

    def own(self, host: str) -> str:
        return str(self("PBD.get_SR", self("host.get_PBDs", self.ref("host", host))[0]))

    def disk(self) -> str:
        return str(self("VBD.get_VDI", self("VM.get_VBDs", self.ref("VM", "v"))[0]))

    def params(self, **other: Any) -> list[Any]:
        """Return the parameters of a move to h2, its disk to h2's own repository."""
        usual = {"vm": self.ref("VM", "v"), "dest": self.token(), "live": True,
                 "places": {self.disk(): self.own("h2")}, "vifs": {}, "options": {}}
        return list({**usual, **other}.values())

    def sent(self, **other: Any) -> str:
        return str(self("Async.VM.migrate_send", *self.params(**other)))

    def refused(self, **other: Any) -> list[str]:
        return failure_of(self, "VM.migrate_send", *self.params(**other))


def pool(**vm: Any) -> Pool:
    usual = {"name": "v", "host": "h1", "state": "running", "memory": "256 MiB", "disks": ["local"],
             "disk_size": "6 GB"}
    world, clock = direct_world(parse_spec({
        "hosts": [{"name": "h1"}, {"name": "h2"}, {"name": "alone"}], "pools": [{"hosts": ["h1", "h2"]}],
        "storage": [{"name": "far", "pool": "h1", "unreachable_from": ["h2"]}, {"name": "near", "pool": "h1"}],
        "networks": [{"name": "guests", "pool": "h1", "device": "eth1"}], "vms": [usual | vm]}))
    client = Pool(world, clock, "127.1.0.1")
    client.login()
    return client


def at_home(client: Pool, disk: str) -> bool:
    record = client("VM.get_record", client.ref("VM", "v"))
    return (record["resident_on"], record["scheduled_to_be_resident_on"], record["current_operations"],
            client.disk()) == (client.ref("host", "h1"), "OpaqueRef:NULL", {}, disk)


# ---- the token
def test_a_token_is_for_a_network_on_which_the_host_has_an_address() -> None:
    client = pool()
    host, guests = client.ref("host", "h2"), client.ref("network", "guests")
    pif = next(one for one in client("host.get_PIFs", host) if client("PIF.get_network", one) == guests)
    assert failure_of(client, "host.migrate_receive", host, guests, {}) == ["PIF_HAS_NO_NETWORK_CONFIGURATION", pif]
    assert failure_of(client, "host.migrate_receive", host, "OpaqueRef:NULL", {}) == [
        "HOST_CANNOT_ATTACH_NETWORK", host, "OpaqueRef:NULL"]
    client.world.put_in(Incident(0, "power_off", "h2"))
    client.pass_time(1)
    management = client("PIF.get_network", client("host.get_PIFs", host)[0])
    assert failure_of(client, "host.migrate_receive", host, management, {}) == ["CANNOT_CONTACT_HOST", host]


def test_a_token_is_good_while_its_session_lasts() -> None:
    client = pool()
    token = client.token()
    client.raw("session.logout", token["session_id"])
    assert client.refused(dest=token) == ["SESSION_INVALID", token["session_id"]]


# ---- refusals
def test_what_is_not_simulated_says_so() -> None:
    client = pool()
    stranger = Pool(client.world, client.clock, "127.1.0.3")
    stranger.login()
    assert client.refused(dest=stranger.token("alone")) == ["NOT_IMPLEMENTED", "VM.migrate_send to another pool"]
    halted = pool(state="halted")
    assert halted.refused() == ["NOT_IMPLEMENTED", "VM.migrate_send of a VM that does not run"]


def test_a_place_must_be_seen_by_the_host_or_be_plugged_there() -> None:
    client = pool()
    vm, disk = client.ref("VM", "v"), client.disk()
    assert client.refused(places={disk: client.own("h1")}) == ["VM_REQUIRES_SR", vm, client.own("h1")]
    assert client.refused(places={disk: client.ref("SR", "far")})[0] == "SR_BACKEND_FAILURE_73"
    assert client.refused(places={disk: "OpaqueRef:x"}) == ["HANDLE_INVALID", "SR", "OpaqueRef:x"]
    near = client.ref("SR", "near")
    pbd = next(one for one in client("host.get_PBDs", client.ref("host", "h2")) if client("PBD.get_SR", one) == near)
    client("PBD.unplug", pbd)
    assert client.task(client.sent(places={disk: near}))["status"] == "success"
    assert client("PBD.get_currently_attached", pbd) is True


@pytest.mark.parametrize("options, code", [({"copy": "true"}, "OPERATION_NOT_ALLOWED")])
def test_a_copy_stays_out_of_its_own_pool(options: dict[str, str], code: str) -> None:
    assert pool().refused(options=options)[0] == code


def test_a_vm_that_must_not_move_does_not_with_its_disks_either() -> None:
    blocked = pool(blocked_operations={"migrate_send": "ask the owner"})
    assert blocked.refused() == ["OPERATION_BLOCKED", blocked.ref("VM", "v"), "ask the owner"]
    pinned = pool(blockers=["pci"])
    assert pinned.refused() == ["VM_HAS_PCI_ATTACHED", pinned.ref("VM", "v")]
    assert failure_of(pinned, "VM.assert_can_migrate", *pinned.params()) == [
        "VM_HAS_PCI_ATTACHED", pinned.ref("VM", "v")]


def test_a_host_that_takes_no_vms_takes_none_with_disks() -> None:
    client = pool()
    client("host.disable", client.ref("host", "h2"))
    assert client.refused() == ["HOST_DISABLED", client.ref("host", "h2")]


# ---- the way
def test_disks_that_stay_where_they_are_cost_no_time() -> None:
    client = pool(disks=["near"])
    disk, begin = client.disk(), client.clock.at
    assert client.task(client.sent(places={disk: client.ref("SR", "near")}))["status"] == "success"
    assert (client.disk(), client.clock.at - begin < SECONDS_TO_COPY) == (disk, True)


def test_it_waits_for_another_operation_of_the_vm() -> None:
    client = pool()
    vm = client.ref("VM", "v")
    rebooting = client("Async.VM.clean_reboot", vm)
    moving = client.sent()
    assert client("VM.get_current_operations", vm) == {rebooting: "clean_reboot"}
    assert client.task(moving)["status"] == "success"
    assert client("VM.get_resident_on", vm) == client.ref("host", "h2")


@pytest.mark.parametrize("after", [SECONDS_TO_COPY - 1, SECONDS_TO_COPY + 1], ids=["disks", "memory"])
def test_a_move_that_is_called_off_leaves_vm_and_disks_at_home(after: float) -> None:
    client = pool()
    disk, task = client.disk(), client.sent()
    client.pass_time(after)
    client("task.cancel", task)
    assert client.task(task)["status"] == "cancelled"
    assert at_home(client, disk)


@pytest.mark.parametrize("phase", ["mirror", "stream"])
def test_a_move_fails_in_any_phase_by_a_fault(phase: str) -> None:
    client = pool()
    client.world.put_in(MigrationFault(phase, error=("MIRROR_FAILED", "x")))
    disk = client.disk()
    assert client.task(client.sent())["error_info"] == ["MIRROR_FAILED", "x"]
    assert at_home(client, disk)


@pytest.mark.parametrize("deed, host", [("kill", "h1"), ("power_off", "h2")])
def test_disks_are_copied_no_further_when_one_end_has_gone(deed: str, host: str) -> None:
    client = pool()
    if deed == "kill":  # of a member: it is the source's toolstack that copies
        client("pool.designate_new_master", client.ref("host", "h2"))
        client.pass_time(60)
        client = Pool(client.world, client.clock, "127.1.0.2")
        client.login()
    disk = client.disk()
    task = client.sent()
    client.pass_time(5)
    client.world.put_in(Incident(0, deed, host))
    client.pass_time(0)
    assert client.task(task)["status"] == "failure"
    assert at_home(client, disk)


def test_a_saved_world_goes_on_copying() -> None:
    client = pool()
    task = client.sent()
    client.pass_time(5)
    clock = SetClock(client.clock.at)
    again = Pool(load_world(json.loads(json.dumps(save_world(client.world))), clock), clock, client.address)
    again.session = client.session
    assert again.task(task)["status"] == "success"
    assert again("VDI.get_SR", again.disk()) == again.own("h2")
