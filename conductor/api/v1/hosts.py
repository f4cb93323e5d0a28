"""Hosts: their state, their VMs, their maintenance with plan and options."""

from conductor.api.exchange import Answer, Request, accepted


def index(request: Request) -> Answer:
    """List the hosts; ``zone`` narrows."""
    return Answer(request.ask("host_list", zone=request.query.get("zone")))


def show(request: Request) -> Answer:
    """Show one host: state, what is wanted, owner."""
    return Answer({"host": request.ask("host_show", host=request.path["host"])})


def forget(request: Request) -> Answer:
    """Forget a host whose agent is down, so that another machine may come by its name."""
    request.ask("host_forget", host=request.path["host"])
    return Answer(None, 204)


def vms(request: Request) -> Answer:
    """List the VMs on the host and those whose home it is."""
    return Answer(request.ask("host_vms", host=request.path["host"]))


def maintain(request: Request) -> Answer:
    """Start or stop maintenance; 200 when it is observed already, else 202 with the operation."""
    options = dict(request.body.get("options", {}))
    if "plan" in request.body:
        options["plan"] = request.body["plan"]
    method = "maintenance_start" if request.body["wanted"] == "enable" else "maintenance_stop"
    answer = request.ask(method, host=request.path["host"], options=options)
    return accepted(answer, answer["operation"])
