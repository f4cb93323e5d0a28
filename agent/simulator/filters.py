"""The expressions of get_all_records_where: `field "power_state" = "Running" and not (field "domid" = "-1")`.

As xapi reads them: texts in double quotes without escapes, values compared as the database's texts, `and`
and `or` of one rank from the left, and `not` reaching as far as it can. Knows rows only by a function.
"""

import re
from collections.abc import Callable
from typing import Any

from agent.simulator.failure import Failure

Lookup = Callable[[str], str]
Test = Callable[[Lookup], bool]
Value = Callable[[Lookup], str]

TOKEN = re.compile(r'[ \t\n]*(?:(true|false|field|and|or|not|=|\(|\))|"([^"]*)"|$)')
NO_TOKEN, NO_SENTENCE = 'Failure("lexing: empty token")', "Stdlib.Parsing.Parse_error"
# fields whose database name has two underscores after this prefix; "" stands for every class
SPACES = {"": ("name",), "VM": ("memory", "VCPUs", "actions", "PV", "HVM"), "host": ("memory", "API_version"),
          "host_metrics": ("memory",), "VM_metrics": ("memory", "VCPUs"), "VBD": ("qos",), "VIF": ("qos",)}


def parse(text: str) -> Test:
    """Return the test that an expression stands for; raises INVALID_VALUE."""
    return _Parser(text).whole()


def column(cls: str, field: str) -> str:
    """Return the name by which expressions call a field: `name__label` for name_label."""
    for space in (*SPACES[""], *SPACES.get(cls, ())):
        if field.startswith(space + "_"):
            return f"{space}__{field[len(space) + 1:]}"
    return field


def text_of(value: Any) -> str:
    """Return a value as the database keeps it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.15g}"
    if isinstance(value, list):
        return "(" + " ".join(f"'{text_of(item)}'" for item in value) + ")"
    if isinstance(value, dict):
        return "(" + " ".join(f"('{key}' '{text_of(item)}')" for key, item in value.items()) + ")"
    return str(value)


class _Parser:
    def __init__(self, text: str) -> None:
        self._text, self._at, self._tokens = text, 0, list[tuple[str, str]]()
        position = 0
        while position < len(text):
            match = TOKEN.match(text, position)
            if not match:
                raise Failure("INVALID_VALUE", text, NO_TOKEN)
            position = match.end()
            if match[1] or match[2] is not None:
                self._tokens.append((match[1] or "text", match[2] or ""))

    def whole(self) -> Test:
        test = self._expression()
        if self._at < len(self._tokens):
            raise self._wrong()
        return test

    def _expression(self) -> Test:
        test = self._operand()
        while self._next() in ("and", "or"):
            joint, left = self._take(), test
            right = self._operand()
            test = _both(left, right) if joint == "and" else _either(left, right)
        return test

    def _operand(self) -> Test:
        word = self._next()
        if word == "not":
            self._take()
            inner = self._expression()
            return lambda look: not inner(look)
        if word in ("true", "false"):
            truth = self._take() == "true"
            return lambda _look: truth
        if word == "(":
            self._take()
            inner = self._expression()
            self._expect(")")
            return inner
        left = self._value()
        self._expect("=")
        right = self._value()
        return lambda look: left(look) == right(look)

    def _value(self) -> Value:
        is_field = self._next() == "field"
        if is_field:
            self._take()
        name = self._expect("text")
        return (lambda look: look(name)) if is_field else (lambda _look: name)

    def _next(self) -> str:
        return self._tokens[self._at][0] if self._at < len(self._tokens) else ""

    def _take(self) -> str:
        self._at += 1
        return self._tokens[self._at - 1][0]

    def _expect(self, kind: str) -> str:
        if self._next() != kind:
            raise self._wrong()
        self._take()
        return self._tokens[self._at - 1][1]

    def _wrong(self) -> Failure:
        return Failure("INVALID_VALUE", self._text, NO_SENTENCE)


def _both(left: Test, right: Test) -> Test:
    return lambda look: left(look) and right(look)


def _either(left: Test, right: Test) -> Test:
    return lambda look: left(look) or right(look)
