"""A VM's disks: which it has, and that they stand in other repositories once they have moved."""

from agent.simulator.database import Database
from agent.simulator.table import NULL


def of(db: Database, vm: str) -> list[str]:
    """Return the VM's disks, without what is in its drives."""
    found = [(db.get("VBD", vbd, "VDI"), db.get("VBD", vbd, "type")) for vbd in db.get("VM", vm, "VBDs")]
    return [disk for disk, kind in found if kind != "CD" and db.has("VDI", disk)]


def moving(db: Database, vm: str, places: dict[str, str]) -> list[str]:
    """Return the disks that are not yet in the repository where they are to be."""
    return [disk for disk in of(db, vm) if places.get(disk, NULL) not in (NULL, db.get("VDI", disk, "SR"))]


def settle(db: Database, vm: str, places: dict[str, str]) -> None:
    """Give the VM its copies for the disks that have moved; the old ones are gone."""
    gone = moving(db, vm, places)
    for vbd in db.get("VM", vm, "VBDs"):
        disk = db.get("VBD", vbd, "VDI")
        if disk in gone:
            copy = {**db.rows["VDI"][disk], "uuid": "", "SR": places[disk]}
            db.set("VBD", vbd, VDI=db.add("VDI", copy))
    for disk in gone:
        db.delete("VDI", disk)
