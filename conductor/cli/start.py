"""corral as a process: its signals and standard streams, around the command itself.

It knows no command.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from conductor.cli.client import FAILED

#: as shells name the end by SIGPIPE
READER_GONE = 141


def main() -> int:
    """Run the command that the arguments name; return its exit status."""
    return run(_load)


def run(load: Callable[[], Callable[[], int]]) -> int:
    """Load a command and run it; return its exit status, or READER_GONE when nobody reads what it says."""
    # The libraries take a second to load; Ctrl-C meanwhile ends it without a traceback.
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    command = load()
    signal.signal(signal.SIGINT, before)
    sys.stdout, sys.stderr = _usable(sys.stdout), _usable(sys.stderr)
    status = command()
    return _written(sys.stderr, _written(sys.stdout, status))


def _load() -> Callable[[], int]:
    from conductor.cli.main import main as command
    return command


def _usable(stream: TextIO | None) -> TextIO:
    """Return a stream that takes any character: one that was closed takes and loses them."""
    if stream is None:
        return Path(os.devnull).open("w", encoding="utf-8")
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="backslashreplace")
    return stream


def _written(stream: TextIO, status: int) -> int:
    """Write what is held back; return the status, or what it becomes when that can't be written."""
    try:
        stream.flush()
        return status
    except OSError as exc:
        # Python tries it once more at its end, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        if isinstance(exc, BrokenPipeError):
            return READER_GONE
        print(f"error: The output can't be written: {exc.strerror}", file=sys.stderr)  # noqa: T201
        return status or FAILED


if __name__ == "__main__":
    sys.exit(main())
