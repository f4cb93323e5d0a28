"""Which xapi the contract cases meet: simulated ones, or the real one of --xapi-url, where some cases are left out."""

import pytest
from xapi_cases import Case
from xapi_reach import assert_usable
from xapi_real_hosts import NotReady, RealXapi

ORDER = ("alone", "two", "pair", "trio")  #: so that hosts join and leave seldom


def real_xapi(config: pytest.Config) -> RealXapi | None:
    """Return what the options say, None when they name no host."""
    first, second = config.getoption("--xapi-url"), config.getoption("--xapi-second-url")
    if not first:
        if second:
            raise pytest.UsageError("--xapi-second-url names the second host: --xapi-url has to name the first")
        return None
    urls = [first, second] if second else [first]
    login = config.getoption("--xapi-user"), config.getoption("--xapi-password")
    return RealXapi(urls, *login, config.getoption("--xapi-ca"))


def pytest_configure(config: pytest.Config) -> None:
    """Refuse to meet the same hosts in several processes."""
    if config.getoption("--xapi-url") and config.getoption("numprocesses", None):
        raise pytest.UsageError("cases at real hosts follow each other: --xapi-url goes without -n")


@pytest.fixture(scope="session")
def xapi(pytestconfig: pytest.Config) -> RealXapi | None:
    return real_xapi(pytestconfig)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out, with a word each, the cases that make no sense at the real hosts; those of one state together."""
    found = real_xapi(config)
    if found is None:
        return
    reasons = {item: found.lacks(case) for item in items if (case := case_of(item))}
    left_out = [item for item in items if reasons.get(item)]
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    for item in left_out:
        if reporter:
            reporter.write_line(f"left out at a real xapi: {item.name}: {reasons[item]}")
    config.hook.pytest_deselected(items=left_out)
    kept = [item for item in items if not reasons.get(item)]
    items[:] = sorted(kept, key=position)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    """End with one sentence if the real hosts cannot be used; each case would say it again."""
    found = real_xapi(session.config)
    if found and not session.config.option.collectonly and any(case_of(item) for item in session.items):
        try:
            assert_usable(found)
        except NotReady as exc:
            raise pytest.UsageError(str(exc)) from None


def position(item: pytest.Item) -> int:
    """Return where a test comes in the order; those that are about no case first."""
    case = case_of(item)
    return ORDER.index(case.setting) if case else -1


def case_of(item: pytest.Item) -> Case | None:
    """Return the case that a test is about, None if it is about none."""
    callspec = getattr(item, "callspec", None)
    case = callspec.params.get("case") if callspec else None
    return case if isinstance(case, Case) else None
