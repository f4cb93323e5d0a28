"""A process that serves one constant answer by the API's own HTTP server: the bound of every REST figure."""

import sys
from collections.abc import Callable, Iterable
from typing import Any

from common import service
from conductor.api.serve import Service

ANSWER = b'{"aggregate": {"id": 1, "name": "rack1", "availability_zone": "zone1", "hosts": ["h1", "h2", "h3", "h4"]}}'


def app(environment: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer every request the same."""
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(ANSWER)))])
    return [ANSWER]


def main() -> int:
    """Serve until told to stop."""
    stop = service.Stop()
    stop.catch()
    api = Service(app, "127.0.0.1", 0)
    api.start()
    print(f"ready: {api.url}", flush=True)
    status = stop.wait()
    api.stop()
    return status


if __name__ == "__main__":
    sys.exit(main())
