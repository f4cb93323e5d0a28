"""The planner's behaviour as data: each document under plan_cases is a world, a question, an answer."""
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from conductor.plan.drain import plan_drain
from conductor.plan.eligibility import why
from conductor.plan.explain import lines, sentence
from conductor.plan.model import Limits, Plan, Refusal, Snapshot
from conductor.plan.restore import plan_restore
from tests.unit.test_plan_world import check_schedule, from_case, moved, replay

CASES = sorted((Path(__file__).parent / "plan_cases").glob("*.yaml"))
assert CASES, "the cases are not where this test looks for them"


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_the_planner_behaves_as_the_case_says(path: Path) -> None:
    for case in yaml.safe_load_all(path.read_text(encoding="utf-8")):
        snapshot, limits = from_case(case), Limits(**case.get("limits", {}))
        if "why" in case:
            answer = why(snapshot, *case["why"])
            code = answer.blocker.code if answer.blocker else None
            check_words(case["expect"], answer.message, code)
            continue
        outcome = ask(case, snapshot, limits)
        if isinstance(outcome, Plan):
            check_plan(case["expect"], outcome)
            replay(snapshot, outcome.moves)
            check_schedule(outcome.moves, limits, [(p.source, p.destination) for p in snapshot.pending])
        else:
            check_refusal(case["expect"], outcome)


def ask(case: Mapping[str, Any], snapshot: Snapshot, limits: Limits) -> Plan | Refusal:
    if "restore" in case:
        return plan_restore(snapshot, case["restore"], case["home"], limits=limits)
    return plan_drain(snapshot, case["drain"], limits=limits, allow_partial=case.get("allow_partial", False))


def check_plan(expect: Mapping[str, Any], plan: Plan) -> None:
    assert set(expect) <= {"moves", "spread", "left", "says", "order", "parallel"}, expect
    destinations = moved(plan)
    assert "moves" in expect or "spread" in expect, f"a refusal was expected, got {destinations}"
    for name, destination in expect.get("moves", {}).items():
        assert destinations.pop(name) == destination
    if "spread" in expect:
        assert dict(Counter(destinations.values())) == expect["spread"]
    else:
        assert not destinations
    assert {blocker.vm_name: blocker.code for blocker in plan.left} == expect.get("left", {})
    if "order" in expect:
        assert [move.vm for move in plan.moves] == expect["order"]
    if "parallel" in expect:
        assert sum(move.start_s == 0 for move in plan.moves) == expect["parallel"]
    check_words(expect, "\n".join(lines(plan)))


def check_refusal(expect: Mapping[str, Any], refusal: Refusal) -> None:
    assert "refused" in expect, f"a plan was expected, got {refusal}"
    found: dict[str, list[str]] = {}
    for blocker in refusal.blockers:
        found.setdefault(blocker.vm_name, []).append(blocker.code)
        assert blocker.message and blocker.help
    assert found == {name: code if isinstance(code, list) else [code]
                     for name, code in expect["refused"].items()}
    if "change" in expect:
        assert refusal.smallest_change == expect["change"]
    check_words(expect, " ".join([sentence(refusal), *(b.message for b in refusal.blockers)]))


def check_words(expect: Mapping[str, Any], text: str, code: str | None = None) -> None:
    for word in expect.get("says", []):
        assert word in text, text
    if "code" in expect:
        assert code == expect["code"]
