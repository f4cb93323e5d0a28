"""Small worlds for the planner's tests, and a checker of plans that shares no code with the planner."""
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from conductor.plan.model import Hindrance, Host, Limits, Move, Pending, Plan, Snapshot, Vm

MIB = 1 << 20
GIB = 1 << 30
OVERHEAD = 37 * MIB


HOST = Host(
    uuid="", name="", enabled=True, live=True, member=True, wanted="serving", leaving=False,
    version=(3, 4, 0), cpu_vendor="AuthenticAMD", cpu_features="0f-0f", cpus=16, memory_total_bytes=0,
    memory_overhead_bytes=0, srs=frozenset({"nfs"}), networks=frozenset({"lan"}))
VM = Vm(
    uuid="", name="", resident_on=None, scheduled_on=None, power_state="Halted", control_domain=False,
    memory_dynamic_min_bytes=0, memory_static_max_bytes=0, memory_overhead_bytes=OVERHEAD, domain_type="hvm",
    vcpus=2, srs=frozenset({"nfs"}), networks=frozenset({"lan"}), groups=frozenset(), operations=(),
    hindrances=())
WORLD = Snapshot(
    pool="pool", master="h1", hosts=(), vms=(), pending=(), anti_affinity_groups=frozenset(),
    migration_network=None, generation=7)


def host(name: str, gib: float = 64, **changes: Any) -> Host:
    plain = replace(HOST, uuid=name, name=name, memory_total_bytes=int(gib * GIB))
    return replace(plain, **changes)


def vm(name: str, at: str | None, gib: float = 1, **changes: Any) -> Vm:
    plain = replace(VM, uuid=name, name=name, resident_on=at, power_state="Running" if at else "Halted",
                    memory_dynamic_min_bytes=int(gib * GIB), memory_static_max_bytes=int(gib * GIB))
    return replace(plain, **changes)


def world(hosts: Sequence[Host], vms: Sequence[Vm], pending: Sequence[Pending] = (),
          **changes: Any) -> Snapshot:
    return replace(WORLD, hosts=tuple(hosts), vms=tuple(vms), pending=tuple(pending), **changes)


def from_case(case: Mapping[str, Any]) -> Snapshot:
    """Return the world that a YAML case describes; sizes are in GiB, sets are lists."""
    hosts = [host(name, **_fields(fields)) for name, fields in case["hosts"].items()]
    vms = [vm(name, **_fields(fields)) for name, fields in case.get("vms", {}).items()]
    pending = [Pending(**fields) for fields in case.get("pending", [])]
    return world(hosts, vms, pending, **_fields(case.get("pool")))


def _fields(fields: Mapping[str, Any] | None) -> dict[str, Any]:
    converted: dict[str, Any] = {}
    for name, value in (fields or {}).items():
        if name == "hindrances":
            converted[name] = tuple(Hindrance(code, message) for code, message in value.items())
        elif name in ("version", "operations"):
            converted[name] = tuple(value)
        else:
            converted[name] = frozenset(value) if isinstance(value, list) else value
    return converted


class Breach(AssertionError):
    """A plan that xapi would not have let through, or that broke a limit."""


def replay(snapshot: Snapshot, moves: Sequence[Move], durations: Mapping[int, float] | None = None) -> None:
    """Run the moves as xapi would and raise Breach at the first thing that it would refuse.

    With ``durations`` (by position) each starts as early as its ``after`` lets it, not as scheduled.
    """
    vms = {v.uuid: v for v in snapshot.vms}
    held = {h.uuid: h.memory_overhead_bytes for h in snapshot.hosts}
    total = {h.uuid: h.memory_total_bytes for h in snapshot.hosts}
    heading = {p.vm: p.destination for p in snapshot.pending}
    for v in snapshot.vms:
        for where in {v.resident_on, v.scheduled_on, heading.get(v.uuid)} - {None}:
            assert where is not None
            held[where] += v.memory_dynamic_min_bytes + v.memory_overhead_bytes
    for _, kind, move in _events(moves, durations):
        mover = vms[move.vm]
        share = mover.memory_dynamic_min_bytes + mover.memory_overhead_bytes
        if kind == 0:
            held[move.source] -= share
            continue
        counted = mover.memory_static_max_bytes if mover.domain_type == "pv_in_pvh" \
            else mover.memory_dynamic_min_bytes
        need = (counted + MIB - 1) // MIB * MIB + mover.memory_overhead_bytes
        if total[move.destination] - held[move.destination] < need:
            raise Breach(f"{move.vm_name} does not fit on {move.destination} at its start")
        held[move.destination] += share


