"""VM.migrate_send: a VM moves with its disks, to a host that has given a token for it, within its pool.

The disks go over the links first, then the memory as in any migration. Of other pools and of VMs that do not run
it says that this is not simulated.
"""

from typing import TYPE_CHECKING

from agent.simulator import disks, migrations, pbds, reach, timing
from agent.simulator.arguments import numbers
from agent.simulator.call import LATER
from agent.simulator.failure import Failure
from agent.simulator.placement import assert_can_boot, assert_can_move, assert_cpu
from agent.simulator.table import NULL

if TYPE_CHECKING:
    from agent.simulator.call import Call

Map = dict[str, str]
TOKEN = ("SM", "host", "xenops", "session_id", "master")
OPERATION = "migrate_send"


def migrate_receive(call: "Call", host: str, network: str, _options: Map) -> Map:
    """Return the token for a VM that is to come to this host over this network."""
    db, node = call.db, reach.assert_reachable(call, host)
    here = [pif for pif in db.get("host", host, "PIFs") if db.get("PIF", pif, "network") == network]
    if not here:
        raise Failure("HOST_CANNOT_ATTACH_NETWORK", host, network)
    address = db.get("PIF", here[0], "IP")
    if not address:
        unset = db.get("PIF", here[0], "ip_configuration_mode") == "None"
        raise Failure("PIF_HAS_NO_NETWORK_CONFIGURATION" if unset else "INTERFACE_HAS_NO_IP", here[0])
    asking = db.rows["session"][call.session]
    session = db.add("session", {**asking, "uuid": "", "this_host": host, "last_active": call.world.moment()})
    services = f"http://{address}/services"
    return {"SM": f"{services}/SM?session_id={session}", "host": host,
            "xenops": f"{services}/xenops?session_id={session}", "session_id": session,
            "master": f"http://{node.master or node.address}/"}


def migrate_send(call: "Call", vm: str, dest: Map, live: bool, vdi_map: Map, vif_map: Map, options: Map,
                 vgpu_map: Map, vdi_format_map: Map) -> object:
    """Check in xapi's order, reserve, and begin; wait while another operation of the VM runs."""
    world, db = call.world, call.db
    host = _destination(call, dest)
    if migrations.waits(call, vm, dest, live, vdi_map, vif_map, options, vgpu_map, vdi_format_map):
        return LATER
    _assert_moves(call, vm, host, vif_map, options)
    migrations.assert_may_leave(call, vm, host)
    source = world.node_of_host(db, db.get("VM", vm, "resident_on"))
    under_way = [job for job in world.jobs.values() if job["node"] == source.address and "places" in job]
    if len(under_way) >= timing.STORAGE_MIGRATES:
        raise Failure("TOO_MANY_STORAGE_MIGRATES", str(timing.STORAGE_MIGRATES))
    _assert_places(call, vm, host, vdi_map)
    size = sum(int(db.get("VDI", disk, "virtual_size")) for disk in disks.moving(db, vm, vdi_map))
    first = {"phase": "mirror", "left": float(size)} if size else {}
    migrations.launch(call, vm, host, OPERATION, places=vdi_map, result=vm, **first)
    return LATER


def assert_can_migrate(call: "Call", vm: str, dest: Map, _live: bool, _vdi_map: Map, vif_map: Map, options: Map,
                       _vgpu_map: Map) -> None:
    """Raise why the VM cannot go there; where its disks are to be is not looked at."""
    _assert_moves(call, vm, _destination(call, dest), vif_map, options)


def _destination(call: "Call", dest: Map) -> str:
    """Return the host of a token; raises INTERNAL_ERROR for what is none, SESSION_INVALID for an old one."""
    if any(part not in dest for part in TOKEN):
        raise Failure("INTERNAL_ERROR", "Not_found")
    if not call.db.has("host", dest["host"]):
        raise Failure("NOT_IMPLEMENTED", f"{call.message.full_name} to another pool")
    if not call.db.has("session", dest["session_id"]):
        raise Failure("SESSION_INVALID", dest["session_id"])
    return dest["host"]


def _assert_moves(call: "Call", vm: str, host: str, vif_map: Map, options: Map) -> None:
    world, db, force = call.world, call.db, options.get("force") == "true"
    if db.get("VM", vm, "power_state") in ("Halted", "Suspended"):
        raise Failure("NOT_IMPLEMENTED", f"{call.message.full_name} of a VM that does not run")
    assert_can_move(db, vm, force=force, operation=OPERATION)
    if not force:
        assert_cpu(world, db, vm, host)
    assert_can_boot(world, db, vm, host, cpu=False, storage=False)
    source, target = (world.node_of_host(db, ref) for ref in (db.get("VM", vm, "resident_on"), host))
    if numbers(target.platform_version) < numbers(source.platform_version):
        raise Failure("VM_HOST_INCOMPATIBLE_VERSION_MIGRATE", host, vm)
    if vif_map:
        raise Failure("NOT_IMPLEMENTED", "VIF mapping is not supported for intra-pool migration")
    if options.get("copy") == "true":
        raise Failure("OPERATION_NOT_ALLOWED", "Copy mode is disallowed on intra pool storage migration, try efficient "
                                               "alternatives e.g. VM.copy/clone.")


def _assert_places(call: "Call", vm: str, host: str, places: Map) -> None:
    """Raise VDI_NOT_IN_MAP or VM_REQUIRES_SR unless each disk has a place; the host plugs it if need be."""
    db = call.db
    for disk in disks.of(db, vm):
        if disk not in places:
            raise Failure("VDI_NOT_IN_MAP", disk)
    for place in places.values():
        if not db.has("SR", place):
            raise Failure("HANDLE_INVALID", "SR", place)
        pbd = next((one for one in db.get("SR", place, "PBDs") if db.get("PBD", one, "host") == host), NULL)
        if pbd == NULL:
            raise Failure("VM_REQUIRES_SR", vm, place)
        if not db.get("PBD", pbd, "currently_attached"):
            pbds.plug(call, pbd)


CALLS = {"host.migrate_receive": migrate_receive, "VM.migrate_send": migrate_send,
         "VM.assert_can_migrate": assert_can_migrate}
