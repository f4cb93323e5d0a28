"""pool.join: a pool of one becomes a member of another, in the phases a real one was seen to take.

The task's success is not the end: the joiner still answers as a standalone host for 13 seconds.
"""

from typing import TYPE_CHECKING, Any

from agent.simulator import build, faults, knocks, timing, toolstacks, workers
from agent.simulator.call import LATER
from agent.simulator.failure import Failure
from agent.simulator.fault_spec import JOIN_WITHOUT_VM
from agent.simulator.join_checks import assert_may_join
from agent.simulator.membership import enter, write_role
from agent.simulator.memory import HOST_OVERHEAD
from agent.simulator.node import Node
from agent.simulator.table import NULL
from agent.simulator.traits import traits_of

if TYPE_CHECKING:
    from agent.simulator.call import Call
    from agent.simulator.world import World

CARRIED = ("network", "host", "host_metrics", "SR", "VDI", "PBD", "VM_metrics", "VM_guest_metrics", "VM_group", "VM",
           "VBD", "VIF", "PIF", "Bond", "VLAN", "Certificate")


def join(call: "Call", master_address: str, master_username: str, master_password: str) -> object:
    """Join the pool of another machine; the checks come a little later, as do their errors."""
    _begin(call, master_address, master_username, master_password, forced=False)
    return LATER


def join_force(call: "Call", master_address: str, master_username: str, master_password: str) -> object:
    """Join without asking whether software and CPUs are the same."""
    _begin(call, master_address, master_username, master_password, forced=True)
    return LATER


def _begin(call: "Call", target: str, user: str, password: str, *, forced: bool) -> None:
    node = call.node
    if knocks.is_outside(call.world, target):
        call.world.later(timing.JOIN_KNOCKS, "join.knock", address=node.address, pool=node.pool, task=call.defer(),
                         target=target, user=user, password=password)
        return
    call.world.later(timing.JOIN_CHECKS, "join.check", address=node.address, pool=node.pool, task=call.defer(),
                     target=target, user=user, password=password, forced=forced)


def check(world: "World", address: str, pool: int, task: str, target: str, user: str, password: str,
          forced: bool) -> None:
    """Run the checks in xapi's order; a refusal is told after its usual time."""
    node = world.nodes[address]
    try:
        if node.power != "up" or node.pool != pool:
            return
        if node.cut:
            raise Failure("JOINING_HOST_CONNECTION_FAILED")
        master = reach(world, target, user, password)
        assert_may_join(world, node, master, forced=forced)
    except Failure as failure:
        delay = timing.JOIN_REFUSED.get(failure.code, timing.JOIN_CHECKS)
        if failure.code == "JOINING_HOST_CONNECTION_FAILED" and not target.replace(".", "").isdigit():
            delay = timing.JOIN_UNKNOWN_NAME
        world.later(max(0.0, delay - timing.JOIN_CHECKS), "join.refused", pool=pool, task=task,
                    description=failure.description)
        return
    node.joining = True
    common: dict[str, Any] = {"address": address, "pool": pool, "master": master.address, "task": task}
    for at, step in ((timing.JOIN_EXCHANGE, "join.exchange"), (timing.JOIN_LISTED, "join.listed"),
                     (timing.JOIN_IMPORTED, "join.imported"), (timing.JOIN_RETURNS, "join.returned")):
        world.later(at - timing.JOIN_CHECKS, step, **common)


def refused(world: "World", pool: int, task: str, description: list[str]) -> None:
    """Tell the refusal."""
    world.fail_task(pool, task, description)


def reach(world: "World", target: str, user: str, password: str) -> Node:
    """Return the master that answers at an address; raises what a login there would."""
    master = next((node for node in world.nodes.values() if target in (node.address, node.name)), None)
    if master is None or master.cut or master.power in ("down", "off"):
        raise Failure("JOINING_HOST_CONNECTION_FAILED")
    if traits_of(master).refuses_http:
        raise Failure("JOINING_HOST_SERVICE_FAILED")
    if master.power == "booting":
        raise Failure("HOST_STILL_BOOTING")
    if master.master:
        raise Failure("HOST_IS_SLAVE", master.master)
    if (user, password) != ("root", master.password):
        raise Failure("SESSION_AUTHENTICATION_FAILED", user, "Authentication failure")
    return master


