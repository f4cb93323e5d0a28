"""What forbids that a machine goes down: the others' storage, or high availability, would not stand it."""

from agent.simulator import ha
from agent.simulator.database import Database
from agent.simulator.derived import degraded_storage
from agent.simulator.failure import Failure
from agent.simulator.table import NULL


def assert_may(db: Database, host: str) -> None:
    """Raise CLUSTERED_SR_DEGRADED or HA_LOST_STATEFILE, why a disabled host must stay up."""
    degraded = degraded_storage(db)
    if degraded != NULL:
        raise Failure("CLUSTERED_SR_DEGRADED", degraded)
    if ha.is_on(db) and not _sees_statefiles(db, host):
        raise Failure("HA_LOST_STATEFILE")


def _sees_statefiles(db: Database, host: str) -> bool:
    """Tell whether every repository with a state file of HA is plugged on the host."""
    plugged = {db.get("PBD", pbd, "SR") for pbd in db.get("host", host, "PBDs")
               if db.get("PBD", pbd, "currently_attached")}
    return all(db.get("VDI", disk, "SR") in plugged for pool in db.refs("pool")
               for disk in db.get("pool", pool, "ha_statefiles") if db.has("VDI", disk))
