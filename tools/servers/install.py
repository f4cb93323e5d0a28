"""Where the servers' programs are; on Debian, for root, it installs what is missing.

No service of the machine is started by that.  It knows nothing of how a server is run.
"""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

_POLICY = "#!/bin/sh\n# No service starts while the tests' servers are being installed.\nexit 101\n"


class Missing(Exception):
    """A server's programs are not there; the message says what to do."""


@dataclass(frozen=True)
class Wanted:
    """A server: its name for people, its package, its programs and where Debian keeps them."""

    title: str
    package: str
    programs: tuple[str, ...]
    folders: tuple[str, ...]


# The scripts on the PATH change to RabbitMQ's own user and folders; those behind them do as they are told.
WANTED = {
    "rabbitmq": Wanted("RabbitMQ", "rabbitmq-server", ("rabbitmq-server",), ("/usr/lib/rabbitmq/bin",)),
    "postgresql": Wanted("PostgreSQL", "postgresql", ("initdb", "postgres"), ("/usr/lib/postgresql/*/bin",)),
    "mariadb": Wanted("MariaDB", "mariadb-server", ("mariadbd", "mariadb-install-db"), ("/usr/sbin", "/usr/bin")),
}


def _path() -> tuple[str, ...]:
    return tuple(os.environ.get("PATH", os.defpath).split(os.pathsep))


@dataclass(frozen=True)
class Machine:
    """What a look-up depends on: the folders searched (None: Debian's, then the PATH's) and who asks."""

    folders: tuple[str, ...] | None = None
    uid: int = field(default_factory=os.geteuid)
    apt: str = "apt-get"
    policy: Path = Path("/usr/sbin/policy-rc.d")
    lock: Path = Path("/var/lock/corral-servers-install")

    def found(self, server: str) -> dict[str, Path]:
        """Return the programs of a server by name, of the newest version; none when any is missing."""
        wanted = WANTED[server]
        places = [*wanted.folders, *_path()] if self.folders is None else self.folders
        paths = [path for place in places for path in _matching(place)]
        there = {name: folder / name for name in wanted.programs for folder in reversed(paths)
                 if os.access(folder / name, os.X_OK)}
        return there if len(there) == len(wanted.programs) else {}


def _matching(place: str) -> list[Path]:
    path = Path(place)
    if "*" not in place:
        return [path]
    return sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor))), key=_numbers, reverse=True)


def _numbers(path: Path) -> list[int]:
    return [int(part) for part in path.parts if part.isdigit()]


def programs(server: str, machine: Machine | None = None) -> dict[str, Path]:
    """Return a server's programs by name, installed if need be.  Raises Missing."""
    machine = machine or Machine()
    ensure([server], machine)
    return machine.found(server)


def ensure(servers: Iterable[str], machine: Machine | None = None) -> None:
    """Install what is missing of these servers, in one go; does nothing when all are there.

    Raises Missing.  Safe to call from several processes at once.
    """
    machine = machine or Machine()
    missing = [server for server in servers if not machine.found(server)]
    if not missing:
        return
    if machine.uid != 0 or shutil.which(machine.apt) is None:
        raise Missing(_sentence(missing))
    with _alone(machine.lock), _no_service_starts(machine.policy):
        missing = [server for server in missing if not machine.found(server)]
        said = _install(machine.apt, [WANTED[server].package for server in missing]) if missing else ""
    if still := [server for server in missing if not machine.found(server)]:
        raise Missing(f"{_sentence(still)}\nThat was tried, and said:\n{said[-2000:]}")


def _sentence(servers: list[str]) -> str:
    titles = " and ".join(WANTED[server].title for server in servers)
    packages = " ".join(WANTED[server].package for server in servers)
    verb, them = ("is", "it") if len(servers) == 1 else ("are", "them")
    return f"{titles} {verb} missing; install {them}: apt-get install {packages}"


def _install(apt: str, packages: list[str]) -> str:
    """Run ``apt`` for these packages; return what it said."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    patience = ["-o", "DPkg::Lock::Timeout=600", "-o", "Acquire::Retries=3"]
    said = ""
    # A repository that can't be reached fails the update, though the packages may well be had from another one.
    for words in (["update"], ["install", "-y", "--no-install-recommends", *packages]):
        done = subprocess.run([apt, *patience, *words], env=environment, text=True, check=False,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        said += done.stdout
    return said


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _no_service_starts(policy: Path) -> Iterator[None]:
    """Keep packages from starting services; afterwards the machine's own policy, if any, is back.

    A predecessor that was killed in here left the machine's policy aside; then that one counts.
    """
    aside = policy.with_name(f"{policy.name}.before-corral")
    if policy.exists() and policy.read_text(encoding="utf-8") != _POLICY:
        policy.replace(aside)
    policy.write_text(_POLICY, encoding="utf-8")
    policy.chmod(0o755)
    try:
        yield
    finally:
        if aside.exists():
            aside.replace(policy)
        else:
            policy.unlink()
