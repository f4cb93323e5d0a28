"""A Keystone for tests: users with roles, tokens good and bad, and a catalogue with a region per service.

It runs from PyPI in an environment of its own, on SQLite with fernet tokens, and knows
nothing of the services in its catalogue.
"""

import fcntl
import shutil
import time
from pathlib import Path
from typing import Any

import msgpack
import requests
from cryptography.fernet import Fernet

from tools.clients import environments
from tools.clients.client import Client, Program
from tools.servers import keystone_wsgi
from tools.servers.guarded import Broken, Guarded, free_port

Json = dict[str, Any]

MANAGE = Program("keystone", "keystone.cmd.manage:main", "keystone-manage")
ADMIN, PASSWORD = "admin", "corral-tests"
_TIMEOUT_S = 30.0
_CONFIGURATION = """\
[database]
connection = sqlite:///{folder}/keystone.sqlite
[fernet_tokens]
key_repository = {folder}/fernet
[credential]
key_repository = {folder}/fernet
[identity]
# the least bcrypt allows: these passwords guard nothing
password_hash_rounds = 4
"""


class Access:
    """A Keystone that somebody runs, and its administrator."""

    def __init__(self, url: str, password: str = PASSWORD) -> None:
        """Take the address that ends with /v3."""
        self.url, self._password = url, password
        self._http = requests.Session()
        self._http.trust_env = False
        self._projects: dict[str, str] = {}
        self._roles: dict[str, str] = {}

    def token(self, user: str, password: str, project: str | None = ADMIN) -> str:
        """Return a new token of ``user`` for a project, or for the system when ``project`` is None."""
        scope = {"system": {"all": True}} if project is None else \
            {"project": {"name": project, "domain": {"id": "default"}}}
        who = {"name": user, "password": password, "domain": {"id": "default"}}
        answer = self._http.post(f"{self.url}/auth/tokens", timeout=_TIMEOUT_S, json={"auth": {
            "identity": {"methods": ["password"], "password": {"user": who}}, "scope": scope}})
        answer.raise_for_status()
        return answer.headers["X-Subject-Token"]

    def project(self, name: str) -> str:
        """Return a project's id; it is made if it is not there."""
        if name not in self._projects:
            found = self.ask("GET", f"projects?name={name}")["projects"]
            made = found or [self.ask("POST", "projects", {"project": {"name": name}})["project"]]
            self._projects[name] = made[0]["id"]
        return self._projects[name]

    def user(self, name: str, password: str, role: str, project: str | None = ADMIN) -> None:
        """Make a user with one role in a project, or in the system when ``project`` is None."""
        if not self._roles:
            self._roles = {one["name"]: one["id"] for one in self.ask("GET", "roles")["roles"]}
        made = self.ask("POST", "users", {"user": {"name": name, "password": password}})["user"]["id"]
        place = "system" if project is None else f"projects/{self.project(project)}"
        self.ask("PUT", f"{place}/users/{made}/roles/{self._roles[role]}")

    def endpoint(self, kind: str, region: str, url: str, name: str | None = None) -> None:
        """Put a service into the catalogue, at ``url`` in ``region``; its name is that of its kind unless given."""
        named = {"type": kind, "name": name or kind}
        found = self.ask("GET", f"services?type={kind}&name={named['name']}")["services"]
        made = found or [self.ask("POST", "services", {"service": named})["service"]]
        self.ask("POST", "regions", {"region": {"id": region}}, expected=(201, 409))
        for interface in ("public", "internal", "admin"):
            self.ask("POST", "endpoints", {"endpoint": {"service_id": made[0]["id"], "interface": interface,
                                                        "region_id": region, "url": url}})

    def revoke(self, token: str) -> None:
        """Make a token invalid."""
        self._http.delete(f"{self.url}/auth/tokens", timeout=_TIMEOUT_S,
                          headers={"X-Auth-Token": token, "X-Subject-Token": token}).raise_for_status()

    def environ(self, region: str, user: str = ADMIN, password: str = PASSWORD, project: str = ADMIN) -> dict[str, str]:
        """Return the variables from which OpenStack's clients take who they are and where to go."""
        return {"OS_AUTH_URL": self.url, "OS_USERNAME": user, "OS_PASSWORD": password, "OS_PROJECT_NAME": project,
                "OS_TENANT_NAME": project, "OS_USER_DOMAIN_ID": "default", "OS_PROJECT_DOMAIN_ID": "default",
                "OS_IDENTITY_API_VERSION": "3", "OS_REGION_NAME": region}

    def ask(self, method: str, path: str, body: Json | None = None, expected: tuple[int, ...] = (200, 201, 204)) -> Any:
        """Ask as the administrator; return the body.  Raises requests.HTTPError."""
        if "X-Auth-Token" not in self._http.headers:
            self._http.headers["X-Auth-Token"] = self.token(ADMIN, self._password)
        answer = self._http.request(method, f"{self.url}/{path}", json=body, timeout=_TIMEOUT_S)
        if answer.status_code not in expected:
            raise requests.HTTPError(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer.json() if answer.content else None


class Server(Guarded, Access):
    """A Keystone that is ours; it starts from a copy of what was set up once."""

    title = "Keystone"

    def __init__(self) -> None:
        Guarded.__init__(self)
        self._port = 0

    def choose_ports(self) -> None:
        """Choose new ports."""
        self._port = free_port()
        Access.__init__(self, f"http://127.0.0.1:{self._port}/v3")

    def prepare(self) -> None:
        """Fill the folder, once."""
        shutil.copytree(_seed(), self.folder, dirs_exist_ok=True)
        (self.folder / "keystone.conf").write_text(_CONFIGURATION.format(folder=self.folder))

    def command(self) -> list[str]:
        """Return the command that runs the server in the foreground."""
        python = environments.built(MANAGE.environment) / "bin" / "python"
        # -P: in the folder of the script, this module would stand before Keystone itself.
        return [str(python), "-P", keystone_wsgi.__file__, str(self.folder / "keystone.conf"), str(self._port)]

    def answers(self) -> bool:
        """Return whether the server does its work."""
        try:
            return bool(self._http.get(self.url, timeout=_TIMEOUT_S).ok)
        except requests.ConnectionError:
            return False

    def expired(self, token: str) -> str:
        """Return the token as it would be if it had expired a minute ago: Keystone's own, but old."""
        payload = msgpack.unpackb(self._key().decrypt(_padded(token)))
        (at,) = [number for number, part in enumerate(payload) if isinstance(part, float)]
        payload[at] = time.time() - 60
        return self._key().encrypt(msgpack.packb(payload)).decode().rstrip("=")

    def forged(self, token: str) -> str:
        """Return a token with the same words, encrypted with a key that Keystone has not."""
        return Fernet(Fernet.generate_key()).encrypt(self._key().decrypt(_padded(token))).decode().rstrip("=")

    def _key(self) -> Fernet:
        # the highest number is the key for new tokens
        return Fernet(max((self.folder / "fernet").iterdir()).read_bytes())


def _padded(token: str) -> bytes:
    return (token + "=" * (-len(token) % 4)).encode()


def _seed() -> Path:
    """Return a folder with a database that has an administrator, and with keys; made once."""
    folder = environments.built(MANAGE.environment) / "seed"
    with (folder.parent / "seed.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "ready").exists():
            shutil.rmtree(folder, ignore_errors=True)
            (folder / "fernet").mkdir(parents=True, mode=0o700)
            for number in range(2):
                (folder / "fernet" / str(number)).write_bytes(Fernet.generate_key())
            configuration = folder / "keystone.conf"
            configuration.write_text(_CONFIGURATION.format(folder=folder))
            with Client(MANAGE, {}) as manage:
                for words in (["db_sync"], ["bootstrap", "--bootstrap-password", PASSWORD]):
                    done = manage.run("--config-file", str(configuration), *words)
                    if done.status != 0:
                        raise Broken(f"keystone-manage {words[0]} ended with {done.status}:\n{done.err[-4000:]}")
            (folder / "ready").touch()
    return folder
