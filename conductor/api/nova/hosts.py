"""os-hosts: the hosts, their status and their maintenance, in Nova's form.

Nova promised ``on_maintenance`` while VMs still ran; here 200 means observed, and
202 with ``entering_`` or ``leaving_maintenance`` means accepted.
"""

from common import errors
from conductor.api.exchange import Answer, Json, Request, accepted

MIB = 2 ** 20

#: what a host's computed state means in Nova's words; all others are off_maintenance
_MODES = {"in_maintenance": "on_maintenance", "draining": "entering_maintenance",
          "restoring": "leaving_maintenance"}


def index(request: Request) -> Answer:
    """List the hosts, also those out of service, and the conductors; ``zone`` narrows."""
    zone = request.query.get("zone") or None
    return Answer({"hosts": [{"host_name": one["host"], "service": one["binary"].removeprefix("nova-"),
                              "zone": one["zone"]}
                             for one in request.ask("service_list")["services"] if zone in (None, one["zone"])]})


def show(request: Request) -> Answer:
    """Show a host's memory: all of it, what is in use, what its running VMs may use.

    Disks are not counted by Corral, so ``disk_gb`` is 0 throughout.
    """
    host = request.ask("host_show", host=request.path["host"])
    known = request.ask("host_vms", host=request.path["host"])["vms"]
    vms = [vm for vm in known if vm["host"] == host["name"]]
    total, free = host["memory_total_bytes"] or 0, host["memory_free_bytes"] or 0
    vcpus = sum(vm["vcpus"] for vm in vms)
    rows = (("(total)", host.get("cpus") or 0, total), ("(used_now)", vcpus, total - free),
            ("(used_max)", vcpus, sum(vm["memory_bytes"] for vm in vms)))
    return Answer({"host": [{"resource": {"host": host["name"], "project": project, "cpu": cpu,
                                          "memory_mb": memory_bytes // MIB, "disk_gb": 0}}
                            for project, cpu, memory_bytes in rows]})


def update(request: Request) -> Answer:
    """Change status, maintenance mode, or both; 200 only when what is asked is observed already."""
    status = request.body.get("status", "").lower()
    mode = request.body.get("maintenance_mode", "").lower()
    if not mode:
        return _set_status(request, status)
    if status and status == mode:
        request.ask("host_show", host=request.path["host"])
        raise errors.Invalid("A host in maintenance is disabled, so status and maintenance_mode contradict "
                             "each other; ask for one after the other", code="contradiction")
    if mode == "enable":
        return _answer(request.ask("maintenance_start", host=request.path["host"], options={}))
    ended = request.ask("maintenance_stop", host=request.path["host"], options={})
    if status and ended["operation"] is None and not ended["host"]["enabled"]:
        # it was not in maintenance, only disabled
        return _set_status(request.second(), status)
    return _answer(ended)


def power(request: Request) -> Answer:
    """Refuse: Nova's startup, shutdown and reboot act on the machine at once and harm its guests."""
    request.ask("host_show", host=request.path["host"])
    raise errors.NotImplementedYet("Corral does not start, stop or reboot a host by itself; "
                                   "a rolling upgrade empties it first")


def _set_status(request: Request, status: str) -> Answer:
    answer = request.ask(f"host_{status}", host=request.path["host"])
    host, operation = answer["host"], answer["operation"]
    return accepted({"host": host["name"], "maintenance_mode": _MODES.get(host["state"], "off_maintenance"),
                     "status": f"{status}d"}, operation)


def _answer(changed: Json) -> Answer:
    host = changed["host"]
    return accepted({"host": host["name"], "maintenance_mode": changed["maintenance_mode"],
                     "status": "enabled" if host["enabled"] else "disabled"}, changed["operation"])
