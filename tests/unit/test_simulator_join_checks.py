"""Every check of a join is met by a world that says what is wrong, and answers as xapi does."""

from pathlib import Path

import pytest
import yaml

from agent.simulator import DirectClient, WorldError, direct_world
from agent.simulator.spec import parse_spec
from agent.simulator.traits import Traits

MASTER, JOINER = "127.1.0.1", "127.1.0.2"


def joined(text: str, method: str = "Async.pool.join", password: str = "secret") -> list[str]:
    """Return the error of h2's join to h1's pool in a world that is written in one line, [] for success."""
    world, clock = direct_world(parse_spec(yaml.safe_load(text)))
    joiner = DirectClient(world, clock, JOINER).login()
    for vm in joiner("VM.get_all"):
        if joiner("VM.get_name_label", vm) == "busy":
            joiner("Async.VM.start_on", vm, joiner("host.get_all")[0], False, False)
    error: list[str] = joiner.task(joiner(method, MASTER, "root", password))["error_info"]
    names = {world.node_named("h1").uuid: "<h1>"}
    for number, db in world.pools.items():
        for ref in (*db.refs("host"), *db.refs("SM")):
            names[ref] = f"<ref in {number}>"
    return [names.get(text, text) for text in error]


def pair(joiner: str = "", master: str = "", more: str = "") -> str:
    return f"{{hosts: [{{name: h1{master}}}, {{name: h2{joiner}}}]{more}}}"


def traits(text: str) -> str:
    return f", traits: {{{text}}}"


@pytest.mark.parametrize("world, error", [
    (pair(traits("restricted: [pooling]")), ["LICENCE_RESTRICTION"]),
    (pair(master=traits("refuses_http: true")), ["JOINING_HOST_SERVICE_FAILED"]),
    (("{hosts: [{name: h1, traits: {restricted: [pool_size]}}, {name: h2}, {name: h3}, {name: h4}],"
      " pools: [{hosts: [h1, h3, h4]}]}"), ["LICENCE_RESTRICTION", "Pool_size"]),
    (pair(traits("no_management: true")), ["HOST_STILL_BOOTING"]),
    (pair(", ha: true"), ["HA_IS_ENABLED"]),
    (pair(traits("clustering: true")), ["CLUSTERING_ENABLED", "OpaqueRef:NULL"]),
    (pair(master=traits("cluster_network: two_addresses")),
     ["POOL_JOINING_HOST_MUST_HAVE_ONLY_ONE_IP_ON_CLUSTERING_NETWORK"]),
    (pair(master=traits("cluster_network: vlan")),
     ["POOL_JOINING_POOL_CANNOT_ENABLE_CLUSTERING_ON_VLAN_NETWORK", "7"]),
    (pair(master=", ha: true"), ["HA_IS_ENABLED"]),
    (pair(more=", vms: [{name: v, host: h2, state: running}]"), ["JOINING_HOST_CANNOT_HAVE_RUNNING_VMS"]),
    (pair(more=", vms: [{name: busy, host: h2}]"), ["JOINING_HOST_CANNOT_HAVE_VMS_WITH_CURRENT_OPERATIONS"]),
    (pair(traits("pending_guidances: [reboot_host]")), ["HOST_PENDING_MANDATORY_GUIDANCE_NOT_EMPTY", "<ref in 2>"]),
    (pair(master=traits("pending_guidances: [reboot_host]")),
     ["HOST_PENDING_MANDATORY_GUIDANCE_NOT_EMPTY", "<ref in 1>"]),
    (pair(", platform_version: 3.3.0"), ["HOSTS_NOT_COMPATIBLE"]),
    (pair(traits("product_brand: XCP-ng")), ["HOSTS_NOT_COMPATIBLE"]),
    (pair(", version: 24.17.0"), ["HOSTS_NOT_HOMOGENEOUS", "Software version differs"]),
    (pair(traits("git_id: abc")), ["HOSTS_NOT_HOMOGENEOUS", "Software version differs"]),
    (pair(", cpu_vendor: AuthenticAMD"), ["HOSTS_NOT_HOMOGENEOUS", "CPUs differ"]),
    (pair(", shared_sr: true"), ["JOINING_HOST_CANNOT_CONTAIN_SHARED_SRS"]),
    (pair(", bonds: true"), ["POOL_JOINING_HOST_HAS_BONDS"]),
    (pair(traits("tunnels: true")), ["POOL_JOINING_HOST_HAS_TUNNELS"]),
    (pair(traits("sriov_networks: true")), ["POOL_JOINING_HOST_HAS_NETWORK_SRIOVS"]),
    (pair(", vlans: true"), ["POOL_JOINING_HOST_HAS_NON_MANAGEMENT_VLANS"]),
    (pair(traits("management_vlan: 7")), ["POOL_JOINING_HOST_MANAGEMENT_VLAN_DOES_NOT_MATCH", "7", "-1"]),
    (pair(traits("external_auth: AD example.org")), ["POOL_JOINING_EXTERNAL_AUTH_MISMATCH"]),
    (pair(traits("edition: premium-per-socket")), ["LICENSE_HOST_POOL_MISMATCH"]),
    (pair(traits("network_backend: openvswitch")), ["OPERATION_NOT_ALLOWED", "Network backends differ"]),
    (pair(traits("sdn_controller: 10.0.0.9")), ["OPERATION_NOT_ALLOWED", "SDN controller differs"]),
    (pair(traits("api_version: '2.20'")), ["POOL_JOINING_HOST_MUST_HAVE_SAME_API_VERSION", "2.20", "2.21"]),
    (pair(traits("db_schema: '5.700'")), ["POOL_JOINING_HOST_MUST_HAVE_SAME_DB_SCHEMA", "5.700", "5.776"]),
    (pair(traits("updates: [XS82E001]")),
     ["HOSTS_NOT_HOMOGENEOUS", "Updates on local host and on the pool's coordinator differ"]),
    (pair(traits("primary_address: IPv6")), ["OPERATION_NOT_ALLOWED", "Primary address type differs"]),
    (pair(traits("network_purposes: [nbd]"), traits("network_purposes: [insecure_nbd]")),
     ["OPERATION_NOT_ALLOWED", "Incompatible network purposes"]),
    (pair(", tls_verification: true"), ["POOL_JOINING_HOST_TLS_VERIFICATION_MISMATCH"]),
    (pair(traits("ca_certificates: {root.pem: AA, other: BB}"), traits("ca_certificates: {root.pem: CC}")),
     ["POOL_JOINING_HOST_CA_CERTIFICATES_CONFLICT", "root.pem"]),
    (pair(traits("trusted_certificates: {a: AA}"), traits("trusted_certificates: {a: CC}")),
     ["POOL_JOINING_HOST_TRUSTED_CERTIFICATES_CONFLICT", "OpaqueRef:NULL", "OpaqueRef:NULL"]),
    (pair(traits("applying_updates: true")), ["NOT_SUPPORTED_DURING_UPGRADE"]),
    (pair(master=traits("applying_updates: true")), ["NOT_SUPPORTED_DURING_UPGRADE"]),
    (pair(traits("storage_drivers: [ext, iso]")), ["POOL_JOINING_SM_FEATURES_INCOMPATIBLE", "<ref in 1>", ""]),
    (pair(master=traits("secret_rotation: true")), ["POOL_SECRET_ROTATION_PENDING"]),
    (pair(master=traits("own_certificate_missing: true")),
     ["POOL_JOINING_MASTER_CERTIFICATE_NOT_IN_POOL_BUNDLE", "<h1>"]),
    (pair(), []),
])
def test_a_join_is_refused_for_the_reason_that_the_world_file_gives(world: str, error: list[str]) -> None:
    assert joined(world) == error


