"""World files: what they may say, what is refused and where, and that a saved world is the same world."""

import json
import re
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from agent.simulator import DirectClient, WorldError, direct_world, load_spec
from agent.simulator.fault_spec import KINDS
from agent.simulator.spec import (
    GIB,
    BalancerSpec,
    HostSpec,
    NetworkSpec,
    PluginSpec,
    PoolSpec,
    StorageSpec,
    VmSpec,
    default_spec,
    parse_spec,
)
from agent.simulator.state import load_world, save_world

EXAMPLE = """
hosts:
  - {name: a, memory: 128 GiB, cpus: 16}
  - {name: b, memory: 64GiB, nics: [eth0], link: 110 MB/s}
  - {name: c, tls_verification: true}
pools:
  - {name: rack, hosts: [a, b]}
storage:
  - {name: nfs, pool: a, size: 4 TiB, unreachable_from: [b], default: true}
networks:
  - {name: guests, pool: a, device: eth1}
vms:
  - {name: web, host: a, state: running, memory: 4 GiB, memory_min: 2 GiB, vcpus: 4, disks: [nfs, local],
     networks: [guests], dirty_rate: 20 MB/s, group: web, blocked_operations: {pool_migrate: "because"}}
"""


def test_a_world_file_becomes_the_world_it_describes(tmp_path: Path) -> None:
    path = tmp_path / "world.yaml"
    path.write_text(EXAMPLE, encoding="utf-8")
    world, clock = direct_world(load_spec(path))
    client = DirectClient(world, clock, "127.1.0.1").login()
    assert {client("host.get_name_label", ref) for ref in client("host.get_all")} == {"a", "b"}
    assert client("pool.get_name_label", client("pool.get_all")[0]) == "rack"
    vm = client("VM.get_by_name_label", "web")[0]
    record = client("VM.get_record", vm)
    assert (record["power_state"], record["memory_dynamic_min"], record["VCPUs_max"]) == ("Running", 2 * GIB, 4)
    assert len(record["VBDs"]) == 2
    assert client("VM_group.get_placement", record["groups"][0]) == "anti_affinity"
    assert record["blocked_operations"] == {"pool_migrate": "because"}
    other = client("host.get_by_uuid", world.node_named("b").uuid)
    attached = {client("PBD.get_currently_attached", pbd) for pbd in client("host.get_PBDs", other)}
    assert attached == {True, False}
    assert len(client("host.get_PIFs", other)) == 1
    alone = DirectClient(world, clock, "127.1.0.3").login()
    assert alone("pool.get_tls_verification_enabled", alone("pool.get_all")[0]) is True


