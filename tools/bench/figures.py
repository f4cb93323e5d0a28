"""What a figure is, and how it is printed and kept.  It measures nothing."""

import json
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One measured number; ``more`` says how it was got, and what else is known of it."""

    name: str
    value: float
    unit: str
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def line(self) -> str:
        """Return ``name: value unit``."""
        return f"{self.name}: {rounded(self.value)} {self.unit}"

    def beside(self, peer: "Figure") -> "Figure":
        """Return how many times the peer's value this one's is."""
        ratio = self.value / peer.value if peer.value else math.inf
        mine, other = (one.name.removesuffix(", median") for one in (self, peer))
        return Figure(f"ratio of {mine} to {other}", ratio, "times")


def rounded(value: float) -> str:
    """Return the value with at least three significant digits."""
    if not math.isfinite(value):
        return "inf"
    digits = 2 - math.floor(math.log10(abs(value))) if value else 0
    return f"{value:.{min(max(digits, 0), 6)}f}"


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that at least ``percent`` % of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(math.ceil(len(ordered) * percent / 100), 1) - 1]


def spread(name: str, values: Sequence[float], unit: str, **more: Any) -> list[Figure]:
    """Return the median and the 99th percentile; with fewer than 100 values that is the largest."""
    count = {"n": len(values), **more}
    return [Figure(f"{name}, median", statistics.median(values), unit, count),
            Figure(f"{name}, 99th percentile", percentile(values, 99), unit, count)]


def write(path: Path, figures: Iterable[Figure]) -> None:
    """Write {name: {value, unit, ...}}."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {one.name: {"value": one.value, "unit": one.unit, **one.more} for one in figures}
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
