"""The agents' door of a whole conductor: what it lets in, told as stories over any transport.

``Door`` is the production service behind ``transport`` with the production client in front of
it.  Each story is a function of a door; ``tests/unit/test_conductor_agents.py`` tells them
within the process, and whoever has a broker can tell them over it.
"""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from agent.inventory import Speaker
from common import conductor_api, errors, mac, messages, rpc
from common.agents_api import AgentsAPI
from common.clock import SystemClock
from common.conductor_api import ConductorAPI
from common.messages import HostReport, PoolReport, Report, Sync
from common.pulse import Pulse
from conductor.build import Service
from conductor.db import hosts
from conductor.db.models import Host, Pool
from conductor.db.session import Database
from conductor.operations.settings import Settings

DEADLINE_S = 30.0
#: names of processes of the agents of h1 and h2
FIRST, SECOND, OTHER = "1700000000000-h1", "1700000000001-h1", "1700000000000-h2"


class Door:
    """A conductor that requires MACs, and agents of hosts h1, h2, ... each alone in its pool p1, p2, ..."""

    def __init__(self, transport: Any, database_url: str, *, require_mac: bool = True, name: str = "c1",
                 pulse: Pulse | None = None) -> None:
        self.transport = transport
        self.keys = mac.read_keys(mac.new_master())
        database = Database(database_url)
        database.upgrade()
        self.service = Service(database, transport, SystemClock(), Settings(), name, 8,
                               self.keys if require_mac else None, pulse)
        self.people = ConductorAPI(transport)

    def key(self, host: str) -> bytes:
        """Return the key that the agent of ``host`` was given."""
        return mac.read_key(self.keys.key_of(host))

    def agent(self, host: str, key: bytes | None = None) -> AgentsAPI:
        """Return the client of a host's agent, with its own key unless told otherwise."""
        return AgentsAPI(self.transport, DEADLINE_S, self.key(host) if key is None else key)

    def stranger(self) -> AgentsAPI:
        """Return the client of an agent without a key."""
        return AgentsAPI(self.transport, DEADLINE_S)

    def raw(self, method: str, arguments: dict[str, Any], context: dict[str, Any] | None = None,
            version: str = "1.1") -> Any:
        """Send a message as whoever may write to the agents' topic can."""
        client = rpc.Client(self.transport, rpc.TOPIC_AGENTS, version, DEADLINE_S)
        return client.call(context or {}, method, **arguments)

    def host(self, name: str) -> Host | None:
        """Return a host's row."""
        return self.service.engine.read(lambda session: hosts.find(session, name))

    def pool(self, uuid: str) -> Pool:
        """Return a pool's row with its report."""
        def work(session: Any) -> Pool:
            pool = hosts.find_pool(session, uuid)
            assert pool is not None
            assert pool.report is None or pool.report["pool"] == uuid
            return pool
        return self.service.engine.read(work)

    def order(self, host: str) -> tuple[str, int]:
        """Return an order that waits for the agent of ``host``."""
        self.people.call({"user": "ann"}, "host_disable", host=host)
        waiting = self.agent(host).sync(heartbeat(host, 900)).orders
        return str(waiting[0]["task"]), int(waiting[0]["attempt"])


@contextmanager
def door(transport: Any, database_url: str, **options: Any) -> Iterator[Door]:
    """Hold a door open; it listens already."""
    held = Door(transport, database_url, **options)
    held.service.start()
    try:
        deadline = SystemClock().monotonic() + DEADLINE_S
        while True:
            try:
                held.raw("ping", {})
                break
            except errors.Unavailable:
                assert SystemClock().monotonic() < deadline
                threading.Event().wait(0.05)
        yield held
    finally:
        held.service.stop()


