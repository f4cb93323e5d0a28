"""What holds for every plan, on worlds made up by hypothesis; the checker shares no code with the planner."""
from dataclasses import replace
from itertools import product
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from conductor.plan.drain import plan_drain
from conductor.plan.model import (
    Estimates,
    Hindrance,
    Host,
    Limits,
    Move,
    Pending,
    Plan,
    Refusal,
    Snapshot,
    Vm,
)
from conductor.plan.restore import plan_restore
from conductor.plan.schedule import schedule
from tests.unit.test_plan_world import GIB, a_move, check_schedule, host, replay, vm, world

LIMITS = st.builds(Limits, st.integers(1, 3), st.integers(1, 3), st.integers(1, 5))
SRS = ("nfs", "san")


@st.composite
def worlds(draw: st.DrawFn) -> Snapshot:
    """Crowded little pools in which some hosts and VMs have something wrong with them."""
    hosts = [draw(some_host(f"h{n}")) for n in range(1, draw(st.integers(1, 5)) + 1)]
    vms, room = list[Vm](), {h.uuid: h.memory_total_bytes for h in hosts}
    for n in range(draw(st.integers(0, 12))):
        candidate = draw(some_vm(f"v{n}", [h.uuid for h in hosts]))
        share = candidate.memory_dynamic_min_bytes + candidate.memory_overhead_bytes
        if candidate.resident_on and room[candidate.resident_on] >= share:
            room[candidate.resident_on] -= share
            vms.append(candidate)
    pending = []
    for mover in vms:
        share = mover.memory_dynamic_min_bytes + mover.memory_overhead_bytes
        elsewhere = [h.uuid for h in hosts if h.uuid != mover.resident_on and room[h.uuid] >= share]
        if elsewhere and draw(st.integers(0, 7)) == 0:
            room[elsewhere[0]] -= share
            pending.append(Pending(mover.uuid, mover.resident_on or "", elsewhere[0]))
    return world(hosts, vms, pending, anti_affinity_groups=frozenset({"g"}))


@st.composite
def some_host(draw: st.DrawFn, name: str) -> Host:
    odd: dict[str, Any] = draw(st.sampled_from([
        {}, {}, {}, {"enabled": False}, {"member": False}, {"wanted": "maintenance"}, {"srs": frozenset(SRS)},
        {"version": (3, 2)}, {"leaving": True}]))
    return replace(host(name, draw(st.sampled_from([6, 10, 16, 24]))), **odd)


@st.composite
def some_vm(draw: st.DrawFn, name: str, hosts: list[str]) -> Vm:
    odd: dict[str, Any] = draw(st.sampled_from([
        {}, {}, {}, {}, {"srs": frozenset(SRS)}, {"power_state": "Paused"}, {"groups": frozenset("g")},
        {"hindrances": (Hindrance("VM_HAS_VGPU", "it has a virtual GPU"),)}, {"control_domain": True},
        {"domain_type": "pv_in_pvh", "memory_static_max_bytes": 5 * GIB},
        {"memory_dynamic_min_bytes": GIB + 1}]))
    # Most are on the first host: that is the one to be drained.
    at = draw(st.sampled_from([hosts[0], *hosts]))
    return replace(vm(name, at, draw(st.sampled_from([0.5, 1, 2, 3, 4, 5]))), **odd)


def tight_world(seed: int) -> Snapshot:
    """Healthy hosts with hardly more free than what leaves, in pieces: third VMs have to make room."""
    random = Random(seed)
    hosts = [host(f"h{n}", 16) for n in range(1, random.randint(3, 6) + 1)]
    vms = [vm(f"v{n}", "h1", random.choice([1, 2, 4, 6, 8])) for n in range(random.randint(1, 4))]
    for other in hosts[1:]:
        room = other.memory_total_bytes - random.randint(1, 7) * GIB
        while room > GIB:
            resident = vm(f"v{len(vms)}", other.uuid, random.choice([0.5, 1, 2, 3, 5]))
            room -= resident.memory_dynamic_min_bytes + resident.memory_overhead_bytes
            vms += [resident] if room >= 0 else []
    return world(hosts, vms)


