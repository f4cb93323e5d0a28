"""A PostgreSQL for tests: empty databases by name.  It knows no table."""

import signal
from typing import Self
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from tools.servers import install
from tools.servers.guarded import Guarded, free_port

#: seconds to connect to a server on this machine
_CONNECT_S = 10


class Access:
    """A server that somebody runs, with a user who may make databases."""

    def __init__(self, url: str) -> None:
        """Take ``postgresql+psycopg://user:password@host:port/database``; the database is one to connect to."""
        self.url = url

    def database(self, name: str) -> str:
        """Make an empty database, in place of one of that name, and return its URL."""
        self.drop(name)
        with self.connect() as connection:
            # The names of hosts and VMs sort as their bytes do, on every database.
            connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' "
                                       "LC_CTYPE 'C'").format(sql.Identifier(name)))
        return urlunsplit(urlsplit(self.url)._replace(path=f"/{name}"))

    def drop(self, name: str) -> None:
        """Remove a database if it is there; its clients are cut off."""
        with self.connect() as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def connect(self) -> psycopg.Connection[tuple[object, ...]]:
        """Return a connection that commits each statement.  Raises psycopg.Error."""
        return psycopg.connect(self.url.replace("+psycopg", "", 1), autocommit=True, connect_timeout=_CONNECT_S)


class Server(Guarded, Access):
    """A server of our own."""

    title = "PostgreSQL"
    # It refuses to run as root.
    runs_as = "postgres"
    end_signal = signal.SIGINT
    # At once, but it takes its shared memory away, which outlives processes.
    farewell_signal = signal.SIGQUIT

    def start(self) -> Self:
        """Run it until ``close``; after a stop or kill, with the same data and port.  Raises Broken, Missing."""
        self._programs = install.programs("postgresql")
        return super().start()

    def choose_ports(self) -> None:
        """Choose a new port."""
        self.port = free_port()
        Access.__init__(self, f"postgresql+psycopg://corral@127.0.0.1:{self.port}/postgres")

    def prepare(self) -> None:
        """Make the cluster; whoever is on this machine may connect."""
        self.run_once([str(self._programs["initdb"]), "--pgdata=data", "--username=corral", "--auth=trust",
                       "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"])

    def command(self) -> list[str]:
        """Return the command that runs it; what was committed survives a kill, though not the machine's crash."""
        settings = {"port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": self.folder,
                    "fsync": "off", "dynamic_shared_memory_type": "mmap", "max_connections": 400,
                    "shared_buffers": "64MB"}
        return [str(self._programs["postgres"]), "-D", str(self.folder / "data"),
                *(word for name, value in settings.items() for word in ("-c", f"{name}={value}"))]

    def answers(self) -> bool:
        """Return whether it takes connections."""
        try:
            self.connect().close()
        except psycopg.OperationalError:
            return False
        return True