def heartbeat(host: str, sequence: int, incarnation: str | None = None, **more: Any) -> Sync:
    """Return what the agent of a host says that stands alone."""
    number = host.removeprefix("h")
    said: dict[str, Any] = {
        "host": host, "incarnation": incarnation or f"1700000000000-{host}", "sequence": sequence, "version": "1.1",
        "role": "standalone", "host_uuid": f"u{number}", "address": f"10.0.0.{number}", "pool": f"p{number}"}
    return Sync(**(said | more))


def report(pool: str, host_uuid: str, **more: Any) -> dict[str, Any]:
    """Return the report of a pool of one host."""
    host = HostReport(host_uuid, "name", "10.0.0.1", **({"enabled": True, "live": True} | more),
                      memory_total_bytes=1, memory_overhead_bytes=1, memory_free_bytes=1)
    return PoolReport(pool, host_uuid, "", [host.to_wire()], []).to_wire()


def refused(code: str, act: Any, *arguments: Any, **named: Any) -> errors.Error:
    """Do what must be refused with ``code``; return the refusal."""
    try:
        answer = act(*arguments, **named)
    except errors.Error as exc:
        assert exc.code == code, exc.to_wire()
        return exc
    raise AssertionError(f"it was not refused with {code}: {answer}")


def what_the_agent_of_a_host_signs_is_heard(door: Door) -> None:
    assert door.agent("h1").sync(heartbeat("h1", 1)).observe
    task, attempt = door.order("h1")
    claim = door.agent("h1").claim("h1", FIRST, 901, task, attempt, "s")
    assert (claim.verdict, claim.order and claim.order["host"]) == ("yours", "h1")
    assert not door.agent("h1").report("h1", FIRST, 902, Report(
        task, attempt, True, {"enabled": False, "live": True, "mark": None}))


def a_message_without_a_mac_is_refused_before_anything_is_looked_at(door: Door) -> None:
    door.agent("h1").sync(heartbeat("h1", 1))
    stranger = door.stranger()
    refusal = refused("mac_missing", stranger.sync, heartbeat("h1", 2))
    assert "corral-manage agent-key h1" in refusal.message and isinstance(refusal, errors.Forbidden)
    refused("mac_missing", stranger.sync, heartbeat("h9", 1))
    refused("mac_missing", stranger.claim, "h1", FIRST, 3, "task", 1, None)
    refused("mac_missing", stranger.report, "h1", FIRST, 4, Report("task", 1, True))
    host = door.host("h1")
    assert (host and host.sequence, door.host("h9")) == (1, None)


def an_agent_can_not_speak_for_another_host(door: Door) -> None:
    for number in (1, 2):
        door.agent(f"h{number}").sync(heartbeat(f"h{number}", 1))
    task, attempt = door.order("h2")
    thief = door.agent("h2", key=door.key("h1"))
    refused("mac_wrong", thief.sync, heartbeat("h2", 1000, address="10.6.6.6"))
    refused("mac_wrong", thief.claim, "h2", OTHER, 1001, task, attempt, None)
    refused("mac_wrong", thief.report, "h2", OTHER, 1002, Report(task, attempt, True))
    host = door.host("h2")
    assert host is not None and (host.address, host.sequence) == ("10.0.0.2", 900)


def an_order_of_another_host_can_neither_be_claimed_nor_reported_on(door: Door) -> None:
    for number in (1, 2):
        door.agent(f"h{number}").sync(heartbeat(f"h{number}", 1))
    task, attempt = door.order("h2")
    one = door.agent("h1")
    assert one.claim("h1", FIRST, 2, task, attempt, None).verdict == "stale"
    door.agent("h2").claim("h2", OTHER, 901, task, attempt, "s")
    done = Report(task, attempt, True, {"enabled": False, "live": True, "mark": None})
    assert not one.report("h1", FIRST, 3, done)
    operation = door.people.call({}, "operation_list", filters={"host": "h2"})["operations"][0]
    assert operation["state"] == "running"


