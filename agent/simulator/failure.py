"""What a simulated hypervisor may answer instead of a result.

Holds the two ways a call ends badly; knows nothing of any call.
"""


class Failure(Exception):
    """An API failure: HTTP 200 with `Status: Failure` and [code, params...] on the wire."""

    def __init__(self, code: str, *params: str) -> None:
        super().__init__(code, *params)
        self.code = code
        self.params = [str(param) for param in params]

    @property
    def description(self) -> list[str]:
        """Return the list that a client sees as ErrorDescription."""
        return [self.code, *self.params]


class Dropped(Exception):
    """The connection ends without a response: xapi is gone, or a fault was injected."""


class WorldError(ValueError):
    """The description of a world is wrong; the message names the place."""
