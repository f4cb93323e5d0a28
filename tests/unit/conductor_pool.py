"""Scripted hypervisors for the conductor's tests: pools, hosts and VMs that change with a clock that is set.

It knows no message and no agent.  It keeps account of what must never happen (``harm``):
a VM moved twice at once, a host over-full, a host ejected with guests on it.
"""

import itertools
from dataclasses import dataclass, field
from typing import Any

from common.clock import SetClock

GIB = 1 << 30


class Refused(Exception):
    """The hypervisor refuses the call, with a code of xapi's."""

    def __init__(self, code: str) -> None:
        self.code = code
        super().__init__(code)


@dataclass
class Host:
    """One host as it is; ``answers`` False: nobody can reach it."""

    name: str
    uuid: str
    address: str
    pool: str
    enabled: bool = True
    live: bool = True
    mark: str | None = None
    started_at: str = "1000"
    memory: int = 32 * GIB
    disks: int = 0
    answers: bool = True


@dataclass
class Vm:
    """One VM as it is."""

    uuid: str
    host: str | None
    power: str = "Running"
    memory: int = 2 * GIB
    scheduled: str | None = None
    operations: list[str] = field(default_factory=list)
    hindrances: list[list[str]] = field(default_factory=list)
    moves: list[str] = field(default_factory=list)     #: every host it came to by a migration


@dataclass
class Work:
    """What was begun under one mark and goes on by itself."""

    kind: str
    task: str
    attempt: int
    ends_at: float
    args: dict[str, Any]
    status: str = "pending"
    code: str | None = None
    suspended: bool = False
    started_at: dict[str, str] = field(default_factory=dict)


@dataclass
class Pool:
    """One pool; ``records`` are the hosts that its database names."""

    uuid: str
    master: str
    name_label: str = ""
    records: list[str] = field(default_factory=list)
    ha: bool = False


