"""Keys of agents and the MACs of their messages."""

import json
from typing import Any

import pytest

from common import errors, mac

# Always the same: they stand in the names of tests.
OLD, NEW = f"corral-master:{'0c9d6db5' * 8}", f"corral-master:{'9a457565' * 8}"
SAID: dict[str, Any] = {"host": "h1", "incarnation": "1-a", "sequence": 7, "task": "t\u00e4sk\U0001f40e", "attempt": 1,
                        "session": None, "progress": 0.1, "nested": {"b": [1, 2.5], "a": {"z": True}}}


def refused(keys: mac.Keys, host: str, method: str, said: dict[str, Any], code: object) -> str:
    with pytest.raises(errors.Forbidden) as refusal:
        keys.verify(host, method, said, code)
    return refusal.value.code


def test_what_an_agent_signs_with_its_key_is_believed_after_a_json_round_trip_in_any_order() -> None:
    keys = mac.read_keys(NEW)
    made = mac.sign(mac.read_key(keys.key_of("h1")), "claim", SAID)
    crossed = json.loads(json.dumps(dict(reversed(SAID.items()))))
    keys.verify("h1", "claim", crossed, made)


def test_a_message_without_a_mac_is_refused() -> None:
    assert refused(mac.read_keys(NEW), "h1", "claim", SAID, None) == "mac_missing"


@pytest.mark.parametrize("change", [
    {"host": "h2"}, {"incarnation": "1-b"}, {"sequence": 8}, {"session": "s"}, {"nested": {}}, {"more": 1}])
def test_a_message_of_which_anything_was_changed_is_refused(change: dict[str, Any]) -> None:
    keys = mac.read_keys(NEW)
    made = mac.sign(mac.read_key(keys.key_of("h1")), "claim", SAID)
    assert refused(keys, "h1", "claim", {**SAID, **change}, made) == "mac_wrong"


def test_a_message_is_good_for_one_method_and_one_host_only() -> None:
    keys = mac.read_keys(NEW)
    made = mac.sign(mac.read_key(keys.key_of("h1")), "claim", SAID)
    assert refused(keys, "h1", "report", SAID, made) == "mac_wrong"
    assert refused(keys, "h2", "claim", SAID, made) == "mac_wrong"


@pytest.mark.parametrize("forged", ["", "0" * 64, "\ud800", 5, {"a": 1}, [], "\u00e4" * 64])
def test_what_is_no_mac_at_all_is_refused_like_a_wrong_one(forged: object) -> None:
    assert refused(mac.read_keys(NEW), "h1", "claim", SAID, forged) == "mac_wrong"


def test_while_secrets_are_exchanged_keys_of_both_are_good_and_new_ones_are_of_the_first() -> None:
    before, both, after = mac.read_keys(OLD), mac.read_keys(f"{NEW}\n{OLD}\n"), mac.read_keys(NEW)
    old_key, new_key = (mac.read_key(keys.key_of("h1")) for keys in (before, after))
    both.verify("h1", "claim", SAID, mac.sign(old_key, "claim", SAID))
    both.verify("h1", "claim", SAID, mac.sign(new_key, "claim", SAID))
    assert both.key_of("h1") == after.key_of("h1") != before.key_of("h1")
    assert refused(after, "h1", "claim", SAID, mac.sign(old_key, "claim", SAID)) == "mac_wrong"


def test_every_host_and_every_secret_gives_another_key_and_always_the_same() -> None:
    keys = mac.read_keys(NEW)
    assert keys.key_of("h1") == mac.read_keys(f"# made today\n\n{NEW}  # the first\n").key_of("h1")
    assert len({keys.key_of("h1"), keys.key_of("h2"), keys.key_of("h1\0"), mac.read_keys(OLD).key_of("h1")}) == 4
    assert keys.key_of("h1").startswith("corral-agent-key:")


@pytest.mark.parametrize("text, words", [
    ("", "no master secret"), ("# nothing\n", "no master secret"),
    (f"{NEW}\nsesame\n", "Line 2"), (NEW[:-1], "Line 1"), (NEW.upper(), "Line 1"),
    (mac.read_keys(NEW).key_of("h1"), "but is a key of an agent")])
def test_a_file_of_secrets_that_is_none_is_refused_with_the_line_and_without_its_text(text: str, words: str) -> None:
    with pytest.raises(errors.Invalid) as refusal:
        mac.read_keys(text)
    assert (refusal.value.code, words in refusal.value.message) == ("bad_keys", True)
    assert "sesame" not in refusal.value.message and NEW[14:-1] not in refusal.value.message


@pytest.mark.parametrize("text, words", [
    ("", "0 are given"), (f"{mac.read_keys(NEW).key_of('h1')}\n{mac.read_keys(NEW).key_of('h2')}", "2 are given"),
    ("hunter2", "Line 1"), (NEW, "which no agent may have")])
def test_a_file_that_holds_no_key_of_an_agent_is_refused(text: str, words: str) -> None:
    with pytest.raises(errors.Invalid) as refusal:
        mac.read_key(text)
    assert (refusal.value.code, words in refusal.value.message) == ("bad_keys", True)
    assert "hunter2" not in refusal.value.message


def test_keys_and_macs_are_what_they_were_in_1_1() -> None:
    keys = mac.read_keys("corral-master:" + "0123456789abcdef" * 4)
    assert keys.key_of("h1") == "corral-agent-key:26b2840196bb5c0f3bb5802517acb37835b4f24e43ea2cdb42f0e825446c78e4"
    assert mac.sign(mac.read_key(keys.key_of("h1")), "claim", SAID) == (
        "5e810f7dbabc4f526d4af6a39d1ef5f018b5740a79182e1f44e1169e52426cbe")
