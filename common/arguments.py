"""Whether what was sent fits what is taken: names and JSON types, by the annotations of a method or a message.

It knows no rule about any value, except what a database can store.
"""

import dataclasses
import functools
import inspect
import math
import re
import types
from collections.abc import Callable, Mapping
from typing import Any, Union, get_args, get_origin, get_type_hints

from common import errors

#: of every text that is stored
LONGEST_TEXT = 255
#: of a database's integers
_LARGEST = 2 ** 63 - 1

#: what no database can store: NUL, and half a character
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


Judge = Callable[[object], bool]


class Form:
    """What one method takes beside the context."""

    def __init__(self, method: Callable[..., Any]) -> None:
        _, *taken = inspect.signature(method).parameters.values()
        named = [one for one in taken if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
        self._is_open = len(named) < len(taken)
        self._wanted = {one.name: judge(one.annotation, is_short) for one in named}
        self._needed = {one.name for one in named if one.default is one.empty}

    def check(self, arguments: Mapping[str, Any]) -> None:
        """Raise Invalid unless the method can be called with ``arguments``."""
        unknown = set() if self._is_open else arguments.keys() - self._wanted.keys()
        if unknown:
            raise errors.Invalid(f"Arguments are unknown: {_shown(unknown)}", code="bad_message")
        check_members(arguments, self._wanted, self._needed, "Arguments")


class Members:
    """What a message of a dataclass holds; members that are not known are ignored, as by ``from_wire``."""

    def __init__(self, message: Any, **inner: Judge) -> None:
        """Take the dataclass, and for members that hold more than their annotation says who judges that."""
        fields, types_of = dataclasses.fields(message), get_type_hints(message)
        self._wanted = {one.name: inner.get(one.name) or judge(types_of[one.name], is_storable) for one in fields}
        self._needed = {one.name for one in fields
                        if one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING}
        self._what = f"Members of a {message.__name__}"

    def check(self, wire: object) -> None:
        """Raise Invalid unless ``wire`` is such a message."""
        if not isinstance(wire, dict):
            raise errors.Invalid(f"{self._what} are in an object", code="bad_message")
        check_members(wire, self._wanted, self._needed, self._what)

    def list_fits(self, value: object) -> bool:
        """Return True for a list of such messages.  Raises Invalid for one that holds something else."""
        for one in value if isinstance(value, list) else ():
            self.check(one)
        return isinstance(value, list)


def check_members(found: Mapping[str, Any], wanted: Mapping[str, Judge], needed: set[str], what: str) -> None:
    """Raise Invalid unless all that is needed is there, and what is there is as wanted."""
    missing = needed - found.keys()
    wrong = {name for name, fits in wanted.items() if name in found and not fits(found[name])}
    for words, names in (("missing", missing), ("of another type, too long or not to be stored", wrong)):
        if names:
            raise errors.Invalid(f"{what} are {words}: {_shown(names)}", code="bad_message")


def _shown(names: set[str]) -> str:
    return ", ".join(repr(name)[:60] for name in sorted(names)[:10])


def is_storable(text: str) -> bool:
    """Tell whether a database can store ``text``."""
    return not _UNSTORABLE.search(text)


def is_short(text: str) -> bool:
    """Tell whether ``text`` fits into a column."""
    return len(text) <= LONGEST_TEXT and is_storable(text)


@functools.cache
def judge(wanted: Any, text: Callable[[str], bool]) -> Judge:
    """Return who tells whether a value from JSON is of the type that an annotation names, with all that it holds."""
    origin, inner = get_origin(wanted), [judge(one, text) for one in get_args(wanted)]
    if wanted in (Any, inspect.Parameter.empty):
        return lambda value: True
    if origin in (Union, types.UnionType):
        return lambda value: any(fits(value) for fits in inner)
    if origin is dict:
        keys, values = inner
        return lambda value: isinstance(value, dict) and all(map(keys, value)) and all(map(values, value.values()))
    if origin is list:
        return lambda value: isinstance(value, list) and all(map(inner[0], value))
    if wanted is str:
        return lambda value: isinstance(value, str) and text(value)
    if wanted is float:
        return lambda value: type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]
    if wanted is int:
        return lambda value: type(value) is int and abs(value) <= _LARGEST
    return lambda value: value is None if wanted in (None, types.NoneType) else type(value) is wanted


def fits(value: object, wanted: Any) -> bool:
    """Tell whether ``value`` is of the type that an annotation names."""
    return judge(wanted, is_short)(value)
