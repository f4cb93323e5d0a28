"""What the calls about hosts and about work share: a link, and uuids for references.

References live here and below only, for as long as one session.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from agent.xenapi import failures
from agent.xenapi.link import Link
from common import errors

NULL = "OpaqueRef:NULL"
Record = dict[str, Any]
Found = TypeVar("Found")


class Calls:
    """Calls over one link; for one thread."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._refs: dict[tuple[str, str], str] = {}
        self._uuids: dict[str, str] = {}
        self._pool_ref: str | None = None

    def _ref(self, class_: str, uuid: str) -> str:
        """Return the reference of an object.  Raises HypervisorError UUID_INVALID."""
        ref = self._refs.get((class_, uuid))
        if ref is None:
            ref = self._refs[class_, uuid] = str(self._link.read(f"{class_}.get_by_uuid", uuid))
            self._uuids[ref] = uuid
        return ref

    def _uuid(self, class_: str, ref: str) -> str | None:
        """Return the uuid of an object, None for the null reference and one that is gone."""
        if ref in (NULL, ""):
            return None
        uuid = self._uuids.get(ref)
        if uuid is None:
            try:
                uuid = self._uuids[ref] = str(self._link.read(f"{class_}.get_uuid", ref))
            except errors.HypervisorError as exc:
                if not failures.is_absent(exc):
                    raise
                return None
        return uuid

    def _if_there(self, class_: str, uuid: str, read: Callable[[str], Found]) -> Found | None:
        """Return ``read(reference)``, None when there is no such object."""
        try:
            return read(self._ref(class_, uuid))
        except errors.HypervisorError as exc:
            if not failures.is_absent(exc):
                raise
            self._refs.pop((class_, uuid), None)
            return None

    def _pool(self) -> str:
        """Return the reference of the pool; there is one."""
        if self._pool_ref is None:
            self._pool_ref = str(self._link.read("pool.get_all")[0])
        return self._pool_ref


def operations(record: Record) -> tuple[str, ...]:
    """Return what is being done with an object."""
    return tuple(sorted(str(op) for op in record.get("current_operations", {}).values()))
