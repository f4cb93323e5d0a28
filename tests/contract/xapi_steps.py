"""The interpreter of the contract cases' steps: what a case does with a xapi, and what must come of it.

A step is a mapping; the key that it begins with says what it is, the others how.  `$name` and matchers: xapi_values.

    login: a            open a session named a at `host: 1` (the first), with `user` and `password` or the usual ones.
                        `$a` is its reference.  `s` at host 1 is there, and `s2` at host 2 if that is a master
    call: VM.start      with `args: [...]` in the session `by: s`; `at: 2` sends it to another host than the session's,
                        `session: text` uses that text as the session, `session: null` sends none;
                        `header: {Subtask-of: $t}`
    http: {...}         a request with `method` (POST), `path` (/), `headers`, `body` (a text; anything else is sent as
                        JSON, `!!binary` as it is; or `xml: VM.start` with `params: [...]` as XML has them; `pad: n`
                        fills it up to n bytes with blanks) to `host: 1`; then
                        `status: 200`, `body_matches: regex`, `body_lacks: text`, `json: x`, `header: {name: x}`
    raw: {send: [...]}  these lines on a connection of their own; then `answers: regex` must come, and it `closes: true`
    tls: {...}          a handshake in the `version: "1.2"` as `name:` (the host's address) that trusts `trust:` own
                        (what vouches for the host), anyone, or else what everybody trusts; gives what was agreed and
                        the certificate: version, cipher, pem, fingerprint, common_name, hosts, addresses, years; or
                        `refused: regex`
    pass: 1.5           so many seconds of the hosts go by; then none do by themselves
    task: $t            wait until it `ends: success`, failure or cancelled; `error: [...]`, `result: text`
    until: {...}        do this call, login or http again and again until it comes out so; `meanwhile: {...}` must come
                        out each time before
    start: a            begin the `call:` beside it on a connection of its own; `finish: a` waits for its end
    hang_up: a          close the connection of the call that was begun as a
    race: [s, a]        make the `call:` beside it in all these sessions at once; `winners: 1`, and the others `fails`
    stranger: x         let something listen beside simulated hosts that is none, at the address `$x`: it answers `as:`
                        hello (something else) or plain (that without TLS), or is silent; `leaves: x` ends it
    strays: x           the domains that run at simulated hosts though no record shows them are like x
    act: {kill: h1}     what happens to a machine outside the API: kill, stop, start, crash, power_off, power_on, cut,
                        one_way, mend, enable, freeze, thaw, lose_daemon, lag, and `{link: h1}` with `rate: bytes/s`
                        beside it, without one as built; a crash may have `loses: true`; apply_updates has
                        `seconds: 60`; also `{restart_toolstack: host1}`, which is host.restart_agent

A call or login comes out as one of: `gives: x`, `fails: [CODE, p1]`, `drops: true` (no connection, or it ends
unanswered), `garbles: true` (an answer that is none); with none of these it must give anything.  `keep: name` keeps
what it gave.  `within: 30` bounds a wait in seconds of the hosts; no step asserts how long something took.
At simulated hosts time passes only while a step waits, from one thing that is due to the next, so that no state goes
by unseen; in a case with `pass` it passes by that alone.
"""

import http.client
import json
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol
from urllib.parse import urlsplit

from xapi_client import Client, Outcome, http_request
from xapi_values import Unknown, difference, is_like, resolved
from xapi_wire import Raw, handshake

WITHIN_S = 60.0      #: for waits that name no bound, in the hosts' seconds
PATIENCE_S = 20.0    #: on top of every wait, for a machine that is busy
OUTCOMES = ("gives", "fails", "drops", "garbles")
KINDS = ("login", "call", "http", "raw", "tls", "task", "until", "start", "finish", "hang_up", "race", "act", "strays",
         "stranger", "leaves", "pass")
THREADS = 200        #: at most; one for each call that waits
LOOK_S = 0.02        #: how long an answer may take before time has to pass for it


class StepFailed(Exception):
    """A step did not come out as the case wants, or makes no sense."""


