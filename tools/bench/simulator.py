"""The simulator as its clients see it: calls through XenAPI, the start of a large world, memory for each VM.

As a program, `python -m tools.bench.simulator FILE`, it is the peer: a server that answers every request with
the bytes of a file, however they came to be.
"""

import socket
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
import xmlrpc.client
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import XenAPI

from tools.bench.figures import Figure
from tools.bench.processes import BIN, Broken, Process, running

LARGE_HOSTS, LARGE_VMS, RATE_HOSTS, RATE_VMS = 64, 2000, 4, 1000
STARTS, RATE_S, LEAST_CALLS, DEADLINE_S = 3, 3.0, 3, 60.0
Call = Callable[[Any, str], object]
CALLS: tuple[tuple[str, str, Call], ...] = (
    ("a field getter", "VM.get_power_state", lambda api, vm: api.VM.get_power_state(vm)),
    ("get_record of a VM", "VM.get_record", lambda api, vm: api.VM.get_record(vm)),
    (f"get_all_records of {RATE_VMS} VMs", "VM.get_all_records", lambda api, _vm: api.VM.get_all_records()))


def measure(folder: Path) -> Iterator[Figure]:
    """Yield the figures; takes about 60 s."""
    yield from _starts(folder)
    world = folder / "rates.yaml"
    world.write_text(world_text(RATE_HOSTS, RATE_VMS), encoding="utf-8")
    with _simulator(world, folder) as process:
        host = process.said[0][2]
        session = XenAPI.Session(host)
        session.xenapi.login_with_password("root", "corral-sim", "1.0", "bench")
        vm = session.xenapi.VM.get_by_name_label("v7")[0]
        for name, message, call in CALLS:
            yield from _beside_constant(process, session, vm, name, message, call, folder)
        session.xenapi.session.logout()


def _starts(folder: Path) -> Iterator[Figure]:
    imports = Figure("start of Python with the simulator's imports, median",
                     statistics.median(_import_s() for _ in range(STARTS)), "s", {"n": STARTS})
    large, empty = folder / "large.yaml", folder / "empty.yaml"
    large.write_text(world_text(LARGE_HOSTS, LARGE_VMS), encoding="utf-8")
    empty.write_text(world_text(LARGE_HOSTS, 0), encoding="utf-8")
    seconds, used, sizes = [], [], []
    for _ in range(STARTS):
        with _simulator(large, folder) as process:
            seconds.append(process.ready_s)
            used.append(process.cpu_s())
            sizes.append(process.resident_mib())
    with _simulator(empty, folder) as process:
        bare = process.resident_mib()
    what = {"n": STARTS, "hosts": LARGE_HOSTS, "vms": LARGE_VMS}
    start = Figure(f"start of a world of {LARGE_HOSTS} hosts and {LARGE_VMS} VMs, median", statistics.median(seconds),
                   "s", what)
    yield imports
    yield start
    yield start.beside(imports)
    yield Figure(f"CPU of the start of {LARGE_HOSTS} hosts and {LARGE_VMS} VMs, median", statistics.median(used), "s",
                 what)
    yield Figure("memory of that world, median", statistics.median(sizes), "MiB", what)
    yield Figure("memory for each simulated VM", (statistics.median(sizes) - bare) * 1024 / LARGE_VMS, "KiB",
                 {"means": "running, one disk, one interface; less the same world without VMs"})


def _beside_constant(process: Process, session: Any, vm: str, name: str, message: str, call: Call,
                     folder: Path) -> Iterator[Figure]:
    before, began = process.cpu_s(), time.monotonic()
    count = _calls(lambda: call(session.xenapi, vm))
    rate, used = count / (time.monotonic() - began), process.cpu_s() - before
    answer = folder / "answer"
    answer.write_bytes(_bytes_of(process.said[0][2], message, session._session, vm))
    words = [sys.executable, "-m", "tools.bench.simulator", str(answer)]
    with running(words, folder / "constant.log") as peer:
        constant = XenAPI.Session(peer.url)
        constant._session = session._session
        began = time.monotonic()
        bound = _calls(lambda: call(constant.xenapi, vm)) / (time.monotonic() - began)
    mine = Figure(f"XenAPI, {name}, one client", rate, "calls/s", {"n": count})
    theirs = Figure(f"XenAPI, {name}, server of constant bytes", bound, "calls/s",
                    {"bytes": answer.stat().st_size})
    yield theirs
    yield mine
    yield mine.beside(theirs)
    yield Figure(f"CPU of the simulator for {name}", 1e3 * used / count, "ms", {"n": count})


def _calls(act: Callable[[], object]) -> int:
    """Call for a while; return how often."""
    end, count = time.monotonic() + RATE_S, 0
    while count < LEAST_CALLS or time.monotonic() < end:
        act()
        count += 1
    return count


def _bytes_of(url: str, message: str, session: str, vm: str) -> bytes:
    params = (session,) if message.endswith("get_all_records") else (session, vm)
    request = urllib.request.Request(url, xmlrpc.client.dumps(params, message).encode())
    with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:
        content: bytes = answer.read()
    if b"<value>Success</value>" not in content[:200]:
        raise Broken(f"{message} was answered {content[:500]!r}")
    return content


def world_text(hosts: int, vms: int) -> str:
    """Return a world file: one pool, VMs that run, evenly spread."""
    names = [f"h{number}" for number in range(hosts)]
    lines = ["hosts:", *(f"  - {{name: {name}, memory: 1 TiB, cpus: 64}}" for name in names),
             f"pools: [{{name: bench, hosts: [{', '.join(names)}]}}]",
             "storage: [{name: shared, pool: h0, size: 500 TiB, default: true}]",
             "networks: [{name: lan, pool: h0, device: eth1}]", "vms:"]
    lines += [f"  - {{name: v{number}, host: {names[number % hosts]}, state: running, memory: 2 GiB, disks: [shared], "
              "networks: [lan]}" for number in range(vms)]
    return "\n".join(lines if vms else lines[:-1]) + "\n"


def _simulator(world: Path, folder: Path) -> Any:
    return running([str(BIN / "corral-simulator"), "--world", str(world)], folder / "simulator.log")


def _import_s() -> float:
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "import agent.simulator.main"], check=True)
    return time.monotonic() - began


# ---- the peer
def serve_constant(path: Path) -> None:
    """Answer every request on a free port with the file's bytes, until told to stop."""
    body = path.read_bytes()
    reply = (f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\ncontent-type: text/xml\r\n\r\n").encode() + body
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(f"ready: http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
        while True:
            threading.Thread(target=_answer_all, args=(listener.accept()[0], reply), daemon=True).start()


def _answer_all(connection: socket.socket, reply: bytes) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with connection, connection.makefile("rb") as stream:
        while line := stream.readline():
            length = 0
            while line.strip():
                name, _, value = line.partition(b":")
                length = int(value) if name.lower() == b"content-length" else length
                line = stream.readline()
            stream.read(length)
            connection.sendall(reply)


if __name__ == "__main__":
    serve_constant(Path(sys.argv[1]))
