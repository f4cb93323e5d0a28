"""What the networks of two hosts say against their being in one pool."""

from collections.abc import Callable

from agent.xenapi.sides import Objection, Side, listing


def _topology(joiner: Side, pool: Side) -> list[Objection]:
    pifs, found = joiner.interfaces(), list[Objection]()
    if joiner.records("Bond"):
        found.append(("POOL_JOINING_HOST_HAS_BONDS", "it has bonds"))
    tunnels = [pif["device"] for pif in pifs if pif["tunnel_access_PIF_of"] or pif["tunnel_transport_PIF_of"]]
    if tunnels:
        found.append(("POOL_JOINING_HOST_HAS_TUNNELS", f"it has tunnels: {listing(tunnels)}"))
    virtual = [pif["device"] for pif in pifs if pif["sriov_physical_PIF_of"] or pif["sriov_logical_PIF_of"]]
    if virtual:
        found.append(("POOL_JOINING_HOST_HAS_NETWORK_SRIOVS", f"it has SR-IOV networks: {listing(virtual)}"))
    # The interface of a VLAN knows the VLAN that it is the end of.
    vlans = [str(vlan["tag"]) for ref, vlan in joiner.table("VLAN").items()
             if ref != joiner.management().get("VLAN_master_of")]
    if vlans:
        found.append(("POOL_JOINING_HOST_HAS_NON_MANAGEMENT_VLANS",
                      f"it has VLANs that are not its management's: {listing(vlans)}"))
    return found


def _management(joiner: Side, pool: Side) -> list[Objection]:
    mine, theirs = joiner.management(), pool.management()
    if not mine or not theirs:
        return []
    found: list[Objection] = []
    if int(mine["VLAN"]) != int(theirs["VLAN"]):
        found.append(("POOL_JOINING_HOST_MANAGEMENT_VLAN_DOES_NOT_MATCH",
                      f"its management is on {_vlan(mine)}, the pool's on {_vlan(theirs)}"))
    kinds = mine["primary_address_type"], theirs["primary_address_type"]
    if kinds[0] != kinds[1]:
        found.append(("OPERATION_NOT_ALLOWED", f"its management uses {kinds[0]}, the pool's {kinds[1]}"))
    return found


def _vlan(pif: dict[str, object]) -> str:
    return "no VLAN (-1)" if int(str(pif["VLAN"])) == -1 else f"VLAN {pif['VLAN']}"


def _purposes(joiner: Side, pool: Side) -> list[Objection]:
    purposes = {purpose for side in (joiner, pool) for network in side.records("network")
                for purpose in network["purpose"]}
    if not {"nbd", "insecure_nbd"} <= purposes:
        return []
    return [("OPERATION_NOT_ALLOWED", "its networks are for secure NBD and the pool's for insecure, or the reverse")]


CHECKS: tuple[Callable[[Side, Side], list[Objection]], ...] = (_topology, _management, _purposes)
