"""The two sides of a join, read once each; what speaks against it is for the modules that check."""

from typing import Any

from agent.xenapi.calls import Record
from agent.xenapi.link import Link
from common import errors

#: xapi's code, and a sentence for people
Objection = tuple[str, str]


class Side:
    """One pool, as far as the checks of a join need it; each class is read once, when it is first asked for."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._read: dict[str, dict[str, Record]] = {}
        self.pool: Record = self.records("pool")[0]
        self.hosts: dict[str, Record] = self.table("host")
        if self.pool["master"] not in self.hosts:
            raise errors.Unavailable("The pool's master is changing", code="master_changing")
        self.master: Record = self.hosts[self.pool["master"]]

    def records(self, class_: str) -> list[Record]:
        """Return all records of a class."""
        return list(self.table(class_).values())

    def table(self, class_: str) -> dict[str, Record]:
        """Return all records of a class by their references."""
        if class_ not in self._read:
            self._read[class_] = self._link.read(f"{class_}.get_all_records")
        return self._read[class_]

    def software(self, key: str) -> str:
        """Return what the master's software says about itself under ``key``, "" when it says nothing."""
        return str(self.master["software_version"].get(key, ""))

    def forbids(self, feature: str) -> bool:
        """Return whether the pool's licence restricts ``feature``."""
        return bool(self.pool.get("restrictions", {}).get(f"restrict_{feature}") == "true")

    def interfaces(self) -> list[Record]:
        """Return the master's network interfaces."""
        return [pif for pif in self.records("PIF") if pif["host"] == self.pool["master"]]

    def management(self) -> dict[str, Any]:
        """Return the master's management interface, {} when it has none."""
        return next((pif for pif in self.interfaces() if pif["management"]), {})


def listing(names: list[str]) -> str:
    """Return at most five names and how many more there are."""
    return ", ".join(sorted(names)[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
