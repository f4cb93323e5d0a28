"""What stands for values in the cases: `$name`, replaced by what is known, and matchers, compared with what came.

Matchers: `{any: true}`; `{has: {...}}` these keys (of a mapping), `{has: [...]}` these elements, `{has: text}` this
text; `{lacks: [...]}` none of these keys or elements; `{matches: regex}` somewhere in the text; `{one_of: [...]}`;
`{all_of: [...]}` several at once; `{not: x}`; `{count: n}` elements; `{each: x}` element or value of a mapping is
like x; `{values: x}` the mapping's values, as a list, are like x; `{at_least: n}` as a number.
Other mappings and lists must be equal, part by part.  Knows no steps.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

NAME = re.compile(r"\$(\w[\w-]*(?:\.[\w-]+)*)")


class Unknown(Exception):
    """A case speaks of what was never kept."""


def resolved(value: Any, names: Mapping[str, Any]) -> Any:
    """Return `value` with each `$name` in it replaced; a text that is nothing else becomes the named value itself.

    Raises Unknown.
    """
    if isinstance(value, str):
        whole = NAME.fullmatch(value)
        if whole:
            return named(whole[1], names)
        return NAME.sub(lambda found: str(named(found[1], names)), value)
    if isinstance(value, list):
        return [resolved(item, names) for item in value]
    if isinstance(value, dict):
        return {resolved(key, names): resolved(item, names) for key, item in value.items()}
    return value


def named(name: str, names: Mapping[str, Any]) -> Any:
    """Return what `name` stands for, going into mappings and lists at its dots.  Raises Unknown."""
    if name in names:
        return names[name]
    head, *rest = name.split(".")
    if not rest or head not in names:
        raise Unknown(f"${name} is not known; known are {', '.join(sorted(names))}")
    value = names[head]
    for part in rest:
        try:
            value = value[int(part)] if isinstance(value, list) else value[part]
        except (KeyError, IndexError, TypeError, ValueError):
            raise Unknown(f"${name}: there is no {part} in {value!r}") from None
    return value


def is_like(found: Any, wanted: Any) -> bool:
    """Tell whether what was found is what a case wants."""
    if isinstance(wanted, dict):
        key = next(iter(wanted), None)
        if len(wanted) == 1 and key in MATCHERS:
            return MATCHERS[key](found, wanted[key])
        return (isinstance(found, dict) and set(found) == set(wanted)
                and all(is_like(found[name], part) for name, part in wanted.items()))
    if isinstance(wanted, list):
        return isinstance(found, list) and len(found) == len(wanted) and all(map(is_like, found, wanted))
    return type(found) is type(wanted) and bool(found == wanted)


def difference(found: Any, wanted: Any) -> str:
    """Return in words what was found and wanted; of a mapping of which parts are wanted, those that differ."""
    parts = wanted.get("has") if isinstance(wanted, dict) else None
    if isinstance(parts, dict) and isinstance(found, dict):
        differ = {name: part for name, part in parts.items() if name not in found or not is_like(found[name], part)}
        return f"{ {name: found.get(name, 'absent') for name in differ}!r}; wanted was {differ!r}"
    return f"{found!r}; wanted was {wanted!r}"


def _has(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(
            name in found and is_like(found[name], part) for name, part in wanted.items())
    if isinstance(wanted, list):
        return isinstance(found, list) and all(any(is_like(one, part) for one in found) for part in wanted)
    return isinstance(found, str) and wanted in found


def _lacks(found: Any, wanted: list[Any]) -> bool:
    return isinstance(found, list | dict) and not any(is_like(one, part) for one in found for part in wanted)


def _each(found: Any, wanted: Any) -> bool:
    parts = list(found.values()) if isinstance(found, dict) else found
    return isinstance(parts, list) and all(is_like(one, wanted) for one in parts)


MATCHERS: dict[str, Callable[[Any, Any], bool]] = {
    "any": lambda _found, _wanted: True,
    "has": _has,
    "lacks": _lacks,
    "matches": lambda found, wanted: isinstance(found, str) and bool(re.search(wanted, found, re.DOTALL)),
    "one_of": lambda found, wanted: any(is_like(found, one) for one in wanted),
    "all_of": lambda found, wanted: all(is_like(found, one) for one in wanted),
    "not": lambda found, wanted: not is_like(found, wanted),
    "count": lambda found, wanted: isinstance(found, list | dict) and len(found) == wanted,
    "each": _each,
    "values": lambda found, wanted: isinstance(found, dict) and is_like(list(found.values()), wanted),
    "at_least": lambda found, wanted: float(found) >= wanted,
}
