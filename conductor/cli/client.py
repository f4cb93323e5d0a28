"""The one door to the API: requests out, answers or refusals back.

It knows HTTP and which exit status a refusal means; it knows no noun and prints nothing.
"""

import ipaddress
import uuid
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import requests

Json = dict[str, Any]

DONE, FAILED, USAGE, REFUSED, NOT_FOUND, UNAVAILABLE, ATTENTION, DETACHED = 0, 1, 2, 3, 4, 5, 6, 130

#: exit status by HTTP number; all others mean that the request failed
_EXIT = {400: USAGE, 401: REFUSED, 403: REFUSED, 404: NOT_FOUND, 405: USAGE, 406: USAGE, 409: REFUSED,
         413: USAGE, 415: USAGE, 503: UNAVAILABLE, 504: UNAVAILABLE}
#: refusals of the state found, which Nova answers with 400
_REFUSED_AS_400 = frozenset({"aggregate_not_empty", "zone_differs", "zone_in_use"})

CONNECT_S = 5.0
#: the API itself waits up to two minutes for the conductors
ANSWER_S = 130.0

#: shows the uuids of aggregates
MICROVERSION = "compute 2.42"


class Refusal(Exception):
    """Something that can't be had; ``exit_status`` is what the command ends with."""

    def __init__(self, message: str, code: str, exit_status: int, details: Json | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.exit_status = exit_status
        self.details = details or {}


@dataclass(frozen=True)
class Answer:
    """What the API said; ``operation`` is the id of what was begun."""

    status: int
    body: Json
    operation: str | None


class Client:
    """Speaks to the API at ``endpoint``; each call raises Refusal for whatever isn't a success."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint.rstrip("/")
        self._session = requests.Session()
        # a proxy of the surroundings can't reach our loopback
        self._session.trust_env = not _is_loopback(endpoint)

    def get(self, *path: str | int, **query: Any) -> Json:
        """Return what ``path`` shows; members of the query that are None are left out."""
        params = {name: value for name, value in query.items() if value is not None}
        wait_s = float(params.get("wait", 0))
        return self._answer("GET", path, params=params, timeout=(CONNECT_S, ANSWER_S + wait_s)).body

    def post(self, *path: str | int, body: Json | None = None) -> Answer:
        """Ask for a change; it happens once, even if it must be sent twice."""
        return self._change("POST", path, body)

    def put(self, *path: str | int, body: Json) -> Answer:
        """Ask for a change; it happens once, even if it must be sent twice."""
        return self._change("PUT", path, body)

    def delete(self, *path: str | int) -> Answer:
        """Ask for a removal."""
        return self._change("DELETE", path, None)

    def _change(self, method: str, path: tuple[str | int, ...], body: Json | None) -> Answer:
        return self._answer(method, path, json=body, timeout=(CONNECT_S, ANSWER_S),
                            headers={"Idempotency-Key": str(uuid.uuid4())})

    def _answer(self, method: str, path: tuple[str | int, ...], **sent: Any) -> Answer:
        url = self._endpoint + "/" + "/".join(quote(str(part), safe="") for part in path)
        sent["headers"] = {"Accept": "application/json", "OpenStack-API-Version": MICROVERSION,
                           **sent.get("headers", {})}
        try:
            try:
                response = self._session.request(method, url, **sent)
            except requests.ConnectionError:
                # perhaps a kept connection was closed meanwhile; the key makes the second harmless
                response = self._session.request(method, url, **sent)
        except (requests.ConnectionError, requests.Timeout) as exc:
            raise Refusal(f"The API at {self._endpoint} can't be reached ({_reason(exc)}); is corral-api "
                          "running, and is --endpoint right?", "api_unreachable", UNAVAILABLE) from exc
        except (requests.RequestException, ValueError) as exc:
            raise Refusal(f"The endpoint {self._endpoint!r} can't be used: {exc}", "bad_endpoint",
                          USAGE) from exc
        return _read(response, self._endpoint)


def _read(response: requests.Response, endpoint: str) -> Answer:
    try:
        body = response.json() if response.content else {}
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise Refusal(f"What answers at {endpoint} is not Corral's API (HTTP {response.status_code})",
                      "not_corral", UNAVAILABLE)
    if response.status_code < 400:
        return Answer(response.status_code, body, response.headers.get("Corral-Operation"))
    error = next((value for value in body.values() if isinstance(value, dict)), {})
    code = response.headers.get("Corral-Error") or str(error.get("code", "error"))
    status = REFUSED if code in _REFUSED_AS_400 else _EXIT.get(response.status_code, FAILED)
    message = str(error.get("message") or f"HTTP {response.status_code}")
    raise Refusal(message, code, status, error.get("details"))


def _reason(exc: requests.RequestException) -> str:
    if isinstance(exc, requests.ReadTimeout):
        return "it does not answer"
    return "connection refused" if "refused" in str(exc) else "no connection"


def _is_loopback(endpoint: str) -> bool:
    try:
        host = urlsplit(endpoint).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
