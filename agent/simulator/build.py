"""Put machines, guests, storage and networks into a world's databases.

Used when a world begins, when a machine is installed again after an eject, and for what a member
gets on joining. Knows record contents; knows no calls and no time but the present.
"""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from agent.simulator import certificate_records, drives
from agent.simulator.database import Database, Row
from agent.simulator.memory import DOM0_MEMORY, HOST_OVERHEAD, MIB, overhead_bytes
from agent.simulator.node import Node
from agent.simulator.spec import HostSpec, StorageSpec, VmSpec, WorldSpec
from agent.simulator.table import NULL
from agent.simulator.trait_records import show_on_host, show_on_interfaces, show_on_network, show_on_pool
from agent.simulator.traits import kept, traits_of

if TYPE_CHECKING:
    from agent.simulator.world import World

CPU_FEATURES = "1fcbfbff-f7fa3223-2d93fbff-00000523-00000001-00000329-00000000-00000000-00001000-0c000000"
CAPABILITIES = ["xen-3.0-x86_64", "hvm-3.0-x86_64"]
LICENCE = {f"restrict_{feature}": "false" for feature in (
    "pooling", "pool_size", "xen_motion", "storage_xen_motion", "rpu", "vm_anti_affinity")}
MANAGEMENT = "eth0"
GUEST_FEATURES = {"feature-suspend": "1", "feature-poweroff": "1", "feature-reboot": "1", "feature-vcpu-hotplug": "1"}


def build(world: "World", spec: WorldSpec, addresses: list[str], password: str) -> None:
    """Fill an empty world; `addresses` holds one for each host of the spec, in order."""
    masters = {name: pool.hosts[0] for pool in spec.pools for name in pool.hosts}
    names = {pool.hosts[0]: pool.name for pool in spec.pools}
    later: list[Node] = []
    for host, address in zip(spec.hosts, addresses, strict=True):
        node = new_node(world, host, address, host.password or password)
        world.nodes[address] = node
        if masters.get(host.name, host.name) == host.name:
            install(world, node, names.get(host.name, ""))
        else:
            later.append(node)
    for one in spec.storage:
        add_shared_storage(world, world.node_named(masters.get(one.pool, one.pool)).pool, one)
    for node in later:
        master = world.node_named(masters[node.name])
        node.pool, node.master, node.password = master.pool, master.address, master.password
        add_host(world, node)
        plug_shared_storage(world, node)
    for number, network in enumerate(spec.networks):
        db = world.pools[world.node_named(masters.get(network.pool, network.pool)).pool]
        if network.device:
            db.set("network", network_on(db, network.device), name_label=network.name)
            show_on_network(db, network_on(db, network.device), number, network)
        else:
            db.add("network", {"name_label": network.name, "bridge": f"xapi{len(db.rows['network'])}"})
    for vm in spec.vms:
        add_guest(world, vm)
    for balancer in spec.balancing:
        db = world.pools[world.node_named(balancer.pool).pool]
        db.set("pool", db.refs("pool")[0], wlb_url=balancer.url, wlb_enabled=balancer.enabled, _balancer={
            "evacuations": balancer.evacuations, "ratings": balancer.ratings, "failure": list(balancer.failure)})
    for plugin in spec.plugins:
        for node in world.nodes.values():
            if not plugin.hosts or node.name in plugin.hosts:
                node.facts.setdefault("plugins", []).append({**asdict(plugin), "failure": list(plugin.failure)})
    for db in world.pools.values():
        db.flush()
    world.put_in(*spec.faults)


