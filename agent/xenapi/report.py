"""From a pool's records to its PoolReport: hosts, VMs, and what forbids to move them.

Pure: records in, report out.  Everything comes from fields, so that it is of one moment.
"""

from collections.abc import Mapping
from typing import Any

from agent.xenapi import shapes
from agent.xenapi.calls import NULL
from agent.xenapi.host import MARK
from agent.xenapi.networks import migration_network, networks_by_host
from common.messages import HostReport, PoolReport, VmReport

Record = dict[str, Any]
Tables = dict[str, dict[str, Record]]

#: class -> the fields that are kept; a change of any other field is no news
FIELDS: dict[str, tuple[str, ...]] = {
    name: tuple(shapes.FIELDS[name])
    for name in ("pool", "host", "host_metrics", "vm", "vbd", "vdi", "sr", "pbd", "network", "pif", "vif", "vm_group")
}
MOVE = "pool_migrate"


def pool_report(tables: Tables, entries: Mapping[str, dict[str, Any]] | None = None) -> PoolReport | None:
    """Return the pool as a whole, None while its own record is missing.

    ``entries`` holds what ``vm_entry`` says of each VM, by reference, if it is known already.
    """
    pool = next(iter(tables["pool"].values()), None)
    if pool is None or pool["master"] not in tables["host"]:
        return None
    vms = {ref: vm for ref, vm in tables["vm"].items() if not vm["is_a_template"] and not vm["is_a_snapshot"]}
    memory = _memory_needs(vms)
    migrations = migration_network(tables, pool)
    networks = networks_by_host(tables, vms.values(), migrations)
    return PoolReport(
        pool=pool["uuid"],
        master=tables["host"][pool["master"]]["uuid"],
        name_label=pool["name_label"],
        hosts=[
            _host(ref, host, tables, memory.get(ref, 0), networks).to_wire()
            for ref, host in tables["host"].items()
        ],
        vms=[vm_entry(vm, tables) if entries is None else entries[ref] for ref, vm in vms.items()],
        ha_enabled=bool(pool.get("ha_enabled", False)),
        tls_verification=bool(pool.get("tls_verification_enabled", False)),
        migration_network=migrations,
        local_disks=_local_disks(tables),
    )


def _local_disks(tables: Tables) -> dict[str, int]:
    """Return how many disks lie on storage of one host alone, by host uuid: an ejection destroys them."""
    owner = {pbd["SR"]: pbd["host"] for pbd in tables["pbd"].values()}
    found: dict[str, int] = {}
    for vdi in tables["vdi"].values():
        sr, host = tables["sr"].get(vdi["SR"]), tables["host"].get(owner.get(vdi["SR"], NULL))
        if sr is not None and host is not None and not sr["shared"] and sr["content_type"] != "iso":
            found[host["uuid"]] = found.get(host["uuid"], 0) + 1
    return found


def _memory_needs(vms: dict[str, Record]) -> dict[str, int]:
    """Return the bytes taken on each host by VMs that are there or on their way (XENAPI §8)."""
    needs: dict[str, int] = {}
    for vm in vms.values():
        for host in {vm["resident_on"], vm["scheduled_to_be_resident_on"]} - {NULL, ""}:
            needs[host] = needs.get(host, 0) + int(vm["memory_dynamic_min"]) + int(vm["memory_overhead"])
    return needs


def _host(ref: str, host: Record, tables: Tables, taken: int, networks: dict[str, list[str]]) -> HostReport:
    metrics = tables["host_metrics"].get(host["metrics"], {})
    version, cpu, other = host["software_version"], host["cpu_info"], host["other_config"]
    total, overhead = int(metrics.get("memory_total", 0)), int(host["memory_overhead"])
    return HostReport(
        uuid=host["uuid"],
        hostname=host["hostname"],
        address=host["address"],
        enabled=bool(host["enabled"]),
        live=bool(metrics.get("live", False)),
        memory_total_bytes=total,
        memory_overhead_bytes=overhead,
        memory_free_bytes=max(0, total - overhead - taken),
        version=version.get("platform_version", ""),
        product=f"{version.get('product_brand', '')} {version.get('product_version', '')}".strip(),
        cpu_vendor=cpu.get("vendor", ""),
        cpu_features=cpu.get("features_hvm", cpu.get("features", "")),
        cpus=int(cpu.get("cpu_count") or 0),
        agent_start_time=other.get("agent_start_time", ""),
        boot_time=other.get("boot_time", ""),
        mark=other.get(MARK),
        srs=sorted(
            {
                tables["sr"][pbd["SR"]]["uuid"]
                for pbd in tables["pbd"].values()
                if pbd["host"] == ref and pbd["currently_attached"] and pbd["SR"] in tables["sr"]
            }
        ),
        networks=sorted(networks.get(ref, ())),
        operations=sorted(host["current_operations"].values()),
    )


