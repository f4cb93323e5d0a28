"""Answers one message with one method: versions, refusals, errors as data.

It knows nothing of transports; whatever it is given, it returns ``{"result": ...}`` or
``{"error": {...}}`` and raises nothing.
"""

import functools
import logging
from collections.abc import Callable, Mapping
from typing import Any

from common import errors
from common.arguments import Form

LOG = logging.getLogger(__name__)

Method = Callable[..., Any]


class Desk:
    """The methods that one topic serves in one version, ``major.minor``."""

    def __init__(self, topic: str, version: str, methods: Mapping[str, Method]) -> None:
        self._topic = topic
        self._version = version
        self._methods = {name: (method, Form(method)) for name, method in methods.items()}

    def answer(self, context: object, message: object) -> dict[str, Any]:
        """Return what ``message`` (``method``, ``args``, ``version``) amounts to."""
        call = None
        try:
            call = self._understood(context, message)
            return {"result": call()}
        except errors.Error as exc:
            if call is None:
                # A cast's sender hears nothing of it, so it is said here too.
                LOG.warning("Refused a message on %s: %s", self._topic, exc.message)
            return {"error": exc.to_wire()}
        except Exception as exc:
            # The outermost loop of an RPC worker: it must answer whatever happens.
            name = message.get("method") if isinstance(message, dict) else None
            LOG.exception("The call %.60s failed", name)
            return {"error": errors.Bug(f"{name} could not be carried out: {type(exc).__name__}").to_wire()}

    def _understood(self, context: object, message: object) -> Callable[[], Any]:
        """Return the call that a message asks for.  Raises Error."""
        asked, known = _object(message, "A message"), _object(context, "A message's context")
        name, version = (str(asked.get(part, default))[:longest] for part, default, longest in
                         (("method", None, 60), ("version", "1.0", 20)))
        if not speaks(self._version, version):
            raise self._misfit(name, version)
        if name not in self._methods:
            raise errors.Error(f"{self._topic} has no method {name} in version {self._version}",
                               code="no_such_method", version=self._version)
        method, form = self._methods[name]
        arguments = _object(asked.get("args", {}), "The arguments of a call")
        form.check(arguments)
        return functools.partial(method, known, **arguments)

    def _misfit(self, name: str, version: str) -> errors.Error:
        asked, spoken = _parts(version), _parts(self._version)
        if asked is None or spoken is None:
            whom = "which is no version"
        elif asked > spoken:
            whom = "so upgrade the service that answers here"
        else:
            whom = "so upgrade the service that asks"
        return errors.Error(f"{name} was asked in version {version} of {self._topic}, and version {self._version} is "
                            f"spoken here; {whom}", code="version_not_supported", asked=version,
                            spoken=self._version)


def speaks(served: str, asked: str) -> bool:
    """Return whether who serves ``served`` understands ``asked``: the same major, and no newer minor."""
    spoken, wanted = _parts(served), _parts(asked)
    return wanted is not None and spoken is not None and wanted[0] == spoken[0] and wanted[1] <= spoken[1]


def _parts(version: str) -> tuple[int, int] | None:
    major, dot, minor = version.partition(".")
    if not (dot and major.isascii() and major.isdecimal() and minor.isascii() and minor.isdecimal()):
        return None
    return int(major), int(minor)


def _object(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise errors.Invalid(f"{what} is an object with names", code="bad_message")
    return value
