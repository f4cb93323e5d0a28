"""Who is asked, as whom: the agent's own host, its pool's master, and the two pairs of credentials.

HOST_IS_SLAVE is followed only to addresses that the conductor has named, with the
scheme and port of the own URL.  It knows no orders.
"""

import ipaddress
import logging
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit, urlunsplit

from agent.driver import Observer, PoolSession, Whereabouts
from agent.xenapi import failures
from agent.xenapi.link import Link
from agent.xenapi.mirror import PoolMirror
from agent.xenapi.pool import XenPool
from agent.xenapi.transport import Limits
from agent.xenapi.trust import Trust
from common import errors
from common.clock import Clock

LOG = logging.getLogger(__name__)

#: after a refused login, how long the host isn't asked again: passwords are not to be hammered
HOLD_S = 10.0


@dataclass(frozen=True)
class Access:
    """How to get at the own host and its pool; without pool credentials the own ones serve for both."""

    url: str
    username: str
    password: str = field(repr=False)
    pool_username: str | None = None
    pool_password: str | None = field(default=None, repr=False)
    ca_file: str | None = None
    verify: bool = True
    pins: tuple[str, ...] = ()         #: as ``trust.pins_of`` returns them
    connect_s: float = 5.0
    read_s: float = 60.0
    hold_s: float = HOLD_S
    watch_s: float = 10.0              #: for an answer to the heartbeat's questions, which must not be late

    @property
    def own(self) -> tuple[str, str]:
        """The host's own credentials."""
        return self.username, self.password

    @property
    def pool(self) -> tuple[str, str]:
        """The pool's credentials."""
        return self.pool_username or self.username, (
            self.password if self.pool_password is None else self.pool_password
        )


