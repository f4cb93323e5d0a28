"""VMs, hypervisors and moves across all pools, as Nova's clients look at them; ``doc/rpc.md`` has the shapes.

It reads what pools' observers reported, corrected by what was observed since, and changes nothing.
"""

from collections.abc import Iterator
from typing import Any

from common.clock import isoformat
from conductor import services, states
from conductor.db import hosts, moves, operations
from conductor.db.models import Host, Pool
from conductor.db.moves import Numbered
from conductor.db.session import Session
from conductor.operations import relocate
from conductor.operations.snapshot import moved_since_report
from conductor.present import Presenter

Json = dict[str, Any]

#: moves in one list; older ones are found by their operations
MOST_MOVES = 1000

_MOVING = (states.Task.SENT, *states.CLAIMED_TASK)


def pool_of(session: Session, vm: str) -> str:
    """Return the pool whose last report has the VM.  Raises NotFound."""
    found = next((pool.uuid for pool, one in _all(session) if one["uuid"] == vm), None)
    if found is None:
        raise relocate.no_vm(vm)
    return found


def _all(session: Session) -> Iterator[tuple[Pool, Json]]:
    """Yield every guest with its pool, each where it was last observed."""
    for _, pool in sorted(hosts.all_pools(session).items()):
        moved = moved_since_report(session, pool) if pool.report else {}
        for vm in (pool.report or {}).get("vms", []):
            if not vm["control_domain"]:
                yield pool, {**vm, "resident_on": moved.get(vm["uuid"], vm["resident_on"])}


def vms(session: Session, *, name: str | None = None, host: str | None = None) -> list[Json]:
    """Return VM of every guest of every pool, by name; of one name or on one host if given."""
    names = {uuid: one for one, uuid in hosts.uuids(session).items()}
    zone_by_host = services.zones(session)
    going = {task.args["vm"]: task for pool in hosts.all_pools(session)
             for task in operations.open_moves(session, pool) if states.Task(task.state) in _MOVING}
    found = []
    for pool, vm in _all(session):
        at = names.get(vm["resident_on"] or "")
        if (name is not None and vm["name_label"] != name) or (host is not None and at != host):
            continue
        move = going.get(vm["uuid"])
        found.append({
            "uuid": vm["uuid"], "name": vm["name_label"], "power_state": vm["power_state"], "host": at,
            "zone": zone_by_host.get(at or "", services.DEFAULT_ZONE), "pool": pool.uuid,
            "memory_bytes": vm["memory_dynamic_min_bytes"], "vcpus": vm["vcpus"],
            "moving_to": names.get(move.args["destination"]) if move else None,
            "observed_at": isoformat(pool.report_at)})
    return sorted(found, key=lambda vm: (vm["name"], vm["uuid"]))


def vm(session: Session, uuid: str) -> Json:
    """Return VM.  Raises NotFound."""
    found = next((one for one in vms(session) if one["uuid"] == uuid), None)
    if found is None:
        raise relocate.no_vm(uuid)
    return found


def hypervisors(show: Presenter) -> list[Json]:
    """Return HYPERVISOR of every host, by name."""
    session = show.session
    on: dict[str, list[Json]] = {}
    for _, one in _all(session):
        on.setdefault(one["resident_on"] or "", []).append(one)
    reported = {seen["uuid"]: {**seen, "observed_at_s": pool.report_at} for pool in hosts.all_pools(session).values()
                for seen in (pool.report or {}).get("hosts", [])}
    zone_by_host = services.zones(session)
    return [_hypervisor(row, services.agent(show, row, zone_by_host), reported.get(row.uuid, {}), on.get(row.uuid, []))
            for row in hosts.every(session)]


def _hypervisor(row: Host, service: Json, seen: Json, there: list[Json]) -> Json:
    return {"id": row.id, "service": service, "host": row.name, "address": row.address,
            "memory_total_bytes": seen.get("memory_total_bytes"), "memory_free_bytes": seen.get("memory_free_bytes"),
            "cpus": seen.get("cpus"), "vcpus_used": sum(vm["vcpus"] for vm in there),
            "version": seen.get("version", ""), "product": seen.get("product", ""),
            "boot_time_s": _seconds(seen.get("boot_time", "")), "observed_at_s": seen.get("observed_at_s"),
            "running": sum(vm["power_state"] == "Running" for vm in there),
            "busy": sum(bool(vm["operations"]) for vm in there),
            "vms": sorted(({"uuid": vm["uuid"], "name": vm["name_label"]} for vm in there), key=lambda vm: vm["name"])}


def _seconds(text: str) -> float | None:
    """Return xapi's boot_time ("1700000000.") as seconds since the epoch, None when there is none."""
    try:
        return float(text)
    except ValueError:
        return None


def migrations(session: Session, filters: Json) -> list[Json]:
    """Return MIGRATION of the newest moves, newest first; ``filters``: vm, host (either end), state, open."""
    names = {uuid: name for name, uuid in hosts.uuids(session).items()}
    addresses = {row.name: row.address for row in hosts.every(session)}
    found = [_migration(one, names, addresses)
             for one in moves.listed(session, limit=MOST_MOVES, is_open=bool(filters.get("open")))]
    return [one for one in found
            if filters.get("vm") in (None, one["vm"]) and filters.get("state") in (None, one["state"])
            and filters.get("host") in (None, one["source"], one["destination"])]


def migration(session: Session, number: int) -> Json:
    """Return MIGRATION.  Raises NotFound."""
    return migration_of(session, moves.get(session, number))


def migration_of(session: Session, one: Numbered) -> Json:
    """Return MIGRATION of a move."""
    names = {uuid: name for name, uuid in hosts.uuids(session).items()}
    addresses = {row.name: row.address for row in hosts.every(session)}
    return _migration(one, names, addresses)


def _migration(one: Numbered, names: dict[str, str], addresses: dict[str, str]) -> Json:
    task, shown = one.task, one.task.shown or {}
    destination = names.get(task.args["destination"]) or shown.get("destination_name") or task.args["destination"]
    changed = task.ended_at or task.heard_at or task.claimed_at or task.sent_at
    return {"id": one.number, "task": task.id, "operation": one.operation.id, "kind": one.operation.kind,
            "user": one.operation.user, "vm": task.args["vm"], "vm_name": shown.get("vm_name"),
            "source": names.get(task.args["source"]) or shown.get("source_name") or task.args["source"],
            "destination": destination, "destination_address": addresses.get(destination),
            "state": task.state, "progress": task.progress, "memory_bytes": shown.get("memory_bytes"),
            "created_at": isoformat(one.operation.created_at), "updated_at": isoformat(changed), "error": task.error}
