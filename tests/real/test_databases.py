"""What the conductor relies on holds on every database: schema, locks, reruns, and what can be stored."""

import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import JSON, update
from sqlalchemy.dialects import mysql

from common import errors
from conductor.db.engines import Patience
from conductor.db.models import Aggregate, Base, Host, Membership, Operation, Pool
from conductor.db.session import Database, Session

PATIENCE_S = 60.0
ROOT = Path(__file__).parents[2]


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A database with the newest schema, on each kind in turn."""
    one = Database(database_url)
    one.upgrade()
    yield one
    one.close()


def operation(number: int) -> Operation:
    return Operation(id=f"o{number:03}", kind="maintenance_start", state="running", options={}, user="", created_at=1.0,
                     updated_at=1.0)


def pool(uuid: str = "p", **columns: Any) -> Pool:
    return Pool(uuid=uuid, **columns)


def store(database: Database, *rows: Base) -> None:
    database.run(lambda session: session.add_all(rows))


def all_at_once(count: int, work: Callable[[int], object]) -> list[object]:
    """Run it in so many threads at the same moment; return what they return."""
    start = threading.Barrier(count, timeout=PATIENCE_S)

    def one(number: int) -> object:
        start.wait()
        return work(number)
    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(one, range(count)))


# the schema
def same_type(_context: Any, _seen: Any, _wanted: Any, seen: Any, wanted: Any) -> bool | None:
    """Say that a type differs; MariaDB keeps JSON as a long text with a check."""
    if isinstance(wanted, JSON) and isinstance(seen, mysql.LONGTEXT):
        return False
    return None


def test_a_schema_from_scratch_equals_the_models(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": same_type})
        assert compare_metadata(context, Base.metadata) == []
    assert database.version()[0] == database.version()[1]
    database.upgrade()
    assert database.version()[0] == database.version()[1]


def test_a_database_without_a_schema_says_what_to_run(database_url: str) -> None:
    database = Database(database_url)
    assert database.version()[0] is None
    with pytest.raises(errors.Unavailable, match=r"no such table|corral-manage db sync"):
        database.read(lambda session: session.get(Pool, "p"))
    database.close()


def test_four_processes_that_upgrade_at_once_make_one_schema(tmp_path: Path, postgresql_url: str,
                                                             mariadb_url: str) -> None:
    urls = [f"sqlite:///{tmp_path}/test.sqlite", postgresql_url, mariadb_url]
    words = [sys.executable, "-c", ("import sys; from conductor.db.session import Database; print(flush=True);"
                                    "sys.stdin.read(1); [Database(url).upgrade() for url in sys.argv[1:]]"), *urls]
    processes = [subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, text=True) for _ in range(4)]
    for process in processes:
        assert process.stdout is not None and process.stdout.readline()
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("x")
        process.stdin.flush()
    said = [process.communicate(timeout=PATIENCE_S)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0, 0], said
    for url in urls:
        database = Database(url)
        assert database.version()[0] == database.version()[1]
        database.close()


def test_four_threads_that_upgrade_at_once_make_one_schema(database_url: str) -> None:
    databases = [Database(database_url) for _ in range(4)]
    all_at_once(4, lambda number: databases[number].upgrade())
    assert databases[0].version()[0] == databases[0].version()[1]
    for database in databases:
        database.close()


# many at once
def test_of_many_that_claim_the_same_each_claim_is_won_once(database: Database) -> None:
    store(database, *(operation(number) for number in range(32)))

    def claim(number: int, who: str) -> bool:
        def work(session: Session) -> bool:
            row = session.get(Operation, f"o{number:03}")
            assert row is not None
            if row.user:
                return False
            row.user = who
            return True
        return database.run(work)

    won = all_at_once(8, lambda who: [n for n in range(32) if claim(n, f"t{who}")])
    claimed = Counter(n for each in won for n in each)  # type: ignore[attr-defined]
    assert claimed == Counter(range(32))
    rows = database.read(lambda session: [session.get_one(Operation, f"o{n:03}").generation for n in range(32)])
    assert rows == [2] * 32


def test_a_compare_and_set_that_changes_nothing_still_counts_its_row(database: Database) -> None:
    store(database, pool(plan_generation=7))
    same = update(Pool).where(Pool.uuid == "p", Pool.plan_generation == 7).values(plan_generation=7)
    assert database.run(lambda session: session.execute(same).rowcount) == 1  # type: ignore[attr-defined]


def test_a_deadlock_runs_the_whole_transaction_again(database: Database) -> None:
    store(database, pool("p0"), pool("p1"))
    both = threading.Barrier(2)
    runs: Counter[int] = Counter()

    def add(session: Session, uuid: str) -> None:
        session.execute(update(Pool).where(Pool.uuid == uuid).values(plan_generation=Pool.plan_generation + 1))

    def cross(number: int) -> None:
        def work(session: Session) -> None:
            runs[number] += 1
            add(session, f"p{number}")
            # On SQLite writers take turns, so that nobody else comes here.
            if runs[number] == 1 and database.engine.dialect.name != "sqlite":
                both.wait(PATIENCE_S)
            add(session, f"p{1 - number}")
        database.run(work)

    all_at_once(2, cross)
    assert database.read(lambda s: [s.get_one(Pool, uuid).plan_generation for uuid in ("p0", "p1")]) == [2, 2]
    assert sum(runs.values()) == (2 if database.engine.dialect.name == "sqlite" else 3)


def test_a_writer_that_waits_too_long_for_a_row_begins_anew(database: Database) -> None:
    if database.engine.dialect.name == "sqlite":
        database.close()
        return      # Its writers wait at BEGIN, for half a minute.
    store(database, pool())
    hasty = Database(database.url, Patience(lock_s=1.0))
    runs: list[int] = []
    waited = threading.Event()

    def hurried(session: Session) -> None:
        runs.append(1)
        if len(runs) == 2:
            waited.set()
        session.execute(update(Pool).values(master="m"))

    with ThreadPoolExecutor(1) as thread, Session(database.engine) as session, session.begin():
        session.execute(update(Pool).values(observer="o"))
        second = thread.submit(hasty.run, hurried)
        assert waited.wait(PATIENCE_S)
        session.commit()
        second.result(PATIENCE_S)
    assert database.read(lambda s: (s.get_one(Pool, "p").master, s.get_one(Pool, "p").observer)) == ("m", "o")
    hasty.close()


def test_who_reads_sees_one_moment_and_can_not_write(database: Database) -> None:
    store(database, pool("p0"), pool("p1"))

    def look(session: Session) -> tuple[int, int]:
        first = session.get_one(Pool, "p0").plan_generation
        database.run(lambda other: other.execute(update(Pool).values(plan_generation=5)))
        return first, session.get_one(Pool, "p1").plan_generation
    assert database.read(look) == (0, 0)
    assert database.read(lambda session: session.get_one(Pool, "p1").plan_generation) == 5
    if database.engine.dialect.name != "sqlite":
        for at_once in (False, True):
            with pytest.raises(errors.Unavailable, match=r"(?i)read.only"):
                database.read(lambda session: session.execute(update(Pool).values(plan_generation=6)), at_once)
    # The connection that only read is of use to writers again.
    store(database, pool("p2"))


# what somebody else did first
def test_a_name_that_is_taken_is_found_at_the_second_look_and_named(database: Database) -> None:
    def add(session: Session) -> None:
        session.add(Aggregate(uuid="u", name="a1", user_metadata={}, created_at=1.0))
    database.run(add)
    with pytest.raises(errors.ConcurrentUpdate) as caught:
        database.run(add)
    assert caught.value.details == {"columns": ["name"]}

    def both(session: Session) -> None:
        session.add_all(Membership(aggregate_id=1, host="h1", state="member") for _ in range(2))
    with pytest.raises(errors.ConcurrentUpdate) as caught:
        database.run(both)
    assert caught.value.details == {"columns": ["aggregate_id", "host"]}


def test_what_refers_to_a_row_that_has_gone_is_tried_again_and_not_stored(database: Database) -> None:
    orphan = Membership(aggregate_id=77, host="h1", state="member")
    with pytest.raises(Exception, match=r"(?i)writers|foreign key"):
        store(database, orphan)
    assert database.read(lambda session: session.query(Membership).count()) == 0


# what can be stored
def host(name: str) -> Host:
    return Host(name=name, uuid="u", address="10.0.0.1", enrolled_at=1.0, incarnation="i", last_sync_at=1.0,
                reason="größer als 🐎, „ja“", trouble={"name": "🐄", "list": [1, 2.5, None, "\\u0000"]})


def test_names_keep_every_character_and_differ_by_case(database: Database) -> None:
    store(database, host("h🐎1"))
    found = database.read(lambda session: session.query(Host).one())
    assert (found.name, found.reason) == ("h🐎1", "größer als 🐎, „ja“")
    assert found.trouble == {"name": "🐄", "list": [1, 2.5, None, "\\u0000"]}
    other = host("H🐎1")
    other.uuid = "u2"
    store(database, other)
    assert database.read(lambda session: session.query(Host).count()) == 2


@pytest.mark.parametrize("database_url", ["postgresql", "mariadb"], indirect=True)
def test_what_is_longer_than_its_column_is_refused_and_not_cut_off(database: Database) -> None:
    with pytest.raises(errors.Invalid, match="can't hold this"):
        store(database, host("x" * 256))


def report_of(mebibytes: int) -> dict[str, Any]:
    # Quotes and letters beyond ASCII, as names have them.
    return {"vms": [{"name": "größe \"1\"", "text": "x" * 1000} for _ in range(mebibytes * 1000)]}


def test_a_report_of_four_megabytes_comes_back_as_it_was(database: Database) -> None:
    report = report_of(4)
    store(database, pool(report=report))
    assert database.read(lambda session: session.get_one(Pool, "p").report) == report


def test_a_report_of_sixteen_megabytes_is_stored_or_refused_with_what_would_help(database: Database) -> None:
    report = report_of(16)
    if database.engine.dialect.name in ("mysql", "mariadb"):
        # The server's default: it would hang up, which looks as if it had gone away.
        with pytest.raises(errors.Invalid, match="max_allowed_packet") as caught:
            store(database, pool(report=report))
        assert caught.value.code == "too_large_for_database"
    else:
        store(database, pool(report=report))
    store(database, pool("p2"))
