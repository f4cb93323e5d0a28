"""``python -m tools.servers [--only rabbitmq,...] [-- COMMAND ...]``: private servers while a command runs.

Without a command: until Ctrl-C.  The servers' addresses are printed, and given to the command
in the variables of ``environment``.
"""

import argparse
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from types import FrameType

from tools.servers import environment, install
from tools.servers.guarded import Broken

#: seconds that the command gets after a signal, to end in good order
_PATIENCE_S = 20.0


def main(argv: list[str]) -> int:
    """Run the servers and the command; return the command's status, 128 + n when signal n ended it."""
    words, command = _split(argv)
    parser = argparse.ArgumentParser(prog="python -m tools.servers", description=__doc__.split("\n")[0],
                                     usage="%(prog)s [--only SERVER,...] [-- COMMAND ...]")
    parser.add_argument("--only", type=_names, default=list(environment.KINDS), metavar="SERVER,...",
                        help=f"some of {', '.join(environment.KINDS)}")
    chosen = parser.parse_args(words).only
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        with ExitStack() as stack:
            return _run(command, _start(chosen, stack))
    except (install.Missing, Broken) as exc:
        print(exc, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _split(argv: list[str]) -> tuple[list[str], list[str]]:
    at = argv.index("--") if "--" in argv else len(argv)
    return argv[:at], argv[at + 1:]


def _names(text: str) -> list[str]:
    names = text.split(",")
    if unknown := set(names) - set(environment.KINDS):
        raise argparse.ArgumentTypeError(f"there is no server {', '.join(sorted(unknown))}")
    return names


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _start(names: list[str], stack: ExitStack) -> dict[str, str]:
    """Start these servers at once, each to be closed by ``stack``; return what tells others of them."""
    install.ensure(names)
    servers = [environment.KINDS[name]() for name in names]
    # Closed in the reverse order: an interrupt ends servers that are just starting, and so the threads.
    threads = stack.enter_context(ThreadPoolExecutor(len(servers)))
    for server in servers:
        stack.callback(server.close)
    list(threads.map(lambda server: server.start(), servers))
    return {name: value for server in servers for name, value in environment.variables(server).items()}


def _run(command: list[str], told: dict[str, str]) -> int:
    for name, value in told.items():
        print(f"{name}={value}", flush=True)
    if not command:
        threading.Event().wait()
    with subprocess.Popen(command, env={**os.environ, **told}) as process:
        try:
            status = process.wait()
        except KeyboardInterrupt:
            # A terminal sent it to the command as well; whoever signalled only us did not.
            try:
                process.wait(_PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.terminate()
            raise
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
