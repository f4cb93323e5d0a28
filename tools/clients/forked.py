"""Runs inside a client's environment: loads the client once, and forks for each of its commands.

A client takes seconds to load and a moment to work.  Each command still is a process of
its own, from the client's own ``main`` to its exit status; only the imports are shared.
Standard input has one command per line, standard output one result, both as JSON.  It
imports nothing of ours.
"""

import gc
import importlib
import inspect
import json
import os
import sys


def main(place: str) -> None:
    """Serve until standard input ends; ``place`` is the client's main, as ``module:function``."""
    module, _, function = place.partition(":")
    commands, results = os.dup(0), os.fdopen(os.dup(1), "w")
    run = getattr(importlib.import_module(module), function)
    known: set[str] = set()
    with os.fdopen(commands) as lines:
        for line in lines:
            command = json.loads(line)
            out, err, loaded = (os.memfd_create(name) for name in ("out", "err", "loaded"))
            # what is there already is no child's to look through
            gc.freeze()
            child = os.fork()
            if child == 0:
                _become(command, out, err)
                try:
                    # A main's default is often the words of this process, taken when it was loaded.
                    status = run(sys.argv[1:]) if inspect.signature(run).parameters else run()
                finally:
                    os.write(loaded, "\n".join(sys.modules).encode())
                # From here on it ends as the client's own script does.
                sys.exit(status)
            _, ended = os.waitpid(child, 0)
            json.dump({"status": os.waitstatus_to_exitcode(ended), "out": _read(out), "err": _read(err)}, results)
            results.write("\n")
            results.flush()
            _learn(set(_read(loaded).split()) - known)
            known |= set(sys.modules)


def _become(command: dict, out: int, err: int) -> None:  # type: ignore[type-arg]
    """Be a fresh process that was started with the command's words and environment."""
    null = os.open(os.devnull, os.O_RDONLY)
    for mine, standard in ((null, 0), (out, 1), (err, 2)):
        os.dup2(mine, standard)
    os.environ.clear()
    os.environ.update(command["environ"])
    sys.argv = command["words"]


def _learn(modules: set[str]) -> None:
    """Import what a command has needed, so that the next one finds it."""
    for name in sorted(modules):
        try:
            importlib.import_module(name)
        except ImportError:
            # Some names in sys.modules are no files: aliases that another module makes.
            continue


def _read(memory: int) -> str:
    with os.fdopen(memory, "rb") as file:
        file.seek(0)
        return file.read().decode(errors="replace")


if __name__ == "__main__":
    main(sys.argv[1])
