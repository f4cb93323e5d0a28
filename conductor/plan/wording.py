"""Sizes, times and lists as people read them; knows nothing of plans."""
from collections.abc import Sequence

GIB = 1 << 30
MIB = 1 << 20


def size(count_bytes: int) -> str:
    """Return bytes as GiB, or as MiB below one GiB."""
    if abs(count_bytes) < GIB:
        return f"{count_bytes / MIB:.0f} MiB"
    return f"{count_bytes / GIB:.1f} GiB"


def rounded_up(count_bytes: int) -> int:
    """Return at least so many bytes, which ``size`` says exactly: so "free so much" is enough."""
    if count_bytes <= GIB - MIB:
        return -(-count_bytes // MIB) * MIB
    tenths = -(-count_bytes * 10 // GIB)
    return -(-tenths * GIB // 10)


def span(seconds: float) -> str:
    """Return a length of time in the two largest units that matter."""
    whole = max(0, round(seconds))
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    if hours:
        return f"{hours} h {minutes} min"
    if minutes:
        return f"{minutes} min {rest} s"
    return f"{rest} s"


def listing(names: Sequence[str], at_most: int = 5) -> str:
    """Return "a, b and c", or "a, b and 7 more" when there are too many."""
    shown = list(names)
    if len(shown) > at_most:
        return f"{', '.join(shown[:at_most])} and {len(shown) - at_most} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def count(number: int, noun: str) -> str:
    """Return "1 move", "2 moves"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
