"""The checks of pool.join that can be read beforehand, all at once.

xapi names only the first objection, after a login and some seconds; here every
readable one is found before anything is touched (XENAPI §9.1).  Codes are xapi's.
"""

from collections.abc import Callable

from agent.driver import Joinable
from agent.xenapi.calls import Record
from agent.xenapi.link import Link
from common import errors

Objection = tuple[str, str]


class Side:
    """One side of a join, as far as the checks need it."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self.pool: Record = next(iter(link.read("pool.get_all_records").values()))
        self.hosts: dict[str, Record] = link.read("host.get_all_records")
        if self.pool["master"] not in self.hosts:
            raise errors.Unavailable("The pool's master is changing", code="master_changing")
        self.master: Record = self.hosts[self.pool["master"]]

    def records(self, class_: str) -> list[Record]:
        """Return all records of a class."""
        return list(self._link.read(f"{class_}.get_all_records").values())


def joinable(joiner_link: Link, pool_link: Link) -> Joinable:
    """Return every readable objection to the joiner's joining, and whether it needs TLS turned on."""
    joiner, pool = Side(joiner_link), Side(pool_link)
    objections = [objection for check in CHECKS for objection in check(joiner, pool)]
    verifies, verified = (bool(side.pool.get("tls_verification_enabled", False)) for side in (pool, joiner))
    if verified and not verifies:
        objections.append(
            (
                "POOL_JOINING_HOST_TLS_VERIFICATION_MISMATCH",
                "it verifies TLS certificates and the pool does not",
            )
        )
    return Joinable(objections, needs_tls=verifies and not verified)


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


def _ha(joiner: Side, pool: Side) -> list[Objection]:
    return [
        ("HA_IS_ENABLED", f"high availability is enabled on {who}")
        for who, side in (("it", joiner), ("the pool", pool))
        if side.pool.get("ha_enabled", False)
    ]


def _vms(joiner: Side, pool: Side) -> list[Objection]:
    guests = [vm for vm in joiner.records("VM") if not vm["is_control_domain"] and not vm["is_a_template"]]
    running = [vm["name_label"] for vm in guests if vm["power_state"] in ("Running", "Paused")]
    busy = [vm["name_label"] for vm in guests if vm["current_operations"]]
    found: list[Objection] = []
    if running:
        found.append(("JOINING_HOST_CANNOT_HAVE_RUNNING_VMS", f"VMs run on it: {_names(running)}"))
    if busy:
        found.append(
            (
                "JOINING_HOST_CANNOT_HAVE_VMS_WITH_CURRENT_OPERATIONS",
                f"operations run on its VMs: {_names(busy)}",
            )
        )
    return found


def _storage(joiner: Side, pool: Side) -> list[Objection]:
    shared = [sr["name_label"] for sr in joiner.records("SR") if sr["shared"] and not _is_tools(sr)]
    return (
        [("JOINING_HOST_CANNOT_CONTAIN_SHARED_SRS", f"it has shared storage: {_names(shared)}")]
        if shared
        else []
    )


def _is_tools(sr: Record) -> bool:
    return bool(sr.get("is_tools_sr", False)) or "xenserver_tools_sr" in sr.get("other_config", {})


def _version(joiner: Side, pool: Side) -> list[Objection]:
    mine, theirs = joiner.master["software_version"], pool.master["software_version"]
    if any(mine.get(key) != theirs.get(key) for key in ("platform_version", "product_brand")):
        return [("HOSTS_NOT_COMPATIBLE", f"it has {_version_of(mine)}, the pool has {_version_of(theirs)}")]
    if mine.get("build_number") != theirs.get("build_number") or mine.get("xapi_build") != theirs.get(
        "xapi_build"
    ):
        return [("HOSTS_NOT_HOMOGENEOUS", "its build of the toolstack differs from the pool's")]
    return []


def _cpu(joiner: Side, pool: Side) -> list[Objection]:
    mine, theirs = (side.master.get("cpu_info", {}).get("vendor", "") for side in (joiner, pool))
    if mine and theirs and mine != theirs:
        return [("HOSTS_NOT_HOMOGENEOUS", f"its CPUs are from {mine}, the pool's from {theirs}")]
    return []


def _authentication(joiner: Side, pool: Side) -> list[Objection]:
    keys = ("external_auth_type", "external_auth_service_name")
    if any(joiner.master.get(key, "") != pool.master.get(key, "") for key in keys):
        return [
            ("POOL_JOINING_EXTERNAL_AUTH_MISMATCH", "its external authentication differs from the pool's")
        ]
    return []


def _version_of(version: Record) -> str:
    return (
        f"{version.get('product_brand', '?')} {version.get('product_version', '?')} "
        f"(platform {version.get('platform_version', '?')})"
    )


def _names(names: list[str]) -> str:
    return ", ".join(sorted(names)[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


CHECKS: tuple[Callable[[Side, Side], list[Objection]], ...] = (
    _members,
    _ha,
    _vms,
    _storage,
    _version,
    _cpu,
    _authentication,
)
