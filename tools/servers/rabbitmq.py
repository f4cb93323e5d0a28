"""A RabbitMQ for tests: vhosts, users and queue depths through its management API.

It knows AMQP's port, and nothing of what is sent through it.
"""

import os
import secrets
from collections import Counter
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, urlsplit

import requests

from tools.servers import install
from tools.servers.guarded import Guarded, free_port

#: seconds for one request to the management API
_TIMEOUT_S = 30.0
_ALL = ".*"


class Access:
    """A broker that somebody runs, with a user who may do everything."""

    def __init__(self, url: str, management_url: str) -> None:
        """Take ``rabbit://user:password@host:port`` and ``http://user:password@host:port``."""
        self._url, self.management_url = urlsplit(url), management_url
        self._http = requests.Session()

    def url(self, vhost: str = "/", user: str | None = None, password: str | None = None) -> str:
        """Return oslo.messaging's URL of a vhost, for the user who may do everything unless another is named."""
        name, word = user or self._url.username or "", password or (self._url.password if user is None else user) or ""
        return (f"rabbit://{quote(name, safe='')}:{quote(word, safe='')}@{self._url.hostname}:{self._url.port}/"
                f"{quote(vhost, safe='/' if vhost == '/' else '')}")

    def vhost(self, name: str) -> str:
        """Make a vhost if it is not there, and return its URL."""
        self.ask("PUT", f"vhosts/{_part(name)}")
        rights = {"configure": _ALL, "write": _ALL, "read": _ALL}
        self.ask("PUT", f"permissions/{_part(name)}/{_part(self._url.username or '')}", rights)
        return self.url(name)

    def drop_vhost(self, name: str) -> None:
        """Remove a vhost with all that is in it; its clients are cut off."""
        self.ask("DELETE", f"vhosts/{_part(name)}")

    def user(self, name: str, password: str, vhost: str = "/", configure: str = "", write: str = "", read: str = "",
             topics: dict[str, tuple[str, str]] | None = None) -> str:
        """Make or change a user with these rights (regular expressions) in a vhost; return its URL there.

        ``topics``: by topic exchange, the routing keys to which it may write and from which it may read.
        """
        self.ask("PUT", f"users/{_part(name)}", {"password": password, "tags": ""})
        at = f"{_part(vhost)}/{_part(name)}"
        self.ask("PUT", f"permissions/{at}", {"configure": configure, "write": write, "read": read})
        for exchange, (writes, reads) in (topics or {}).items():
            self.ask("PUT", f"topic-permissions/{at}", {"exchange": exchange, "write": writes, "read": reads})
        return self.url(vhost, name, password)

    def drop_user(self, name: str) -> None:
        """Remove a user."""
        self.ask("DELETE", f"users/{_part(name)}")

    def queues(self, vhost: str = "/") -> list[dict[str, Any]]:
        """Return the queues of a vhost by name, each with name, type, durable, arguments, messages and consumers.

        Depths are of this moment; consumers may be two seconds old.
        """
        rows = self.ask("GET", f"queues/{_part(vhost)}?disable_stats=true&enable_queue_totals=true")
        consumers = Counter(row["queue"]["name"] for row in self.ask("GET", f"consumers/{_part(vhost)}"))
        kept = ("name", "type", "durable", "arguments")
        # A queue that was declared a moment ago has no figures yet.
        return sorted(({**{key: row[key] for key in kept}, "messages": row.get("messages", 0),
                        "consumers": consumers[row["name"]]} for row in rows), key=lambda row: str(row["name"]))

    def close_connections(self, vhost: str = "/") -> int:
        """Cut off all clients of a vhost; return how many there were."""
        found = self.ask("GET", f"vhosts/{_part(vhost)}/connections")
        return sum(self._close(str(row["name"])) for row in found)

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Return the management API's answer, at a path below ``/api/``.  Raises requests.HTTPError."""
        answer = self._http.request(method, f"{self.management_url}/api/{path}", json=body, timeout=_TIMEOUT_S)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def _close(self, connection: str) -> bool:
        try:
            self.ask("DELETE", f"connections/{_part(connection)}")
        except requests.HTTPError as exc:
            if exc.response.status_code != requests.codes.not_found:
                raise
            return False
        return True


