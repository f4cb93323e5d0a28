"""The other calls of the class pool: eject, master change, flags."""

from typing import TYPE_CHECKING

from agent.simulator import build, faults, ha, hosts, migrations, strays, timing, toolstacks, workers
from agent.simulator.call import LATER
from agent.simulator.database import Database
from agent.simulator.derived import host_is_live, is_upgrading
from agent.simulator.failure import Failure
from agent.simulator.table import NULL
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
    _assert_no_master_change(db)
    if not host_is_live(db, host):
        raise Failure("HOST_OFFLINE", host)
    if not node.reachable:
        raise Failure("CANNOT_CONTACT_HOST", host)
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
    host, error = db.by_uuid("host", node.uuid), faults.at_eject(world, "role", address)
    if host:
        migrations.node_lost(world, node)
    if host and not error:
        hosts.forget(world, pool, host)
    elif host:
        world.later(timing.DECLARED_DEAD, "emergency.silent", pool=pool, host=host)
    for ref in db.refs("pool"):
        workers.set_operation(world, pool, "pool", ref, task, "")
        if db.has("task", task):
            db.set("task", task, resident_on=db.get("pool", ref, "master"))
    if error:
        world.fail_task(pool, task, error)
    else:
        world.finish_task(pool, task)
    world.later(timing.EJECT_GONE - timing.EJECT_RETURNS, "eject.gone", address=address)
    world.later(timing.EJECT_BACK - timing.EJECT_RETURNS, "eject.back", address=address)


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


def designate_new_master(call: "Call", host: str) -> object:
    """Make another member the master; what is written in the ten seconds after its success is lost."""
    world, db = call.world, call.db
    if db.get("pool", db.refs("pool")[0], "master") == host:
        return None
    if not host_is_live(db, host):
        raise Failure("HOST_OFFLINE", host)
    if ha.is_on(db):
        raise Failure("HA_IS_ENABLED")
    _assert_no_master_change(db)
    node = world.node_of_host(db, host)
    for member in world.members(call.node.pool):
        if not member.reachable:
            raise Failure("CANNOT_CONTACT_HOST", world.host_of(member))
    task = call.defer()
    workers.set_operation(world, call.node.pool, "pool", db.refs("pool")[0], task, "designate_new_master")
    world.later(timing.DESIGNATE_RETURNS, "designate.agreed", address=node.address, pool=call.node.pool, task=task)
    return LATER


def _assert_no_master_change(db: Database) -> None:
    for pool in db.refs("pool"):
        if "designate_new_master" in db.get("pool", pool, "current_operations").values():
            raise Failure("DESIGNATE_NEW_MASTER_IN_PROGRESS")


def agreed(world: "World", address: str, pool: int, task: str) -> None:
    """All members agreed; the old master does not show it for ten seconds, and then forgets them."""
    for ref in world.pools[pool].refs("pool"):
        workers.set_operation(world, pool, "pool", ref, task, "")
    world.finish_task(pool, task)
    world.pools[pool].flush()
    world.later(timing.DESIGNATE_GONE - timing.DESIGNATE_RETURNS, "designate.gone", address=address, pool=pool)


def designate_gone(world: "World", address: str, pool: int) -> None:
    """Every member restarts; the database is what it was at the agreement."""
    db, new = world.pools[pool], world.nodes[address]
    db.lose_young()
    for ref in db.refs("pool"):
        db.set("pool", ref, master=db.by_uuid("host", new.uuid) or NULL)
    toolstacks.forget_calls(world, pool)
    for node in world.members(pool):
        if node.power == "off":
            continue
        was_master = node.is_master
        node.go_down()
        if node is not new:
            node.master = address
        if was_master:
            host = world.host_of(node)
            db.set("host", host, enabled=False)
            db.set("host_metrics", db.get("host", host, "metrics"), live=False)
            node.facts["starting"] = True
            world.later(timing.DESIGNATE_ENABLED - timing.DESIGNATE_GONE, "host.enabled", address=node.address)
        world.later(timing.DESIGNATE_LIVE - timing.DESIGNATE_GONE, "host.started", address=node.address)
    new.master = ""
    world.later(timing.DESIGNATE_SWITCHED - timing.DESIGNATE_GONE, "designate.back", pool=pool)


def designate_back(world: "World", pool: int) -> None:
    """Every member answers in its new role."""
    for node in world.members(pool):
        if node.power == "down":
            node.power = "up"


CALLS = {"pool.eject": eject, "pool.sync_database": sync_database,
         "pool.enable_tls_verification": enable_tls_verification,
         "pool.designate_new_master": designate_new_master}
STEPS = {"eject.returned": ejected, "eject.gone": eject_gone, "eject.back": eject_back,
         "designate.agreed": agreed, "designate.gone": designate_gone, "designate.back": designate_back}
