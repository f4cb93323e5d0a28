"""What is known about xapi, shown at simulated hosts, or at real ones given by --xapi-url: one test for each case."""

import pytest
from xapi_cases import Case, cases
from xapi_real_hosts import NotReady, RealXapi, real
from xapi_settings import simulated
from xapi_steps import Run, StepFailed


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.id)
def test_xapi_does_what_the_case_says(case: Case, xapi: RealXapi | None) -> None:
    failure = ""
    try:
        with real(xapi, case) if xapi else simulated(case) as setting:
            Run(setting).steps(case.steps)
    except (StepFailed, NotReady) as exc:
        failure = str(exc)
    if failure:
        pytest.fail(failure, pytrace=False)
