"""Rows of hosts, their agents' incarnations, and pools."""

from collections.abc import Sequence
from typing import Any, cast

from sqlalchemy import ColumnElement, CursorResult, func, or_, select, update
from sqlalchemy.orm import Session

from common import errors
from conductor.db.models import Host, Incarnation, Pool

#: of so many of the latest numbers of an agent it is known which were taken in; older ones count as taken in
WINDOW = 60
_WINDOW = (1 << WINDOW) - 1


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


def addresses(session: Session, names: Sequence[str], pool: str | None, address: str | None) -> dict[str, str]:
    """Return the address, by uuid, of the hosts of these names, of those in ``pool``, and of the one at ``address``."""
    near: list[ColumnElement[bool]] = [Host.name.in_(names)]
    near += [column == value for column, value in ((Host.pool, pool), (Host.address, address)) if value is not None]
    return dict(session.execute(select(Host.uuid, Host.address).where(or_(*near))).tuples().all())


def in_pool(session: Session, pool: str) -> Sequence[Host]:
    """Return the hosts whose agent says that they are in ``pool``, by name."""
    return session.scalars(select(Host).where(Host.pool == pool).order_by(Host.name)).all()


def host_of_incarnation(session: Session, incarnation: str) -> str | None:
    """Return the host whose agent was ever seen under that name of a process, None when nobody's was."""
    found = session.get(Incarnation, incarnation)
    return found.host if found is not None else None


def newest_incarnation(session: Session, host: str) -> str | None:
    """Return the latest name of a process that an agent of ``host`` was ever seen under, None when none was."""
    return session.scalar(select(func.max(Incarnation.id)).where(Incarnation.host == host))


def take_in(session: Session, host: Host, incarnation: str, number: int, *, in_order: bool = False) -> None:
    """Note that message ``number`` of the host's agent was taken in, in the transaction of all that it brings about.

    A process that is not the host's present one becomes it, and begins its numbers anew.
    ``host`` is read again and stays as it is until the transaction's end.  Raises WrongState
    ``replayed`` when the number was taken in before, lies below the window, or with
    ``in_order`` is not the highest; ConcurrentUpdate when another conductor was faster.
    """
    before, heard = (host.sequence, host.heard) if incarnation == host.incarnation else (0, 0)
    ahead = number - before
    if ahead > 0:
        heard = heard << ahead & _WINDOW | 1 if ahead < WINDOW else 1
    elif in_order or -ahead >= WINDOW or heard >> -ahead & 1:
        raise errors.WrongState(f"Message {number} of the agent of host {host.name} was taken in before, or came too "
                                "late; say it again under a new number", code="replayed")
    else:
        heard |= 1 << -ahead
    taken = session.execute(
        update(Host).where(Host.id == host.id, Host.incarnation == host.incarnation, Host.sequence == host.sequence,
                           Host.heard == host.heard)
        .values(incarnation=incarnation, sequence=max(before, number), heard=heard),
        execution_options={"synchronize_session": False})
    if not cast("CursorResult[Any]", taken).rowcount:
        raise errors.ConcurrentUpdate(f"Another message of host {host.name} was faster")
    session.refresh(host)


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