def _still_there(world: "World", address: str, pool: int, master: str, task: str) -> bool:
    """Tell whether both ends still answer; else the join ends half done, as real ones do."""
    node = world.nodes[address]
    if not node.joining or node.power != "up" or node.pool != pool:
        node.joining = False
        return False
    if world.nodes[master].reachable and not node.cut:
        return True
    node.joining = False
    world.fail_task(pool, task, ["JOINING_HOST_CONNECTION_FAILED"])
    return False


def _ends(world: "World", phase: str, address: str, pool: int, task: str) -> bool:
    """Tell whether a fault ends the join here; what was done up to now stays (seen)."""
    error = faults.at_join(world, phase, address)
    if error:
        world.nodes[address].joining = False
        world.fail_task(pool, task, error)
    return bool(error)


def exchange(world: "World", address: str, pool: int, master: str, task: str) -> None:
    """The master shows a pool operation while certificates are exchanged."""
    if _still_there(world, address, pool, master, task):
        number = world.nodes[master].pool
        own = world.new_task(number, "pool.exchange_certificates_on_join", "")
        for ref in world.pools[number].refs("pool"):
            workers.set_operation(world, number, "pool", ref, own, "exchange_certificates_on_join")
        world.later(timing.JOIN_EXCHANGED - timing.JOIN_EXCHANGE, "join.task_over", pool=number, task=own)
        if _ends(world, "exchange", address, pool, task):
            return
        world.later(timing.JOIN_IMPORT_BEGINS - timing.JOIN_EXCHANGE, "join.task", pool=number,
                    label="VM metadata import", lasts=timing.JOIN_IMPORTED - timing.JOIN_IMPORT_BEGINS)


def task_begun(world: "World", pool: int, label: str, lasts: float, marks: dict[str, str] | None = None) -> None:
    """Show a task of the master's own for one step of a join (seen)."""
    if pool in world.pools:
        task = world.new_task(pool, label, "")
        world.pools[pool].set("task", task, other_config=dict(marks or {}))
        world.later(lasts, "join.task_over", pool=pool, task=task)


def task_over(world: "World", pool: int, task: str) -> None:
    """The step is over, and with it its task and what the pool showed of it."""
    if pool in world.pools:
        for ref in world.pools[pool].refs("pool"):
            workers.set_operation(world, pool, "pool", ref, task, "")
        world.pools[pool].delete("task", task)


def listed(world: "World", address: str, pool: int, master: str, task: str) -> None:
    """The master lists the host: same uuid, new reference, neither enabled nor live."""
    if not _still_there(world, address, pool, master, task):
        return
    node, number = world.nodes[address], world.nodes[master].pool
    mine, theirs = world.pools[pool], world.pools[number]
    if theirs.by_uuid("host", node.uuid):
        return
    old = mine.by_uuid("host", node.uuid)
    metrics = theirs.add("host_metrics", {})
    row = dict(mine.rows["host"][old or NULL])
    row.update(enabled=False, metrics=metrics, memory_overhead=0, cpu_info={}, capabilities=[],
               control_domain=NULL, current_operations={})
    theirs.add("host", row)
    _ends(world, "record", address, pool, task)


def imported(world: "World", address: str, pool: int, master: str, task: str) -> None:
    """Its storage, networks and halted VMs are in the master's database."""
    if not _still_there(world, address, pool, master, task):
        return
    node = world.nodes[address]
    mine, theirs = world.pools[pool], world.pools[world.nodes[master].pool]
    host = theirs.by_uuid("host", node.uuid)
    if host is None or theirs.by_uuid("SR", node.local_sr_uuid):
        return
    known: dict[str, str] = {mine.by_uuid("host", node.uuid) or NULL: host}
    left = _left_behind(world, node)
    for cls in CARRIED:
        for ref in mine.refs(cls):
            if cls == "network":
                known[ref] = _same_network(theirs, mine.get("network", ref, "bridge")) or world.new_ref()
            elif cls not in ("host", "host_metrics") and ref not in left:
                known[ref] = world.new_ref()
    for cls in CARRIED:
        for ref in mine.refs(cls):
            new = known.get(ref)
            if new and not theirs.has(cls, new):
                row = {name: translated(value, known) for name, value in mine.rows[cls][ref].items()}
                if cls == "PBD":
                    row.pop("currently_attached", None)
                theirs.add(cls, row, ref=new)
    _ends(world, "metadata", address, pool, task)


def _left_behind(world: "World", node: Node) -> set[str]:
    """Return the rows of the VMs whose metadata cannot be copied; that is only logged, by a real one."""
    db, left = world.pools[node.pool], set()
    for vm in db.refs("VM"):
        if not db.get("VM", vm, "is_control_domain") \
                and faults.at_join(world, JOIN_WITHOUT_VM, node.address, db.get("VM", vm, "name_label")):
            left |= {vm, db.get("VM", vm, "metrics"), db.get("VM", vm, "guest_metrics"),
                     *db.get("VM", vm, "VBDs"), *db.get("VM", vm, "VIFs")}
    return left