TIGHT = st.integers(0, 10**6).map(tight_world)


@given(worlds() | TIGHT, LIMITS)
@settings(max_examples=200, deadline=None)
def test_no_plan_exceeds_memory_or_a_limit_at_any_moment(snapshot: Snapshot, limits: Limits) -> None:
    plan = plan_drain(snapshot, "h1", limits=limits, allow_partial=True)
    assert isinstance(plan, Plan)
    replay(snapshot, plan.moves)
    check_schedule(plan.moves, limits, [(p.source, p.destination) for p in snapshot.pending])


@given(TIGHT, st.data())
@settings(max_examples=200, deadline=None)
def test_memory_is_safe_however_long_each_move_really_takes(snapshot: Snapshot, data: st.DataObject) -> None:
    plan = plan_drain(snapshot, "h1", allow_partial=True)
    assert isinstance(plan, Plan)
    replay(snapshot, plan.moves, {move.position: data.draw(st.floats(0.1, 9)) for move in plan.moves})


@given(worlds() | TIGHT)
@settings(max_examples=100, deadline=None)
def test_every_vm_of_the_host_is_moved_or_blocked_and_none_twice(snapshot: Snapshot) -> None:
    leaving = {p.vm for p in snapshot.pending}
    expected = {v.uuid for v in snapshot.vms
                if v.resident_on == "h1" and not v.control_domain and v.uuid not in leaving}
    plan = plan_drain(snapshot, "h1", allow_partial=True)
    assert isinstance(plan, Plan)
    going = [move.vm for move in plan.moves if move.source == "h1"]
    staying = {blocker.vm for blocker in plan.left}
    assert len({move.vm for move in plan.moves}) == len(plan.moves)
    assert set(going) | staying == expected
    assert not set(going) & staying
    strict = plan_drain(snapshot, "h1")
    assert isinstance(strict, Refusal) == bool(plan.left)
    if isinstance(strict, Refusal):
        assert strict.blockers == plan.left
    else:
        assert strict == plan


@given(worlds())
@settings(max_examples=100, deadline=None)
def test_nothing_moves_to_a_host_out_of_service_or_without_its_storage(snapshot: Snapshot) -> None:
    plan = plan_drain(snapshot, "h1", allow_partial=True)
    assert isinstance(plan, Plan)
    for move in plan.moves:
        to, mover = snapshot.host(move.destination), snapshot.vm(move.vm)
        assert to.uuid != "h1" and to.member and to.enabled and to.wanted == "serving" and not to.leaving
        assert mover.srs <= to.srs and to.version >= snapshot.host(move.source).version
        assert mover.is_running and not mover.hindrances and not mover.control_domain
        assert snapshot.host(move.source).member or move.source == "h1"


