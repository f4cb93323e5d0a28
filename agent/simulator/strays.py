"""Domains that run though no record shows them, and records of VMs that have no domain: what sudden deaths leave.

A *stray* is found again by a start at its host; a *ghost*'s domain has a migration's name, and stays unknown.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

from agent.simulator import build
from agent.simulator.database import Database
from agent.simulator.failure import Failure

if TYPE_CHECKING:
    from agent.simulator.world import World


class Stray(NamedTuple):
    """A domain that runs but no record shows, or a record of a VM that has no domain."""

    uuid: str
    address: str  # of the machine where the domain runs; "" when it went down with that one
    ghost_at: str = ""  # address of the machine where the record says that it runs
    renamed: bool = False  # the domain has a migration's name, under which nobody looks for it


def assert_no_stray(world: "World", db: Database, vm: str, host: str) -> None:
    """Raise VM_BAD_POWER_STATE if the VM's domain runs on this host unseen; its record heals by that (seen)."""
    stray = Stray(db.get("VM", vm, "uuid"), world.node_of_host(db, host).address)
    if stray in world.strays:
        world.strays.remove(stray)
        build.start_domain(world, db, vm, host)
        raise Failure("VM_BAD_POWER_STATE", vm, "Halted", "Running")


def assert_no_ghost(world: "World", db: Database, vm: str) -> None:
    """Raise INTERNAL_ERROR if the VM has no domain where its record says that it runs (seen)."""
    uuid = db.get("VM", vm, "uuid")
    if any(stray.uuid == uuid and stray.ghost_at for stray in world.strays):
        raise Failure("INTERNAL_ERROR", f"Object with type VM and id {uuid}/config does not exist in xenopsd")


def declared_halted(world: "World", db: Database, vm: str) -> None:
    """Let a ghost end whose record is set right by hand; its domain runs on, known to nobody (seen)."""
    uuid = db.get("VM", vm, "uuid")
    _keep(world, [one._replace(ghost_at="") if one.uuid == uuid else one for one in world.strays])


def machine_stopped(world: "World", address: str) -> None:
    """Forget the domains of a machine that has gone down, and the ghosts that were said to run there."""
    _keep(world, [one._replace(address="" if one.address == address else one.address,
                               ghost_at="" if one.ghost_at == address else one.ghost_at) for one in world.strays])


def _keep(world: "World", strays: list[Stray]) -> None:
    world.strays[:] = [one for one in strays if one.address or one.ghost_at]


def listed(world: "World") -> list[dict[str, Any]]:
    """Return the domains that no record shows: VM, host, and whether the VM runs elsewhere too."""
    found = []
    for one in world.strays:
        if one.address:
            node = world.nodes[one.address]
            db = world.pools.get(node.pool)
            vm = db.by_uuid("VM", one.uuid) if db else None
            twice = bool(db and vm and db.get("VM", vm, "power_state") == "Running" and not one.ghost_at)
            found.append({"uuid": one.uuid, "vm": world.name_of(node.pool, "VM", vm or ""), "host": node.name,
                          "twice": twice})
    return found
