"""Rows of hosts, their agents' incarnations, and pools."""

from collections.abc import Sequence

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from common import errors
from conductor.db.models import Host, Incarnation, Pool


def find(session: Session, name: str) -> Host | None:
    """Return the host of that name, or None."""
    return session.scalar(select(Host).where(Host.name == name))


def get(session: Session, name: str) -> Host:
    """Return the host of that name.  Raises NotFound."""
    host = find(session, name)
    if host is None:
        raise errors.NotFound(f"There is no host {name}; a host exists once its agent has synchronised",
                              code="host_not_found", host=name)
    return host


def find_uuid(session: Session, uuid: str) -> Host | None:
    """Return the host with that xapi uuid, or None."""
    return session.scalar(select(Host).where(Host.uuid == uuid))


def every(session: Session) -> Sequence[Host]:
    """Return all hosts by name."""
    return session.scalars(select(Host).order_by(Host.name)).all()


def uuids(session: Session) -> dict[str, str]:
    """Return the uuid of every host, by name."""
    return dict(session.execute(select(Host.name, Host.uuid)).tuples().all())


def in_pool(session: Session, pool: str) -> Sequence[Host]:
    """Return the hosts whose agent says that they are in ``pool``, by name."""
    return session.scalars(select(Host).where(Host.pool == pool).order_by(Host.name)).all()


def is_known_incarnation(session: Session, incarnation: str) -> bool:
    """Return whether that agent process was ever seen."""
    return session.get(Incarnation, incarnation) is not None


def find_pool(session: Session, uuid: str | None) -> Pool | None:
    """Return the pool, or None."""
    return session.get(Pool, uuid) if uuid else None


def all_pools(session: Session) -> dict[str, Pool]:
    """Return every pool, by uuid."""
    return {pool.uuid: pool for pool in session.scalars(select(Pool))}


def take_turn(session: Session, pool: str) -> None:
    """Make all who plan or send moves in ``pool`` wait for this transaction's end.

    The update takes the row's lock, so what is read after it stays true until commit.
    """
    session.execute(update(Pool).where(Pool.uuid == pool).values(plan_generation=Pool.plan_generation + 1),
                    execution_options={"synchronize_session": False})
