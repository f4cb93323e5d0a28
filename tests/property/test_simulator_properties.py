"""Whatever clients do to a simulated pool: events rebuild it, saving keeps it, and everything ends."""

import json
from contextlib import suppress
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.simulator import DirectClient, Dropped, Failure, World, direct_world, incidents
from agent.simulator.database import LINKS
from agent.simulator.fault_spec import Incident
from agent.simulator.spec import GIB, HostSpec, NetworkSpec, PoolSpec, StorageSpec, VmSpec, WorldSpec
from agent.simulator.state import load_world, save_world
from agent.simulator.swarm import swarm
from agent.simulator.table import NULL

HOSTS, GUESTS = 3, 5
ACTIONS = ("migrate", "start", "shutdown", "hard", "suspend", "resume", "cancel", "disable", "enable", "evacuate",
           "restart", "eject", "reboot", "clone", "rename", "save")
ACTION = st.tuples(st.sampled_from(ACTIONS), st.integers(0, GUESTS - 1), st.integers(0, HOSTS - 1),
                   st.floats(0, 12, allow_nan=False))


def pool() -> DirectClient:
    names = tuple(f"h{number}" for number in range(1, HOSTS + 1))
    guests = tuple(VmSpec(f"v{number}", names[number % HOSTS], state="running", memory=4 * GIB, disks=("shared",),
                          blockers=("pci",) if number == GUESTS - 1 else ()) for number in range(GUESTS))
    spec = WorldSpec(tuple(HostSpec(name, memory=16 * GIB) for name in names), (PoolSpec(names),),
                     (StorageSpec("shared", "h1", default=True),), (NetworkSpec("wide", "h1", "eth1"),), guests)
    world, clock = direct_world(spec)
    return DirectClient(world, clock, "127.1.0.1").login()


class Mirror:
    """A client that knows the pool by events only."""

    def __init__(self) -> None:
        self.token, self.objects = "", dict[str, dict[str, Any]]()

    def follow(self, client: DirectClient) -> None:
        answer = client("event.from", ["*"], self.token, 0.0)
        self.token = answer["token"]
        for event in answer["events"]:
            if event["operation"] == "del":
                self.objects.pop(event["ref"], None)
            else:
                self.objects[event["ref"]] = {"class": event["class"], **event["snapshot"]}


def act(client: DirectClient, action: str, guest: int, host: int) -> None:
    vms = client("VM.get_by_name_label", f"v{guest}")
    hosts = client("host.get_all")
    vm, target = vms[0], hosts[host % len(hosts)]
    pending = [task for task in client("task.get_all") if client("task.get_status", task) == "pending"]
    calls: dict[str, tuple[Any, ...]] = {
        "migrate": ("Async.VM.pool_migrate", vm, target, {}), "start": ("Async.VM.start_on", vm, target, False, False),
        "shutdown": ("Async.VM.clean_shutdown", vm), "hard": ("Async.VM.hard_shutdown", vm),
        "suspend": ("Async.VM.suspend", vm), "resume": ("Async.VM.resume", vm, False, False),
        "cancel": ("task.cancel", *pending[:1]), "disable": ("host.disable", target), "enable": ("host.enable", target),
        "evacuate": ("Async.host.evacuate", target), "restart": ("host.restart_agent", target),
        "eject": ("Async.pool.eject", target), "reboot": ("Async.host.reboot", target),
        "clone": ("VM.clone", vm, "copy"), "rename": ("VM.set_name_description", vm, action + str(host))}
    if action in calls:
        client(*calls[action])


def check_links(world: World) -> None:
    for db in world.pools.values():
        for child, field, parent, listing in LINKS:
            for ref in db.refs(child):
                for up in (lambda value: value if isinstance(value, list) else [value])(db.get(child, ref, field)):
                    if up != NULL and db.has(parent, up):
                        assert ref in db.get(parent, up, listing)
            for ref in db.refs(parent):
                for down in db.get(parent, ref, listing):
                    value = db.get(child, down, field)
                    assert ref == value or ref in value


