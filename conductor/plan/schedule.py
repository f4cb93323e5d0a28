"""When each move of a plan may start; knows nothing of hosts and VMs but their names in the moves.

Work-conserving: no move waits while its source, its destination and the pool have a place for it and the
moves that it comes ``after`` are done. Memory is safe in any order that keeps ``after`` (see ``sequence``).
"""
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from conductor.plan.estimate import busy as busy_guests
from conductor.plan.estimate import copy_s
from conductor.plan.estimate import idle as idle_guests
from conductor.plan.model import Estimates, Eta, Limits, Move


class _Slots:
    """Who moves now, against the limits."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._out: Counter[str] = Counter()
        self._in: Counter[str] = Counter()
        self._all = 0

    def has_place(self, source: str, destination: str) -> bool:
        return (self._all < self._limits.per_pool and self._out[source] < self._limits.per_source
                and self._in[destination] < self._limits.per_destination)

    def take(self, source: str, destination: str, number: int = 1) -> None:
        self._all += number
        self._out[source] += number
        self._in[destination] += number


def startable(pending: Sequence[Move], in_flight: Sequence[tuple[str, str]], limits: Limits,
              done: Collection[int] = ()) -> list[Move]:
    """Return the moves that may start right now, in the plan's order.

    ``in_flight`` are source and destination of all operations' moves in the pool, ``done`` the positions of
    this plan's moves that are done: a move with ``after`` never starts before those are among them. A move
    whose ends are busy is passed over, not waited for.
    """
    slots = _Slots(limits)
    for source, destination in in_flight:
        slots.take(source, destination)
    chosen = []
    for move in sorted(pending, key=lambda move: move.position):
        if set(move.after) <= set(done) and slots.has_place(move.source, move.destination):
            slots.take(move.source, move.destination)
            chosen.append(move)
    return chosen


def schedule(moves: Sequence[Move], limits: Limits, estimates: Estimates,
             busy: Sequence[Move] = ()) -> tuple[Move, ...]:
    """Give every move its ``start_s`` and ``end_s`` and number them from 1 in the order of their starts.

    ``busy`` are moves of other operations that were accepted before; they take their turn first and are not
    returned. A move comes ``after`` lower positions only. Longest chain first, unless the order given ends
    sooner. Cost O(moves²) at worst. Raises ValueError.
    """
    durations = _durations((*busy, *moves), limits, estimates)
    offset = len(busy)
    chains = _chains(moves, durations[offset:])
    longest_first = sorted(range(offset, offset + len(moves)),
                           key=lambda i: (-chains[i - offset], moves[i - offset].vm))
    as_given = list(range(offset, offset + len(moves)))
    best = min((_run((*busy, *moves), [*range(offset), *order], durations, limits, offset)
                for order in (longest_first, as_given)),
               key=lambda starts: max((starts[i] + durations[i] for i in as_given), default=0.0))
    timed = [replace(move, start_s=best[i], end_s=best[i] + durations[i])
             for i, move in enumerate(moves, start=offset)]
    return _renumbered(timed)


def eta(moves: Sequence[Move], limits: Limits, estimates: Estimates, busy: Sequence[Move] = ()) -> Eta:
    """Return when the last move ends: fast link and idle guests, as expected, busy guests."""
    low, likely, high = (
        max((move.end_s for move in schedule(moves, limits, assumed, busy)), default=0.0)
        for assumed in (idle_guests(estimates), estimates, busy_guests(estimates)))
    # List schedules have anomalies: a shorter job can lengthen the whole. The range must still be one.
    return Eta(min(low, likely), likely, max(likely, high))


def _durations(moves: Sequence[Move], limits: Limits, estimates: Estimates) -> list[float]:
    """Return each move's length when as many streams share its links as the limits and the plan allow."""
    outgoing, incoming = Counter(m.source for m in moves), Counter(m.destination for m in moves)
    return [copy_s(move.memory_bytes, estimates, streams=min(limits.per_pool, max(
        min(limits.per_source, outgoing[move.source]),
        min(limits.per_destination, incoming[move.destination])))) for move in moves]


def _chains(moves: Sequence[Move], durations: Sequence[float]) -> list[float]:
    """Return for each move its length plus that of the longest chain of moves that wait for it."""
    tail: dict[int, float] = {}      # by position: the longest chain that begins when that move is done
    chains = [0.0] * len(moves)
    for i in sorted(range(len(moves)), key=lambda i: -moves[i].position):
        chains[i] = durations[i] + tail.get(moves[i].position, 0.0)
        for earlier in moves[i].after:
            if earlier >= moves[i].position:
                raise ValueError(f"move {moves[i].position} can't come after move {earlier}")
            tail[earlier] = max(tail.get(earlier, 0.0), chains[i])
    return chains


def _run(moves: Sequence[Move], order: Sequence[int], durations: Sequence[float], limits: Limits,
         offset: int) -> dict[int, float]:
    """Return the start of each move (by index): as soon as it may, those earlier in ``order`` first.

    The first ``offset`` moves belong to other plans: their positions mean nothing here, and what they come
    after is not waited for.
    """
    index: Mapping[int, int] = {move.position: i for i, move in enumerate(moves) if i >= offset}
    slots, now = _Slots(limits), 0.0
    waiting, running, starts = list(order), dict[int, float](), dict[int, float]()
    done: set[int] = set()
    while waiting or running:
        for i in list(waiting):
            free_to_go = i < offset or all(index[position] in done for position in moves[i].after)
            if free_to_go and slots.has_place(moves[i].source, moves[i].destination):
                slots.take(moves[i].source, moves[i].destination)
                waiting.remove(i)
                starts[i], running[i] = now, now + durations[i]
        now = min(running.values())
        for i in [i for i, end in running.items() if end <= now]:
            slots.take(moves[i].source, moves[i].destination, -1)
            done.add(i)
            del running[i]
    return starts


def _renumbered(moves: Sequence[Move]) -> tuple[Move, ...]:
    ordered = sorted(moves, key=lambda move: (move.start_s, move.position))
    new = {move.position: number for number, move in enumerate(ordered, start=1)}
    return tuple(replace(move, position=new[move.position], after=tuple(sorted(new[p] for p in move.after)))
                 for move in ordered)
