"""What verdicts say of outputs."""

from __future__ import annotations

import msgspec

from tests.factories import make_key, make_verdict
from tests.fakes import candidate
from tuneonce.inspect.equal_bits import Bits, Outputs, bits_of, outputs_of
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


# -- what the first candidate's bits cost ----------------------------------------------------

TIMES = {64: 0.4, 128: 0.2, 256: 0.1, 512: 0.3}
FIRST, SECOND, THIRD, LAST = (candidate(block).digest for block in TIMES)


def told(classes: dict[str, int], *, bits: bool = False, without: str = "") -> Outputs | None:
    """What a verdict over `TIMES` says after one tuning; `without` has no time."""
    key = make_key(tuning={"n": 64, "bits()": "0f"}) if bits else make_key()
    verdict = make_verdict(key, {block: (ms,) for block, ms in TIMES.items()})
    if classes:
        seen = msgspec.structs.replace(SEEN, classes=classes, distances={}, wrong=[])
        verdict = msgspec.structs.replace(verdict, sightings=[seen])
    times = {candidate(block).digest: ms for block, ms in TIMES.items()}
    return outputs_of(verdict, {one: ms for one, ms in times.items() if one != without})


def test_of_who_did_not_ask_nothing_is_told() -> None:
    assert told({}) is None


def test_the_fastest_of_the_first_ones_class_against_the_fastest() -> None:
    found = told({FIRST: 0, SECOND: 0, THIRD: 1, LAST: -1})
    assert found == Outputs(4, 2, 1, False, SECOND, 0.2, THIRD, 0.1, 1.0)
    same = told({FIRST: 0, SECOND: 1, THIRD: 0, LAST: 0})
    assert same is not None
    assert (same.constant, same.cost) == (THIRD, 0.0)


def test_who_is_unsteady_or_does_not_run_is_not_the_first() -> None:
    for found in (
        told({FIRST: -1, SECOND: 0, THIRD: 1, LAST: 0}),
        told({SECOND: 0, THIRD: 1, LAST: 0}, without=FIRST),
    ):
        assert found is not None
        assert (found.constant, found.cost) == (SECOND, 1.0)


def test_where_no_candidate_equals_itself_there_are_no_constant_bits() -> None:
    found = told(dict.fromkeys((FIRST, SECOND, THIRD, LAST), -1))
    assert found is not None
    assert (found.classes, found.unsteady, found.constant, found.cost) == (0, 4, None, None)
    assert found.fastest == THIRD


def test_what_was_not_looked_at_has_only_its_own_bits() -> None:
    for found in (told({SECOND: 0, THIRD: 0}), told({}, bits=True)):
        assert found is not None
        assert found.constant == FIRST
        assert round(found.cost or 0, 6) == 3.0
