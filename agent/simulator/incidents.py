"""What befalls machines at a moment: power, a killed toolstack, a cut or slow link, a host that enables
itself, and operators who act behind everybody's back.

An incident is a dictionary on the agenda (fault_spec.Incident), so it is saved with the world.
"""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from agent.simulator import crashes, daemons, faults, losses, machines, migrations, timing, toolstacks, updates
from agent.simulator.failure import Dropped, Failure
from agent.simulator.fault_spec import FaultSpec, Incident

if TYPE_CHECKING:
    from agent.simulator.database import Database
    from agent.simulator.node import Node
    from agent.simulator.world import World

OPERATOR = "operator"


def put_in(world: "World", specs: tuple[FaultSpec, ...]) -> list[int]:
    """Let these faults be at work from now on; return their numbers."""
    world.advance()
    return [_put_in(world, spec) for spec in specs]


def _put_in(world: "World", spec: FaultSpec) -> int:
    world.fault_number += 1
    number = world.fault_number
    if isinstance(spec, Incident):
        world.later(spec.at, "incident", number=number, incident=asdict(spec))
        return number
    said = asdict(spec)
    host, times, until = said.pop("host"), said.pop("times"), said.pop("until")
    said.update(error=list(spec.error), left=times or -1, until=world.now + until if until else 0.0,
                address=world.node_named(host).address if host else "")
    world.faults.append(faults.Rule(number, **said))
    return number


def take_out(world: "World", number: int = 0) -> int:
    """End the fault with this number, or all for 0; return how many there were."""
    before = len(world.faults) + len(pending(world))
    world.faults[:] = [rule for rule in world.faults if number not in (0, rule.number)]
    world.forget_steps("incident", lambda args: number in (0, args["number"]))
    return before - len(world.faults) - len(pending(world))


def pending(world: "World") -> list[dict[str, Any]]:
    """Return the incidents still to come, soonest first."""
    return [{"number": args["number"], "in": due - world.now, **args["incident"]}
            for due, _sequence, kind, args in sorted(world.agenda, key=lambda one: one[:2]) if kind == "incident"]


def happen(world: "World", number: int, incident: dict[str, Any]) -> None:
    """Do it, and put its next time on the agenda."""
    if incident["every"] and incident["times"] != 1:
        again = {**incident, "times": max(0, incident["times"] - 1)}
        world.later(incident["every"], "incident", number=number, incident=again)
    if incident["operator"]:
        _operate(world, incident)
    else:
        DEEDS[incident["do"]](world, world.node_named(incident["host"]), incident)


def _power_off(world: "World", node: "Node", _incident: dict[str, Any]) -> None:
    node.facts.pop("powering", None)
    if node.power != "off" and node.pool in world.pools:  # one in mid-eject has nothing to lose
        machines.lost(world, node.address)


def _power_on(world: "World", node: "Node", _incident: dict[str, Any]) -> None:
    if node.power == "off" and not node.facts.get("powering"):
        node.facts["powering"] = True
        world.later(node.reboot_s, "host.booted", address=node.address, operation="")


def _kill(world: "World", node: "Node", _incident: dict[str, Any]) -> None:
    """End xapi without a word; it is started again at once, and the daemons finish what they do."""
    if node.power not in ("up", "booting") or node.pool not in world.pools:
        return
    if node.power == "booting":  # it does not go on with the start that this one interrupts
        world.forget_steps("host.back", lambda args: args["address"] == node.address)
    toolstacks.gone(world, node.address)
    _start_toolstack(world, node)


def _start_toolstack(world: "World", node: "Node") -> None:
    gone, back, started, enabled = timing.RESTART_MASTER if node.is_master else timing.RESTART_MEMBER
    world.later(back - gone, "host.back", address=node.address, started_after=started - back,
                enabled_after=enabled - back)


def _stop(world: "World", node: "Node", _incident: dict[str, Any]) -> None:
    """End xapi in order, and keep it away: the VMs run on, and the master hears nothing from the machine."""
    if node.power not in ("up", "booting") or node.pool not in world.pools:
        return
    node.facts["stopped"] = True
    toolstacks.gone(world, node.address)
    machines.missed(world, node)


def _start(world: "World", node: "Node", _incident: dict[str, Any]) -> None:
    """Start a toolstack that was stopped."""
    if node.facts.pop("stopped", False):
        _start_toolstack(world, node)


def _crash(world: "World", node: "Node", incident: dict[str, Any]) -> None:
    """End xapi by SIGKILL: as kill, but migrations under way come to a sudden end, and it may lose what it knew."""
    if node.power == "up" and node.pool in world.pools:
        crashes.interrupt(world, node)
        if incident["loses"] and node.is_master:
            losses.lose(world, node.pool, node)
        _kill(world, node, incident)


