"""The tables.  Nothing here knows what the rows are for; see ``operations/`` for that.

Times are UTC seconds since the epoch.  Unique constraints are named
``uniq_<table>0<column>``: only so does oslo.db name the column in a duplicate on every
database.  Nullable unique columns (``active_*``) are the locks: NULL at the end.
"""

from typing import Any, ClassVar

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Double,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    UniqueConstraint,
    false,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """The declarative base: JSON columns for dicts and lists."""

    type_annotation_map: ClassVar = {dict[str, Any]: JSON(none_as_null=True), list[Any]: JSON(none_as_null=True),
                                     float: Double(), str: String(255)}
    __table_args__: Any = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4",  # noqa: RUF012
                           "mysql_collate": "utf8mb4_bin"}


def _unique(table: str, column: str) -> UniqueConstraint:
    return UniqueConstraint(column, name=f"uniq_{table}0{column}")


class Aggregate(Base):
    """A named set of hosts, backed by a resource pool unless its metadata says otherwise."""

    __tablename__ = "aggregates"
    __table_args__ = (_unique("aggregates", "name"), _unique("aggregates", "pool"), Base.__table_args__)
    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    uuid: Mapped[str] = mapped_column(String(36))
    name: Mapped[str]
    availability_zone: Mapped[str | None]
    #: uuid of the pool behind it, from the first host's acceptance to the last one's leaving
    pool: Mapped[str | None] = mapped_column(String(36))
    #: as set by users, without the keys that are computed
    user_metadata: Mapped[dict[str, Any]] = mapped_column("metadata")
    created_at: Mapped[float]
    updated_at: Mapped[float | None]


class Host(Base):
    """A XenServer host, known since its agent's first sync."""

    __tablename__ = "hosts"
    __table_args__ = (_unique("hosts", "name"), _unique("hosts", "uuid"), Base.__table_args__)
    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    name: Mapped[str]
    uuid: Mapped[str] = mapped_column(String(36))
    address: Mapped[str]
    url: Mapped[str] = mapped_column(String(255), default="")
    enrolled_at: Mapped[float]
    #: serving | disabled | maintenance: what Corral wants it to be
    wanted: Mapped[str] = mapped_column(String(16), default="serving")
    reason: Mapped[str | None]
    #: the operation because of which it does not serve
    owner: Mapped[str | None] = mapped_column(String(36))
    quarantined: Mapped[bool] = mapped_column(Boolean, default=False)
    epoch: Mapped[int] = mapped_column(Integer, default=0)
    # What its agent last said.
    role: Mapped[str] = mapped_column(String(16), default="unreachable")
    pool: Mapped[str | None] = mapped_column(String(36))
    incarnation: Mapped[str] = mapped_column(String(36))
    sequence: Mapped[int] = mapped_column(Integer, default=0)
    #: bit n: the message with number ``sequence - n`` of this incarnation was taken in; none is taken in twice
    heard: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    #: major.minor that the agent speaks
    agent_version: Mapped[str | None] = mapped_column(String(16))
    last_sync_at: Mapped[float]
    trouble: Mapped[dict[str, Any] | None]
    # What was last observed on the hypervisor.
    enabled: Mapped[bool | None]
    live: Mapped[bool | None]
    observed_at: Mapped[float | None]
    #: the toolstack's agent_start_time, and what it was when the host was last seen disabled
    started_at: Mapped[str | None]
    disabled_at_start: Mapped[str | None]
    #: an operator says that it is down, whatever its agent says: it is no destination
    forced_down: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())


class Service(Base):
    """A conductor that was ever seen; ``seen_at`` is its heartbeat."""

    __tablename__ = "services"
    __table_args__ = (_unique("services", "name"), Base.__table_args__)
    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    name: Mapped[str]
    #: major.minor of what it serves to the API and other services
    version: Mapped[str] = mapped_column(String(16))
    started_at: Mapped[float]
    seen_at: Mapped[float]


class Incarnation(Base):
    """Every agent process that was ever seen for a host; the newest one counts."""

    __tablename__ = "incarnations"
    __table_args__ = Base.__table_args__
    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    host: Mapped[str]
    seen_at: Mapped[float]