def new_node(world: "World", host: HostSpec, address: str, password: str) -> Node:
    """Return a machine as it comes from the installer."""
    facts = {"nics": list(host.nics), "ha": host.ha, "bonds": host.bonds, "vlans": host.vlans,
             "shared_sr": host.shared_sr, "hvm": host.hvm, "traits": kept(host.traits)}
    return Node(host.name, address, world.new_uuid(), host.memory, host.cpus, host.cpu_vendor, host.version,
                host.platform_version, float(host.link), host.local_storage, password, password,
                started_at=world.now, booted_at=world.now - 60, tls_verification=host.tls_verification,
                local_sr_uuid=world.new_uuid(), pif_uuid=world.new_uuid(), reboot_s=host.reboot_s, facts=facts)


def install(world: "World", node: Node, pool_name: str = "") -> None:
    """Make a machine a pool of its own, live and enabled."""
    node.pool, node.master, node.power = world.new_pool(), "", "up"
    db = world.pools[node.pool]
    pool = db.add("pool", {
        "name_label": pool_name, "other_config": {"memory-ratio-hvm": "0.25", "memory-ratio-pv": "0.25"},
        "restrictions": licence(node), "ha_cluster_stack": "xhad", "ha_enabled": bool(node.facts.get("ha")),
        "tls_verification_enabled": node.tls_verification})
    for kind in traits_of(node).storage_drivers:
        db.add("SM", {"name_label": kind.upper(), "type": kind, "vendor": "simulated", "version": "1.0"})
    host = add_host(world, node)
    db.set("pool", pool, master=host)
    show_on_pool(db, traits_of(node), pool)
    if node.facts.get("shared_sr"):
        add_shared_storage(world, node.pool, StorageSpec("own shared", node.name))
    refresh_pool(db)
    db.flush()


def refresh_pool(db: Database) -> None:
    """Write what the pool record sums up over its hosts."""
    infos = [db.get("host", host, "cpu_info") for host in db.refs("host")]
    infos = [info for info in infos if info]
    for pool in db.refs("pool"):
        db.set("pool", pool, cpu_info={
            "features_hvm_host": CPU_FEATURES, "features_pv_host": CPU_FEATURES, "socket_count": str(len(infos)),
            "cpu_count": str(sum(int(info["cpu_count"]) for info in infos)),
            "vendor": infos[0]["vendor"] if infos else ""})


def cpu_info(node: Node) -> dict[str, str]:
    """Return host.cpu_info of a machine."""
    return {"cpu_count": str(node.cpus), "socket_count": "1", "threads_per_core": "1", "vendor": node.cpu_vendor,
            "speed": "2400.000", "modelname": "Simulated CPU", "family": "6", "model": "85", "stepping": "4",
            "flags": "fpu sse sse2", "features_pv": CPU_FEATURES, "features_hvm": CPU_FEATURES,
            "features_hvm_host": CPU_FEATURES, "features_pv_host": CPU_FEATURES}


def capabilities(node: Node) -> list[str]:
    """Return host.capabilities of a machine: what domains its hypervisor can build."""
    return list(CAPABILITIES) if node.facts.get("hvm", True) else CAPABILITIES[:1]


def software_version(node: Node) -> dict[str, str]:
    """Return host.software_version of a machine."""
    major, traits = ".".join(node.version.split(".")[:2]), traits_of(node)
    return {"product_version": "8.2.50", "product_version_text": "8.2.50", "product_version_text_short": "8.2",
            "platform_name": "XCP", "platform_version": node.platform_version, "product_brand": traits.product_brand,
            "build_number": "sim", "git_id": traits.git_id, "hostname": "localhost", "xapi": major,
            "xapi_build": node.version,
            "xen": "4.17.3", "xencenter_min": "2.21", "xencenter_max": "2.21",
            "network_backend": traits.network_backend, "db_schema": traits.db_schema}


def licence(node: Node) -> dict[str, str]:
    """Return what the licence of a machine restricts."""
    return LICENCE | {f"restrict_{feature}": "true" for feature in traits_of(node).restricted}


def start_times(node: Node) -> dict[str, str]:
    """Return the keys of host.other_config that xapi writes when it starts."""
    return {"agent_start_time": f"{node.started_at:.0f}.", "boot_time": f"{node.booted_at:.0f}."}


