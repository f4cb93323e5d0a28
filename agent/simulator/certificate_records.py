"""What the class Certificate shows of a machine: what it presents, and what it uses inside its pool.

Knows records; makes no certificates.
"""

from typing import TYPE_CHECKING, Any

from agent.simulator.node import Node

if TYPE_CHECKING:
    from agent.simulator.database import Database
    from agent.simulator.world import World

KINDS = ("host", "host_internal")


def keep(world: "World", node: Node, kind: str, certificate: dict[str, Any]) -> None:
    """Let a machine have this certificate (`pem`, `fingerprint`, `not_before`, `not_after`) from now on."""
    node.facts.setdefault("certificates", {})[kind] = certificate
    db, host = world.pools.get(node.pool), world.host_of(node)
    if db is None or not db.has("host", host):
        return
    for old in db.get("host", host, "certificates"):
        if db.get("Certificate", old, "type") == kind:
            db.delete("Certificate", old)
    _add(world, db, host, kind, certificate)


def show(world: "World", db: "Database", node: Node, host: str) -> None:
    """Add the records of all certificates that a machine has."""
    for kind in KINDS:
        made = made_for(node, kind)
        if made:
            _add(world, db, host, kind, made)


def made_for(node: Node, kind: str) -> dict[str, Any]:
    """Return a machine's certificate of a kind, {} without TLS."""
    found: dict[str, Any] = (node.facts.get("certificates") or {}).get(kind, {})
    return found


def _add(world: "World", db: "Database", host: str, kind: str, made: dict[str, Any]) -> None:
    db.add("Certificate", {
        "host": host, "type": kind, "fingerprint": made["fingerprint"], "fingerprint_sha256": made["fingerprint"],
        "not_before": world.moment(made["not_before"]), "not_after": world.moment(made["not_after"])})
