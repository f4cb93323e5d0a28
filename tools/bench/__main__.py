"""Measure everything, print each figure as ``name: value unit`` and write build/bench.json."""

import http.client
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

from common import errors
from tools import deployment
from tools.bench import allinone, drain, observer, planner, real, rest, simulator, transport
from tools.bench.figures import Figure, write
from tools.bench.processes import Broken
from tools.servers import guarded, install

RESULTS = Path("build/bench.json")
#: what a part says when what it measures did not do its part
FAILURES = (Broken, deployment.Failed, guarded.Broken, install.Missing, errors.Error, OSError,
            http.client.HTTPException)


def main() -> int:
    """Run the parts, or those that are named; return the exit status."""
    logging.disable(logging.WARNING)
    # All that was started is ended on the way out, as after Ctrl-C.
    signal.signal(signal.SIGTERM, _end)
    with tempfile.TemporaryDirectory(prefix="corral-bench-") as name:
        folder = Path(name)
        parts: dict[str, Callable[[], Iterator[Figure]]] = {
            "transport": transport.measure, "planner": planner.measure,
            "allinone": lambda: allinone.measure(folder), "drain": lambda: drain.measure(folder),
            "simulator": lambda: simulator.measure(folder), "observer": lambda: observer.measure(folder),
            "rabbitmq": lambda: real.measure(folder),
            "rest": lambda: rest.measure(folder)}
        wanted = sys.argv[1:] or list(parts)
        if not set(wanted) <= set(parts):
            print(f"bench: the parts are {', '.join(parts)}", file=sys.stderr)
            return 2
        figures = [_load()]
        print(figures[0].line, flush=True)
        try:
            for part in wanted:
                for figure in parts[part]():
                    print(figure.line, flush=True)
                    figures.append(figure)
        except FAILURES as exc:
            print(f"bench: {type(exc).__name__}: {exc}", file=sys.stderr)
            return 1
    write(RESULTS, figures)
    return 0


def _end(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)


def _load() -> Figure:
    """Return how busy the machine was before: with more than a little, all figures are pessimistic."""
    return Figure("load of the machine before", os.getloadavg()[0], "processes", {"cores": os.cpu_count()})


if __name__ == "__main__":
    sys.exit(main())
