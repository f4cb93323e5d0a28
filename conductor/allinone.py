"""corral-allinone: simulated pools, their agents, a conductor and the API in one process.

It is the one file that imports both sides, and uses the same ``build`` as the daemons.
Everything it remembers is in the state folder; started again on it, it goes on.
"""

import argparse
import fcntl
import logging
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TextIO

import agent.build
import conductor.build
from agent.simulator import Simulator, WorldError, default_spec, load_spec
from common import errors, rpc, service
from common.clock import SystemClock
from common.conductor_api import ConductorAPI
from conductor.api.app import make_app
from conductor.api.serve import Service as ApiService
from conductor.db.session import Database
from conductor.operations.settings import Settings


def parser() -> argparse.ArgumentParser:
    """Return the command's options."""
    options = argparse.ArgumentParser(prog="corral-allinone", description=(
        "Runs Corral with simulated XenServer hosts in one process, to try it out."))
    options.add_argument("--hosts", type=int, default=4, help="how many hosts, each a pool of its own (default 4)")
    options.add_argument("--vms", type=int, default=24, help="how many halted VMs in the first pool (default 24)")
    options.add_argument("--world", type=Path, help="a world file (YAML) instead of --hosts and --vms")
    options.add_argument("--speed", type=float, default=1.0,
                         help="seconds of the simulated hypervisors per second (default 1)")
    options.add_argument("--seed", type=int, default=0, help="for everything random in the simulator (default 0)")
    options.add_argument("--port", type=_port, default=8774, help="port of the API on 127.0.0.1; 0 takes a free one")
    options.add_argument("--state-dir", type=Path, default=Path("corral-state"),
                         help="folder that keeps everything (default ./corral-state)")
    options.add_argument("--sync-interval", type=_interval, default=10.0, metavar="S",
                         help="seconds between two heartbeats of an agent, 0.2 to 300 (default 10)")
    options.add_argument("--debug", action="store_true", help="log more than anybody wants to read")
    options.add_argument("--log-json", action="store_true", help="log in JSON, one object per line")
    return options


def _port(text: str) -> int:
    if text.isdecimal() and int(text) < 2 ** 16:
        return int(text)
    raise argparse.ArgumentTypeError(f"there is no port {text}")


def _interval(text: str) -> float:
    interval_s = float(text)
    if 0.2 <= interval_s <= 300:
        return interval_s
    raise argparse.ArgumentTypeError(f"{text} is not between 0.2 and 300")


class AllInOne:
    """All parts, wired; ``start`` and ``stop`` may each be called once."""

    def __init__(self, args: argparse.Namespace) -> None:
        args.state_dir.mkdir(parents=True, exist_ok=True)
        self._lock = _hold(args.state_dir)
        spec = load_spec(args.world) if args.world else default_spec(args.hosts, args.vms, args.seed)
        self.simulator = Simulator(spec, speed=args.speed, seed=args.seed,
                                   state_path=args.state_dir / "simulator.json")
        clock = SystemClock()
        state = args.state_dir.resolve()
        transport = rpc.transport(f"corral-inproc://{abs(hash(state)):x}/")
        # However often they speak: a busy machine makes agents late, not dead.
        settings = Settings(sync_interval_s=args.sync_interval, agent_down_s=max(3.5 * args.sync_interval, 15.0))
        self._database = Database(f"sqlite:///{state}/corral.sqlite")
        self._conductor = conductor.build.Service(self._database, transport, clock, settings, "allinone")
        self._transport: Any = transport
        self._clock = clock
        self._agents: list[agent.build.Agent] = []
        self._interval_s = args.sync_interval
        self.api = ApiService(make_app(ConductorAPI(transport)), "127.0.0.1", args.port)

    def start(self) -> None:
        """Open the door, then start the hypervisors, then who decides, then who acts.  Raises Unavailable."""
        # First what is most likely refused: by then nothing else has begun that would have to be ended.
        self.api.start()
        self.simulator.start()
        self._database.upgrade()
        self._conductor.start()
        user, password = self.simulator.login
        for name, url in self.simulator.hosts:
            settings = agent.build.AgentSettings(host=name, url=url, username=user, password=password,
                                                 sync_interval_s=self._interval_s)
            one = agent.build.build(settings, transport=self._transport, clock=self._clock)
            one.start()
            self._agents.append(one)

    def stop(self) -> None:
        """Close the door, then stop the others; what is under way is found again at the next start."""
        self._conductor.engine.end_waits()
        self.api.stop()
        with ThreadPoolExecutor(max(1, len(self._agents))) as together:
            list(together.map(lambda one: one.stop(), self._agents))
        self._conductor.stop()
        self.simulator.stop()
        self._lock.close()


def _hold(folder: Path) -> TextIO:
    """Keep the folder for this process; its end, however it comes, frees it.  Raises Unavailable."""
    lock = (folder / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        raise errors.Unavailable(f"Another corral-allinone runs on the folder {folder}", code="folder_in_use") from exc
    return lock


def main(argv: list[str] | None = None) -> int:
    """Run in the foreground; print ``ready: <url>`` once it serves; return the exit status."""
    args = parser().parse_args(argv)
    return service.guarded("corral-allinone", lambda: _run(args))


def _run(args: argparse.Namespace) -> int:
    service.log_to(logging.DEBUG if args.debug else logging.INFO, args.log_json)
    stop = service.Stop()
    stop.catch()
    try:
        running = AllInOne(args)
    except WorldError as exc:
        raise errors.Invalid(str(exc)) from exc
    running.start()
    for name, url in running.simulator.hosts:
        print(f"host {name} {url}")  # noqa: T201
    print("login", *running.simulator.login)  # noqa: T201
    print(f"ready: {running.api.url}", flush=True)  # noqa: T201
    status = stop.wait()
    running.stop()
    return status


if __name__ == "__main__":
    sys.exit(main())
