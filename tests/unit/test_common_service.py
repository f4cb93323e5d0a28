"""The parts that daemons share, and the sentences that their errors become."""

import threading

import pytest

from common import errors, parts, service

PATIENCE_S = 30.0


class Told:
    """A pulse that remembers what it was told."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.news = threading.Event()

    def heard(self) -> None:
        """Remember a round trip."""
        self.words.append("heard")
        self.news.set()

    def waiting(self, why: str) -> None:
        """Remember a wait."""
        self.words.append(why)
        self.news.set()


@pytest.mark.parametrize("ending, words", [
    (None, ["heard"]), (errors.NotFound("no such operation"), ["heard"]),
    (errors.Unavailable("The broker is away"), ["The broker is away"])])
def test_a_round_trip_tells_the_pulse_how_it_ended(ending: errors.Error | None, words: list[str]) -> None:
    def trip() -> None:
        if ending is not None:
            raise ending

    told = Told()
    trips = parts.round_trips(trip, told, every_s=PATIENCE_S, again_s=PATIENCE_S)
    trips.start()
    assert told.news.wait(PATIENCE_S)
    trips.stop()
    assert told.words == words


def test_a_round_trip_without_any_answer_tells_nothing() -> None:
    asked: list[int] = []
    twice = threading.Event()

    def trip() -> None:
        asked.append(1)
        if len(asked) > 2:
            twice.set()
        raise errors.OutcomeUnknown("no answer")

    told = Told()
    trips = parts.round_trips(trip, told, again_s=0.01)
    trips.start()
    assert twice.wait(PATIENCE_S)
    trips.stop()
    assert told.words == []


def test_a_condition_that_holds_lets_the_start_go_on_and_one_that_does_not_stops_it() -> None:
    def refuse() -> None:
        raise errors.Invalid("The schema differs")

    parts.Gate(lambda: None, Told(), lambda why: None).start()
    with pytest.raises(errors.Invalid, match="The schema differs"):
        parts.Gate(refuse, Told(), lambda why: None).start()


def test_a_condition_that_cannot_be_checked_is_waited_for_and_then_told() -> None:
    answers = iter([errors.Unavailable("The database is away"), errors.Unavailable("The database is away"),
                    errors.Invalid("The schema differs")])
    ended = threading.Event()
    reasons: list[errors.Error] = []

    def check() -> None:
        raise next(answers)

    def end(why: errors.Error) -> None:
        reasons.append(why)
        ended.set()

    told = Told()
    gate = parts.Gate(check, told, end, apart_s=0.01)
    gate.start()
    assert ended.wait(PATIENCE_S)
    gate.stop()
    assert told.words == ["The database is away"] * 2 and reasons[0].message == "The schema differs"


@pytest.mark.parametrize("error, status", [
    (errors.Unavailable("The port is taken"), 5), (errors.Invalid("No such option"), 2), (OSError("No space"), 2)])
def test_an_error_becomes_one_sentence_and_a_status(error: Exception, status: int,
                                                    capsys: pytest.CaptureFixture[str]) -> None:
    def run() -> int:
        raise error

    assert service.guarded("corral-x", run) == status
    assert capsys.readouterr().err == f"corral-x: {error}\n"
