"""os-hypervisors, read-only: the hosts with what runs on them.

Disks are not counted by Corral: what is about them is 0, or null where Nova allows it.
"""

from common import errors
from conductor.api.exchange import Answer, Json, Request
from conductor.api.nova.paging import page
from conductor.api.reading import number

MIB = 2 ** 20
#: as Nova's own driver for these hosts called them
TYPE = "XenServer"

_COUNTED = ("current_workload", "disk_available_least", "free_disk_gb", "free_ram_mb", "local_gb", "local_gb_used",
            "memory_mb", "memory_mb_used", "running_vms", "vcpus", "vcpus_used")


def index(request: Request) -> Answer:
    """List the hypervisors."""
    return _listed(request, "/v2.1/os-hypervisors", [_short(one) for one in _all(request)])


def detail(request: Request) -> Answer:
    """List the hypervisors with all that is known of them."""
    return _listed(request, "/v2.1/os-hypervisors/detail", [_long(request, one) for one in _all(request)])


def show(request: Request) -> Answer:
    """Show one hypervisor."""
    return Answer({"hypervisor": _long(request, _one(request))})


def uptime(request: Request) -> Answer:
    """Show since when the host is up, as dom0's ``uptime`` begins; who is logged in there is not known."""
    one = _one(request)
    if one["service"]["state"] != "up":
        raise errors.Invalid(f"Compute service of {one['host']} is unavailable at this time.", code="agent_unheard")
    if one["boot_time_s"] is None or one["observed_at_s"] is None:
        raise errors.Invalid(f"When host {one['host']} was booted has not been read yet", code="agent_unheard")
    return Answer({"hypervisor": {**_short(one), "uptime": _uptime(one["boot_time_s"], one["observed_at_s"])}})


def statistics(request: Request) -> Answer:
    """Add up the hypervisors that are enabled, as Nova does."""
    found = [_long(request, one) for one in _all(request) if one["service"]["status"] == "enabled"]
    return Answer({"hypervisor_statistics": {
        "count": len(found), **{key: sum(one[key] or 0 for one in found) for key in _COUNTED}}})


def search(request: Request) -> Answer:
    """List the hypervisors whose name has the text in it; 404 when there is none."""
    return Answer({"hypervisors": [_short(one) for one in _matching(request)]})


def servers(request: Request) -> Answer:
    """List the VMs of the hypervisors whose name has the text in it; 404 when there is none."""
    return Answer({"hypervisors": [_with_servers(one) for one in _matching(request)]})


def _all(request: Request) -> list[Json]:
    found: list[Json] = request.ask("hypervisor_list")["hypervisors"]
    return found


def _one(request: Request) -> Json:
    wanted = request.path["hypervisor"]
    named = number("hypervisor", wanted, "host_not_found", of_text=errors.NotFound)
    found = next((one for one in _all(request) if one["id"] == named), None)
    if found is None:
        raise errors.NotFound(f"Hypervisor with ID '{wanted[:50]}' could not be found.", code="host_not_found")
    return found


def _matching(request: Request) -> list[Json]:
    wanted = request.path["hypervisor"]
    found = [one for one in _all(request) if wanted in one["host"]]
    if not found:
        raise errors.NotFound(f"No hypervisor matching '{wanted[:50]}' could be found.", code="host_not_found")
    return found


def _listed(request: Request, path: str, found: list[Json]) -> Answer:
    if request.version < (2, 33):
        return Answer({"hypervisors": found})
    return Answer(page(found, request.query, request.url + path, "hypervisors"))


def _short(one: Json) -> Json:
    return {"id": one["id"], "hypervisor_hostname": one["host"], "state": one["service"]["state"],
            "status": one["service"]["status"]}


def _with_servers(one: Json) -> Json:
    servers = [{"uuid": vm["uuid"], "name": vm["name"]} for vm in one["vms"]]
    return {**_short(one), "servers": servers} if servers else _short(one)


def _long(request: Request, one: Json) -> Json:
    total, free = one["memory_total_bytes"] or 0, one["memory_free_bytes"] or 0
    service = one["service"]
    return {
        **_short(one), "hypervisor_type": TYPE, "hypervisor_version": _version(one["version"]),
        "host_ip": one["address"], "cpu_info": {} if request.version >= (2, 28) else "{}",
        "vcpus": one["cpus"] or 0, "vcpus_used": one["vcpus_used"],
        "memory_mb": total // MIB, "free_ram_mb": free // MIB, "memory_mb_used": (total - free) // MIB,
        "local_gb": 0, "local_gb_used": 0, "free_disk_gb": 0, "disk_available_least": None,
        "running_vms": one["running"], "current_workload": one["busy"],
        "service": {"id": service["id"], "host": service["host"], "disabled_reason": service["disabled_reason"]}}


def _version(text: str) -> int:
    """Return "3.4.0" as 3004000, Nova's integer."""
    parts = [int(part) for part in text.split(".")[:3] if part.isdigit()]
    major, minor, patch = (*parts, 0, 0, 0)[:3]
    return major * 1_000_000 + minor * 1_000 + patch


def _uptime(boot_time_s: float, now_s: float) -> str:
    minutes = max(int(now_s - boot_time_s), 0) // 60
    days, rest = divmod(minutes, 24 * 60)
    clock = f"{int(now_s) // 3600 % 24:02}:{int(now_s) // 60 % 60:02}:{int(now_s) % 60:02}"
    up = f"{days} day{'' if days == 1 else 's'}, " if days else ""
    return f" {clock} up {up}{rest // 60:2}:{rest % 60:02}"
