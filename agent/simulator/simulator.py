"""The skin around a World: HTTP, the wall clock, a thread that wakes when something is due, a state file.

One lock guards the world; calls that wait do so on its condition. With nothing due nothing runs.
"""

import contextlib
import json
import logging
import random
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.simulator import build, certificate_records, knocks, wire_json, wire_xml
from agent.simulator.call import Clock, Waiting
from agent.simulator.calls import CallRecord
from agent.simulator.clocks import ScaledClock, WallClock
from agent.simulator.control import ROOT, Control
from agent.simulator.events import EventWait
from agent.simulator.failure import Dropped, Failure, WorldError
from agent.simulator.front import error_page, refusal
from agent.simulator.server import Hangup, Request, Response, Server, listen
from agent.simulator.spec import WorldSpec, default_spec
from agent.simulator.state import load_world, save_world
from agent.simulator.strangers import Strangers
from agent.simulator.world import World

if TYPE_CHECKING:
    from agent.simulator.certificates import HostCertificate, Issuer

LOG = logging.getLogger(__name__)

DEFAULT_PASSWORD = "corral-sim"  # noqa: S105  opens nothing but simulated hosts on loopback
CONTROL_ADDRESS = "127.0.0.1"
BLOCKS = range(20, 120)  # 127.<block>.0.1 and on; the first that is free is taken
MOST_HOSTS = 10000  # addresses in a block; those that a world file gives may be among them
FASTEST = 100_000.0  # simulated seconds per second; at more its dates leave the calendar within a month
SAVE_DELAY_S = 0.2
EVENT_BATCH_S = 0.05  # xapi waits so long for more to tell
EVENT_EMPTY_S = 0.56  # seen: an empty reply comes that much after the time-out


