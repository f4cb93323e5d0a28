"""Live migration: xapi's checks and reservation, then pre-copy rounds over shared links.

Round 0 sends the memory, round k what was dirtied during round k-1; after 5 rounds, or with almost
nothing left, the VM pauses for the rest. The streams of a machine share its link, at both ends.
`resident_on` changes before the operation ends.
"""

from typing import TYPE_CHECKING, Any

from agent.simulator import build, disks, exclusion, faults, ha, strays, timing, workers
from agent.simulator.arguments import numbers
from agent.simulator.call import LATER
from agent.simulator.derived import is_upgrading
from agent.simulator.failure import Failure
from agent.simulator.node import Node
from agent.simulator.placement import assert_can_boot, assert_can_move, assert_cpu
from agent.simulator.table import NULL
from agent.simulator.workers import Job

if TYPE_CHECKING:
    from agent.simulator.call import Call
    from agent.simulator.world import World

NO_CONNECTION = 'xenopsd internal error: Xmlrpc.Parse_error("open_tag(html)", "open_tag(methodResponse)", _)'
NO_SESSION = 'xenopsd internal error: Xenops_migrate.Remote_failed("unmarshalling error message from remote")'
CANCEL_POINTS = "debug_info:cancel_points_seen"
CANCELLABLE = ("mirror", "queued", "setup", "stream")
STREAMING = ("mirror", "stream", "pause")


def pool_migrate(call: "Call", vm: str, host: str, options: dict[str, str]) -> object:
    """Check in xapi's order, reserve, and begin; wait while another operation of the VM runs."""
    world, db = call.world, call.db
    force = options.get("force") == "true"
    there = world.node_of_host(db, host)
    if there.is_master and there.facts.get("frozen"):
        # seen: a master's xapi asks its own daemon for the processor, before anything shows
        _hold(call, vm, call.defer(), host, options)
        world.later(timing.FROZEN_LOOK, "migrate.retry", vm=vm)
        return LATER
    if not force:
        assert_cpu(world, db, vm, host)
    if waits(call, vm, host, options):
        return LATER
    assert_can_move(db, vm, force=force)
    source = world.node_of_host(db, db.get("VM", vm, "resident_on"))
    target = world.node_of_host(db, host)
    if is_upgrading(db) and numbers(target.version) < numbers(source.version):
        raise Failure("NOT_SUPPORTED_DURING_UPGRADE")
    assert_can_boot(world, db, vm, host, cpu=not force)
    assert_network(call, host, options.get("network", ""))
    assert_may_leave(call, vm, host)
    launch(call, vm, host, "pool_migrate")
    return LATER


def waits(call: "Call", vm: str, *args: Any) -> bool:
    """Tell whether the call must wait for another operation of the VM; it is made again when that is over."""
    busy = call.db.get("VM", vm, "current_operations") or workers.jobs_of(call.world, vm)
    if not busy or call.db.get("VM", vm, "power_state") != "Running":
        return False
    _hold(call, vm, call.defer(cancellable=True), *args)
    return True


def _hold(call: "Call", vm: str, task: str, *args: Any) -> None:
    call.world.held.append({"node": call.node.address, "vm": vm, "method": call.message.full_name, "args": list(args),
                            "task": task, "session": call.session})


def assert_may_leave(call: "Call", vm: str, host: str) -> None:
    """Raise what only the moment has against a move: no domain, the HA plan, a target that is being emptied."""
    strays.assert_no_ghost(call.world, call.db, vm)
    if host != call.db.get("VM", vm, "resident_on"):
        ha.assert_keeps_plan(call.db, moved=(vm, host))
        exclusion.assert_takes_guests(call.db, host)