def _same_network(db: Any, bridge: str) -> str | None:
    return next((ref for ref in db.refs("network") if db.get("network", ref, "bridge") == bridge), None)


def translated(value: Any, known: dict[str, str]) -> Any:
    """Return a value with the references of one database replaced by those of another."""
    if isinstance(value, str):
        return known.get(value, NULL) if value.startswith("OpaqueRef:") else value
    if isinstance(value, list):
        return [translated(item, known) for item in value]
    if isinstance(value, dict):
        return {translated(key, known): translated(item, known) for key, item in value.items()}
    return value


def returned(world: "World", address: str, pool: int, master: str, task: str) -> None:
    """The call succeeds; the joiner goes on as before for a while, whatever its role file says (seen)."""
    if _still_there(world, address, pool, master, task):
        write_role(world.nodes[address], master)
        if _ends(world, "role", address, pool, task):
            return
        if not _ends(world, "hook", address, pool, task):
            world.finish_task(pool, task)
        for at, step in ((timing.JOIN_GONE, "join.gone"), (timing.JOIN_SLAVE, "join.slave")):
            world.later(at - timing.JOIN_RETURNS, step, address=address, master=master)


def gone(world: "World", address: str, master: str) -> None:
    """The joiner's xapi ends, and with it its own pool."""
    node = world.nodes[address]
    if node.pool == world.nodes[master].pool:
        return  # the join was sent twice
    if node.power == "off":  # the master lists it, and when it has power again it is its member
        node.joining = False
        return
    node.go_down()
    enter(world, node, master)


def slave(world: "World", address: str, master: str) -> None:
    """The joiner answers as a member."""
    node = world.nodes[address]
    if node.power != "down" or not node.master:
        return
    if node.facts.get("one_way"):
        toolstacks.back(world, address, started_after=timing.JOIN_STARTED - timing.JOIN_SLAVE,
                        enabled_after=timing.JOIN_ENABLED - timing.JOIN_SLAVE)
        world.later(timing.JOIN_FILLED - timing.JOIN_SLAVE, "join.filled", address=address)
        return
    node.power, node.facts["starting"] = "up", True
    for at, step in ((timing.JOIN_LIVE, "join.live"), (timing.JOIN_FILLED, "join.filled"),
                     (timing.JOIN_STARTED, "host.started"), (timing.JOIN_ENABLED, "host.enabled")):
        world.later(at - timing.JOIN_SLAVE, step, address=address)


def live(world: "World", address: str) -> None:
    """The master has heard from the member."""
    node = world.nodes[address]
    db, host = world.pools[node.pool], world.host_of(node)
    if db.has("host", host):
        db.set("host_metrics", db.get("host", host, "metrics"), live=True, last_updated=world.moment())
        db.touch(host)
        task_begun(world, node.pool, "dbsync (update_env)", timing.JOIN_STARTED - timing.JOIN_LIVE,
                   {"sync_operation": "sync_pci_devices"})


def filled(world: "World", address: str) -> None:
    """What the member found out about itself is in the database."""
    node = world.nodes[address]
    db, host = world.pools[node.pool], world.host_of(node)
    if not db.has("host", host):
        return
    if node.facts.get("emergency"):  # nobody hears it yet
        world.later(timing.EMERGENCY_RETRY, "join.filled", address=address)
        return
    db.set("host_metrics", db.get("host", host, "metrics"), memory_total=node.memory_bytes)
    if not db.get("host", host, "host_CPUs"):
        build.add_processors(db, node, host)
    domain = next((vm for vm in db.get("host", host, "resident_VMs")
                   if db.get("VM", vm, "is_control_domain")), NULL)
    db.set("host", host, cpu_info=build.cpu_info(node), memory_overhead=HOST_OVERHEAD,
           capabilities=build.capabilities(node), control_domain=domain)
    build.refresh_pool(db)


CALLS = {"pool.join": join, "pool.join_force": join_force}
STEPS = {"join.check": check, "join.refused": refused, "join.exchange": exchange, "join.listed": listed,
         "join.imported": imported, "join.task": task_begun, "join.task_over": task_over,
         "join.returned": returned, "join.gone": gone, "join.slave": slave, "join.live": live, "join.filled": filled}
