"""The bench's own arithmetic; what it measures is not measured here."""

import json
import os
import re
import threading
from pathlib import Path
from typing import Any

import pytest

from common.messages import Order, Report
from conductor.operations.judge import judge
from tools.bench import many
from tools.bench.claiming import readings_of
from tools.bench.client import load, until
from tools.bench.drain import gaps
from tools.bench.figures import Figure, percentile, rounded, spread, write
from tools.bench.planner import pool_of
from tools.bench.processes import Broken, Watched


def test_a_figure_is_printed_as_name_value_and_unit() -> None:
    assert Figure("round trip, median", 123.456, "µs").line == "round trip, median: 123 µs"
    assert re.fullmatch(r"[^:]+: [0-9.]+ .+", Figure("idle", 0.0, "% of a core").line)


@pytest.mark.parametrize(("value", "text"), [
    (0.0, "0"), (0.01234, "0.0123"), (1.0, "1.00"), (99.96, "100.0"), (1234.5, "1234"), (-2.5, "-2.50"),
    (float("inf"), "inf")])
def test_a_value_keeps_three_digits_or_more_and_never_an_exponent(value: float, text: str) -> None:
    assert rounded(value) == text


def test_a_percentile_is_a_value_that_was_measured() -> None:
    values = [float(number) for number in range(200, 0, -1)]
    assert percentile(values, 50) == 100
    assert percentile(values, 99) == 198
    assert percentile([7.0], 99) == 7.0


def test_a_spread_says_how_many_values_it_is_of() -> None:
    middle, high = spread("gap", [3.0, 1.0, 2.0], "ms")
    assert (middle.value, high.value) == (2.0, 3.0)
    assert middle.more["n"] == high.more["n"] == 3


def test_a_ratio_names_both_and_survives_a_peer_of_zero() -> None:
    ratio = Figure("ours, median", 30, "ms").beside(Figure("theirs, median", 10, "ms"))
    assert (ratio.name, ratio.value, ratio.unit) == ("ratio of ours to theirs", 3.0, "times")
    assert Figure("ours", 1, "ms").beside(Figure("theirs", 0, "ms")).line.endswith(": inf times")


def test_the_figures_are_kept_by_name_with_what_is_known_of_them(tmp_path: Path) -> None:
    write(tmp_path / "build" / "bench.json", [Figure("a", 1.5, "s", {"n": 3})])
    assert json.loads((tmp_path / "build" / "bench.json").read_text()) == {"a": {"value": 1.5, "unit": "s", "n": 3}}


def test_a_slot_is_free_from_an_end_to_the_first_start_that_no_earlier_end_accounts_for() -> None:
    starts, ends = [0.0, 0.1, 10.0, 11.5], [9.0, 11.0, 20.0, 21.0]
    assert gaps(ends, starts) == [1.0, 0.5]
    assert gaps([9.0, 9.1], [9.3, 9.2]) == pytest.approx([0.2, 0.2])
    assert gaps([], starts) == []


def test_the_planners_pool_is_filled_as_it_says_and_the_same_each_time() -> None:
    pool = pool_of(16, 30)
    assert pool == pool_of(16, 30)
    assert len(pool.vms) == 480
    taken = sum(vm.memory_dynamic_min_bytes for vm in pool.vms) / sum(host.memory_total_bytes for host in pool.hosts)
    assert 0.6 < taken < 0.72


def test_all_clients_of_a_load_work_at_the_same_time_and_each_request_is_timed() -> None:
    together, met = threading.Barrier(3), threading.Event()

    def act() -> None:
        if not met.is_set():
            together.wait(30.0)  # nobody gets past it alone
            met.set()

    found = load([act] * 3, 0.05)
    assert len(found.times_s) >= 3
    assert found.per_second > 0


def test_a_load_ends_with_the_failure_of_one_of_its_clients() -> None:
    def refuse() -> None:
        raise Broken("no")

    with pytest.raises(Broken, match="no"):
        load([lambda: None, refuse], 0.1)


def test_what_never_becomes_true_is_named() -> None:
    with pytest.raises(Broken, match=re.escape("not true within 0 s: pigs fly")):
        until("pigs fly", lambda: False, 0.01, 0.0)


def test_what_is_watched_counts_each_process() -> None:
    one, two = Watched(os.getpid()), Watched(os.getpid(), os.getpid())
    assert two.cpu_s() >= 2 * one.cpu_s() - 0.1 > 0
    assert two.resident_mib() > one.resident_mib() > 1


@pytest.mark.parametrize(("kind", "args"), [("host_disable", {"mark": "operation-1"}), ("host_enable", {})])
def test_what_the_claimant_reads_is_the_orders_goal(kind: str, args: dict[str, Any]) -> None:
    order = _order(kind, args)
    assert judge(kind, args, Report("t1", 1, True, readings_of(order))).event == "effect"


def test_the_claimant_claims_no_effect_of_orders_that_nobody_asked_for() -> None:
    with pytest.raises(Broken, match="ordered to vm_migrate"):
        readings_of(_order("vm_migrate", {}))


def _order(kind: str, args: dict[str, Any]) -> Order:
    return Order("t1", 1, kind, "o1", "h1", "u1", "h1", 1, None, args, 60.0)


def test_the_many_hosts_are_all_in_pools_of_the_same_size() -> None:
    world = many.world()
    assert {len(pool.hosts) for pool in world.pools} == {many.IN_POOL}
    assert [host for pool in world.pools for host in pool.hosts] == [host.name for host in world.hosts]
    assert len(world.hosts) == many.AGENTS
