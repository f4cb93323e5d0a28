"""A conductor in memory, for the tests of the API and of the commands.

It keeps the contract of ``common.conductor_api`` in form: same names, same answers,
same errors.  Its operations go one scripted step further each time somebody asks for
events that are not there yet; so nobody has to wait.
"""

from typing import Any

from common import conductor_api, errors

GIB = 2 ** 30
AT = "2026-11-22T07:45:00.123456"
Json = dict[str, Any]

BLOCKERS = [
    {"code": "vm_has_local_disk", "vm": "vm-2", "vm_name": "db\x1b[31m", "host": None,
     "message": "its disk is on local storage of h1", "help": "move the disk to shared storage"},
    {"code": "no_memory", "vm": "vm-1", "vm_name": "web1", "host": "2f1c", "host_name": "h2",
     "message": "no host has 8 GiB free", "help": None},
]


class InMemory:
    """Aggregates, four hosts and two VMs on the first."""

    def __init__(self) -> None:
        self.calls: list[tuple[Json, str, Json]] = []
        self.answers: dict[tuple[str | None, str | None, str], Any] = {}
        self.aggregates: dict[int, Json] = {}
        self.hosts = {name: _host(name) for name in ("h1", "h2", "h3", "h4")}
        self.forced_down: set[str] = set()
        self.conductors = {7: "c1"}
        self.vms = {one["uuid"]: one for one in (_guest("vm-1", "web1"), _guest("vm-2", "db\x1b[31m"))}
        self.migrations: dict[int, Json] = {}
        self.operations: dict[str, Json] = {}
        self.events: dict[str, list[Json]] = {}
        self.plans: dict[str, Json] = {}
        self.feasible = True
        self.failing = False
        self.attention = False
        self.down: errors.Error | None = None
        self.broken: Exception | None = None

    def call(self, context: Json, method: str, **arguments: Any) -> Any:
        """Answer, once per user and idempotency key."""
        assert method in conductor_api.METHODS
        self.calls.append((context, method, arguments))
        if self.down:
            raise self.down
        if self.broken:
            raise self.broken
        key = context["idempotency_key"]
        if key is None or method.endswith(("_list", "_show", "_vms", "_events")):
            return getattr(self, method)(**arguments)
        kept = (context["user_id"], context["project_id"], key)
        if kept not in self.answers:
            self.answers[kept] = getattr(self, method)(**arguments)
        return self.answers[kept]

    def aggregate_list(self, availability_zone: str | None = None, members: bool = True) -> Json:
        return {"aggregates": [one for one in self.aggregates.values()
                               if availability_zone in (None, one["availability_zone"])]}

    def aggregate_create(self, name: str, availability_zone: str | None = None) -> Json:
        if any(one["name"] == name for one in self.aggregates.values()):
            raise errors.AlreadyExists(f"Aggregate {name} already exists.", code="aggregate_exists")
        number = len(self.aggregates) + 1
        metadata = {"availability_zone": availability_zone} if availability_zone else {}
        self.aggregates[number] = {
            "id": number, "uuid": f"86a0da0e-9f0c-4f51-a1e0-{number:012}", "name": name,
            "availability_zone": availability_zone, "hosts": [], "metadata": metadata, "created_at": AT,
            "updated_at": None, "deleted": False, "deleted_at": None, "pool_backed": True, "pool": None,
            "members": [], "foreign": []}
        return self.aggregates[number]

    def aggregate_show(self, id: int, members: bool = True) -> Json:
        if id not in self.aggregates:
            raise errors.NotFound(f"Aggregate {id} could not be found.", code="aggregate_not_found")
        return self.aggregates[id]

    def aggregate_update(self, id: int, changes: Json) -> Json:
        aggregate = self.aggregate_show(id)
        if "availability_zone" in changes and aggregate["hosts"]:
            raise errors.WrongState("One of its hosts has VMs", code="zone_differs")
        aggregate.update(changes)
        return aggregate

    def aggregate_set_metadata(self, id: int, metadata: Json) -> Json:
        aggregate = self.aggregate_show(id)
        merged = {**aggregate["metadata"], **metadata}
        aggregate["metadata"] = {key: value for key, value in merged.items() if value is not None}
        return aggregate

    def aggregate_delete(self, id: int) -> Json:
        if self.aggregate_show(id)["hosts"]:
            raise errors.WrongState(f"Aggregate {id} is not empty", code="aggregate_not_empty")
        del self.aggregates[id]
        return {}

    def aggregate_add_host(self, id: int, host: str, options: Json) -> Json:
        aggregate = self.aggregate_show(id)
        self.host_show(host)
        if host in aggregate["hosts"]:
            raise errors.AlreadyExists(f"Aggregate {id} already has host {host}.", code="host_exists")
        aggregate["hosts"].append(host)
        return {"aggregate": aggregate, "operation": self._begin("aggregate_add_host", host)}

    def aggregate_remove_host(self, id: int, host: str, options: Json) -> Json:
        aggregate = self.aggregate_show(id)
        if host not in aggregate["hosts"]:
            raise errors.NotFound(f"Cannot remove host {host} in aggregate {id}",
                                  code="host_not_in_aggregate")
        if self.hosts[host]["state"] != "in_maintenance":
            raise errors.WrongState(f"Host {host} is still serving; enable maintenance first",
                                    code="host_still_serving")
        aggregate["hosts"].remove(host)
        return {"aggregate": aggregate, "operation": self._begin("aggregate_remove_host", host)}

    def host_list(self, zone: str | None = None) -> Json:
        return {"hosts": [host for host in self.hosts.values() if zone in (None, host["zone"])]}

    def host_show(self, host: str) -> Json:
        if host not in self.hosts:
            raise errors.NotFound(f"Host {host} could not be found.", code="host_not_found")
        return self.hosts[host]

    def host_vms(self, host: str) -> Json:
        self.host_show(host)
        return {"vms": [_vm("vm-1", "web1", host), _vm("vm-2", "db\x1b[31m", host)] if host == "h1" else []}

    def host_enable(self, host: str) -> Json:
        return self._switch(host, True)

    def host_disable(self, host: str, reason: str | None = None) -> Json:
        self.host_show(host)["reason"] = reason
        return self._switch(host, False)

    def _switch(self, name: str, enabled: bool) -> Json:
        host = self.host_show(name)
        if host["enabled"] == enabled:
            return {"host": host, "operation": None}
        host["enabled"] = enabled
        return {"host": host, "operation": self._begin("host_enable" if enabled else "host_disable", name)}

    def maintenance_start(self, host: str, options: Json) -> Json:
        found = self.host_show(host)
        if found["state"] == "in_maintenance":
            return {"host": found, "operation": None, "plan": None, "maintenance_mode": "on_maintenance"}
        plan = self.plans[options["plan"]] if "plan" in options else self.plan_create(host, "enable", options)
        operation = self._begin("maintenance_start", host, plan)
        found.update(state="in_maintenance", enabled=False)
        return {"host": found, "operation": operation, "plan": plan,
                "maintenance_mode": "entering_maintenance"}

    def maintenance_stop(self, host: str, options: Json) -> Json:
        found = self.host_show(host)
        if found["state"] != "in_maintenance":
            return {"host": found, "operation": None, "plan": None, "maintenance_mode": "off_maintenance"}
        found.update(state="serving", enabled=True)
        return {"host": found, "operation": self._begin("maintenance_stop", host), "plan": None,
                "maintenance_mode": "leaving_maintenance"}

    def plan_create(self, host: str, wanted: str, options: Json) -> Json:
        self.host_show(host)
        if not self.feasible:
            raise errors.Infeasible(f"Host {host} can't be emptied", code="no_plan", blockers=BLOCKERS,
                                    smallest_change="4 GiB more on h2 would do")
        moves = [{"task": f"t{n}", "position": n, "vm": f"vm-{n}", "vm_name": f"web{n}", "source": host,
                  "destination": "h2", "memory_bytes": 4 * GIB, "start_s": 0.0, "end_s": 61.5}
                 for n in (1, 2)]
        plan_id = f"plan-{len(self.plans) + 1}"
        self.plans[plan_id] = {
            "id": plan_id, "host": host, "wanted": wanted, "created_at": AT, "feasible": True, "moves": moves,
            "eta": {"low_s": 50.0, "likely_s": 62.0, "high_s": 90.0}, "left": [], "operation": None}
        return self.plans[plan_id]

    def plan_show(self, id: str) -> Json:
        if id not in self.plans:
            raise errors.NotFound(f"Plan {id} could not be found.", code="plan_not_found")
        return self.plans[id]

    def operation_list(self, filters: Json, limit: int = 100, marker: str | None = None) -> Json:
        return {"operations": list(reversed(self.operations.values()))[:limit]}

    def operation_show(self, id: str) -> Json:
        if id not in self.operations:
            raise errors.NotFound(f"Operation {id} could not be found.", code="operation_not_found")
        return self.operations[id]

    def operation_events(self, id: str, after: int = 0, wait_s: float = 0) -> Json:
        operation = self.operation_show(id)
        if wait_s and after >= operation["last_event"] and operation["ended_at"] is None:
            self._go_on(operation)
        return {"operation": operation, "events": [one for one in self.events[id] if one["n"] > after]}

    def operation_cancel(self, id: str) -> Json:
        operation = self.operation_show(id)
        if operation["ended_at"]:
            raise errors.WrongState(f"Operation {id} has ended", code="not_allowed_now")
        self._event(operation, "cancel", "cancelling", "Cancelled; waiting for what is in flight")
        return operation

    def operation_pause(self, id: str) -> Json:
        operation = self.operation_show(id)
        self._event(operation, "pause", "paused", "Paused; nothing new is sent")
        return operation

    def operation_resume(self, id: str) -> Json:
        operation = self.operation_show(id)
        self._event(operation, "resume", "running", "Resumed")
        return operation

    def operation_retry(self, id: str) -> Json:
        return self.operation_show(id)

    def operation_abandon(self, id: str, reason: str) -> Json:
        operation = self.operation_show(id)
        self._event(operation, "abandon", "failed", f"Abandoned by an operator: {reason}")
        operation["error"] = {"code": "abandoned", "message": reason, "details": {}}
        return operation

    def service_list(self, host: str | None = None, binary: str | None = None) -> Json:
        found = [_service(2 * n, "nova-compute", one, one["name"] in self.forced_down)
                 for n, one in enumerate(self.hosts.values(), start=1)]
        found += [{"id": n, "binary": "nova-conductor", "host": name, "zone": "internal", "status": "enabled",
                   "state": "up", "disabled_reason": None, "forced_down": False, "updated_at": AT, "version": "1.1"}
                  for n, name in self.conductors.items()]
        return {"services": [one for one in found if host in (None, one["host"]) and binary in (None, one["binary"])]}

    def service_force_down(self, host: str, forced_down: bool) -> Json:
        self.host_show(host)
        (self.forced_down.add if forced_down else self.forced_down.discard)(host)
        (found,) = self.service_list(host)["services"]
        return dict(found)

    def service_delete(self, id: int) -> Json:
        name = next((one["host"] for one in self.service_list()["services"] if one["id"] == id), None)
        if name is None:
            raise errors.NotFound(f"There is no service {id}", code="service_not_found")
        if name in self.hosts:
            return self.host_forget(name)
        del self.conductors[id]
        return {}

    def host_forget(self, host: str) -> Json:
        if self.host_show(host)["agent"] == "up":
            raise errors.WrongState(f"The agent of host {host} is heard", code="service_up")
        del self.hosts[host]
        return {}

    def hypervisor_list(self) -> Json:
        return {"hypervisors": [
            {"id": n, "service": service, "host": host["name"], "address": host["address"],
             "memory_total_bytes": host["memory_total_bytes"], "memory_free_bytes": host["memory_free_bytes"],
             "cpus": 16, "vcpus_used": 4, "version": host["version"], "product": "XCP-ng 8.3",
             "boot_time_s": 1_700_000_000.0, "observed_at_s": 1_700_000_000.0 + 90_061.0, "running": host["vms"],
             "busy": 0, "vms": [{"uuid": vm["uuid"], "name": vm["name"]} for vm in self.vms.values()
                                if vm["host"] == host["name"]]}
            for n, (host, service) in enumerate(zip(self.hosts.values(), self.service_list()["services"], strict=False),
                                                start=1)]}

    def vm_list(self, name: str | None = None, host: str | None = None) -> Json:
        return {"vms": [vm for vm in self.vms.values() if host in (None, vm["host"]) and name in (None, vm["name"])]}

    def vm_show(self, vm: str) -> Json:
        if vm not in self.vms:
            raise errors.NotFound(f"There is no VM {vm}", code="vm_not_found")
        return self.vms[vm]

    def vm_migrate(self, vm: str, host: str | None = None) -> Json:
        found = self.vm_show(vm)
        if found["moving_to"]:
            raise errors.WrongState(f"VM {vm} is to be moved already", code="vm_busy")
        if host:
            self.host_show(host)
        if not self.feasible:
            raise errors.Infeasible(f"{vm} can't be moved", code="no_plan", blockers=BLOCKERS, smallest_change=None)
        operation = self._begin("vm_migrate", found["host"])
        found["moving_to"] = host or "h2"
        number = len(self.migrations) + 1
        self.migrations[number] = {
            "id": number, "task": f"t{number}", "operation": operation["id"], "kind": "vm_migrate", "user": "noauth",
            "vm": vm, "vm_name": found["name"], "source": found["host"], "destination": found["moving_to"],
            "destination_address": "127.0.0.1", "state": "executing", "progress": 0.25, "memory_bytes": 4 * GIB,
            "created_at": AT, "updated_at": AT, "error": None}
        return {"vm": found, "operation": operation, "plan": None}

    def migration_list(self, filters: Json) -> Json:
        found = [one for one in reversed(self.migrations.values())
                 if not filters.get("open") or one["state"] in ("pending", "sent", "executing", "unknown")]
        return {"migrations": [one for one in found if filters.get("vm") in (None, one["vm"])
                               and filters.get("host") in (None, one["source"], one["destination"])]}

    def migration_show(self, id: int) -> Json:
        if id not in self.migrations:
            raise errors.NotFound(f"There is no migration {id}", code="migration_not_found")
        return self.migrations[id]

    def migration_abort(self, vm: str, id: int) -> Json:
        found = self.migration_show(id)
        if found["vm"] != vm or found["state"] != "executing":
            raise errors.NotFound(f"There is no migration {id}", code="migration_not_found")
        return self.operation_cancel(found["operation"])

    def _begin(self, kind: str, host: str, plan: Json | None = None) -> Json:
        op_id = f"op-{len(self.operations) + 1}"
        fresh = {"state": "pending", "progress": 0.0, "started_at": None, "ended_at": None, "error": None}
        moves = [{**move, **fresh} for move in (plan or {"moves": []})["moves"]]
        self.operations[op_id] = {
            "id": op_id, "kind": kind, "state": "planning", "host": host, "aggregate": None,
            "plan": plan and plan["id"], "attention": None, "error": None,
            "progress": {"moves_total": len(moves), "moves_done": 0, "moves_failed": 0, "moves_in_flight": 0},
            "moves": moves, "tasks": [], "user": "noauth", "reason": None, "created_at": AT, "updated_at": AT,
            "ended_at": None, "last_event": 0, "result": None, "actions": ["cancel", "pause"]}
        self.events[op_id] = []
        self._event(self.operations[op_id], "plan_ready", "running", "A feasible plan is stored")
        return self.operations[op_id]

    def _go_on(self, operation: Json) -> None:
        waiting = [move for move in operation["moves"] if move["state"] != "done"]
        if self.attention:
            operation["attention"] = {"code": "agent_silent", "message": "The agent of h1 is silent",
                                      "since": AT}
        elif self.failing:
            operation["error"] = {"code": "VM_MIGRATE_FAILED", "message": "The move of web1 failed",
                                  "details": {}}
            self._event(operation, "task_failed", "failed", "A task failed for good")
        elif waiting:
            waiting[0].update(state="done", progress=1.0)
            operation["progress"]["moves_done"] += 1
            self._event(operation, "effect", "running", f"{waiting[0]['vm_name']} was observed on h2")
        else:
            operation["result"] = {"not_home": []}
            self._event(operation, "verified", "succeeded", "The goal was observed")

    def _event(self, operation: Json, event: str, next_state: str, why: str) -> None:
        operation["last_event"] += 1
        self.events[operation["id"]].append(
            {"n": operation["last_event"], "at": AT, "subject": "operation", "task": None, "task_kind": None,
             "state": operation["state"], "event": event, "next": next_state, "why": why, "detail": {}})
        operation["state"] = next_state
        if next_state in ("succeeded", "failed", "cancelled"):
            operation.update(ended_at=AT, actions=[])


