"""Rows of what other services are still to be told."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import CursorResult, delete, or_, select, update
from sqlalchemy.orm import Session

from conductor.db.models import Notice

_UNTOUCHED = {"synchronize_session": False}


def add(session: Session, uuid: str, at: float, event_type: str, payload: dict[str, Any]) -> None:
    """Store what is to be told; it is there if and only if what it is about is."""
    session.add(Notice(uuid=uuid, at=at, event_type=event_type, payload=payload, taken_until=0.0))


def take(session: Session, conductor: str, now: float, until: float, limit: int) -> Sequence[Notice]:
    """Return the oldest notices, in order, that nobody else is at telling; nobody else gets them before ``until``."""
    free = or_(Notice.taken_until <= now, Notice.taken_by == conductor)
    wanted = session.scalars(select(Notice.id).where(free).order_by(Notice.id).limit(limit)).all()
    if not wanted:
        return []
    session.execute(update(Notice).where(Notice.id.in_(wanted), free)
                    .values(taken_by=conductor, taken_until=until), execution_options=_UNTOUCHED)
    return session.scalars(select(Notice).where(Notice.id.in_(wanted), Notice.taken_by == conductor)
                           .order_by(Notice.id)).all()


def told(session: Session, ids: Sequence[int]) -> None:
    """Remove the notices that were told."""
    session.execute(delete(Notice).where(Notice.id.in_(list(ids))), execution_options=_UNTOUCHED)


def drop_older(session: Session, at: float) -> int:
    """Remove the notices from before ``at``, told or not; return how many."""
    done = session.execute(delete(Notice).where(Notice.at < at), execution_options=_UNTOUCHED)
    return done.rowcount if isinstance(done, CursorResult) else 0
