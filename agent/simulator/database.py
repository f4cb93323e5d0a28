"""One pool's database: rows by reference, their links, and what changed when.

Rows are sparse (a field that has its default is not stored), values in them are never changed in
place, and every write goes through `add`, `set`, `touch` or `delete`, which keep the generation
that `event.from` reads. Knows the table but no behaviour.
"""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from agent.simulator.table import NULL, Moment, Table

Row = dict[str, Any]

# child class, field of the child that points up, parent class, field of the parent that lists the children
LINKS = (
    ("VM", "resident_on", "host", "resident_VMs"), ("VBD", "VM", "VM", "VBDs"), ("VBD", "VDI", "VDI", "VBDs"),
    ("VIF", "VM", "VM", "VIFs"), ("VIF", "network", "network", "VIFs"), ("VDI", "SR", "SR", "VDIs"),
    ("PBD", "SR", "SR", "PBDs"), ("PBD", "host", "host", "PBDs"), ("PIF", "network", "network", "PIFs"),
    ("PIF", "host", "host", "PIFs"), ("host_cpu", "host", "host", "host_CPUs"), ("console", "VM", "VM", "consoles"),
    ("VM", "groups", "VM_group", "VMs"), ("VM", "appliance", "VM_appliance", "VMs"),
    ("task", "subtask_of", "task", "subtasks"), ("task", "_session", "session", "tasks"),
    ("Certificate", "host", "host", "certificates"), ("VTPM", "VM", "VM", "VTPMs"),
    ("VM", "snapshot_of", "VM", "snapshots"), ("VDI", "snapshot_of", "VDI", "snapshots"),
    ("PIF", "bond_slave_of", "Bond", "slaves"),
)
UPWARD: dict[str, tuple[tuple[str, str, str], ...]] = {
    cls: tuple((field, parent, listing) for child, field, parent, listing in LINKS if child == cls)
    for cls in {link[0] for link in LINKS}
}
LISTINGS = frozenset((parent, listing) for _child, _field, parent, listing in LINKS)
DELETIONS_KEPT = 512  # xapi remembers 256-512 deletions for each table, then forgets