def add_host(world: "World", node: Node) -> str:
    """Add a machine's own records to its pool's database, live and enabled; return its host record."""
    db, traits = world.pools[node.pool], traits_of(node)
    major, minor = traits.api_version.split(".")
    metrics = db.add("host_metrics", {"memory_total": node.memory_bytes, "live": True,
                                      "last_updated": world.moment()})
    host = db.add("host", {
        "uuid": node.uuid, "name_label": node.name, "name_description": "Default install", "hostname": node.name,
        "address": node.address, "metrics": metrics, "enabled": True, "memory_overhead": HOST_OVERHEAD,
        "API_version_major": int(major), "API_version_minor": int(minor), "API_version_vendor": "XenSource",
        "software_version": software_version(node), "cpu_info": cpu_info(node), "edition": traits.edition,
        "editions": [traits.edition], "external_auth_type": traits.external_auth.split(" ")[0],
        "external_auth_service_name": traits.external_auth.partition(" ")[2],
        "pending_guidances": list(traits.pending_guidances), "capabilities": capabilities(node),
        "virtual_hardware_platform_versions": [0, 1, 2], "chipset_info": {"iommu": "true"}, "ssl_legacy": False,
        "license_params": licence(node), "other_config": start_times(node),
        "tls_verification_enabled": node.tls_verification})
    add_processors(db, node, host)
    db.set("host", host, control_domain=_add_control_domain(world, db, node, host))
    _add_local_storage(db, node, host)
    for device in node.facts["nics"]:
        pif = {"device": device, "network": network_on(db, device), "host": host, "physical": True,
               "MAC": _mac(world), "currently_attached": True}
        if device == MANAGEMENT:
            pif |= {"management": True, "IP": node.address, "netmask": "255.255.255.0",
                    "ip_configuration_mode": "Static", "uuid": node.pif_uuid}
        db.add("PIF", pif)
    show_on_interfaces(db, traits, db.get("host", host, "PIFs"))
    show_on_host(db, traits, host)
    certificate_records.show(world, db, node, host)
    if node.facts.get("bonds"):
        db.add("Bond", {"master": db.get("host", host, "PIFs")[-1]})
    if node.facts.get("vlans"):
        db.add("VLAN", {"tag": 7, "tagged_PIF": db.get("host", host, "PIFs")[-1]})
    return host


def add_processors(db: Database, node: Node, host: str) -> None:
    """Add one record for each processor of a machine."""
    for number in range(node.cpus):
        db.add("host_cpu", {"host": host, "number": number, "vendor": node.cpu_vendor, "speed": 2400,
                            "modelname": "Simulated CPU", "family": 6, "model": 85})


def _mac(world: "World") -> str:
    return ":".join(["52", "54"] + [f"{world.random.randrange(256):02x}" for _ in range(4)])


def network_on(db: Database, device: str) -> str:
    """Return the network of a physical device's bridge, added if need be."""
    bridge = "xenbr" + device.removeprefix("eth")
    for ref in db.refs("network"):
        if db.get("network", ref, "bridge") == bridge:
            return ref
    label = "management" if device == MANAGEMENT else f"Pool-wide network associated with {device}"
    return db.add("network", {"name_label": label, "bridge": bridge})


def _add_control_domain(world: "World", db: Database, node: Node, host: str) -> str:
    metrics = db.add("VM_metrics", {"memory_actual": DOM0_MEMORY, "VCPUs_number": 2})
    return db.add("VM", {
        "name_label": f"Control domain on host: {node.name}", "is_control_domain": True, "power_state": "Running",
        "name_description": "The domain which manages physical devices and manages other domains",
        "resident_on": host, "affinity": host, "domid": 0, "metrics": metrics, "domarch": "x64",
        "domain_type": "pv", "VCPUs_max": 2, "VCPUs_at_startup": 2, "memory_static_max": DOM0_MEMORY,
        "memory_static_min": DOM0_MEMORY, "memory_dynamic_max": DOM0_MEMORY, "memory_dynamic_min": DOM0_MEMORY,
        "memory_target": DOM0_MEMORY, "memory_overhead": overhead_bytes(DOM0_MEMORY, 1, 1.0, "hvm")})


