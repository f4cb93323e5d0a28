"""Which room may import which: the privilege boundary, kept as data and enforced."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_ROOMS = ("conductor", "agent", "common")

#: the longest prefix of the importing file rules: which of our own modules it may import
_MAY_IMPORT = {
    "common": ["common"],
    "agent": ["agent", "common"],
    "agent/xenapi": ["agent/xenapi", "agent/driver", "common"],
    "agent/simulator": ["agent/simulator"],
    "conductor": ["conductor", "common"],
    "conductor/states": [],
    "conductor/plan": ["conductor/plan", "common/errors"],
    "conductor/db": ["conductor/db", "conductor/plan/model", "conductor/states", "common"],
    "conductor/operations": ["conductor/operations", "conductor/states", "conductor/plan", "conductor/db", "common"],
    "conductor/api": ["conductor/api", "common"],
    "conductor/cli": ["conductor/cli", "common"],
    "conductor/allinone": ["conductor", "agent", "common"],
}

#: a third-party package and the only places of ours that may import it
_ONLY_IN = {
    "XenAPI": ["agent/xenapi"],
    "sqlalchemy": ["conductor/db"],
    "alembic": ["conductor/db"],
    "oslo_db": ["conductor/db"],
    "eventlet": ["common/concurrency"],
    "oslo_messaging": ["common/rpc", "common/rabbit", "common/inproc", "common/notices"],
}

_RELATIVE = "."


def violations(place: str, source: str) -> list[str]:
    """Return one line for each import in ``source``, a module at ``place``, that breaks a rule."""
    rule = max((prefix for prefix in _MAY_IMPORT if is_under(place, [prefix])), key=len)
    found = []
    for name in imported(source):
        top = name.partition(".")[0]
        if name == _RELATIVE:
            found.append(f"{place}: absolute imports only")
        elif top in _ROOMS and not is_under(name.replace(".", "/"), _MAY_IMPORT[rule]):
            found.append(f"{place} may not import {name}")
        elif top in _ONLY_IN and not is_under(place, _ONLY_IN[top]):
            found.append(f"{place}: only {', '.join(_ONLY_IN[top])} may import {top}")
    return found


def imported(source: str) -> Iterator[str]:
    """Yield the dotted names that a module imports; a relative import only says that it is one."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level:
            yield _RELATIVE
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_under(place: str, prefixes: list[str]) -> bool:
    """Return whether ``place`` is one of the prefixes or below one."""
    return any(place == prefix or place.startswith(prefix + "/") for prefix in prefixes)


def place_of(path: Path) -> str:
    """Return a file's place, without its suffix."""
    return str(path.relative_to(_ROOT).with_suffix("")).removesuffix("/__init__")


_FILES = sorted(path for room in _ROOMS for path in (_ROOT / room).rglob("*.py"))


def test_there_are_files_to_check() -> None:
    assert len(_FILES) > 50


@pytest.mark.parametrize("path", _FILES, ids=place_of)
def test_imports_keep_the_rules(path: Path) -> None:
    assert violations(place_of(path), path.read_text()) == []


@pytest.mark.parametrize("place, source", [
    ("conductor/plan/placement", "from conductor.db import session"),
    ("conductor/plan/placement", "import common.messages"),
    ("conductor/states", "from common import errors"),
    ("conductor/db/hosts", "from conductor.operations import engine"),
    ("conductor/api/nova/aggregates", "from conductor.db import aggregates"),
    ("conductor/api/nova/aggregates", "from conductor.manager import Conductor"),
    ("conductor/cli/base", "import conductor.api.app"),
    ("conductor/hosts", "from agent import worker"),
    ("conductor/manager", "import sqlalchemy"),
    ("conductor/aggregates", "from sqlalchemy import select"),
    ("conductor/api/app", "import alembic.command"),
    ("agent/worker", "import conductor.states"),
    ("agent/worker", "import XenAPI"),
    ("agent/simulator/core", "from common import clock"),
    ("agent/xenapi/pool", "from agent import worker"),
    ("agent/manager", "import oslo_messaging"),
    ("common/messages", "from agent import driver"),
    ("common/service", "import eventlet"),
    ("agent/worker", "from .tasks import machine"),
    ("conductor/hosts", "from ..agent import worker"),
])
def test_a_broken_rule_is_noticed(place: str, source: str) -> None:
    assert violations(place, source)
