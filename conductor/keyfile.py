"""Files of secrets for an administrator: readable by their owner only, replaced as a whole or not at all.

It knows what stands in them through ``common/mac.py`` only.
"""

import os
import tempfile
from pathlib import Path

from common import errors, mac

_OWNER_ONLY = 0o600


def read(path: Path) -> str:
    """Return what stands in a file.  Raises Invalid when it can't be read."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is not text"
        raise errors.Invalid(f"The file {path} can't be read: {reason}") from exc


def make(path: Path) -> None:
    """Make the conductors' file with a first secret in it.  Raises AlreadyExists, Invalid."""
    write(path, f"{mac.new_master()}\n", replace=False)


def rotate(path: Path) -> int:
    """Put a new secret before those in the conductors' file; return how many there are now.  Raises Invalid.

    The file keeps its owner and its permissions, and everything that stands in it.
    """
    before = read(path)
    mac.read_keys(before)
    text = f"{mac.new_master()}\n{before}"
    write(path, text, replace=True)
    return mac.read_keys(text).count


def write(path: Path, text: str, *, replace: bool) -> None:
    """Write a secret to a file that nobody else may read; one that is there keeps its owner and permissions.

    Raises AlreadyExists unless it may be replaced, Invalid when the system refuses.
    """
    try:
        if path.exists() and not replace:
            raise FileExistsError
        _write(path, text, replace)
    except FileExistsError as exc:
        raise errors.AlreadyExists(f"The file {path} is there already; it may be somebody's only key") from exc
    except OSError as exc:
        raise errors.Invalid(f"The file {path} can't be written: {exc.strerror}") from exc


def _write(path: Path, text: str, replace: bool) -> None:
    before = path.stat() if path.exists() else None
    number, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    fresh = Path(name)
    try:
        with os.fdopen(number, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fchmod(number, _OWNER_ONLY if before is None else before.st_mode & 0o7777)
            if before is not None and (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(number, before.st_uid, before.st_gid)
            os.fsync(number)
        if replace:
            fresh.replace(path)
        else:
            # Unlike a rename, a link never takes the place of a file that came meanwhile.
            path.hardlink_to(fresh)
    finally:
        fresh.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
