"""From rows to what crosses to the API and to other services; ``doc/rpc.md`` describes the shapes."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from common.clock import isoformat
from conductor import states
from conductor.aggregates import is_pool_backed
from conductor.db import aggregates, hosts, operations
from conductor.db.aggregates import Entry, Place
from conductor.db.models import Aggregate, Event, Host, Operation, Plan, Pool, Task
from conductor.db.session import Session
from conductor.operations import control
from conductor.operations.snapshot import moved_since_report

Json = dict[str, Any]

#: what an active operation makes of its host
_STATE = {"maintenance_start": "draining", "maintenance_stop": "restoring", "aggregate_add_host": "joining",
          "aggregate_remove_host": "leaving"}


class Presenter:
    """Shows rows of one session; rows that several shapes need are read once."""

    def __init__(self, session: Session, now: float, agent_down_s: float, receiving_since: float,
                 pool_backed_by_default: bool) -> None:
        self.session = session
        self._now = now
        self._down_s = agent_down_s
        self._since = receiving_since
        self._default = pool_backed_by_default
        self._vms_by_pool: dict[str, list[Json]] = {}

    @cached_property
    def _uuids(self) -> dict[str, str]:
        return hosts.uuids(self.session)

    @cached_property
    def _names(self) -> dict[str, str]:
        return {uuid: name for name, uuid in self._uuids.items()}

    @cached_property
    def _active(self) -> dict[str, Operation]:
        return operations.active_by_host(self.session)

    @cached_property
    def _places_by_host(self) -> dict[str, list[Place]]:
        found: dict[str, list[Place]] = {}
        for place in aggregates.places(self.session):
            found.setdefault(place.host, []).append(place)
        return found

    def aggregates(self, rows: Sequence[Entry], members: bool = True) -> list[Json]:
        """Return AGGREGATE of each."""
        found: dict[int, list[Place]] = {}
        for place in aggregates.places(self.session):
            found.setdefault(place.aggregate_id, []).append(place)
        pools = hosts.all_pools(self.session) if members else {}
        return [self._aggregate(row, found.get(row.id, []), members, pools.get(row.pool or "")) for row in rows]

    def aggregate(self, row: Aggregate) -> Json:
        """Return AGGREGATE with what is known of each member."""
        return self._aggregate(row, aggregates.places(self.session, row.id), True,
                               hosts.find_pool(self.session, row.pool))

    def names(self, row: Entry, places: Sequence[Place]) -> Json:
        """Return AGGREGATE with the names of its hosts; asks for nothing more."""
        return self._aggregate(row, places, False, None)

    def _aggregate(self, row: Aggregate | Entry, places: Sequence[Place], members: bool, pool: Pool | None) -> Json:
        backed = is_pool_backed(row, self._default)
        metadata = dict(row.user_metadata)
        if row.availability_zone:
            metadata["availability_zone"] = row.availability_zone
        if backed:
            metadata["operational_state"] = self._operational_state(places)
        shown = {"id": row.id, "uuid": row.uuid, "name": row.name, "availability_zone": row.availability_zone,
                 "hosts": [place.host for place in places], "metadata": metadata,
                 "created_at": isoformat(row.created_at), "updated_at": isoformat(row.updated_at), "deleted": False,
                 "deleted_at": None, "pool_backed": backed, "pool": row.pool}
        if members:
            shown["members"] = [self._member(place, pool.master if pool else None) for place in places]
            shown["foreign"] = self._foreign(places, pool.hosts or {} if pool else {})
        return shown

    def _foreign(self, places: Sequence[Place], seen: Json) -> list[str]:
        """Return the pool's hosts that are not of the aggregate, by name: counted, never destinations."""
        own = {place.host for place in places}
        names = [self._names.get(uuid, str(hostname)) for uuid, hostname in seen.items()]
        return sorted(name for name in names if name not in own)

    def _member(self, place: Place, master: str | None) -> Json:
        active = self._active.get(place.host)
        return {"host": place.host, "state": place.state, "adopted": place.adopted,
                "master": master is not None and self._uuids.get(place.host) == master,
                "operation": active.id if active else None}

    def _operational_state(self, places: Sequence[Place]) -> str:
        if not places:
            return "created"
        return "active" if all(place.state == "member" for place in places) else "changing"

    def host(self, row: Host) -> Json:
        """Return HOST."""
        active = self._active.get(row.name)
        places = self._places_by_host.get(row.name, [])
        place = next((place for place in places if place.pool_backed_host is not None), None)
        aggregate = aggregates.get(self.session, place.aggregate_id) if place else None
        pool = hosts.find_pool(self.session, row.pool)
        report = (pool.report or {}) if pool else {}
        seen: Json = next((h for h in report.get("hosts", []) if h["uuid"] == row.uuid), {})
        vms = [vm for vm in self._vms(pool) if vm["resident_on"] == row.uuid]
        return {"name": row.name, "uuid": row.uuid, "address": row.address, "zone": self._zone(places),
                "wanted": row.wanted, "state": self._host_state(row, active, bool(vms)), "reason": row.reason,
                "enabled": row.enabled, "live": row.live, "agent": "up" if self.is_up(row) else "down",
                "agent_version": row.agent_version, "last_sync_at": isoformat(row.last_sync_at),
                "trouble": row.trouble, "role": row.role, "pool": row.pool,
                "aggregate": {"id": aggregate.id, "name": aggregate.name} if aggregate else None,
                "master": pool is not None and pool.master == row.uuid, "operation": active.id if active else None,
                "owner": row.owner, "epoch": row.epoch, "vms": len(vms),
                "memory_total_bytes": seen.get("memory_total_bytes"),
                "memory_free_bytes": seen.get("memory_free_bytes"), "cpus": seen.get("cpus"),
                "version": seen.get("version", ""), "product": seen.get("product", "")}

    def _vms(self, pool: Pool | None) -> list[Json]:
        """Return the pool's guests as last reported, each where it was observed since."""
        if pool is None or pool.report is None:
            return []
        if pool.uuid not in self._vms_by_pool:
            moved = moved_since_report(self.session, pool)
            self._vms_by_pool[pool.uuid] = [{**vm, "resident_on": moved.get(vm["uuid"], vm["resident_on"])}
                                            for vm in pool.report["vms"] if not vm["control_domain"]]
        return self._vms_by_pool[pool.uuid]

    def _zone(self, places: Sequence[Place]) -> str:
        zones = (aggregates.get(self.session, place.aggregate_id).availability_zone for place in places)
        return next(filter(None, zones), "nova")

    def is_up(self, row: Host) -> bool:
        """Return whether the host's agent was heard lately."""
        return self._now - max(row.last_sync_at, self._since) <= self._down_s

    def _host_state(self, row: Host, active: Operation | None, has_vms: bool) -> str:
        if row.quarantined:
            return "quarantined"
        if active is not None and active.kind in _STATE:
            giving_back = active.kind == "maintenance_start" and active.state == states.Operation.CANCELLING
            return "restoring" if giving_back else _STATE[active.kind]
        if row.enabled is None or row.live is False:
            return "unknown"
        if row.enabled:
            return "serving"
        return "in_maintenance" if row.wanted == "maintenance" and not has_vms else "disabled"

    def vms(self, row: Host) -> list[Json]:
        """Return the VMs on the host and on their way to it, as VM."""
        moving = {task.args["vm"]: self._names.get(task.args["destination"])
                  for task in operations.open_moves(self.session, row.pool or "")
                  if task.state != states.Task.PENDING}
        away = {move.args["vm"] for move in operations.moves_away(
            self.session, row.name, operations.last_served(self.session, row.name))
            if move.args["source"] == row.uuid}
        return [{"uuid": vm["uuid"], "name": vm["name_label"], "power_state": vm["power_state"],
                 "host": self._names.get(vm["resident_on"] or ""), "home": row.name if vm["uuid"] in away else None,
                 "memory_bytes": vm["memory_dynamic_min_bytes"], "vcpus": vm["vcpus"],
                 "hindrances": vm["hindrances"], "moving_to": moving.get(vm["uuid"])}
                for vm in self._vms(hosts.find_pool(self.session, row.pool))
                if vm["resident_on"] == row.uuid or vm["uuid"] in away]

    def operation(self, row: Operation) -> Json:
        """Return OPERATION."""
        tasks = operations.tasks(self.session, row.id)
        moves = [task for task in tasks if task.kind == "vm_migrate"]
        attention = dict(row.attention) if row.attention else None
        if attention:
            attention["since"] = isoformat(attention.get("since"))
        return {"id": row.id, "kind": row.kind, "state": row.state, "host": row.host, "aggregate": row.aggregate_id,
                "plan": row.plan_id, "attention": attention, "error": row.error, "result": row.result,
                "progress": {"moves_total": len(moves), "moves_done": sum(m.state == "done" for m in moves),
                             "moves_failed": sum(m.state == "failed" for m in moves),
                             "moves_in_flight": sum(m.state in ("sent", "executing", "unknown") for m in moves)},
                "moves": [self._move(task) for task in moves],
                "tasks": [{"id": task.id, "kind": task.kind, "state": task.state, "attempt": task.attempt,
                           "host": task.host, "executor": task.executor, "error": task.error} for task in tasks],
                "user": row.user, "reason": row.reason, "epoch": row.epoch,
                "created_at": isoformat(row.created_at), "updated_at": isoformat(row.updated_at),
                "ended_at": isoformat(row.ended_at), "last_event": row.last_event,
                "actions": control.actions(row)}

    def _move(self, task: Task) -> Json:
        shown = task.shown or {}
        return {"task": task.id, "position": task.position, "vm": task.args["vm"], "vm_name": shown.get("vm_name"),
                "source": self._host_name(task.args["source"], shown.get("source_name")),
                "destination": self._host_name(task.args["destination"], shown.get("destination_name")),
                "state": task.state, "progress": task.progress, "memory_bytes": shown.get("memory_bytes"),
                "start_s": shown.get("start_s"), "end_s": shown.get("end_s"), "started_at": isoformat(task.claimed_at),
                "ended_at": isoformat(task.ended_at), "error": task.error}

    def _host_name(self, uuid: str, name: str | None) -> str:
        return self._names.get(uuid) or name or uuid

    def plan(self, row: Plan) -> Json:
        """Return PLAN."""
        body = row.body
        moves = [{"position": move["position"], "vm": move["vm"], "vm_name": move["vm_name"],
                  "source": self._host_name(move["source"], move.get("source_name")),
                  "destination": self._host_name(move["destination"], move.get("destination_name")),
                  "memory_bytes": move["memory_bytes"], "start_s": move["start_s"], "end_s": move["end_s"]}
                 for move in body["moves"]]
        return {"id": row.id, "host": row.host, "wanted": row.wanted, "created_at": isoformat(row.created_at),
                "feasible": True, "moves": moves, "eta": body["eta"], "left": body["left"],
                "operation": row.operation_id}


def event(row: Event) -> Json:
    """Return EVENT."""
    return {"n": row.n, "at": isoformat(row.at), "subject": "task" if row.task_id else "operation",
            "task": row.task_id, "task_kind": row.task_kind, "state": row.state, "event": row.event,
            "next": row.next, "why": row.why, "detail": row.detail, "conductor": row.conductor}
