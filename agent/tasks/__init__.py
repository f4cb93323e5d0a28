"""What an agent can be ordered to do: one step machine per kind of task.

A machine observes, acts if that is needed, observes again and settles with readings;
it may import the driver's port and ``common``.  Start reading at ``machine.py``, then
``host_disable.py`` (short) and ``vm_migrate.py`` (the main one).
"""

from agent.tasks.enable_tls import EnableTls
from agent.tasks.host_destroy import HostDestroy
from agent.tasks.host_disable import HostDisable
from agent.tasks.host_enable import HostEnable
from agent.tasks.machine import Machine, Surroundings
from agent.tasks.observe import Observe
from agent.tasks.pool_eject import PoolEject
from agent.tasks.pool_init import PoolInit
from agent.tasks.pool_join import PoolJoin
from agent.tasks.sync_database import SyncDatabase
from agent.tasks.vm_migrate import VmMigrate
from agent.tasks.vm_start import VmStart
from common import errors
from common.messages import Order

#: kind of task -> the machine that carries it out
MACHINES: dict[str, type[Machine]] = {
    "pool_init": PoolInit,
    "pool_join": PoolJoin,
    "pool_eject": PoolEject,
    "host_disable": HostDisable,
    "host_enable": HostEnable,
    "vm_migrate": VmMigrate,
    "vm_start": VmStart,
    "observe": Observe,
    "sync_database": SyncDatabase,
    "enable_tls": EnableTls,
    "host_destroy": HostDestroy,
}


def machine_for(order: Order, around: Surroundings) -> Machine:
    """Return the machine for ``order``.  Raises NotImplementedYet for kinds this version can't do."""
    machine = MACHINES.get(order.kind)
    if machine is None:
        raise errors.NotImplementedYet(f"This agent can't carry out tasks of kind {order.kind}")
    return machine(order, around)
