"""Several conductors tell what one database keeps for other services: each thing once, on each kind of database."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from common.clock import SystemClock
from conductor import aggregates, notify
from conductor.db.session import Database
from conductor.operations.engine import Engine
from conductor.operations.settings import Settings

CHANGES, CONDUCTORS = 120, 3


def test_what_several_conductors_tell_at_once_is_told_once(database_url: str) -> None:
    database = Database(database_url)
    database.upgrade()
    told: list[str] = []
    lock = threading.Lock()

    def hear(event_type: str, payload: dict[str, Any]) -> None:
        with lock:
            told.append(payload["aggregate"]["name"])

    engines = [Engine(database, lambda *ring: None, SystemClock(), Settings(), f"c{number}", notify.write)
               for number in range(CONDUCTORS)]
    names = [f"rack{number}" for number in range(CHANGES)]
    try:
        with ThreadPoolExecutor(2 * CONDUCTORS) as together:
            made = [together.submit(engines[number % CONDUCTORS].run, lambda tx, name=name: aggregates.create(
                tx, name, None, {})) for number, name in enumerate(names)]
            tellers = [together.submit(notify.Teller(engine, hear).tell_all) for engine in engines]
            for one in [*made, *tellers]:
                one.result(60)
        for engine in engines:
            notify.Teller(engine, hear).tell_all()
        assert Counter(told) == Counter(names)
    finally:
        database.close()
