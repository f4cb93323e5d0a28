"""How a dataclass of the planner becomes JSON and comes back; knows no particular class.

Fields that are unknown are ignored and missing ones take their default, so that a stored plan can be
read by the release before and the one after.
"""
import dataclasses
import functools
import types
import typing
from collections.abc import Mapping
from typing import Any, Self


class Json:
    """Gives a dataclass ``to_json`` and ``from_json``."""

    __slots__ = ()

    def to_json(self) -> dict[str, Any]:
        """Return the fields as plain JSON values; sets are sorted, so equal objects give equal text."""
        encoded = encode(self)
        assert isinstance(encoded, dict)
        return encoded

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return the object that ``to_json`` described. Raises ValueError when it is not one."""
        decoded = decode(cls, data)
        assert isinstance(decoded, cls)
        return decoded


def encode(value: Any) -> Any:
    """Return ``value`` (dataclass, collection or scalar) as plain JSON values."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: encode(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, frozenset):
        return sorted(encode(item) for item in value)
    if isinstance(value, tuple):
        return [encode(item) for item in value]
    return value


def decode(kind: Any, data: Any) -> Any:
    """Return ``data`` as a ``kind``, a type as annotations write it. Raises ValueError."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _decode_dataclass(kind, data)
    if origin in (tuple, frozenset):
        if not isinstance(data, list):
            raise _other("a list", data)
        return origin(decode(arguments[0], item) for item in data)
    if origin in (types.UnionType, typing.Union):
        return None if data is None else decode(next(a for a in arguments if a is not type(None)), data)
    if kind is float and isinstance(data, int) and not isinstance(data, bool):
        return float(data)
    if not isinstance(data, kind) or (kind is int and isinstance(data, bool)):
        raise _other(kind.__name__, data)
    return data


def _decode_dataclass(kind: Any, data: Any) -> Any:
    if not isinstance(data, Mapping):
        raise _other(f"an object for {kind.__name__}", data)
    hints = _hints(kind)
    known = {f.name: decode(hints[f.name], data[f.name]) for f in dataclasses.fields(kind) if f.name in data}
    try:
        return kind(**known)
    except TypeError as error:
        raise ValueError(f"{kind.__name__}: {error}") from error


def _other(expected: str, found: Any) -> ValueError:
    return ValueError(f"expected {expected}, found {found!r}")


@functools.cache
def _hints(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind)
