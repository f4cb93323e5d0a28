"""Joins of addresses where no simulated host is: they wait for whoever looks what is there (strangers.py).

Data only, so they are saved with the world and asked again when it goes on. Only loopback addresses are looked at,
and only if somebody looks; all others are taken for dead. Knows no sockets.
"""

import ipaddress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agent.simulator.world import World

Knock = dict[str, Any]  # target, user, password; the joiner's address, incarnation and pool


def is_outside(world: "World", target: str) -> bool:
    """Tell whether somebody has to look what is there."""
    try:
        found = ipaddress.IPv4Address(target)
    except ValueError:
        return False
    return world.looks_outside and found.is_loopback and target not in world.nodes


def begin(world: "World", address: str, pool: int, task: str, target: str, user: str, password: str) -> None:
    """The joiner has sent its login, and waits for as long as nothing comes."""
    node = world.nodes[address]
    if node.power != "up" or node.pool != pool:
        return
    if node.cut:
        world.fail_task(pool, task, ["JOINING_HOST_CONNECTION_FAILED"])
        return
    world.knocks[task] = {"target": target, "user": user, "password": password, "address": address,
                          "incarnation": node.incarnation, "pool": pool}


def pending(world: "World") -> dict[str, Knock]:
    """Return those whose toolstack still waits, by their task; forget the others."""
    for task, knock in list(world.knocks.items()):
        if world.nodes[knock["address"]].incarnation != knock["incarnation"]:
            del world.knocks[task]
    return world.knocks


def answered(world: "World", task: str, error: list[str]) -> None:
    """What is there has been found out, and it is no host that one could join."""
    knock = pending(world).pop(task, None)
    if knock:
        world.fail_task(knock["pool"], task, error)


STEPS = {"join.knock": begin}