def test_of_several_reasons_the_first_in_xapis_order_is_given() -> None:
    everything = "tunnels: true, clustering: true, git_id: x, edition: other, applying_updates: true"
    assert joined(pair(", vlans: true, bonds: true" + traits(everything)))[0] == "CLUSTERING_ENABLED"
    assert joined(pair(", vlans: true" + traits("edition: other, applying_updates: true")))[0] == (
        "POOL_JOINING_HOST_HAS_NON_MANAGEMENT_VLANS")


def test_force_skips_only_the_comparison_of_software_and_processors() -> None:
    assert joined(pair(", cpu_vendor: AuthenticAMD" + traits("git_id: x")), "Async.pool.join_force") == []
    assert joined(pair(traits("product_brand: x")), "Async.pool.join_force") == ["HOSTS_NOT_COMPATIBLE"]


def test_traits_show_in_the_records() -> None:
    text = "git_id: abc, api_version: '2.20', external_auth: AD example.org, edition: e, restricted: [pool_size], "
    world, clock = direct_world(parse_spec(yaml.safe_load(pair(traits(text + "pending_guidances: [restart_vm]")))))
    client = DirectClient(world, clock, JOINER).login()
    host = client("host.get_all")[0]
    record = client("host.get_record", host)
    assert record["software_version"]["git_id"] == "abc"
    assert (record["API_version_major"], record["API_version_minor"], record["edition"]) == (2, 20, "e")
    assert (record["external_auth_type"], record["external_auth_service_name"]) == ("AD", "example.org")
    assert record["license_params"]["restrict_pool_size"] == "true"
    client("host.disable", host)
    task = client.task(client("Async.host.enable", host))
    assert task["error_info"] == ["HOST_PENDING_MANDATORY_GUIDANCE_NOT_EMPTY", host]


def test_an_ejected_host_keeps_the_traits_of_its_software_only() -> None:
    said = traits("product_brand: P, tunnels: true, edition: e")
    spec = parse_spec(yaml.safe_load("{hosts: [{name: h1" + traits("product_brand: P, edition: e") + "}, {name: h2"
                                     + said + "}], pools: [{hosts: [h1, h2]}]}"))
    world, clock = direct_world(spec)
    client = DirectClient(world, clock, MASTER).login()
    client("pool.eject", client("host.get_by_uuid", world.node_named("h2").uuid))
    client.pass_time(30)
    assert world.node_named("h2").facts["traits"] == {"product_brand": "P", "edition": "e"}


@pytest.mark.parametrize("said, words", [
    ("mood: bad", r"hosts\[1\].traits: unknown key 'mood'"), ("tunnels: 3", r"traits.tunnels: true or false"),
    ("restricted: [air]", r"hosts\[1\].traits.restricted: 'air'"), ("api_version: two", "two numbers like 2.21"),
    ("cluster_network: thick", "two_addresses or vlan"), ("pending_guidances: [dance]", "'dance' is not known")])
def test_wrong_traits_are_refused_with_the_place(said: str, words: str) -> None:
    with pytest.raises(WorldError, match=words):
        parse_spec(yaml.safe_load(pair(traits(said))))


def test_the_documentation_names_every_trait() -> None:
    text = (Path(__file__).parents[2] / "doc" / "simulator.md").read_text(encoding="utf-8")
    row = next(line for line in text.splitlines() if line.startswith("| traits |"))
    assert [name for name in vars(Traits()) if name not in row] == []