def _cut(world: "World", node: "Node", _incident: dict[str, Any]) -> None:
    """Take a machine off the network: it goes on, but nobody reaches it, and its migrations fail."""
    if node.cut:
        return
    node.cut = True
    node.incarnation += 1
    machines.missed(world, node)
    migrations.node_lost(world, node)
    world.later(timing.DECLARED_DEAD, "host.dead", address=node.address, incarnation=node.incarnation)


def _one_way(_world: "World", node: "Node", _incident: dict[str, Any]) -> None:
    """Leave a machine with a network that no master finds its way back through; it shows when its xapi starts."""
    node.facts["one_way"] = True


def _mend(world: "World", node: "Node", _incident: dict[str, Any]) -> None:
    """Give a machine its network again; it is live with its next heartbeat."""
    node.facts.pop("one_way", None)
    if node.cut:
        node.cut = False
        world.later(timing.HEARTBEAT, "host.heard", address=node.address)


def _link(world: "World", node: "Node", incident: dict[str, Any]) -> None:
    """Change the speed of a machine's link; 0 = nothing goes through."""
    built = float(node.facts.setdefault("built_link", node.link_bytes_per_s))
    node.link_bytes_per_s = built if incident["rate"] < 0 else float(incident["rate"])
    migrations.reflow(world)


def _enable(world: "World", node: "Node", _incident: dict[str, Any]) -> None:
    """Let a host enable itself, as it does at the end of its start."""
    db, host = world.pools.get(node.pool), world.host_of(node)
    if db and db.has("host", host):
        node.auto_enable = True
        db.set("host", host, enabled=True)


def _lag(_world: "World", node: "Node", _incident: dict[str, Any]) -> None:
    """Let a member's copy of the database be what was last written, should it be made the master by itself."""
    node.facts["copy_lags"] = True


def _freeze(world: "World", node: "Node", _incident: dict[str, Any]) -> None:
    daemons.freeze(world, node)


def _thaw(world: "World", node: "Node", _incident: dict[str, Any]) -> None:
    daemons.thaw(world, node)


def _lose_daemon(world: "World", node: "Node", _incident: dict[str, Any]) -> None:
    daemons.die(world, node)


def _apply_updates(world: "World", node: "Node", incident: dict[str, Any]) -> None:
    updates.begin(world, node, incident["seconds"])


def _operate(world: "World", incident: dict[str, Any]) -> None:
    """Make a call as somebody else would; its outcome is in the log only."""
    named = world.node_named(incident["host"]) if incident["host"] else next(iter(world.nodes.values()))
    node = world.nodes.get(named.master, named)  # it may have been pointed to where no host is
    record = world.calls.begin(world.now, node.address, incident["operator"])
    record.originator = OPERATOR
    try:
        faults.logged(world, record, lambda: _made(world, node, record, incident))
    except (Failure, Dropped):
        return  # nobody is there to be told


def _made(world: "World", node: "Node", record: Any, incident: dict[str, Any]) -> Any:
    if not node.reachable or node.pool not in world.pools:
        raise Dropped
    db = world.pools[node.pool]
    message = world.table.messages[incident["operator"]]
    if message.is_async:  # nobody waits for it
        record.method = f"Async.{record.method}"
    session = next((ref for ref in db.refs("session") if db.get("session", ref, "originator") == OPERATOR), "")
    session = session or db.add("session", {"originator": OPERATOR, "this_host": world.host_of(node)})
    db.set("session", session, last_active=world.moment())
    params = [_resolved(db, value, kind) for value, (_name, kind) in zip(incident["params"], message.params,
                                                                         strict=False)]
    return world.answer(record, record.method, [session, *params], {})


def _resolved(db: "Database", value: Any, kind: str) -> Any:
    if not kind.endswith(" ref") or not isinstance(value, dict):
        return value
    cls, name = next(iter(value.items()))
    for ref in db.refs(cls):
        if name in (db.get(cls, ref, "name_label"), db.get(cls, ref, "uuid")):
            return ref
    raise Failure("HANDLE_INVALID", cls, str(name))


DEEDS = {"power_off": _power_off, "power_on": _power_on, "kill": _kill, "stop": _stop, "start": _start,
         "crash": _crash, "cut": _cut, "one_way": _one_way, "mend": _mend, "link": _link, "enable": _enable,
         "freeze": _freeze, "thaw": _thaw, "lose_daemon": _lose_daemon, "lag": _lag, "apply_updates": _apply_updates}
STEPS = {"incident": happen}