def nothing_that_a_service_may_ask_is_served_to_agents(door: Door) -> None:
    for method in conductor_api.METHODS:
        refused("no_such_method", door.raw, method, {"host": "h1"}, {"user": "admin", "is_admin": True})
    assert door.people.call({}, "operation_list")["operations"] == []


def who_a_message_says_to_be_in_its_context_means_nothing(door: Door) -> None:
    context = {"user": "admin", "is_admin": True, "host": "h1", "idempotency_key": "k"}
    refused("mac_missing", door.raw, "sync", {"sync": heartbeat("h1", 1).to_wire()}, context)
    arguments = {"sync": heartbeat("h1", 1).to_wire()}
    signed = {**arguments, "mac": mac.sign(door.key("h1"), "sync", arguments)}
    assert door.raw("sync", signed, context)["observe"]
    refused("replayed", door.raw, "sync", signed, context)


def a_recorded_message_has_no_effect_a_second_time(door: Door) -> None:
    door.agent("h1").sync(heartbeat("h1", 1))
    task, attempt = door.order("h1")
    arguments = {"host": "h1", "incarnation": FIRST, "sequence": 901, "task": task, "attempt": attempt, "session": "s"}
    claim = {**arguments, "mac": mac.sign(door.key("h1"), "claim", arguments)}
    assert door.raw("claim", claim)["verdict"] == "yours"
    before = door.host("h1")
    assert refused("replayed", door.raw, "claim", claim).effect == "none"
    refused("mac_wrong", door.raw, "claim", {**claim, "sequence": 902})
    after = door.host("h1")
    assert before and after and (before.sequence, before.heard) == (after.sequence, after.heard) == (901, after.heard)


def of_one_message_that_comes_many_times_at_once_one_is_taken_in(door: Door) -> None:
    door.agent("h1").sync(heartbeat("h1", 1))
    arguments = {"host": "h1", "incarnation": FIRST, "sequence": 2, "task": "none", "attempt": 1, "session": None}
    claim = {**arguments, "mac": mac.sign(door.key("h1"), "claim", arguments)}

    def send(_: int) -> str:
        try:
            return str(door.raw("claim", claim)["verdict"])
        except errors.WrongState as exc:
            return exc.code
    with ThreadPoolExecutor(8) as together:
        answers = sorted(together.map(send, range(8)))
    assert answers == ["replayed"] * 7 + ["stale"]


def a_late_heartbeat_does_not_undo_a_newer_one(door: Door) -> None:
    agent = door.agent("h1")
    agent.sync(heartbeat("h1", 5, address="10.0.0.5"))
    refused("replayed", agent.sync, heartbeat("h1", 4, address="10.0.0.4"))
    refused("replayed", agent.sync, heartbeat("h1", 5, address="10.0.0.4"))
    host = door.host("h1")
    assert host is not None and (host.address, host.sequence) == ("10.0.0.5", 5)


def late_claims_are_heard_within_the_last_sixty_numbers(door: Door) -> None:
    agent = door.agent("h1")
    agent.sync(heartbeat("h1", 100))

    def claim(number: int) -> str:
        return agent.claim("h1", FIRST, number, "none", 1, None).verdict
    assert [claim(number) for number in (99, 41, 101, 42)] == ["stale"] * 4
    for number in (41, 40, 1, 99, 100, 101, 42):
        refused("replayed", claim, number)
    assert claim(1000) == "stale"
    refused("replayed", claim, 102)
    assert claim(999) == "stale"


def the_newest_process_of_a_host_counts_and_begins_its_numbers_anew(door: Door) -> None:
    agent = door.agent("h1")
    agent.sync(heartbeat("h1", 70))
    task, attempt = door.order("h1")
    assert not agent.sync(heartbeat("h1", 1, SECOND)).superseded
    assert agent.sync(heartbeat("h1", 1001, FIRST, address="10.6.6.6")).superseded
    assert agent.claim("h1", FIRST, 1002, task, attempt, None).verdict == "superseded"
    assert not agent.report("h1", FIRST, 1003, Report(task, attempt, True, {"enabled": False}))
    refused("replayed", agent.sync, heartbeat("h1", 1, SECOND))
    host = door.host("h1")
    assert host is not None and (host.address, host.incarnation, host.sequence) == ("10.0.0.1", SECOND, 1)


