"""The checks of pool.join that can be read beforehand, all at once, about in xapi's order.

xapi names only the first objection, after a login and some seconds; here every
readable one is found before anything is touched (XENAPI §9.1).  Codes are xapi's.
Left to xapi is what the records don't show: clusters, updates of the old kind, whether
the master's own certificate is in its pool's bundle.
"""

from collections.abc import Callable

from agent.driver import Joinable
from agent.xenapi import joining_network, joining_software
from agent.xenapi.link import Link
from agent.xenapi.sides import Objection, Side, listing

SMALL_POOL = 3  # hosts, where the licence restricts the size of pools


def joinable(joiner_link: Link, pool_link: Link) -> Joinable:
    """Return every readable objection to the joiner's joining, and whether it needs TLS turned on."""
    joiner, pool = Side(joiner_link), Side(pool_link)
    objections = [objection for check in CHECKS for objection in check(joiner, pool)]
    verifies, verified = (bool(side.pool.get("tls_verification_enabled", False)) for side in (pool, joiner))
    return Joinable(objections, needs_tls=verifies and not verified)


def _licence(joiner: Side, pool: Side) -> list[Objection]:
    found: list[Objection] = []
    if joiner.forbids("pooling"):
        found.append(("LICENCE_RESTRICTION", "its licence does not allow it to be in a pool"))
    if pool.forbids("pool_size") and len(pool.hosts) >= SMALL_POOL:
        found.append(("LICENCE_RESTRICTION", f"the pool's licence allows no more than {SMALL_POOL} hosts"))
    return found


def _management(joiner: Side, pool: Side) -> list[Objection]:
    return [] if joiner.management() else [("HOST_STILL_BOOTING", "it has no management interface (yet)")]


def _ha(joiner: Side, pool: Side) -> list[Objection]:
    return [
        ("HA_IS_ENABLED", f"high availability is enabled on {who}")
        for who, side in (("it", joiner), ("the pool", pool))
        if side.pool.get("ha_enabled", False)
    ]


def _members(joiner: Side, pool: Side) -> list[Objection]:
    if joiner.pool["uuid"] == pool.pool["uuid"]:
        return [("OPERATION_NOT_ALLOWED", "it is in this pool already")]
    if len(joiner.hosts) > 1:
        return [
            (
                "JOINING_HOST_CANNOT_BE_MASTER_OF_OTHER_HOSTS",
                f"it is the master of {len(joiner.hosts) - 1} other hosts",
            )
        ]
    return []


def _vms(joiner: Side, pool: Side) -> list[Objection]:
    guests = [vm for vm in joiner.records("VM") if not vm["is_control_domain"] and not vm["is_a_template"]]
    running = [vm["name_label"] for vm in guests if vm["power_state"] in ("Running", "Paused")]
    busy = [vm["name_label"] for vm in guests if vm["current_operations"]]
    found: list[Objection] = []
    if running:
        found.append(("JOINING_HOST_CANNOT_HAVE_RUNNING_VMS", f"VMs run on it: {listing(running)}"))
    if busy:
        found.append(
            (
                "JOINING_HOST_CANNOT_HAVE_VMS_WITH_CURRENT_OPERATIONS",
                f"operations run on its VMs: {listing(busy)}",
            )
        )
    return found


def _storage(joiner: Side, pool: Side) -> list[Objection]:
    shared = [sr["name_label"] for sr in joiner.records("SR") if sr["shared"] and not _is_tools(sr)]
    return (
        [("JOINING_HOST_CANNOT_CONTAIN_SHARED_SRS", f"it has shared storage: {listing(shared)}")]
        if shared
        else []
    )


def _is_tools(sr: dict[str, object]) -> bool:
    other = sr.get("other_config", {})
    return bool(sr.get("is_tools_sr", False)) or (isinstance(other, dict) and "xenserver_tools_sr" in other)


CHECKS: tuple[Callable[[Side, Side], list[Objection]], ...] = (
    _licence,
    _management,
    _ha,
    _members,
    _vms,
    *joining_software.SAME,
    _storage,
    *joining_network.CHECKS,
    *joining_software.CHECKS,
)