def vm_entry(vm: Record, tables: Tables) -> dict[str, Any]:
    """Return what a report says about one VM: of its record, its drives, disks and interfaces, and of what they
    are on."""
    return _vm(vm, tables).to_wire()


def _vm(vm: Record, tables: Tables) -> VmReport:
    hosts = tables["host"]
    # As xapi checks a destination: every drive with something in it, every interface, attached or not.
    disks = [vbd["VDI"] for vbd in _of(tables["vbd"], vm["VBDs"]) if not vbd["empty"]]
    interfaces = [vif["network"] for vif in _of(tables["vif"], vm["VIFs"])]
    return VmReport(
        uuid=vm["uuid"],
        name_label=vm["name_label"],
        power_state=vm["power_state"],
        resident_on=hosts.get(vm["resident_on"], {}).get("uuid"),
        scheduled_on=hosts.get(vm["scheduled_to_be_resident_on"], {}).get("uuid"),
        control_domain=bool(vm["is_control_domain"]),
        memory_dynamic_min_bytes=int(vm["memory_dynamic_min"]),
        memory_static_max_bytes=int(vm["memory_static_max"]),
        memory_overhead_bytes=int(vm["memory_overhead"]),
        domain_type=str(vm.get("domain_type", "hvm")),
        vcpus=int(vm["VCPUs_at_startup"]),
        srs=sorted(
            {
                tables["sr"][vdi["SR"]]["uuid"]
                for vdi in _of(tables["vdi"], disks)
                if vdi["SR"] in tables["sr"]
            }
        ),
        networks=sorted({net["uuid"] for net in _of(tables["network"], interfaces)}),
        groups=sorted(
            group["uuid"]
            for group in _of(tables["vm_group"], vm.get("groups", ()))
            if group["placement"] == "anti_affinity"
        ),
        operations=sorted(vm["current_operations"].values()),
        hindrances=_hindrances(vm),
        cpu_features=vm.get("last_boot_CPU_flags", {}).get("features", ""),
    )


def _of(table: dict[str, Record], refs: Any) -> list[Record]:
    return [table[ref] for ref in refs if ref in table]


def _hindrances(vm: Record) -> list[list[str]]:
    """Return what forbids a live migration of a running VM to any host; codes are xapi's."""
    if vm["is_control_domain"] or vm["power_state"] not in ("Running", "Paused"):
        return []
    found: list[list[str]] = []
    if vm["power_state"] == "Paused":
        found.append(["VM_BAD_POWER_STATE", "it is paused; only running VMs can move"])
    if MOVE in vm["blocked_operations"]:
        found.append(["OPERATION_BLOCKED", f"its migration is blocked: {vm['blocked_operations'][MOVE]}"])
    if vm.get("attached_PCIs") or vm["other_config"].get("pci"):
        found.append(["VM_HAS_PCI_ATTACHED", "a PCI device is attached to it"])
    if vm.get("VGPUs"):
        found.append(["VM_HAS_VGPU", "it has a virtual GPU"])
    if vm.get("VUSBs"):
        found.append(["VM_HAS_VUSBS", "it has a virtual USB device"])
    if found or MOVE in vm["allowed_operations"] or vm["current_operations"]:
        # While an operation runs xapi allows nothing else; that is no property of the VM.
        return found
    if vm["platform"].get("nomigrate") == "true" or vm["platform"].get("nested-virt") == "true":
        return [["VM_IS_IMMOBILE", "it was started as immobile (platform nomigrate or nested-virt)"]]
    return [["VM_LACKS_FEATURE", "its guest can't be suspended, which a migration needs (no guest tools?)"]]