class Database:
    """The rows of one pool."""

    def __init__(self, table: Table, new_ref: Callable[[], str], new_uuid: Callable[[], str]) -> None:
        self.table = table
        self._new_ref, self._new_uuid = new_ref, new_uuid
        self.generation = 1
        self.rows: dict[str, dict[str, Row]] = {cls: {} for cls in table.classes}
        # ref -> (class, generation of its creation, generation of its last change); oldest change first
        self.stamps: dict[str, tuple[str, int, int]] = {}
        # class -> (generation of its end, ref, generation of its creation), oldest end first
        self.deleted: dict[str, deque[tuple[int, str, int]]] = {}
        self._children: dict[tuple[str, str], dict[str, None]] = {}
        self._uuids: dict[tuple[str, str], str] = {}
        # ref -> (class, row on disk): what is not written yet, as it was when it last was; None = there was none
        self._young: dict[str, tuple[str, Row | None]] = {}
        self.reserved: set[str] = set()  # VMs with scheduled_to_be_resident_on, so that nobody searches them

    # ---- writing
    def add(self, cls: str, fields: Row, *, ref: str | None = None, uuid: str | None = None) -> str:
        """Add a row and return its reference."""
        ref = ref or self._new_ref()
        row = self._trimmed(cls, fields)
        if "uuid" in self.table.classes[cls].fields:
            row["uuid"] = uuid or fields.get("uuid") or self._new_uuid()
            self._uuids[cls, row["uuid"]] = ref
        self.rows[cls][ref] = row
        self._young.setdefault(ref, (cls, None))
        self.generation += 1
        self.stamps[ref] = (cls, self.generation, self.generation)
        self._link(cls, ref, row)
        if row.get("scheduled_to_be_resident_on", NULL) != NULL:
            self.reserved.add(ref)
        return ref

    def set(self, cls: str, ref: str, /, **fields: Any) -> None:
        """Change fields of a row; a value that is there already is no change and no event."""
        row = self.rows[cls][ref]
        defaults = self.table.classes[cls].defaults
        changes = {name: value for name, value in fields.items()
                   if row.get(name, defaults.get(name)) != value}
        if not changes:
            return
        if ref not in self._young:
            self._young[ref] = (cls, dict(row))
        self._unlink(cls, ref, row, changes)
        for name, value in changes.items():
            if name in defaults and defaults[name] == value:
                row.pop(name, None)
            else:
                row[name] = value
        self._link(cls, ref, changes)
        if "scheduled_to_be_resident_on" in changes:
            (self.reserved.discard if changes["scheduled_to_be_resident_on"] == NULL else self.reserved.add)(ref)
        self.touch(ref)

    def touch(self, ref: str) -> None:
        """Note that something a record shows has changed."""
        stamp = self.stamps.pop(ref, None)
        if stamp is not None:
            self.generation += 1
            self.stamps[ref] = (stamp[0], stamp[1], self.generation)

    def delete(self, cls: str, ref: str) -> None:
        """Remove a row; absent is no error."""
        row = self.rows[cls].pop(ref, None)
        if row is None:
            return
        if self._young.setdefault(ref, (cls, row)) == (cls, None):
            del self._young[ref]  # it came and went, and never was on disk
        self._unlink(cls, ref, row, row)
        self._uuids.pop((cls, row.get("uuid", "")), None)
        self.reserved.discard(ref)
        _cls, created, _changed = self.stamps.pop(ref)
        self.generation += 1
        self.deleted.setdefault(cls, deque(maxlen=DELETIONS_KEPT)).append((self.generation, ref, created))

    def flush(self) -> None:
        """Write everything to disk."""
        self._young.clear()

    def young(self, cls: str) -> list[str]:
        """Return references of the rows that were added, changed or deleted since the last flush."""
        return [ref for ref, (its, _row) in self._young.items() if its == cls]

    def is_written(self, ref: str) -> bool:
        """Tell whether a row is on disk, maybe as it was before."""
        return self._young.get(ref, ("", {}))[1] is not None

    def lose_young(self) -> None:
        """Go back to what is on disk; the difference shows as changes of now."""
        defaults = {cls: self.table.classes[cls].defaults for cls in self.rows}
        for ref, (cls, row) in list(self._young.items()):
            present = self.rows[cls].get(ref)
            if row is None:
                self.delete(cls, ref)
            elif present is None:
                self.add(cls, row, ref=ref)
            else:
                self.set(cls, ref, **{name: defaults[cls].get(name) for name in present if name not in row}, **row)
        self.flush()

    def recreate_stamps(self, cls: str) -> None:
        """Let `event.from` report all rows of a class as added once more, as after a restart of the master."""
        for ref in list(self.rows[cls]):
            self.stamps.pop(ref)
            self.generation += 1
            self.stamps[ref] = (cls, self.generation, self.generation)

    # ---- reading
    def has(self, cls: str, ref: str) -> bool:
        """Tell whether the reference is valid."""
        return ref in self.rows[cls]

    def get(self, cls: str, ref: str, field: str) -> Any:
        """Return a stored field or the children that a listing field shows; not the computed operations."""
        if (cls, field) in LISTINGS:
            return list(self._children.get((ref, field), ()))
        row = self.rows[cls][ref]
        if field in row:
            return row[field]
        return self.table.classes[cls].defaults.get(field)

    def record(self, cls: str, ref: str) -> Row:
        """Return all stored and listing fields in the table's order."""
        result = dict(self.table.classes[cls].defaults)
        for name, value in self.rows[cls][ref].items():
            if name in result:
                result[name] = value
        for parent, listing in LISTINGS:
            if parent == cls:
                result[listing] = list(self._children.get((ref, listing), ()))
        return result

    def by_uuid(self, cls: str, uuid: str) -> str | None:
        """Return the reference that a uuid names."""
        return self._uuids.get((cls, uuid))

    def refs(self, cls: str) -> list[str]:
        """Return all references of a class, oldest first."""
        return list(self.rows[cls])

    def changed_since(self, generation: int) -> Iterator[tuple[str, str, int, int]]:
        """Yield (ref, class, generations of creation and of last change) of what changed later, newest first."""
        for ref in reversed(self.stamps):
            cls, created, changed = self.stamps[ref]
            if changed <= generation:
                return
            yield ref, cls, created, changed

    # ---- keeping
    def save(self) -> dict[str, Any]:
        """Return the whole database as JSON values."""
        order = [[ref, listing, list(children)] for (ref, listing), children in self._children.items()
                 if len(children) > 1]
        return {"generation": self.generation, "rows": self.rows, "order": order,
                "young": [[cls, ref, row] for ref, (cls, row) in self._young.items()],
                "stamps": [[ref, created, changed] for ref, (_cls, created, changed) in self.stamps.items()],
                "deleted": {cls: list(gone) for cls, gone in self.deleted.items()}}

    def load(self, state: dict[str, Any]) -> None:
        """Replace everything by what `save` returned."""
        dates = {cls: frozenset(name for name, field in info.fields.items() if field.type == "datetime")
                 for cls, info in self.table.classes.items()}

        def read(cls: str, row: Row) -> Row:
            return {name: Moment(value) if name in dates[cls] else value for name, value in row.items()}

        self.generation = int(state["generation"])
        self.rows = {cls: {ref: read(cls, row) for ref, row in state["rows"].get(cls, {}).items()}
                     for cls in self.table.classes}
        self._young = {ref: (cls, None if row is None else read(cls, row))
                       for cls, ref, row in state.get("young", ())}
        owner = {ref: cls for cls, rows in self.rows.items() for ref in rows}
        self.stamps = {ref: (owner[ref], created, changed) for ref, created, changed in state["stamps"]}
        self.deleted = {cls: deque([(int(gen), ref, *map(int, created or (0,))) for gen, ref, *created in gone],
                                   maxlen=DELETIONS_KEPT)
                        for cls, gone in state["deleted"].items()}
        # a listing shows its children in the order in which they came, which the rows do not tell
        self._children = {(ref, listing): dict.fromkeys(children) for ref, listing, children in state["order"]}
        self._uuids = {}
        self.reserved = {ref for ref, row in self.rows["VM"].items() if "scheduled_to_be_resident_on" in row}
        for cls, rows in self.rows.items():
            for ref, row in rows.items():
                if "uuid" in row:
                    self._uuids[cls, row["uuid"]] = ref
                for field, _parent, listing in UPWARD.get(cls, ()):
                    for target in _targets(row.get(field, NULL)):
                        self._children.setdefault((target, listing), {})[ref] = None

    # ---- inside
    def _trimmed(self, cls: str, fields: Row) -> Row:
        defaults = self.table.classes[cls].defaults
        return {name: value for name, value in fields.items() if name not in defaults or defaults[name] != value}

    def _link(self, cls: str, ref: str, changes: Row) -> None:
        for field, _parent, listing in UPWARD.get(cls, ()):
            for target in _targets(changes.get(field, NULL)):
                self._children.setdefault((target, listing), {})[ref] = None
                self.touch(target)

    def _unlink(self, cls: str, ref: str, row: Row, changes: Row) -> None:
        for field, _parent, listing in UPWARD.get(cls, ()):
            if field in changes:
                for target in _targets(row.get(field, NULL)):
                    self._children.get((target, listing), {}).pop(ref, None)
                    self.touch(target)


def _targets(value: Any) -> list[str]:
    if isinstance(value, str):
        return [] if value == NULL else [value]
    return list(value)
