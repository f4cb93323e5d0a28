"""corral-simulator: the command that runs simulated hosts in the foreground."""

import argparse
import contextlib
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from agent.simulator.failure import WorldError
from agent.simulator.simulator import DEFAULT_PASSWORD, Simulator
from agent.simulator.spec import default_spec, load_spec
from agent.simulator.swarm import swarm

DESCRIPTION = """\
Simulated XenServer hosts that answer XenAPI as xapi 24.16 was seen to, each on a
loopback address of its own. Needs no hypervisor, no root and no network.
Prints where everything is, then `ready`; Ctrl-C or SIGTERM ends it."""
EPILOG = """\
examples:
  corral-simulator                                     four hosts that wait to be joined
  corral-simulator --world etc/worlds/home-lab.yaml    a world from a file
  corral-simulator --speed 60 --state world.json       fast, and kept over restarts
  corral-simulator --tls --control --swarm 7           certificates, and trouble

World files, faults and what is simulated: doc/simulator.md"""

HOSTS, VMS = 4, 24


def parser() -> argparse.ArgumentParser:
    """Return the command's options."""
    options = argparse.ArgumentParser(prog="corral-simulator", formatter_class=argparse.RawDescriptionHelpFormatter,
                                      description=DESCRIPTION, epilog=EPILOG)
    world = options.add_argument_group("what is simulated")
    world.add_argument("--hosts", type=int, metavar="N", help=f"hosts, each a pool of its own (default {HOSTS})")
    world.add_argument("--vms", type=int, metavar="N", help=f"halted VMs in h1's pool (default {VMS})")
    world.add_argument("--world", type=Path, metavar="FILE", help="a world file (YAML) instead of --hosts and --vms")
    world.add_argument("--state", type=Path, metavar="FILE",
                       help="keep the world in this file, and go on from it if it exists")
    world.add_argument("--speed", type=float, default=1.0, metavar="X", help="simulated seconds per second (default 1)")
    world.add_argument("--seed", type=int, default=0, metavar="S", help="for everything random (default 0)")
    where = options.add_argument_group("how it is reached")
    where.add_argument("--port", type=int, default=0, metavar="P", help="the hosts' common port (default: a free one)")
    where.add_argument("--password", default=DEFAULT_PASSWORD, metavar="P",
                       help="root's, on all hosts (default %(default)s)")
    where.add_argument("--tls", nargs="?", const="", metavar="FOLDER", help=(
        "HTTPS too, on the same port; certificates are kept in FOLDER, without one they go at the end"))
    where.add_argument("--self-signed", action="store_true", help=(
        "with --tls: each host's certificate vouches for itself and has an RSA key, as a real host's"))
    faults = options.add_argument_group("what goes wrong, and what was called")
    faults.add_argument("--swarm", type=int, metavar="SEED",
                        help="faults drawn by this seed, for ten simulated minutes")
    faults.add_argument("--control", nargs="?", type=int, const=0, metavar="PORT", help=(
        "take faults and show the call log at http://127.0.0.1:PORT/simulator (without PORT: a free one)"))
    faults.add_argument("--calls", type=Path, metavar="FILE", help="write each call as a line of JSON")
    return options


def main(argv: list[str] | None = None) -> int:
    """Run until interrupted; 0 after SIGTERM, 130 after Ctrl-C, 2 when it cannot start."""
    args = parser().parse_args(argv)
    ended, serving = threading.Event(), threading.Event()
    code: list[int] = []

    def end(number: int, _frame: object) -> None:
        code.append(130 if number == signal.SIGINT else 0)
        if not serving.is_set():  # a large world takes its time to be made
            raise SystemExit(code[0])
        ended.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    with contextlib.ExitStack() as stack:
        try:
            simulator = simulator_of(args, stack)
        except (WorldError, OSError) as exc:
            reason = f"cannot listen: {exc.strerror}" if isinstance(exc, OSError) else str(exc)
            sys.stderr.write(f"corral-simulator: {reason}\n")
            return 2
        serving.set()
        try:
            simulator.start()
        except OSError as exc:
            sys.stderr.write(f"corral-simulator: cannot write {args.state}: {exc.strerror}\n")
            return 2
        with contextlib.suppress(OSError, AttributeError):  # nobody reads it
            sys.stdout.writelines(f"{line}\n" for line in announcements(simulator))
            sys.stdout.flush()
        ended.wait()
        simulator.stop()
    return code[0]


def simulator_of(args: argparse.Namespace, stack: contextlib.ExitStack) -> Simulator:
    """Return the simulator that the options ask for; what must go at the end goes onto the stack."""
    if args.world and (args.hosts, args.vms) != (None, None):
        raise WorldError("--world says which hosts and VMs there are: it goes without --hosts and --vms")
    if not args.password:
        raise WorldError("--password: root needs one")
    spec = load_spec(args.world) if args.world else default_spec(
        HOSTS if args.hosts is None else args.hosts, VMS if args.vms is None else args.vms, args.seed)
    if args.swarm is not None:
        spec = replace(spec, faults=(*spec.faults, *swarm(spec, args.swarm)))
    folder = args.tls
    if args.self_signed and folder is None:
        raise WorldError("--self-signed says how certificates are made: it goes with --tls")
    if folder == "":
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="corral-simulator-"))
    return Simulator(spec, speed=args.speed, seed=args.seed, port=args.port, state_path=args.state,
                     password=args.password, tls_folder=None if folder is None else Path(folder),
                     self_signed=args.self_signed, control_port=args.control, calls_path=args.calls)


def announcements(simulator: Simulator) -> Iterator[str]:
    """Yield the lines that tell where everything is; the last is `ready`."""
    yield from (f"host {name} {url}" for name, url in simulator.hosts)
    if simulator.authority:
        yield f"ca {simulator.authority.ca_file} {simulator.authority.fingerprint or 'self-signed'}"
        for node in simulator.world.nodes.values():
            yield f"certificate {node.name} {simulator.certificates[node.address].fingerprint}"
    if simulator.control_url:
        yield f"control {simulator.control_url}"
    yield f"login {' '.join(simulator.login)}"
    yield "ready"


if __name__ == "__main__":
    sys.exit(main())
