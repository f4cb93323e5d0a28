"""Who speaks for a host: keys, and the codes (MACs) that agents put on their messages.

An agent's key is derived from a secret that only the conductors have, so nothing secret
has to be stored for it.  A MAC covers the method and all its arguments, of which host,
incarnation and sequence are always some; that no number counts twice is the receiver's
business.  It reads no file and knows no message.
"""

import hmac
import json
import re
import secrets
from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Any

from common import errors

_MASTER = "corral-master"
_KEY = "corral-agent-key"
_SECRET_BYTES = 32
_LINE = re.compile(rf"({_MASTER}|{_KEY}):([0-9a-f]{{{2 * _SECRET_BYTES}}})")


def new_master() -> str:
    """Return a fresh secret of the conductors, as a line for their file of keys."""
    return f"{_MASTER}:{secrets.token_hex(_SECRET_BYTES)}"


class Keys:
    """The conductors' secrets, newest first; each accepts messages, the newest one issues keys."""

    def __init__(self, masters: Sequence[bytes]) -> None:
        if not masters:
            raise errors.Invalid("There is no master secret for the agents' keys", code="bad_keys")
        self._masters = tuple(masters)

    @property
    def count(self) -> int:
        """How many secrets are good at the moment."""
        return len(self._masters)

    def key_of(self, host: str) -> str:
        """Return the key of a host's agent, as the line that the agent's file of its key holds."""
        return f"{_KEY}:{_derived(self._masters[0], host).hex()}"

    def verify(self, host: str, method: str, arguments: dict[str, Any], mac: object) -> None:
        """Return when ``mac`` shows that the agent of ``host`` said this.  Raises Forbidden."""
        if mac is None:
            raise errors.Forbidden(
                f"A message of host {host} came without a MAC, and the conductors require one; give its agent the "
                f"key that 'corral-manage agent-key {host}' prints", code="mac_missing", host=host)
        said = _canonical(method, arguments)
        given = str(mac).encode("utf-8", "replace")
        # Every secret is tried whatever the ones before it gave: the time tells nothing.
        found = [hmac.compare_digest(_mac(_derived(master, host), said), given) for master in self._masters]
        if not any(found):
            raise errors.Forbidden(
                f"A message in the name of host {host} was not made with its key; give its agent the key that "
                f"'corral-manage agent-key {host}' prints", code="mac_wrong", host=host)


def read_keys(text: str) -> Keys:
    """Return the conductors' secrets: one a line, newest first; ``#`` begins a comment.  Raises Invalid."""
    return Keys([_secret(_MASTER, number, line, "the conductors' secrets, which 'corral-manage agent-key --init' makes")
                 for number, line in _lines(text)])


def read_key(text: str) -> bytes:
    """Return an agent's key from the one line that ``Keys.key_of`` gave.  Raises Invalid."""
    found = [_secret(_KEY, number, line, "a key of an agent, which 'corral-manage agent-key HOST' prints")
             for number, line in _lines(text)]
    if len(found) != 1:
        raise errors.Invalid(f"An agent has one key, and {len(found)} are given", code="bad_keys")
    return found[0]


def sign(key: bytes, method: str, arguments: dict[str, Any]) -> str:
    """Return the MAC of a message; ``arguments`` are all but the MAC itself, as they cross the wire."""
    return _mac(key, _canonical(method, arguments)).decode()


def _lines(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.splitlines(), 1):
        bare = line.partition("#")[0].strip()
        if bare:
            yield number, bare


def _secret(kind: str, number: int, line: str, wanted: str) -> bytes:
    found = _LINE.fullmatch(line)
    if found is None or found[1] != kind:
        what = "something else" if found is None else "a key of an agent" if kind == _MASTER else \
            "a secret of the conductors, which no agent may have"
        # The line itself is not shown: it may be a secret all the same.
        raise errors.Invalid(f"Line {number} should be {wanted}, but is {what}", code="bad_keys")
    return bytes.fromhex(found[2])


def _derived(master: bytes, host: str) -> bytes:
    return hmac.digest(master, b"corral agent key\0" + host.encode("utf-8", "surrogatepass"), sha256)


def _canonical(method: str, arguments: dict[str, Any]) -> bytes:
    return json.dumps([method, arguments], sort_keys=True, separators=(",", ":")).encode("ascii")


def _mac(key: bytes, said: bytes) -> bytes:
    return hmac.new(key, said, sha256).hexdigest().encode("ascii")
