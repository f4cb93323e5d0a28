"""Plans: previews that can be approved by their id."""

from conductor.api.exchange import Answer, Request


def create(request: Request) -> Answer:
    """Plan without claiming anything; 409 with every blocker when nothing fits."""
    plan = request.ask("plan_create", host=request.body["host"], wanted=request.body["wanted"],
                       options=request.body.get("options", {}))
    return Answer({"plan": plan}, 201, {"Location": f"{request.url}/v1/plans/{plan['id']}"})


def show(request: Request) -> Answer:
    """Show a stored plan."""
    return Answer({"plan": request.ask("plan_show", id=request.path["plan"])})