class Membership(Base):
    """A host's place in an aggregate, from acceptance to the observed end."""

    __tablename__ = "memberships"
    __table_args__ = (UniqueConstraint("aggregate_id", "host", name="uniq_memberships0aggregate_id0host"),
                      _unique("memberships", "pool_backed_host"), Base.__table_args__)
    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    aggregate_id: Mapped[int] = mapped_column(ForeignKey("aggregates.id"))
    host: Mapped[str]
    #: the host's name in a pool-backed aggregate, else NULL: at most one of those
    pool_backed_host: Mapped[str | None]
    #: joining | member | leaving
    state: Mapped[str] = mapped_column(String(16))
    #: it was already in the pool when it was added, so it is never ejected
    adopted: Mapped[bool] = mapped_column(Boolean, default=False)


class Pool(Base):
    """A resource pool as its observer last reported it."""

    __tablename__ = "pools"
    __table_args__ = Base.__table_args__
    uuid: Mapped[str] = mapped_column(String(36), primary_key=True)
    master: Mapped[str | None] = mapped_column(String(36))
    observer: Mapped[str | None]
    #: raised by every accepted plan: two plans can't spend the same memory
    plan_generation: Mapped[int] = mapped_column(Integer, default=0)
    #: the whole report, read from the database only where it is looked at: it may be megabytes
    report: Mapped[dict[str, Any] | None] = mapped_column(deferred=True)
    #: the hosts of ``report``: name by uuid
    hosts: Mapped[dict[str, Any] | None]
    #: the observer's name for this state of the pool, so that it need not send it again while nothing changes
    report_digest: Mapped[str | None] = mapped_column(String(64))
    #: when the reading of ``report`` began, by the conductor's clock
    report_at: Mapped[float | None]
    frozen: Mapped[str | None]


class Operation(Base):
    """One accepted request, from its acceptance to its observed end."""

    __tablename__ = "operations"
    __table_args__ = (_unique("operations", "active_host"), _unique("operations", "active_aggregate"),
                      _unique("operations", "active_pool"), Index("ix_operations_wake_at", "wake_at"),
                      Index("ix_operations_host", "host"), Base.__table_args__)
    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    kind: Mapped[str] = mapped_column(String(32))
    state: Mapped[str] = mapped_column(String(16))
    host: Mapped[str | None]
    aggregate_id: Mapped[int | None]
    pool: Mapped[str | None] = mapped_column(String(36))
    active_host: Mapped[str | None]
    active_aggregate: Mapped[int | None]
    active_pool: Mapped[str | None] = mapped_column(String(36))
    epoch: Mapped[int] = mapped_column(Integer, default=0)
    options: Mapped[dict[str, Any]]
    plan_id: Mapped[str | None] = mapped_column(String(36))
    attention: Mapped[dict[str, Any] | None]
    error: Mapped[dict[str, Any] | None]
    result: Mapped[dict[str, Any] | None]
    user: Mapped[str]
    reason: Mapped[str | None]
    created_at: Mapped[float]
    updated_at: Mapped[float]
    ended_at: Mapped[float | None]
    #: when a sweeper should look at it next; NULL at the end
    wake_at: Mapped[float | None]
    last_event: Mapped[int] = mapped_column(Integer, default=0)
    generation: Mapped[int] = mapped_column(Integer, default=0)
    # Every UPDATE says "where generation = what I read": the guard of all state changes.
    __mapper_args__ = {"version_id_col": generation}  # noqa: RUF012


