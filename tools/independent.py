"""A look at the hosts past Corral, with the plain XenAPI package: what the demo and tests check by."""

import http.client
import threading
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import XenAPI


def _places(pool: "Pool") -> dict[str, str]:
    return {vm: host for host, vms in pool.running().items() for vm in vms}


class Pool:
    """A pool seen through its master; a member's address leads there."""

    def __init__(self, url: str, user: str, password: str) -> None:
        self.url = url
        for _ in range(2):
            self._session = XenAPI.Session(self.url)
            try:
                self._session.xenapi.login_with_password(user, password, "1.0", "corral-check")
                break
            except XenAPI.Failure as exc:
                if exc.details[0] != "HOST_IS_SLAVE":
                    raise
                self.url = f"{urlsplit(url).scheme}://{exc.details[1]}:{urlsplit(url).port}"
        self.api: Any = self._session.xenapi

    def _hosts(self) -> dict[str, Any]:
        return {record["hostname"]: {**record, "ref": ref} for ref, record in self.api.host.get_all_records().items()}

    def name(self) -> str:
        """Return the pool's name label."""
        return str(next(iter(self.api.pool.get_all_records().values()))["name_label"])

    def master(self) -> str:
        """Return the master's host name."""
        return str(self.api.host.get_hostname(next(iter(self.api.pool.get_all_records().values()))["master"]))

    def members(self) -> list[str]:
        """Return the host names of all members."""
        return sorted(self._hosts())

    def serving(self) -> list[str]:
        """Return the host names of the enabled and live ones."""
        return sorted(name for name, host in self._hosts().items()
                      if host["enabled"] and self.api.host_metrics.get_live(host["metrics"]))

    def enabled(self, host: str) -> bool:
        """Return whether the host is enabled."""
        return bool(self._hosts()[host]["enabled"])

    def vms(self) -> dict[str, Any]:
        """Return the records of all VMs that are no control domains, by name."""
        return {record["name_label"]: {**record, "ref": ref} for ref, record in self.api.VM.get_all_records().items()
                if not record["is_control_domain"] and not record["is_a_template"]}

    def running(self) -> dict[str, list[str]]:
        """Return the names of the running VMs by host name."""
        names = {host["ref"]: name for name, host in self._hosts().items()}
        found: dict[str, list[str]] = {}
        for name, vm in sorted(self.vms().items()):
            if vm["power_state"] == "Running":
                found.setdefault(names[vm["resident_on"]], []).append(name)
        return found

    def start_all(self, hosts: tuple[str, ...]) -> None:
        """Start every VM, on the hosts in turn."""
        refs = self._hosts()
        for number, vm in enumerate(vm for _, vm in sorted(self.vms().items())):
            self.api.VM.start_on(vm["ref"], refs[hosts[number % len(hosts)]]["ref"], False, False)


def stands_alone(url: str, user: str, password: str) -> bool:
    """Return whether the host answers as the only one of a pool; one that restarts doesn't answer."""
    try:
        return Pool(url, user, password).url == url
    except (OSError, http.client.HTTPException, XenAPI.Failure):
        return False


class Watch:
    """Looks at all VMs again and again while a block runs, and prints each one that is seen elsewhere.

    ``down`` names those that were not seen running.
    """

    def __init__(self, pool: Pool, every_s: float = 0.05) -> None:
        self._pool = pool
        self._every_s = every_s
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.looks = 0
        self.down: set[str] = set()

    def _look(self) -> None:
        everything, place = set(self._pool.vms()), _places(self._pool)
        while True:
            ended = self._end.wait(self._every_s)
            now = _places(self._pool)
            self.down |= everything - set(now)
            for name in sorted(name for name in now if now[name] != place.get(name, now[name])):
                print(f"  seen at the hosts: {name} runs on {now[name]} and no more on {place[name]}", flush=True)
            place = {**place, **now}
            self.looks += 1
            if ended:
                return

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._end.set()
        self._thread.join()
