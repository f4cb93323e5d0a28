"""Calls about hosts and the pool itself.  It knows no tasks and no migrations."""

from collections.abc import Sequence

from agent.driver import HostState, Occupancy, PoolState
from agent.xenapi import failures
from agent.xenapi.calls import Calls, Record, operations
from common import errors

#: the key under which a host says which operation of ours owns it
MARK = "corral:operation"
#: operations of a host that put a VM on it (xapi_host_helpers.ml)
CREATING = frozenset({"provision", "vm_resume", "vm_migrate"})


class HostCalls(Calls):
    """Reading and changing hosts, and the pool's own fields."""

    _master: str | None = None

    def pool_uuid(self) -> str:
        """Return the uuid of the pool."""
        return str(self._uuid("pool", self._pool()))

    def pool(self) -> PoolState:
        """Return the pool and its members."""
        record: Record = next(iter(self._link.read("pool.get_all_records").values()))
        hosts: dict[str, Record] = self._link.read("host.get_all_records")
        master = hosts.get(record["master"])
        return PoolState(
            uuid=record["uuid"],
            name_label=record["name_label"],
            master_uuid=master["uuid"] if master else "",
            members={host["uuid"]: host["address"] for host in hosts.values()},
            ha_enabled=bool(record.get("ha_enabled", False)),
            tls_verification=bool(record.get("tls_verification_enabled", False)),
        )

    def host(self, uuid: str) -> HostState | None:
        """Return the host, None when the pool has none of that uuid."""
        return self._if_there("host", uuid, self._host_state)

    def _host_state(self, ref: str) -> HostState:
        record: Record = self._link.read("host.get_record", ref)
        other = record["other_config"]
        return HostState(
            uuid=record["uuid"],
            address=record["address"],
            enabled=bool(record["enabled"]),
            live=self._is_live(record),
            mark=other.get(MARK),
            agent_start_time=other.get("agent_start_time", ""),
            operations=operations(record),
        )

    def _is_live(self, record: Record) -> bool:
        try:
            return bool(self._link.read("host_metrics.get_live", record["metrics"]))
        except errors.HypervisorError as exc:
            # A host that has only just been listed, or is being removed, has no metrics.
            if not failures.is_absent(exc):
                raise
            return False

    def occupancy(self, host: str) -> Occupancy | None:
        """Return what is on ``host`` and on its way to it, all VMs read by one call."""
        return self._if_there("host", host, self._occupancy)

    def _occupancy(self, ref: str) -> Occupancy:
        record: Record = self._link.read("host.get_record", ref)
        vms: dict[str, Record] = self._link.read("VM.get_all_records")
        guests = [vm for vm in vms.values() if not vm["is_control_domain"] and not vm["is_a_template"]]
        return Occupancy(
            enabled=bool(record["enabled"]),
            live=self._is_live(record),
            resident=tuple(sorted(vm["uuid"] for vm in guests if vm["resident_on"] == ref)),
            incoming=tuple(sorted(vm["uuid"] for vm in guests if vm["scheduled_to_be_resident_on"] == ref)),
            creating=tuple(op for op in operations(record) if op in CREATING),
        )

    def started_at(self, hosts: Sequence[str]) -> dict[str, str]:
        """Return ``agent_start_time`` of the hosts that exist and of the master."""
        if self._master is None:
            # A session is always with the master (a slave refuses all of them), and ends when that changes.
            self._master = str(self._link.read("session.get_this_host", self._link.session))
        master = self._uuid("host", self._master)
        times: dict[str, str] = {}
        for uuid in dict.fromkeys((*hosts, *((master,) if master else ()))):
            other = self._if_there("host", uuid, lambda ref: self._link.read("host.get_other_config", ref))
            if other is not None:
                times[uuid] = str(other.get("agent_start_time", ""))
        return times

    def set_mark(self, host: str, mark: str | None) -> None:
        """Write or remove the owner's mark on ``host``."""
        ref = self._ref("host", host)
        # Removed first, always: adding an existing key is refused even with the same value.
        self._link.act("host.remove_from_other_config", ref, MARK)
        if mark is not None:
            self._link.act("host.add_to_other_config", ref, MARK, mark)

    def disable(self, host: str) -> None:
        """Take ``host`` out of service; where xapi can, it stays so over a restart."""
        ref = self._ref("host", host)
        try:
            self._link.act("host.disable", ref, False)
        except errors.HypervisorError as exc:
            # Before 25.31.0 there is no auto_enable, and the host enables itself again when it restarts.
            if failures.xapi_code(exc) != "MESSAGE_PARAMETER_COUNT_MISMATCH":
                raise
            self._link.act("host.disable", ref)

    def enable(self, host: str) -> None:
        """Give ``host`` back to service."""
        self._link.act("host.enable", self._ref("host", host))

    def destroy_host(self, host: str) -> None:
        """Remove the record of the dead ``host``; one that is gone is no error."""
        self._if_there("host", host, lambda ref: self._link.act("host.destroy", ref))

    def set_pool_name(self, name_label: str) -> None:
        """Name the pool."""
        self._link.act("pool.set_name_label", self._pool(), name_label)

    def sync_database(self) -> None:
        """Have the pool's database written everywhere."""
        self._link.act("pool.sync_database")

    def enable_tls(self) -> None:
        """Turn on TLS verification in the pool."""
        self._link.act("pool.enable_tls_verification")
