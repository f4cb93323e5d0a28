"""Virtual environments from pinned lists, built once and kept under ``build/clients``.

A list ``NAME.txt`` is all that an environment depends on: each line one package, exactly,
and nothing else is installed.  So nothing has to be resolved, and what was built once is
good until its list or the Python changes.
"""

import fcntl
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

_LISTS = Path(__file__).parent
KEPT = _LISTS.parents[1] / "build" / "clients"


class NotBuilt(Exception):
    """An environment could not be built; the message has pip's last words."""


def names() -> list[str]:
    """Return the names of all environments."""
    return sorted(path.stem for path in _LISTS.glob("*.txt"))


def built(name: str, kept: Path = KEPT) -> Path:
    """Return the folder of an environment, built if need be.

    Safe to call from several processes at once: one builds, the others wait.  Raises NotBuilt.
    """
    wanted = _LISTS / f"{name}.txt"
    mark = hashlib.sha256(wanted.read_bytes() + sys.version.encode()).hexdigest()
    folder, ready = kept / name, kept / name / "ready"
    kept.mkdir(parents=True, exist_ok=True)
    with (kept / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ready.exists() or ready.read_text() != mark:
            shutil.rmtree(folder, ignore_errors=True)
            _build(wanted, folder)
            ready.write_text(mark)
    return folder


def _build(wanted: Path, folder: Path) -> None:
    # Our own pip works in it from outside, which spares each environment one; what is never
    # imported need not be compiled.
    _run(sys.executable, "-m", "venv", "--without-pip", str(folder))
    _run(sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "--disable-pip-version-check",
         "install", "--quiet", "--no-deps", "--no-compile", "--requirement", str(wanted))


def _run(*words: str) -> None:
    done = subprocess.run(words, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False)
    if done.returncode != 0:
        raise NotBuilt(f"{' '.join(words)} ended with {done.returncode}:\n{done.stdout[-4000:]}")