def launch(call: "Call", vm: str, host: str, operation: str, **more: Any) -> None:
    """Reserve the target and begin; `more` is what a move with disks has beside (storage_motion.py)."""
    world, db = call.world, call.db
    source, target = (world.node_of_host(db, ref) for ref in (db.get("VM", vm, "resident_on"), host))
    call.defer(cancellable=True)
    memory = float(db.get("VM", vm, "memory_dynamic_min"))
    dirty, working = db.get("VM", vm, "_dirty_rate"), db.get("VM", vm, "_working_set")
    begun = {"round": 0, "left": 0.0, "rate": 0.0, "at": world.now, "stamp": 0, "began": 0.0, "chunks": 0}
    job = workers.begin(call, "migrate", source, vm, vm_operation=operation, host=host, host_operation="vm_migrate",
                        target=target.address, memory=memory,
                        dirty=memory * 0.01 if dirty in (None, -1) else float(dirty),
                        working=memory * 0.1 if working in (None, -1) else float(working), **{**begun, **more})
    db.set("VM", vm, scheduled_to_be_resident_on=host)
    if job["phase"] in STREAMING:
        reflow(world)
        faults.at_phase(world, job)


def assert_network(call: "Call", host: str, network: str) -> None:
    """Raise why the memory cannot go over this network to the host; "" and NULL leave the choice to xapi."""
    if not network or network == NULL:
        return
    if not call.db.has("network", network):
        raise Failure("HANDLE_INVALID", "network", network)
    here = [pif for pif in call.db.get("host", host, "PIFs") if call.db.get("PIF", pif, "network") == network]
    if not here:
        raise Failure("HOST_CANNOT_ATTACH_NETWORK", host, network)
    if not call.db.get("PIF", here[0], "IP"):
        raise Failure("INTERFACE_HAS_NO_IP", here[0])


# ---- steps
def begin(world: "World", job: str) -> None:
    """A worker has taken the job."""
    found = world.jobs.get(job)
    if found:
        found["phase"] = "setup"
        world.later(timing.MIGRATE_SETUP, "migrate.stream", job=job)
        faults.at_phase(world, found)


def stream(world: "World", job: str) -> None:
    """The memory connection stands, unless one end cannot be reached; the toolstack there passes it on."""
    found = world.jobs.get(job)
    gone = [world.nodes[found[end]] for end in ("node", "target")
            if _takes_no_stream(world.nodes[found[end]])] if found else []
    if gone:
        node_lost(world, gone[0])
    elif found:
        found.update(phase="stream", at=world.now, began=world.now, chunks=timing.MIGRATE_CHUNKS,
                     left=found["memory"] / timing.MIGRATE_CHUNKS)
        reflow(world)
        faults.at_phase(world, found)


def _takes_no_stream(node: Node) -> bool:
    away = node.power == "down" and not node.is_master  # a master that restarts lets go on what it has begun (seen)
    return away or node.power == "off" or node.cut or bool(node.facts.get("emergency"))


def leg(world: "World", job: str, stamp: int) -> None:
    """A part is over: after the disks the memory may begin, then come the next part, round, the pause, the switch."""
    found = world.jobs.get(job)
    if not found or found["stamp"] != stamp:
        return
    found.update(left=0.0, at=world.now)
    if found["phase"] == "mirror":
        workers.queue(world, found)
    elif found["phase"] == "pause":
        found["phase"] = "device"
        world.later(timing.MIGRATE_PAUSE, "migrate.switch", job=job)
        faults.at_phase(world, found)
    elif found["chunks"] > 1:
        found["chunks"] -= 1
        found["left"] = found["memory"] / timing.MIGRATE_CHUNKS
        _progress(world, found, 0.8 * (1 - found["chunks"] / timing.MIGRATE_CHUNKS))
    else:
        _next_round(world, found)
    reflow(world)


def _next_round(world: "World", job: Job) -> None:
    dirtied = min(job["working"], job["dirty"] * (world.now - job["began"]), job["memory"])
    job.update(chunks=0, round=job["round"] + 1, began=world.now, left=max(dirtied, 1.0))
    if job["round"] >= timing.MIGRATE_ROUNDS or dirtied <= timing.MIGRATE_DIRTY_LEFT:
        job["phase"] = "pause"
        db = world.pools[job["pool"]]
        if db.has("task", job["task"]):
            db.set("task", job["task"], allowed_operations=[])
        faults.at_phase(world, job)
    _progress(world, job, 0.8 + 0.03 * job["round"])


