"""A toolstack's end and its start: what dies with it, what it finds, when it answers and is enabled again.

Knows no calls and no power; hosts.py, incidents.py and others put its steps on the agenda.
"""

from typing import TYPE_CHECKING

from agent.simulator import build, daemons, exclusion, membership, migrations, timing
from agent.simulator.node import Node
from agent.simulator.table import NULL

if TYPE_CHECKING:
    from agent.simulator.world import World


def gone(world: "World", address: str) -> None:
    """xapi of a machine ends: connections die; of a master also sessions and tasks, and what they marked."""
    node = world.nodes[address]
    if node.pool not in world.pools:
        return
    was_answering = node.power in ("up", "booting")
    node.go_down()
    if not was_answering:
        return
    daemons.toolstack_gone(world, node)
    if node.is_master:
        forget_calls(world, node.pool)
        world.pools[node.pool].flush()
    else:
        world.later(timing.DECLARED_DEAD, "host.dead", address=address, incarnation=node.incarnation)
        migrations.node_lost(world, node)
        host = world.host_of(node)
        for job in [one for one in world.jobs.values() if one["node"] == address]:
            world.fail_task(node.pool, job["task"], ["CANNOT_CONTACT_HOST", host])


def forget_calls(world: "World", pool: int) -> None:
    """Drop sessions, tasks, operations and reservations, as the end of a master does; the work goes on."""
    db = world.pools[pool]
    for cls in ("session", "task"):
        for ref in db.refs(cls):
            db.delete(cls, ref)
    for cls in ("VM", "host", "pool"):
        for ref in db.refs(cls):
            db.set(cls, ref, current_operations={})
    for vm in list(db.reserved):
        db.set("VM", vm, scheduled_to_be_resident_on="OpaqueRef:NULL")
    world.jobs = {name: job for name, job in world.jobs.items() if (job["kind"], job["pool"]) != ("evacuate", pool)}
    addresses = {node.address for node in world.members(pool)}
    world.held = [held for held in world.held if held["node"] not in addresses]
    db.recreate_stamps("host")


def back(world: "World", address: str, started_after: float, enabled_after: float) -> None:
    """xapi answers again; `enabled` follows when its start is complete."""
    node = world.nodes[address]
    if node.pool not in world.pools or node.power == "off" or node.facts.get("stopped"):
        return  # it was ejected meanwhile and comes back in its own way, lost its power, or is kept away
    membership.take_role(world, node)
    node.facts["starting"] = True
    master, alone = world.nodes.get(node.master), why_alone(world, node)
    if alone:  # emergency mode: it tries again and again
        node.power, node.facts["emergency"] = "booting", alone
        delay = timing.HELLO_RETRY if master and master.power == "down" else timing.EMERGENCY_RETRY
        world.later(delay, "host.back", address=address, started_after=started_after,
                    enabled_after=enabled_after)
        return
    node.facts.pop("emergency", None)
    node.power = "up"
    if world.host_of(node) != NULL:  # its start is heard of, its end was not (seen)
        world.pools[node.pool].set("host", world.host_of(node), enabled=False)
    world.later(started_after, "host.started", address=address)
    world.later(enabled_after, "host.enabled", address=address)
    if master and enabled_after > timing.BOOTING_BEFORE_ENABLED:
        world.later(enabled_after - timing.BOOTING_BEFORE_ENABLED, "host.booting", address=address)


def why_alone(world: "World", node: Node) -> list[str]:
    """Return why a member cannot join its master now, [] if it can or is the master itself."""
    master = world.nodes.get(node.master)
    if not node.master:
        return []
    if master is None or not master.reachable or not master.is_master:
        return ["HOST_STILL_BOOTING"]
    known = master.pool == node.pool and world.pools[master.pool].by_uuid("host", node.uuid)
    if not known:
        return ["HOST_UNKNOWN_TO_MASTER", node.uuid]
    return ["HOST_MASTER_CANNOT_TALK_BACK", node.address] if node.facts.get("one_way") else []


def booting(world: "World", address: str) -> None:
    """For a moment in its start a member says that it is still booting (seen)."""
    if world.nodes[address].power == "up":
        world.nodes[address].power = "booting"
        world.later(timing.BOOTING_LASTS, "host.steady", address=address)


def steady(world: "World", address: str) -> None:
    """The moment is over."""
    if world.nodes[address].power == "booting":
        world.nodes[address].power = "up"


def started(world: "World", address: str) -> None:
    """xapi has written its start into the pool's database."""
    node = world.nodes[address]
    if node.pool not in world.pools:
        return
    node.started_at = world.now
    db, host = world.pools[node.pool], world.host_of(node)
    if not db.has("host", host):
        return
    old = {key: value for key, value in db.get("host", host, "other_config").items()
           if key not in ("agent_start_time", "boot_time")}
    # A start forgets what was done to the machine, also when it went down in another way.
    kept = {task: operation for task, operation in db.get("host", host, "current_operations").items()
            if operation not in exclusion.CHANGING}
    db.set("host", host, other_config={**old, **build.start_times(node)}, current_operations=kept)
    db.set("host_metrics", db.get("host", host, "metrics"), live=True, memory_total=node.memory_bytes,
           last_updated=world.moment())
    db.touch(host)


def enabled(world: "World", address: str) -> None:
    """The start is complete: storage is there and, unless forbidden, the host enabled."""
    node = world.nodes[address]
    if node.pool not in world.pools:
        return
    node.facts.pop("starting", None)
    node.facts.pop("until_reboot", None)
    db, host = world.pools[node.pool], world.host_of(node)
    if db.has("host", host):
        for pbd in db.get("host", host, "PBDs"):
            if not db.get("SR", db.get("PBD", pbd, "SR"), "shared"):
                db.set("PBD", pbd, currently_attached=True)
        build.plug_shared_storage(world, node)
        if node.auto_enable:
            db.set("host", host, enabled=True)


STEPS = {"host.gone": gone, "host.back": back, "host.started": started, "host.enabled": enabled,
         "host.booting": booting, "host.steady": steady}
