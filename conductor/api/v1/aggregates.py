"""An aggregate with the state of each member, which Nova's form has no room for."""

from conductor.api.exchange import Answer, Request


def show(request: Request) -> Answer:
    """Show the aggregate, its members (joining, member, leaving) and its pool's foreign hosts."""
    return Answer({"aggregate": request.ask("aggregate_show", id=request.path["aggregate"])})
