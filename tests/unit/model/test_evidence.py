"""Which of two records stays: an order, so that nobody has to be asked first."""

from __future__ import annotations

import itertools
import random
from functools import reduce
from typing import Any

import msgspec
import pytest

from tests.factories import NOON, make_key, make_verdict, random_verdict
from tests.fakes import candidate, measured
from tuneonce.model.evidence import Evidence, because, evidence
from tuneonce.model.records import WRONG, Measurement, Sighting, Variants, Verdict, pack

KEY = make_key("add")
TIMES = {64: (0.2,), 128: (0.1,), 256: (0.3,)}


def of(record: Verdict | Measurement | Variants) -> Evidence:
    return evidence(record, pack(record))


def verdict(
    times: dict[int, tuple[float, ...]] = TIMES,
    *,
    samples: int = 0,
    settled: bool = True,
    **more: Any,
) -> Verdict:
    made = make_verdict(KEY, times, **more)
    measurements = [
        msgspec.structs.replace(m, samples=samples, settled=settled) for m in made.measurements
    ]
    return msgspec.structs.replace(made, measurements=measurements)


FAILED = {64: (), 128: (0.1,), 256: (0.3,)}


def looked_at(record: Verdict, *, wrong: int | None = None) -> Verdict:
    """The verdict of a program that has looked at outputs; the candidate `wrong` was left out."""
    sighting = Sighting(
        programs=None,
        at=NOON,
        size=1,
        classes=dict.fromkeys(record.candidates, 0),
        distances={},
        wrong=[],
        disagrees=False,
    )
    measurements = [
        msgspec.structs.replace(m, times=(), failed=f"{WRONG}far from the rest")
        if wrong is not None and m.candidate == candidate(wrong).digest
        else m
        for m in record.measurements
    ]
    return msgspec.structs.replace(record, sightings=[sighting], measurements=measurements)


@pytest.mark.parametrize(
    ("more", "less", "why"),
    [
        (looked_at(verdict(at=NOON - 9)), verdict(samples=9), "were looked at"),
        (looked_at(verdict(at=NOON - 9), wrong=256), verdict(samples=9), "were looked at"),
        (verdict(), looked_at(verdict(FAILED)), "more of its candidates"),
        (verdict(FAILED, origin="rechecked", at=NOON - 9), verdict(samples=9), "a wrong one"),
        (verdict(at=NOON - 9), verdict(FAILED, samples=99), "more of its candidates"),
        (verdict(at=NOON - 9), verdict(settled=False, samples=99), "more of its candidates"),
        (verdict(samples=9, at=NOON - 9), verdict(samples=8), "more samples"),
        (verdict(samples=9, settled=False), verdict(settled=False), "more samples"),
        (verdict(samples=9), verdict(samples=9, at=NOON - 9), "newer"),
        (verdict(FAILED), verdict({64: (), 128: (0.1,), 256: ()}), "more of its candidates"),
        (measured(64, 0.1, at=1.0), measured(64, failed="no memory"), "more of its candidates"),
        (measured(64, 0.1, at=2.0), measured(64, 0.2, at=1.0), "newer"),
    ],
)
def test_more_and_better_measurements_stay(
    more: Verdict | Measurement, less: Verdict | Measurement, why: str
) -> None:
    assert of(more) > of(less)
    assert why in because(of(more), of(less))


def test_of_two_that_are_equal_in_all_else_all_machines_keep_the_same() -> None:
    one, other = verdict(winner=64), verdict(winner=128)
    assert of(one)[:-1] == of(other)[:-1]
    assert of(one) != of(other)
    greater, less = sorted((of(one), of(other)), reverse=True)
    assert "by its digest" in because(greater, less)


def test_variants_of_more_candidates_and_newer_ones_stay() -> None:
    def variants(*blocks: int, at: float = NOON) -> Variants:
        each: dict[str, Any] = {candidate(block).digest: {} for block in blocks}
        return Variants(list(KEY.parts), "kernels:add", "c02", [*each], {"s": "i32"}, each, at)

    assert of(variants(64, 128, at=NOON - 9)) > of(variants(64))
    assert of(variants(64)) > of(variants(64, at=NOON - 9))


def test_measurements_count_once_and_for_the_list_alone() -> None:
    """Whoever writes a record decides about one key, and need not lie about it so cheaply."""
    plain = verdict(samples=5)
    stuffed = msgspec.structs.replace(
        plain,
        measurements=[*plain.measurements, *plain.measurements, measured(512, 0.4)],
        candidates=[*plain.candidates, *plain.candidates],
    )
    assert of(stuffed)[:-1] == of(plain)[:-1]


@pytest.mark.parametrize("seed", range(20))
def test_whoever_keeps_the_greatest_keeps_the_same_one_in_any_order(seed: int) -> None:
    chance = random.Random(seed)
    records = [random_verdict(chance, KEY) for _ in range(5)]
    kept = {
        pack(reduce(lambda a, b: max(a, b, key=of), order))
        for order in itertools.permutations(records)
    }
    assert len(kept) == 1
    # However they are grouped: two machines that merge first, and then meet the others.
    left, right = max(records[:2], key=of), max(records[2:], key=of)
    assert {pack(max(left, right, key=of))} == {pack(max(right, left, key=of))} == kept
    for one, other in itertools.combinations(records, 2):
        assert (of(one) == of(other)) == (pack(one) == pack(other))
