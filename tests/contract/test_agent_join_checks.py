"""What the agent reads of a joiner and a pool before a join, beside what xapi answers to the join itself."""

import json

import pytest
import yaml
from agent_desk import addresses, calls, hypervisor, simulated
from agent_office import office

from agent.driver import Joinable
from agent.simulator import DirectClient, Simulator, direct_world
from agent.simulator.spec import parse_spec

SPEED = 120.0


def pair(joiner: str = "", master: str = "", more: str = "", others: str = "") -> str:
    return f"{{hosts: [{{name: h1{master}}}, {{name: h2{joiner}}}{others}]{more}}}"


def traits(text: str) -> str:
    return f", traits: {{{text}}}"


#: name of the check -> a world in which it alone refuses, and xapi's code for it
READABLE = {
    "0-licence": (pair(traits("restricted: [pooling]")), "LICENCE_RESTRICTION"),
    "1-pool-size": (pair("", traits("restricted: [pool_size]"),
                         ", pools: [{hosts: [h1, h3, h4]}]", ", {name: h3}, {name: h4}"), "LICENCE_RESTRICTION"),
    "2-management-interface": (pair(traits("no_management: true")), "HOST_STILL_BOOTING"),
    "3-ha-of-the-joiner": (pair(", ha: true"), "HA_IS_ENABLED"),
    "6-ha-of-the-pool": (pair(master=", ha: true"), "HA_IS_ENABLED"),
    "8-other-members": ("{hosts: [{name: h1}, {name: h2}, {name: h3}], pools: [{hosts: [h2, h3]}]}",
                        "JOINING_HOST_CANNOT_BE_MASTER_OF_OTHER_HOSTS"),
    "9-running-vms": (pair(more=", vms: [{name: v, host: h2, state: running}]"),
                      "JOINING_HOST_CANNOT_HAVE_RUNNING_VMS"),
    "11-guidances-of-the-joiner": (pair(traits("pending_guidances: [reboot_host]")),
                                   "HOST_PENDING_MANDATORY_GUIDANCE_NOT_EMPTY"),
    "11-guidances-of-the-master": (pair(master=traits("pending_guidances: [restart_toolstack]")),
                                   "HOST_PENDING_MANDATORY_GUIDANCE_NOT_EMPTY"),
    "12-platform": (pair(", platform_version: 3.3.0"), "HOSTS_NOT_COMPATIBLE"),
    "12-brand": (pair(traits("product_brand: XCP-ng")), "HOSTS_NOT_COMPATIBLE"),
    "13-version": (pair(", version: 24.17.0"), "HOSTS_NOT_HOMOGENEOUS"),
    "13-build": (pair(traits("git_id: abc")), "HOSTS_NOT_HOMOGENEOUS"),
    "13-processors": (pair(", cpu_vendor: AuthenticAMD"), "HOSTS_NOT_HOMOGENEOUS"),
    "14-shared-storage": (pair(", shared_sr: true"), "JOINING_HOST_CANNOT_CONTAIN_SHARED_SRS"),
    "15-bonds": (pair(", bonds: true"), "POOL_JOINING_HOST_HAS_BONDS"),
    "16-tunnels": (pair(traits("tunnels: true")), "POOL_JOINING_HOST_HAS_TUNNELS"),
    "17-sriov": (pair(traits("sriov_networks: true")), "POOL_JOINING_HOST_HAS_NETWORK_SRIOVS"),
    "18-vlans": (pair(", vlans: true"), "POOL_JOINING_HOST_HAS_NON_MANAGEMENT_VLANS"),
    "19-management-vlan": (pair(traits("management_vlan: 0")), "POOL_JOINING_HOST_MANAGEMENT_VLAN_DOES_NOT_MATCH"),
    "20-authentication": (pair(traits("external_auth: AD example.org")), "POOL_JOINING_EXTERNAL_AUTH_MISMATCH"),
    "21-edition": (pair(traits("edition: premium-per-socket")), "LICENSE_HOST_POOL_MISMATCH"),
    "22-network-backend": (pair(traits("network_backend: openvswitch")), "OPERATION_NOT_ALLOWED"),
    "22-sdn-controller": (pair(traits("sdn_controller: 10.0.0.9")), "OPERATION_NOT_ALLOWED"),
    "23-api-version": (pair(traits("api_version: '2.20'")), "POOL_JOINING_HOST_MUST_HAVE_SAME_API_VERSION"),
    "24-db-schema": (pair(traits("db_schema: '5.700'")), "POOL_JOINING_HOST_MUST_HAVE_SAME_DB_SCHEMA"),
    "26-address-type": (pair(traits("primary_address: IPv6")), "OPERATION_NOT_ALLOWED"),
    "27-network-purposes": (pair(traits("network_purposes: [nbd]"), traits("network_purposes: [insecure_nbd]")),
                            "OPERATION_NOT_ALLOWED"),
    "28-tls": (pair(", tls_verification: true"), "POOL_JOINING_HOST_TLS_VERIFICATION_MISMATCH"),
    "29-ca-certificates": (pair(traits("ca_certificates: {root.pem: AA, other: BB}"),
                                traits("ca_certificates: {root.pem: CC}")),
                           "POOL_JOINING_HOST_CA_CERTIFICATES_CONFLICT"),
    "30-trusted-certificates": (pair(traits("trusted_certificates: {a: AA}"), traits("trusted_certificates: {a: CC}")),
                                "POOL_JOINING_HOST_TRUSTED_CERTIFICATES_CONFLICT"),
    "31-updates-of-the-joiner": (pair(traits("applying_updates: true")), "NOT_SUPPORTED_DURING_UPGRADE"),
    "32-updates-of-the-pool": (pair(master=traits("applying_updates: true")), "NOT_SUPPORTED_DURING_UPGRADE"),
    "33-storage-drivers": (pair(traits("storage_drivers: [ext, iso]")), "POOL_JOINING_SM_FEATURES_INCOMPATIBLE"),
    "the-pools-secret": (pair(master=traits("secret_rotation: true")), "POOL_SECRET_ROTATION_PENDING"),
}
#: no record shows it; xapi refuses the join itself, before anything is begun
UNREADABLE = {
    "4-clustering": (pair(traits("clustering: true")), "CLUSTERING_ENABLED"),
    "5-cluster-network": (pair(master=traits("cluster_network: two_addresses")),
                          "POOL_JOINING_HOST_MUST_HAVE_ONLY_ONE_IP_ON_CLUSTERING_NETWORK"),
    "25-updates": (pair(traits("updates: [XS82E001]")), "HOSTS_NOT_HOMOGENEOUS"),
    "the-masters-certificate": (pair(master=traits("own_certificate_missing: true")),
                                "POOL_JOINING_MASTER_CERTIFICATE_NOT_IN_POOL_BUNDLE"),
}
EVERYTHING = pair(
    ", bonds: true, vlans: true, shared_sr: true, ha: true, cpu_vendor: AuthenticAMD"
    + traits("restricted: [pooling], pending_guidances: [reboot_host], git_id: x, tunnels: true, sriov_networks: true,"
             " management_vlan: 7, external_auth: AD example.org, edition: e, network_backend: openvswitch,"
             " api_version: '2.20', db_schema: '5.7', primary_address: IPv6, applying_updates: true,"
             " storage_drivers: [ext]"),
    traits("secret_rotation: true"), ", vms: [{name: v, host: h2, state: running}]")


