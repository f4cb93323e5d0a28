"""Rows of conductors, as they show that they are there; and what goes when a host is forgotten."""

from collections.abc import Sequence

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from common import errors
from conductor.db.models import Host, Pool, Service


def beat(session: Session, name: str, version: str, started_at: float, now: float) -> None:
    """Note that the conductor is there; the first time, that it exists."""
    service = session.scalar(select(Service).where(Service.name == name))
    if service is None:
        service = Service(name=name)
        session.add(service)
    service.version, service.started_at, service.seen_at = version, started_at, now


def every(session: Session) -> Sequence[Service]:
    """Return every conductor that was ever seen and not forgotten, by name."""
    return session.scalars(select(Service).order_by(Service.name)).all()


def get(session: Session, service_id: int) -> Service:
    """Return the conductor with that number.  Raises NotFound."""
    service = session.get(Service, service_id)
    if service is None:
        raise errors.NotFound("There is no such service", code="service_not_found")
    return service


def forget_host(session: Session, host: Host) -> None:
    """Remove a host; its operations stay as history.

    So do the names of its agent's processes: what one of them once said must not enrol the host again.
    """
    session.execute(update(Pool).where(Pool.observer == host.name).values(observer=None))
    session.delete(host)
