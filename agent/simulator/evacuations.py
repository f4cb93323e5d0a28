"""host.evacuate and its two questions, with xapi's planner and its lock-step batches.

Every target must be able to take every VM, or nothing moves; each batch ends before the next begins.
"""

from typing import TYPE_CHECKING

from agent.simulator import balancing, exclusion, generic, ha, spreading, workers
from agent.simulator.arguments import numbers
from agent.simulator.call import LATER
from agent.simulator.database import Database
from agent.simulator.failure import Failure
from agent.simulator.memory import vm_need
from agent.simulator.migrations import assert_network, pool_migrate
from agent.simulator.node import Node
from agent.simulator.placement import assert_can_boot, assert_can_move, assert_idle
from agent.simulator.table import NULL

if TYPE_CHECKING:
    from agent.simulator.call import Call
    from agent.simulator.world import World

BATCH = 10


def plan(world: "World", db: Database, host: str) -> balancing.Plan:
    """Return the evacuation as xapi's own planner wants it."""
    node = world.node_of_host(db, host)
    targets = [one for one in db.refs("host") if one != host and db.get("host", one, "enabled")
               and numbers(world.node_of_host(db, one).platform_version) >= numbers(node.platform_version)]
    guests = [vm for vm in db.get("host", host, "resident_VMs") if not db.get("VM", vm, "is_control_domain")]
    if not targets:
        return [], {vm: ["NO_HOSTS_AVAILABLE", vm] for vm in guests}
    movable: list[str] = []
    blocked: dict[str, list[str]] = {}
    for vm in sorted(guests, key=lambda one: -vm_need(db, one)):
        try:
            ha.assert_protected(db, vm, node.version)
            for target in targets:
                assert_can_boot(world, db, vm, target, memory=False)
            assert_can_move(db, vm)
            assert_idle(db, vm)
            movable.append(vm)
        except Failure as failure:
            blocked[vm] = failure.description
    moves = spreading.places(db, movable, targets, node.version)
    placed = dict(moves)
    return moves, blocked | {vm: ["HOST_NOT_ENOUGH_FREE_MEMORY", vm] for vm in movable if vm not in placed}


def assert_can_evacuate(call: "Call", host: str) -> None:
    """Raise all reasons at once, in one string."""
    _moves, blocked = plan(call.world, call.db, host)
    if blocked:
        raise Failure("CANNOT_EVACUATE_HOST", "|".join(",".join(reason) for reason in blocked.values()))


def preventing(call: "Call", host: str) -> dict[str, list[str]]:
    """Return the reason for each VM that cannot move."""
    return plan(call.world, call.db, host)[1]


def evacuate(call: "Call", host: str, network: str, batch: int) -> object:
    """Move all VMs away, or none if one cannot; does not disable the host."""
    ha.assert_keeps_plan(call.db, without=host)
    if exclusion.waits(call, host, network, batch):
        return LATER
    moves, blocked = _chosen(call, host)
    for reason in blocked.values():
        raise Failure(*reason)
    for target in dict(moves).values():
        assert_network(call, target, network)
    task = call.defer(cancellable=True)
    workers.set_operation(call.world, call.node.pool, "host", host, task, "evacuate")
    _queue(call.world, call.node, host, task, moves, network, batch)
    return LATER


def _chosen(call: "Call", host: str) -> balancing.Plan:
    """Return the appliance's plan, or xapi's own when there is none or it fails; that one is told of."""
    db, (moves, blocked) = call.db, plan(call.world, call.db, host)
    if balancing.is_consulted(db):
        try:
            return balancing.plan(db, host, blocked)
        except Failure:
            name, pool = db.get("host", host, "name_label"), db.refs("pool")[0]
            db.add("message", {
                "name": "WLB_CONSULTATION_FAILED", "priority": 3, "cls": "Host", "timestamp": call.world.moment(),
                "obj_uuid": db.get("host", host, "uuid"),
                "body": f"Wlb consultation for Host '{name}' failed (pool uuid: {db.get('pool', pool, 'uuid')})"})
    return moves, blocked


