"""Calls to one xapi under one session, with its failures turned into our errors.

Reading goes over JSON-RPC where it is offered (a map key with ``<`` makes xapi's XML
ill-formed, and JSON is twenty times cheaper to parse); acting goes through the XenAPI
package.  A link belongs to one thread; it never logs in by itself.
"""

from contextlib import suppress
from typing import Any

import XenAPI

from agent.xenapi import failures
from agent.xenapi.answers import BadAnswer, Poisoned
from agent.xenapi.shapes import checked
from agent.xenapi.transport import LONGEST_DETAIL, JsonRefused, Limits, Line, NotSent, XmlTransport, json_call
from agent.xenapi.trust import Untrusted
from common import errors

API_VERSION = "1.0"  # what a client says at login; xapi takes any


class Link:
    """One thread's way to the xapi at ``url``; ``session`` is a reference or None before ``login``."""

    def __init__(self, url: str, limits: Limits, session: str | None = None, json: bool = False) -> None:
        self.url = url
        self.json = json
        self.session_uuid = ""
        self._limits = limits
        self._xml_line = Line(url, limits)
        self._json_line = Line(url, limits)
        self._transport = XmlTransport(self._xml_line, limits)
        self._proxy = XenAPI.Session(url, transport=self._transport)
        # Without remembered credentials the package can't log in again behind our back.
        self._proxy._session = session

    @property
    def session(self) -> str:
        """The reference of the session."""
        return str(self._proxy._session)

    def twin(self) -> "Link":
        """Return another link to the same xapi under the same session."""
        return Link(self.url, self._limits, self.session, self.json)

    def login(self, user: str, password: str, originator: str) -> None:
        """Begin a session.  Raises Unavailable, Forbidden, HostIsSlave, HypervisorError."""
        # By the raw call: the package's own login would remember the password.
        self._proxy._session = self._raw(
            "session.login_with_password", user, password, API_VERSION, originator
        )
        self.json = True
        try:
            self.session_uuid = str(self.read("session.get_uuid", self.session))
        except (errors.Unavailable, errors.HypervisorError):
            # No JSON-RPC here, or no answer at all; the same question by XML tells which.
            self.json = False
            self.session_uuid = str(self.read("session.get_uuid", self.session))

    def logout(self, session: str | None = None) -> None:
        """End ``session`` (a reference; default: this one); one that has ended already is no error."""
        with suppress(errors.SessionLost):
            self._raw("session.logout", session or self.session)

    def read(self, method: str, *params: Any, timeout_s: float | None = None) -> Any:
        """Return what ``method`` answers.

        Raises Unavailable when there is no answer, else as the failure table says.
        """
        read_s = timeout_s or self._limits.read_s
        try:
            if self.json:
                return checked(method, json_call(self._json_line, method, [self.session, *params], read_s))
            self._transport.read_s = read_s
            return checked(method, self._proxy.xenapi_request(method, params))
        except (XenAPI.Failure, JsonRefused) as exc:
            raise failures.refused(exc.details) from exc
        except failures.NO_ANSWER as exc:
            self.close()
            if _must_log_in(exc):
                raise errors.SessionLost() from exc
            raise self._away(exc) from exc

    def act(self, method: str, *params: Any, subtask_of: str | None = None) -> str:
        """Make the call once and return its answer, a reference or ""; with ``subtask_of`` what it begins becomes
        part of that task.

        Raises Unavailable (nothing was sent), OutcomeUnknown (sent, no answer), else as
        the failure table says.
        """
        self._transport.read_s = self._limits.read_s
        self._transport.subtask_of = subtask_of
        try:
            answer = self._proxy.xenapi_request(method, params)
            if isinstance(answer, str):
                return answer
            raise BadAnswer("a reference or nothing is expected")
        except XenAPI.Failure as exc:
            raise failures.refused(exc.details) from exc
        except failures.NO_ANSWER as exc:
            raise self._unanswered(method, exc) from exc

    def _raw(self, method: str, *params: Any) -> Any:
        """Make a call about sessions, whose first parameter is not this link's session."""
        self._transport.read_s = self._limits.read_s
        try:
            answer = getattr(self._proxy, method)(*params)
            if answer["Status"] == "Success":
                return checked(method, answer["Value"])
        except failures.NO_ANSWER as exc:
            self.close()
            raise self._away(exc) from exc
        raise failures.refused(answer["ErrorDescription"])

    def _unanswered(self, method: str, exc: Exception) -> errors.Error:
        self.close()
        if _must_log_in(exc):
            return errors.SessionLost()
        if isinstance(exc, NotSent):
            return self._away(exc)
        return errors.OutcomeUnknown(f"{self.url} gave no answer to {method}: {str(exc)[:LONGEST_DETAIL]}")

    def _away(self, exc: Exception) -> errors.Unavailable:
        """Return what to say of no answer, one that isn't xapi's, and a peer that isn't trusted: waiting helps
        the first only, so each has a code of its own.
        """
        if isinstance(exc, NotSent):
            untrusted = isinstance(exc.__cause__, Untrusted)
            return errors.Unavailable(f"{self.url} {'is not trusted' if untrusted else 'gives no answer'}: {exc}",
                                      code="hypervisor_tls" if untrusted else "hypervisor_unavailable")
        if isinstance(exc, Poisoned):
            # It is xapi, and nobody but an operator can help.
            return errors.Unavailable(f"{self.url} can't be read: {exc}", code="map_key_unreadable")
        how, code = ("answers, but not as xapi does", "hypervisor_answer") if failures.is_strange(exc) else (
            "gives no answer", "hypervisor_unavailable")
        return errors.Unavailable(f"{self.url} {how}: {str(exc)[:LONGEST_DETAIL]}", code=code)

    def close(self) -> None:
        """Close the connections; the session goes on."""
        self._xml_line.close()
        self._json_line.close()

    def abort(self) -> None:
        """Make a call that waits for its answer fail now; for other threads."""
        self._xml_line.abort()
        self._json_line.abort()


def _must_log_in(exc: Exception) -> bool:
    """Return whether ``exc`` is what the package makes of SESSION_INVALID when it has no credentials."""
    return getattr(exc, "faultCode", None) == 401
