"""Where cases run on real hosts: brings those that the options name into one of the usual states (xapi_settings).

VMs are made without disks, have names that begin with contract-case-, and stay for the next run; no other VM is
touched, and a host that runs others joins and leaves nothing.  Seconds pass by themselves here.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import XenAPI
from xapi_cases import Case
from xapi_client import Client
from xapi_settings import HOME, HOSTS, MEMBERS, Bearings, logged_in

PREFIX = "contract-case-"
POLL_S = 0.5
SETTLED_S = 600.0   #: for a host to join, leave or start
MIB = 1024**2
NULL = "OpaqueRef:NULL"
MEMORY = {f"memory_{name}": str(256 * MIB) for name in ("static_max", "dynamic_max", "dynamic_min", "static_min")}
DISKLESS: dict[str, Any] = {
    "name_description": "made by Corral's contract cases", "user_version": "1", "is_a_template": False,
    "affinity": NULL, "memory_target": "0", **MEMORY, "VCPUs_params": {}, "VCPUs_max": "1", "VCPUs_at_startup": "1",
    "actions_after_shutdown": "destroy", "actions_after_reboot": "restart", "actions_after_crash": "restart",
    "PV_bootloader": "", "PV_kernel": "", "PV_ramdisk": "", "PV_args": "", "PV_bootloader_args": "",
    "PV_legacy_args": "", "HVM_boot_policy": "BIOS order", "HVM_boot_params": {"order": "n"},
    "HVM_shadow_multiplier": 1.0, "platform": {}, "PCI_bus": "", "other_config": {}, "recommendations": ""}


class NotReady(Exception):
    """The hosts cannot be brought into the state that a case needs."""


@dataclass(frozen=True)
class RealXapi:
    """What the options say: the hosts' URLs and how to log in."""

    urls: list[str]
    user: str
    password: str = field(repr=False)
    ca_file: str = ""  #: what must vouch for their certificates; "": any are taken

    def lacks(self, case: Case) -> str:
        """Say why the case cannot be run at these hosts, "" if it can."""
        if case.needs_simulator:
            return case.needs_simulator
        if HOSTS[case.setting] > len(self.urls):
            return f"it needs {HOSTS[case.setting]} hosts, and {len(self.urls)} are given"
        if case.tls and not self.urls[0].startswith("https:"):
            return "it needs HTTPS"
        return ""


