"""What a miss does, by phase."""

from __future__ import annotations

import pytest

from tuneonce import policies
from tuneonce.errors import SettingsError
from tuneonce.phase import Phase
from tuneonce.policies import Numerics, OnMiss, Policies, policy_complaints, read_policies


def test_each_phase_has_a_policy_of_its_own() -> None:
    policies = read_policies(
        {"TUNEONCE_ON_MISS_STARTING": "error", "TUNEONCE_ON_MISS_SERVING": " Borrow "}
    )
    assert policies.on_miss(Phase.STARTING) is OnMiss.ERROR
    assert policies.on_miss(Phase.SERVING) is OnMiss.BORROW
    assert not policies.deterministic


def test_by_default_a_start_tunes_and_what_serves_explores() -> None:
    assert read_policies({}).on_miss(Phase.STARTING) is OnMiss.TUNE
    assert read_policies({}).on_miss(Phase.SERVING) is OnMiss.EXPLORE


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("TUNEONCE_ON_MISS_STARTING", "wait"),
        ("TUNEONCE_ON_MISS_SERVING", "1"),
        ("TUNEONCE_DETERMINISTIC", "maybe"),
        ("TUNEONCE_NUMERICS", "1"),
    ],
)
def test_a_word_that_is_not_known_is_told(name: str, word: str) -> None:
    with pytest.raises(SettingsError, match=name):
        read_policies({name: word})


@pytest.mark.parametrize(("word", "expected"), [("1", True), ("0", False), ("", False)])
def test_deterministic_is_a_switch(word: str, expected: bool) -> None:
    assert read_policies({"TUNEONCE_DETERMINISTIC": word}).deterministic is expected


def test_how_much_explores_is_a_share() -> None:
    assert read_policies({}).explore_share == 0.5
    assert read_policies({"TUNEONCE_EXPLORE_SHARE": "0.1"}).explore_share == 0.1


def test_how_much_is_looked_is_a_share() -> None:
    assert read_policies({}).look_share == 0.1
    assert read_policies({"TUNEONCE_LOOK_SHARE": "1"}).look_share == 1


@pytest.mark.parametrize(
    ("word", "expected"),
    [("", "off"), ("off", "off"), ("0", "off"), (" Check ", "check"), ("bits", "bits")],
)
def test_what_is_made_of_outputs(word: str, expected: str) -> None:
    assert read_policies({"TUNEONCE_NUMERICS": word}).numerics is Numerics(expected)


def test_what_deterministic_leaves_without_effect() -> None:
    both = {"TUNEONCE_DETERMINISTIC": "1", "TUNEONCE_NUMERICS": "bits"}
    [complaint] = policy_complaints(both)
    assert "TUNEONCE_NUMERICS=bits is left out" in complaint
    assert policy_complaints({"TUNEONCE_NUMERICS": "bits"}) == []


def test_only_what_was_asked_for_is_said_to_be_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    checking = Policies(numerics=Numerics.CHECK)
    monkeypatch.setattr(policies, "Policies", lambda *args: Policies(*args) if args else checking)
    assert read_policies({}).numerics is Numerics.CHECK
    assert read_policies({"TUNEONCE_NUMERICS": "off"}).numerics is Numerics.OFF
    assert policy_complaints({"TUNEONCE_DETERMINISTIC": "1"}) == []
    assert (
        len(policy_complaints({"TUNEONCE_DETERMINISTIC": "1", "TUNEONCE_NUMERICS": "check"})) == 1
    )


@pytest.mark.parametrize("word", ["0", "1.1", "-1", "nan", "half"])
def test_what_is_no_share_is_told(word: str) -> None:
    for name in ("TUNEONCE_EXPLORE_SHARE", "TUNEONCE_LOOK_SHARE"):
        with pytest.raises(SettingsError, match=name):
            read_policies({name: word})
