"""How long a live migration takes, by a pre-copy model; knows nothing of the order of moves.

Source: Clark et al., NSDI 2005; Xen's stock policy; XENAPI §14.
"""
from dataclasses import replace

from conductor.plan.model import Estimates, Vm

# Xen stops copying and pauses the guest when less than 50 pages of 4 KiB are left.
_STOP_BELOW_BYTES = 50 * 4096
# The busy end of the range. Measured on real hosts (XENAPI §14): the same VMs take 1.4 times as long under
# medium load as idle, and 7 times when they write all over their memory; this is about 3 times.
_BUSY_DIRTY_PER_S = 0.05
_BUSY_WORKING_SET = 0.5


def duration_s(vm: Vm, estimates: Estimates, streams: int = 1) -> float:
    """Return the expected length of the migration of ``vm`` when ``streams`` share its link."""
    return copy_s(vm.memory_dynamic_min_bytes, estimates, streams)


def copy_s(memory_bytes: int, estimates: Estimates, streams: int = 1) -> float:
    """Return the expected length of a migration of ``memory_bytes`` (xapi shrinks the guest first)."""
    bandwidth = estimates.bandwidth_bytes_s / max(1, streams)
    dirty_bytes_s = estimates.dirty_per_s * memory_bytes
    working_set_bytes = estimates.working_set * memory_bytes
    total = estimates.setup_s + estimates.teardown_s + estimates.pause_s
    remainder = float(memory_bytes)
    for _ in range(estimates.rounds):
        round_s = remainder / bandwidth
        total += round_s
        remainder = min(working_set_bytes, dirty_bytes_s * round_s)
        if remainder < _STOP_BELOW_BYTES:
            break
    return total + remainder / bandwidth


def idle(estimates: Estimates) -> Estimates:
    """Return a world with the fastest link and guests that write nothing: the near end of the range."""
    return replace(estimates, dirty_per_s=0.0,
                   bandwidth_bytes_s=max(estimates.bandwidth_bytes_s, estimates.fastest_bytes_s))


def busy(estimates: Estimates) -> Estimates:
    """Return the same world with guests that write a lot: the far end of the range."""
    return replace(estimates, dirty_per_s=max(_BUSY_DIRTY_PER_S, estimates.dirty_per_s),
                   working_set=max(_BUSY_WORKING_SET, estimates.working_set))
