"""A MariaDB for tests: empty databases by name.  It knows no table."""

from typing import Any, Self
from urllib.parse import unquote, urlsplit, urlunsplit

import pymysql

from tools.servers import install
from tools.servers.guarded import Guarded, free_port

#: seconds to connect to a server on this machine
_CONNECT_S = 10


class Access:
    """A server that somebody runs, with a user who may make databases."""

    def __init__(self, url: str) -> None:
        """Take ``mysql+pymysql://user:password@host:port/``."""
        self.url = url

    def database(self, name: str) -> str:
        """Make an empty database, in place of one of that name, and return its URL."""
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS {_quoted(name)}")
            # The server's own defaults stay: that the schema says what it needs is to be seen.
            cursor.execute(f"CREATE DATABASE {_quoted(name)}")
        return urlunsplit(urlsplit(self.url)._replace(path=f"/{name}"))

    def drop(self, name: str) -> None:
        """Remove a database if it is there."""
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS {_quoted(name)}")

    def connect(self) -> "pymysql.Connection[Any]":
        """Return a connection that commits each statement.  Raises pymysql.Error."""
        parts = urlsplit(self.url)
        return pymysql.connect(host=parts.hostname, port=parts.port or 3306, user=unquote(parts.username or ""),
                               password=unquote(parts.password or ""), autocommit=True, connect_timeout=_CONNECT_S)


class Server(Guarded, Access):
    """A server of our own."""

    title = "MariaDB"
    runs_as = "mysql"

    def start(self) -> Self:
        """Run it until ``close``; after a stop or kill, with the same data and port.  Raises Broken, Missing."""
        self._programs = install.programs("mariadb")
        return super().start()

    def choose_ports(self) -> None:
        """Choose a new port."""
        self.port = free_port()
        Access.__init__(self, f"mysql+pymysql://corral@127.0.0.1:{self.port}/")

    def prepare(self) -> None:
        """Make the system tables; whoever is on this machine may connect."""
        (self.folder / "users.sql").write_text(
            "CREATE USER IF NOT EXISTS corral@127.0.0.1;\nGRANT ALL ON *.* TO corral@127.0.0.1 WITH GRANT OPTION;\n",
            encoding="ascii")
        self.run_once([str(self._programs["mariadb-install-db"]), "--no-defaults", f"--datadir={self.folder}/data",
                       "--auth-root-authentication-method=normal", "--skip-test-db", "--skip-log-bin"])

    def command(self) -> list[str]:
        """Return the command that runs it; what was committed survives a kill, though not the machine's crash."""
        settings = {"datadir": self.folder / "data", "port": self.port, "bind-address": "127.0.0.1",
                    "socket": self.folder / "socket", "pid-file": self.folder / "pid",
                    "init-file": self.folder / "users.sql", "max-connections": 400,
                    "innodb-flush-log-at-trx-commit": 2, "innodb-buffer-pool-size": "64M"}
        return [str(self._programs["mariadbd"]), "--no-defaults", "--skip-log-bin", "--skip-name-resolve",
                *(f"--{name}={value}" for name, value in settings.items())]

    def answers(self) -> bool:
        """Return whether it takes connections."""
        try:
            self.connect().close()
        except pymysql.OperationalError:
            return False
        return True


def _quoted(name: str) -> str:
    return "`{}`".format(name.replace("`", "``"))
