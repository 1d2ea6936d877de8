"""The metrics: their names by the field's convention, their values, and how many there can be."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tuneonce.events.families import FAMILIES, MOST_NAMES, OTHER, Family
from tuneonce.events.totals import Totals, total

BY_NAME = {family.name: family for family in FAMILIES}
EVENTS: list[dict[str, Any]] = [
    {"e": "resolve", "outcome": "hit", "saved_s": 7.5},
    {"e": "resolve", "outcome": "partial", "reason": "candidates_missing"},
    {"e": "compile", "seconds": 2.0, "waited": False},
    {"e": "load", "seconds": 0.5, "waited": True},
    {"e": "restore", "binaries": 3, "seconds": 0.25},
    {"e": "replay", "loaded": 4, "seconds": 0.75},
    {"e": "ready"},
    {"e": "resolve", "outcome": "provisional", "reason": "work_class"},
    {"e": "module_load", "seconds": 0.125, "waited": True},
    {"e": "measure", "seconds": 1.0},
    {"e": "tune", "seconds": 3.0, "waited_s": 3.0, "sample_s": 0.5},
    {"e": "borrow"},
    {"e": "explore"},
    {"e": "explore", "what": "verdict", "excess_ms": 250.0},
    {"e": "untuned", "why": "warmup"},
    {"e": "outputs", "left_out": "too_large"},
    {"e": "remote", "what": "pulled", "records": 120},
    {"e": "remote", "what": "pushed", "records": 7},
    {"e": "problem", "what": "store_failed"},
]
COUNTED = total([[{}, *EVENTS]])


def values(name: str, totals: Totals = COUNTED) -> dict[tuple[str, ...], float]:
    return dict(BY_NAME[name].samples(totals))


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_names_follow_the_convention(family: Family) -> None:
    assert re.fullmatch(r"tuneonce_[a-z]+(_[a-z]+)*", family.name)
    assert family.kind in ("counter", "gauge")
    assert family.name.endswith("_total") is (family.kind == "counter")
    assert not re.search(r"_s_total$|_ms|_sec_", family.name)
    assert not {"kernel", "key", "le", "quantile"} & set(family.labels)
    assert family.meaning
    assert not family.meaning.endswith(".")


def test_no_name_is_there_twice() -> None:
    assert len(BY_NAME) == len(FAMILIES)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_each_tells_something_and_gives_its_labels(family: Family) -> None:
    samples = list(family.samples(COUNTED))
    assert sum(value for _, value in samples) > 0
    assert all(len(labels) == len(family.labels) for labels, _ in samples)
    assert len({labels for labels, _ in samples}) == len(samples)


def test_what_is_counted_by_phase() -> None:
    assert values("tuneonce_keys_total") == {
        ("starting", "hit"): 1,
        ("starting", "provisional"): 0,
        ("starting", "shared"): 0,
        ("starting", "miss"): 1,
        ("starting", "not_persisted"): 0,
        ("serving", "hit"): 0,
        ("serving", "provisional"): 1,
        ("serving", "shared"): 0,
        ("serving", "miss"): 0,
        ("serving", "not_persisted"): 0,
    }
    for name, starting, serving in (
        ("tunes", 0, 1),
        ("tune_seconds", 0, 3.0),
        ("candidates_measured", 0, 1),
        ("measure_seconds", 0, 0.5),
        ("compiles", 1, 0),
        ("compile_seconds", 2.0, 0),
        ("disk_loads", 1, 0),
        ("disk_load_seconds", 0.5, 0),
        ("module_loads", 0, 1),
        ("module_load_seconds", 0, 0.125),
        ("waited_seconds", 0.5, 3.125),
    ):
        expected = {("starting",): starting, ("serving",): serving}
        assert values(f"tuneonce_{name}_total") == expected, name


def test_series_that_are_alone_are_there_from_the_beginning() -> None:
    for family in FAMILIES:
        names = set(family.labels) & {"reason", "why", "problem"}
        assert bool(list(family.samples(Totals()))) is not bool(names)


def test_what_was_remembered() -> None:
    for name, value in (
        ("restored_binaries", 3),
        ("restore_seconds", 0.25),
        ("replayed_variants", 4),
        ("replay_seconds", 0.75),
        ("pulled_records", 120),
        ("pushed_records", 7),
        ("borrowed_keys", 1),
        ("explored_keys", 1),
        ("explore_excess_seconds", 0.25),
        ("saved_seconds", 7.5),
    ):
        assert values(f"tuneonce_{name}_total") == {(): value}, name


def test_names_that_never_end_are_one_and_those_that_were_there_stay() -> None:
    counted = Totals(problems={f"problem {i}": 1 for i in range(MOST_NAMES + 5)})
    told = values("tuneonce_problems_total", counted)
    assert len(told) == MOST_NAMES + 1
    assert told[OTHER,] == 5
    assert told["problem 0",] == 1


def test_types_of_the_program_are_no_labels() -> None:
    counted = Totals(reasons={"not_encodable:Thing": 2, "not_encodable:Other": 1, "unknown": 4})
    expected = {("not_encodable",): 3, ("unknown",): 4}
    assert values("tuneonce_keys_not_hit_total", counted) == expected
