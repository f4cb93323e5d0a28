"""An agent in few lines, for the conductor's tests: claim, observe, act, observe, report; no thread.

It promises what ``common/messages.py`` says of agents, on scripted hypervisors.
"""

import hashlib
import itertools
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from conductor_pool import Host, Refused, Work

from common import errors

if TYPE_CHECKING:
    from conductor_world import World

_NUMBERS = itertools.count(1)


@dataclass
class Running:
    """One attempt at hand."""

    order: dict[str, Any]
    session: str
    since: float = 0.0
    times: list[dict[str, Any]] = field(default_factory=list)
    acted: bool = False
    error: dict[str, Any] | None = None
    report: dict[str, Any] | None = None
    fenced: list[str] = field(default_factory=list)


class Agent:
    """One agent process; ``restart`` replaces it by a new one."""

    def __init__(self, world: "World", name: str) -> None:
        self.world, self.name = world, name
        self.is_up = True
        self.deaf = False           #: its messages are lost
        self.version = "1.2"        #: what it speaks; before 1.2 it knows nothing of moves that are called off
        self.answers: list[str] = []
        self.restart()

    def restart(self) -> None:
        """Begin anew as another incarnation, which knows nothing of what was at hand."""
        self.incarnation = f"{next(_NUMBERS):013d}-{self.name}"
        self.running: dict[tuple[str, int], Running] = {}
        self.heard: list[tuple[str, int]] = []
        self.observes, self.synced_at, self.superseded = False, 0.0, False
        self.known: str | None = None       # digest of the report that the conductors have
        self.next_sync_at = 0.0

    @property
    def host(self) -> Host:
        """The host that this agent is for."""
        return self.world.pool.hosts[self.name]

    # messages
    def message(self, **changes: Any) -> dict[str, Any]:
        """Return what it would say in a sync now."""
        pool = self.world.pool.pools[self.host.pool]
        role = "standalone" if len(pool.records) == 1 else "master" if pool.master == self.host.uuid else "slave"
        return {"host": self.name, "incarnation": self.incarnation, "sequence": next(_NUMBERS), "role": role,
                "url": f"http://{self.host.address}", "host_uuid": self.host.uuid, "address": self.host.address,
                "version": self.version, "pool": pool.uuid, "running": [
                    {"task": task, "attempt": attempt, "progress": 0.5} for task, attempt in self.running],
                "report": self.world.pool.pool_report(pool) if self.observes else None,
                **({} if self.host.answers else {"role": "unreachable", "report": None,
                                                 "trouble": {"code": "unavailable", "message": "no route"}}), **changes}

    def sync(self, **changes: Any) -> dict[str, Any]:
        """Bring a heartbeat and do as the answer says.  Raises what the conductor answers."""
        said = self.message(**changes)
        if said["report"] is not None and "report" not in changes:
            said["report_digest"] = hashlib.sha256(json.dumps(said["report"]).encode()).hexdigest()
            if said["report_digest"] == self.known:
                said["report"] = None
        answer: dict[str, Any] = self.world.tell("sync", sync=said)
        self.superseded, self.known = answer["superseded"], answer["report_digest"]
        self.observes = answer["observe"]
        for task in answer["dropped"]:
            self.running = {key: one for key, one in self.running.items() if key[0] != task}
        for order in answer["called_off"] if self.version >= "1.2" else []:
            self._call_off(self.running[order["task"], order["attempt"]])
        for order in answer["orders"]:
            self.hear(order["task"], order["attempt"])
        return answer

    def _call_off(self, run: Running) -> None:
        run.order["called_off"] = True
        if run.acted:
            self.world.pool.cancel(run.order["task"])

    def hear(self, task: str, attempt: int) -> None:
        """Take note of a doorbell; one for what is at hand asks for a sync."""
        if (task, attempt) in self.running:
            self.next_sync_at = 0.0
        elif self.is_up and not self.deaf and (task, attempt) not in self.heard:
            self.heard.append((task, attempt))

    def claim(self, task: str, attempt: int) -> str:
        """Claim an order; return the verdict."""
        session = f"session-{next(_NUMBERS)}"
        answer = self.world.tell("claim", host=self.name, incarnation=self.incarnation, sequence=next(_NUMBERS),
                                 task=task, attempt=attempt, session=session)
        if answer["verdict"] == "yours":
            self.running[task, attempt] = Running(answer["order"], session, self.world.clock.now(),
                                                  fenced=list(answer["order"]["fence"]))
        return str(answer["verdict"])

    def report(self, run: Running, settled: bool, readings: dict[str, Any]) -> bool:
        """Bring readings; return whether more is wanted."""
        return bool(self.world.tell(
            "report", host=self.name, incarnation=self.incarnation, sequence=next(_NUMBERS), report={
                "task": run.order["task"], "attempt": run.order["attempt"], "settled": settled, "readings": readings,
                "error": run.error, "fenced": run.fenced})["wanted"])

    # its day
    def live(self) -> None:
        """Do what is due: sync, claim what was heard, go on with what is at hand."""
        if not self.is_up or self.deaf or self.superseded:
            return
        try:
            if self.world.clock.now() >= self.next_sync_at:
                self.next_sync_at = self.world.clock.now() + self.world.settings.sync_interval_s
                self.sync()
            heard, self.heard = self.heard, []
            for task, attempt in heard:
                if (task, attempt) not in self.running:
                    self.answers.append(self.claim(task, attempt))
        except errors.Error as exc:
            self.answers.append(exc.code)
        for key, run in list(self.running.items()):
            self._go_on(key, run)

    def _go_on(self, key: tuple[str, int], run: Running) -> None:
        if run.report is None:
            run.report = getattr(self, "_" + run.order["kind"])(run)
        if run.report is None or self.running.get(key) is not run:
            return
        try:
            self.report(run, True, run.report)
            self.running.pop(key, None)
        except errors.Error as exc:
            self.answers.append(exc.code)

    # the kinds; each returns the readings once it has settled
    def _target(self, run: Running) -> Host:
        host = self.world.pool.by_uuid(run.order["host_uuid"])
        assert host is not None
        return host

    def _pool_init(self, run: Running) -> dict[str, Any]:
        pool = self.world.pool.pools[self.host.pool]
        name = run.order["args"]["name_label"]
        if name is not None:
            pool.name_label = name
        return {"pool": pool.uuid, "master_uuid": pool.master, "name_label": pool.name_label, "members": {}}

    def _pool_join(self, run: Running) -> dict[str, Any] | None:
        pool, work = self.world.pool, self.world.pool.work.get(run.order["task"])
        if work is None and len(pool.pools[self.host.pool].records) == 1:
            try:
                pool.join(run.order["task"], run.order["attempt"], self.host, run.order["args"]["master_address"])
            except Refused as exc:
                run.error = _error(exc.code)
                return {"joiner": "standalone", "task": "gone", "on_master": False, "live": False, "enabled": False}
            return None
        if work is not None and work.status == "pending":
            return None
        master = pool.by_uuid(run.order["args"]["master_uuid"])
        assert master is not None
        there = self.host.uuid in pool.pools[master.pool].records
        joined = self.host.pool == master.pool
        if not joined:
            run.error = _error(work.code or "?" if work else "?", "unknown")
        role = "unreachable" if not self.host.answers else "slave" if joined else "standalone"
        return {"joiner": role, "task": "gone", "on_master": there, "live": joined and self.host.live,
                "enabled": joined and self.host.enabled, "pool": master.pool}

    def _sync_database(self, run: Running) -> dict[str, Any]:
        return {"synced": True}

    def _pool_eject(self, run: Running) -> dict[str, Any]:
        host, records = self._target(run), self.world.pool.pools[run.order["pool"]].records
        if host.uuid in records and host.pool == run.order["pool"]:
            self.world.pool.eject(host)
        if host.uuid not in records:
            return {"on_master": False, "standalone": True}
        run.error = _error("ejected_halfway" if host is self.host else "INTERNAL_ERROR", "unknown")
        return {"on_master": True, "standalone": host is self.host}

    def _host_destroy(self, run: Running) -> dict[str, Any] | None:
        records, now = self.world.pool.pools[run.order["pool"]].records, self.world.clock.now()
        if run.order["host_uuid"] in records and now < self.world.pool.live_until.get(run.order["host_uuid"], 0.0):
            if now < run.since + run.order["limit_s"]:
                return None
            run.error = _error("HOST_IS_LIVE")
            return {"on_master": True}
        if run.order["host_uuid"] in records:
            records.remove(run.order["host_uuid"])
        return {"on_master": False}

    def _host_disable(self, run: Running) -> dict[str, Any]:
        host = self._target(run)
        host.enabled, host.mark = False, run.order["args"]["mark"]
        return {"enabled": False, "live": host.live, "mark": host.mark}

    def _host_enable(self, run: Running) -> dict[str, Any]:
        host = self._target(run)
        host.enabled, host.mark = True, None
        return {"enabled": True, "live": host.live, "mark": None}

    def _observe(self, run: Running) -> dict[str, Any] | None:
        apart_s = run.order["args"]["apart_s"]
        if not run.times or self.world.clock.now() - run.times[-1]["at_s"] >= apart_s:
            run.times.append(self.world.pool.occupancy(self._target(run)))
        return {"times": run.times} if len(run.times) >= run.order["args"]["times"] else None

    def _vm_migrate(self, run: Running) -> dict[str, Any] | None:
        args, pool = run.order["args"], self.world.pool
        vm = pool.vms.get(args["vm"])
        work = pool.work.get(run.order["task"])
        if work is not None and (work.status == "pending" or work.attempt == run.order["attempt"]):
            run.acted = True
        if vm is not None and not run.acted:
            if vm.operations:
                return None
            if vm.host == args["source"] and vm.power == "Running" and not run.order["called_off"]:
                run.acted = True
                try:
                    pool.migrate(run.order["task"], run.order["attempt"], args)
                    return None
                except Refused as exc:
                    run.error = _error(exc.code)
        elif work is not None and work.status == "pending":
            return None
        if work is not None and work.code and run.acted and run.error is None:
            run.error = _error(work.code, "unknown")
        return self._readings_of_move(run, work)

    def _readings_of_move(self, run: Running, work: Work | None) -> dict[str, Any]:
        pool = self.world.pool
        now = {uuid: host.started_at for uuid in (run.order["args"]["source"], run.order["args"]["destination"])
               if (host := pool.by_uuid(uuid))}
        return {"vm": pool.read_vm(run.order["args"]["vm"]), "task": work.status if work else None, "acted": run.acted,
                "suspended": bool(work and work.suspended), "started_at": now,
                "started_at_before": work.started_at if work and run.acted else now}

    def _vm_start(self, run: Running) -> dict[str, Any]:
        vm = self.world.pool.vms[run.order["args"]["vm"]]
        if vm.power == "Halted":
            self.world.pool.start_on(vm.uuid, run.order["args"]["destination"])
        return {"vm": self.world.pool.read_vm(vm.uuid), "task": "success"}


def _error(code: str, effect: str = "none") -> dict[str, Any]:
    return {"code": code, "params": [], "message": f"XenServer reports {code}", "effect": effect}
