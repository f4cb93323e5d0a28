"""One session with one pool's master: everything the driver's port promises, by XenAPI."""

import threading
from collections.abc import Sequence
from contextlib import suppress

from agent.driver import Joinable, PoolSession, Watch, Work
from agent.xenapi.calls import NULL
from agent.xenapi.host import HostCalls
from agent.xenapi.joining import joinable
from agent.xenapi.link import Link
from agent.xenapi.migration import WorkCalls
from common import errors

#: longest single event.from; xapi answers 0.56 s later than asked
LONGEST_POLL_S = 30.0
LATE_S = 10.0


class XenPool(HostCalls, WorkCalls):
    """A PoolSession; ``pool_login`` are the credentials that a join is made with."""

    def __init__(self, link: Link, at_home: bool, pool_login: tuple[str, str]) -> None:
        super().__init__(link)
        self._begun = {}
        self._at_home = at_home
        self._pool_login = pool_login
        self._session_uuid = link.session_uuid
        # An interrupted long poll leaves its connection useless, so it has one of its own.
        self._events = link.twin()
        self._token = ""
        self._watched: tuple[str, ...] = ()
        self._interrupted, self._nudged = threading.Event(), threading.Event()

    @property
    def session_uuid(self) -> str:
        """The uuid under which others can find and end this session."""
        return self._session_uuid

    @property
    def at_home(self) -> bool:
        """Whether the host that answers is the agent's own."""
        return self._at_home

    def close(self, logout: bool = True) -> None:
        """End the session (unless ``logout`` is false) and the connections."""
        if logout:
            with suppress(errors.Error):  # it ends by itself when idle; nothing of ours depends on it any more
                self._link.logout()
        self.reconnect()

    def reconnect(self) -> None:
        """Drop the connections and keep the session."""
        self._link.close()
        self._events.close()
        self._watched = ()

    def interrupt(self) -> None:
        """Make a running ``wait`` return now and the next ones return at once."""
        self._interrupted.set()
        self._events.abort()

    def nudge(self) -> None:
        """Make a running ``wait``, or else the next one, return now."""
        self._nudged.set()
        self._events.abort()

    def wait(self, watches: Sequence[Watch], timeout_s: float) -> None:
        """Wait by event.from for a change of one of ``watches`` since the last wait.

        With other watches than before it returns at once, for their state may have
        changed between the last look and this call.
        """
        if self._is_disturbed():
            return
        classes = tuple(sorted(self._class_of(watch) for watch in watches))
        if classes != self._watched:
            self._watched, self._token, timeout_s = classes, "", 0.0
        timeout_s = min(timeout_s, LONGEST_POLL_S)
        try:
            answer = self._events.read(
                "event.from", list(classes), self._token, float(timeout_s), timeout_s=timeout_s + LATE_S
            )
        except errors.Unavailable:
            if self._is_disturbed():
                return
            raise
        self._token = answer["token"]

    def _is_disturbed(self) -> bool:
        """Return whether nobody should wait now; a nudge counts once."""
        nudged = self._nudged.is_set()
        self._nudged.clear()
        return nudged or self._interrupted.is_set()

    def _class_of(self, watch: Watch) -> str:
        kind, name = watch
        if kind == "work":
            return f"task/{self._begun.get(name, name)}"
        return f"{kind.lower()}/{self._refs.get(('VM' if kind == 'vm' else kind, name), NULL)}"

    def joinable(self, other: PoolSession) -> Joinable:
        """Return what can be read of this host's fitness to join the pool of ``other``."""
        if not isinstance(other, XenPool):
            raise errors.Bug("A join is checked between two sessions of one driver")
        return joinable(self._link, other._link)

    def join(self, work: Work, master_address: str) -> None:
        """Begin to join the pool at ``master_address`` with the pool's credentials."""
        self._begin(work, "pool.join", master_address, *self._pool_login)