def a_first_message_held_back_until_its_process_is_gone_changes_nothing(door: Door) -> None:
    arguments = {"sync": heartbeat("h1", 1, FIRST).to_wire()}
    held_back = {**arguments, "mac": mac.sign(door.key("h1"), "sync", arguments)}
    door.agent("h1").sync(heartbeat("h1", 1, SECOND))
    assert refused("older_incarnation", door.raw, "sync", held_back).details["newest"] == SECOND
    assert not door.agent("h1").sync(heartbeat("h1", 2, SECOND)).superseded


def an_agent_whose_clock_is_behind_takes_a_later_name_and_is_heard(door: Door) -> None:
    door.agent("h1").sync(heartbeat("h1", 1, SECOND))
    speaker = Speaker(door.agent("h1"), "h1", "1600000000000-x")
    assert not speaker.sync(heartbeat("h1", 0)).superseded
    host = door.host("h1")
    assert host is not None and host.incarnation == speaker.incarnation == "1700000000002-x"
    assert speaker.claim("none", 1, None).verdict == "stale"
    assert door.agent("h1").sync(heartbeat("h1", 2, SECOND)).superseded


def an_agent_goes_on_under_a_new_number_when_the_broker_has_doubled_its_message(door: Door) -> None:
    speaker = Speaker(door.agent("h1"), "h1", FIRST)
    speaker.sync(heartbeat("h1", 0))
    # What came twice was answered with a refusal first.
    door.agent("h1").claim("h1", FIRST, 2, "none", 1, None)
    assert speaker.claim("none", 1, None).verdict == "stale"
    assert not speaker.report(Report("none", 1, True))


def a_name_of_a_process_belongs_to_the_host_that_gave_it_first(door: Door) -> None:
    door.agent("h1").sync(heartbeat("h1", 1, FIRST))
    refused("older_incarnation", door.agent("h2").sync, heartbeat("h2", 1, FIRST))
    assert door.agent("h2").claim("h2", FIRST, 2, "none", 1, None).verdict == "stale"
    speaker = Speaker(door.agent("h2"), "h2", FIRST)
    assert not speaker.sync(heartbeat("h2", 0)).superseded
    assert speaker.incarnation > FIRST and not door.agent("h1").sync(heartbeat("h1", 2, FIRST)).superseded


def only_a_pools_observer_is_believed_and_only_about_its_own_pool(door: Door) -> None:
    door.agent("h1").sync(heartbeat("h1", 1))
    assert door.agent("h1").sync(heartbeat("h1", 2, report=report("p1", "u1"))).observe
    door.agent("h2").sync(heartbeat("h2", 1, report=report("p2", "u2")))
    forged = report("p1", "u1", enabled=False)
    # Of its own pool, of another one, and as if it were the master of that one.
    door.agent("h2").sync(heartbeat("h2", 2, report=forged))
    assert door.agent("h2").sync(heartbeat("h2", 3, pool="p1", role="master", report=forged)).observe
    assert not door.agent("h2").sync(heartbeat("h2", 4, pool="p1", role="slave", report=forged)).report_digest
    one, two = door.host("h1"), door.host("h2")
    assert one is not None and two is not None and (one.enabled, two.pool) == (True, "p2")
    assert (door.pool("p1").frozen, door.pool("p1").observer) == (None, "h1")


