"""Runs a client's commands in the client's own environment, and gives back what people would see.

It knows which program is in which environment, and nothing of what the commands mean.
"""

import json
import os
import select
import subprocess
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tools.clients import environments, forked

#: seconds that one command may take; a machine that is busy with other tests is slow
PATIENCE_S = 120.0


@dataclass(frozen=True)
class Program:
    """A client's program: its environment, where its main is, what it is called."""

    environment: str
    main: str
    name: str


OPENSTACKCLIENT = Program("openstackclient", "openstackclient.shell:main", "openstack")
NOVACLIENT_18 = Program("novaclient18", "novaclient.shell:main", "nova")
NOVACLIENT_9 = Program("novaclient9", "novaclient.shell:main", "nova")
NOVACLIENT_6 = Program("novaclient6", "novaclient.shell:main", "nova")
#: a library; tools/clients/sdk_calls.py makes a command of each of its methods
OPENSTACKSDK = Program("openstacksdk", "sdk_calls:main", "sdk")


@dataclass(frozen=True)
class Done:
    """What a command printed and its exit status."""

    status: int
    out: str
    err: str


class Client:
    """A client that is loaded and runs commands, one after another, with the environment given."""

    def __init__(self, program: Program, environ: dict[str, str]) -> None:
        folder = environments.built(program.environment)
        self._name = program.name
        # Nothing of ours goes in: no settings of the surroundings, no proxies.
        self._environ = {"PATH": os.defpath, "HOME": str(folder), "LANG": "C.UTF-8", "COLUMNS": "200", **environ}
        self._process = subprocess.Popen(
            [str(folder / "bin" / "python"), forked.__file__, program.main], text=True, cwd="/",
            env={**self._environ, "PYTHONPATH": str(Path(forked.__file__).parent)} if program is OPENSTACKSDK
            else self._environ,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)

    def run(self, *words: str, **environ: str) -> Done:
        """Run one command; ``environ`` is added to the client's for this one only."""
        assert self._process.stdin is not None and self._process.stdout is not None
        command = {"words": [self._name, *words], "environ": {**self._environ, **environ}}
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        ready, _, _ = select.select([self._process.stdout], [], [], PATIENCE_S)
        assert ready, f"{self._name} {' '.join(words)} did not end within {PATIENCE_S:.0f} s"
        return Done(**json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        """End it."""
        os.killpg(self._process.pid, 9)
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()
