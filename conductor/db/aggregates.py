"""Rows of aggregates and of the hosts' places in them."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import select
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


def get(session: Session, aggregate_id: int) -> Aggregate:
    """Return the aggregate.  Raises NotFound."""
    aggregate = session.get(Aggregate, aggregate_id) if 0 < aggregate_id < 2**31 else None
    if aggregate is None:
        raise errors.NotFound(f"There is no aggregate {aggregate_id}", code="aggregate_not_found",
                              aggregate=aggregate_id)
    return aggregate


def named(session: Session, name: str) -> Aggregate | None:
    """Return the aggregate of that name, or None."""
    return session.scalar(select(Aggregate).where(Aggregate.name == name))


def of_pool(session: Session, pool: str) -> Aggregate | None:
    """Return the aggregate that ``pool`` backs, or None."""
    return session.scalar(select(Aggregate).where(Aggregate.pool == pool))


def every(session: Session, availability_zone: str | None = None) -> Sequence[Aggregate]:
    """Return all aggregates, or those of one zone, by id."""
    query = select(Aggregate).order_by(Aggregate.id)
    if availability_zone is not None:
        query = query.where(Aggregate.availability_zone == availability_zone)
    return session.scalars(query).all()


def memberships(session: Session, aggregate_id: int) -> Sequence[Membership]:
    """Return the places in one aggregate, in the order in which the hosts were added."""
    return session.scalars(select(Membership).where(Membership.aggregate_id == aggregate_id)
                           .order_by(Membership.id)).all()


def places(session: Session, aggregate_id: int | None = None) -> list[Place]:
    """Return every place in every aggregate, or in one, in the order in which the hosts were added."""
    query = select(Membership.aggregate_id, Membership.host, Membership.pool_backed_host, Membership.state,
                   Membership.adopted).order_by(Membership.id)
    if aggregate_id is not None:
        query = query.where(Membership.aggregate_id == aggregate_id)
    return [Place._make(row) for row in session.execute(query)]


def memberships_of(session: Session, host: str) -> Sequence[Membership]:
    """Return the places of one host; at most one of them is in a pool-backed aggregate."""
    return session.scalars(select(Membership).where(Membership.host == host).order_by(Membership.id)).all()


def pool_backed_membership(session: Session, host: str) -> Membership | None:
    """Return the host's place in its pool-backed aggregate, or None."""
    return session.scalar(select(Membership).where(Membership.pool_backed_host == host))