def _host(name: str) -> Json:
    return {"name": name, "uuid": f"uuid-{name}", "address": "127.0.0.1", "zone": "nova", "wanted": "serving",
            "state": "serving", "reason": None, "enabled": True, "live": True, "agent": "up",
            "last_sync_at": AT, "trouble": None, "aggregate": None, "pool": None, "master": False,
            "operation": None, "owner": None, "epoch": 1, "vms": 2 if name == "h1" else 0,
            "memory_total_bytes": 64 * GIB,
            "memory_free_bytes": 48 * GIB, "version": "3.4.0"}


def _service(number: int, binary: str, host: Json, forced_down: bool) -> Json:
    return {"id": number, "binary": binary, "host": host["name"], "zone": host["zone"],
            "status": "enabled" if host["enabled"] else "disabled",
            "state": "up" if host["agent"] == "up" and not forced_down else "down",
            "disabled_reason": host["reason"], "forced_down": forced_down, "updated_at": AT, "version": "1.1"}


def _guest(uuid: str, name: str) -> Json:
    return {"uuid": uuid, "name": name, "power_state": "Running", "host": "h1", "zone": "nova", "pool": "pool-1",
            "memory_bytes": 4 * GIB, "vcpus": 2, "moving_to": None, "observed_at": AT}


def _vm(uuid: str, name: str, host: str) -> Json:
    return {"uuid": uuid, "name": name, "power_state": "Running", "host": host, "home": host,
            "memory_bytes": 4 * GIB, "vcpus": 2, "hindrances": [], "moving_to": None}