class Hypervisors:
    """All hosts of a test, each a pool of its own at first."""

    def __init__(self, clock: SetClock, names: list[str]) -> None:
        self.clock = clock
        self.hosts: dict[str, Host] = {}
        self.pools: dict[str, Pool] = {}
        self.vms: dict[str, Vm] = {}
        self.work: dict[str, Work] = {}
        self.move_s, self.join_s = 20.0, 30.0
        self.pause_s = 3.0      #: the last part of a move, in which it can't be cancelled
        #: code by VM: its next migrations are refused or fail; "lost_power": after it was suspended
        self.move_fails: dict[str, list[str]] = {}
        #: by joiner: a code of xapi's, "dead_record", or "vanishes" when its pool has just listed it
        self.join_fails: dict[str, str] = {}
        #: hosts whose ejection ends halfway, and for how long xapi then takes each for live; see ``live_until``
        self.eject_halfway: dict[str, float] = {}
        #: uuid of a host that is its own master -> until when its old pool's xapi takes it for live
        self.live_until: dict[str, float] = {}
        self.harm: list[str] = []
        self.calls: list[tuple[float, str, str]] = []
        self._numbers = itertools.count(1)
        for number, name in enumerate(names, start=1):
            pool = Pool(f"pool-{number}", f"u-{name}", records=[f"u-{name}"])
            self.pools[pool.uuid] = pool
            self.hosts[name] = Host(name, f"u-{name}", f"10.0.0.{number}", pool.uuid)

    # building
    def merge(self, master: str, *others: str) -> None:
        """Make one pool of these hosts, as somebody did before the test."""
        pool = self.pools[self.hosts[master].pool]
        for name in others:
            self.pools.pop(self.hosts[name].pool, None)
            self.hosts[name].pool = pool.uuid
            pool.records.append(self.hosts[name].uuid)

    def add_vm(self, uuid: str, host: str, memory: int = 2 * GIB) -> Vm:
        """Start a VM on a host."""
        vm = self.vms[uuid] = Vm(uuid, self.hosts[host].uuid, memory=memory)
        return vm

    # reading
    def by_uuid(self, uuid: str | None) -> Host | None:
        """Return the host, or None."""
        return next((host for host in self.hosts.values() if host.uuid == uuid), None)

    def on(self, name: str) -> list[str]:
        """Return the VMs that are on a host, sorted."""
        return sorted(vm.uuid for vm in self.vms.values() if vm.host == self.hosts[name].uuid)

    def read_vm(self, uuid: str) -> dict[str, Any] | None:
        """Return a VM as a report's readings have it; None when it is gone."""
        vm = self.vms.get(uuid)
        return None if vm is None else {"power_state": vm.power, "resident_on": vm.host, "scheduled_on": vm.scheduled,
                                        "operations": list(vm.operations)}

    def pool_report(self, pool: Pool) -> dict[str, Any]:
        """Return the pool as its observer reports it."""
        hosts = [self.by_uuid(uuid) for uuid in pool.records]
        members = {host.uuid for host in hosts if host is not None}
        return {
            "pool": pool.uuid, "master": pool.master, "name_label": pool.name_label, "ha_enabled": pool.ha,
            "local_disks": {host.uuid: host.disks for host in hosts if host is not None and host.disks},
            "hosts": [{"uuid": host.uuid, "hostname": host.name, "address": host.address, "enabled": host.enabled,
                       "live": host.live, "memory_total_bytes": host.memory, "memory_overhead_bytes": GIB,
                       "memory_free_bytes": 0, "version": "3.4.0", "cpu_vendor": "x", "cpu_features": "1", "cpus": 16,
                       "agent_start_time": host.started_at, "mark": host.mark, "srs": ["sr"], "networks": ["net"]}
                      for host in hosts if host is not None],
            "vms": [{"uuid": vm.uuid, "name_label": f"name-{vm.uuid}", "power_state": vm.power, "resident_on": vm.host,
                     "scheduled_on": vm.scheduled, "memory_dynamic_min_bytes": vm.memory,
                     "memory_static_max_bytes": vm.memory, "srs": ["sr"], "networks": ["net"],
                     "operations": list(vm.operations), "hindrances": vm.hindrances}
                    for vm in self.vms.values() if vm.host in members or vm.host is None]}

    def occupancy(self, host: Host) -> dict[str, Any]:
        """Return one reading of what is on a host and on its way to it."""
        return {"at_s": self.clock.now(), "enabled": host.enabled, "live": host.live,
                "resident": sorted(vm.uuid for vm in self.vms.values() if vm.host == host.uuid),
                "incoming": sorted(vm.uuid for vm in self.vms.values() if vm.scheduled == host.uuid), "creating": []}

    # acting
    def migrate(self, task: str, attempt: int, args: dict[str, Any]) -> Work:
        """Begin a migration.  Raises Refused."""
        vm, to = self.vms[args["vm"]], self.by_uuid(args["destination"])
        assert to is not None
        self.calls.append((self.clock.now(), "migrate", f"{vm.uuid} {to.name}"))
        script = self.move_fails.get(vm.uuid) or []
        if script and script[0].isupper():
            raise Refused(script.pop(0))
        if not to.enabled:
            raise Refused("HOST_DISABLED")
        if vm.operations:
            self.harm.append(f"{vm.uuid} moved while it is being moved")
        taken = sum(v.memory for v in self.vms.values() if to.uuid in (v.host, v.scheduled))
        if taken + vm.memory > to.memory - GIB:
            self.harm.append(f"{to.name} over-full with {vm.uuid}")
        vm.operations, vm.scheduled = ["pool_migrate"], to.uuid
        starts = {uuid: host.started_at for uuid in (args["source"], args["destination"])
                  if (host := self.by_uuid(uuid))}
        self.work[task] = Work("migrate", task, attempt, self.clock.now() + self.move_s, args, started_at=starts)
        return self.work[task]

    def cancel(self, task: str) -> None:
        """End a migration that is not in its last ``pause_s``; the VM stays where it is."""
        work = self.work[task]
        self.calls.append((self.clock.now(), "cancel", work.args["vm"]))
        if work.status == "pending" and self.clock.now() < work.ends_at - self.pause_s:
            vm = self.vms[work.args["vm"]]
            work.status, vm.operations, vm.scheduled = "cancelled", [], None

    def join(self, task: str, attempt: int, joiner: Host, master_address: str) -> Work:
        """Begin a join.  Raises Refused."""
        self.calls.append((self.clock.now(), "join", joiner.name))
        if self.join_fails.get(joiner.name, "").isupper():
            raise Refused(self.join_fails[joiner.name])
        master = next(host for host in self.hosts.values() if host.address == master_address)
        self.work[task] = Work("join", task, attempt, self.clock.now() + self.join_s,
                               {"joiner": joiner.name, "pool": master.pool})
        return self.work[task]

    def eject(self, host: Host) -> None:
        """Throw a host out of its pool; it comes back as a fresh one of its own."""
        self.calls.append((self.clock.now(), "eject", host.name))
        if self.on(host.name):
            self.harm.append(f"{host.name} ejected with {self.on(host.name)} on it")
        if host.name in self.eject_halfway:
            self.live_until[host.uuid] = self.clock.now() + self.eject_halfway.pop(host.name)
        else:
            self.pools[host.pool].records.remove(host.uuid)
        fresh = Pool(f"pool-{host.name}-{next(self._numbers)}", host.uuid, records=[host.uuid])
        self.pools[fresh.uuid] = fresh
        host.pool, host.enabled, host.mark, host.disks = fresh.uuid, True, None, 0

    def start_on(self, uuid: str, host_uuid: str) -> None:
        """Start a halted VM."""
        self.calls.append((self.clock.now(), "start_on", f"{uuid} {host_uuid}"))
        vm = self.vms[uuid]
        if vm.power == "Running":
            self.harm.append(f"{uuid} started while it runs")
        vm.power, vm.host = "Running", host_uuid

    def restart_toolstack(self, name: str) -> None:
        """Restart a host's toolstack: it forgets what it was at, though that may go on."""
        host = self.hosts[name]
        host.started_at = str(int(host.started_at) + 1)
        host.enabled = True
        for work in self.work.values():
            if work.status == "pending" and host.uuid in work.started_at:
                work.status = "gone"

    def go_on(self) -> None:
        """Let what has been begun end, as far as its time has come."""
        for work in self.work.values():
            if work.status in ("pending", "gone") and work.ends_at <= self.clock.now():
                (self._end_move if work.kind == "migrate" else self._end_join)(work)

    def _end_move(self, work: Work) -> None:
        vm = self.vms.get(work.args["vm"])
        gone, work.status = work.status == "gone", "success"
        if vm is None or not vm.operations:
            return
        script = self.move_fails.get(vm.uuid) or []
        vm.operations, vm.scheduled = [], None
        if script:
            work.status, work.code = "failure", script.pop(0)
            if work.code == "lost_power":
                vm.power, vm.host, work.suspended = "Halted", None, True
        else:
            vm.host = work.args["destination"]
            vm.moves.append(str(vm.host))
        if gone:
            work.status = "lost"

    def _end_join(self, work: Work) -> None:
        joiner, pool = self.hosts[work.args["joiner"]], self.pools[work.args["pool"]]
        work.status = "success"
        if self.join_fails.get(joiner.name) == "dead_record":
            work.status, work.code = "failure", "INTERNAL_ERROR"
            pool.records.append(joiner.uuid)
            return
        if self.join_fails.get(joiner.name) == "vanishes":
            joiner.answers = joiner.live = joiner.enabled = False
        self.pools.pop(joiner.pool, None)
        pool.records.append(joiner.uuid)
        joiner.pool = pool.uuid
