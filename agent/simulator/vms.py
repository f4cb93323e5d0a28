"""Calls of the classes VM and VM_group, except migration."""

from typing import TYPE_CHECKING, Any

from agent.simulator import build, exclusion, generic, ha, sizes, strays, timing, workers
from agent.simulator.arguments import row_of
from agent.simulator.call import LATER
from agent.simulator.failure import Failure
from agent.simulator.memory import free_memory, vm_overhead
from agent.simulator.placement import assert_can_boot, assert_power, possible_hosts
from agent.simulator.table import NULL

if TYPE_CHECKING:
    from agent.simulator.call import Call
    from agent.simulator.world import World


# ---- records
def create(call: "Call", args: dict[str, Any]) -> str:
    """Add a VM record; it has no disks yet."""
    fields = row_of("VM", args)
    fields.pop("power_state", None)
    sizes.check_shadow_multiplier(fields.get("HVM_shadow_multiplier", 1.0))
    return build.new_guest(call.world, call.db, fields)


def clone(call: "Call", vm: str, new_name: str) -> str:
    """Copy a halted VM with its disks."""
    db = call.db
    assert_power(db, vm, "Halted", "Suspended")
    row = {name: value for name, value in db.rows["VM"][vm].items()
           if name not in ("uuid", "metrics", "current_operations", "groups")}
    copy = build.new_guest(call.world, db, {**row, "name_label": new_name, "is_a_template": False})
    for cls in ("VBD", "VIF"):
        for child in db.get("VM", vm, f"{cls}s"):
            fields = {**db.rows[cls][child], "VM": copy, "uuid": ""}
            disk = fields.get("VDI", NULL)
            if cls == "VBD" and disk != NULL:
                generic.check_handle(db, "VDI", disk)
                fields["VDI"] = db.add("VDI", {**db.rows["VDI"][disk], "uuid": "", "snapshot_of": NULL})
            db.add(cls, fields)
    return copy


def destroy(call: "Call", vm: str) -> None:
    """Remove a halted VM's record, its devices, not its disks."""
    db = call.db
    workers.assert_free(call, vm)
    if db.get("VM", vm, "is_control_domain"):
        raise Failure("OPERATION_NOT_ALLOWED", "This operation is not allowed on a control domain")
    assert_power(db, vm, "Halted")
    for cls in ("VBD", "VIF"):
        for child in db.get("VM", vm, f"{cls}s"):
            db.delete(cls, child)
    db.delete("VM_metrics", db.get("VM", vm, "metrics"))
    db.delete("VM", vm)


def set_groups(call: "Call", vm: str, value: list[str]) -> None:
    """Put the VM into at most one group."""
    if len(value) > 1:
        raise Failure("TOO_MANY_GROUPS")
    call.db.set("VM", vm, groups=value)


def create_group(call: "Call", args: dict[str, Any]) -> str:
    """Add a VM group."""
    return call.db.add("VM_group", row_of("VM_group", args))


def destroy_group(call: "Call", group: str) -> None:
    """Remove a VM group; its members stay."""
    for vm in call.db.get("VM_group", group, "VMs"):
        call.db.set("VM", vm, groups=[])
    call.db.delete("VM_group", group)


# ---- questions
def can_boot_here(call: "Call", vm: str, host: str) -> None:
    """Raise why the VM cannot run on the host."""
    assert_can_boot(call.world, call.db, vm, host)


def get_possible_hosts(call: "Call", vm: str) -> list[str]:
    """Return the hosts that could take the VM."""
    return possible_hosts(call.world, call.db, vm)


def compute_memory_overhead(call: "Call", vm: str) -> int:
    """Return the overhead in bytes."""
    return vm_overhead(call.db, vm)


# ---- power
def start(call: "Call", vm: str, start_paused: bool, force: bool) -> object:
    """Start the VM on the best host: its affinity, else the one with the most free memory."""
    _assert_startable(call, vm, "Halted")
    return start_on(call, vm, _best_host(call, vm), start_paused, force, operation="start")


def start_on(call: "Call", vm: str, host: str, start_paused: bool, _force: bool, *,
             operation: str = "start_on") -> object:
    """Start the VM on a host."""
    _assert_startable(call, vm, "Halted")
    return _to_host(call, vm, host, operation, "vm_start", timing.VM_START, paused=start_paused)


def resume(call: "Call", vm: str, start_paused: bool, force: bool) -> object:
    """Resume a suspended VM on the best host."""
    _assert_startable(call, vm, "Suspended")
    return resume_on(call, vm, _best_host(call, vm), start_paused, force, operation="resume")