def recommendations(call: "Call", host: str) -> dict[str, list[str]]:
    """Return for each VM where the appliance would move it, by the target's uuid, or why it stays."""
    moves, stay = balancing.plan(call.db, host, plan(call.world, call.db, host)[1])
    return stay | {vm: ["WLB", call.db.get("host", target, "uuid")] for vm, target in moves}


def begin(world: "World", node: Node, host: str, moves: list[tuple[str, str]]) -> str:
    """Begin to move these VMs away, asked by nobody but the machine itself; return the task."""
    task = world.new_task(node.pool, "host.evacuate", "")
    _queue(world, node, host, task, moves, NULL, 0)
    return task


def _queue(world: "World", node: Node, host: str, task: str, moves: list[tuple[str, str]], network: str,
           batch: int) -> None:
    workers.begin_at_host(world, "evacuate", node, host, task, options={"live": "true", "network": network},
                          batch=batch or BATCH, left=[list(move) for move in moves], running=[], total=len(moves))
    world.later(0, "evacuate.next", job=task)


def next_batch(world: "World", job: str) -> None:
    """Look after the present batch (called when one of its migrations has ended); begin the next, or end."""
    found = world.jobs.get(job)
    if not found:
        return
    db = world.pools[found["pool"]]
    if not db.has("task", job):
        world.jobs.pop(job)
        return
    for child in list(found["running"]):
        status = db.get("task", child, "status") if db.has("task", child) else "failure"
        if status == "pending":
            continue
        found["running"].remove(child)
        error = db.get("task", child, "error_info") if db.has("task", child) else ["HANDLE_INVALID", "task", child]
        if status != "success" and error[:1] != ["VM_BAD_POWER_STATE"]:
            _end(world, found, error or ["TASK_CANCELLED", child])
            return
    waiting = len(found["left"]) + len(found["running"])
    db.set("task", job, progress=round(1 - waiting / found["total"], 3) if found["total"] else 1.0)
    if not waiting:
        left = [vm for vm in db.get("host", found["host"], "resident_VMs")
                if not db.get("VM", vm, "is_control_domain")] if db.has("host", found["host"]) else []
        _end(world, found, ["INTERNAL_ERROR", f"evacuate: {len(left)} VMs are still resident on {found['host']}"]
             if left else [])
    elif not found["running"]:
        batch, found["left"] = found["left"][:found["batch"]], found["left"][found["batch"]:]
        for vm, target in batch:
            found["running"].append(_migrate(world, found, vm, target))


def _migrate(world: "World", job: workers.Job, vm: str, target: str) -> str:
    node, pool = world.nodes[job["node"]], job["pool"]
    child = world.new_task(pool, "Async.VM.pool_migrate", "", subtask_of=job["task"])
    try:
        generic.check_handle(world.pools[pool], "VM", vm)
        generic.check_handle(world.pools[pool], "host", target)
        pool_migrate(world.resumed_call(node, "VM.pool_migrate", "", child), vm, target, job["options"])
    except Failure as failure:
        world.fail_task(pool, child, failure.description)
    return child


def _end(world: "World", job: workers.Job, error: list[str]) -> None:
    world.jobs.pop(job["id"])
    workers.set_operation(world, job["pool"], "host", job["host"], job["task"], "")
    if error:
        world.fail_task(job["pool"], job["task"], error)
    else:
        world.finish_task(job["pool"], job["task"])


CALLS = {"host.evacuate": evacuate, "host.assert_can_evacuate": assert_can_evacuate,
         "host.get_vms_which_prevent_evacuation": preventing,
         "host.retrieve_wlb_evacuate_recommendations": recommendations}
STEPS = {"evacuate.next": next_batch}
