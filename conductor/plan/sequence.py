"""Turns "this VM goes there" into ordered, timed moves that are safe in memory; decides no destination.

Why ``after`` is enough: take the moves into one host in the order given. A move whose own need and those
before it fit into what is free now waits for nothing. Any other waits for the first few moves *out* of that
host that make up the rest. Whatever subset has started, its last one has waited for enough: so the host is
never over-full, however long each move takes and in whichever order they start.
"""
from collections.abc import Sequence

from conductor.plan.memory import free_map, held_bytes, need_bytes
from conductor.plan.model import Estimates, Eta, Limits, Move, Snapshot, Vm
from conductor.plan.schedule import eta, schedule


def sequence(snapshot: Snapshot, pairs: Sequence[tuple[Vm, str]], limits: Limits,
             estimates: Estimates) -> tuple[tuple[Move, ...], Eta]:
    """Return one move for each (VM, destination) in order of their starts, and how long the whole takes.

    Moves that free memory for others come first in ``pairs``. Raises ValueError if a host would overflow.
    """
    moves = _with_dependencies(snapshot, pairs)
    busy = _moves_of_others(snapshot)
    return schedule(moves, limits, estimates, busy), eta(moves, limits, estimates, busy)


def _with_dependencies(snapshot: Snapshot, pairs: Sequence[tuple[Vm, str]]) -> tuple[Move, ...]:
    free, arrived = free_map(snapshot), dict[str, int]()
    leaving: dict[str, list[tuple[int, int]]] = {}
    moves = []
    for position, (vm, destination) in enumerate(pairs, start=1):
        arrived[destination] = arrived.get(destination, 0) + need_bytes(vm)
        missing, after = arrived[destination] - free[destination], list[int]()
        for earlier, freed in leaving.get(destination, ()):
            if missing > 0:
                after.append(earlier)
                missing -= freed
        if missing > 0:
            raise ValueError(f"{snapshot.host_name(destination)} can't hold {vm.name}")
        if vm.resident_on:
            leaving.setdefault(vm.resident_on, []).append((position, held_bytes(vm)))
        moves.append(_move(snapshot, position, vm, destination, tuple(after)))
    return tuple(moves)


def _moves_of_others(snapshot: Snapshot) -> tuple[Move, ...]:
    known = snapshot.vms_by_uuid
    return tuple(_move(snapshot, position, known[pending.vm], pending.destination, ())
                 for position, pending in enumerate(snapshot.pending, start=1) if pending.vm in known)


def _move(snapshot: Snapshot, position: int, vm: Vm, destination: str, after: tuple[int, ...]) -> Move:
    source = vm.resident_on or ""
    return Move(position, vm.uuid, vm.name, source, destination, vm.memory_dynamic_min_bytes, 0.0, 0.0, after,
                snapshot.host_name(source), snapshot.host_name(destination))
