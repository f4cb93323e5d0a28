"""The control listener: what a checker or a test may read and do from outside, as JSON over HTTP.

    GET    /simulator                    time, speed, machines, and domains that no record shows
    GET    /simulator/calls?after=N      calls with a greater number, oldest first
    GET    /simulator/faults             rules at work and incidents to come
    POST   /simulator/faults             put in faults: a list as in a world file; answers their numbers
    DELETE /simulator/faults[/NUMBER]    end one, or all

Off unless asked for; it listens on loopback and asks for no password. Knows no XenAPI.
"""

import json
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

from agent.simulator import incidents, strays
from agent.simulator.failure import WorldError
from agent.simulator.fault_spec import check_faults, faults_of
from agent.simulator.server import Request, Response
from agent.simulator.world import World

ROOT = "/simulator"
MOST_CALLS = 5000  # in one answer


class Control:
    """Answers requests about one world; `changed` is the lock of the world, `tell` wakes who waits for changes."""

    def __init__(self, world: World, changed: threading.Condition, tell: Callable[[], None], speed: float) -> None:
        self._world, self._changed, self._tell, self._speed = world, changed, tell, speed

    def answer(self, request: Request) -> Response:
        """Return the reply; whatever is wrong with a request is 4xx with `error`."""
        url = urlsplit(request.path)
        path = url.path.rstrip("/")
        number = path.removeprefix(f"{ROOT}/faults/")
        with self._changed:
            self._world.advance()
            try:
                if path == f"{ROOT}/faults" or (number.isdigit() and path != number):
                    return self._faults(request, int(number) if number.isdigit() else 0)
                if path not in (ROOT, f"{ROOT}/calls"):
                    return _reply(404, {"error": f"there is nothing at {path or '/'}; see {ROOT}"})
                if request.method != "GET":
                    return _reply(405, {"error": f"{path} is only read"})
                return self._calls(parse_qs(url.query)) if path.endswith("/calls") else _reply(200, self._state())
            except WorldError as exc:
                return _reply(400, {"error": str(exc)})
            finally:
                self._tell()

    def _state(self) -> dict[str, Any]:
        world = self._world
        machines = [{"name": node.name, "address": node.address, "uuid": node.uuid, "power": node.power,
                     "cut": node.cut, "master": node.master or node.address, "link": node.link_bytes_per_s}
                    for node in world.nodes.values()]
        return {"now": world.now, "speed": self._speed, "last_call": world.calls.last, "hosts": machines,
                "strays": strays.listed(world)}

    def _calls(self, query: dict[str, list[str]]) -> Response:
        after = query.get("after", ["0"])[0]
        if not after.isdigit():
            raise WorldError(f"after: a number is expected, not {after!r}")
        found = self._world.calls.after(int(after))[:MOST_CALLS]
        return _reply(200, {"calls": [record.save() for record in found], "last": self._world.calls.last})

    def _faults(self, request: Request, number: int) -> Response:
        world = self._world
        if request.method == "DELETE":
            ended = incidents.take_out(world, number)
            return _reply(200 if ended or not number else 404, {"ended": ended})
        if request.method == "POST" and not number:
            try:
                specs = faults_of(json.loads(request.body or b""))
            except (ValueError, RecursionError) as exc:
                raise WorldError(str(exc) if isinstance(exc, WorldError) else f"the body is not JSON: {exc}") from exc
            names = {name for db in world.pools.values() for name in (db.get("VM", vm, "name_label")
                                                                     for vm in db.refs("VM"))}
            check_faults(specs, {node.name for node in world.nodes.values()}, names)
            return _reply(200, {"numbers": incidents.put_in(world, specs)})
        if request.method != "GET" or number:
            return _reply(405, {"error": "GET, POST and DELETE are understood, the number only with DELETE"})
        return _reply(200, {"rules": [rule.save() for rule in world.faults], "incidents": incidents.pending(world)})


def _reply(status: int, body: dict[str, Any]) -> Response:
    return Response(status, "application/json", json.dumps(body).encode() + b"\n")