def _progress(world: "World", job: Job, value: float) -> None:
    db = world.pools[job["pool"]]
    if db.has("task", job["task"]):
        db.set("task", job["task"], progress=round(value, 3))


def switch(world: "World", job: str) -> None:
    """The VM runs on the target from now; its operation goes on a little, without a worker (seen)."""
    found = world.jobs.get(job)
    if not found:
        return
    found["phase"] = "teardown"
    workers.release(world, found)
    db = world.pools[found["pool"]]
    if db.has("VM", found["vm"]) and db.has("host", found["host"]):
        db.set("VM", found["vm"], resident_on=found["host"], scheduled_to_be_resident_on=NULL)
        disks.settle(db, found["vm"], found.get("places", {}))
        names = [world.name_of(found["pool"], cls, found[key]) for cls, key in (("VM", "vm"), ("host", "host"))]
        db.add("message", {"name": "VM_MIGRATED", "priority": 3, "cls": "VM", "timestamp": world.moment(),
                           "obj_uuid": db.get("VM", found["vm"], "uuid"),
                           "body": f"VM '{names[0]}' migrated to {names[1]}"})
    _progress(world, found, 1.0)
    _completing(world, found)
    world.later(timing.MIGRATE_TEARDOWN, "migrate.end", job=job)
    faults.at_phase(world, found)


def _completing(world: "World", job: Job) -> None:
    """Show the target's part as a subtask, and what xapi notes beside other people's tags (seen)."""
    db, task = world.pools[job["pool"]], job["task"]
    if db.has("task", task):
        db.set("task", task, other_config={**db.get("task", task, "other_config"), CANCEL_POINTS: "11"})
        job["completing"] = world.new_task(job["pool"], "VM.pool_migrate_complete", "", subtask_of=task)
        db.set("task", job["completing"], resident_on=job["host"])


def finish(world: "World", job: str) -> None:
    """Everything is over."""
    found = world.jobs.get(job)
    if found:
        workers.end(world, found)
        world.finish_task(found["pool"], found["task"], found.get("result"))


def retry(world: "World", vm: str) -> None:
    """Begin a migration that waited for another operation of its VM."""
    held = next((one for one in world.held if one["vm"] == vm), None)
    if held is None:
        return
    node = world.nodes[held["node"]]
    db = world.pools[node.pool]
    if db.has("VM", vm) and (db.get("VM", vm, "current_operations") or workers.jobs_of(world, vm)):
        return
    world.held.remove(held)
    if not db.has("task", held["task"]):
        return
    call = world.resumed_call(node, held["method"], held["session"], held["task"])
    try:
        world.serve(call, [vm, *held["args"]])
    except Failure as failure:
        world.fail_task(node.pool, held["task"], failure.description)
        world.later(0, "migrate.retry", vm=vm)


def abort(world: "World", job: str, description: list[str]) -> None:
    """End a migration before its switch: cancelled when there is no error, else failed.

    The VM stays at home; once it was suspended for the last round, xapi shuts it down.
    """
    found = world.jobs.get(job)
    if not found or found["phase"] == "teardown":
        return
    db = world.pools[found["pool"]]
    if db.has("VM", found["vm"]):
        db.set("VM", found["vm"], scheduled_to_be_resident_on=NULL)
        if found["phase"] in ("pause", "device"):
            build.stop_domain(db, found["vm"])
    workers.end(world, found)
    if description:
        world.fail_task(found["pool"], found["task"], description)
    else:
        world.cancel_task(found["pool"], found["task"])
    reflow(world)


def struck(world: "World", job: str, phase: str, description: list[str]) -> None:
    """Fail a migration that is still in the phase that a fault was meant for; in the last one the VM has moved."""
    found = world.jobs.get(job)
    if found and found["phase"] == phase == "teardown":
        workers.end(world, found)
        world.fail_task(found["pool"], found["task"], description)
    elif found and found["phase"] == phase:
        abort(world, job, description)


