"""What a machine's traits show in its records, so that who reads them can know beforehand what a join would say;
and what a network is besides a bridge.

Knows records; knows no joins. Traits that xapi shows only in classes that are not carried here (clustering, updates of
the old kind) and those that nothing shows (a missing certificate of the master's own) are left to the join itself.
"""

from agent.simulator.database import Database
from agent.simulator.spec import NetworkSpec
from agent.simulator.traits import Traits


def show_on_interfaces(db: Database, traits: Traits, interfaces: list[str]) -> None:
    """Write what the traits say about a machine's network interfaces; the first one is that of management."""
    if not interfaces:
        return
    management, last = interfaces[0], interfaces[-1]
    if traits.no_management:
        db.set("PIF", management, management=False)
    if traits.management_vlan != -1:
        db.set("PIF", management, VLAN=traits.management_vlan)
    if traits.primary_address != "IPv4":
        db.set("PIF", management, primary_address_type=traits.primary_address)
    if traits.tunnels:
        db.set("PIF", last, tunnel_transport_PIF_of=["OpaqueRef:tunnel"])
    if traits.sriov_networks:
        db.set("PIF", last, sriov_physical_PIF_of=["OpaqueRef:network_sriov"])


def show_on_host(db: Database, traits: Traits, host: str) -> None:
    """Write what the traits say about a machine that is doing something."""
    if traits.applying_updates:
        db.set("host", host, current_operations={"OpaqueRef:apply_updates": "apply_updates"})


def show_on_pool(db: Database, traits: Traits, pool: str) -> None:
    """Write what a master's traits say about its pool."""
    db.set("pool", pool, vswitch_controller=traits.sdn_controller, is_psr_pending=traits.secret_rotation)
    for kind, certificates in (("ca", traits.ca_certificates), ("pinned", traits.trusted_certificates)):
        for name, fingerprint in certificates.items():
            db.add("Certificate", {"type": kind, "name": name, "fingerprint": fingerprint,
                                   "fingerprint_sha256": fingerprint})
    if traits.network_purposes:
        db.set("network", db.refs("network")[0], purpose=list(traits.network_purposes))


def show_on_network(db: Database, network: str, number: int, spec: NetworkSpec) -> None:
    """Write which machines have an address on a network, and whether its pool moves VMs over it."""
    for last, pif in enumerate(db.get("network", network, "PIFs"), start=1):
        if db.get("host", db.get("PIF", pif, "host"), "hostname") in spec.addresses_on:
            db.set("PIF", pif, IP=f"10.77.{number}.{last}", netmask="255.255.255.0", ip_configuration_mode="Static")
    if spec.migrations:
        for pool in db.refs("pool"):
            chosen = {"xo:migrationNetwork": db.get("network", network, "uuid")}
            db.set("pool", pool, other_config={**db.get("pool", pool, "other_config"), **chosen})