def read(simulator: Simulator) -> Joinable:
    """Return what the agent of h2 reads of its host's fitness to join h1's pool."""
    alone = hypervisor(simulator, "h2").open()
    pool = hypervisor(simulator, "h2").open_pool(addresses(simulator)["h1"])
    try:
        return alone.joinable(pool)
    finally:
        alone.close()
        pool.close()


def answered(world: str) -> str:
    """Return the code with which xapi refuses the same join."""
    made, clock = direct_world(parse_spec(yaml.safe_load(world)))
    joiner = DirectClient(made, clock, made.node_named("h2").address).login()
    task = joiner.task(joiner("Async.pool.join", made.node_named("h1").address, "root", "secret"))
    return str(task["error_info"][0])


@pytest.mark.parametrize("world, code", READABLE.values(), ids=READABLE)
def test_the_agent_reads_beforehand_what_xapi_would_answer(world: str, code: str) -> None:
    assert answered(world) == code
    with simulated(parse_spec(yaml.safe_load(world)), SPEED) as simulator:
        found = read(simulator)
        assert [one for one, _ in found.objections] == [code]
        assert not found.needs_tls and calls(simulator, "Async.pool.join") == 0


@pytest.mark.parametrize("world, code", UNREADABLE.values(), ids=UNREADABLE)
def test_what_no_record_shows_is_refused_by_xapi_before_anything_is_begun(world: str, code: str) -> None:
    assert answered(world) == code
    with simulated(parse_spec(yaml.safe_load(world)), SPEED) as simulator, office(simulator) as at:
        assert read(simulator).objections == []
        at.agent("h2")
        here = at.seen("h2", lambda sync: sync.role == "standalone")
        order = at.desk.order("pool_join", "h2", str(here.host_uuid),
                              {"master_uuid": "?", "master_address": addresses(simulator)["h1"]})
        report = at.desk.settled(at.ring(order))
        assert report.error is not None and report.error["code"] == code
        assert report.readings["joiner"] == "standalone" and report.readings["on_master"] is False


def test_two_fresh_hosts_have_nothing_against_each_other() -> None:
    with simulated(parse_spec(yaml.safe_load(pair())), SPEED) as simulator:
        assert read(simulator).objections == []


def test_everything_that_is_wrong_is_told_at_once_before_anything_is_touched() -> None:
    with simulated(parse_spec(yaml.safe_load(EVERYTHING)), SPEED) as simulator, office(simulator) as at:
        at.agent("h2")
        here = at.seen("h2", lambda sync: sync.role == "standalone")
        order = at.desk.order("pool_join", "h2", str(here.host_uuid),
                              {"master_uuid": "?", "master_address": addresses(simulator)["h1"]})
        report = at.desk.settled(at.ring(order))
        assert report.error is not None and report.error["code"] == "JOIN_CHECKS_FAILED"
        assert len(report.error["params"]) == 21 and len(set(report.error["params"])) == 19
        assert [one["code"] for one in report.error["details"]] == report.error["params"]
        assert all(one["message"] in report.error["message"] for one in report.error["details"])
        json.dumps(report.to_wire())
        assert calls(simulator, "Async.pool.join") == calls(simulator, "task.create") == 0
