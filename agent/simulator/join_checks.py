"""xapi's checks before a join, in its order, each with its code: 33 of them, and two of the target pool's own.

The numbers are those of the list in xapi's source. Each check looks at the joiner's and the master's
databases and traits; none changes anything.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.simulator.database import Database
from agent.simulator.failure import Failure
from agent.simulator.node import Node
from agent.simulator.traits import Traits, traits_of

if TYPE_CHECKING:
    from agent.simulator.world import World

SMALL_POOL = 3  # hosts, without the licence feature Pool_size
Reason = tuple[str, ...]


@dataclass(frozen=True)
class Pair:
    """Both ends of a join."""

    node: Node
    master: Node
    mine: Database
    theirs: Database
    me: Traits
    pool: Traits
    forced: bool


def assert_may_join(world: "World", node: Node, master: Node, *, forced: bool) -> None:
    """Raise the first reason why this machine may not join that pool."""
    pair = Pair(node, master, world.pools[node.pool], world.pools[master.pool], traits_of(node), traits_of(master),
                forced)
    for group in (_licence, _availability, _membership, _guests, _software, _networks, _identity, _versions,
                  _certificates, _busy):
        for wrong, reason in group(pair):
            if wrong:
                raise Failure(*reason)


def _licence(pair: Pair) -> Iterator[tuple[bool, Reason]]:
    yield "pooling" in pair.me.restricted, ("LICENCE_RESTRICTION",)  # 0
    full = len(pair.theirs.refs("host")) >= SMALL_POOL
    yield full and "pool_size" in pair.pool.restricted, ("LICENCE_RESTRICTION", "Pool_size")  # 1


def _availability(pair: Pair) -> Iterator[tuple[bool, Reason]]:
    yield pair.node.joining, ("OPERATION_NOT_ALLOWED", "Host is already part of a pool")
    yield pair.me.no_management, ("HOST_STILL_BOOTING",)  # 2
    yield bool(pair.node.facts.get("ha")), ("HA_IS_ENABLED",)  # 3
    yield pair.me.clustering, ("CLUSTERING_ENABLED", "OpaqueRef:NULL")  # 4
    yield pair.pool.cluster_network == "two_addresses", (
        "POOL_JOINING_HOST_MUST_HAVE_ONLY_ONE_IP_ON_CLUSTERING_NETWORK",)  # 5
    yield pair.pool.cluster_network == "vlan", (
        "POOL_JOINING_POOL_CANNOT_ENABLE_CLUSTERING_ON_VLAN_NETWORK", "7")
    yield any(pair.theirs.get("pool", ref, "ha_enabled") for ref in pair.theirs.refs("pool")), ("HA_IS_ENABLED",)  # 6


def _membership(pair: Pair) -> Iterator[tuple[bool, Reason]]:
    yield pair.master is pair.node, ("OPERATION_NOT_ALLOWED", "Host cannot become slave of itself")  # 7
    yield pair.theirs.by_uuid("host", pair.node.uuid) is not None, (
        "OPERATION_NOT_ALLOWED", "Host is already part of a pool")
    yield len(pair.mine.refs("host")) > 1, ("JOINING_HOST_CANNOT_BE_MASTER_OF_OTHER_HOSTS",)  # 8


def _guests(pair: Pair) -> Iterator[tuple[bool, Reason]]:
    db = pair.mine
    guests = [vm for vm in db.refs("VM") if not db.get("VM", vm, "is_control_domain")]
    yield any(db.get("VM", vm, "power_state") in ("Running", "Paused") for vm in guests), (
        "JOINING_HOST_CANNOT_HAVE_RUNNING_VMS",)  # 9
    yield any(db.get("VM", vm, "current_operations") for vm in guests), (
        "JOINING_HOST_CANNOT_HAVE_VMS_WITH_CURRENT_OPERATIONS",)  # 10


def _software(pair: Pair) -> Iterator[tuple[bool, Reason]]:
    for db, node, traits in ((pair.mine, pair.node, pair.me), (pair.theirs, pair.master, pair.pool)):  # 11
        yield bool(traits.pending_guidances), (
            "HOST_PENDING_MANDATORY_GUIDANCE_NOT_EMPTY", db.by_uuid("host", node.uuid) or "")
    yield (pair.node.platform_version, pair.me.product_brand) != (
        pair.master.platform_version, pair.pool.product_brand), ("HOSTS_NOT_COMPATIBLE",)  # 12
    if pair.forced:
        return
    yield (pair.node.version, pair.me.git_id) != (pair.master.version, pair.pool.git_id), (
        "HOSTS_NOT_HOMOGENEOUS", "Software version differs")  # 13
    yield pair.node.cpu_vendor != pair.master.cpu_vendor, ("HOSTS_NOT_HOMOGENEOUS", "CPUs differ")


def _networks(pair: Pair) -> Iterator[tuple[bool, Reason]]:
    yield any(pair.mine.get("SR", one, "shared") for one in pair.mine.refs("SR")), (
        "JOINING_HOST_CANNOT_CONTAIN_SHARED_SRS",)  # 14
    yield bool(pair.mine.rows["Bond"]), ("POOL_JOINING_HOST_HAS_BONDS",)  # 15
    yield pair.me.tunnels, ("POOL_JOINING_HOST_HAS_TUNNELS",)  # 16
    yield pair.me.sriov_networks, ("POOL_JOINING_HOST_HAS_NETWORK_SRIOVS",)  # 17
    yield bool(pair.mine.rows["VLAN"]), ("POOL_JOINING_HOST_HAS_NON_MANAGEMENT_VLANS",)  # 18
    yield pair.me.management_vlan != pair.pool.management_vlan, (
        "POOL_JOINING_HOST_MANAGEMENT_VLAN_DOES_NOT_MATCH", str(pair.me.management_vlan),
        str(pair.pool.management_vlan))  # 19


def _identity(pair: Pair) -> Iterator[tuple[bool, Reason]]:
    me, pool = pair.me, pair.pool
    yield me.external_auth != pool.external_auth, ("POOL_JOINING_EXTERNAL_AUTH_MISMATCH",)  # 20
    yield me.licence_daemon_fails, ("V6D_FAILURE",)  # 21
    yield me.edition != pool.edition, ("LICENSE_HOST_POOL_MISMATCH",)
    yield me.network_backend != pool.network_backend, ("OPERATION_NOT_ALLOWED", "Network backends differ")  # 22
    yield me.sdn_controller != pool.sdn_controller, ("OPERATION_NOT_ALLOWED", "SDN controller differs")


def _versions(pair: Pair) -> Iterator[tuple[bool, Reason]]:
    me, pool = pair.me, pair.pool
    yield me.api_version != pool.api_version, (
        "POOL_JOINING_HOST_MUST_HAVE_SAME_API_VERSION", me.api_version, pool.api_version)  # 23
    yield me.db_schema != pool.db_schema, (
        "POOL_JOINING_HOST_MUST_HAVE_SAME_DB_SCHEMA", me.db_schema, pool.db_schema)  # 24
    yield set(me.updates) != set(pool.updates), (
        "HOSTS_NOT_HOMOGENEOUS", "Updates on local host and on the pool's coordinator differ")  # 25
    yield me.primary_address != pool.primary_address, ("OPERATION_NOT_ALLOWED", "Primary address type differs")  # 26
    both = {*me.network_purposes, *pool.network_purposes}
    yield both == {"nbd", "insecure_nbd"}, (
        "OPERATION_NOT_ALLOWED", "Incompatible network purposes")  # 27


def _certificates(pair: Pair) -> Iterator[tuple[bool, Reason]]:
    yield pair.node.tls_verification != pair.master.tls_verification, (
        "POOL_JOINING_HOST_TLS_VERIFICATION_MISMATCH",)  # 28
    clash = _conflicts(pair.me.ca_certificates, pair.pool.ca_certificates)
    yield bool(clash), ("POOL_JOINING_HOST_CA_CERTIFICATES_CONFLICT", *clash)  # 29
    clash = _conflicts(pair.me.trusted_certificates, pair.pool.trusted_certificates)
    yield bool(clash), ("POOL_JOINING_HOST_TRUSTED_CERTIFICATES_CONFLICT", "OpaqueRef:NULL", "OpaqueRef:NULL")  # 30


def _conflicts(mine: dict[str, str], theirs: dict[str, str]) -> list[str]:
    return sorted(name for name in mine.keys() & theirs.keys() if mine[name] != theirs[name])


def _busy(pair: Pair) -> Iterator[tuple[bool, Reason]]:
    yield pair.me.applying_updates, ("NOT_SUPPORTED_DURING_UPGRADE",)  # 31
    yield pair.pool.applying_updates, ("NOT_SUPPORTED_DURING_UPGRADE",)  # 32
    for driver in pair.pool.storage_drivers:  # 33
        yield driver not in pair.me.storage_drivers, (
            "POOL_JOINING_SM_FEATURES_INCOMPATIBLE", _driver(pair.theirs, driver), "")
    yield pair.pool.secret_rotation, ("POOL_SECRET_ROTATION_PENDING",)
    yield pair.pool.own_certificate_missing, (
        "POOL_JOINING_MASTER_CERTIFICATE_NOT_IN_POOL_BUNDLE", pair.master.uuid)


def _driver(db: Database, kind: str) -> str:
    return next((ref for ref in db.refs("SM") if db.get("SM", ref, "type") == kind), "")

