"""A line of the log says what has happened, and once."""

import io
import logging

import pytest
from oslo_config import cfg
from oslo_log import formatters, log

from common import errors
from common.logs import _Sentences


def line(name: str, with_traceback: bool = False) -> str:
    """Return what is logged while an error is being handled."""
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    conf = cfg.ConfigOpts()
    log.register_options(conf)
    conf([], default_config_files=[])
    conf.set_override("logging_default_format_string", "%(message)s")
    handler.setFormatter(_Sentences(formatters.ContextFormatter(config=conf)))
    try:
        raise errors.Unavailable("The broker is away")
    except errors.Unavailable as exc:
        info = (type(exc), exc, None) if with_traceback else None
        handler.handle(logging.LogRecord(name, logging.WARNING, "", 1, "Waiting: %s", (exc,), info))
    return text.getvalue()


def test_a_sentence_of_ours_is_not_followed_by_the_error_that_it_tells_of() -> None:
    assert line("common.service") == "Waiting: The broker is away\n"


@pytest.mark.parametrize("name, with_traceback", [("kombu.connection", False), ("common.service", True)])
def test_what_a_library_says_and_a_defect_keep_the_error(name: str, with_traceback: bool) -> None:
    assert "common.errors.Unavailable" in line(name, with_traceback)
