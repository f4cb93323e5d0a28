"""Read what people write into files and requests: mappings, names, sizes; errors name the place.

Knows dataclasses by their annotations (one of them stands inside others: Traits), and nothing of what they mean.
"""

import re
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from agent.simulator.failure import WorldError
from agent.simulator.traits import Traits

MOST_COPIES = 10000
MOST = 1e9  # seconds, and whatever else is no whole number; NaN and infinity are no numbers of anything
MOST_WHOLE = 2**62  # xapi's numbers have 64 bits
UNITS = {"": 1, "KIB": 1024, "MIB": 1024**2, "GIB": 1024**3, "TIB": 1024**4, "KB": 10**3, "MB": 10**6, "GB": 10**9}


def repeated(place: str, entry: Any) -> Iterator[tuple[str, Any]]:
    """Yield the entry, or with `count: N` N of it with {n} in all texts replaced; each with its place."""
    if not isinstance(entry, dict) or "count" not in entry:
        yield place, entry
        return
    count = entry["count"]
    if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= MOST_COPIES:
        raise WorldError(f"{place}.count: a number from 1 to {MOST_COPIES} is expected, not {count!r}")
    if "{n}" not in str(entry.get("name")):
        raise WorldError(f"{place}.name: with `count` it must contain {{n}}, or all have the same name")
    for number in range(1, count + 1):
        yield f"{place} number {number}", {key: _numbered(value, number) for key, value in entry.items()
                                           if key != "count"}


def _numbered(value: Any, number: int) -> Any:
    if isinstance(value, str):
        return value.replace("{n}", str(number))
    if isinstance(value, list):
        return [_numbered(item, number) for item in value]
    if isinstance(value, dict):
        return {key: _numbered(item, number) for key, item in value.items()}
    return value


def entry_of(kind: type, place: str, entry: Any) -> Any:
    """Return a mapping as the dataclass `kind`, checked; raises WorldError with the place."""
    if not isinstance(entry, dict):
        raise WorldError(f"{place}: a mapping is expected")
    known = {one.name: one for one in fields(kind)}
    values: dict[str, Any] = {}
    for key, value in entry.items():
        if key not in known:
            raise WorldError(f"{place}: unknown key {key!r}; known are {', '.join(known)}")
        values[key] = value_of(f"{place}.{key}", str(known[key].type), value)
    missing = [name for name, one in known.items()
               if name not in values and repr(one.default).startswith("<dataclasses._MISSING")
               and repr(one.default_factory).startswith("<dataclasses._MISSING")]
    if missing:
        raise WorldError(f"{place}: {missing[0]!r} is missing")
    return kind(**values)


def value_of(place: str, kind: str, value: Any) -> Any:
    """Return a value as the annotation `kind` wants it; raises WorldError with the place."""
    if kind.startswith("list"):
        if not isinstance(value, list):
            raise WorldError(f"{place}: a list is expected")
        return value
    if "Traits" in kind:
        return entry_of(Traits, place, value)
    if "tuple" in kind:
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise WorldError(f"{place}: a list of names is expected")
        return tuple(value)
    if "dict" in kind:
        if not isinstance(value, dict):
            raise WorldError(f"{place}: a mapping is expected")
        if kind.count("dict") > 1:
            return {str(key): value_of(f"{place}.{key}", "dict", item) for key, item in value.items()}
        return {str(key): str(item) for key, item in value.items()}
    if "bool" in kind:
        if not isinstance(value, bool):
            raise WorldError(f"{place}: true or false is expected, not {value!r}")
        return value
    if "float" in kind:
        if isinstance(value, bool) or not isinstance(value, int | float) or not -MOST < value < MOST:
            raise WorldError(f"{place}: a number is expected, not {value!r}")
        return float(value)
    if "int" in kind:
        return size_of(place, value)
    if not isinstance(value, str):
        raise WorldError(f"{place}: text is expected, not {value!r}")
    return value


def size_of(place: str, value: Any) -> int:
    """Return a number as it is, or "64 GiB" in bytes; raises WorldError."""
    if isinstance(value, int) and not isinstance(value, bool):
        size: int | float = value
    else:
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)(?:/s)?\s*", str(value))
        if not match or match[2].upper() not in UNITS:
            raise WorldError(f"{place}: a whole number, or a size like `64 GiB`, is expected, not {value!r}")
        size = float(match[1]) * UNITS[match[2].upper()]
    if not -MOST_WHOLE < size < MOST_WHOLE:
        raise WorldError(f"{place}: that is more than can be counted")
    return int(size)
