"""What Corral ships for oslo.messaging's settings, and the name of a process at the broker.

All are defaults: an operator's file wins.  It knows the options by name only.
"""

import fcntl
import logging
import os
import stat
import tempfile
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import quote

from oslo_concurrency import lockutils

from common import errors

LOG = logging.getLogger(__name__)

#: the group of oslo.messaging's options for RabbitMQ
GROUP = "oslo_messaging_rabbit"

DEFAULTS: dict[str, Any] = {
    # RabbitMQ 4.3 refuses queues that are neither durable nor exclusive; these also outlive one node of a cluster.
    "rabbit_quorum_queue": True,
    "rabbit_transient_quorum_queue": True,
    # A listener is deaf until a dead connection is noticed.
    "heartbeat_timeout_threshold": 20,
    # Seconds that a reply to somebody who is gone holds a worker; longer than an agent waits is of no use.
    "kombu_missing_consumer_retry_timeout": 20,
}


def set_defaults(conf: Any, process: str | None) -> None:
    """Set what we ship on ``conf``, where oslo.messaging's options are registered.

    With ``process`` its queue for replies has a name of its own that stays, as
    permissions need it; without, a random one.
    """
    for name, value in DEFAULTS.items():
        conf.set_default(name, value, group=GROUP)
    if process is not None:
        conf.set_default("use_queue_manager", True, group=GROUP)
        conf.set_default("processname", process, group=GROUP)
    conf.register_opts(lockutils._opts, group="oslo_concurrency")
    if conf.oslo_concurrency.lock_path is None:
        conf.set_default("lock_path", str(lock_folder(os.environ)), group="oslo_concurrency")
    _require_folder(Path(conf.oslo_concurrency.lock_path))


def _require_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        why = None if os.access(folder, os.W_OK | os.X_OK) else "Permission denied"
    except OSError as exc:
        why = exc.strerror
    if why:
        raise errors.Invalid(f"[oslo_concurrency] lock_path: the folder {folder} can't be used: {why}",
                             code="bad_configuration")


def lock_folder(environment: Any) -> Path:
    """Return the folder for lock files: systemd's for this unit, else one of this user, made if need be.

    Raises Invalid when somebody else's is in its place.
    """
    if runtime := environment.get("RUNTIME_DIRECTORY"):
        return Path(runtime.split(":")[0])
    folder = Path(environment.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()) / f"corral-{os.getuid()}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise errors.Invalid(f"{folder} is not a folder that only this user may write to; remove it, or set "
                             "[oslo_concurrency] lock_path", code="bad_configuration")
    return folder


class Name:
    """A name at the broker that only one process of this machine may have at a time.

    Two that read replies from one queue would take each other's; so who comes second,
    be it that the first is only about to end, gets another name.
    """

    def __init__(self, conf: Any, wanted: str) -> None:
        self._folder = Path(conf.oslo_concurrency.lock_path)
        self._wanted = wanted
        self._taken: str | None = None
        self._lock: Any = None

    def taken(self) -> str:
        """Return the wanted name, which then is held until the process ends, or a unique one that begins so."""
        if self._taken is None:
            self._taken = self._wanted if self._hold() else f"{self._wanted}:{uuid.uuid4().hex[:12]}"
        return self._taken

    def _hold(self) -> bool:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (self._folder / f"{quote(self._wanted, safe='')}.lock").open("w", encoding="ascii")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            LOG.warning("Another process is called %s at the message broker; this one gets a name of its own",
                        self._wanted)
            return False
        self._lock = lock
        return True
