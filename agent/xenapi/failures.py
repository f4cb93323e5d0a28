"""What XenAPI's failure codes mean to us: one table.

It knows codes and our errors, no calls.
"""

import http.client
import xmlrpc.client

from agent.xenapi.answers import BadAnswer
from agent.xenapi.transport import JsonRefused
from common import errors

#: what the caller knows after a code: nothing was done, or it must look
NONE, UNKNOWN = "none", "unknown"

#: wire code -> our error and what may have happened; every other code is a HypervisorError without effect
FAILURES: dict[str, tuple[type[errors.Error], str]] = {
    "SESSION_INVALID": (errors.SessionLost, NONE),
    "HOST_IS_SLAVE": (errors.HostIsSlave, NONE),
    "SESSION_AUTHENTICATION_FAILED": (errors.Forbidden, NONE),
    "SESSION_AUTHORIZATION_FAILED": (errors.Forbidden, NONE),
    "RBAC_PERMISSION_DENIED": (errors.Forbidden, NONE),
    "CANNOT_CONTACT_HOST": (errors.HypervisorError, UNKNOWN),
    "INTERNAL_ERROR": (errors.HypervisorError, UNKNOWN),
    "VM_MIGRATE_FAILED": (errors.HypervisorError, UNKNOWN),
    "TASK_CANCELLED": (errors.HypervisorError, UNKNOWN),
}
#: codes of a reference or uuid that does not exist (any more)
ABSENT = frozenset({"HANDLE_INVALID", "UUID_INVALID"})

#: what the transport and the XenAPI package raise when there is no usable answer
NO_ANSWER: tuple[type[Exception], ...] = (OSError, http.client.HTTPException, BadAnswer, xmlrpc.client.Error)


def refused(details: list[str]) -> errors.Error:
    """Return our error for XenAPI's ``[code, parameter, ...]``."""
    code, params = str(details[0]) if details else "", [str(p) for p in details[1:]]
    kind, effect = FAILURES.get(code, (errors.HypervisorError, NONE))
    if kind is errors.HostIsSlave and not params:
        kind = errors.HypervisorError  # a slave names its master; who does not is something else
    message = f"XenServer answered {code}" + (f" ({', '.join(params)})" if params else "")
    own = "hypervisor_auth" if kind is errors.Forbidden else None
    return kind(message, code=own, xapi_code=code, params=params, effect=effect)


def xapi_code(error: errors.Error) -> str:
    """Return the wire code that ``error`` stands for, "" if none."""
    return str(error.details.get("xapi_code", ""))


def is_strange(exc: Exception) -> bool:
    """Return whether ``exc``, one of NO_ANSWER, says that somebody answers who is not xapi."""
    # A connection that broke is an HTTPException too, depending on when it did.
    return not isinstance(exc, OSError | http.client.IncompleteRead)


def is_absent(error: errors.Error) -> bool:
    """Return whether ``error`` says that the object named does not exist."""
    return xapi_code(error) in ABSENT


__all__ = ["ABSENT", "FAILURES", "NO_ANSWER", "JsonRefused", "is_absent", "is_strange", "refused", "xapi_code"]
