"""Who asks: the strategies by which the API learns it.

It knows no route and no rule; what somebody may do is ``conductor/api/policy.py``.
Passwords and tokens are neither kept nor logged.
"""

import base64
import binascii
import hashlib
import hmac
import re
import secrets
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import bcrypt
from oslo_config import cfg

from common import errors
from common.api_options import ROLES

Environ = dict[str, Any]

#: the database's column
_LONGEST_USER = 255


class Unauthenticated(errors.Forbidden):
    """The request you have made requires authentication."""

    code = "unauthenticated"

    def __init__(self, message: str | None = None, challenge: str = "") -> None:
        super().__init__(message)
        #: what WWW-Authenticate says; no part of the error's details
        self.challenge = challenge


@dataclass(frozen=True)
class Identity:
    """Somebody who has proved who he is."""

    user: str                            #: as operations show it
    roles: frozenset[str]
    credentials: Mapping[str, Any] = field(default_factory=dict)      #: what rules may ask for beside the roles


class Strategy(Protocol):
    """How the API learns who asks."""

    def identify(self, environ: Environ) -> Identity:
        """Return who sent a request, by its WSGI environment.  Raises Unauthenticated, Unavailable."""


class NoAuth:
    """Takes everybody for an administrator."""

    def identify(self, environ: Environ) -> Identity:
        """Return the one identity that there is."""
        return Identity("noauth", frozenset({"admin"}), _system("noauth"))


class HttpBasic:
    """Names and passwords in a file as Apache's, hashed with bcrypt."""

    challenge = 'Basic realm="Corral", charset="UTF-8"'

    def __init__(self, path: Path, roles: Mapping[str, str] | None = None, default_role: str = "admin") -> None:
        """Read the file.  Raises Invalid."""
        self._path, self._roles, self._default = path, dict(roles or {}), default_role
        self._lock = threading.Lock()
        self._stamp: tuple[int, int, int] | None = None
        self._hashes: dict[str, bytes] = {}
        # bcrypt takes a tenth of a second, and clients send the password with each request. What is
        # kept of one that was right is of no use outside this process.
        self._key = secrets.token_bytes(32)
        self._right: dict[bytes, bytes] = {}
        self._nobody = b""
        try:
            self._read()
        except errors.Unavailable as exc:
            raise errors.Invalid(exc.message, code="bad_configuration") from exc

    def identify(self, environ: Environ) -> Identity:
        """Return the user whose name and password were sent."""
        name, password = self._sent(environ.get("HTTP_AUTHORIZATION", ""))
        wanted = self._read().get(name)
        if not self._fits(password, wanted or self._nobody) or wanted is None:
            raise Unauthenticated("Name or password is wrong", self.challenge)
        role = self._roles.get(name, self._default)
        return Identity(name, frozenset({role} - {"none"}), _system(name))

    def _sent(self, header: str) -> tuple[str, bytes]:
        scheme, _, words = header.strip().partition(" ")
        if scheme.lower() != "basic":
            raise Unauthenticated("Name and password are required", self.challenge)
        try:
            name, colon, password = base64.b64decode(words.strip(), validate=True).partition(b":")
            if not colon:
                raise ValueError("no colon")
            return name.decode(), password
        except (ValueError, binascii.Error):
            raise Unauthenticated("The header Authorization is malformed", self.challenge) from None

    def _fits(self, password: bytes, wanted: bytes) -> bool:
        # More is not looked at by bcrypt, and refused by its library.
        if len(password) > 72:
            return False
        seen = hmac.digest(self._key, wanted + b"\0" + password, hashlib.sha256)
        if self._right.get(wanted) == seen:
            return True
        if not bcrypt.checkpw(password, wanted):
            return False
        self._right[wanted] = seen
        return True

    def _read(self) -> dict[str, bytes]:
        """Return the hashes by name, read again when the file has changed.  Raises Unavailable."""
        with self._lock:
            try:
                found = self._path.stat()
                stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
                if stamp != self._stamp:
                    self._hashes = _hashes(self._path.read_text(encoding="utf-8").splitlines())
                    self._right.clear()
                    self._stamp = stamp
                    # so that a name that is not there takes as long as one that is
                    work = max((int(one[4:6]) for one in self._hashes.values()), default=4)
                    self._nobody = bcrypt.hashpw(secrets.token_hex(16).encode(), bcrypt.gensalt(work))
            except (OSError, ValueError) as exc:
                raise errors.Unavailable(f"The file of passwords {self._path} can't be used: {exc}",
                                         code="passwords_unreadable") from exc
            return self._hashes


def _hashes(lines: Iterable[str]) -> dict[str, bytes]:
    found = {}
    for number, line in enumerate(lines, 1):
        name, colon, text = line.strip().partition(":")
        if not name or name.startswith("#"):
            continue
        if not colon or not re.fullmatch(r"\$2[aby]\$[0-9]{2}\$[./A-Za-z0-9]{53}", text):
            # never the line itself
            raise ValueError(f"line {number} has no bcrypt hash; htpasswd -B makes one")
        found[name] = text.encode()
    return found