class RealHosts:
    """Real hosts in the state that a case needs; see xapi_steps.Setting."""

    speed = 1.0

    def __init__(self, xapi: RealXapi, setting: str) -> None:
        self.urls, self.login = xapi.urls[:max(HOSTS[setting], 1)], (xapi.user, xapi.password)
        self._never = threading.Event()
        self._until(f"{xapi.urls[0]} is a master again", partial(self._leads, xapi.urls))
        self._members(setting, xapi.urls)
        self.clients = self._sessions(self.urls)
        self._enabled()
        self._guests(setting)
        self._tidy()
        self.names = Bearings(self.urls, PREFIX).of(self.clients)

    # ---- Setting
    def pause(self) -> None:
        """Wait a moment; nobody tells of changes here."""
        self._never.wait(POLL_S)

    def go_on(self, seconds: float) -> None:
        """Wait until so much time has passed."""
        self._never.wait(seconds)

    def act(self, deed: str, host: str, _how: dict[str, Any]) -> None:
        """Refuse."""
        raise NotReady(f"nobody can {deed} {host} from here")

    def strays(self) -> list[dict[str, Any]]:
        """Refuse."""
        raise NotReady("a real host does not tell the domains that no record shows")

    def stranger(self, kind: str) -> str:
        """Refuse."""
        raise NotReady(f"nobody lets one who is {kind} listen beside real hosts")

    def leave(self, address: str) -> None:
        """Refuse."""
        raise NotReady(f"nobody of ours listens at {address}")

    # ---- the state
    def _leads(self, urls: list[str]) -> bool:
        """Tell whether the first host is a master; ask the one that is in its place to make it that again."""
        clients = logged_in(urls, self.login)
        if "s" not in clients:
            known = [(client, Bearings(urls).of({number: client})) for number, client in clients.items()]
            leaders = [(client, names["host1"]) for client, names in known if "host1" in names]
            if not leaders:
                raise NotReady(f"{urls[0]} is a member of a pool of others")
            [(leader, host)] = leaders
            leader.call("pool.designate_new_master", host)
        return "s" in clients

    def _members(self, setting: str, urls: list[str]) -> None:
        """Let hosts join or leave until the first MEMBERS are a pool and the others alone."""
        for number in range(2, HOSTS[setting] + 1):
            self._until(f"{urls[number - 1]} is in a pool or alone, and its master thinks so too",
                        lambda: self._settled(urls))
            clients = self._sessions(urls[:number])
            wanted, alone = number <= MEMBERS[setting], clients.get(f"s{number}")
            if wanted and alone:
                self._join(clients["s"], alone)
            elif not wanted and not alone:
                self._eject(clients["s"], urls[number - 1])

    def _sessions(self, urls: list[str]) -> dict[str, Client]:
        """Return a session at each host that is a master, once all answer; one that starts may not for a moment."""
        found: dict[str, Client] = {}

        def answered() -> bool:
            found.update(logged_in(urls, self.login))
            return True

        self._until(f"{', '.join(urls)} take logins", answered)
        return found

    def _settled(self, urls: list[str]) -> bool:
        """Tell whether no host that stands alone is listed by the first, as it is while it joins."""
        clients = logged_in(urls, self.login)
        if "s" not in clients:
            return False
        listed, *others = (set(_hosts(client)) for client in clients.values())
        return not any(listed & other for other in others)

    def _join(self, master: Client, joiner: Client) -> None:
        if len(_hosts(joiner)) > 1:
            raise NotReady(f"{joiner.url} has members of its own")
        for vm in running(joiner):
            joiner.call("VM.hard_shutdown", vm)
        [uuid] = _hosts(joiner)
        address = next(iter(_hosts(master).values()))["address"]
        joiner.call("pool.join", address, *self.login)
        self._until(f"{joiner.url} is enabled in the pool", lambda: bool(_hosts(master)[uuid]["enabled"]))

    def _eject(self, master: Client, url: str) -> None:
        self._until(f"{url} has joined to the end", partial(_all_serve, master))
        host = Bearings([master.url, url], PREFIX).of({"s": master})["host2"]
        for vm in running(master, host):
            master.call("VM.hard_shutdown", vm)
        master.call("pool.eject", host)
        client = Client(url, SETTLED_S)
        self._until(f"{url} stands alone", lambda: client.login(*self.login).kind == "gives" and all(
            one["enabled"] for one in _hosts(client).values()))

    def _enabled(self) -> None:
        for client in self.clients.values():
            self._until(f"all hosts of {client.url} are enabled and live", partial(_all_serve, client))

    def _guests(self, setting: str) -> None:
        master = self.clients["s"]
        hosts = Bearings(self.urls, PREFIX).of({"s": master})
        for name, home in HOME.items():
            if home <= MEMBERS[setting]:
                where = hosts[f"host{home}"] if home else NULL
                self._until(f"{name} is where it belongs", partial(_at_home, master, PREFIX + name, where))

    def _tidy(self) -> None:
        """Take away what cases that failed may have left."""
        for client in self.clients.values():
            client.call("pool.remove_from_other_config", client.call("pool.get_all")[0], "contract")
            for vm, guest in client.call("VM.get_all_records").items():
                if guest["name_label"].startswith(PREFIX):
                    client.call("VM.remove_from_other_config", vm, "contract")
            for task, record in client.call("task.get_all_records").items():
                if record["name_label"] == "ours":
                    client.call("task.set_status", task, "success")
                    client.call("task.destroy", task)

    def _until(self, claim: str, holds: Callable[[], bool]) -> None:
        why: object = ""
        for _attempt in range(int(SETTLED_S / POLL_S)):
            try:
                if holds():
                    return
            except (OSError, XenAPI.Failure) as exc:
                why = exc  # it is not there yet
            self.pause()
        raise NotReady(f"it did not come about that {claim} {why}")


def _hosts(client: Client) -> dict[str, dict[str, Any]]:
    """Return the hosts of a pool by their uuids, the master first."""
    master = client.call("pool.get_master", client.call("pool.get_all")[0])
    records = client.call("host.get_all_records")
    return {records[ref]["uuid"]: records[ref] for ref in sorted(records, key=lambda one: one != master)}


def _all_serve(client: Client) -> bool:
    """Enable what is disabled; tell whether all hosts are enabled and live."""
    records = client.call("host.get_all_records")
    for host, record in records.items():
        if not record["enabled"]:
            client.call("host.enable", host)
    return all(record["enabled"] and client.call("host_metrics.get_live", record["metrics"])
               for record in records.values())


def _at_home(master: Client, name: str, home: str) -> bool:
    """Move, start or stop a VM, or make it; tell whether nothing had to be done."""
    found = master.call("VM.get_by_name_label", name)
    vm = found[0] if found else master.call("VM.create", {"name_label": name, **DISKLESS})
    record = master.call("VM.get_record", vm)
    if record["current_operations"]:
        return False
    if record["blocked_operations"]:
        master.call("VM.set_blocked_operations", vm, {})
    if record["resident_on"] == home:
        return True
    if home == NULL:
        master.call("VM.hard_shutdown", vm)
    elif record["power_state"] == "Halted":
        master.call("VM.start_on", vm, home, False, False)
    else:
        master.call("VM.pool_migrate", vm, home, {})
    return False


def running(client: Client, host: str = "") -> list[str]:
    """Return the cases' own running VMs, of one host if it is given.  Raises NotReady when others run there."""
    found = {ref: record for ref, record in client.call("VM.get_all_records").items()
             if record["power_state"] == "Running" and not record["is_control_domain"]
             and host in ("", record["resident_on"])}
    others = [record["name_label"] for record in found.values() if not record["name_label"].startswith(PREFIX)]
    if others:
        raise NotReady(f"{client.url}: the host is not to join or leave while it runs {', '.join(others)}")
    return list(found)


@contextmanager
def real(xapi: RealXapi, case: Case) -> Iterator[RealHosts]:
    """Yield the real hosts in the state that the case needs.  Raises NotReady."""
    yield RealHosts(xapi, case.setting)