def _add_local_storage(db: Database, node: Node, host: str) -> None:
    repository = db.add("SR", {"name_label": "Local storage", "type": "ext", "content_type": "user",
                               "physical_size": node.local_storage_bytes, "uuid": node.local_sr_uuid})
    db.add("PBD", {"host": host, "SR": repository, "device_config": {"device": "/dev/sda3"},
                   "currently_attached": True})


def add_shared_storage(world: "World", pool: int, one: StorageSpec) -> None:
    """Add a shared repository with a connection from every member."""
    db = world.pools[pool]
    repository = db.add("SR", {"name_label": one.name, "type": one.type, "shared": True, "physical_size": one.size,
                               "content_type": "iso" if one.type == "iso" else "user",
                               "clustered": one.clustered, "_unreachable": list(one.unreachable_from)})
    if one.default:
        for ref in db.refs("pool"):
            db.set("pool", ref, default_SR=repository, suspend_image_SR=repository)
    if one.statefile:
        disk = db.add("VDI", {"name_label": "Statefile for HA", "SR": repository, "type": "ha_statefile"})
        for ref in db.refs("pool"):
            db.set("pool", ref, ha_statefiles=[disk])
    for node in world.members(pool):
        plug_shared_storage(world, node)


def plug_shared_storage(world: "World", node: Node) -> None:
    """Connect a member to every shared repository of its pool that it can reach; xapi does so by itself."""
    db, host = world.pools[node.pool], world.host_of(node)
    known = {db.get("PBD", pbd, "SR"): pbd for pbd in db.get("host", host, "PBDs")}
    for repository in db.refs("SR"):
        reachable = node.name not in (db.get("SR", repository, "_unreachable") or ())
        if db.get("SR", repository, "shared") and repository not in known:
            config = {"server": "storage.invalid", "serverpath": "/" + db.get("SR", repository, "uuid")}
            db.add("PBD", {"host": host, "SR": repository, "device_config": config,
                           "currently_attached": reachable})
        elif repository in known:
            db.set("PBD", known[repository], currently_attached=reachable)


def add_guest(world: "World", vm: VmSpec) -> str:
    """Add a guest of the spec, with disks, interfaces and, if it runs, its domain."""
    node = world.node_named(vm.host)
    db, host = world.pools[node.pool], world.host_of(node)
    low = vm.memory_min or vm.memory
    fields: Row = {
        "name_label": vm.name, "memory_static_max": vm.memory, "memory_dynamic_max": vm.memory,
        "memory_dynamic_min": low, "memory_static_min": min(low, 128 * MIB), "VCPUs_max": vm.vcpus,
        "VCPUs_at_startup": vm.vcpus, "domain_type": vm.domain_type, "affinity": NULL,
        "HVM_boot_policy": "BIOS order" if vm.domain_type == "hvm" else "",
        "blocked_operations": dict(vm.blocked_operations), "_blockers": list(vm.blockers),
        "_dirty_rate": vm.dirty_rate, "_working_set": vm.working_set}
    if "nomigrate" in vm.blockers:
        fields["platform"] = {"nomigrate": "true"}
    if "pci" in vm.blockers:
        fields["other_config"] = {"pci": "0/0000:00:02.0"}
    ref = new_guest(world, db, fields)
    for position, name in enumerate(vm.disks):
        repository = find_storage(db, host, name)
        disk = db.add("VDI", {"name_label": f"{vm.name} {position}", "SR": repository, "virtual_size": vm.disk_size,
                              "type": "user"})
        db.add("VBD", {"VM": ref, "VDI": disk, "userdevice": str(position), "device": f"xvd{chr(97 + position)}",
                       "bootable": position == 0, "mode": "RW", "type": "Disk",
                       "currently_attached": vm.state == "running"})
    if vm.cd:
        repository = drives.own_images(db, host) if vm.cd == "local" else find_storage(db, host, vm.cd)
        drives.insert_image(db, ref, repository, vm.state == "running")
    for position, name in enumerate(vm.networks):
        network = next(one for one in db.refs("network") if db.get("network", one, "name_label") == name)
        db.add("VIF", {"VM": ref, "network": network, "device": str(position), "MAC": _mac(world),
                       "currently_attached": vm.state == "running"})
    if vm.group:
        db.set("VM", ref, groups=[_group(db, vm.group)])
    if vm.state == "running":
        start_domain(world, db, ref, host)
    return ref


