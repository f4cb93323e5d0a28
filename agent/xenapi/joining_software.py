"""What the software, licences and certificates of two hosts say against their being in one pool."""

from collections.abc import Callable

from agent.xenapi.calls import Record
from agent.xenapi.sides import Objection, Side, listing

#: what must be the same in host.software_version of two homogeneous hosts
BUILD = ("xapi", "xapi_build", "git_id", "package-linux")


def _guidances(joiner: Side, pool: Side) -> list[Objection]:
    return [("HOST_PENDING_MANDATORY_GUIDANCE_NOT_EMPTY",
             f"{who} has to {listing([str(one).replace('_', ' ') for one in side.master['pending_guidances']])} first")
            for who, side in (("it", joiner), ("the pool's master", pool)) if side.master.get("pending_guidances")]


def _version(joiner: Side, pool: Side) -> list[Objection]:
    if any(joiner.software(key) != pool.software(key) for key in ("platform_version", "product_brand")):
        return [("HOSTS_NOT_COMPATIBLE", f"it has {_version_of(joiner)}, the pool has {_version_of(pool)}")]
    differ = [key for key in BUILD if joiner.software(key) != pool.software(key)]
    return [("HOSTS_NOT_HOMOGENEOUS", f"its software differs from the pool's: {listing(differ)}")] if differ else []


def _version_of(side: Side) -> str:
    return (f"{side.software('product_brand') or '?'} {side.software('product_version') or '?'} "
            f"(platform {side.software('platform_version') or '?'})")


def _cpu(joiner: Side, pool: Side) -> list[Objection]:
    mine, theirs = (side.master.get("cpu_info", {}).get("vendor", "") for side in (joiner, pool))
    if mine and theirs and mine != theirs:
        return [("HOSTS_NOT_HOMOGENEOUS", f"its CPUs are from {mine}, the pool's from {theirs}")]
    return []


def _authentication(joiner: Side, pool: Side) -> list[Objection]:
    keys = ("external_auth_type", "external_auth_service_name")
    if any(joiner.master.get(key, "") != pool.master.get(key, "") for key in keys):
        return [("POOL_JOINING_EXTERNAL_AUTH_MISMATCH", "its external authentication differs from the pool's")]
    return []


def _edition(joiner: Side, pool: Side) -> list[Objection]:
    mine, theirs = joiner.master.get("edition", ""), pool.master.get("edition", "")
    return [] if mine == theirs else [("LICENSE_HOST_POOL_MISMATCH", f"its edition is {mine}, the pool's {theirs}")]


def _network_stack(joiner: Side, pool: Side) -> list[Objection]:
    found: list[Objection] = []
    mine, theirs = joiner.software("network_backend"), pool.software("network_backend")
    if mine != theirs:
        found.append(("OPERATION_NOT_ALLOWED", f"its network backend is {mine}, the pool's {theirs}"))
    if joiner.pool.get("vswitch_controller", "") != pool.pool.get("vswitch_controller", ""):
        found.append(("OPERATION_NOT_ALLOWED", "its SDN controller differs from the pool's"))
    return found


def _interfaces(joiner: Side, pool: Side) -> list[Objection]:
    found: list[Objection] = []
    mine, theirs = (f"{side.master['API_version_major']}.{side.master['API_version_minor']}" for side in (joiner, pool))
    if mine != theirs:
        found.append(("POOL_JOINING_HOST_MUST_HAVE_SAME_API_VERSION", f"its API is {mine}, the pool's {theirs}"))
    mine, theirs = joiner.software("db_schema"), pool.software("db_schema")
    if mine != theirs:
        found.append(("POOL_JOINING_HOST_MUST_HAVE_SAME_DB_SCHEMA",
                      f"its database is of schema {mine}, the pool's of {theirs}"))
    return found


def _tls(joiner: Side, pool: Side) -> list[Objection]:
    # The other way round it is turned on before the join.
    if joiner.pool.get("tls_verification_enabled", False) and not pool.pool.get("tls_verification_enabled", False):
        return [("POOL_JOINING_HOST_TLS_VERIFICATION_MISMATCH", "it verifies TLS certificates and the pool does not")]
    return []


def _certificates(joiner: Side, pool: Side) -> list[Objection]:
    found: list[Objection] = []
    for kind, code, what in (("ca", "POOL_JOINING_HOST_CA_CERTIFICATES_CONFLICT", "authorities"),
                             ("pinned", "POOL_JOINING_HOST_TRUSTED_CERTIFICATES_CONFLICT", "trusted certificates")):
        mine, theirs = _certificates_of(joiner, kind), _certificates_of(pool, kind)
        clash = [name for name in mine.keys() & theirs.keys() if mine[name] != theirs[name]]
        if clash:
            found.append((code, f"it and the pool have different {what} of one name: {listing(clash)}"))
    return found


def _certificates_of(side: Side, kind: str) -> dict[str, str]:
    return {one["name"]: _fingerprint(one) for one in side.records("Certificate") if one.get("type") == kind}


def _fingerprint(certificate: Record) -> str:
    return str(certificate.get("fingerprint_sha256") or certificate["fingerprint"])


def _updates(joiner: Side, pool: Side) -> list[Objection]:
    return [("NOT_SUPPORTED_DURING_UPGRADE", f"updates are being applied to {who}")
            for who, side in (("it", joiner), ("the pool", pool)) if _is_updating(side)]


def _is_updating(side: Side) -> bool:
    operations = [record["current_operations"] for record in (side.pool, *side.hosts.values())]
    return any("apply_updates" in running.values() for running in operations)


def _storage_drivers(joiner: Side, pool: Side) -> list[Objection]:
    mine = {driver["type"]: driver["features"] for driver in joiner.records("SM")}
    lacking = [driver["type"] for driver in pool.records("SM") if driver["type"] not in mine
               or any(int(mine[driver["type"]].get(name, -1)) < int(version)
                      for name, version in driver["features"].items())]
    return [("POOL_JOINING_SM_FEATURES_INCOMPATIBLE",
             f"its storage drivers lack what the pool's can do: {listing(lacking)}")] if lacking else []


def _secret(joiner: Side, pool: Side) -> list[Objection]:
    return [("POOL_SECRET_ROTATION_PENDING", "the pool's secret is being changed")] if (
        pool.pool.get("is_psr_pending", False)) else []


Check = Callable[[Side, Side], list[Objection]]

#: those that xapi makes before it looks at storage and networks, and those after
SAME: tuple[Check, ...] = (_guidances, _version, _cpu)
CHECKS: tuple[Check, ...] = (_authentication, _edition, _network_stack, _interfaces, _tls, _certificates, _updates,
                             _storage_drivers, _secret)