class XenHypervisor:
    """The own host; see ``driver.Hypervisor``.  Safe for several threads."""

    def __init__(self, access: Access, originator: str, clock: Clock) -> None:
        self._access = access
        self._originator = originator
        self._clock = clock
        secure = urlsplit(access.url).scheme == "https"
        trust = Trust(access.ca_file, access.verify, access.pins)
        self._limits = Limits(access.connect_s, access.read_s, trust, trust.context() if secure else None)
        self._quick = replace(self._limits, read_s=min(access.read_s, access.watch_s))
        self._lock = threading.Lock()
        self._locating = threading.Lock()
        self._known: dict[str, dict[str, str]] = {}
        self._held: dict[str, tuple[float, errors.Error]] = {}
        self._role = "standalone"
        self._master: str | None = None
        self._watch: Link | None = None
        self._here = Whereabouts("unreachable")

    # addresses
    def know(self, source: str, members: Mapping[str, str]) -> None:
        """Allow these addresses to be asked, in place of what ``source`` said before."""
        with self._lock:
            if members:
                self._known[source] = dict(members)
            else:
                self._known.pop(source, None)

    def _is_known(self, address: str) -> bool:
        with self._lock:
            return any(address in members.values() for members in self._known.values())

    def _url_of(self, address: str) -> str:
        parts = urlsplit(self._access.url)
        host = f"[{address}]" if ":" in address else address
        return urlunsplit((parts.scheme, f"{host}:{parts.port}" if parts.port else host, parts.path, "", ""))

    # logging in
    def _login(self, url: str, as_pool: bool, limits: Limits) -> Link:
        """Return a link with a new session at ``url``, trying each pair of credentials once."""
        with self._lock:
            until, refusal = self._held.get(url, (0.0, errors.Forbidden()))
        if self._clock.monotonic() < until:
            raise refusal
        pairs = [self._access.pool, self._access.own] if as_pool else [self._access.own, self._access.pool]
        link = Link(url, limits)
        for user, password in dict.fromkeys(pairs):
            try:
                link.login(user, password, self._originator)
            except errors.Forbidden as exc:
                refusal = errors.Forbidden(
                    f"{url} refuses the credentials of user {user}", code="hypervisor_auth", **exc.details
                )
                continue
            except errors.HostIsSlave:
                link.close()
                raise
            except errors.HypervisorError as exc:
                link.close()
                # A host that is starting answers every call with such a failure; it may be ready soon.
                raise errors.Unavailable(
                    f"{url} does not serve: {exc.message}", code="hypervisor_unavailable", **exc.details
                ) from exc
            return link
        link.close()
        with self._lock:
            self._held[url] = (self._clock.monotonic() + self._access.hold_s, refusal)
        raise refusal

    def _enter(self, limits: Limits, *, own_must_answer: bool = False) -> tuple[Link, str | None]:
        """Return a link to the own host, or to its master with the master's address."""
        try:
            return self._login(self._access.url, self._role != "standalone", limits), None
        except errors.HostIsSlave as exc:
            address = str(exc.details["params"][0])
        except errors.Unavailable:
            if own_must_answer:
                raise
            # The own toolstack is away; what goes through the master may go on.
            with self._lock:
                master = self._master
            if master is None or not self._is_known(master):
                raise
            address = master
        return self._login_master(address, limits)

    def _login_master(self, address: str, limits: Limits, named: bool = False) -> tuple[Link, str]:
        for _ in range(2):
            if not named and not self._is_known(address):
                raise errors.HostIsSlave(
                    f"The host is a slave of {address}, which no member of its pool is known "
                    "to have; it is not asked",
                    code="master_unknown",
                    address=address,
                )
            try:
                link = self._login(self._url_of(address), True, limits)
            except errors.HostIsSlave as exc:
                address, named = str(exc.details["params"][0]), False
                continue
            with self._lock:
                self._master = address
            return link, address
        raise errors.Unavailable("The pool's master is changing", code="master_changing")

    def open(self, pool: str | None = None) -> PoolSession:
        """Log in at the own host or its master; with ``pool``, at whichever known address answers for it."""
        link, master = self._enter(self._limits)
        session = XenPool(link, master is None, self._access.pool)
        if pool is None or session.pool_uuid() == pool:
            return session
        session.close()
        return self._open_elsewhere(pool)

    def _open_elsewhere(self, pool: str) -> PoolSession:
        """Ask the members that the conductor named: the own host is in another pool, as after an ejection."""
        with self._lock:
            known = sorted({address for members in self._known.values() for address in members.values()})
        for address in known:
            try:
                session = self.open_pool(address)
            except errors.Error:
                continue  # the next one may answer
            if session.pool_uuid() == pool:
                return session
            session.close()
        raise errors.Unavailable(f"Pool {pool} can't be reached from this agent", code="pool_unreachable")

    def open_pool(self, address: str) -> PoolSession:
        """Log in at the master ``address`` with the pool's credentials."""
        link, _ = self._login_master(address, self._limits, named=True)
        return XenPool(link, False, self._access.pool)

    def observe(self) -> Observer:
        """Begin to observe the pool."""
        link, _ = self._enter(self._limits)
        return PoolMirror(link, self._clock)

    # where am I
    def locate(self) -> Whereabouts:
        """Return what the own host is; what is wrong is its ``trouble``."""
        with self._locating:
            try:
                here = self._locate()
                self._role = here.role
            except errors.HostIsSlave as exc:
                self._leave()
                here = Whereabouts(
                    "slave",
                    self._here.host_uuid,
                    self._here.address,
                    master_address=exc.details.get("address"),
                    trouble=_trouble(exc),
                )
            except errors.Error as exc:
                self._leave()
                here = replace(self._here, role="unreachable", trouble=_trouble(exc))
            self._tell(here)
            self._here = here
            return here

    def _tell(self, here: Whereabouts) -> None:
        """Log what has come to be wrong with the host, or right, once."""
        before, now = self._here.trouble, here.trouble
        if now and (not before or before.get("code") != now.get("code")):
            LOG.warning("%s: %s", now["code"], now["message"])
        elif before and not now:
            LOG.warning("%s is read again (it was: %s)", self._access.url, before["code"])

    def _locate(self) -> Whereabouts:
        if self._watch is not None:
            try:
                return self._still_there(self._watch)
            except (errors.SessionLost, errors.HostIsSlave):
                # Its session or role is another now; only a new login can tell.
                self._leave()
        # A host that does not answer is in trouble, though its master may still list it.
        link, master = self._enter(self._quick, own_must_answer=True)
        self._watch = link
        return self._identity(link, master)

    def _still_there(self, link: Link) -> Whereabouts:
        if self._here.trouble is not None or self._here.role == "unreachable":
            raise errors.SessionLost()
        if self._here.role != "slave":
            hosts = link.read("host.get_all")
            return replace(self._here, role="standalone" if len(hosts) == 1 else "master")
        own = Link(self._access.url, self._quick, link.session)
        try:
            own.read("host.get_all")
        except errors.HostIsSlave as exc:
            if exc.details["params"][0] == self._here.master_address:
                return self._here
            raise
        finally:
            own.close()
        raise errors.SessionLost()

    def _identity(self, link: Link, master: str | None) -> Whereabouts:
        hosts = link.read("host.get_all_records")
        pool = next(iter(link.read("pool.get_all_records").values()))
        if master is None:
            own = hosts.get(pool["master"])
            role = "standalone" if len(hosts) == 1 else "master"
        else:
            addresses = {_plain(urlsplit(self._access.url).hostname or ""), *self._resolved()}
            # The uuid tells surely; at the first sight of an existing member there is only its address.
            own = next(
                (host for host in hosts.values() if host["uuid"] == self._here.host_uuid),
                next((host for host in hosts.values() if _plain(host["address"]) in addresses), None),
            )
            role = "slave"
        return Whereabouts(
            role,
            own["uuid"] if own else None,
            own["address"] if own else None,
            pool["uuid"],
            master or (own["address"] if own else None),
        )

    def _resolved(self) -> set[str]:
        try:
            found = socket.getaddrinfo(urlsplit(self._access.url).hostname, None)
        except OSError:
            return set()
        return {_plain(str(entry[4][0])) for entry in found}

    def _leave(self) -> None:
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def close(self) -> None:
        """End the session that ``locate`` keeps."""
        with self._locating:
            if self._watch is not None:
                with suppress(errors.Error):  # it ends by itself when idle
                    self._watch.logout()
                self._leave()


def _plain(address: str) -> str:
    """Return an IP address in its one canonical form, anything else as it is."""
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        return address.lower()


def _trouble(exc: errors.Error) -> dict[str, str]:
    xapi_code = failures.xapi_code(exc) if exc.code == errors.HypervisorError.code else ""
    return {"code": xapi_code or exc.code, "message": exc.message}
