"""A pool's records as last told, and the report made of them: only what has changed is made anew.

An unchanged pool gives the same report object, and an unchanged VM the same entry of it.
It knows no connection.
"""

from collections.abc import Iterator
from typing import Any

from agent.xenapi.report import FIELDS, Tables, pool_report, vm_entry
from agent.xenapi.shapes import kept
from common.messages import PoolReport

#: class -> fields that refer to objects whose change makes the VM above look different
_BELOW = {"vm": ("VBDs", "VIFs"), "vbd": ("VDI",)}
#: class -> the fields by which VMs show it; they hardly ever change, so then all VMs are looked at again
_SHOWN = {"host": ("uuid",), "sr": ("uuid",), "network": ("uuid",), "vm_group": ("uuid", "placement")}
Record = dict[str, Any]


class Picture:
    """The records of one pool; for one thread at a time."""

    def __init__(self) -> None:
        self.tables: Tables = {name: {} for name in FIELDS}
        #: reference -> those that refer to it
        self._above: dict[str, set[str]] = {}
        self._entries: dict[str, dict[str, Any]] = {}
        self._stale: set[str] = set()
        self._report: PoolReport | None = None

    def take(self, event: dict[str, Any]) -> bool:
        """Take in one event; return whether anything that is reported may have changed.  Raises BadAnswer."""
        class_, ref = str(event["class"]).lower(), str(event["ref"])
        if class_ not in FIELDS:
            return False
        table = self.tables[class_]
        old, new = table.get(ref), None
        if event["operation"] != "del" and "snapshot" in event:
            new = kept(class_, ref, event["snapshot"], FIELDS[class_])
        if old == new:
            return False
        if new is None:
            del table[ref]
        else:
            table[ref] = new
        self._link(class_, ref, old, new)
        self._mark(class_, ref, old, new)
        self._report = None
        return True

    def report(self) -> PoolReport | None:
        """Return the report, None while the pool's own record is missing."""
        if self._report is None:
            vms = self.tables["vm"]
            for ref in self._stale:
                self._entries.pop(ref, None)
                if ref in vms:
                    self._entries[ref] = vm_entry(vms[ref], self.tables)
            self._stale.clear()
            self._report = pool_report(self.tables, self._entries)
        return self._report

    def _link(self, class_: str, ref: str, old: Record | None, new: Record | None) -> None:
        for below in _refs_below(class_, old):
            self._above.get(below, set()).discard(ref)
            if not self._above.get(below):
                self._above.pop(below, None)
        for below in _refs_below(class_, new):
            self._above.setdefault(below, set()).add(ref)

    def _mark(self, class_: str, ref: str, old: Record | None, new: Record | None) -> None:
        """Note which VMs look different now."""
        if class_ in _SHOWN:
            if [(old or {}).get(name) for name in _SHOWN[class_]] != [(new or {}).get(name) for name in _SHOWN[class_]]:
                self._stale.update(self.tables["vm"])
            return
        waiting = [ref]
        while waiting:
            one = waiting.pop()
            if (one == ref and class_ == "vm") or one in self.tables["vm"]:
                self._stale.add(one)
            else:
                waiting += self._above.get(one, ())


def _refs_below(class_: str, record: Record | None) -> Iterator[str]:
    if record is not None:
        for name in _BELOW.get(class_, ()):
            yield from [record[name]] if isinstance(record[name], str) else record[name]