class Keystone:
    """Tokens, which keystonemiddleware looks up at Keystone and keeps for a while."""

    def __init__(self, conf: Any, password: str | None = None, operator_projects: Iterable[str] = ()) -> None:
        """Take the configuration that has been read, and the password of its user if that is not in it."""
        # Here, because it takes a second to load and the other strategies do without.
        from keystoneauth1 import exceptions, loading
        from keystonemiddleware import auth_token
        self._refusals: tuple[type[Exception], ...] = (exceptions.ClientException,)
        self._operators = frozenset(operator_projects)
        for group, options in auth_token.list_opts():
            conf.register_opts(options, group=group)
        conf.set_default("service_type", "compute", group="keystone_authtoken")
        if not conf.keystone_authtoken.auth_type and not conf.keystone_authtoken.auth_section:
            raise errors.Invalid("Without auth_type in [keystone_authtoken] tokens can't be looked up at Keystone; "
                                 "with a user of its own it is password", code="bad_configuration")
        try:
            if password is not None:
                loader: Any = loading.get_plugin_loader(conf.keystone_authtoken.auth_type)
                conf.register_opts(loading.get_auth_plugin_conf_options(loader), group="keystone_authtoken")
                conf.set_override("password", password, group="keystone_authtoken")
            # The answers are ours, so it must not let anything through undecided.
            self._middleware: Callable[..., Iterable[bytes]] = auth_token.AuthProtocol(
                _passed, {"oslo_config_config": conf, "delay_auth_decision": False})
        except (exceptions.ClientException, cfg.Error) as exc:
            raise errors.Invalid(f"[keystone_authtoken] can't be used: {exc}", code="bad_configuration") from exc

    def identify(self, environ: Environ) -> Identity:
        """Return whose token was sent."""
        said: list[tuple[str, list[tuple[str, str]]]] = []
        try:
            # It leaves what it finds out in the environment.
            self._middleware(environ, lambda status, headers, *_: said.append((status, headers)))
        except self._refusals as exc:
            raise errors.Unavailable(f"Keystone can't be asked: {exc}", code="keystone_unavailable") from exc
        (status, headers), = said
        if status.startswith("401"):
            raise Unauthenticated("The request you have made requires authentication: there is no token, or it is "
                                  "not valid", dict(headers).get("WWW-Authenticate", ""))
        if not status.startswith("204"):
            raise errors.Unavailable("Keystone can't be asked whether the token is valid; the log has the reason",
                                     code="keystone_unavailable")
        return self._found(environ)

    def _found(self, environ: Environ) -> Identity:
        def told(name: str) -> str:
            return str(environ.get(f"HTTP_{name}") or "")

        project, domain = told("X_PROJECT_NAME"), told("X_PROJECT_DOMAIN_ID")
        # Not from its header: there a service's token, which may be sent beside the user's, puts its own scope.
        token = environ["keystone.token_auth"].user
        system = "all" if token.system_scoped and token.system.get("all") else ""
        is_operators = told("X_PROJECT_ID") in self._operators or (domain == "default" and project in self._operators)
        place = project or ("system" if system else told("X_DOMAIN_NAME"))
        return Identity(
            shown(f"{told('X_USER_NAME')}@{place}"), frozenset(filter(None, told("X_ROLES").split(","))),
            {"user_id": told("X_USER_ID"), "user_domain_id": told("X_USER_DOMAIN_ID"),
             "project_id": told("X_PROJECT_ID"), "project_domain_id": domain, "system_scope": system,
             "is_operator_project": bool(project) and is_operators})


def _passed(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Stand where a protected application would: being asked means that the token is valid."""
    start_response("204 No Content", [])
    return []


def _system(user: str) -> dict[str, Any]:
    return {"user_id": user, "system_scope": "all", "is_operator_project": False}


def shown(user: str) -> str:
    """Return a user's name as it may be stored and printed."""
    return "".join(letter if letter.isprintable() else "?" for letter in user)[:_LONGEST_USER]


def strategy(conf: Any, password: str | None = None) -> Strategy:
    """Return the strategy that ``conf`` names; ``password`` is that for Keystone.  Raises Invalid."""
    if conf.api.auth_strategy == "noauth":
        return NoAuth()
    if conf.api.auth_strategy == "keystone":
        return Keystone(conf, password, conf.api.operator_projects)
    if not conf.api.htpasswd_file:
        raise errors.Invalid("http_basic needs a file: [api] htpasswd_file", code="bad_configuration")
    unknown = set(conf.api.htpasswd_roles.values()) - set(ROLES)
    if unknown:
        raise errors.Invalid(f"[api] htpasswd_roles: there is no role {', '.join(sorted(unknown))}",
                             code="bad_configuration")
    return HttpBasic(Path(conf.api.htpasswd_file), conf.api.htpasswd_roles, conf.api.htpasswd_default_role)
