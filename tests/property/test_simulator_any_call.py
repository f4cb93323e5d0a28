"""Whatever is called with whatever arguments: it is answered or refused, on both wires, and the world goes on."""

import json
import random
from contextlib import suppress
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.simulator import DirectClient, Dropped, Failure, direct_world, wire_json, wire_xml
from agent.simulator.spec import load_spec
from agent.simulator.state import load_world, save_world
from agent.simulator.table import NULL, load_enums, load_table

CALLS = 400
WORLD = load_spec(Path(__file__).parents[2] / "etc" / "worlds" / "home-lab.yaml")
MESSAGES = list(load_table().messages.values())
WORDS = ("", "x", "VM", "127.1.0.2", "secret", 'field "uuid" = "x"', "<&", "0x10", "auto")
PLAIN: dict[str, tuple[Any, ...]] = {
    "bool": (True, False), "int": (0, 1, -1, 2**40, 2**70, "7", "0x10"), "string": WORDS,
    "float": (0.0, 1.5, -3.0, 1e308, float("inf"), float("nan")), "datetime": ("19700101T00:00:00Z", "junk", "")}
ENVELOPE = {"v2": True, "id": 1}
AMISS: tuple[Any, ...] = (None, [], {}, "x", 3, True, 1.5)


class Caller:
    """Calls anything, with arguments that mostly have the right type."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        world, clock = direct_world(WORLD, seed=seed)
        self.client = DirectClient(world, clock, "127.1.0.1").login()

    def call(self) -> None:
        """Make one call; a failure is an answer like any other."""
        message, chance = self.random.choice(MESSAGES), self.random.random()
        args = [self.value(kind) if self.random.random() > 0.02 else self.random.choice(AMISS)
                for _name, kind in message.params]
        name = f"Async.{message.full_name}" if message.is_async and chance < 0.4 else message.full_name
        given = [self.client.session, *args] if message.needs_session else args
        try:
            result = self.client.world.call(self.client.address, name, given)
            if not hasattr(result, "poll"):
                assert wire_xml.encode_success(result) and wire_json.encode_success(result, ENVELOPE)
        except Failure as failure:
            said = failure.description
            assert wire_xml.encode_failure(said) and wire_json.encode_failure(said, ENVELOPE)
        except Dropped:
            pass
        if chance < 0.05:
            self.client.pass_time(self.random.choice((0.1, 1, 20, 100)))
            with suppress(Failure, Dropped):  # sessions come and go like hosts
                self.client.login()

    def value(self, kind: str) -> Any:
        """Return a value of a type of the table, sensible or not."""
        if kind.endswith(" set"):
            return [self.value(kind[:-4]) for _ in range(self.random.randint(0, 2))]
        if kind.endswith(" map"):
            key, item = kind[1:-5].split(" -> ")
            return {str(self.value(key)): self.value(item) for _ in range(self.random.randint(0, 2))}
        if kind.endswith(" ref"):
            known = self.client.db().rows.get(kind[:-4], {})
            return self.random.choice([*known, *known, NULL, "OpaqueRef:none"])
        if kind.endswith(" record"):
            fields = load_table().classes[kind[:-7]].fields
            return {name: self.value(field.type) for name, field in fields.items() if self.random.random() < 0.4}
        if kind.startswith("enum "):
            return self.random.choice([*load_enums().get(kind[5:], ()), "no such word"])
        return self.random.choice(PLAIN.get(kind, WORDS))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32))
def test_any_call_is_answered_or_refused_and_the_world_goes_on(seed: int) -> None:
    caller = Caller(seed)
    for _ in range(CALLS):
        caller.call()
    caller.client.pass_time(3600)
    saved = json.loads(json.dumps(save_world(caller.client.world)))
    assert set(load_world(saved, caller.client.clock).nodes) == set(caller.client.world.nodes)