def new_guest(world: "World", db: Database, fields: Row) -> str:
    """Add a halted VM record with its metrics and memory overhead."""
    vm = db.add("VM", {**fields, "metrics": db.add("VM_metrics", {})})
    db.set("VM", vm, memory_overhead=overhead_bytes(
        db.get("VM", vm, "memory_static_max"), db.get("VM", vm, "VCPUs_max"),
        db.get("VM", vm, "HVM_shadow_multiplier"), db.get("VM", vm, "domain_type")))
    return vm


def find_storage(db: Database, host: str, name: str) -> str:
    """Return the repository with this name, or the host's own for "local"."""
    for pbd in db.get("host", host, "PBDs"):
        repository = str(db.get("PBD", pbd, "SR"))
        own = not db.get("SR", repository, "shared") and db.get("SR", repository, "content_type") != "iso"
        if own if name == "local" else db.get("SR", repository, "name_label") == name:
            return repository
    raise KeyError(name)


def _group(db: Database, name: str) -> str:
    for ref in db.refs("VM_group"):
        if db.get("VM_group", ref, "name_label") == name:
            return ref
    return db.add("VM_group", {"name_label": name, "placement": "anti_affinity"})


def start_domain(world: "World", db: Database, vm: str, host: str) -> None:
    """Let a VM run on a host: what its record shows from then on."""
    tools = "no_tools" not in (db.get("VM", vm, "_blockers") or ())
    guest = db.add("VM_guest_metrics", {
        "PV_drivers_detected": tools, "live": True, "last_updated": world.moment(),
        "other": GUEST_FEATURES if tools else {}})
    flags: dict[str, Any] = {"vendor": world.node_of_host(db, host).cpu_vendor, "features": CPU_FEATURES}
    db.set("VM", vm, power_state="Running", resident_on=host, scheduled_to_be_resident_on=NULL,
           domid=world.random.randrange(1, 32000), guest_metrics=guest, last_boot_CPU_flags=flags,
           memory_target=db.get("VM", vm, "memory_dynamic_max"))
    _attach(db, vm, attached=True)
    db.set("VM_metrics", db.get("VM", vm, "metrics"), memory_actual=db.get("VM", vm, "memory_dynamic_max"),
           VCPUs_number=db.get("VM", vm, "VCPUs_at_startup"), start_time=world.moment(),
           last_updated=world.moment())


def stop_domain(db: Database, vm: str, state: str = "Halted") -> None:
    """Let a VM run no longer."""
    db.delete("VM_guest_metrics", db.get("VM", vm, "guest_metrics"))
    _attach(db, vm, attached=False)
    db.set("VM", vm, power_state=state, resident_on=NULL, scheduled_to_be_resident_on=NULL, domid=-1,
           guest_metrics=NULL, memory_target=0)


def _attach(db: Database, vm: str, *, attached: bool) -> None:
    for cls in ("VBD", "VIF"):
        for device in db.get("VM", vm, f"{cls}s"):
            db.set(cls, device, currently_attached=attached)
