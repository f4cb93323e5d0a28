"""The log of all calls, for checkers: when, where, by whom, what, under which fault, how and when it ended.

Keeps the newest in memory; a sink that is handed in gets each one when it has ended.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

CALLS_KEPT = 20000


@dataclass
class CallRecord:
    """One line; `result` is a code, "Success", "dropped" or "pending", times are simulated ones."""

    number: int
    at: float
    address: str
    originator: str
    method: str
    result: str = "pending"
    ended: float = 0.0
    task: str = ""  # what an asynchronous call answered
    fault: int = 0  # the number of the rule that struck it

    def save(self) -> dict[str, Any]:
        """Return the line as JSON values."""
        return asdict(self)


class CallLog:
    """The calls of a world, oldest first, numbered from 1."""

    def __init__(self) -> None:
        self._records: deque[CallRecord] = deque(maxlen=CALLS_KEPT)
        self.last = 0
        self.sink: Callable[[CallRecord], None] | None = None

    def begin(self, at: float, address: str, method: str) -> CallRecord:
        """Add a call that has just come."""
        self.last += 1
        record = CallRecord(self.last, at, address, "", method)
        self._records.append(record)
        return record

    def end(self, record: CallRecord, result: str, at: float) -> None:
        """Note how a call ended; only the first end counts."""
        if record.result != "pending":
            return
        record.result, record.ended = result, at
        if self.sink:
            self.sink(record)

    def after(self, number: int) -> list[CallRecord]:
        """Return the calls that came after the one with this number, as far as they are kept."""
        return [record for record in self._records if record.number > number]

    def __iter__(self) -> Iterator[CallRecord]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> CallRecord:
        return self._records[index]
