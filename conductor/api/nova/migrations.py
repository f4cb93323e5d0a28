"""os-migrations and the migrations of a server: a view of Corral's moves in Nova's words."""

from common import errors
from conductor.api.exchange import Answer, Json, Request, accepted
from conductor.api.nova.paging import since
from conductor.api.reading import number

#: Nova's word for each state of a move's task
STATUS = {"pending": "queued", "sent": "preparing", "executing": "running", "unknown": "running",
          "done": "completed", "failed": "error", "skipped": "cancelled"}

_OPEN = ("queued", "preparing", "running")
_TYPE = "live-migration"


def index(request: Request) -> Answer:
    """List the newest moves; ``host`` (either end), ``instance_uuid``, ``status``, ``source_compute`` and
    ``migration_type`` narrow.
    """
    query = request.query
    filters = {"host": query.get("host") or None, "vm": query.get("instance_uuid") or None}
    found = request.ask("migration_list", filters=filters)["migrations"]
    forms = [_form(request, one) for one in found
             if query.get("status") in (None, "", STATUS[one["state"]])
             and query.get("source_compute") in (None, "", one["source"])
             and query.get("migration_type") in (None, "", _TYPE)]
    return Answer({"migrations": forms})


def of_server(request: Request) -> Answer:
    """List the server's moves that have not ended; since 2.23."""
    since(request, (2, 23))
    server = request.ask("vm_show", vm=request.path["server"])["uuid"]
    found = request.ask("migration_list", filters={"vm": server, "open": True})["migrations"]
    return Answer({"migrations": [_of_server(one) for one in found]})


def show(request: Request) -> Answer:
    """Show one move of the server that has not ended; since 2.23."""
    since(request, (2, 23))
    request.ask("vm_show", vm=request.path["server"])
    return Answer({"migration": _of_server(_one(request))})


def abort(request: Request) -> Answer:
    """Cancel one move of the server; since 2.24.  Whether one that was begun could still be ended, its status says."""
    since(request, (2, 24))
    operation = request.ask("migration_abort", vm=request.path["server"], id=_number(request))
    return Answer(None, 202, accepted({}, operation).headers)


def act(request: Request) -> Answer:
    """Refuse force_complete, since 2.22: it would pause the guest."""
    since(request, (2, 22))
    request.ask("vm_show", vm=request.path["server"])
    _one(request)
    raise errors.NotImplementedYet("Corral can't force a live migration to end: the hypervisor has no call for it")


def _number(request: Request) -> int:
    return number("migration", request.path["migration"], "migration_not_found", of_text=errors.NotFound)


def _one(request: Request) -> Json:
    """Return the open move that the URL names, of its server.  Raises NotFound."""
    found: Json = request.ask("migration_show", id=_number(request))
    if found["vm"] != request.path["server"] or STATUS[found["state"]] not in _OPEN:
        raise errors.NotFound(f"In-progress live migration {found['id']} is not found for server "
                              f"{request.path['server']}.", code="migration_not_found")
    return found


def _ends(one: Json) -> Json:
    return {"id": one["id"], "source_compute": one["source"], "source_node": one["source"],
            "dest_compute": one["destination"], "dest_node": one["destination"],
            "dest_host": one["destination_address"], "status": STATUS[one["state"]],
            "created_at": one["created_at"], "updated_at": one["updated_at"]}


def _form(request: Request, one: Json) -> Json:
    form = {**_ends(one), "instance_uuid": one["vm"], "old_instance_type_id": None, "new_instance_type_id": None}
    if request.version < (2, 23):
        return form
    form["migration_type"] = _TYPE
    if form["status"] in _OPEN:
        path = f"servers/{one['vm']}/migrations/{one['id']}"
        form["links"] = [{"rel": "self", "href": f"{request.url}/v2.1/{path}"},
                         {"rel": "bookmark", "href": f"{request.url}/{path}"}]
    return form


def _of_server(one: Json) -> Json:
    total = one["memory_bytes"] or 0
    processed = min(int(total * one["progress"]), total)
    return {**_ends(one), "server_uuid": one["vm"], "memory_total_bytes": total, "memory_processed_bytes": processed,
            "memory_remaining_bytes": total - processed, "disk_total_bytes": 0, "disk_processed_bytes": 0,
            "disk_remaining_bytes": 0}
