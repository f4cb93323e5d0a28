"""A plain oslo.messaging call with a constant answer: what every figure over RabbitMQ is measured beside.

The client is for the bench's process; as a program, `python -m tools.bench.bare FILE URL`,
it is the server.  Both read the same configuration file.  Nothing of Corral's own edge to
the broker is used, only the settings for queues that it ships.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# isort: off
from common import concurrency  # noqa: F401  it has to come before oslo_messaging
# isort: on
import oslo_messaging
from oslo_config import cfg

from common import service, shipped
from tools.bench.processes import Broken, running

TOPIC, TIMEOUT_S = "bench.bare", 60.0
ANSWER = {"aggregate": {"id": 1, "name": "rack1", "availability_zone": "zone1", "hosts": ["h1", "h2", "h3", "h4"]}}


class Endpoint:
    """The one method."""

    def show(self, context: dict[str, Any], aggregate: int) -> dict[str, Any]:
        """Answer always the same."""
        return ANSWER


class Bare:
    """The client; for any thread."""

    def __init__(self, file: Path, url: str) -> None:
        self._transport = _transport(str(file), url)
        self._client = oslo_messaging.get_rpc_client(self._transport, oslo_messaging.Target(topic=TOPIC),
                                                     timeout=TIMEOUT_S)

    def call(self) -> None:
        """Ask, and get the answer.  Raises Broken."""
        try:
            answer = self._client.call({}, "show", aggregate=1)
        except oslo_messaging.MessagingException as exc:
            raise Broken(f"a bare call was not answered: {exc}") from exc
        if answer != ANSWER:
            raise Broken(f"a bare call was answered with {answer}")

    def close(self) -> None:
        """Close the connections."""
        self._transport.cleanup()


@contextmanager
def served(folder: Path, url: str) -> Iterator[Bare]:
    """Run a server in a process of its own, and give a client of it."""
    file = folder / "bare.conf"
    lines = [f"{name} = {value}" for name, value in shipped.DEFAULTS.items()]
    file.write_text("\n".join([f"[{shipped.GROUP}]", *lines, ""]), encoding="utf-8")
    with running([sys.executable, "-m", "tools.bench.bare", str(file), url], folder / "bare.log"):
        client = Bare(file, url)
        try:
            yield client
        finally:
            client.close()


def _transport(file: str, url: str) -> Any:
    # On a configuration that is not the global one, oslo.messaging drops every message.
    cfg.CONF(["--config-file", file], project="corral", default_config_files=[], default_config_dirs=[])
    return oslo_messaging.get_rpc_transport(cfg.CONF, url=url)


def main(file: str, url: str) -> int:
    """Serve until told to stop."""
    stop = service.Stop()
    stop.catch()
    target = oslo_messaging.Target(topic=TOPIC, server="bare")
    server = oslo_messaging.get_rpc_server(_transport(file, url), target, [Endpoint()], executor="threading")
    server.start()
    print("ready", flush=True)
    status = stop.wait()
    server.stop()
    server.wait()
    return status


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
