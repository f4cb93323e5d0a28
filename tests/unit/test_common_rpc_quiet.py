"""What is said again and again is let through once a minute, with how often it was said."""

import logging
from collections.abc import Iterator

import pytest

from common import quiet
from common.clock import SetClock


class Listener(logging.Handler):
    """Keeps the sentences that arrive."""

    def __init__(self) -> None:
        super().__init__()
        self.sentences: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one."""
        self.sentences.append(record.getMessage())


@pytest.fixture
def listener() -> Iterator[Listener]:
    """A listener at the loggers below "quiet-test"; their filters are gone afterwards."""
    listener = Listener()
    names = ("quiet-test", "quiet-test.child", "quiet-test.other")
    logging.getLogger("quiet-test").addHandler(listener)
    for name in names:
        logging.getLogger(name).setLevel(logging.INFO)
    yield listener
    logging.getLogger("quiet-test").removeHandler(listener)
    for name in names:
        logging.getLogger(name).filters.clear()


def test_a_sentence_that_is_repeated_passes_once_a_minute_and_says_how_often(listener: Listener) -> None:
    clock = SetClock()
    quiet.quieten(["quiet-test"], clock)
    log = logging.getLogger("quiet-test.child")
    for number in range(5):
        log.warning("Away: attempt %d", number)
        clock.advance(10)
    assert listener.sentences == ["Away: attempt 0"]
    clock.advance(10)
    log.warning("Away: attempt %d", 5)
    clock.advance(60)
    log.warning("Away: attempt %d", 6)
    assert listener.sentences == ["Away: attempt 0", "Away: attempt 5 (4 more like it)", "Away: attempt 6"]


def test_other_sentences_and_other_loggers_are_heard_meanwhile(listener: Listener) -> None:
    quiet.quieten(["quiet-test"], SetClock())
    logging.getLogger("quiet-test.child").warning("Away")
    logging.getLogger("quiet-test.child").warning("Back")
    logging.getLogger("quiet-test.child").error("Away")
    logging.getLogger("quiet-test.other").warning("Away")
    assert listener.sentences == ["Away", "Back", "Away", "Away"]


def test_sentences_can_be_told_to_be_alike_or_to_pass_always(listener: Listener) -> None:
    quiet.quieten(["quiet-test"], SetClock(),
                  alike=lambda record: None if record.levelno < logging.WARNING else "trouble")
    log = logging.getLogger("quiet-test.child")
    for _ in range(2):
        log.warning("Can't connect")
        log.error("Can't send")
        log.info("Connected")
    assert listener.sentences == ["Can't connect", "Connected", "Connected"]


def test_sentences_that_hold_values_do_not_fill_the_memory() -> None:
    clock = SetClock()
    one = quiet.Quiet(clock)
    for number in range(quiet.KINDS * 2):
        clock.advance(1)
        assert one.filter(logging.LogRecord("n", logging.INFO, "", 0, f"number {number}", None, None))
    assert len(one._held) <= quiet.KINDS