def rebooted(world: "World", job: str, phase: str, description: list[str]) -> None:
    """Begin anew with a guest that has rebooted while its memory was sent; the third time give up."""
    found = world.jobs.get(job)
    if found and found["phase"] == phase:
        found["attempt"] = found.get("attempt", 1) + 1
        if found["attempt"] > timing.MIGRATE_ATTEMPTS:
            abort(world, job, description)
            return
        db, vm = world.pools[found["pool"]], found["vm"]
        if db.has("VM", vm):
            db.delete("VM_guest_metrics", db.get("VM", vm, "guest_metrics"))
            build.start_domain(world, db, vm, db.get("VM", vm, "resident_on"))
            db.set("VM", vm, scheduled_to_be_resident_on=found["host"])
        found.update(phase="setup", stamp=found["stamp"] + 1, round=0, rate=0.0)
        reflow(world)
        world.later(timing.MIGRATE_SETUP, "migrate.stream", job=job)


# ---- what others bring about
def cancel_asked(world: "World", pool: int, task: str) -> None:
    """End the migration behind a task, if it has one that can still be cancelled."""
    for held in [one for one in world.held if one["task"] == task]:
        world.held.remove(held)
        world.cancel_task(pool, task)
    for job in world.jobs.values():
        if job["task"] == task and job["kind"] == "migrate" and job["phase"] in CANCELLABLE:
            world.later(timing.TASK_CANCEL, "migrate.cancel", job=job["id"])


def cancel(world: "World", job: str) -> None:
    """Do what task.cancel asked for, unless the VM was suspended meanwhile."""
    if job in world.jobs and world.jobs[job]["phase"] in CANCELLABLE:
        abort(world, job, [])


def session_ended(world: "World", node: Node, session: str) -> None:
    """Fail the migrations that left the master with this session and do not stream yet (seen)."""
    for job in list(world.jobs.values()):
        if (job["kind"], job["session"], job["node"]) == ("migrate", session, node.address) \
                and job["phase"] in ("queued", "setup"):
            soon = world.now - job["at"] < timing.MIGRATE_UNSENT
            abort(world, job["id"], ["INTERNAL_ERROR", NO_CONNECTION if soon else NO_SESSION])


def node_lost(world: "World", node: Node) -> None:
    """Fail the migrations from and to a machine that does not answer any more."""
    for job in list(world.jobs.values()):
        if job["kind"] == "migrate" and node.address in (job["node"], job["target"]):
            host = world.host_of(node)
            at_source = job["node"] == node.address
            abort(world, job["id"], ["CANNOT_CONTACT_HOST", host] if at_source else [
                "INTERNAL_ERROR", 'xenopsd internal error: Failure("Failed to read HTTP response")'])


def reflow(world: "World") -> None:
    """Share the links anew among the streams and say when each stream's present part will be over."""
    streams: list[dict[str, Any]] = [job for job in world.jobs.values() if job.get("phase") in STREAMING]
    users: dict[str, int] = {}
    for job in streams:
        for address in {job["node"], job["target"]}:
            users[address] = users.get(address, 0) + 1
    for job in streams:
        ends = [world.nodes[job[end]] for end in ("node", "target")]
        rate = min(0.0 if node.facts.get("frozen") else node.link_bytes_per_s / users[node.address] for node in ends)
        if rate == job["rate"] and (job["at"] != world.now or not rate):
            continue  # nothing changed for this stream; its end is on the agenda already
        job["left"] = max(0.0, job["left"] - job["rate"] * (world.now - job["at"]))
        job.update(rate=rate, at=world.now, stamp=job["stamp"] + 1)
        if rate:  # with a dead link it stands until somebody gives up or the link comes back
            world.later(job["left"] / rate, "migrate.leg", job=job["id"], stamp=job["stamp"])


CALLS = {"VM.pool_migrate": pool_migrate}
STEPS = {"migrate.begin": begin, "migrate.stream": stream, "migrate.leg": leg, "migrate.switch": switch,
         "migrate.end": finish, "migrate.retry": retry, "migrate.cancel": cancel, "migrate.abort": abort,
         "migrate.struck": struck, "migrate.rebooted": rebooted}
