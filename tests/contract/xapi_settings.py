"""Where cases run: a simulated world for each, in this process over real HTTP, in one of the usual states.

What the usual states are: `alone` h1 with vm1, vm2 running and `halted`; `two` the same and h2, each alone; `pair` h1
the master with vm1 and vm2, h2 its member with vm3, and `halted`; `trio` also h3 with vm4.  Hosts are `$h1` or
`$host1`, VMs `$vm1`, and have `.uuid`, `.metrics`, hosts also `.address` and `.name`; pools are `$pool`, `$pool2`.
Real hosts are for xapi_real_hosts.
"""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

from xapi_cases import Case
from xapi_client import Client
from xapi_strangers import Stranger

from agent.simulator import Simulator, strays
from agent.simulator.clocks import SetClock
from agent.simulator.fault_spec import Incident
from agent.simulator.spec import parse_spec

READ_S = 80.0
MOMENT_S = 0.02
STEP_S = 1.0  #: of simulated time that passes at most between two looks
SMALL = {"memory": "256 MiB", "vcpus": 1}
MEMBERS = {"alone": 1, "two": 1, "pair": 2, "trio": 3}
HOSTS = {"alone": 1, "two": 2, "pair": 2, "trio": 3}
HOME = {"vm1": 1, "vm2": 1, "vm3": 2, "vm4": 3, "halted": 0}  #: of the VMs, the host; 0 is not running


def world_of(setting: str) -> dict[str, Any]:
    """Return a usual state as a world file has it."""
    names = [f"h{number}" for number in range(1, HOSTS[setting] + 1)]
    members = names[:MEMBERS[setting]]
    return {
        "hosts": [{"name": name, "memory": "16 GiB"} for name in names],
        "pools": [{"hosts": members}] if len(members) > 1 else [],
        "vms": [{"name": name, "host": f"h{home or 1}", "state": "running" if home else "halted", **SMALL}
                for name, home in HOME.items() if home <= len(members)],
    }


class Simulated:
    """A case's own simulated hosts; see xapi_steps.Setting."""

    speed = 100.0  #: roughly, for bounds

    def __init__(self, simulator: Simulator, clock: SetClock, stands_still: bool) -> None:
        self._simulator, self.login, self._clock, self._stands_still = simulator, simulator.login, clock, stands_still
        self.urls = [url for _name, url in simulator.hosts]
        self.clients = logged_in(self.urls, self.login)
        self.names = Bearings(self.urls).of(self.clients)
        self._strangers: dict[str, Stranger] = {}
        if simulator.authority:
            self.names["authority"] = simulator.authority.ca_file.read_text(encoding="ascii")

    def pause(self) -> None:
        """Let time pass to the next thing that is due, so that none goes by unseen; a moment if it stands still."""
        with self._simulator.lock:
            if self._stands_still:
                self._simulator.lock.wait(MOMENT_S)
                return
            due, longest = self._simulator.world.next_due(), self._clock.at + STEP_S
            self._pass(max(self._clock.at, longest if due is None else min(due, longest)))

    def go_on(self, seconds: float) -> None:
        """Let so much time pass, and do what became due."""
        with self._simulator.lock:
            self._pass(self._clock.at + seconds)

    def _pass(self, at: float) -> None:
        self._clock.at = at
        self._simulator.world.advance()
        self._simulator.lock.notify_all()

    def act(self, deed: str, host: str, how: dict[str, Any]) -> None:
        """Let an incident happen now."""
        with self._simulator.lock:
            self._simulator.world.put_in(Incident(0, deed, host, **how))
            self._simulator.world.advance()
            self._simulator.lock.notify_all()

    def strays(self) -> list[dict[str, Any]]:
        """Return the domains that no record shows."""
        with self._simulator.lock:
            return strays.listed(self._simulator.world)

    def stranger(self, kind: str) -> str:
        """Let one listen that is no host, at the hosts' port; return its address."""
        stranger = Stranger(kind, self._simulator.port)
        self._strangers[stranger.address] = stranger
        return stranger.address

    def leave(self, address: str) -> None:
        """Let the stranger there end."""
        self._strangers[address].close()

    def close(self) -> None:
        """Let all strangers end."""
        for stranger in self._strangers.values():
            stranger.close()


@contextmanager
def simulated(case: Case) -> Iterator[Simulated]:
    """Yield hosts made for the case; they end with it."""
    clock = SetClock()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory())) if case.tls else None
        spec = parse_spec(case.world or world_of(case.setting))
        simulator = Simulator(spec, clock=clock, tls_folder=folder, self_signed=case.self_signed)
        simulator.start()
        stack.callback(simulator.stop)
        setting = Simulated(simulator, clock, case.is_timed)
        stack.callback(setting.close)
        yield setting


# ---- for simulated and real hosts
def logged_in(urls: list[str], login: tuple[str, str]) -> dict[str, Client]:
    """Return a session named s, s2, s3 at each host that is a master.  Raises OSError when a host does not answer."""
    clients: dict[str, Client] = {}
    for number, url in enumerate(urls, 1):
        client = Client(url, READ_S)
        outcome = client.login(*login)
        if outcome.kind == "gives":
            clients["s" if number == 1 else f"s{number}"] = client
        elif outcome.kind == "fails" and outcome.value[0] == "HOST_IS_SLAVE":
            client.close()
        else:
            raise OSError(f"no login at {url}: {outcome.kind} {outcome.value}")
    return clients


class Bearings:
    """What `$` may stand for at hosts: pools, hosts in the order of the URLs, VMs by their names less a prefix."""

    def __init__(self, urls: list[str], prefix: str = "") -> None:
        self._addresses = [socket.gethostbyname(str(urlsplit(url).hostname)) for url in urls]
        self._prefix = prefix

    def of(self, clients: dict[str, Client]) -> dict[str, Any]:
        """Return all names at the hosts where these sessions are."""
        names: dict[str, Any] = {}
        for session, client in clients.items():
            names[session.replace("s", "pool", 1)] = client.call("pool.get_all")[0]
            for ref, record in client.call("host.get_all_records").items():
                for name in (record["name_label"], *self._positions(record["address"])):
                    names.update({name: ref, f"{name}.uuid": record["uuid"], f"{name}.address": record["address"],
                                  f"{name}.name": record["name_label"], f"{name}.metrics": record["metrics"]})
            for ref, record in client.call("VM.get_all_records").items():
                if not record["is_control_domain"] and not record["is_a_template"]:
                    name = record["name_label"].removeprefix(self._prefix)
                    names.update({name: ref, f"{name}.uuid": record["uuid"], f"{name}.metrics": record["metrics"]})
        return names

    def _positions(self, address: str) -> list[str]:
        return [f"{word}{number}" for number, one in enumerate(self._addresses, 1) if one == address
                for word in ("host", "h")]