@given(worlds() | TIGHT, st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_the_same_world_gives_the_same_answer_in_whichever_order_it_is_told(snapshot: Snapshot,
                                                                            random: Random) -> None:
    hosts, vms = list(snapshot.hosts), list(snapshot.vms)
    random.shuffle(hosts)
    random.shuffle(vms)
    told_otherwise = replace(snapshot, hosts=tuple(hosts), vms=tuple(vms))
    assert plan_drain(snapshot, "h1") == plan_drain(told_otherwise, "h1")


@given(worlds())
@settings(max_examples=80, deadline=None)
def test_a_restore_brings_home_or_reports_every_vm_and_is_safe(snapshot: Snapshot) -> None:
    asked = sorted(v.uuid for v in snapshot.vms if not v.control_domain)
    plan = plan_restore(snapshot, "h1", asked)
    replay(snapshot, plan.moves)
    heading = {p.vm: p.destination for p in snapshot.pending}
    home = {v.uuid for v in snapshot.vms if heading.get(v.uuid, v.resident_on) == "h1"}
    coming, left = {move.vm for move in plan.moves}, {blocker.vm for blocker in plan.left}
    assert all(move.destination == "h1" for move in plan.moves)
    assert coming | left | home >= set(asked)
    assert not coming & left and not home & (coming | left)


@given(worlds())
@settings(max_examples=80, deadline=None)
def test_plans_refusals_and_snapshots_survive_being_stored(snapshot: Snapshot) -> None:
    outcome = plan_drain(snapshot, "h1")
    assert type(outcome).from_json(outcome.to_json()) == outcome
    assert Snapshot.from_json(snapshot.to_json()) == snapshot


def best_placement_exists(snapshot: Snapshot) -> bool:
    """Try every way to give each VM of h1 a host: the oracle."""
    movers = [v for v in snapshot.vms if v.resident_on == "h1"]
    others = [h for h in snapshot.hosts if h.uuid != "h1"]
    used = {h.uuid: sum(v.memory_dynamic_min_bytes + v.memory_overhead_bytes for v in snapshot.vms
                        if v.resident_on == h.uuid) for h in others}
    for choice in product(others, repeat=len(movers)):
        load = dict(used)
        for mover, to in zip(movers, choice, strict=True):
            load[to.uuid] += mover.memory_dynamic_min_bytes + mover.memory_overhead_bytes
        if all(load[h.uuid] <= h.memory_total_bytes for h in others) and all(
                mover.srs <= to.srs for mover, to in zip(movers, choice, strict=True)):
            return True
    return False


@st.composite
def tiny_worlds(draw: st.DrawFn) -> Snapshot:
    """At most four VMs to move and three hosts to take them, with sizes that only just fit or don't."""
    sizes = st.integers(1, 9)
    hosts = [host("h1"), *(replace(host(f"h{n}", draw(st.integers(2, 14)) + 0.2),
                                   srs=frozenset(draw(st.sampled_from([("nfs",), SRS]))))
                           for n in range(2, draw(st.integers(2, 4)) + 1))]
    movers = [replace(vm(f"v{n}", "h1", draw(sizes)), srs=frozenset(draw(st.sampled_from([("nfs",), SRS]))))
              for n in range(draw(st.integers(1, 4)))]
    return world(hosts, movers)


@given(tiny_worlds())
@settings(max_examples=500, deadline=None)
def test_where_brute_force_finds_a_placement_the_planner_finds_one(snapshot: Snapshot) -> None:
    assert isinstance(plan_drain(snapshot, "h1"), Plan) == best_placement_exists(snapshot)


@given(worlds() | TIGHT)
@settings(max_examples=200, deadline=None)
def test_freeing_what_the_refusal_names_is_enough(snapshot: Snapshot) -> None:
    refusal = plan_drain(snapshot, "h1")
    if not isinstance(refusal, Refusal) or not (refusal.smallest_change or "").startswith("free "):
        return
    change = (refusal.smallest_change or "").partition(", or ")[0]
    hosts = {h.name: h for h in snapshot.hosts}
    for part in change.removeprefix("free ").replace(" and ", ", ").split(", "):
        number, unit, _, name = part.split(" ")
        freed = int(float(number) * (GIB if unit == "GiB" else 1 << 20)) + 1
        hosts[name] = replace(hosts[name], memory_total_bytes=hosts[name].memory_total_bytes + freed)
    roomier = replace(snapshot, hosts=tuple(hosts[h.name] for h in snapshot.hosts))
    assert isinstance(plan_drain(roomier, "h1"), Plan)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("defg")), max_size=12), LIMITS)
@settings(max_examples=200, deadline=None)
def test_moves_of_any_shape_are_scheduled_within_the_limits_and_without_idling(
        ends: list[tuple[str, str]], limits: Limits) -> None:
    moves: list[Move] = [a_move(n, source, to, gib=n) for n, (source, to) in enumerate(ends, start=1)]
    timed = schedule(moves, limits, Estimates())
    assert sorted(m.vm for m in timed) == sorted(m.vm for m in moves)
    assert [m.position for m in timed] == list(range(1, len(moves) + 1))
    check_schedule(timed, limits)