class Simulator:
    """Simulated hosts that answer XenAPI over HTTP on loopback.

    `clock` is the wall clock (`now()` in seconds); `speed` is simulated seconds per wall second for all
    that hypervisors do, while clients' event.from time-outs stay wall seconds. `port` 0 takes a free one.
    With `state_path` the world is kept there and, if the file exists, goes on from it; the spec is then
    not looked at. With `tls_folder` hosts answer HTTPS on the same port too, with certificates kept there, of one
    authority or, `self_signed`, each its own.
    With `control_port` (0 = a free one) control.py listens; `calls_path` gets a line of JSON for each call.
    """

    def __init__(self, spec: WorldSpec | None = None, *, clock: Clock | None = None, speed: float = 1.0, seed: int = 0,
                 port: int = 0, state_path: Path | None = None, password: str = DEFAULT_PASSWORD,
                 tls_folder: Path | None = None, self_signed: bool = False, control_port: int | None = None,
                 calls_path: Path | None = None) -> None:
        if not 0 < speed <= FASTEST:
            raise WorldError(f"the speed must be more than 0, and at most {FASTEST:.0f}")
        for wanted in (port, control_port or 0):
            if not 0 <= wanted <= 65535:
                raise WorldError(f"there is no port {wanted}")
        if state_path and not state_path.parent.is_dir():
            raise WorldError(f"there is no folder {state_path.parent} to keep the state in")
        self.authority = _issuer(tls_folder, self_signed) if tls_folder else None
        self._clock, self._speed, self._state_path = clock or WallClock(), speed, state_path
        self._changed = threading.Condition()
        self._stopping = False
        self._seen = self._saved = (0, 0)
        self._stack = contextlib.ExitStack()
        self.control_url = ""
        self.world, self._listeners = self._open(spec or default_spec(seed=seed), seed, port, password)
        self.port: int = next(iter(self._listeners.values())).getsockname()[1]
        self.world.looks_outside = True
        self._strangers = Strangers(self.port, self._found_out)
        self.certificates = self._certify()
        tls = {address: made.context() for address, made in self.certificates.items()}
        self._server = Server(self._listeners, self._answer, lambda address: self.world.nodes[address].incarnation,
                              tls)
        self._control = self._listen_for_control(control_port) if control_port is not None else None
        if calls_path:
            self._stack.enter_context(_logging(self.world, calls_path))
        self._runner = threading.Thread(target=self._run, name="simulator-runner", daemon=True)
        self._trouble: str | None = None
        self._saver = threading.Thread(target=self._keep_saved, name="simulator-saver", daemon=True)

    # ---- what others use
    @property
    def hosts(self) -> list[tuple[str, str]]:
        """Return (name, URL) of each host."""
        scheme = "https" if self.authority else "http"
        return [(node.name, f"{scheme}://{node.address}:{self.port}") for node in self.world.nodes.values()]

    @property
    def login(self) -> tuple[str, str]:
        """Return the user and password of the first host."""
        return "root", next(iter(self.world.nodes.values())).password

    @property
    def lock(self) -> threading.Condition:
        """Return the lock to hold while reading or changing `world` from outside."""
        return self._changed

    def start(self) -> None:
        """Begin to serve.  Raises OSError when the state file can't be written."""
        self._save()
        self._server.start()
        if self._control:
            self._control.start()
        self._runner.start()
        if self._state_path:
            self._saver.start()

    def stop(self) -> None:
        """End; the state file, if any, holds the last moment."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._control:
            self._control.stop()
        self._server.stop()
        self._runner.join()
        self._strangers.stop()
        self._stack.close()
        if self._state_path:
            self._saver.join()
            self._try_to_save()

    # ---- beginning
    def _open(self, spec: WorldSpec, seed: int, port: int,
              password: str) -> tuple[World, dict[str, socket.socket]]:
        if self._state_path and self._state_path.exists():
            return self._reopen(self._state_path, port)
        world = World(ScaledClock(self._clock, self._speed), seed)
        addresses, listeners = self._take_addresses([host.address for host in spec.hosts], port)
        build.build(world, spec, addresses, password)
        return world, listeners

    def _reopen(self, path: Path, port: int) -> tuple[World, dict[str, socket.socket]]:
        try:
            state = json.loads(path.read_text(encoding="utf-8"))
            world = load_world(state, ScaledClock(self._clock, self._speed, float(state["now"])))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
            why = f"it has no {exc}" if isinstance(exc, KeyError) else str(exc)
            raise WorldError(f"cannot go on from {path}: {why}") from exc
        addresses = list(world.nodes)
        try:
            return world, listen(addresses, port or int(state.get("port", 0)))
        except OSError:
            if port:
                raise
            return world, listen(addresses, 0)

    @staticmethod
    def _take_addresses(wanted: list[str], port: int) -> tuple[list[str], dict[str, socket.socket]]:
        if len(wanted) > MOST_HOSTS // 2:
            raise WorldError(f"a world has at most {MOST_HOSTS // 2} hosts")
        for block in BLOCKS:
            free = (f"127.{block}.{number // 250}.{number % 250 + 1}" for number in range(MOST_HOSTS))
            given = set(wanted)
            addresses = [address or next(one for one in free if one not in given) for address in wanted]
            try:
                return addresses, listen(addresses, port)
            except OSError:
                if all(wanted) or block == BLOCKS[-1]:
                    raise
        raise OSError("no block of addresses is free")

    def _certify(self) -> "dict[str, HostCertificate]":
        made: dict[str, HostCertificate] = {}
        if self.authority is None:
            return made
        for node in self.world.nodes.values():
            made[node.address] = one = self.authority.certificate(node.name, node.address)
            internal = self.authority.internal(node.name, node.address)
            certificate_records.keep(self.world, node, "host", one.facts)
            certificate_records.keep(self.world, node, "host_internal", internal.facts)
        self.world.reissue = self._reissued
        return made

    def _reissued(self, name: str, address: str) -> dict[str, Any]:
        assert self.authority is not None, "it was put there with an authority"
        return self.authority.internal(name, address, anew=True).facts

    def _listen_for_control(self, port: int) -> Server:
        control = Control(self.world, self._changed, self._tell, self._speed)
        listeners = listen([CONTROL_ADDRESS], port)
        self.control_url = f"http://{CONTROL_ADDRESS}:{listeners[CONTROL_ADDRESS].getsockname()[1]}{ROOT}"
        return Server(listeners, control.answer, lambda _address: 0)

    # ---- threads
    def _run(self) -> None:
        with self._changed:
            while not self._stopping:
                self.world.advance()
                self._strangers.attend(knocks.pending(self.world))
                self._tell()
                due = self.world.next_due()
                rest = threading.TIMEOUT_MAX if due is None else max(0.0, due - self.world.clock.now()) / self._speed
                self._changed.wait(min(rest, threading.TIMEOUT_MAX))

    def _found_out(self, task: str, error: list[str]) -> None:
        with self._changed:
            self.world.advance()
            knocks.answered(self.world, task, error)
            self._tell()

    def _keep_saved(self) -> None:
        def is_due() -> bool:
            return self._stopping or self.world.version() != self._saved

        while not self._stopping:
            with self._changed:
                self._changed.wait_for(is_due)
                self._changed.wait_for(lambda: self._stopping, SAVE_DELAY_S)
            self._try_to_save()

    def _try_to_save(self) -> None:
        """Save; a disk that refuses is said once, and asked again at the next change."""
        before = self._trouble
        try:
            self._save()
            self._trouble = None
        except OSError as exc:
            self._trouble = exc.strerror
        if self._trouble and self._trouble != before:
            LOG.warning("The world can't be kept in %s: %s; it is tried again at the next change", self._state_path,
                        self._trouble)
        elif before and not self._trouble:
            LOG.warning("The world is kept in %s again", self._state_path)

    def _save(self) -> None:
        if self._state_path is None:
            return
        with self._changed:
            self._saved = self.world.version()
            text = json.dumps({**save_world(self.world), "port": self.port})
        draft = self._state_path.with_name(f".{self._state_path.name}.{random.getrandbits(32):08x}")
        try:
            draft.write_text(text, encoding="utf-8")
            draft.replace(self._state_path)
        finally:
            draft.unlink(missing_ok=True)

    def _tell(self) -> None:
        version = self.world.version()
        if version != self._seen:
            self._seen = version
            self._changed.notify_all()

    # ---- requests
    def _answer(self, request: Request) -> Response:
        refused = refusal(request)
        if refused:
            return refused
        try:
            if request.path.split("?")[0] == "/jsonrpc":
                return self._answer_json(request)
            method, params = wire_xml.decode_call(request.body or b"")
        except wire_xml.BadRequest as exc:
            return error_page(500, str(exc))
        try:
            body = wire_xml.encode_success(self._perform(request, method, params))
        except Failure as failure:
            body = wire_xml.encode_failure(failure.description)
        return Response(200, "text/xml", body)

    def _answer_json(self, request: Request) -> Response:
        method, params, envelope = wire_json.decode_call(request.body or b"")
        try:
            body = wire_json.encode_success(self._perform(request, method, params), envelope)
        except Failure as failure:
            body = wire_json.encode_failure(failure.description, envelope)
        return Response(200, "application/json", body)

    def _perform(self, request: Request, method: str, params: list[Any]) -> Any:
        record: CallRecord | None = None
        with self._changed:
            try:
                if self.world.nodes[request.address].incarnation != request.incarnation:
                    raise Dropped
                result = self.world.call(request.address, method, params, request.headers)
                record = self.world.calls[-1]
                self._tell()
                if not hasattr(result, "poll"):
                    return result
                value = self._awaited(result)
                self.world.calls.end(record, "Success", self.world.now)
                return value
            except Failure as failure:
                if record is not None:
                    self.world.calls.end(record, failure.code, self.world.now)
                self._tell()
                raise
            except Dropped as exc:
                if record is not None:
                    self.world.calls.end(record, "dropped", self.world.now)
                self._tell()
                raise Hangup from exc

    def _awaited(self, waiting: Waiting) -> Any:
        if isinstance(waiting, EventWait):
            return self._awaited_events(waiting)
        result: list[Any] = []

        def done() -> bool:
            ended, value = waiting.poll(self.world)
            result.append(value)
            return ended or self._stopping

        self._changed.wait_for(done)
        if self._stopping:
            raise Dropped
        return result[-1]

    def _awaited_events(self, waiting: EventWait) -> Any:
        def ready() -> bool:
            return self._stopping or waiting.poll(self.world)[0]

        blocks = waiting.timeout_s > 0 and not ready()
        if blocks and self._changed.wait_for(ready, min(waiting.timeout_s + EVENT_EMPTY_S, threading.TIMEOUT_MAX)):
            self._changed.wait_for(lambda: self._stopping, EVENT_BATCH_S)
        if self._stopping:
            raise Dropped
        return waiting.batch(self.world)


@contextlib.contextmanager
def _logging(world: World, path: Path) -> Iterator[None]:
    """Write each call that ends as a line of JSON."""
    try:
        file = path.open("a", encoding="utf-8", buffering=1)
    except OSError as exc:
        raise WorldError(f"cannot write {path}: {exc.strerror}") from exc
    with file:
        world.calls.sink = lambda record: print(json.dumps(record.save()), file=file)
        yield
        world.calls.sink = None


def _issuer(folder: Path, self_signed: bool) -> "Issuer":
    try:
        from agent.simulator.certificates import Authority, SelfSigned
    except ImportError as exc:
        raise WorldError("TLS needs the package `cryptography`: pip install cryptography") from exc
    return SelfSigned(folder) if self_signed else Authority(folder)
