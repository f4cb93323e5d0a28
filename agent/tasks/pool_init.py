"""Make a host's pool the backing of an aggregate: name it, or adopt it as it is."""

from typing import Any

from agent.driver import PoolState
from agent.tasks.machine import Machine, Step, problem


class PoolInit(Machine):
    """args: name_label (None: only observe).  The host must be its pool's master when it is to be named."""

    _pool: PoolState | None = None

    def step(self) -> Step:
        """Observe the pool; name it if it has another name."""
        wanted = self.order.args.get("name_label")
        self._pool = pool = self.driver.pool()
        if wanted is None or pool.name_label == wanted:
            return self.settled()
        if pool.master_uuid != self.order.host_uuid:
            self.error = problem("not_master", f"Host {self.order.host} is not the master of its pool; "
                                 "its pool is not named by it")
            return self.settled()
        self.around.may_act()
        if self.do(lambda: self.driver.set_pool_name(wanted)):
            self._pool = self.driver.pool()
        return self.settled()

    def readings(self) -> dict[str, Any]:
        """Return the pool's identity and members."""
        pool = self._pool
        if pool is None:
            return {}
        return {"pool": pool.uuid, "master_uuid": pool.master_uuid, "name_label": pool.name_label,
                "members": dict(pool.members)}