class Task(Base):
    """One order to one executor, with its present attempt."""

    __tablename__ = "tasks"
    __table_args__ = (Index("ix_tasks_operation_id", "operation_id"),
                      Index("ix_tasks_executor_state", "executor", "state"),
                      Index("ix_tasks_pool_state", "pool", "state"), Base.__table_args__)
    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    operation_id: Mapped[str] = mapped_column(ForeignKey("operations.id"))
    kind: Mapped[str] = mapped_column(String(32))
    position: Mapped[int] = mapped_column(Integer)
    state: Mapped[str] = mapped_column(String(16))
    attempt: Mapped[int] = mapped_column(Integer, default=1)
    host: Mapped[str]
    host_uuid: Mapped[str] = mapped_column(String(36))
    executor: Mapped[str]
    pool: Mapped[str | None] = mapped_column(String(36))
    args: Mapped[dict[str, Any]]
    #: for moves: what the plan promised and people want to see (names, memory, planned times)
    shown: Mapped[dict[str, Any] | None]
    limit_s: Mapped[float]
    progress: Mapped[float] = mapped_column(Double(), default=0.0)
    readings: Mapped[dict[str, Any] | None]
    error: Mapped[dict[str, Any] | None]
    sends: Mapped[int] = mapped_column(Integer, default=0)
    #: not before this moment: a pause before another attempt, or the end of a floating move's time
    not_before: Mapped[float | None]
    sent_at: Mapped[float | None]
    incarnation: Mapped[str | None] = mapped_column(String(36))
    claimed_at: Mapped[float | None]
    heard_at: Mapped[float | None]
    ended_at: Mapped[float | None]
    generation: Mapped[int] = mapped_column(Integer, default=0)
    __mapper_args__ = {"version_id_col": generation}  # noqa: RUF012


class Move(Base):
    """The number of a move of a VM, by which Nova's clients call it: theirs are integers."""

    __tablename__ = "moves"
    __table_args__ = (_unique("moves", "task_id"), Base.__table_args__)
    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    task_id: Mapped[str] = mapped_column(ForeignKey("tasks.id"))


class ClaimRecord(Base):
    """Who claimed which attempt under which XenAPI session; sessions can't be listed later."""

    __tablename__ = "claims"
    __table_args__ = (Index("ix_claims_task_id", "task_id"), Base.__table_args__)
    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    task_id: Mapped[str] = mapped_column(ForeignKey("tasks.id"))
    attempt: Mapped[int] = mapped_column(Integer)
    incarnation: Mapped[str] = mapped_column(String(36))
    session: Mapped[str | None]
    claimed_at: Mapped[float]
    fenced: Mapped[bool] = mapped_column(Boolean, default=False)


class Event(Base):
    """What happened to an operation, in order; never changed."""

    __tablename__ = "events"
    __table_args__ = (UniqueConstraint("operation_id", "n", name="uniq_events0operation_id0n"), Base.__table_args__)
    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    operation_id: Mapped[str] = mapped_column(ForeignKey("operations.id"))
    n: Mapped[int] = mapped_column(Integer)
    at: Mapped[float]
    task_id: Mapped[str | None] = mapped_column(String(36))
    task_kind: Mapped[str | None] = mapped_column(String(32))
    state: Mapped[str] = mapped_column(String(16))
    event: Mapped[str] = mapped_column(String(32))
    next: Mapped[str] = mapped_column(String(16))
    why: Mapped[str] = mapped_column(Text)
    detail: Mapped[dict[str, Any]]
    #: name of the conductor that wrote it
    conductor: Mapped[str | None]


class Notice(Base):
    """What other services are still to be told; removed once the message broker has it."""

    __tablename__ = "notices"
    __table_args__ = (Index("ix_notices_taken_until", "taken_until"), Base.__table_args__)
    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    uuid: Mapped[str] = mapped_column(String(36))
    at: Mapped[float]
    event_type: Mapped[str] = mapped_column(String(64))
    payload: Mapped[dict[str, Any]]
    #: the conductor that is at telling it, and until when nobody else begins to
    taken_by: Mapped[str | None]
    taken_until: Mapped[float] = mapped_column(Double(), default=0.0)


class Plan(Base):
    """A plan that was shown, and the operation that runs it, if any."""

    __tablename__ = "plans"
    __table_args__ = Base.__table_args__
    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    host: Mapped[str]
    wanted: Mapped[str] = mapped_column(String(16))
    body: Mapped[dict[str, Any]] = mapped_column(deferred=True)
    created_at: Mapped[float]
    operation_id: Mapped[str | None] = mapped_column(String(36))


class Request(Base):
    """The answer given to an idempotency key, stored with what it did.

    The key is a digest of who asked and of the key that he chose.
    """

    __tablename__ = "requests"
    __table_args__ = Base.__table_args__
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    digest: Mapped[str] = mapped_column(String(64))
    answer: Mapped[dict[str, Any]]
    created_at: Mapped[float]