@pytest.mark.parametrize(("text", "words"), [
    ("[]", "a world is a mapping"),
    ("{}", "hosts: at least one host"),
    ("{hosts: [{name: a}], guests: []}", "unknown key 'guests'"),
    ("{hosts: [{memory: 1}]}", r"hosts\[0\]: 'name' is missing"),
    ("{hosts: [{name: a, ram: 1}]}", r"hosts\[0\]: unknown key 'ram'"),
    ("{hosts: [{name: a, memory: lots}]}", r"hosts\[0\].memory: a whole number, or a size like `64 GiB`"),
    ("{hosts: [{name: a, memory: 99999999999 TiB}]}", r"hosts\[0\].memory: that is more than can be counted"),
    ("{hosts: [{name: a, cpus: 1000000000000}]}", r"hosts\[0\].cpus: a number from 1 to 4096"),
    ("{hosts: [{name: a, link: 0}]}", r"hosts\[0\].link: at least 1"),
    ("{hosts: [{name: a}], plugins: [{name: p, seconds: .inf}]}", r"plugins\[0\].seconds: a number is expected"),
    ("{hosts: [{name: a, address: 10.0.0.1}]}", r"hosts\[0\].address: 10.0.0.1 is not a loopback"),
    ("{hosts: [{name: a}, {name: a}]}", "hosts: 'a' stands there twice"),
    ("{hosts: [{name: a}], pools: [{hosts: [a, z]}]}", r"pools\[0\].hosts: there is no host 'z'"),
    ("{hosts: [{name: a}], vms: [{name: v, host: z}]}", r"vms\[0\].host: there is no host 'z'"),
    ("{hosts: [{name: a}], vms: [{name: v, host: a, disks: [nfs]}]}", r"vms\[0\].disks: 'nfs' is not known"),
    ("{hosts: [{name: a}], vms: [{name: v, host: a, state: paused}]}", r"vms\[0\].state: 'paused'"),
    ("{hosts: [{name: a}], vms: [{name: v, host: a, blockers: [mood]}]}", r"vms\[0\].blockers: 'mood'"),
    ("{hosts: [{name: a, count: 0}]}", r"hosts\[0\].count: a number from 1"),
    ("{hosts: [{name: a, count: 2}]}", r"hosts\[0\].name: with `count` it must contain \{n\}"),
    ("{hosts: [{name: a, memory: 1 GiB}]}", r"hosts\[0\].memory: the hypervisor"),
    ("{hosts: [{name: a, nics: [eth1]}]}", r"hosts\[0\].nics: eth0"),
    ("{hosts: [{name: a, address: 127.0.0.300}]}", "127.0.0.300 is not a loopback"),
    ("{hosts: [{name: a}], pools: [{hosts: []}]}", r"pools\[0\].hosts: a pool has at least one"),
    ("{hosts: [{name: a, memory: 8 GiB}], vms: [{name: 'v{n}', count: 9, host: a, memory: 1 GiB, state: running}]}",
     r"vms\[0\] number 6.memory: 'v6' needs 1036 MiB, and a has 953 MiB left"),
    ("{hosts: [{name: a, cpus: 2}], vms: [{name: v, host: a, vcpus: 3, state: running}]}", r"vcpus: a has 2 only"),
    ("{hosts: [{name: a}], vms: [{name: v, host: a, vcpus: 0}]}", r"vms\[0\].vcpus: more is needed"),
    (("{hosts: [{name: a}], storage: [{name: s, pool: a, unreachable_from: [a]}],"
      " vms: [{name: v, host: a, disks: [s], state: running}]}"), r"vms\[0\].disks: a does not reach 's'"),
    ("{hosts: [{name: a, ha: 3}]}", r"hosts\[0\].ha: true or false"),
    ("{hosts: [{name: a}], plugins: [{name: p, hosts: [z]}]}", r"plugins\[0\].hosts: there is no host 'z'"),
    ("{hosts: [{name: a}], plugins: [{name: p, failure: [oops]}]}", r"plugins\[0\].failure: three texts"),
    ("{hosts: [{name: a}], plugins: [{name: p, seconds: -1}]}", r"plugins\[0\].seconds: no negative"),
    ("{hosts: [", "is not YAML"),
])
def test_a_wrong_world_file_is_refused_with_the_place(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "world.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(WorldError, match=words):
        load_spec(path)


def test_a_guest_on_storage_or_a_network_of_another_pool_is_refused() -> None:
    with pytest.raises(WorldError, match=r"vms\[0\].disks: .*'nfs'"):
        parse_spec({"hosts": [{"name": "a"}, {"name": "b"}], "storage": [{"name": "nfs", "pool": "a"}],
                    "vms": [{"name": "v", "host": "b", "disks": ["nfs"]}]})


def test_the_world_in_the_documentation_is_one_and_its_table_of_keys_is_complete() -> None:
    text = (Path(__file__).parents[2] / "doc" / "simulator.md").read_text(encoding="utf-8")
    spec = parse_spec(yaml.safe_load(text.split("```yaml")[1].split("```")[0]))
    world, _clock = direct_world(spec)
    assert [node.is_master for node in world.nodes.values()] == [True, False, True]
    assert {"job-1", "job-2"} <= {vm.name for vm in spec.vms}
    for kind, part in ((HostSpec, "hosts"), (PoolSpec, "pools"), (StorageSpec, "storage"), (NetworkSpec, "networks"),
                       (VmSpec, "vms"), (PluginSpec, "plugins"), (BalancerSpec, "balancing")):
        row = next(line for line in text.splitlines() if line.startswith(f"| {part} |"))
        assert [one.name for one in fields(kind) if not re.search(rf"\b{one.name}\b", row)] == []


def test_the_faults_in_the_documentation_are_faults_and_their_table_of_keys_is_complete() -> None:
    text = (Path(__file__).parents[2] / "doc" / "simulator.md").read_text(encoding="utf-8")
    world, faults = (yaml.safe_load(block.split("```")[0]) for block in text.split("```yaml")[1:3])
    assert len(parse_spec(world | faults).faults) == len(faults["faults"])
    for key, kind in KINDS.items():
        row = [line for line in text.splitlines() if line.startswith(f"| {key} |")][-1]
        assert [one.name for one in fields(kind) if not re.search(rf"\b{one.name}\b", row)] == []


WORLDS = sorted((Path(__file__).parents[2] / "etc" / "worlds").glob("*.yaml"))


@pytest.mark.parametrize("path", WORLDS, ids=lambda path: path.stem)
def test_a_ready_world_is_one_pool_at_rest(path: Path) -> None:
    world, clock = direct_world(load_spec(path))
    client = DirectClient(world, clock, "127.1.0.1").login()
    assert {record["live"] for record in client("host_metrics.get_all_records").values()} == {True}
    assert client("SR.get_shared", client("pool.get_default_SR", client("pool.get_all")[0])) is True
    assert all(client("host.compute_free_memory", host) > GIB for host in client("host.get_all"))


@pytest.mark.parametrize("name, fixed", [
    ("four-hosts", {}), ("home-lab", {"nuc1": {"VM_HAS_PCI_ATTACHED"}, "nuc2": {
        "VM_REQUIRES_SR", "VM_LACKS_FEATURE", "VM_REQUIRES_NETWORK"}}),
    ("sixteen-tight", {
        "h10": {"VM_HAS_PCI_ATTACHED"}, "h11": {"VM_HAS_VGPU"}, "h12": {"VM_REQUIRES_SR"}, "h13": {"OPERATION_BLOCKED"},
        "h14": {"VM_LACKS_FEATURE"}, "h15": {"VM_IS_IMMOBILE"},
        "h16": {"HOST_NOT_ENOUGH_FREE_MEMORY"}})])
def test_the_hosts_of_a_ready_world_can_be_emptied_except_where_it_says_so(name: str,
                                                                           fixed: dict[str, set[str]]) -> None:
    world, clock = direct_world(load_spec(next(path for path in WORLDS if path.stem == name)))
    client = DirectClient(world, clock, "127.1.0.1").login()
    reasons = {client("host.get_name_label", host): {
        why[0] for why in client("host.get_vms_which_prevent_evacuation", host).values()}
        for host in client("host.get_all")}
    assert {host: why for host, why in reasons.items() if why} == fixed


def test_a_missing_world_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(WorldError, match=r"cannot read .*No such file"):
        load_spec(tmp_path / "none.yaml")


def test_the_same_seed_gives_the_same_world_and_another_seed_another() -> None:
    def state(seed: int) -> str:
        return json.dumps(save_world(direct_world(default_spec(3, 6, seed), seed=seed)[0]))

    assert state(1) == state(1)
    assert state(1) != state(2)


def test_a_world_saved_in_the_middle_of_a_join_goes_on_with_it() -> None:
    for seconds in (0.2, 1.0, 1.7, 10.0, 15.0, 20.75):
        world, clock = direct_world(default_spec(hosts=2, vms=1))
        client = DirectClient(world, clock, "127.1.0.2").login()
        client("Async.pool.join", "127.1.0.1", "root", "secret")
        client.pass_time(seconds)
        loaded = load_world(json.loads(json.dumps(save_world(world))), clock)
        master = DirectClient(loaded, clock, "127.1.0.1").login()
        master.pass_time(30)
        assert [master("host.get_enabled", host) for host in master("host.get_all")] == [True, True]


def test_a_world_of_an_unknown_format_is_refused() -> None:
    world, clock = direct_world(default_spec(hosts=1, vms=0))
    with pytest.raises(WorldError, match="format 99"):
        load_world({**save_world(world), "format": 99}, clock)