class Broker(Guarded, Access):
    """A broker of our own: its node, cookie, ports, port mapper and data are nobody else's."""

    title = "RabbitMQ"

    def __init__(self) -> None:
        Guarded.__init__(self)
        self._password = secrets.token_hex(8)

    def start(self) -> Self:
        """Run it until ``close``; after a stop or kill, with the same data and ports.  Raises Broken, Missing."""
        self._programs = install.programs("rabbitmq")
        return super().start()

    def choose_ports(self) -> None:
        """Choose new ports."""
        self.port, self._management, self._distribution, self._mapper = (free_port() for _ in range(4))
        who = f"corral:{self._password}@127.0.0.1"
        Access.__init__(self, f"rabbit://{who}:{self.port}", f"http://{who}:{self._management}")
        self._write()

    def prepare(self) -> None:
        """Fill the folder: what the server needs besides its configuration it makes by itself."""
        (self.folder / "enabled_plugins").write_text("[rabbitmq_management].\n", encoding="ascii")
        (self.folder / "environment.conf").touch()

    def _write(self) -> None:
        (self.folder / "rabbitmq.conf").write_text("\n".join([
            f"listeners.tcp.1 = 127.0.0.1:{self.port}",
            "management.tcp.ip = 127.0.0.1", f"management.tcp.port = {self._management}",
            "default_user = corral", f"default_pass = {self._password}", "default_user_tags.administrator = true",
            # Who consumes and who is connected is known after this, in ms and, for the management API, in s.
            "collect_statistics_interval = 250", "management.rates_mode = none",
            *(f"management.sample_retention_policies.{kind}.minute = 1" for kind in ("global", "basic", "detailed")),
            # A full disk of the machine is not what tests are about.
            "disk_free_limit.absolute = 1MB", "log.console = true", "log.console.level = warning", "log.file = false",
            ""]), encoding="ascii")

    def command(self) -> list[str]:
        """Return the command that runs it in the foreground."""
        return [str(self._programs["rabbitmq-server"])]

    def environment(self) -> dict[str, str]:
        """Return its environment: every place and name that it would share with others by default."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("RABBITMQ_", "ERL_"))}
        return {**kept, "HOME": str(self.folder), "ERL_EPMD_PORT": str(self._mapper), "ERL_EPMD_ADDRESS": "127.0.0.1",
                "RABBITMQ_NODENAME": f"corral-{self.folder.name.rpartition('-')[2]}@localhost",
                "RABBITMQ_DIST_PORT": str(self._distribution), "RABBITMQ_CONF_ENV_FILE": self._at("environment.conf"),
                "RABBITMQ_CONFIG_FILE": self._at("rabbitmq.conf"), "RABBITMQ_MNESIA_BASE": self._at("mnesia"),
                "RABBITMQ_LOG_BASE": self._at("log"), "RABBITMQ_ENABLED_PLUGINS_FILE": self._at("enabled_plugins"),
                "RABBITMQ_GENERATED_CONFIG_DIR": self._at("generated"), "RABBITMQ_PID_FILE": self._at("pid"),
                # Erlang spins for a while before it sleeps; others need this machine too.
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none +sbwtdcpu none +sbwtdio none"}

    def _at(self, name: str) -> str:
        return str(Path(self.folder, name))

    def answers(self) -> bool:
        """Return whether it takes clients: the management API comes last."""
        try:
            self.ask("GET", "health/checks/port-listener/" + str(self.port))
        except (requests.ConnectionError, requests.HTTPError):
            return False
        return True


def _part(name: str) -> str:
    return quote(name, safe="")
