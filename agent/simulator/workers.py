"""The hypervisor daemons' worker threads, and the operations that records show meanwhile.

A job is a dictionary in world.jobs: id, kind, node (whose worker), pool, vm, task, session, and what
its kind adds. At most WORKERS jobs of a node run; the others wait and look just the same from outside.
"""

from typing import TYPE_CHECKING, Any

from agent.simulator.failure import Failure
from agent.simulator.node import Node
from agent.simulator.reach import assert_reachable
from agent.simulator.table import NULL
from agent.simulator.timing import WORKERS

if TYPE_CHECKING:
    from agent.simulator.call import Call
    from agent.simulator.world import World

Job = dict[str, Any]


def assert_free(call: "Call", vm: str) -> None:
    """Raise OTHER_OPERATION_IN_PROGRESS while another operation of the VM runs."""
    for task, operation in call.db.get("VM", vm, "current_operations").items():
        raise Failure("OTHER_OPERATION_IN_PROGRESS", "VM", vm, operation, task)
    for job in jobs_of(call.world, vm):  # a master that restarted has forgotten it, the daemon has not
        raise Failure("OTHER_OPERATION_IN_PROGRESS", "VM", vm, "pool_migrate", job["task"])


def jobs_of(world: "World", vm: str) -> list[Job]:
    """Return the work that daemons still do on a VM, whatever its record says."""
    return [job for job in world.jobs.values() if job["vm"] == vm]


def begin(call: "Call", kind: str, node: Node, vm: str, *, vm_operation: str, host: str = NULL,
          host_operation: str = "", **more: Any) -> Job:
    """Show the operation on VM and host, reserve nothing, and queue the job for a worker of `node`.

    With a `phase` of its own it is not queued yet.  Raises HOST_OFFLINE, CANNOT_CONTACT_HOST.
    """
    assert_reachable(call, call.world.host_of(node))
    world, db, task = call.world, call.db, call.defer()
    set_operation(world, call.node.pool, "VM", vm, task, vm_operation)
    if host_operation:
        set_operation(world, call.node.pool, "host", host, task, host_operation)
    job = {"id": world.new_uuid(), "kind": kind, "node": node.address, "pool": call.node.pool, "vm": vm,
           "host": host, "task": task, "operation": task, "session": call.session, "phase": "queued", **more}
    world.jobs[job["id"]] = job
    if db.get("task", task, "resident_on") != world.host_of(node):
        db.set("task", task, resident_on=world.host_of(node))
    if job["phase"] == "queued":
        queue(world, job)
    return job


def begin_at_host(world: "World", kind: str, node: Node, host: str, task: str, session: str = "", **more: Any) -> None:
    """Keep a job about a whole host, under its task; no worker does it, its own steps go on with it and end it."""
    world.jobs[task] = {"id": task, "kind": kind, "phase": "", "node": node.address, "pool": node.pool, "vm": NULL,
                        "host": host, "task": task, "session": session, **more}


def queue(world: "World", job: Job) -> None:
    """Let a job wait for a worker of its node, or have one."""
    node = world.nodes[job["node"]]
    job["phase"] = "queued"
    node.waiting.append(job["id"])
    _fill(world, node)


def end(world: "World", job: Job) -> None:
    """Take the operation off the records and give the worker to the next job."""
    world.jobs.pop(job["id"], None)
    release(world, job)
    if job["pool"] in world.pools:
        world.pools[job["pool"]].delete("task", job.get("completing", NULL))
    for cls, ref in (("VM", job["vm"]), ("host", job["host"])):
        set_operation(world, job["pool"], cls, ref, job["operation"], "")
    if any(one["vm"] == job["vm"] for one in world.held):
        world.later(0, "migrate.retry", vm=job["vm"])


def release(world: "World", job: Job) -> None:
    """Give the worker of a job to the next one; the job itself may go on without."""
    node = world.nodes[job["node"]]
    for queue in (node.active, node.waiting):
        if job["id"] in queue:
            queue.remove(job["id"])
    _fill(world, node)


def set_operation(world: "World", pool: int, cls: str, ref: str, task: str, operation: str) -> None:
    """Put an operation into current_operations, or take it out when it is empty."""
    db = world.pools.get(pool)
    if db is None or not db.has(cls, ref):
        return
    current = {key: value for key, value in db.get(cls, ref, "current_operations").items() if key != task}
    db.set(cls, ref, current_operations={**current, task: operation} if operation else current)


def _fill(world: "World", node: Node) -> None:
    while node.waiting and len(node.active) < WORKERS:
        job = node.waiting.pop(0)
        node.active.append(job)
        world.later(0, f"{world.jobs[job]['kind']}.begin", job=job)
