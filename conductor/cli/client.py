"""The one door to the API: requests out, answers or refusals back.

It knows HTTP and which exit status a refusal means; it knows no noun and prints nothing.
How somebody proves who he is, ``conductor/cli/access.py`` knows.
"""

import ipaddress
import uuid
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import requests
from requests.auth import AuthBase

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

#: what to say to whoever proved nothing, or not in the way that is asked for, by the API's challenge
_WAYS = {"basic": "CORRAL_USER and CORRAL_PASSWORD, or --user and --password-file, say who you are",
         "keystone": "OS_CLOUD, or OS_AUTH_URL, OS_USERNAME, OS_PASSWORD and OS_PROJECT_NAME, say who you are"}

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


class Access(AuthBase):
    """What goes with every request so that the API knows who asks; this one sends nothing."""

    #: the challenge that it answers
    scheme = ""

    def __init__(self, cacert: str | None = None) -> None:
        #: file with the certificates that are trusted, instead of the usual ones
        self.cacert = cacert

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add it to a request.  Raises Refusal."""
        return request

    def renew(self) -> bool:
        """Prove it anew for the next request; return whether that is possible."""
        return False

    def endpoint(self) -> str | None:
        """Return where the API is, None when that has to be told.  Raises Refusal."""
        return None


class Client:
    """Speaks to the API at ``endpoint``; each call raises Refusal for whatever isn't a success."""

    def __init__(self, endpoint: str, access: Access | None = None) -> None:
        self._endpoint = endpoint.rstrip("/")
        self._access = access or Access()
        self._session = session_for(endpoint)
        self._session.auth = self._access

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
        # As a part of an address each of these names something else: a list, or what is above it.
        if odd := [part for part in path if part in ("", ".", "..")]:
            raise Refusal(f"{odd[0]!r} can't be a name or an id", "usage", USAGE)
        url = self._endpoint + "/" + "/".join(quote(str(part), safe="") for part in path)
        sent["headers"] = {"Accept": "application/json", "OpenStack-API-Version": MICROVERSION,
                           **sent.get("headers", {})}
        # a token must not follow a redirection to somebody else
        sent.update(allow_redirects=False, verify=self._access.cacert)
        response = self._sent(method, url, sent)
        if response.status_code == 401 and self._access.renew():
            # a token ends in the midst of a long wait; the request was refused, so nothing was done
            response = self._sent(method, url, sent)
        return _read(response, self._endpoint, self._access.scheme)

    def _sent(self, method: str, url: str, sent: dict[str, Any]) -> requests.Response:
        try:
            try:
                return self._session.request(method, url, **sent)
            except requests.ConnectionError:
                # perhaps a kept connection was closed meanwhile; the key makes the second harmless
                return self._session.request(method, url, **sent)
        except (requests.ConnectionError, requests.Timeout) as exc:
            raise Refusal(f"The API at {self._endpoint} can't be reached ({reason(exc)}); is corral-api "
                          "running, and is --endpoint right?", "api_unreachable", UNAVAILABLE) from exc
        except (requests.RequestException, ValueError) as exc:
            raise Refusal(f"The endpoint {self._endpoint!r} can't be used: {exc}", "bad_endpoint",
                          USAGE) from exc


def session_for(url: str) -> requests.Session:
    """Return a session for requests to ``url``."""
    session = requests.Session()
    # a proxy of the surroundings can't reach our loopback
    session.trust_env = not _is_loopback(url)
    return session


def _read(response: requests.Response, endpoint: str, scheme: str) -> Answer:
    if response.is_redirect:
        raise Refusal(f"What answers at {endpoint} sends everybody on to {response.headers['location']}; "
                      "--endpoint has to be the API's own address", "redirected", USAGE)
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
    details: Json = error.get("details") or {}
    challenge = response.headers.get("WWW-Authenticate", "").partition(" ")[0].lower()
    if response.status_code == 401 and challenge in _WAYS and challenge != scheme:
        details = {**details, "help": _WAYS[challenge]}
    if code == "no_such_route":
        details = {**details, "help": f"the address of the API, {endpoint}, is given without a path of the API's"}
    raise Refusal(message, code, status, details)


def reason(exc: Exception) -> str:
    """Return why nobody was reached, in few words."""
    if isinstance(exc, requests.ReadTimeout):
        return "it does not answer"
    if isinstance(exc, requests.exceptions.SSLError):
        return f"TLS fails: {exc}; --cacert names the file with its authority's certificate"
    return "connection refused" if "refused" in str(exc) else "no connection"


def _is_loopback(endpoint: str) -> bool:
    try:
        host = urlsplit(endpoint).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