def resume_on(call: "Call", vm: str, host: str, start_paused: bool, _force: bool, *,
              operation: str = "resume_on") -> object:
    """Resume a suspended VM on a host."""
    _assert_startable(call, vm, "Suspended")
    takes = call.db.get("VM", vm, "memory_dynamic_max") / timing.VM_SUSPEND_RATE
    return _to_host(call, vm, host, operation, "vm_resume", takes, paused=start_paused)


def _assert_startable(call: "Call", vm: str, state: str) -> None:
    workers.assert_free(call, vm)
    if call.db.get("VM", vm, "is_a_template"):
        raise Failure("VM_IS_TEMPLATE", vm)
    assert_power(call.db, vm, state)


def _best_host(call: "Call", vm: str) -> str:
    hosts = possible_hosts(call.world, call.db, vm)
    if not hosts:
        raise Failure("NO_HOSTS_AVAILABLE")
    affinity = str(call.db.get("VM", vm, "affinity"))
    return affinity if affinity in hosts else max(hosts, key=lambda host: free_memory(call.db, host))


def _to_host(call: "Call", vm: str, host: str, operation: str, host_operation: str, seconds: float, *,
             paused: bool) -> object:
    blocked = call.db.get("VM", vm, "blocked_operations")
    if operation in blocked:
        raise Failure("OPERATION_BLOCKED", vm, blocked[operation])
    assert_can_boot(call.world, call.db, vm, host)
    ha.assert_keeps_plan(call.db, moved=(vm, host))
    if host_operation == "vm_resume":
        exclusion.assert_takes_guests(call.db, host)
    strays.assert_no_stray(call.world, call.db, vm, host)
    workers.begin(call, "power", call.world.node_of_host(call.db, host), vm, vm_operation=operation, host=host,
                  host_operation=host_operation, seconds=seconds, then="run", paused=paused)
    call.db.set("VM", vm, scheduled_to_be_resident_on=host)
    return LATER


def clean_shutdown(call: "Call", vm: str) -> object:
    """Ask the guest to stop."""
    return _at_home(call, vm, "clean_shutdown", timing.VM_CLEAN_SHUTDOWN, "halt", tools=True)


def hard_shutdown(call: "Call", vm: str) -> object:
    """Stop the VM at once; a suspended one loses its image."""
    if call.db.get("VM", vm, "power_state") == "Suspended":
        workers.assert_free(call, vm)
        _drop_image(call, vm)
        call.db.set("VM", vm, power_state="Halted")
        return None
    return _at_home(call, vm, "hard_shutdown", timing.VM_HARD_SHUTDOWN, "halt", states=("Running", "Paused"))


def clean_reboot(call: "Call", vm: str) -> object:
    """Ask the guest to start again."""
    return _at_home(call, vm, "clean_reboot", timing.VM_REBOOT, "run", tools=True)


def hard_reboot(call: "Call", vm: str) -> object:
    """Start the guest again at once."""
    return _at_home(call, vm, "hard_reboot", timing.VM_START, "run", states=("Running", "Paused"))


def pause(call: "Call", vm: str) -> object:
    """Hold a running VM; it keeps its memory and its host."""
    return _at_home(call, vm, "pause", timing.VM_PAUSE, "pause")


def unpause(call: "Call", vm: str) -> object:
    """Let a paused VM go on."""
    return _at_home(call, vm, "unpause", timing.VM_PAUSE, "unpause", states=("Paused",))


def suspend(call: "Call", vm: str) -> object:
    """Write the VM's memory to the suspend repository."""
    pool = call.db.refs("pool")[0]
    repository = call.db.get("VM", vm, "suspend_SR")
    if repository == NULL:
        repository = call.db.get("pool", pool, "suspend_image_SR")
    if repository == NULL:
        raise Failure("VM_NO_SUSPEND_SR", vm)
    size = call.db.get("VM", vm, "memory_dynamic_max")
    return _at_home(call, vm, "suspend", size / timing.VM_SUSPEND_RATE, "suspend", tools=True, image_sr=repository)


def _at_home(call: "Call", vm: str, operation: str, seconds: float, then: str, *, tools: bool = False,
             states: tuple[str, ...] = ("Running",), **more: Any) -> object:
    db = call.db
    workers.assert_free(call, vm)
    if db.get("VM", vm, "is_control_domain"):
        raise Failure("OPERATION_NOT_ALLOWED", "This operation is not allowed on a control domain")
    blocked = db.get("VM", vm, "blocked_operations")
    if operation in blocked:
        raise Failure("OPERATION_BLOCKED", vm, blocked[operation])
    assert_power(db, vm, *states)
    strays.assert_no_ghost(call.world, db, vm)
    if tools and "no_tools" in (db.get("VM", vm, "_blockers") or ()):
        raise Failure("VM_LACKS_FEATURE", vm)
    host = db.get("VM", vm, "resident_on")
    workers.begin(call, "power", call.world.node_of_host(db, host), vm, vm_operation=operation, seconds=seconds,
                  then=then, home=host, **more)
    return LATER


