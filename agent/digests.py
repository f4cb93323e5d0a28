"""A name for what a pool report says: the same for the same, however old the reading is.

It knows no pool and no conductor; whoever keeps entries that did not change pays for the
others only.
"""

import hashlib
import json
from dataclasses import replace
from typing import Any

from common.messages import PoolReport


class Digests:
    """Names of one observer's reports, one after the other; for one thread."""

    def __init__(self) -> None:
        self._last: tuple[PoolReport, str] | None = None
        #: the entry itself is kept too, so that no other gets its identity
        self._entries: dict[int, tuple[dict[str, Any], bytes]] = {}

    def of(self, report: PoolReport) -> str:
        """Return the report's name."""
        lasting = replace(report, age_s=0.0)
        if self._last is None or self._last[0] != lasting:
            self._last = lasting, self._made(lasting)
        return self._last[1]

    def _made(self, report: PoolReport) -> str:
        known, self._entries = self._entries, {}
        whole = hashlib.sha256(_text(report.to_wire() | {"vms": len(report.vms)}))
        for vm in report.vms:
            entry = known.get(id(vm)) or (vm, hashlib.sha256(_text(vm)).digest())
            self._entries[id(vm)] = entry
            whole.update(entry[1])
        return whole.hexdigest()


def _text(value: dict[str, Any]) -> bytes:
    return json.dumps(value).encode()
