"""The other calls of the class pool: eject, flags."""

from typing import TYPE_CHECKING

from agent.simulator import build, designation, faults, ha, hosts, migrations, reach, strays, timing, workers
from agent.simulator.call import LATER
from agent.simulator.derived import host_is_live, is_upgrading
from agent.simulator.failure import Failure
from agent.simulator.traits import reinstalled, traits_of

if TYPE_CHECKING:
    from agent.simulator.call import Call
    from agent.simulator.world import World


def eject(call: "Call", host: str) -> object:
    """Take a member out; its local storage is wiped and it comes back as a fresh pool of one."""
    world, db = call.world, call.db
    node = world.node_of_host(db, host)
    if node is call.node:
        raise Failure("INTERNAL_ERROR", "Xapi_pool.Cannot_eject_master")
    designation.assert_no_master_change(db)
    reach.assert_reachable(call, host)
    for wrong, code in ((traits_of(call.node).secret_rotation, "POOL_SECRET_ROTATION_PENDING"),
                        (ha.is_on(db), "HA_IS_ENABLED"), (is_upgrading(db), "NOT_SUPPORTED_DURING_UPGRADE")):
        if wrong:
            raise Failure(code)
    for vm in db.get("host", host, "resident_VMs"):
        if not db.get("VM", vm, "is_control_domain"):
            raise Failure("OPERATION_NOT_ALLOWED", "VM resident on host")
    task = call.defer(cancellable=True)
    db.set("task", task, resident_on=host)
    for pool in db.refs("pool"):
        workers.set_operation(world, call.node.pool, "pool", pool, task, "eject")
    world.later(timing.EJECT_RETURNS, "eject.returned", address=node.address, pool=call.node.pool, task=task)
    return LATER


def ejected(world: "World", address: str, pool: int, task: str) -> None:
    """The master has forgotten the host, unless that failed; the host itself does not show it yet."""
    node, db = world.nodes[address], world.pools[pool]
    stuck = faults.at_eject(world, "storage", address)
    if stuck:  # what it has cannot be unplugged, so that it stays a member
        _end_eject(world, pool, task, stuck)
        return
    host, error = db.by_uuid("host", node.uuid), faults.at_eject(world, "role", address)
    if host:
        migrations.node_lost(world, node)
    if host and not error:
        hosts.forget(world, pool, host)
    elif host:
        world.later(timing.DECLARED_DEAD, "emergency.silent", pool=pool, host=host)
    _end_eject(world, pool, task, error)
    world.later(timing.EJECT_GONE - timing.EJECT_RETURNS, "eject.gone", address=address)
    world.later(timing.EJECT_BACK - timing.EJECT_RETURNS, "eject.back", address=address)


def _end_eject(world: "World", pool: int, task: str, error: list[str]) -> None:
    db = world.pools[pool]
    for ref in db.refs("pool"):
        workers.set_operation(world, pool, "pool", ref, task, "")
        if db.has("task", task):
            db.set("task", task, resident_on=db.get("pool", ref, "master"))
    if error:
        world.fail_task(pool, task, error)
    else:
        world.finish_task(pool, task)


def eject_gone(world: "World", address: str) -> None:
    """The ejected machine restarts."""
    node = world.nodes[address]
    strays.machine_stopped(world, address)
    node.go_down()
    node.pool = 0


def eject_back(world: "World", address: str) -> None:
    """The ejected machine answers as freshly installed: own password, no TLS verification, empty storage."""
    node = world.nodes[address]
    node.password, node.tls_verification, node.auto_enable = node.own_password, False, True
    node.started_at = node.booted_at = world.now
    node.local_sr_uuid, node.pif_uuid = world.new_uuid(), world.new_uuid()
    for key in ("starting", "until_reboot", "role", "ha", "bonds", "vlans", "shared_sr"):
        node.facts.pop(key, None)
    reinstalled(node.facts)
    build.install(world, node)


def sync_database(call: "Call") -> None:
    """Flush the database to every live member; one that cannot be reached is told."""
    call.db.flush()
    for host in call.db.refs("host"):
        if host_is_live(call.db, host) and not call.world.node_of_host(call.db, host).reachable:
            raise Failure("CANNOT_CONTACT_HOST", host)


def enable_tls_verification(call: "Call") -> None:
    """Verify certificates inside the pool from now on."""
    for node in call.world.members(call.node.pool):
        node.tls_verification = True
    for cls in ("pool", "host"):
        for ref in call.db.refs(cls):
            call.db.set(cls, ref, tls_verification_enabled=True)


CALLS = {"pool.eject": eject, "pool.sync_database": sync_database,
         "pool.enable_tls_verification": enable_tls_verification}
STEPS = {"eject.returned": ejected, "eject.gone": eject_gone, "eject.back": eject_back}
