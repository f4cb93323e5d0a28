"""What is lost when a database goes back to what was last written of it: all younger additions, changes and deletions.

Domains do not go back with their records. A toolstack that starts finds at home what its daemon has, so that a VM
that is said to run there and does not is Halted; what its record does not show where it runs is a stray, and a record
that says so of another host is a ghost (strays.py).
"""

from typing import TYPE_CHECKING

from agent.simulator import build, timing
from agent.simulator.database import Database
from agent.simulator.derived import host_is_live
from agent.simulator.node import Node
from agent.simulator.strays import Stray

if TYPE_CHECKING:
    from agent.simulator.world import World

WITH_DOMAIN = ("Running", "Paused")


def lose(world: "World", pool: int, starting: Node) -> None:
    """Let a pool's database forget what is young; `starting` is the machine whose toolstack goes on with it."""
    db = world.pools[pool]
    touched = db.young("VM")
    domains = {vm: _domains(world, db, vm) for vm in touched if db.has("VM", vm)}
    db.lose_young()
    for vm in touched:
        _compare(world, db, vm, domains.get(vm, []), starting)
    for host in db.refs("host"):
        _wait_for_heartbeat(world, pool, host)


def _domains(world: "World", db: Database, vm: str) -> list[Stray]:
    """Return all domains of a VM, as strays, also the one that its record shows."""
    uuid, said = str(db.get("VM", vm, "uuid")), _said_at(world, db, vm)
    unseen = [stray for stray in world.strays if stray.uuid == uuid]
    shown = bool(said) and world.nodes[said].power != "off" and not any(stray.ghost_at for stray in unseen)
    world.strays[:] = [stray for stray in world.strays if stray.uuid != uuid]
    return [stray._replace(ghost_at="") for stray in unseen if stray.address] + [Stray(uuid, said)] * shown


def _said_at(world: "World", db: Database, vm: str) -> str:
    """Return the address of the machine where a VM's record says that it runs, "" if it says that of none."""
    if not db.has("VM", vm) or db.get("VM", vm, "power_state") not in WITH_DOMAIN:
        return ""
    host = db.get("VM", vm, "resident_on")
    return world.node_of_host(db, host).address if db.has("host", host) else ""


def _compare(world: "World", db: Database, vm: str, domains: list[Stray], starting: Node) -> None:
    """Make strays of the domains that the record does not show now, and a ghost of one that it shows for nothing."""
    said = _said_at(world, db, vm)
    uuid = str(db.get("VM", vm, "uuid")) if said else ""
    if said and Stray(uuid, said) in domains:
        domains.remove(Stray(uuid, said))
    elif said == starting.address:  # seen: its own toolstack knows better, and nobody else's does
        build.stop_domain(db, vm)
    elif said and world.nodes[said].power != "off":
        first, *others = domains or [Stray(uuid, "")]
        domains = [first._replace(ghost_at=said), *others]
    world.strays.extend(domains)


def _wait_for_heartbeat(world: "World", pool: int, host: str) -> None:
    """Let the master hear, or miss, each member again, whose state may be an old one now."""
    db = world.pools[pool]
    node = world.node_of_host(db, host)
    if node.pool == pool and node.reachable and not host_is_live(db, host):
        world.later(timing.HEARTBEAT, "host.heard", address=node.address)
    elif node.pool != pool or not node.reachable:
        world.later(timing.DECLARED_DEAD, "emergency.silent", pool=pool, host=host)
