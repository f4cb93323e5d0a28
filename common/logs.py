"""What the logs look like: one line per event with its facts, or JSON; to standard error unless configured.

It sets up oslo.log and knows nobody who logs.
"""

import logging
import re
from collections.abc import Hashable
from typing import Any

from oslo_config import cfg
from oslo_log import log

from common import config, quiet

#: lines of these are worth reading only when something is wrong
_CHATTY = ("oslo_messaging=WARNING", "alembic=WARNING", "amqp=WARNING")
#: loops that say again and again what is away, and libraries that do
_LOOPS = ("common.broker", "common.parts", "common.rpc", "common.service", "agent.inventory",
          "conductor.operations.sweeper", "conductor.pulse")
_OURS = ("agent.", "common.", "conductor.")
_LIBRARIES = ("oslo_messaging", "oslo.messaging", "amqp", "kombu")
_AWAY = re.compile(r"^Waiting: |can't be reached|can't listen|unreachable|refused|was not heard|was interrupted|"
                   "nobody listens|there was no answer|connection (failed|reset|lost)|timed out", re.IGNORECASE)
#: what every record has; the rest of a record is facts that the code added
_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "facts", "extra_keys", "taskName"}
#: what libraries put into records for their own use
_NOT_FACTS = frozenset({"color", "context", "extra", "instance", "resource"})


class _Sentences(logging.Formatter):
    """Writes lines as another formatter does, without the summary of an error that is being handled.

    oslo.log appends that to whatever is logged then; our sentences say already what has happened.
    """

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        if record.exc_info is not None or not record.name.startswith(_OURS):
            return self._inner.format(record)
        try:
            # While one of Python's own errors is being handled it appends nothing.
            raise ValueError
        except ValueError:
            return self._inner.format(record)


class _Facts(logging.Filter):
    """Marks what the code added to a record, for the text line (``facts``) and the JSON form (``extra_keys``)."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record through, marked."""
        keys = sorted(key for key in vars(record) if key not in _PLAIN and key not in _NOT_FACTS)
        told = " ".join(f"{key}={vars(record)[key]}" for key in keys if vars(record)[key] is not None)
        record.extra_keys = keys
        record.facts = f" [{told}]" if told else ""
        return True


def _alike(record: logging.LogRecord) -> Hashable:
    """Return one value for all that tells of the same outage, so that each minute has one line about it."""
    said = record.getMessage()
    if record.exc_info is None and _AWAY.search(said):
        return "database away" if "database" in said.lower() else "broker or other side away"
    return None if record.name.startswith(_LOOPS) else quiet.same_words(record)


def log_by(conf: Any, prog: str) -> None:
    """Log as ``conf``, on which oslo.log's options are registered, says."""
    for name, value in config.LOG_DEFAULTS.items():
        conf.set_default(name, value)
    conf.set_default("default_log_levels", [*log.get_default_log_levels(), *_CHATTY])
    log.setup(conf, prog)
    for handler in logging.getLogger().handlers:
        handler.addFilter(_Facts())
        if handler.formatter is not None:
            handler.setFormatter(_Sentences(handler.formatter))
    quiet.quieten((*_LOOPS, *_LIBRARIES), alike=_alike)


def log_to(level: int = logging.INFO, use_json: bool = False, log_file: str | None = None) -> None:
    """Log as daemons do without a configuration file, to standard error or to a file."""
    conf = cfg.ConfigOpts()
    log.register_options(conf)
    conf([], default_config_files=[], default_config_dirs=[])
    conf.set_override("debug", level <= logging.DEBUG)
    conf.set_override("use_json", use_json)
    conf.set_override("log_file", log_file)
    log_by(conf, "corral")