def _events(moves: Sequence[Move], durations: Mapping[int, float] | None) -> list[tuple[float, int, Move]]:
    """Return starts (1) and ends (0) in order of time; at one moment ends come first."""
    ends: dict[int, float] = {}
    events = []
    for move in sorted(moves, key=lambda move: move.position):
        start, end = move.start_s, move.end_s
        if durations is not None:
            start = max((ends[position] for position in move.after), default=0.0)
            end = start + durations[move.position]
        ends[move.position] = end
        events += [(start, 1, move), (end, 0, move)]
    return sorted(events, key=lambda event: (event[0], event[1], event[2].position))


def check_schedule(moves: Sequence[Move], limits: Limits, busy: Sequence[tuple[str, str]] = ()) -> None:
    """Raise Breach when a limit is broken or a move waits though nothing keeps it."""
    ends = {move.position: move.end_s for move in moves}
    for now in sorted({move.start_s for move in moves} | {move.end_s for move in moves}):
        active = [(m.source, m.destination) for m in moves if m.start_s <= now < m.end_s]
        if len(active) > limits.per_pool:
            raise Breach(f"{len(active)} moves in the pool at {now}")
        for end, limit in ((0, limits.per_source), (1, limits.per_destination)):
            for name in {pair[end] for pair in active}:
                if sum(pair[end] == name for pair in active) > limit:
                    raise Breach(f"too many moves at {name} at {now}")
        if busy:
            continue
        for move in moves:
            may_start = now < move.start_s and all(ends[p] <= now for p in move.after)
            if may_start and _has_place(active, move, limits):
                raise Breach(f"move {move.position} idles at {now}")


def _has_place(active: Sequence[tuple[str, str]], move: Move, limits: Limits) -> bool:
    return (len(active) < limits.per_pool
            and sum(source == move.source for source, _ in active) < limits.per_source
            and sum(destination == move.destination for _, destination in active) < limits.per_destination)


def moved(plan: object) -> dict[str, str]:
    """Return VM -> destination of a plan; anything else is a failure."""
    assert isinstance(plan, Plan), plan
    return {move.vm: move.destination for move in plan.moves}


def a_move(position: int, source: str, destination: str, start_s: float = 0, end_s: float = 1,
           gib: float = 1, after: tuple[int, ...] = ()) -> Move:
    name = f"vm{position}"
    return Move(position, name, name, source, destination, int(gib * GIB), start_s, end_s, after)


def raises_breach(check: Any, *arguments: Any) -> bool:
    try:
        check(*arguments)
    except Breach:
        return True
    return False


def test_the_checker_notices_a_host_that_would_be_over_full() -> None:
    snapshot = world([host("h1"), host("h2", 1)], [vm("vm1", "h1", 2)])
    assert raises_breach(replay, snapshot, [a_move(1, "h1", "h2")])


def test_the_checker_notices_a_move_that_starts_before_its_memory_is_free() -> None:
    snapshot = world([host("h1"), host("h2", 3), host("h3")], [vm("vm1", "h2", 2), vm("vm2", "h1", 2)])
    away, into = a_move(1, "h2", "h3", 0, 5), a_move(2, "h1", "h2", 4, 9, after=(1,))
    assert raises_breach(replay, snapshot, [away, into])
    assert not raises_breach(replay, snapshot, [away, into], {1: 7.0, 2: 1.0})


def test_the_checker_notices_a_broken_limit_and_an_idle_slot() -> None:
    together = [a_move(1, "h1", "h2"), a_move(2, "h1", "h2")]
    in_turn = [a_move(1, "h1", "h2", 0, 1), a_move(2, "h1", "h2", 1, 2)]
    assert raises_breach(check_schedule, together, Limits(1, 1, 1))
    assert raises_breach(check_schedule, in_turn, Limits(2, 2, 2))
    assert not raises_breach(check_schedule, in_turn, Limits(1, 2, 2))
