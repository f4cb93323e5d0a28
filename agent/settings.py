"""What an agent is told by its configuration files; reads the secret files that they name."""

import re
from dataclasses import fields
from typing import Any

from agent.build import AgentSettings
from agent.xenapi.trust import Trust, pins_of
from common import config, errors, mac

_OPTIONS = ("agent.host", "xenapi.url", "xenapi.password_file")
_SECRETS = ("agent.key_file", "xenapi.password_file", "xenapi.pool_password_file", "broker.password_file")
#: not shown in a log, not even that they have changed into what
_SECRET_FIELDS = frozenset({"password", "pool_password", "key"})
#: under any other name the API knows no host, and nobody could speak of it
_NAME = re.compile("[a-zA-Z0-9._-]{1,255}")


def settings_from(conf: Any) -> tuple[AgentSettings, str | None]:
    """Return the agent's settings and the broker's password.

    Raises Invalid naming everything that is missing or can't be read.
    """
    secrets = config.require(conf, _OPTIONS, _SECRETS)
    own, key = conf.xenapi, secrets["agent.key_file"]
    if not _NAME.fullmatch(conf.agent.host):
        raise errors.Invalid(f"[agent] host {conf.agent.host!r} can't be a host's name: that has 1 to 255 of the "
                             "letters a to z and A to Z, digits and . _ -", code="bad_configuration")
    if own.pool_username and secrets["xenapi.pool_password_file"] is None:
        raise errors.Invalid("[xenapi] pool_username needs pool_password_file", code="bad_configuration")
    pins = pins_of(own.pins)
    if pins and (not own.verify or not own.url.startswith("https:")):
        raise errors.Invalid("[xenapi] pins need an https url, and verify on", code="bad_configuration")
    # What can't be read is told now, and not by the first connection.
    Trust(own.ca_file, own.verify, pins).context()
    return AgentSettings(
        host=conf.agent.host, url=own.url, username=own.username, password=secrets["xenapi.password_file"] or "",
        pool_username=own.pool_username, pool_password=secrets["xenapi.pool_password_file"], ca_file=own.ca_file,
        verify=own.verify, pins=pins, workers=conf.agent.workers, connect_timeout_s=own.connect_timeout_s,
        read_timeout_s=own.read_timeout_s, login_hold_s=own.login_hold_s,
        key=None if key is None else mac.read_key(key)), secrets["broker.password_file"]


def changed_secrets(before: AgentSettings, after: AgentSettings) -> list[str]:
    """Return the names of the secrets in which the two differ; options that differ are the log's own matter."""
    return [one.name for one in fields(before) if one.name in _SECRET_FIELDS
            and getattr(before, one.name) != getattr(after, one.name)]
