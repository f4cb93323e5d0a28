"""What has to be there before a conductor is of use: keys to check agents by, and the schema it knows."""

from typing import Any

from common import config, errors, mac
from conductor.db.session import Database


def keys_from(conf: Any) -> mac.Keys | None:
    """Return the keys that agents' messages are checked with; None: they are not.  Raises Invalid."""
    if not conf.agents.require_mac:
        return None
    text = config.secret(conf, "agents", "keys_file")
    if text is None:
        raise errors.Invalid("[agents] keys_file is missing: make one with corral-manage agent-key --init FILE, or "
                             "turn require_mac off", code="bad_configuration")
    return mac.read_keys(text)


def require_schema(database: Database) -> None:
    """Raise Invalid unless the schema is the one that this conductor knows, Unavailable when it can't be read."""
    found, newest = database.version()
    if found != newest:
        # One that is not among those that this version can make is of a later version.
        help_ = ("run corral-manage db sync" if found is None or database.knows(found)
                 else "it was made by a newer version of Corral; install that one here, too")
        raise errors.Invalid(f"The database's schema is {found or 'not there'}, and this conductor needs {newest}: "
                             f"{help_}", code="schema_differs")
