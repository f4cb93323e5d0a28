"""Calls about VMs and about work that takes time: begun under a mark, found again by it.

The mark is a task of our own, tagged before the work is begun under it with the header
``Subtask-of``; so a successor finds what was begun even when the reply was lost.
"""

from agent.driver import VmState, Work, WorkState
from agent.xenapi import failures
from agent.xenapi.calls import Calls, Record, operations
from agent.xenapi.networks import chosen
from common import errors

TASK, ATTEMPT, NOTE = "corral:task", "corral:attempt", "corral:note"


class WorkCalls(Calls):
    """Reading VMs, and beginning, following and ending work."""

    #: mark -> the task begun under it, as far as known to this session
    _begun: dict[str, str]

    def vm(self, uuid: str) -> VmState | None:
        """Return the VM, None when the pool has none of that uuid."""
        return self._if_there("VM", uuid, self._vm_state)

    def _vm_state(self, ref: str) -> VmState:
        record: Record = self._link.read("VM.get_record", ref)
        return VmState(
            uuid=record["uuid"],
            power_state=record["power_state"],
            resident_on=self._uuid("host", record["resident_on"]),
            scheduled_on=self._uuid("host", record["scheduled_to_be_resident_on"]),
            operations=operations(record),
        )

    def mark_work(self, task: str, attempt: int, note: str = "") -> Work:
        """Create and tag the task under which work of this order will run."""
        ref = str(self._link.act("task.create", f"corral {task}", "work of Corral runs under this task"))
        tags = {TASK: task, ATTEMPT: str(attempt), **({NOTE: note} if note else {})}
        self._link.act("task.set_other_config", ref, tags)
        return Work(ref, attempt, note)

    def work_of(self, task: str) -> list[Work]:
        """Return all marks of ``task``, newest attempt first."""
        records: dict[str, Record] = self._link.read("task.get_all_records")
        found = [
            Work(ref, _number(record["other_config"].get(ATTEMPT, "")), record["other_config"].get(NOTE, ""))
            for ref, record in records.items()
            if record["other_config"].get(TASK) == task
        ]
        return sorted(found, key=lambda work: -work.attempt)

    def work_state(self, work: Work) -> WorkState:
        """Return how far the work under the mark is."""
        try:
            begun = self._task_under(work)
            if begun is None:
                return WorkState(None)
            record: Record = self._link.read("task.get_record", begun)
        except errors.HypervisorError as exc:
            if not failures.is_absent(exc):
                raise
            return WorkState("gone")
        status = str(record["status"])
        return WorkState(
            status="pending" if status == "cancelling" else status,
            progress=float(record["progress"]),
            cancellable="cancel" in record["allowed_operations"],
            error=tuple(str(part) for part in record["error_info"]),
        )

    def _task_under(self, work: Work) -> str | None:
        begun = self._begun.get(work.id)
        if begun is None:
            under = self._link.read("task.get_record", work.id)["subtasks"]
            if under:
                begun = self._begun[work.id] = str(under[0])
        return begun

    def cancel(self, work: Work) -> None:
        """Ask xapi to end the work; it may still succeed."""
        begun = self._task_under(work)
        if begun is not None:
            self._unless_absent("task.cancel", begun)

    def forget(self, work: Work) -> None:
        """Destroy the ended task and its mark."""
        begun = self._begun.pop(work.id, None)
        if begun is not None:
            self._unless_absent("task.destroy", begun)
        # A pending task of one's own would only be marked for destruction and stay.
        if self._unless_absent("task.set_status", work.id, "success"):
            self._unless_absent("task.destroy", work.id)

    def _unless_absent(self, method: str, ref: str, *params: str) -> bool:
        try:
            self._link.act(method, ref, *params)
        except errors.HypervisorError as exc:
            if not failures.is_absent(exc):
                raise
            return False
        return True

    def _begin(self, work: Work, method: str, *params: object) -> None:
        self._begun[work.id] = str(self._link.act(f"Async.{method}", *params, subtask_of=work.id))

    def migration_network(self) -> str | None:
        """Return what names the pool's migration network, None when it has chosen none."""
        return chosen({"other_config": self._link.read("pool.get_other_config", self._pool())})

    def check_destination(self, vm: str, host: str) -> None:
        """Raise what would keep the VM from that host now."""
        self._link.read("VM.assert_can_boot_here", self._ref("VM", vm), self._ref("host", host))

    def migrate(self, work: Work, vm: str, destination: str, network: str | None = None) -> None:
        """Begin a live migration within the pool."""
        options = {"live": "true"}
        if network is not None:
            options["network"] = network if network.startswith("OpaqueRef:") else self._ref("network", network)
        self._begin(work, "VM.pool_migrate", self._ref("VM", vm), self._ref("host", destination), options)

    def start_on(self, work: Work, vm: str, host: str) -> None:
        """Begin to start a VM on one host."""
        self._begin(work, "VM.start_on", self._ref("VM", vm), self._ref("host", host), False, False)

    def eject(self, work: Work, host: str) -> None:
        """Begin to eject a host."""
        self._begin(work, "pool.eject", self._ref("host", host))

    def fence(self, session_uuid: str) -> None:
        """Log out the session of that uuid; one that is gone is ended already."""
        try:
            self._link.logout(str(self._link.read("session.get_by_uuid", session_uuid)))
        except errors.HypervisorError as exc:
            if not failures.is_absent(exc):
                raise


def _number(tag: str) -> int:
    """Return the attempt from a tag, which anybody can have written."""
    return int(tag) if tag.isdecimal() else 0
