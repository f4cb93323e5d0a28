"""What the sudden death of a toolstack does to migrations under way, as it was seen on a real xapi.

The daemons go on without it. When the master dies, a VM that streams away from it is Halted in the API while
its domain runs on at the destination, a *stray*: starting it elsewhere succeeds and then it runs twice. When a
member dies, tasks fail although their VMs have moved; one that was just changing over becomes a *ghost*: the API
says that it runs at home, and its domain runs at the destination under a name that nobody knows.
"""

from typing import TYPE_CHECKING

from agent.simulator import build, disks, migrations, workers
from agent.simulator.node import Node
from agent.simulator.strays import Stray
from agent.simulator.table import NULL

if TYPE_CHECKING:
    from agent.simulator.world import World

BEFORE = ("queued", "setup")
UNDER_WAY = ("stream", "pause", "device")
CHANGING_OVER = "device"


def interrupt(world: "World", node: Node) -> None:
    """Let the migrations that a dying toolstack looks after come to their sudden ends."""
    for job in list(world.jobs.values()):
        if job["kind"] != "migrate" or job["pool"] != node.pool:
            continue
        if job["phase"] in BEFORE and node.is_master and job["node"] == node.address:
            workers.end(world, job)  # seen: what did not stream yet stays where it is
        if job["phase"] not in UNDER_WAY:
            continue
        if node.is_master:
            _forgotten(world, job, node)
        elif node.address in (job["node"], job["target"]):
            _moved_all_the_same(world, job, node)
    migrations.reflow(world)


def _forgotten(world: "World", job: workers.Job, master: Node) -> None:
    """End a migration whose pool has lost its memory: at home, at its destination, or running unseen."""
    ends = ("stray",) if job["node"] == master.address else ("stray", "home", "moved")
    end = world.random.choice(ends)
    db = world.pools[job["pool"]]
    workers.end(world, job)
    if not db.has("VM", job["vm"]):
        return
    if end == "stray":
        build.stop_domain(db, job["vm"])
        world.strays.append(Stray(db.get("VM", job["vm"], "uuid"), job["target"]))
    else:
        host = job["host"] if end == "moved" and db.has("host", job["host"]) else db.get("VM", job["vm"], "resident_on")
        db.set("VM", job["vm"], resident_on=host, scheduled_to_be_resident_on=NULL)
        if host == job["host"]:
            disks.settle(db, job["vm"], job.get("places", {}))


def _moved_all_the_same(world: "World", job: workers.Job, node: Node) -> None:
    db, host = world.pools[job["pool"]], world.host_of(node)
    at_source = job["node"] == node.address
    if db.has("VM", job["vm"]) and not at_source and job["phase"] == CHANGING_OVER:
        db.set("VM", job["vm"], scheduled_to_be_resident_on=NULL)
        world.strays.append(Stray(db.get("VM", job["vm"], "uuid"), job["target"], job["node"], renamed=True))
    elif db.has("VM", job["vm"]) and db.has("host", job["host"]):
        db.set("VM", job["vm"], resident_on=job["host"], scheduled_to_be_resident_on=NULL)
        disks.settle(db, job["vm"], job.get("places", {}))
    workers.end(world, job)
    world.fail_task(job["pool"], job["task"], ["CANNOT_CONTACT_HOST", host] if at_source else [
        "INTERNAL_ERROR", 'xenopsd internal error: Failure("Failed to read HTTP response")'])
