"""The errors of Corral: what may go wrong, as stable codes.

It knows no HTTP number, no database and no hypervisor; those edges translate.

    Error                     code, message, details
      Invalid                 the request is malformed
      Forbidden               not allowed
      NotFound                no such aggregate, host, VM, operation, plan
      Conflict
        WrongState            it exists, but this can't be done with it now
        AlreadyExists         the name is taken
        ConcurrentUpdate      somebody was faster; read again
      Infeasible              no plan fits; details names every blocker
      Unavailable             try again later
      NotImplementedYet       this version can't do it
      HypervisorError         XenAPI refused; details has its code and parameters
        SessionLost           the right to act has ended; claim again
        HostIsSlave           ask the pool's master instead
      OutcomeUnknown          it may or may not have happened; observe
      Bug                     an invariant of ours is broken
"""

from typing import Any, ClassVar


class Error(Exception):
    """Something went wrong."""

    code: ClassVar[str] = "error"
    #: may the same call succeed later without anybody changing anything?
    retryable: ClassVar[bool] = False
    #: "none": nothing was changed; "unknown": it must be observed
    effect: ClassVar[str] = "none"

    def __init__(self, message: str | None = None, *, code: str | None = None, **details: Any) -> None:
        self.message = message or (type(self).__doc__ or "").strip().split("\n")[0]
        self.details = details
        if code is not None:
            self.code = code  # type: ignore[misc]
        super().__init__(self.message)

    def to_wire(self) -> dict[str, Any]:
        """Return ``{"kind", "code", "message", "details"}``; all that may leave a process."""
        return {"kind": kind_of(self), "code": self.code, "message": self.message, "details": self.details}


class Invalid(Error):
    """The request is malformed."""

    code = "invalid"


class Forbidden(Error):
    """This is not allowed."""

    code = "forbidden"


class NotFound(Error):
    """There is no such thing."""

    code = "not_found"


class Conflict(Error):
    """This contradicts what is there."""

    code = "conflict"


class WrongState(Conflict):
    """This can't be done now."""

    code = "wrong_state"


class AlreadyExists(Conflict):
    """This exists already."""

    code = "already_exists"


class ConcurrentUpdate(Conflict):
    """Somebody else was faster; read again."""

    code = "concurrent_update"
    retryable = True


class Infeasible(Error):
    """No plan fits."""

    code = "infeasible"


class Unavailable(Error):
    """This can't be reached now; try again later."""

    code = "unavailable"
    retryable = True


class NotImplementedYet(Error):
    """This version of Corral can't do that."""

    code = "not_implemented"


class HypervisorError(Error):
    """XenAPI refused the call."""

    code = "hypervisor_error"


class SessionLost(HypervisorError):
    """The XenAPI session has ended, and with it the right to act."""

    code = "session_lost"
    retryable = True


class HostIsSlave(HypervisorError):
    """This host is a pool member; its master must be asked."""

    code = "host_is_slave"


class OutcomeUnknown(Error):
    """It may or may not have happened."""

    code = "outcome_unknown"
    effect = "unknown"


def is_silence(error: Error) -> bool:
    """Return whether somebody listens who did not answer in time: it may be us who do not hear."""
    return isinstance(error, OutcomeUnknown) and error.code != "nobody_listens"


class Bug(Error):
    """An invariant of Corral is broken."""

    code = "bug"


#: the classes that may cross the wire, by name
KINDS: dict[str, type[Error]] = {
    kind.__name__: kind
    for kind in (Error, Invalid, Forbidden, NotFound, Conflict, WrongState, AlreadyExists, ConcurrentUpdate,
                 Infeasible, Unavailable, NotImplementedYet, HypervisorError, SessionLost, HostIsSlave,
                 OutcomeUnknown, Bug)
}


def kind_of(error: Error) -> str:
    """Return the name under which ``error`` crosses the wire: its own class or the nearest listed one."""
    return next(cls.__name__ for cls in type(error).__mro__ if cls.__name__ in KINDS)


def from_wire(wire: dict[str, Any]) -> Error:
    """Rebuild an error from ``to_wire``'s answer; an unknown kind becomes a plain Error with its code."""
    kind = KINDS.get(str(wire.get("kind")), Error)
    error = kind(str(wire.get("message") or ""), code=str(wire.get("code") or kind.code))
    details = wire.get("details")
    error.details = dict(details) if isinstance(details, dict) else {}
    return error
