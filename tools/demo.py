"""make demo: the whole story of aggregates and maintenance, through the real commands.

Every claim is checked by an independent login to the simulated hosts with the plain
XenAPI package.  It ends with ``demo: ok``, or says what differed and exits 1.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tools.independent import Pool, Watch, stands_alone

SPEED, SYNC_S = "60", "1"
BIN = Path(sys.executable).parent
HOSTS = ("h1", "h2", "h3", "h4")
#: real seconds that anything here may take at most
PATIENCE_S = 60.0


class Differed(Exception):
    """What was observed is not what was claimed."""


class Demo:
    """One running all-in-one, and how the demo talks to it."""

    def __init__(self, url: str, hosts: dict[str, str], password: str) -> None:
        self._environment = {**os.environ, "CORRAL_ENDPOINT": url, "COLUMNS": "140"}
        self.hosts = hosts
        self.password = password

    def corral(self, *words: str, status: int = 0, quiet: bool = False) -> str:
        """Run a command, print it and its answer; return what it wrote to standard output."""
        if not quiet:
            print(f"\n$ corral {' '.join(words)}", flush=True)
        done = subprocess.run([BIN / "corral", *words], env=self._environment, text=True, capture_output=True,
                              timeout=2 * PATIENCE_S, check=False)
        if not quiet:
            print(done.stdout + done.stderr, end="", flush=True)
        if done.returncode != status:
            raise Differed(f"corral {' '.join(words)} ended with status {done.returncode} and not {status}")
        return done.stdout

    def show(self, *words: str) -> Any:
        """Return what a command answers, for a program."""
        return json.loads(self.corral(*words, "-f", "json", quiet=True))

    def pool(self, host: str = "h1") -> Pool:
        """Log in to a host, past Corral."""
        return Pool(self.hosts[host], "root", self.password)


def check(claim: str, holds: bool, found: object = "") -> None:
    """Print a claim that holds.  Raises Differed for one that does not."""
    if not holds:
        raise Differed(f"not true: {claim} (found: {found})")
    print(f"  checked at the hosts: {claim}", flush=True)


def until(claim: str, holds: Any) -> None:
    """Wait until ``holds()``; it is looked at often, for at most PATIENCE_S.  Raises Differed."""
    pause, deadline = threading.Event(), time.monotonic() + PATIENCE_S
    while not holds():
        if time.monotonic() > deadline:
            raise Differed(f"not true within {PATIENCE_S:.0f} s: {claim}")
        pause.wait(0.1)


@contextlib.contextmanager
def all_in_one(state: Path) -> Iterator[Demo]:
    """Run corral-allinone until the block ends."""
    words = ["corral-allinone", "--hosts", "4", "--vms", "24", "--speed", SPEED, "--sync-interval", SYNC_S,
             "--port", "0", "--state-dir", str(state)]
    print(f"$ {' '.join(words)}", flush=True)
    with (state / "log").open("w") as log:
        process = subprocess.Popen([BIN / words[0], *words[1:]], stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            hosts, password = {}, ""
            for line in process.stdout or ():
                print(line, end="", flush=True)
                match line.split():
                    case ["host", name, url]:
                        hosts[name] = url
                    case ["login", _, password]:
                        pass
                    case ["ready:", url]:
                        yield Demo(url, hosts, password)
                        return
            raise Differed(f"corral-allinone ended before it was ready:\n{(state / 'log').read_text()[-2000:]}")
        finally:
            process.terminate()
            process.wait(PATIENCE_S)


def build_pool(demo: Demo) -> None:
    """Create the aggregate and add the four hosts."""
    until("all agents are enrolled", lambda: len(demo.show("host-list")) == len(HOSTS))
    demo.corral("aggregate-create", "rack1", "zone1")
    for host in HOSTS:
        demo.corral("aggregate-add-host", "1", host, "--wait")
    pool = demo.pool()
    check("one pool named rack1 with h1 as its master has four enabled, live hosts",
          (pool.name(), pool.master(), pool.serving()) == ("rack1", "h1", list(HOSTS)),
          (pool.name(), pool.master(), pool.serving()))
    for host in HOSTS[1:]:
        check(f"{host} answers as a member of that pool", demo.pool(host).url == demo.hosts["h1"])
    demo.corral("aggregate-set-metadata", "1", "rack=r1", "power=a")
    shown = demo.corral("aggregate-details", "1")
    if not all(text in shown for text in ("rack=r1", "power=a", "zone1", "h1, h2, h3, h4", "operational_state=active")):
        raise Differed("the details of the aggregate lack what was set")


def start_vms(demo: Demo) -> None:
    """Start all VMs over the pool, as an operator would."""
    pool = demo.pool()
    print("\nStarting 24 VMs over the pool through XenAPI, as an operator would", flush=True)
    pool.start_all(HOSTS)
    check("24 VMs are running, six on each host", {h: len(v) for h, v in pool.running().items()}
          == dict.fromkeys(HOSTS, 6), pool.running())
    until("Corral has observed them", lambda: [h["vms"] for h in demo.show("host-list")] == [6] * 4)
    demo.corral("host-list")


def maintain(demo: Demo, host: str) -> list[str]:
    """Empty a host; return the VMs that were there."""
    pool = demo.pool()
    before = pool.running()
    with Watch(demo.pool()) as watch:
        demo.corral("host-update", "--maintenance", "enable", host, "--wait")
    after = pool.running()
    check(f"{host} is disabled and nothing runs on it", not pool.enabled(host) and not after.get(host), after)
    check("all 24 VMs are running on the hosts that serve",
          sum(map(len, after.values())) == 24 and set(after) <= set(pool.serving()), after)
    check(f"every VM was seen running at each of {watch.looks} looks meanwhile", watch.looks > 0 and not watch.down,
          sorted(watch.down))
    return before[host]


def restore(demo: Demo, host: str, own: list[str]) -> None:
    """Take the host out of maintenance and see its own VMs come home."""
    with Watch(demo.pool()) as watch:
        demo.corral("host-update", "--maintenance", "disable", host, "--wait")
    pool = demo.pool()
    check(f"{host} is enabled and just its own VMs came home: {', '.join(own)}",
          pool.enabled(host) and pool.running()[host] == own and not watch.down, pool.running())


def story(demo: Demo) -> None:
    """Tell the whole story."""
    build_pool(demo)
    start_vms(demo)
    own = maintain(demo, "h2")
    operation = demo.show("operation-list")[0]["id"]
    demo.corral("operation-show", operation, "--timeline")
    demo.corral("aggregate-remove-host", "1", "h3", status=3)
    demo.corral("aggregate-delete", "1", status=3)
    check("nothing was taken out of the pool", demo.pool().members() == list(HOSTS), demo.pool().members())
    restore(demo, "h2", own)
    maintain(demo, "h2")
    demo.corral("aggregate-remove-host", "1", "h2", "--wait")
    check("the pool has three hosts left", demo.pool().members() == ["h1", "h3", "h4"], demo.pool().members())
    until("h2 stands alone", lambda: stands_alone(demo.hosts["h2"], "root", demo.password))
    check("h2 is a pool of its own again", demo.pool("h2").members() == ["h2"])
    demo.corral("aggregate-details", "1")
    demo.corral("operation-list")


def main() -> int:
    """Run the demo; return the exit status."""
    began = time.monotonic()
    print(f"The hypervisors' time runs {SPEED} times as fast, and agents synchronise every {SYNC_S} s instead of 10 s.")
    with tempfile.TemporaryDirectory(prefix="corral-demo-") as folder:
        try:
            with all_in_one(Path(folder)) as demo:
                story(demo)
        except KeyboardInterrupt:
            print("\ndemo: interrupted")
            return 130
        except Exception as exc:  # noqa: BLE001
            # Whatever went wrong, a newcomer is told in a sentence, with the service's last words.
            print(f"\ndemo: {type(exc).__name__}: {exc}")
            print("".join((Path(folder) / "log").read_text().splitlines(keepends=True)[-15:]))
            return 1
    print(f"\ndemo: ok ({time.monotonic() - began:.0f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
