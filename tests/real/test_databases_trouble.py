"""A database server that is away, dies, hangs, refuses or hangs up: said quickly, and over as soon as it is back.

These servers are broken, so they are this module's own.
"""

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
import trustme
from sqlalchemy import text, update

from common import errors
from conductor.db.engines import Patience
from conductor.db.models import Pool
from conductor.db.session import Database, Session
from tools.servers import guard, mariadb, postgresql
from tools.servers.guarded import free_port

Server = postgresql.Server | mariadb.Server

PATIENCE_S = 60.0
HASTY = Patience(connect_s=1, pool_s=0.5, statement_s=1.0, lock_s=1.0, spare_s=1.0)


@pytest.fixture(scope="module", params=[postgresql.Server, mariadb.Server], ids=["postgresql", "mariadb"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that tests may break, as long as they mend it; it also speaks TLS."""
    folder = tmp_path_factory.mktemp("certificates")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "authority.pem"))
    certificate = authority.issue_cert("127.0.0.1")
    with _with_tls(request.param, certificate)() as own:
        own.authority = folder / "authority.pem"
        yield own


def _with_tls(kind: type[Server], certificate: trustme.LeafCert) -> type[Server]:
    class Secured(kind):  # type: ignore[misc, valid-type]
        def prepare(self) -> None:
            super().prepare()
            certificate.private_key_pem.write_to_path(str(self.folder / "key.pem"))
            certificate.cert_chain_pems[0].write_to_path(str(self.folder / "certificate.pem"))
            (self.folder / "key.pem").chmod(0o600)

        def command(self) -> list[str]:
            key, chain = self.folder / "key.pem", self.folder / "certificate.pem"
            if issubclass(kind, postgresql.Server):
                return [*super().command(), "-c", "ssl=on", "-c", f"ssl_key_file={key}", "-c", f"ssl_cert_file={chain}"]
            return [*super().command(), f"--ssl-key={key}", f"--ssl-cert={chain}"]
    return Secured


@pytest.fixture
def url(server: Server) -> str:
    """The URL of an empty database with the newest schema and one pool in it."""
    server.start()
    url = server.database("trouble")
    database = Database(url)
    database.upgrade()
    database.run(lambda session: session.add(Pool(uuid="p")))
    database.close()
    return url


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    """That database."""
    one = Database(url)
    yield one
    one.close()


@pytest.fixture
def hasty(url: str) -> Iterator[Database]:
    """The same, waiting for seconds only."""
    one = Database(url, HASTY)
    yield one
    one.close()


def is_postgresql(database: Database) -> bool:
    return database.engine.dialect.name == "postgresql"


def raise_one(session: Session) -> None:
    session.execute(update(Pool).values(plan_generation=Pool.plan_generation + 1))


def raised(database: Database) -> int:
    return database.read(lambda session: session.get_one(Pool, "p").plan_generation)


def unavailable_soon(work: Callable[[], object], within_s: float = 15.0) -> str:
    """Check that it says so, and quickly, also where other tests keep the machine busy; return the message."""
    began = time.monotonic()
    with pytest.raises(errors.Unavailable) as caught:
        work()
    assert caught.value.code == "database_unavailable" and time.monotonic() - began < within_s
    return caught.value.message


def test_a_server_that_comes_later_is_used_when_it_has_come(server: Server, url: str) -> None:
    server.stop()
    database = Database(url)
    for work in (lambda: database.run(raise_one), lambda: raised(database), database.version, database.upgrade):
        assert "refused" in unavailable_soon(work)
    server.start()
    database.upgrade()
    database.run(raise_one)
    assert raised(database) == 1
    database.close()


@pytest.mark.parametrize("kind", ["postgresql+psycopg", "mysql+pymysql"])
def test_a_server_that_takes_connections_and_says_nothing_is_given_up(kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        database = Database(f"{kind}://corral@127.0.0.1:{mute.getsockname()[1]}/x", Patience(connect_s=2))
        unavailable_soon(database.version, within_s=25.0)
        database.close()


def test_an_unknown_database_user_and_port_are_said_with_the_servers_words(url: str) -> None:
    parts = urlsplit(url)
    other = {"no_such_database": parts._replace(path="/no_such_database"),
             "nobody": parts._replace(netloc=parts.netloc.replace("corral@", "nobody@")),
             "refused": parts._replace(netloc=f"corral@127.0.0.1:{free_port()}")}
    for word, wrong in other.items():
        assert word in unavailable_soon(Database(urlunsplit(wrong)).version)


def test_after_a_kill_everything_committed_is_there_and_work_goes_on_without_a_restart(server: Server,
                                                                                      database: Database) -> None:
    done = 0
    for _ in range(3):
        database.run(raise_one)
        done += 1
        server.kill()
        unavailable_soon(lambda: database.run(raise_one))
        unavailable_soon(lambda: raised(database))
        server.start()
        # The connections of the pool are of the old server's; nobody notices.
        assert raised(database) == done
    database.run(raise_one)
    assert raised(database) == done + 1


def test_a_commit_whose_connection_broke_is_not_repeated_by_itself(server: Server, database: Database) -> None:
    runs: list[int] = []

    def work(session: Session) -> None:
        runs.append(1)
        raise_one(session)
        server.kill()
    unavailable_soon(lambda: database.run(work))
    server.start()
    assert runs == [1] and raised(database) == 0


def test_a_connection_that_the_server_ends_in_mid_transaction_is_unavailable_once(server: Server,
                                                                                 database: Database) -> None:
    def work(session: Session) -> None:
        own = session.scalar(text("SELECT pg_backend_pid()" if is_postgresql(database) else "SELECT connection_id()"))
        raise_one(session)
        with server.connect() as admin:
            admin.cursor().execute(f"SELECT pg_terminate_backend({own}, 5000)" if is_postgresql(database)
                                   else f"KILL {own}")
        raise_one(session)
    unavailable_soon(lambda: database.run(work))
    database.run(raise_one)
    assert raised(database) == 1


def test_a_server_that_hangs_is_given_up_and_used_again_when_it_goes_on(server: Server, hasty: Database) -> None:
    hasty.run(raise_one)
    processes = guard.descendants(server.pid)
    try:
        for pid in processes:
            os.kill(pid, signal.SIGSTOP)
        unavailable_soon(lambda: hasty.run(raise_one), within_s=25.0)
        unavailable_soon(lambda: raised(hasty), within_s=25.0)
    finally:
        for pid in processes:
            os.kill(pid, signal.SIGCONT)
    # What was under way when the server was given up was never committed.
    end = time.monotonic() + PATIENCE_S
    while not works(lambda: hasty.run(raise_one)):
        assert time.monotonic() < end
    assert raised(hasty) == 2


def works(work: Callable[[], object]) -> bool:
    try:
        work()
    except errors.Unavailable:
        return False
    return True


def test_a_statement_that_takes_too_long_is_ended_by_the_server(url: str) -> None:
    hasty = Database(url, Patience(connect_s=1, statement_s=4.0))

    def take(seconds: int) -> None:
        slow = f"SELECT pg_sleep({seconds})" if is_postgresql(hasty) else f"SELECT sleep({seconds})"
        hasty.run(lambda session: session.execute(text(slow)))
    take(2)
    unavailable_soon(lambda: take(30), within_s=25.0)
    hasty.run(raise_one)
    assert raised(hasty) == 1
    hasty.close()


def test_when_all_connections_are_taken_the_next_one_is_told_so(hasty: Database) -> None:
    taken = [hasty.engine.connect() for _ in range(16)]
    assert "became free" in unavailable_soon(lambda: hasty.run(raise_one))
    assert raised(hasty) == 0, "who reads does not wait for who writes"
    for connection in taken:
        connection.close()
    hasty.run(raise_one)
    assert raised(hasty) == 1


def test_a_database_that_is_read_only_can_be_read_and_says_so_to_writers(server: Server, database: Database) -> None:
    if is_postgresql(database):
        with server.connect() as admin:
            admin.cursor().execute("ALTER DATABASE trouble SET default_transaction_read_only = on")
        other = Database(database.url)
    else:
        # Who may do everything may also write to a server that is read-only.
        with server.connect() as admin:
            for statement in ("CREATE OR REPLACE USER plain@127.0.0.1", "GRANT ALL ON trouble.* TO plain@127.0.0.1",
                              "SET GLOBAL read_only = 1"):
                admin.cursor().execute(statement)
        other = Database(database.url.replace("corral@", "plain@"))
    assert raised(other) == 0
    assert "read-only" in unavailable_soon(lambda: other.run(raise_one))
    with server.connect() as admin:
        admin.cursor().execute("ALTER DATABASE trouble SET default_transaction_read_only = off"
                               if is_postgresql(database) else "SET GLOBAL read_only = 0")
    other.engine.dispose()
    other.run(raise_one)
    assert raised(other) == 1
    other.close()


def test_what_the_url_says_about_tls_is_what_is_done(server: Server, url: str, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    postgres = urlsplit(url).scheme.startswith("postgresql")
    form = "?sslmode=verify-full&sslrootcert={}" if postgres else "?ssl_ca={}&ssl_check_hostname=true"
    right, wrong = (Database(url + form.format(file)) for file in (server.authority, other))  # type: ignore[union-attr]
    seen = right.read(lambda session: session.execute(text(
        "SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()" if postgres
        else "SHOW STATUS LIKE 'Ssl_version'")).one())
    assert seen[-1].startswith("TLSv1")
    assert "certificate verify failed" in unavailable_soon(lambda: raised(wrong))
    right.close()
    wrong.close()
