"""A machine's hypervisor daemon that stands still, or dies alone: what it was doing hangs while xapi goes on (seen)."""

from typing import TYPE_CHECKING, Any

from agent.simulator import migrations, timing, workers
from agent.simulator.failure import Failure
from agent.simulator.node import Node
from agent.simulator.table import NULL

if TYPE_CHECKING:
    from agent.simulator.world import World

#: what daemons do; an evacuation is xapi's own
KINDS = ("migrate", "power")
#: the phase of a job that nobody does any more
LOST = "lost"
NO_TASK = "Xenops_interface.Xenopsd_error([S(Does_not_exist);[S(task);S(613)]])"


def freeze(world: "World", node: Node) -> None:
    """Stop the daemon in the middle of whatever it does, as SIGSTOP would."""
    node.facts["frozen"] = True
    migrations.reflow(world)


def thaw(world: "World", node: Node) -> None:
    """Let it go on from there."""
    node.facts.pop("frozen", None)
    migrations.reflow(world)


def die(world: "World", node: Node) -> None:
    """End the daemon: another one is started, and what this one did is done by nobody until xapi is restarted."""
    node.facts.pop("frozen", None)
    forgotten = [job for job in world.jobs.values() if job["kind"] in KINDS and job["node"] == node.address]
    for job in forgotten:
        job["phase"] = LOST
    for job in forgotten:
        workers.release(world, job)
    migrations.reflow(world)


def put_off(world: "World", kind: str, args: dict[str, Any]) -> bool:
    """Tell whether a step of a job cannot be done now; a frozen daemon is looked at again, a dead one never."""
    job = world.jobs.get(args.get("job", ""))
    if job is None or (job["phase"] != LOST and not is_frozen(world, job)):
        return False
    if job["phase"] != LOST:
        world.later(timing.FROZEN_LOOK, kind, **args)
    return True


def is_frozen(world: "World", job: workers.Job) -> bool:
    """Tell whether the daemon at one of the job's ends stands still."""
    ends = [job[end] for end in ("node", "target") if end in job] if job["kind"] in KINDS else []
    return any(world.nodes[address].facts.get("frozen") for address in ends)


def assert_known(world: "World", task: str) -> None:
    """Raise INTERNAL_ERROR if the daemon has forgotten what a task stands for."""
    if any(job["task"] == task and job["phase"] == LOST for job in world.jobs.values()):
        raise Failure("INTERNAL_ERROR", NO_TASK)


def toolstack_gone(world: "World", node: Node) -> None:
    """End, with a toolstack, what only it still waits for: the lost, and disks that it copies.

    A master's end leaves at home what a frozen one was sent.
    """
    for job in list(world.jobs.values()):
        ours = job["node"] == node.address or (node.is_master and job["pool"] == node.pool)
        unsent = job["kind"] == "migrate" and job["phase"] in migrations.CANCELLABLE and is_frozen(world, job)
        copying = job["phase"] == "mirror" and job["node"] == node.address
        if copying or (ours and (job["phase"] == LOST or (unsent and node.is_master))):
            workers.end(world, job)
            db = world.pools[job["pool"]]
            if db.has("VM", job["vm"]):
                db.set("VM", job["vm"], scheduled_to_be_resident_on=NULL)
            world.fail_task(job["pool"], job["task"], ["CANNOT_CONTACT_HOST", world.host_of(node)])
