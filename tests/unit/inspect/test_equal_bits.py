"""What verdicts say of outputs."""

from __future__ import annotations

import msgspec

from tests.factories import make_key, make_verdict
from tuneonce.inspect.equal_bits import Bits, bits_of
from tuneonce.model.records import Sighting

SEEN = Sighting(
    programs=None,
    at=1.0,
    size=1,
    classes={"a": 0, "b": 1, "c": -1},
    distances={"b": 0.5, "c": None},
    wrong=["c"],
    disagrees=False,
)
VERDICT = make_verdict(make_key(), {64: (0.1,)})


def test_a_verdict_of_a_program_that_did_not_ask_says_nothing() -> None:
    assert bits_of(VERDICT) == {}


def test_each_candidate_that_was_looked_at_has_its_word() -> None:
    verdict = msgspec.structs.replace(VERDICT, sightings=[SEEN])
    assert bits_of(verdict) == {
        "a": Bits("0", 0.0),
        "b": Bits("1", 0.5),
        "c": Bits("wrong", None),
    }


def test_the_last_tuning_counts() -> None:
    later = msgspec.structs.replace(SEEN, at=2.0, classes={"a": -1}, distances={}, wrong=[])
    verdict = msgspec.structs.replace(VERDICT, sightings=[later, SEEN])
    assert bits_of(verdict) == {"a": Bits("unsteady", 0.0)}
