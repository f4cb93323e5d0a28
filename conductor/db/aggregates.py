"""Rows of aggregates and of the hosts' places in them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from common import errors
from conductor.db.models import Aggregate, Membership


class Place(NamedTuple):
    """A membership as it is shown: thousands of them are read at once, too many for the ORM's bookkeeping."""

    aggregate_id: int
    host: str
    pool_backed_host: str | None
    state: str
    adopted: bool


class Entry(NamedTuple):
    """An aggregate as it is shown, for the same reason."""

    id: int
    uuid: str
    name: str
    availability_zone: str | None
    pool: str | None
    user_metadata: dict[str, Any]
    created_at: float
    updated_at: float | None


_ENTRY = tuple(Aggregate.__table__.c[getattr(Aggregate, name).expression.key] for name in Entry._fields)
_PLACE = tuple(Membership.__table__.c[name] for name in Place._fields)
_ENTRIES = select(*_ENTRY).order_by(Aggregate.__table__.c.id)
_PLACES = select(*_PLACE).order_by(Membership.__table__.c.id)
_ENTRY_WITH_PLACES = (
    select(*_ENTRY, *_PLACE).outerjoin_from(Aggregate.__table__, Membership.__table__)
    .where(Aggregate.__table__.c.id == bindparam("aggregate")).order_by(Membership.__table__.c.id))


def get(session: Session, aggregate_id: int) -> Aggregate:
    """Return the aggregate.  Raises NotFound."""
    aggregate = session.get(Aggregate, aggregate_id) if _possible(aggregate_id) else None
    if aggregate is None:
        raise _not_found(aggregate_id)
    return aggregate


def with_places(session: Session, aggregate_id: int) -> tuple[Entry, list[Place]]:
    """Return the aggregate, and the places in it in the order in which the hosts were added; in one statement.

    Raises NotFound.
    """
    rows = session.execute(_ENTRY_WITH_PLACES, {"aggregate": aggregate_id}).all() if _possible(aggregate_id) else ()
    if not rows:
        raise _not_found(aggregate_id)
    split = len(_ENTRY)
    return Entry._make(rows[0][:split]), [place for row in rows if (place := Place._make(row[split:])).host is not None]


def _possible(aggregate_id: int) -> bool:
    return 0 < aggregate_id < 2**31


def _not_found(aggregate_id: int) -> errors.NotFound:
    return errors.NotFound(f"Aggregate {aggregate_id} could not be found.", code="aggregate_not_found",
                           aggregate=aggregate_id)


def named(session: Session, name: str) -> Aggregate | None:
    """Return the aggregate of that name, or None."""
    return session.scalar(select(Aggregate).where(Aggregate.name == name))


def of_pool(session: Session, pool: str) -> Aggregate | None:
    """Return the aggregate that ``pool`` backs, or None."""
    return session.scalar(select(Aggregate).where(Aggregate.pool == pool))


def every(session: Session, availability_zone: str | None = None) -> list[Entry]:
    """Return all aggregates, or those of one zone, by id."""
    query = _ENTRIES
    if availability_zone is not None:
        query = query.where(Aggregate.__table__.c.availability_zone == availability_zone)
    return [Entry._make(row) for row in session.execute(query).all()]


def memberships(session: Session, aggregate_id: int) -> Sequence[Membership]:
    """Return the places in one aggregate, in the order in which the hosts were added."""
    return session.scalars(select(Membership).where(Membership.aggregate_id == aggregate_id)
                           .order_by(Membership.id)).all()


def places(session: Session, aggregate_id: int | None = None) -> list[Place]:
    """Return every place in every aggregate, or in one, in the order in which the hosts were added."""
    query = _PLACES
    if aggregate_id is not None:
        query = query.where(Membership.__table__.c.aggregate_id == aggregate_id)
    # All at once: fetched one by one they cost twice as much.
    return [Place._make(row) for row in session.execute(query).all()]


def memberships_of(session: Session, host: str) -> Sequence[Membership]:
    """Return the places of one host; at most one of them is in a pool-backed aggregate."""
    return session.scalars(select(Membership).where(Membership.host == host).order_by(Membership.id)).all()


def pool_backed_membership(session: Session, host: str) -> Membership | None:
    """Return the host's place in its pool-backed aggregate, or None."""
    return session.scalar(select(Membership).where(Membership.pool_backed_host == host))
