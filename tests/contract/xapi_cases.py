"""The rows of what is known about xapi, and the cases that show them, as they are on disk.  Runs nothing."""

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).with_name("xapi")
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C parser is ten times as fast
ELSEWHERE_TOO = ("restart_toolstack",)  #: of what an `act` does; all else nobody can do to a real host from here


@dataclass(frozen=True)
class Row:
    """One thing that is known of xapi.

    It has cases, or `not_shown` says why it has none, or `see` names the row whose cases show it.  `seconds` are
    figures of agent/simulator/timing.py (`NAME`, `NAME.key`) with what was seen: a value, or the lowest and highest.
    """

    id: str
    says: str
    not_shown: str = ""
    see: str = ""
    seconds: dict[str, float | list[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """Steps in a setting, which show the row that the id names before its `#`."""

    id: str
    steps: list[dict[str, Any]] = field(repr=False)
    setting: str = "pair"
    world: dict[str, Any] | None = field(default=None, repr=False)
    tls: bool = False              #: whether simulated hosts have certificates ...
    self_signed: bool = False      #: ... that each vouch for themselves, as real ones do
    simulator_only: str = ""
    real_time: bool = False        #: whether the seconds that it lets pass are roughly enough for real hosts too

    @property
    def row(self) -> str:
        """The id of the row that it shows."""
        return self.id.partition("#")[0]

    @property
    def is_timed(self) -> bool:
        """Tell whether the clock of its hosts stands still but for its own steps."""
        return any("pass" in step for step in self.steps)

    @property
    def needs_simulator(self) -> str:
        """Say why it makes sense at simulated hosts only, "" if it does elsewhere."""
        acts = [deed for step in self.steps for deed in step.get("act", {}) if deed not in ELSEWHERE_TOO]
        stands_still = self.is_timed and not self.real_time
        if self.simulator_only or not (acts or self.world or stands_still):
            return self.simulator_only
        if stands_still:
            return "no real clock stands still"
        return f"nobody can {acts[0]} a real host from here" if acts else "it needs hosts of its own making"


@cache
def rows() -> tuple[Row, ...]:
    """Return all rows, in the order of the files."""
    return tuple(Row(**entry) for entry in _entries("rows"))


@cache
def cases() -> tuple[Case, ...]:
    """Return all cases, in the order of the files."""
    return tuple(Case(**entry) for entry in _entries("cases"))


def _entries(folder: str) -> list[dict[str, Any]]:
    return [entry for path in sorted((FOLDER / folder).glob("*.yaml"))
            for entry in yaml.load(path.read_text(encoding="utf-8"), LOADER) or []]
