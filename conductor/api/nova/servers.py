"""servers, as far as their migrations need it: the VMs of all pools, and os-migrateLive of one.

Corral creates no VM and changes none: all else that Nova does with a server is not here.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from common import errors
from conductor.api.exchange import Answer, Json, Request
from conductor.api.nova.paging import page

#: Nova's status, vm_state and number for each power state
_STATES = {"Running": ("ACTIVE", "active", 1), "Paused": ("PAUSED", "paused", 3),
           "Suspended": ("SUSPENDED", "suspended", 7), "Halted": ("SHUTOFF", "stopped", 4)}
_OTHER = ("UNKNOWN", "active", 0)

#: refusals of os-migrateLive that are 400 in Nova, of the classes that are 409 or 404 elsewhere
_BAD_REQUESTS = frozenset({"no_plan", "host_in_other_pool", "host_not_found"})


def index(request: Request) -> Answer:
    """List the VMs with name and links."""
    return Answer(page([_short(request, vm) for vm in _found(request)], _page_of(request),
                       request.url + "/v2.1/servers", "servers"))


def detail(request: Request) -> Answer:
    """List the VMs with all that is known of them."""
    return Answer(page([_form(request, vm) for vm in _found(request)], _page_of(request),
                       request.url + "/v2.1/servers/detail", "servers"))


def show(request: Request) -> Answer:
    """Show one VM."""
    return Answer({"server": _form(request, request.ask("vm_show", vm=request.path["server"]))})


def act(request: Request) -> Answer:
    """Begin to migrate one VM live; 202 with the operation."""
    asked = request.body["os-migrateLive"]
    request.ask("vm_show", vm=request.path["server"])
    _check(request, asked)
    with _bad_request():
        begun = request.ask("vm_migrate", vm=request.path["server"], host=asked["host"])
    return Answer(None, 202, {"Corral-Operation": str(begun["operation"]["id"])})


def _check(request: Request, asked: Json) -> None:
    """Raise Invalid for what the microversion doesn't know, and for what Corral can't do."""
    if request.version < (2, 25):
        if "disk_over_commit" not in asked:
            raise errors.Invalid("Invalid input: 'disk_over_commit' is a required property")
        if asked["block_migration"] == "auto":
            raise errors.Invalid("Invalid input: block_migration: 'auto' is possible since 2.25")
    elif "disk_over_commit" in asked:
        raise errors.Invalid("Invalid input: Additional properties are not allowed ('disk_over_commit' was unexpected)")
    if "force" in asked and request.version < (2, 30):
        raise errors.Invalid("Invalid input: Additional properties are not allowed ('force' was unexpected)")
    if _is_true(asked["block_migration"]):
        raise errors.Invalid("Corral moves VMs whose disks are on shared storage; it can't move disks along "
                             "(block_migration)", code="block_migration")
    if _is_true(asked.get("force", False)):
        raise errors.Invalid("A move that breaks a rule of the hypervisor fails there; Corral does not skip its checks "
                             "(force)", code="force_refused")


def _is_true(value: Any) -> bool:
    return str(value).lower() in ("true", "1", "on", "yes")


@contextmanager
def _bad_request() -> Iterator[None]:
    """Make 400 of what Nova answers so here."""
    try:
        yield
    except (errors.Infeasible, errors.NotFound) as exc:
        if exc.code not in _BAD_REQUESTS:
            raise
        raise errors.Invalid(exc.message, code=exc.code, **exc.details) from exc


def _found(request: Request) -> list[Json]:
    query = request.query
    found: list[Json] = request.ask("vm_list", host=query.get("host") or None)["vms"]
    return [vm for vm in found if _is_named(vm["name"], query.get("name") or "")
            and query.get("status", "").upper() in ("", _status(vm))]


def _is_named(name: str, wanted: str) -> bool:
    """Match as Nova's clients ask: ``^name$`` is the whole name, else a part of it; no other expression is one."""
    plain = re.sub(r"\\(.)", r"\1", wanted.removeprefix("^").removesuffix("$"))
    if wanted.startswith("^") and wanted.endswith("$"):
        return name == plain
    return name.startswith(plain) if wanted.startswith("^") else plain in name


def _page_of(request: Request) -> Json:
    return {key: request.query[key] for key in request.query if key in ("limit", "marker", "name", "host", "status")}


def _status(vm: Json) -> str:
    return "MIGRATING" if vm["moving_to"] else _STATES.get(vm["power_state"], _OTHER)[0]


def _short(request: Request, vm: Json) -> Json:
    path = f"servers/{vm['uuid']}"
    return {"id": vm["uuid"], "name": vm["name"], "links": [
        {"rel": "self", "href": f"{request.url}/v2.1/{path}"}, {"rel": "bookmark", "href": f"{request.url}/{path}"}]}


def _form(request: Request, vm: Json) -> Json:
    _, state, number = _STATES.get(vm["power_state"], _OTHER)
    return {
        **_short(request, vm), "status": _status(vm), "hostId": "", "tenant_id": "", "user_id": "",
        "created": None, "updated": vm["observed_at"], "metadata": {}, "addresses": {}, "image": "", "flavor": {},
        "accessIPv4": "", "accessIPv6": "", "config_drive": "", "key_name": None, "security_groups": [],
        "OS-EXT-AZ:availability_zone": vm["zone"], "OS-EXT-SRV-ATTR:host": vm["host"],
        "OS-EXT-SRV-ATTR:hypervisor_hostname": vm["host"], "OS-EXT-SRV-ATTR:instance_name": vm["name"],
        "OS-EXT-STS:vm_state": state, "OS-EXT-STS:power_state": number,
        "OS-EXT-STS:task_state": "migrating" if vm["moving_to"] else None,
        "os-extended-volumes:volumes_attached": []}
