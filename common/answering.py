"""Answers one message with one method: versions, refusals, errors as data.

It knows nothing of transports; whatever it is given, it returns ``{"result": ...}`` or
``{"error": {...}}`` and raises nothing.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from common import errors

LOG = logging.getLogger(__name__)

Method = Callable[..., Any]


class Desk:
    """The methods that one topic serves in one version, ``major.minor``."""

    def __init__(self, topic: str, version: str, methods: Mapping[str, Method]) -> None:
        self._topic = topic
        self._version = version
        self._methods = dict(methods)

    def answer(self, context: dict[str, Any], message: dict[str, Any]) -> dict[str, Any]:
        """Return what ``message`` (``method``, ``args``, ``version``) amounts to."""
        name = str(message.get("method"))
        try:
            return {"result": self._method(name, str(message.get("version", "1.0")))(context, **_arguments(message))}
        except errors.Error as exc:
            return {"error": exc.to_wire()}
        except Exception as exc:
            # The outermost loop of an RPC worker: it must answer whatever happens.
            LOG.exception("The call %s failed", name)
            return {"error": errors.Bug(f"{name} could not be carried out: {type(exc).__name__}").to_wire()}

    def _method(self, name: str, version: str) -> Method:
        refusal = None if speaks(self._version, version) else self._misfit(name, version)
        if refusal is None and name not in self._methods:
            refusal = errors.Error(f"{self._topic} has no method {name} in version {self._version}",
                                   code="no_such_method", version=self._version)
        if refusal is not None:
            # A cast's sender hears nothing of it, so it is said here too.
            LOG.warning("Refused a message on %s: %s", self._topic, refusal.message)
            raise refusal
        return self._methods[name]

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


def _arguments(message: dict[str, Any]) -> dict[str, Any]:
    arguments = message.get("args", {})
    if not isinstance(arguments, dict):
        raise errors.Invalid("The arguments of a call are an object with their names")
    return arguments
