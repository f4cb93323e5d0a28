"""A disk that refuses the state file: the hosts go on, it is said, and the world is kept once there is room again."""

import json
import logging
import threading
import xmlrpc.client
from pathlib import Path

from agent.simulator import Simulator, default_spec

PATIENCE_S = 30.0


class Heard(logging.Handler):
    """Waits for what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self._news = threading.Condition()
        self._lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Remember it."""
        with self._news:
            self._lines.append(record.getMessage())
            self._news.notify_all()

    def until(self, words: str) -> None:
        """Wait for a line with ``words``."""
        with self._news:
            assert self._news.wait_for(lambda: any(words in line for line in self._lines), PATIENCE_S), self._lines


def test_hosts_outlive_a_disk_that_takes_nothing_and_are_kept_once_it_does(tmp_path: Path) -> None:
    folder, elsewhere, heard = tmp_path / "state", tmp_path / "elsewhere", Heard()
    folder.mkdir()
    simulator = Simulator(default_spec(1, 1, 0), state_path=folder / "world.json")
    logging.getLogger("agent.simulator").addHandler(heard)
    simulator.start()
    try:
        host = xmlrpc.client.ServerProxy(simulator.hosts[0][1])
        session = host.session.login_with_password(*simulator.login)["Value"]  # type: ignore[index]
        (pool,) = host.pool.get_all(session)["Value"]  # type: ignore[index,misc]
        folder.rename(elsewhere)
        host.pool.set_name_label(session, pool, "first")
        heard.until("can't be kept in")
        elsewhere.rename(folder)
        host.pool.set_name_label(session, pool, "second")
        heard.until("is kept in")
    finally:
        simulator.stop()
        logging.getLogger("agent.simulator").removeHandler(heard)
    assert "second" in json.dumps(json.loads((folder / "world.json").read_text()))
    assert [path.name for path in folder.iterdir()] == ["world.json"]
