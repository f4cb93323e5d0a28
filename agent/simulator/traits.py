"""What a machine is besides its size, as far as only xapi's join checks look at it: licences, versions, networks.

A world file gives them in `traits` of a host; those of a master speak for its pool. Knows no worlds.
"""

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agent.simulator.node import Node

GUIDANCES = ("reboot_host", "reboot_host_on_livepatch_failure", "reboot_host_on_kernel_livepatch_failure",
             "reboot_host_on_xen_livepatch_failure", "restart_toolstack", "restart_device_model", "restart_vm")
DRIVERS = ("nfs", "ext", "iso")
SOFTWARE = ("product_brand", "git_id", "api_version", "db_schema", "updates", "edition", "restricted",
            "storage_drivers")  # what a reinstallation leaves as it is


@dataclass(frozen=True)
class Traits:
    """The defaults are those of a fresh host that may join any other fresh one."""

    restricted: tuple[str, ...] = ()  # licence: pooling, pool_size
    refuses_http: bool = False  # as a join target
    no_management: bool = False
    clustering: bool = False
    cluster_network: str = ""  # of the pool: two_addresses, vlan
    pending_guidances: tuple[str, ...] = ()
    product_brand: str = "XenServer"
    git_id: str = "0"
    tunnels: bool = False
    sriov_networks: bool = False
    management_vlan: int = -1
    external_auth: str = ""  # type and name, like `AD example.org`
    edition: str = "free/libre"
    network_backend: str = "bridge"
    sdn_controller: str = ""
    api_version: str = "2.21"
    db_schema: str = "5.776"
    updates: tuple[str, ...] = ()
    primary_address: str = "IPv4"
    network_purposes: tuple[str, ...] = ()  # nbd, insecure_nbd
    ca_certificates: dict[str, str] = field(default_factory=dict)  # name -> fingerprint
    trusted_certificates: dict[str, str] = field(default_factory=dict)
    applying_updates: bool = False
    storage_drivers: tuple[str, ...] = DRIVERS
    licence_daemon_fails: bool = False
    secret_rotation: bool = False  # of the pool
    own_certificate_missing: bool = False  # in the pool's bundle


def traits_of(node: "Node") -> Traits:
    """Return a machine's traits."""
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value
                              for name, value in (node.facts.get("traits") or {}).items()}
    return Traits(**values)


def kept(traits: Traits) -> dict[str, Any]:
    """Return what differs from the defaults, as JSON values."""
    plain = Traits()
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(traits).items()
            if value != getattr(plain, name)}


def reinstalled(facts: dict[str, Any]) -> None:
    """Leave only what comes from the installed software."""
    old = facts.get("traits") or {}
    facts["traits"] = {name: value for name, value in old.items() if name in SOFTWARE}
