"""os-availability-zone: the zones that hosts are in, each available while a host in it is wanted to serve."""

from conductor.api.exchange import Answer, Json, Request

INTERNAL = "internal"


def index(request: Request) -> Answer:
    """List the zones of hosts."""
    zones = _by_zone(request)
    zones.pop(INTERNAL, None)
    return Answer({"availabilityZoneInfo": [_form(zone, _is_available(there), None)
                                            for zone, there in sorted(zones.items())]})


def detail(request: Request) -> Answer:
    """List the zones with what is in them, that of the conductors too; an unavailable zone's hosts aren't shown."""
    return Answer({"availabilityZoneInfo": [
        _form(zone, _is_available(there), _hosts(there) if _is_available(there) else None)
        for zone, there in sorted(_by_zone(request).items())]})


def _by_zone(request: Request) -> dict[str, list[Json]]:
    found: dict[str, list[Json]] = {}
    for service in request.ask("service_list")["services"]:
        found.setdefault(service["zone"], []).append(service)
    return found


def _is_available(services: list[Json]) -> bool:
    return any(service["status"] == "enabled" for service in services)


def _form(zone: str, available: bool, hosts: Json | None) -> Json:
    return {"zoneName": zone, "zoneState": {"available": available}, "hosts": hosts}


def _hosts(services: list[Json]) -> Json:
    found: dict[str, Json] = {}
    for service in services:
        found.setdefault(service["host"], {})[service["binary"]] = {
            "available": service["state"] == "up", "active": service["status"] == "enabled",
            "updated_at": service["updated_at"]}
    return found
