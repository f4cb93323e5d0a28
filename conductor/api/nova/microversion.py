"""Which microversion a request asks for, and what the answer says about it.

It knows no resource; each decides by the number what it shows.
"""

import re
from collections.abc import Mapping

import microversion_parse

from common import errors
from conductor.api.exchange import Version

LOWEST: Version = (2, 1)
#: from 2.43 on Nova has no os-hosts, and its clients refuse host-update
HIGHEST: Version = (2, 42)

HEADER = "OpenStack-API-Version"
OLD_HEADER = "X-OpenStack-Nova-API-Version"


class NotAcceptable(errors.Invalid):
    """The microversion asked for isn't served."""

    code = "version_not_supported"


def text(version: Version) -> str:
    """Return ``version`` as "2.42"."""
    return f"{version[0]}.{version[1]}"


def asked(headers: Mapping[str, str]) -> Version:
    """Return the microversion that ``headers`` (WSGI's spelling) ask for; the lowest when they say nothing.

    Raises Invalid for what is no version, NotAcceptable for one out of range.
    """
    wanted = microversion_parse.get_version(dict(headers), service_type="compute",
                                            legacy_headers=[OLD_HEADER])
    if wanted is None:
        return LOWEST
    if wanted == "latest":
        return HIGHEST
    found = re.fullmatch(r"([1-9][0-9]{0,3})\.(0|[1-9][0-9]{0,3})", wanted)
    if found is None:
        raise errors.Invalid(f"API Version String {wanted[:50]!r} is of invalid format. Must be of format "
                             "MajorNum.MinorNum.", code="bad_version")
    version = (int(found[1]), int(found[2]))
    if not LOWEST <= version <= HIGHEST:
        raise NotAcceptable(f"Version {text(version)} is not supported by the API. Minimum is {text(LOWEST)} "
                            f"and maximum is {text(HIGHEST)}.")
    return version


def headers(version: Version) -> dict[str, str]:
    """Return what each answer under /v2.1 says about its version."""
    return {HEADER: f"compute {text(version)}", OLD_HEADER: text(version), "Vary": f"{HEADER}, {OLD_HEADER}"}
