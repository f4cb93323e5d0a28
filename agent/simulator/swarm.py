"""Faults by a seed, as swarm testing has them: each seed draws which kinds are at work at all, and how often.

They end after a while, so that whoever works against the world can be asked whether it came to rest. The same
seed and world give the same faults; which call a chance strikes also depends on when calls come.
"""

import random
from collections.abc import Iterator

from agent.simulator.fault_spec import (
    EJECT_PHASES,
    JOIN_PHASES,
    PHASES,
    CallFault,
    EjectFault,
    FaultSpec,
    Incident,
    JoinFault,
    MigrationFault,
)
from agent.simulator.spec import WorldSpec

DEFAULT_S = 600.0
SOME_CALLS = ("*", "Async.*", "VM.*", "host.*", "*.get_*", "event.from", "session.login_with_password",
              "Async.VM.pool_migrate", "Async.pool.*", "task.*")
ERRORS = (("INTERNAL_ERROR", "Stdlib.Not_found"), ("OTHER_OPERATION_IN_PROGRESS", "pool", "", "", ""),
          ("SESSION_INVALID", ""), ("HOST_STILL_BOOTING",), ("CANNOT_CONTACT_HOST", ""))


def swarm(spec: WorldSpec, seed: int, seconds: float = DEFAULT_S) -> tuple[FaultSpec, ...]:
    """Return the faults of a seed for a world; all that break something are over after `seconds`."""
    rng = random.Random(f"swarm {seed}")
    kinds = (_calls, _migrations, _power, _toolstacks, _links, _operators, _membership, _losses)  # a new one comes last
    return tuple(fault for kind in kinds if rng.random() < 0.5 for fault in kind(spec, rng, seconds))


def _calls(_spec: WorldSpec, rng: random.Random, seconds: float) -> Iterator[FaultSpec]:
    for call in rng.sample(SOME_CALLS, rng.randint(1, 4)):
        do = rng.choice(("drop", "drop", "delay", "error"))
        yield CallFault(call, do, rng.choice(("before", "after")), round(rng.uniform(0.1, 8), 2),
                        rng.choice(ERRORS) if do == "error" else (), chance=round(rng.uniform(0.002, 0.08), 4),
                        times=0, until=seconds)


def _migrations(_spec: WorldSpec, rng: random.Random, seconds: float) -> Iterator[FaultSpec]:
    for phase in rng.sample(PHASES, rng.randint(1, 3)):
        yield MigrationFault(phase, seconds=round(rng.uniform(0, 3), 2), chance=round(rng.uniform(0.02, 0.3), 3),
                             times=0, until=seconds)


def _power(spec: WorldSpec, rng: random.Random, seconds: float) -> Iterator[FaultSpec]:
    for _ in range(rng.randint(1, 2)):
        host, at = rng.choice(spec.hosts).name, round(rng.uniform(0, seconds * 0.7), 1)
        yield Incident(at, "power_off", host)
        yield Incident(round(rng.uniform(at, seconds), 1), "power_on", host)


def _toolstacks(spec: WorldSpec, rng: random.Random, seconds: float) -> Iterator[FaultSpec]:
    for _ in range(rng.randint(1, 5)):
        yield Incident(round(rng.uniform(0, seconds), 1), rng.choice(("kill", "crash", "enable")),
                       rng.choice(spec.hosts).name)


def _links(spec: WorldSpec, rng: random.Random, seconds: float) -> Iterator[FaultSpec]:
    for _ in range(rng.randint(1, 4)):
        host, at = rng.choice(spec.hosts).name, round(rng.uniform(0, seconds * 0.8), 1)
        back = round(rng.uniform(at, seconds), 1)
        if rng.random() < 0.5:
            yield Incident(at, "cut", host)
            yield Incident(back, "mend", host)
        else:
            yield Incident(at, "link", host, rate=rng.choice((0, 1, 20, 100)) * 10**6)
            yield Incident(back, "link", host)


def _operators(spec: WorldSpec, rng: random.Random, seconds: float) -> Iterator[FaultSpec]:
    for _ in range(rng.randint(1, 6)):
        at, host = round(rng.uniform(0, seconds), 1), rng.choice(spec.hosts).name
        deeds: list[tuple[str, list[object]]] = [
            ("host.restart_agent", [{"host": host}]), ("host.disable", [{"host": host}]),
            ("host.enable", [{"host": host}]), ("pool.designate_new_master", [{"host": host}])]
        if spec.vms:
            vm = {"VM": rng.choice(spec.vms).name}
            deeds += [("VM.clean_shutdown", [vm]), ("VM.hard_shutdown", [vm]), ("VM.start", [vm, False, False]),
                      ("VM.pool_migrate", [vm, {"host": host}, {}]), ("VM.clone", [vm, "a copy"])]
        operator, params = rng.choice(deeds)
        yield Incident(at, host=host, operator=operator, params=params)


def _membership(spec: WorldSpec, rng: random.Random, seconds: float) -> Iterator[FaultSpec]:
    yield JoinFault(rng.choice(JOIN_PHASES), chance=round(rng.uniform(0.1, 0.5), 3), times=0, until=seconds)
    yield EjectFault(rng.choice(EJECT_PHASES), chance=round(rng.uniform(0.1, 0.5), 3), times=0, until=seconds)
    host, at = rng.choice(spec.hosts).name, round(rng.uniform(0, seconds * 0.8), 1)
    yield Incident(at, "one_way", host)
    yield Incident(round(rng.uniform(at, seconds), 1), "mend", host)


def _losses(spec: WorldSpec, rng: random.Random, seconds: float) -> Iterator[FaultSpec]:
    for _ in range(rng.randint(1, 3)):
        yield Incident(round(rng.uniform(0, seconds), 1), "crash", rng.choice(spec.hosts).name, loses=True)
    yield Incident(round(rng.uniform(0, seconds), 1), "lag", rng.choice(spec.hosts).name)
    yield MigrationFault("stream", seconds=round(rng.uniform(0, 3), 2), reboot=True, times=0, until=seconds,
                         chance=round(rng.uniform(0.1, 0.5), 3))
