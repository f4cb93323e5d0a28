"""The judge of bodies and queries: a value and a schema in, nothing or Invalid out.

It knows no request and no HTTP.
"""

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

import jsonschema

from common import errors

FORMATS = jsonschema.FormatChecker(formats=())

#: findings named in one refusal; a hostile body could have thousands
MOST_FINDINGS = 10
#: characters of a message; it may quote what was sent
LONGEST_MESSAGE = 300

_SENTENCES = {
    "printable": "has a control character, an invisible mark or an unassigned character in it",
    "name": "must be of printable characters, without a space at either end",
}

Checker = jsonschema.Draft202012Validator


@FORMATS.checks("printable")
def is_printable(value: object) -> bool:
    """Tell whether all characters can be seen: Unicode category neither C* nor Z* other than Zs."""
    return not isinstance(value, str) or all(
        char.isprintable() or unicodedata.category(char) == "Zs" for char in value)


@FORMATS.checks("name")
def is_name(value: object) -> bool:
    """Tell whether ``value`` is printable and has no space at either end."""
    return not isinstance(value, str) or (is_printable(value) and value == value.strip())


def compiled(schema: Mapping[str, Any]) -> Checker:
    """Return a checker for ``schema``, to be made once."""
    Checker.check_schema(schema)
    return Checker(schema, format_checker=FORMATS)


def check(checker: Checker, value: object) -> None:
    """Raise Invalid, with all findings in its details, unless ``value`` is as the schema says."""
    found = [{"path": ".".join(str(step) for step in error.absolute_path), "message": _sentence(error)}
             for error, _ in zip(checker.iter_errors(value), range(MOST_FINDINGS), strict=False)]
    if found:
        raise errors.Invalid("Invalid input: " + "; ".join(
            f"{one['path']}: {one['message']}" if one["path"] else one["message"] for one in found),
            findings=found)


def numbers(schema: Mapping[str, Any], query: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``query``, all text, with the members that ``schema`` wants as numbers or booleans made such.

    What can't be made so stays text, and the schema then refuses it.
    """
    wanted = schema["properties"]
    return {name: _typed(wanted.get(name, {}).get("type"), value) for name, value in query.items()}


def _typed(wanted: object, value: object) -> object:
    if not isinstance(value, str):
        return value
    if wanted == "integer" and re.fullmatch("[0-9]{1,15}", value):
        return int(value)
    if wanted == "number" and re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", value):
        return float(value)
    if wanted == "boolean" and value.lower() in ("true", "false"):
        return value.lower() == "true"
    return value


def _sentence(error: jsonschema.ValidationError) -> str:
    if error.validator == "format":
        # repr escapes whatever can't be seen
        text = f"{error.instance!r} {_SENTENCES[str(error.validator_value)]}"
    else:
        text = error.message
    return text if len(text) <= LONGEST_MESSAGE else text[:LONGEST_MESSAGE] + "..."