@settings(max_examples=50, deadline=None)
@given(st.lists(ACTION, max_size=14))
def test_events_rebuild_the_pool_and_everything_ends(actions: list[tuple[str, int, int, float]]) -> None:
    client, mirror = pool(), Mirror()
    for action, guest, host, seconds in actions:
        try:
            act(client, action, guest, host)
            client.pass_time(seconds)
            mirror.follow(client)
        except Dropped:
            client.pass_time(180)
        except Failure as failure:
            if failure.code == "SESSION_INVALID":
                client.login()
        if action == "save":
            state = json.loads(json.dumps(save_world(client.world)))
            client.world = load_world(state, client.clock)
            assert json.loads(json.dumps(save_world(client.world))) == state
    client.pass_time(1000)
    client.login()
    mirror.follow(client)
    world, db = client.world, client.db()
    check_links(world)
    for cls, rows in db.rows.items():
        if cls not in ("session", "event"):
            shown = {ref: {"class": cls.lower(), **client(f"{cls}.get_record", ref)} for ref in rows}
            assert shown == {ref: one for ref, one in mirror.objects.items() if one["class"] == cls.lower()}
    assert (world.jobs, world.held) == ({}, [])
    for cls in ("VM", "host", "pool"):
        assert [db.get(cls, ref, "current_operations") for ref in rows_of(client, cls)] == [{}] * len(db.rows[cls])
    assert db.reserved == set()
    assert {client("task.get_status", task) for task in client("task.get_all")} <= {"success", "failure", "cancelled"}
    for host in client("host.get_all"):
        used = sum(db.get("VM", vm, "memory_dynamic_min") for vm in db.get("host", host, "resident_VMs"))
        assert used <= 16 * GIB


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.lists(ACTION, max_size=14))
def test_whatever_a_swarm_does_everything_ends_when_it_is_over(seed: int, actions: list[tuple[str, int, int, float]],
                                                               ) -> None:
    client = pool()
    names = [node.name for node in client.world.nodes.values()]
    spec = WorldSpec(tuple(map(HostSpec, names)), vms=tuple(VmSpec(f"v{n}", "h1") for n in range(GUESTS)))
    client.world.put_in(*swarm(spec, seed, seconds=200))
    for action, guest, host, seconds in actions:
        with suppress(Dropped, Failure, IndexError):  # a VM or host may be gone, and nobody answers
            client.address = master_of(client.world)
            client.login()
            act(client, action, guest, host)
        client.pass_time(seconds)
        if action == "save":
            state = json.loads(json.dumps(save_world(client.world)))
            client.world = load_world(state, client.clock)
            assert json.loads(json.dumps(save_world(client.world))) == state
    client.pass_time(250)
    incidents.take_out(client.world)
    client.world.put_in(*(Incident(0, do, name) for name in names for do in ("power_on", "mend", "link")))
    client.pass_time(200)
    recover(client)
    client.pass_time(2000)
    world = client.world
    check_links(world)
    assert {node.power for node in world.nodes.values()} == {"up"}
    assert (world.jobs, world.held) == ({}, [])
    for db in world.pools.values():
        assert db.reserved == set()
        for cls in ("VM", "host", "pool"):
            assert {ref: db.get(cls, ref, "current_operations") for ref in db.refs(cls)
                    if db.get(cls, ref, "current_operations")} == {}


def recover(client: DirectClient) -> None:
    """Do what an operator has to when a change of master could not be told to all."""
    for node in list(client.world.nodes.values()):
        if node.facts.get("emergency") == ["HOST_BROKEN"]:
            client.world.put_in(Incident(0, "kill", node.name))
            client.pass_time(60)
            client.address = node.address
            client.login()
            client("pool.recover_slaves")


def master_of(world: World) -> str:
    return next(node.address for node in world.nodes.values() if node.is_master)


def rows_of(client: DirectClient, cls: str) -> list[str]:
    return client.db().refs(cls)


def test_a_guest_on_local_storage_comes_into_the_pool_with_its_disk_and_its_network() -> None:
    guest = VmSpec("mine", "h2", disks=("local",), networks=("wide",), group="pair")
    spec = WorldSpec((HostSpec("h1"), HostSpec("h2")), networks=(
        NetworkSpec("pool-wide", "h1", "eth1"), NetworkSpec("wide", "h2", "eth1")), vms=(guest,))
    world, clock = direct_world(spec)
    joiner = DirectClient(world, clock, "127.1.0.2").login()
    joiner("Async.pool.join", "127.1.0.1", "root", "secret")
    joiner.pass_time(30)
    check_links(world)
    master = DirectClient(world, clock, "127.1.0.1").login()
    record = master("VM.get_record", master("VM.get_by_name_label", "mine")[0])
    storage = master("VDI.get_SR", master("VBD.get_VDI", record["VBDs"][0]))
    assert master("SR.get_uuid", storage) == world.node_named("h2").local_sr_uuid
    assert master("network.get_name_label", master("VIF.get_network", record["VIFs"][0])) == "pool-wide"
    assert master("VM_group.get_name_label", record["groups"][0]) == "pair"
    assert list(world.pools) == [1]
