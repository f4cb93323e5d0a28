"""What a daemon says of a broker when it starts."""

import logging
import queue
from collections.abc import Iterator

import pytest
from oslo_config import cfg

from common import rpc
from common.standing import Look
from tools.servers.guarded import free_port


@pytest.fixture
def said() -> Iterator["queue.Queue[str]"]:
    """What is said of brokers."""
    lines: queue.Queue[str] = queue.Queue()

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.put(record.getMessage())
    ear, logger = Ear(), logging.getLogger("common.broker")
    logger.addHandler(ear)
    yield lines
    logger.removeHandler(ear)


def test_a_broker_that_is_away_at_the_start_is_named_with_its_address_once(said: "queue.Queue[str]") -> None:
    port = free_port()
    conf = cfg.ConfigOpts()
    conf([], project="corral", default_config_files=[])
    url = f"rabbit://corral:secret@127.0.0.1:{port}/corral"
    rpc.transport(url, conf).cleanup()
    conf.set_override("transport_url", url)
    look = Look(conf, (), None)
    assert look.once() == look.once() == 10.0
    assert said.get_nowait().startswith(f"The broker at 127.0.0.1:{port} can't be reached: ")
    assert said.empty(), "it is said once"