class Setting(Protocol):
    """Where a case runs: hosts that are in the state it asked for."""

    urls: list[str]              #: of the hosts, in order
    names: dict[str, Any]        #: what `$` may stand for from the start
    login: tuple[str, str]
    speed: float                 #: the hosts' seconds per second
    clients: dict[str, Client]   #: the sessions that are open already

    def pause(self) -> None:
        """Return after a moment, at the latest when something has changed."""

    def go_on(self, seconds: float) -> None:
        """Let time pass where it stands still.  Raises ValueError where it does not."""

    def act(self, deed: str, host: str, how: dict[str, Any]) -> None:
        """Do something to a machine outside the API; `how` is what an incident's `do` takes beside its host."""

    def strays(self) -> list[dict[str, Any]]:
        """Return the domains that run though no record shows them."""

    def stranger(self, kind: str) -> str:
        """Let one listen that is no host; return its address.  Raises ValueError where it cannot."""

    def leave(self, address: str) -> None:
        """Let the stranger there end."""


class Run:
    """One case's way through its steps."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._names = {"user": setting.login[0], "password": setting.login[1], **setting.names}
        self._clients = dict(setting.clients)
        self._names.update({name: client.session for name, client in self._clients.items()})
        self._threads = ThreadPoolExecutor(THREADS)
        self._begun: dict[str, tuple[Client, Future[Outcome]]] = {}
        self._read_s = WITHIN_S + PATIENCE_S

    def steps(self, steps: list[dict[str, Any]]) -> None:
        """Do all steps.  Raises StepFailed with the number of the one that failed, and no password."""
        try:
            for number, step in enumerate(steps, 1):
                try:
                    self._step(step)
                except (StepFailed, Unknown, KeyError, ValueError) as exc:
                    text = f"step {number}, {step}: {exc!r}" if isinstance(exc, KeyError) else f"step {number}: {exc}"
                    raise StepFailed(text.replace(self._setting.login[1], "***")) from None
        finally:
            for client in self._clients.values():
                client.close()
            self._threads.shutdown(wait=False, cancel_futures=True)

    def _step(self, step: dict[str, Any]) -> None:
        kind = next((kind for kind in ("start", "race", "until", *KINDS) if kind in step), None)
        if kind is None:
            raise StepFailed(f"{step} is no step; it begins with one of {', '.join(KINDS)}")
        getattr(self, f"_{kind}")(step)

    def _of(self, value: Any) -> Any:
        return resolved(value, self._names)

    def _url(self, request: Mapping[str, Any]) -> str:
        return self._setting.urls[int(request.get("host", 1)) - 1]

    def _by(self, name: str) -> Client:
        if name not in self._clients:
            raise StepFailed(f"there is no session {name}")
        return self._clients[name]

    # ---- steps
    def _login(self, step: dict[str, Any]) -> None:
        client = Client(self._setting.urls[step.get("host", 1) - 1], self._read_s)
        user, password = self._setting.login
        outcome = self._result(step, self._threads.submit(
            client.login, self._of(step.get("user", user)), self._of(step.get("password", password))))
        if outcome.kind == "gives":
            self._clients[step["login"]] = client
            self._names[step["login"]] = client.session
        else:
            client.close()
        self._expect(step, outcome)

    def _call(self, step: dict[str, Any]) -> None:
        self._expect(step, self._result(step, self._threads.submit(self._asked, step, self._client_for(step))))

    def _client_for(self, step: dict[str, Any]) -> Client:
        client = self._by(step.get("by", "s"))
        if "at" in step:
            name = f"{step.get('by', 's')} at {step['at']}"
            return self._clients.setdefault(
                name, Client(self._setting.urls[step["at"] - 1], self._read_s, client.session))
        return client

    def _asked(self, step: dict[str, Any], client: Client) -> Outcome:
        session = self._of(step.get("session", client.session))
        args = self._of(step.get("args", []))
        return client.ask(step["call"], args if session is None else [session, *args], self._of(step.get("header")))

    def _start(self, step: dict[str, Any]) -> None:
        client = self._client_for(step).twin()
        self._begun[step["start"]] = client, self._threads.submit(self._asked, dict(step), client)

    def _finish(self, step: dict[str, Any]) -> None:
        self._expect(step, self._result(step, self._begun[step["finish"]][1]))

    def _result(self, step: Mapping[str, Any], begun: Future[Outcome]) -> Outcome:
        """Wait for the end of a call while time passes."""
        deadline = time.monotonic() + self._bound_s(step)
        while True:
            try:
                return begun.result(LOOK_S)
            except TimeoutError:
                if time.monotonic() > deadline:
                    raise StepFailed(f"{_short(step)} has not ended") from None
                self._setting.pause()

    def _hang_up(self, step: dict[str, Any]) -> None:
        self._begun[step["hang_up"]][0].abort()

    def _race(self, step: dict[str, Any]) -> None:
        together = threading.Barrier(len(step["race"]))

        def run(client: Client) -> Outcome:
            together.wait(PATIENCE_S)
            return self._asked(step, client)

        outcomes = list(self._threads.map(run, [self._by(name).twin() for name in step["race"]]))
        won = [one for one in outcomes if one.kind == "gives"]
        if len(won) != step["winners"]:
            raise StepFailed(f"{len(won)} won of {[(one.kind, one.value) for one in outcomes]}")
        for one in outcomes:
            if one.kind != "gives":
                self._expect({"fails": step["fails"]}, one)

    def _http(self, step: dict[str, Any]) -> None:
        request = self._of(step["http"])
        try:
            answer = http_request(self._url(request), request.get("method", "POST"), request.get("path", "/"),
                                  _bytes_of(request), request.get("headers", {}), self._read_s)
        except (OSError, http.client.HTTPException) as exc:
            if step.get("drops"):
                return
            raise StepFailed(f"{type(exc).__name__}: {exc}") from None
        if step.get("drops"):
            raise StepFailed(f"it was answered: {answer.status}")
        self._compare("status", answer.status, step.get("status", 200))
        if "body_matches" in step:
            self._compare("body", answer.body, {"matches": self._of(step["body_matches"])})
        if "body_lacks" in step:
            self._compare("body", answer.body, {"not": {"has": step["body_lacks"]}})
        if "json" in step:
            self._compare("body", json.loads(answer.body), self._of(step["json"]))
        for name, wanted in step.get("header", {}).items():
            self._compare(name, answer.headers.get(name.lower()), self._of(wanted))
        if "keep" in step:
            self._names[step["keep"]] = answer.body

    def _raw(self, step: dict[str, Any]) -> None:
        request = self._of(step["raw"])
        with Raw(self._url(request), PATIENCE_S) as raw:
            raw.send("\r\n".join(request["send"]).encode())
            try:
                while not raw.ended and (step.get("closes") or not is_like(raw.came, {"matches": step["answers"]})):
                    raw.read()
            except TimeoutError:
                raise StepFailed(f"the connection stays open after {raw.came!r}") from None
            self._compare("the answer", raw.came, {"matches": self._of(step["answers"])})

    def _tls(self, step: dict[str, Any]) -> None:
        wanted = self._of(step["tls"])
        url = self._url(wanted)
        try:
            found = handshake(url, wanted.get("name", urlsplit(url).hostname), self._trusted(wanted, url),
                              wanted.get("version", "1.2"))
        except ssl.SSLError as exc:
            self._compare("the handshake", str(exc), {"matches": step.get("refused", "^$")})
            return
        if "refused" in step:
            raise StepFailed(f"the handshake succeeded: {found}")
        self._expect(step, Outcome("gives", found))

    def _trusted(self, wanted: Mapping[str, Any], url: str) -> str | None:
        if wanted.get("trust") == "own":  # a real xapi's certificate vouches for itself
            return str(self._names.get("authority") or handshake(url, "", None, "1.2")["pem"])
        return None if wanted.get("trust") == "anyone" else ""

    def _pass(self, step: dict[str, Any]) -> None:
        self._setting.go_on(float(step["pass"]))

    def _task(self, step: dict[str, Any]) -> None:
        task, client = self._of(step["task"]), self._by(step.get("by", "s"))
        seen: dict[str, Any] = {}

        def ended() -> None:
            outcome = client.ask("task.get_record", [client.session, task])
            if outcome.kind != "gives":
                raise StepFailed(f"task.get_record {outcome.kind} {outcome.value}")
            seen.update(outcome.value)
            if seen["status"] not in ("success", "failure", "cancelled"):
                raise StepFailed(f"the task is {seen['status']} at {seen['progress']}")

        self._again(ended, step)
        self._compare(f"status (error_info {seen['error_info']})", seen["status"], step["ends"])
        if "error" in step:
            self._compare("error_info", seen["error_info"], self._of(step["error"]))
        if "result" in step:
            self._compare("result", seen["result"], self._of(step["result"]))
        if "keep" in step:
            self._names[step["keep"]] = seen

    def _until(self, step: dict[str, Any]) -> None:
        def tried() -> None:
            self._step(step["until"])

        def held() -> None:
            if "meanwhile" in step:
                self._step(step["meanwhile"])

        self._again(tried, step, before=held)

    def _act(self, step: dict[str, Any]) -> None:
        [(deed, host)] = step["act"].items()
        if deed == "restart_toolstack":
            self._call({"call": "host.restart_agent", "args": [f"${host}"], "by": step.get("by", "s")})
        else:
            self._setting.act(deed, host, {key: value for key, value in step.items() if key != "act"})

    def _strays(self, step: dict[str, Any]) -> None:
        self._compare("strays", self._setting.strays(), self._of(step["strays"]))

    def _stranger(self, step: dict[str, Any]) -> None:
        self._names[step["stranger"]] = self._setting.stranger(step["as"])

    def _leaves(self, step: dict[str, Any]) -> None:
        self._setting.leave(self._names[step["leaves"]])

    # ---- what comes out
    def _expect(self, step: Mapping[str, Any], outcome: Outcome) -> None:
        wanted = next((kind for kind in OUTCOMES if kind in step), "gives")
        if outcome.kind != wanted:
            raise StepFailed(f"{_short(step)} {outcome.kind} {outcome.value!r}; wanted was {wanted} "
                             f"{self._of(step.get(wanted, 'anything'))!r}")
        if wanted in ("gives", "fails") and wanted in step:
            self._compare(_short(step), outcome.value, self._of(step[wanted]))
        if "keep" in step:
            self._names[step["keep"]] = outcome.value

    @staticmethod
    def _compare(what: str, found: Any, wanted: Any) -> None:
        if not is_like(found, wanted):
            raise StepFailed(f"{what} is {difference(found, wanted)}")

    def _bound_s(self, step: Mapping[str, Any]) -> float:
        return float(step.get("within", WITHIN_S)) / self._setting.speed + PATIENCE_S

    def _again(self, attempt: Callable[[], None], step: Mapping[str, Any],
               before: Callable[[], None] = lambda: None) -> None:
        deadline = time.monotonic() + self._bound_s(step)
        while True:
            try:
                attempt()
            except StepFailed as exc:
                if time.monotonic() > deadline:
                    raise StepFailed(f"not within {step.get('within', WITHIN_S)} s: {exc}") from None
            else:
                return
            before()
            self._setting.pause()


def _bytes_of(request: Mapping[str, Any]) -> bytes | None:
    body = request.get("body")
    if "xml" in request:
        params = "".join(f"<param><value>{param}</value></param>" for param in request.get("params", []))
        body = f"<methodCall><methodName>{request['xml']}</methodName><params>{params}</params></methodCall>"
    if body is None or isinstance(body, bytes):
        return body
    return (body if isinstance(body, str) else json.dumps(body)).encode().ljust(request.get("pad", 0))


def _short(step: Mapping[str, Any]) -> str:
    kind = next((kind for kind in KINDS if kind in step and kind != "start"), "")
    return f"{kind} {step.get(kind, '')}".strip()
