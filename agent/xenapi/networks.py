"""Which networks VMs can use on each host, and which one live migrations take.

Pure: records in, uuids out; the one reading is that of a pool's choice.  The choice is the
pool's own, under the key that Xen Orchestra writes, so that all who move its VMs agree.
"""

from collections.abc import Iterable
from typing import Any

from agent.xenapi.calls import NULL

Record = dict[str, Any]
Tables = dict[str, dict[str, Record]]

#: key in pool.other_config; its value names a network
CHOICE = "xo:migrationNetwork"


def chosen(pool: Record) -> str | None:
    """Return what the pool's record names as its migration network, None when it leaves that to xapi."""
    return str(pool.get("other_config", {}).get(CHOICE, "")) or None


def migration_network(tables: Tables, pool: Record) -> str | None:
    """Return the uuid of the pool's migration network, or what names it when there is no such network.

    Then no host is on it, and nothing moves by a network that nobody has chosen.
    """
    name = chosen(pool)
    return name and next((network["uuid"] for ref, network in tables["network"].items()
                          if name in (ref, network["uuid"])), name)


def networks_by_host(tables: Tables, vms: Iterable[Record], migrations: str | None = None) -> dict[str, list[str]]:
    """Return the uuids of the networks that VMs can use on each host, by its reference.

    A network without any PIF is everywhere until an attached VIF pins it to a host; the one
    for ``migrations`` counts only where the host itself has an address on it.
    """
    on: dict[str, set[str]] = {}
    for pif in tables["pif"].values():
        on.setdefault(pif["network"], set()).add(pif["host"])
    pinned: dict[str, set[str]] = {}
    for vm in vms:
        for vif in (tables["vif"][ref] for ref in vm["VIFs"] if ref in tables["vif"]):
            if vif["network"] not in on and vif["currently_attached"] and vm["resident_on"] != NULL:
                pinned.setdefault(vif["network"], set()).add(vm["resident_on"])
    found: dict[str, list[str]] = {host: [] for host in tables["host"]}
    for ref, network in tables["network"].items():
        hosts = on.get(ref) or pinned.get(ref) or set(tables["host"])
        if network["uuid"] == migrations:
            hosts = {pif["host"] for pif in tables["pif"].values() if pif["network"] == ref and _has_address(pif)}
        for host in hosts & found.keys():
            found[host].append(network["uuid"])
    return found


def _has_address(pif: Record) -> bool:
    return bool(pif["currently_attached"] and (pif["IPv6"] if pif["primary_address_type"] == "IPv6" else pif["IP"]))
