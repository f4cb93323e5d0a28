"""The rules of services: agents and conductors, as Nova's clients and monitors know them.

It knows no HTTP.  An agent's service is its host; a conductor's is what it last showed.
"""

from typing import Any

from common import errors
from common.clock import isoformat
from conductor.db import aggregates, hosts, operations, services
from conductor.db.models import Host, Service
from conductor.db.session import Session
from conductor.operations.advance import is_up
from conductor.operations.engine import Transaction
from conductor.present import Presenter

Json = dict[str, Any]

#: the names of binaries by which clients and test suites look for services
AGENT, CONDUCTOR = "nova-compute", "nova-conductor"
#: the zone of hosts in no aggregate with a zone, and that of what is no host
DEFAULT_ZONE, INTERNAL_ZONE = "nova", "internal"
#: three beats of a conductor and a little
CONDUCTOR_DOWN_S = 35.0


def zones(session: Session) -> dict[str, str]:
    """Return the zone of every host that is in an aggregate with one."""
    named = {row.id: row.availability_zone for row in aggregates.every(session)}
    found: dict[str, str] = {}
    for place in aggregates.places(session):
        zone = named[place.aggregate_id]
        if zone:
            found.setdefault(place.host, zone)
    return found


def every(show: Presenter, now: float) -> list[Json]:
    """Return SERVICE of every agent, then of every conductor, by name."""
    found = zones(show.session)
    return [*(agent(show, row, found) for row in hosts.every(show.session)),
            *(conductor(row, now) for row in services.every(show.session))]


def agent(show: Presenter, row: Host, zone_by_host: dict[str, str]) -> Json:
    """Return SERVICE of a host's agent; its status is what is wanted of the host, its state what is observed."""
    serves = row.wanted == "serving" and not row.quarantined
    return {"id": number_of_agent(row.id), "binary": AGENT, "host": row.name,
            "zone": zone_by_host.get(row.name, DEFAULT_ZONE), "status": "enabled" if serves else "disabled",
            "state": "up" if show.is_up(row) and not row.forced_down else "down",
            "disabled_reason": None if serves else row.reason or _why(row), "forced_down": row.forced_down,
            "updated_at": isoformat(row.last_sync_at), "version": row.agent_version}


def _why(row: Host) -> str:
    what = "quarantined" if row.quarantined else f"wanted {row.wanted}"
    return f"{what} by operation {row.owner}" if row.owner else what


def conductor(row: Service, now: float) -> Json:
    """Return SERVICE of a conductor."""
    return {"id": 2 * row.id + 1, "binary": CONDUCTOR, "host": row.name, "zone": INTERNAL_ZONE, "status": "enabled",
            "state": "up" if _is_seen(row, now) else "down", "disabled_reason": None, "forced_down": False,
            "updated_at": isoformat(row.seen_at), "version": row.version}


def number_of_agent(host_id: int) -> int:
    """Return the number of a host's service: agents have even ones, conductors odd ones."""
    return 2 * host_id


def _is_seen(row: Service, now: float) -> bool:
    return now - row.seen_at <= CONDUCTOR_DOWN_S


def delete(tx: Transaction, number: int) -> None:
    """Forget the host of an agent, or a conductor, that is down.  Raises NotFound, WrongState."""
    if number % 2 == 0:
        named = next((row.name for row in hosts.every(tx.session) if row.id == number // 2), None)
        if named is None:
            raise errors.NotFound(f"There is no service {number}", code="service_not_found")
        forget(tx, named)
        return
    row = services.get(tx.session, number // 2)
    if _is_seen(row, tx.now):
        raise errors.WrongState(f"Conductor {row.name} runs; stop it first", code="service_up")
    tx.session.delete(row)


def forget(tx: Transaction, name: str) -> None:
    """Forget a host, so that another machine may come by its name.

    Raises NotFound; WrongState while its agent is heard, an aggregate has it or an
    operation is about it.
    """
    host = hosts.get(tx.session, name)
    if is_up(tx, host.last_sync_at):
        raise errors.WrongState(f"The agent of host {name} is heard, or was until just now; stop it first, or the host "
                                "would be enrolled again", code="service_up")
    active = operations.active_on(tx.session, name)
    if active is not None:
        raise errors.WrongState(f"Host {name} is held by operation {active.id} ({active.kind}, {active.state})",
                                code="host_busy", operation=active.id)
    if operations.for_executor(tx.session, name):
        raise errors.WrongState(f"The agent of host {name} was given orders whose outcome is not known yet; another "
                                "agent of its pool has to look first", code="host_busy")
    places = [str(place.aggregate_id) for place in aggregates.memberships_of(tx.session, name)]
    if places:
        raise errors.WrongState(f"Host {name} is in aggregate {', '.join(places)}; remove it there first",
                                code="host_in_aggregate")
    services.forget_host(tx.session, host)
    tx.tell("host.delete", host)


def force_down(tx: Transaction, name: str, forced_down: bool) -> Host:
    """Record that an operator says that the host is down (or not any more); it is no destination meanwhile."""
    host = hosts.get(tx.session, name)
    host.forced_down = forced_down
    tx.tell("host.update", host)
    return host
