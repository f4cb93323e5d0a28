"""Which xapi the contract cases meet: simulated ones, or the real one of --xapi-url, where some cases are left out."""

import pytest
from xapi_cases import Case
from xapi_real_hosts import RealXapi

ORDER = ("alone", "two", "pair", "trio")  #: so that hosts join and leave seldom


def real_xapi(config: pytest.Config) -> RealXapi | None:
    """Return what the options say, None when they name no host."""
    urls = [url for url in (config.getoption("--xapi-url"), config.getoption("--xapi-second-url")) if url]
    if not config.getoption("--xapi-url"):
        return None
    return RealXapi(urls, config.getoption("--xapi-user"), config.getoption("--xapi-password"))


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


def position(item: pytest.Item) -> int:
    """Return where a test comes in the order; those that are about no case first."""
    case = case_of(item)
    return ORDER.index(case.setting) if case else -1


def case_of(item: pytest.Item) -> Case | None:
    """Return the case that a test is about, None if it is about none."""
    callspec = getattr(item, "callspec", None)
    case = callspec.params.get("case") if callspec else None
    return case if isinstance(case, Case) else None