def a_report_that_the_conductors_have_is_left_out_and_its_host_stays_observed(door: Door) -> None:
    agent = door.agent("h1")
    assert agent.sync(heartbeat("h1", 1, report=report("p1", "u1"), report_digest="d1")).report_digest == "d1"
    before, row = door.pool("p1").report_at, door.host("h1")
    assert agent.sync(heartbeat("h1", 2, report_digest="d1", report_age_s=0.0)).report_digest == "d1"
    after, now = door.pool("p1"), door.host("h1")
    assert row is not None and now is not None and before is not None
    assert (after.report_at or 0.0) > before and (now.observed_at or 0.0) > (row.observed_at or 0.0)
    assert agent.sync(heartbeat("h1", 3, report_digest="d2")).report_digest is None
    assert agent.sync(heartbeat("h1", 4)).report_digest is None
    assert agent.sync(heartbeat("h1", 5, report=report("p1", "u1"))).report_digest is None
    assert agent.sync(heartbeat("h1", 6, report_digest="d1")).report_digest is None


def secrets_are_exchanged_without_an_agent_falling_silent(door: Door) -> None:
    old, new = mac.new_master(), mac.new_master()
    before, after = (mac.read_key(mac.read_keys(one).key_of("h1")) for one in (old, new))
    door.service.use_keys(mac.read_keys(old))
    door.agent("h1", key=before).sync(heartbeat("h1", 1))
    door.service.use_keys(mac.read_keys(f"{new}\n{old}"))
    door.agent("h1", key=before).sync(heartbeat("h1", 2))
    door.agent("h1", key=after).sync(heartbeat("h1", 3))
    door.service.use_keys(mac.read_keys(new))
    refused("mac_wrong", door.agent("h1", key=before).sync, heartbeat("h1", 4))
    door.agent("h1", key=after).sync(heartbeat("h1", 4))


def messages_in_an_unknown_form_are_refused_as_such(door: Door) -> None:
    whole = heartbeat("h1", 1).to_wire()
    for change in ({"host": None}, {"host": ""}, {"host": "h\0"}, {"host": "h" * 256}, {"incarnation": "i" * 37},
                   {"sequence": "1"}, {"sequence": True}, {"sequence": 0}, {"sequence": 1 << 31}):
        refused("bad_message", door.raw, "sync", {"sync": whole | change, "mac": "x"})
    refused("bad_message", door.raw, "sync", {"sync": "hello"})
    assert door.host("h1") is None


def what_version_an_agent_speaks_is_noted(door: Door) -> None:
    door.agent("h1").sync(heartbeat("h1", 1, version=messages.AGENTS_VERSION))
    host = door.host("h1")
    assert host is not None and host.agent_version == messages.AGENTS_VERSION
    refused("version_not_supported", door.raw, "sync", {"sync": heartbeat("h1", 2).to_wire()}, version="1.9")


STORIES = [
    what_the_agent_of_a_host_signs_is_heard, a_message_without_a_mac_is_refused_before_anything_is_looked_at,
    an_agent_can_not_speak_for_another_host, an_order_of_another_host_can_neither_be_claimed_nor_reported_on,
    nothing_that_a_service_may_ask_is_served_to_agents, who_a_message_says_to_be_in_its_context_means_nothing,
    a_recorded_message_has_no_effect_a_second_time, of_one_message_that_comes_many_times_at_once_one_is_taken_in,
    a_late_heartbeat_does_not_undo_a_newer_one, late_claims_are_heard_within_the_last_sixty_numbers,
    the_newest_process_of_a_host_counts_and_begins_its_numbers_anew,
    a_first_message_held_back_until_its_process_is_gone_changes_nothing,
    an_agent_whose_clock_is_behind_takes_a_later_name_and_is_heard,
    an_agent_goes_on_under_a_new_number_when_the_broker_has_doubled_its_message,
    a_name_of_a_process_belongs_to_the_host_that_gave_it_first,
    only_a_pools_observer_is_believed_and_only_about_its_own_pool,
    a_report_that_the_conductors_have_is_left_out_and_its_host_stays_observed,
    secrets_are_exchanged_without_an_agent_falling_silent, messages_in_an_unknown_form_are_refused_as_such,
    what_version_an_agent_speaks_is_noted,
]
