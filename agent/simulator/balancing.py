"""Workload balancing: what an appliance recommends, which the world file says, and what xapi makes of it.

xapi has the last word on what cannot move or run, the appliance on where the rest goes. Without an appliance each
question is WLB_NOT_INITIALIZED. Plans nothing itself: evacuations.py does.
"""

from typing import TYPE_CHECKING, Any

from agent.simulator.database import Database
from agent.simulator.derived import host_is_live
from agent.simulator.failure import Failure
from agent.simulator.placement import assert_can_boot

if TYPE_CHECKING:
    from agent.simulator.call import Call

CHOOSE_OTHERWISE = "wlb_choose_host_disable"  # a pool's own key: let xapi plan evacuations by itself
MEMORY = "HOST_NOT_ENOUGH_FREE_MEMORY"
#: (VM, target) for all that move, and VM -> [code, params...] for those that stay
Plan = tuple[list[tuple[str, str]], dict[str, list[str]]]


def is_consulted(db: Database) -> bool:
    """Tell whether an evacuation asks an appliance."""
    pool = db.refs("pool")[0]
    otherwise = db.get("pool", pool, "other_config").get(CHOOSE_OTHERWISE, "").lower() == "true"
    return bool(db.get("pool", pool, "wlb_url") and db.get("pool", pool, "wlb_enabled")) and not otherwise


def plan(db: Database, host: str, blocked: dict[str, list[str]]) -> Plan:
    """Return the evacuation as the appliance wants it.

    `blocked` is what xapi's own planner says; of it only what is not about memory counts. Raises WLB_...
    """
    wanted = _asked(db)["evacuations"]
    moves: list[tuple[str, str]] = []
    stay: dict[str, list[str]] = {}
    for vm in db.get("host", host, "resident_VMs"):
        if db.get("VM", vm, "is_control_domain"):
            continue
        name = db.get("VM", vm, "name_label")
        if blocked.get(vm, [MEMORY])[0] != MEMORY:
            stay[vm] = blocked[vm]
        elif name not in wanted:
            stay[vm] = [MEMORY, vm]  # what it leaves out has no room, xapi thinks
        else:
            moves.append((vm, _target(db, host, name, wanted[name])))
    return moves, stay


def _target(db: Database, source: str, vm: str, wanted: str) -> str:
    hosts = [ref for ref in db.refs("host") if db.get("host", ref, "name_label") == wanted]
    if not hosts:
        raise Failure("WLB_MALFORMED_RESPONSE", "HostGetRecommendations", "Invalid VM or host UUID", "unknown")
    if hosts[0] == source:
        raise Failure("WLB_MALFORMED_RESPONSE", f"WLB recommends migrating VM {vm} to the same server it is being "
                                                "evacuated from.")
    return hosts[0]


def placements(call: "Call", vm: str) -> dict[str, list[str]]:
    """Return stars for each live host, or why the VM cannot run there."""
    db = call.db
    ratings = _asked(db)["ratings"].get(db.get("VM", vm, "name_label"), {})
    hosts = [host for host in db.refs("host") if host_is_live(db, host)]
    rated = [host for host in hosts if db.get("host", host, "name_label") in ratings]
    if rated != hosts:
        raise Failure("WLB_MALFORMED_RESPONSE", "VMGetRecommendations",
                      "Number of unique recommendations does not match number of potential hosts", "Unknown")
    found: dict[str, list[str]] = {}
    for number, host in enumerate(hosts, 1):
        try:
            assert_can_boot(call.world, db, vm, host)
        except Failure as failure:
            found[host] = failure.description
        else:
            found[host] = _rating(str(ratings[db.get("host", host, "name_label")]), str(number))
    return found


def _rating(text: str, number: str) -> list[str]:
    if text.replace(".", "", 1).isdigit():
        return ["WLB", text, number]
    return ["WLB", "0.0", number, text]


def _asked(db: Database) -> dict[str, Any]:
    """Return what the appliance knows; raises WLB_NOT_INITIALIZED, WLB_DISABLED, or what it fails with."""
    pool = db.refs("pool")[0]
    if not db.get("pool", pool, "wlb_url"):
        raise Failure("WLB_NOT_INITIALIZED")
    if not db.get("pool", pool, "wlb_enabled"):
        raise Failure("WLB_DISABLED")
    knows: dict[str, Any] = db.get("pool", pool, "_balancer")
    if knows["failure"]:
        raise Failure(*knows["failure"])
    return knows


def refuse(call: "Call", *_args: object) -> object:
    """Raise WLB_NOT_INITIALIZED, or with an appliance that this question is not simulated."""
    if not call.db.get("pool", call.db.refs("pool")[0], "wlb_url"):
        raise Failure("WLB_NOT_INITIALIZED")
    raise Failure("NOT_IMPLEMENTED", call.message.full_name)


CALLS = dict.fromkeys(("pool.retrieve_wlb_configuration", "pool.retrieve_wlb_recommendations",
                       "pool.send_wlb_configuration"), refuse) | {"VM.retrieve_wlb_recommendations": placements}
