"""Which operations of a host exclude each other, and the patience of those that wait for their turn.

Creating operations bring VMs, removing ones want them away; what restarts a machine or changes its software goes
alone. A VM on its way is refused at once; host.evacuate, reboot, shutdown and enable wait in steps of random length,
up to two hours, as xapi's do.
"""

from typing import TYPE_CHECKING, Any

from agent.simulator import timing
from agent.simulator.call import LATER
from agent.simulator.failure import Failure

if TYPE_CHECKING:
    from agent.simulator.call import Call
    from agent.simulator.database import Database
    from agent.simulator.world import World

CREATING = frozenset({"provision", "vm_resume", "vm_migrate"})
REMOVING = frozenset({"evacuate", "reboot", "shutdown"})
CHANGING = frozenset({"reboot", "shutdown", "apply_updates"})
WAITS_FOR = {"evacuate": CREATING | REMOVING, "reboot": CREATING | REMOVING | CHANGING,
             "shutdown": CREATING | REMOVING | CHANGING, "apply_updates": CHANGING,
             "enable": frozenset({"apply_updates"}), "vm_migrate": REMOVING}


def conflict(db: "Database", host: str, wanted: str) -> Failure | None:
    """Return the refusal for the first operation of a host that excludes the wanted one, None if there is none."""
    for task, operation in db.get("host", host, "current_operations").items():
        if operation in WAITS_FOR[wanted]:
            return Failure("OTHER_OPERATION_IN_PROGRESS", "host", host, operation, task)
    return None


def assert_takes_guests(db: "Database", host: str) -> None:
    """Raise OTHER_OPERATION_IN_PROGRESS at once when a VM is to come to a host that is being emptied."""
    refusal = conflict(db, host, "vm_migrate")
    if refusal:
        raise refusal


def waits(call: "Call", host: str, *args: Any) -> bool:
    """Tell whether the call must wait for other operations of the host; then it is made again later."""
    if conflict(call.db, host, call.message.name) is None:
        return False
    task = call.defer(cancellable=True)
    _again_later(call.world, call.node.address, call.message.full_name, task, [host, *args], call.world.now)
    return True


def _again_later(world: "World", address: str, method: str, task: str, args: list[Any], since: float) -> None:
    delay = world.random.uniform(*timing.LOCK_STEP)
    world.later(delay, "host.turn", address=address, incarnation=world.nodes[address].incarnation, method=method,
                task=task, args=args, since=since)


def turn(world: "World", address: str, incarnation: int, method: str, task: str, args: list[Any],
         since: float) -> None:
    """Make a call that waited, unless it was cancelled, has waited too long, or must wait on."""
    node = world.nodes[address]
    db = world.pools.get(node.pool)
    if db is None or node.incarnation != incarnation or not db.has("task", task):
        return
    refusal = conflict(db, args[0], method.partition(".")[2]) if db.has("host", args[0]) else None
    if "cancel" in db.get("task", task, "current_operations").values():
        world.cancel_task(node.pool, task)
    elif refusal and world.now - since > timing.LOCK_PATIENCE:
        world.fail_task(node.pool, task, refusal.description)
    elif refusal:
        _again_later(world, address, method, task, args, since)
    else:
        _made(world, world.resumed_call(node, method, "", task), args)


def _made(world: "World", call: "Call", args: list[Any]) -> None:
    call.db.set("task", call.task, allowed_operations=[])
    try:
        result = world.serve(call, args)
    except Failure as failure:
        world.fail_task(call.node.pool, call.task, failure.description)
    else:
        if result is not LATER:
            world.finish_task(call.node.pool, call.task, result)


STEPS = {"host.turn": turn}
