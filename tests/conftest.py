"""What all tests share: in CI, generated cases are the same in every run; elsewhere each run tries others."""

import os

import pytest
from hypothesis import settings

settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("search", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "search")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the contract cases be pointed at a real xapi (tests/contract/conftest.py)."""
    group = parser.getgroup("a real xapi for tests/contract/test_xapi_cases.py, instead of simulated hosts")
    group.addoption("--xapi-url", default="", help="the first host, a master: https://address")
    group.addoption("--xapi-second-url", default="", help="a second one, which may join the first and be ejected")
    group.addoption("--xapi-ca", default="", metavar="FILE", help=(
        "certificates that must vouch for the hosts', asked before the first case; without it any are taken"))
    group.addoption("--xapi-user", default="root", help="on both hosts (default: %(default)s)")
    group.addoption("--xapi-password", default="", help="on both hosts; @FILE keeps it off the command line")
