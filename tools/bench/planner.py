"""How long the planner thinks, on pools like those it was measured against before it was written."""

import heapq
import operator
import random
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from conductor.plan.drain import plan_drain
from conductor.plan.memory import need_bytes
from conductor.plan.model import SERVING, Host, Plan, Snapshot, Vm
from conductor.plan.placement import place
from tools.bench.figures import Figure
from tools.bench.processes import Broken

GIB = 1 << 30
SIZES_GIB, WEIGHTS = (1, 2, 4, 8, 16, 32, 64), (10, 20, 25, 20, 12, 6, 2)
FILLED = 0.72
GROUPED = 0.2  # share of the VMs that are in anti-affinity groups
ROUNDS = 7


def measure() -> Iterator[Figure]:
    """Yield the figures; takes about 10 s."""
    pool = pool_of(32, 30)
    greedy = Figure("bare greedy placement of 30 VMs, 32 hosts, median", _median_ms(_spread_out, pool), "ms",
                    {"n": ROUNDS, "means": "largest first to the emptiest host, no rules and no schedule"})
    drain = Figure("plan_drain of 30 VMs, 32 hosts x 30 VMs, median", _median_ms(_drain, pool), "ms", {"n": ROUNDS})
    yield greedy
    yield drain
    yield drain.beside(greedy)
    pool = pool_of(500, 50)
    greedy = Figure("bare greedy placement of 50 VMs, 500 hosts, median", _median_ms(_spread_out, pool), "ms",
                    {"n": ROUNDS})
    placing = Figure("place of 50 VMs, 500 hosts x 50 VMs, median", _median_ms(_place, pool), "ms",
                     {"n": ROUNDS, "means": "the snapshot's own tables, made at its first use, included"})
    yield greedy
    yield placing
    yield placing.beside(greedy)


def pool_of(hosts: int, vms: int, seed: int = 1) -> Snapshot:
    """Return equal hosts with so many VMs each, together some 70 % full and none over-full."""
    draw = random.Random(seed)
    average = sum(map(operator.mul, SIZES_GIB, WEIGHTS)) / sum(WEIGHTS)
    memory = int(GIB * average * vms / FILLED)
    sizes = [_fitting(draw, vms, memory) for _ in range(hosts)]
    groups = hosts * vms // 20  # some four VMs each
    found = [_vm(f"{host}-{number}", f"h{host}", size,
                 frozenset({f"g{draw.randrange(groups)}"}) if draw.random() < GROUPED else frozenset())
             for host, of_host in enumerate(sizes) for number, size in enumerate(of_host)]
    return Snapshot("pool", "h0", tuple(_host(f"h{host}", memory) for host in range(hosts)), tuple(found), (),
                    frozenset(f"g{group}" for group in range(groups)), None, 1)


def _fitting(draw: random.Random, vms: int, memory_bytes: int) -> list[int]:
    while True:
        sizes = [GIB * size for size in draw.choices(SIZES_GIB, WEIGHTS, k=vms)]
        if sum(sizes) * 1.01 + GIB < memory_bytes:
            return sizes


def _host(name: str, memory_bytes: int) -> Host:
    return Host(uuid=name, name=name, enabled=True, live=True, member=True, wanted=SERVING, leaving=False,
                version=(3, 4, 0), cpu_vendor="GenuineIntel", cpu_features="0f-0f", cpus=64,
                memory_total_bytes=memory_bytes, memory_overhead_bytes=GIB, srs=frozenset({"shared"}),
                networks=frozenset({"lan"}))


def _vm(name: str, host: str, memory_bytes: int, groups: frozenset[str]) -> Vm:
    return Vm(uuid=name, name=name, resident_on=host, scheduled_on=None, power_state="Running", control_domain=False,
              memory_dynamic_min_bytes=memory_bytes, memory_static_max_bytes=memory_bytes,
              memory_overhead_bytes=memory_bytes // 128, domain_type="hvm", vcpus=2, srs=frozenset({"shared"}),
              networks=frozenset({"lan"}), groups=groups, operations=(), hindrances=())


def _median_ms(act: Callable[[Snapshot], object], pool: Snapshot) -> float:
    """Return the median time of ``act`` on a snapshot that nobody has looked at yet."""
    times = []
    for generation in range(ROUNDS):
        fresh = replace(pool, generation=generation)
        began = time.perf_counter()
        act(fresh)
        times.append(time.perf_counter() - began)
    return 1e3 * statistics.median(times)


def _drain(pool: Snapshot) -> None:
    if not isinstance(plan_drain(pool, "h0"), Plan):
        raise Broken("the planner finds no plan for the bench's pool")


def _place(pool: Snapshot) -> None:
    if place(pool, "h0", pool.residents["h0"]).homeless:
        raise Broken("the planner finds no place in the bench's pool")


def _spread_out(pool: Snapshot) -> dict[str, str]:
    """Give each VM of h0 to the host that has most left."""
    free = {host.uuid: host.memory_total_bytes - host.memory_overhead_bytes for host in pool.hosts}
    for vm in pool.vms:
        free[vm.resident_on or ""] -= need_bytes(vm)
    del free["h0"]
    emptiest = [(-left, host) for host, left in free.items()]
    heapq.heapify(emptiest)
    chosen = {}
    for vm in sorted((vm for vm in pool.vms if vm.resident_on == "h0"), key=need_bytes, reverse=True):
        less, host = emptiest[0]
        heapq.heapreplace(emptiest, (less + need_bytes(vm), host))
        chosen[vm.uuid] = host
    return chosen