def power_state_reset(call: "Call", vm: str) -> None:
    """Declare the VM halted, whatever its domain does."""
    db = call.db
    strays.declared_halted(call.world, db, vm)
    db.set("VM", vm, current_operations={})
    _drop_image(call, vm)
    build.stop_domain(db, vm)


def _drop_image(call: "Call", vm: str) -> None:
    call.db.delete("VDI", call.db.get("VM", vm, "suspend_VDI"))
    call.db.set("VM", vm, suspend_VDI=NULL)


# ---- steps
def begin(world: "World", job: str) -> None:
    """A worker has taken the job."""
    if job in world.jobs:
        world.later(world.jobs[job]["seconds"] - _shown(world.jobs[job]), "power.done", job=job)


def _shown(job: workers.Job) -> float:
    """Return how long the operation still shows when the state has changed."""
    return min(timing.VM_STATE_EARLIER, float(job["seconds"]) / 2)


def done(world: "World", job: str) -> None:
    """Change the power state; the operation shows a little longer."""
    found = world.jobs.get(job)
    if not found:
        return
    db = world.pools[found["pool"]]
    vm, host = found["vm"], found["host"] if found["host"] != NULL else found.get("home", NULL)
    if db.has("VM", vm) and db.has("host", host):
        if found["then"] == "run":
            db.delete("VDI", db.get("VM", vm, "suspend_VDI"))
            db.delete("VM_guest_metrics", db.get("VM", vm, "guest_metrics"))
            db.set("VM", vm, suspend_VDI=NULL)
            build.start_domain(world, db, vm, host)
            if found["host"] != NULL:
                task = world.new_task(found["pool"], "VM.update_allowed_operations", "")
                world.later(timing.VM_UPDATE_LASTS, "power.updated", pool=found["pool"], task=task)
            if found.get("paused"):
                db.set("VM", vm, power_state="Paused")
        elif found["then"] in ("pause", "unpause"):
            db.set("VM", vm, power_state="Paused" if found["then"] == "pause" else "Running")
        elif found["then"] == "suspend":
            image = db.add("VDI", {"SR": found["image_sr"], "type": "suspend", "name_label": "Suspend image"})
            build.stop_domain(db, vm, "Suspended")
            db.set("VM", vm, suspend_VDI=image)
        else:
            build.stop_domain(db, vm)
    world.later(_shown(found), "power.over", job=job)


def updated(world: "World", pool: int, task: str) -> None:
    """xapi has worked out what the VM allows now; here that is computed whenever it is asked."""
    if pool in world.pools:
        world.pools[pool].delete("task", task)


def over(world: "World", job: str) -> None:
    """End the operation."""
    found = world.jobs.get(job)
    if found:
        workers.end(world, found)
        world.finish_task(found["pool"], found["task"])


def set_blocked_operations(call: "Call", vm: str, value: dict[str, str]) -> None:
    """Say which operations are blocked, each with a reason."""
    _change_blocked(call, vm, "set", value)


def add_to_blocked_operations(call: "Call", vm: str, key: str, value: str) -> None:
    """Block one more operation; MAP_DUPLICATE_KEY if it is blocked already."""
    _change_blocked(call, vm, "add_to", key, value)


def remove_from_blocked_operations(call: "Call", vm: str, key: str) -> None:
    """Allow one operation again."""
    _change_blocked(call, vm, "remove_from", key)


def _change_blocked(call: "Call", vm: str, kind: str, *args: Any) -> None:
    generic.change(call.db, "VM", vm, "blocked_operations", kind, list(args),
                   call.db.get("VM", vm, "blocked_operations"))


CALLS = {
    "VM.set_blocked_operations": set_blocked_operations, "VM.add_to_blocked_operations": add_to_blocked_operations,
    "VM.remove_from_blocked_operations": remove_from_blocked_operations,
    "VM.create": create, "VM.clone": clone, "VM.destroy": destroy, "VM.set_groups": set_groups,
    "VM_group.create": create_group, "VM_group.destroy": destroy_group,
    "VM.assert_can_boot_here": can_boot_here, "VM.get_possible_hosts": get_possible_hosts,
    "VM.compute_memory_overhead": compute_memory_overhead, "VM.start": start, "VM.start_on": start_on,
    "VM.resume": resume, "VM.resume_on": resume_on, "VM.clean_shutdown": clean_shutdown,
    "VM.hard_shutdown": hard_shutdown, "VM.clean_reboot": clean_reboot, "VM.hard_reboot": hard_reboot,
    "VM.suspend": suspend, "VM.pause": pause, "VM.unpause": unpause,
    "VM.power_state_reset": power_state_reset,
}
STEPS = {"power.begin": begin, "power.done": done, "power.over": over, "power.updated": updated}
