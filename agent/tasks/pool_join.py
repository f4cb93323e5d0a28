"""Join this agent's host, which stands alone, to a pool.

xapi's own success comes long before the end (XAPI-OBSERVED): the joiner answers as if
nothing had happened for ten more seconds, then drops everybody and comes back as a
slave.  So both sides are read, the joiner and the pool's master, and only what they
show counts.
"""

from typing import Any

from agent.driver import HostState, PoolSession, WorkState
from agent.tasks.machine import Machine, Step, Wait, problem, refusal
from common import errors

#: how long nothing must be seen of a join before it is taken for one without effect (DESIGN §7)
QUIET_S = 60.0
LOOK_S = 1.0
#: how often a joiner that the master has live and enabled is looked at until it answers
LOOKS = 5
#: refused by xapi before anything was begun (XENAPI §9.1): nothing can follow
REFUSED = frozenset(
    {
        "LICENCE_RESTRICTION",
        "JOINING_HOST_CONNECTION_FAILED",
        "JOINING_HOST_SERVICE_FAILED",
        "SESSION_AUTHENTICATION_FAILED",
        "HOST_IS_SLAVE",
        "HOST_STILL_BOOTING",
        "HA_IS_ENABLED",
        "CLUSTERING_ENABLED",
        "OPERATION_NOT_ALLOWED",
        "HOST_PENDING_MANDATORY_GUIDANCE_NOT_EMPTY",
        "HOSTS_NOT_COMPATIBLE",
        "HOSTS_NOT_HOMOGENEOUS",
        "LICENSE_HOST_POOL_MISMATCH",
        "NOT_SUPPORTED_DURING_UPGRADE",
        "POOL_SECRET_ROTATION_PENDING",
        "V6D_FAILURE",
    }
)
#: what a toolstack answers to every call while it starts, or for as long as it is without its master (XENAPI §9.3)
ALONE = frozenset({"HOST_STILL_BOOTING", "HOST_MASTER_CANNOT_TALK_BACK", "HOST_UNKNOWN_TO_MASTER"})
REFUSED_PREFIXES = ("JOINING_HOST_CANNOT_", "POOL_JOINING_")


