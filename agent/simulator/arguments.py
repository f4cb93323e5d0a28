"""Check and convert the arguments of a call by the table's types, as xapi's unmarshaller does.

An int may come as text; a bool may not; what does not fit is INTERNAL_ERROR, not a type error.
"""

from typing import Any

from agent.simulator.failure import Failure
from agent.simulator.table import Message, Moment, load_enums, load_table

# since when a host takes all parameters of a message; an older one refuses the long form
LONG_FORM_SINCE = {"host.disable": (25, 31), "host.evacuate": (23, 27)}


def bound(message: Message, params: list[Any], version: str) -> list[Any]:
    """Return the arguments in the table's types, defaults filled in; the session is not among them.

    Raises MESSAGE_PARAMETER_COUNT_MISMATCH (also for a form that is too new for this version), INTERNAL_ERROR.
    """
    most = len(message.params)
    if release(version) < LONG_FORM_SINCE.get(message.full_name, (0, 0)):
        most = message.required
    if not message.required <= len(params) <= most:
        raise Failure("MESSAGE_PARAMETER_COUNT_MISMATCH", message.full_name, str(message.required), str(len(params)))
    missing = len(message.params) - len(params)
    given = [*params, *(message.defaults[len(message.defaults) - missing:] if missing else ())]
    return [converted(kind, value) for (_name, kind), value in zip(message.params, given, strict=True)]


def release(version: str) -> tuple[int, int]:
    """Return the first two numbers of a version like 24.16.0."""
    major, minor = [*version.split("."), "0", "0"][:2]
    return (int(major), int(minor)) if major.isdigit() and minor.isdigit() else (0, 0)


def numbers(version: str) -> list[int]:
    """Return the numbers of a version like 3.4.0, to compare it with another."""
    return [int(part) for part in version.split(".") if part.isdigit()]


def converted(kind: str, value: Any) -> Any:
    """Return a value as the type wants it."""
    if kind.endswith(" set"):
        return [converted(kind[:-4], item) for item in _expect(value, list, "array")]
    if kind.endswith(" map"):
        key_kind, value_kind = kind[1:-5].split(" -> ")
        return {converted(key_kind, key): converted(value_kind, item)
                for key, item in _expect(value, dict, "struct").items()}
    if kind.endswith(" record"):
        return _expect(value, dict, "struct")
    if kind == "bool":
        return _expect(value, bool, "bool")
    if kind == "int":
        return _integer(value)
    if kind == "float":
        return _real(value)
    if kind == "datetime":
        return Moment(_expect(value, str, "datetime"))
    text = _expect(value, str, "string")
    if kind.startswith("enum ") and text not in load_enums().get(kind[5:], (text,)):
        raise Failure("INTERNAL_ERROR", 'Failure("Unknown tag/contents")')
    return text


def row_of(cls: str, given: dict[str, Any]) -> dict[str, Any]:
    """Return those parts of a record that a constructor takes, in the table's types; raises INTERNAL_ERROR."""
    fields = load_table().classes[cls].fields
    return {name: converted(fields[name].type, value) for name, value in given.items()
            if name in fields and fields[name].access in ("rw", "ctor")}


def _expect(value: Any, kind: type, name: str) -> Any:
    if not isinstance(value, kind):
        raise Failure("INTERNAL_ERROR", f"Failure(\"Expected {name}, got '{shown(value)}'\")")
    return value


def _integer(value: Any) -> int:
    if isinstance(value, int | str) and not isinstance(value, bool):
        try:
            number = int(value, 0) if isinstance(value, str) else value
        except ValueError:
            pass
        else:
            if -2**63 <= number < 2**63:
                return number
    raise Failure("INTERNAL_ERROR", 'Failure("Int64.of_string")')


def _real(value: Any) -> float:
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            return float(value)
        except ValueError:
            pass
    raise Failure("INTERNAL_ERROR", 'Failure("float_of_string")')


def shown(value: Any) -> str:
    """Return a value the way xapi's error texts print it."""
    if isinstance(value, bool):
        return f"B({str(value).lower()})"
    if isinstance(value, str):
        return f"S({value})"
    if isinstance(value, int):
        return f"I({value})"
    if isinstance(value, float):
        return f"F({value})"
    if isinstance(value, dict):
        return "{" + ";".join(f"{key}:{shown(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ";".join(shown(item) for item in value) + "]"
    return "N"