class PoolJoin(Machine):
    """args: master_uuid, master_address; optional ``quiet_s`` (60 s).  The executor is the joiner."""

    _joiner = "unreachable"
    _task: WorkState | None = None
    _host: HostState | None = None
    _read_master = False
    _pool: str | None = None
    _master: PoolSession | None = None
    _unchanged_since: float | None = None
    _seen: tuple[str, bool] | None = None
    _alone: dict[str, Any] | None = None
    _told = False
    _complete = 0

    def step(self) -> Step:
        """Observe both sides; join if the joiner stands alone and nothing was begun; else wait for an end."""
        self._look_at_joiner()
        self._look_at_master()
        host = self._host
        if host is not None and host.live and host.enabled and self._joiner != "standalone":
            # The joiner itself should answer as a slave; that only we can't reach it must not delay the join.
            self._complete += 1
            return self._ended() if self._joiner != "unreachable" or self._complete > LOOKS else self._wait()
        if self._read_master and not self.acted:
            if self.over_limit():
                return self._ended()
            if self._joiner in ("standalone", "master"):
                return self._begin()
            if self._joiner == "slave" and host is None:
                self.error = problem(
                    "JOIN_CHECKS_FAILED",
                    f"Host {self.order.host} is a member of another pool",
                    ("HOST_IS_SLAVE",),
                )
                return self._ended()
        if not self._read_master and not self.acted and (self.elapsed_s() >= QUIET_S or self.over_limit()):
            self.error = problem(
                "master_unreachable",
                f"The pool's master at {self.order.args['master_address']} can't be read; nothing was begun",
            )
            return self._ended()
        if self._read_master and self._joiner == "standalone" and self._without_effect():
            return self._ended()
        if self.over_limit() and not self._is_pending():
            return self._ended()
        return self._wait()

    def _look_at_joiner(self) -> None:
        """Read what the joiner is.  That it can't be reached, or is a slave, is part of every good join."""
        self._joiner, self._alone = "unreachable", None
        try:
            pool = self.driver.pool()
            if pool.master_uuid != self.order.host_uuid:
                self._look_past_master()
                return
            self._joiner = "standalone" if len(pool.members) == 1 else "master"
            self._task = self.adopt(("pending", "success"))
        except errors.HostIsSlave:
            self._joiner = "slave"
        except (errors.Unavailable, errors.OutcomeUnknown):
            self.driver.reconnect()
        except errors.SessionLost:
            if not self.acted:
                raise
            # Its toolstack restarted, which ends every session: what it is now, only a new look can tell.
            self._joiner = self.around.hypervisor.locate().role
            if self._joiner in ("standalone", "master"):
                raise
        except errors.HypervisorError as exc:
            alone = refusal(exc)
            if not self.acted or alone["code"] not in ALONE:
                raise
            # It has started again, so that nothing goes on there that it had begun before.
            self._alone, self._task = alone, None

    def _look_past_master(self) -> None:
        """Ask the joiner itself: a session leads to the master when it says that it is a slave, or says nothing."""
        self._joiner, self._task = self.around.hypervisor.locate().role, None
        if self._joiner in ("standalone", "master"):
            raise errors.SessionLost(f"{self.order.host} stands alone again; it has to be asked itself")

    def _look_at_master(self) -> None:
        """Read the joiner's record on the master; what was read before does not count any more."""
        self._read_master, self._host = False, None
        try:
            if self._master is None:
                self._master = self.around.hypervisor.open_pool(self.order.args["master_address"])
            self._host = self._master.host(self.order.host_uuid)
            self._pool = self._pool or self._master.pool().uuid
            self._read_master = True
        except (errors.Unavailable, errors.OutcomeUnknown, errors.SessionLost):
            self._leave_master()
        except errors.Error:
            self._leave_master()
            if not self.acted:
                raise

    def release(self) -> None:
        """End the session with the master."""
        self._leave_master()

    def _leave_master(self) -> None:
        if self._master is not None:
            self._master.close()
            self._master = None

    def _begin(self) -> Step:
        master = self._master
        assert master is not None, "the master was read"
        if self._host is not None:
            # A record of an earlier join that came to nothing: a second join is never automatic.
            self.acted = True
            return self._wait()
        found = self.driver.joinable(master)
        if found.objections:
            self.error = {
                **problem(
                    "JOIN_CHECKS_FAILED",
                    f"Host {self.order.host} can't join: "
                    + "; ".join(message for _, message in found.objections),
                    tuple(code for code, _ in found.objections),
                ),
                "details": [{"code": code, "message": message} for code, message in found.objections],
            }
            return self._ended()
        self.around.may_act()
        if found.needs_tls and not self.do(self.driver.enable_tls):
            return self._ended()
        self.begin(lambda work: self.driver.join(work, self.order.args["master_address"]))
        return self._ended() if self.error is not None else self._wait()

    def _without_effect(self) -> bool:
        """Return whether the join has come to nothing: refused, or nothing of it seen for long enough."""
        now = self.around.clock.monotonic()
        seen = (self._joiner, self._host is not None)
        if self._is_pending() or seen != self._seen:
            self._seen, self._unchanged_since = seen, now
        self.take_error(self._task)
        code = self.error["code"] if self.error is not None else ""
        refused = code in REFUSED or code.startswith(REFUSED_PREFIXES)
        if refused and not self._is_pending() and self._host is None:
            return True
        return self.quiet_s() >= float(self.order.args.get("quiet_s", QUIET_S))

    def _is_pending(self) -> bool:
        """Return whether the join's task is running as far as the joiner can still tell."""
        return self._joiner != "unreachable" and self._task is not None and self._task.status == "pending"

    def quiet_s(self) -> float:
        """Return for how long nothing has changed and no task was running."""
        since = self._unchanged_since
        return 0.0 if since is None else self.around.clock.monotonic() - since

    def _wait(self) -> Wait:
        news = None
        if (self._host is not None or self._joiner == "slave") and not self._told:
            self._told, news = True, self.readings()
        watches = (("work", self.work.id),) if self._is_pending() and self.work is not None else ()
        return Wait(
            self.patience_s() if watches else LOOK_S,
            watches,
            0.9 if self._host is not None and self._host.live else 0.5,
            news,
        )

    def _ended(self) -> Step:
        self._leave_master()
        if self._host is not None and self._host.live and self._host.enabled:
            self.error = None
        elif self.error is None:
            self.error = self._alone
        return self.settled()

    def readings(self) -> dict[str, Any]:
        """Return how the joiner looks, and its record on the master if that was read."""
        task = self._task.status if self._task is not None else ("gone" if self.acted else None)
        readings: dict[str, Any] = {"joiner": self._joiner, "task": task, "quiet_s": self.quiet_s()}
        if self._read_master:
            host = self._host
            readings.update(
                on_master=host is not None,
                live=host is not None and host.live,
                enabled=host is not None and host.enabled,
                pool=self._pool,
            )
        return readings
