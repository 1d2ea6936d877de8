"""What launches waited for, event by event, and what was done in a phase."""

from __future__ import annotations

from typing import Any

import pytest

from tuneonce.events.work import PhaseTotals, Work, waited_seconds


@pytest.mark.parametrize(
    ("event", "seconds"),
    [
        ({"e": "compile", "seconds": 2.0, "waited": True}, 2.0),
        # In another process, or behind the launches.
        ({"e": "compile", "seconds": 2.0, "waited": False, "ahead": True}, 0.0),
        # The tune has these seconds: what is told twice is counted once.
        ({"e": "compile", "seconds": 2.0, "waited": True, "within": "tune"}, 0.0),
        ({"e": "load", "seconds": 2.0, "waited": True, "within": "recheck"}, 0.0),
        ({"e": "load", "seconds": 2.0, "waited": True}, 2.0),
        ({"e": "module_load", "seconds": 2.0, "waited": True}, 2.0),
        ({"e": "module_load", "seconds": 2.0, "waited": False}, 0.0),
        ({"e": "wait", "seconds": 2.0, "waited": True}, 2.0),
        ({"e": "tune", "seconds": 2.0, "waited_s": 2.0, "compile_s": 9.0}, 2.0),
        ({"e": "recheck", "seconds": 2.0, "waited_s": 2.0}, 2.0),
        ({"e": "measure", "seconds": 2.0, "tune_s": 2.0, "compile_s": 1.5, "waited_s": 2.0}, 2.0),
        # A candidate of a tune that is told as a whole.
        ({"e": "measure", "seconds": 2.0, "compile_s": 1.5}, 0.0),
        ({"e": "ready"}, 0.0),
        ({"e": "replay", "seconds": 2.0}, 0.0),
        # Of earlier versions, and of no version.
        ({"e": "compile", "seconds": 2.0}, 2.0),
        ({"e": "load", "seconds": 2.0}, 0.0),
        ({"e": "tune", "seconds": 2.0, "compile_s": 1.5}, 0.5),
        ({"e": "compile", "seconds": "2.0", "waited": True}, 0.0),
        ({"e": "compile", "seconds": 2.0, "waited": "yes"}, 0.0),
        ({"e": "tune", "waited_s": None}, 0.0),
        ({}, 0.0),
    ],
    ids=str,
)
def test_what_a_launch_waited_for(event: dict[str, Any], seconds: float) -> None:
    assert waited_seconds(event) == seconds


def test_an_observers_tune_is_told_candidate_by_candidate() -> None:
    phase = PhaseTotals()
    for event in (
        {"e": "tune", "seconds": 0.0, "waited_s": 0.0},
        {"e": "measure", "seconds": 2.0, "tune_s": 2.0, "sample_s": 0.5, "waited_s": 2.0},
        {"e": "measure", "seconds": 1.0, "tune_s": 1.0, "sample_s": 0.25, "waited_s": 1.0},
    ):
        phase.add(event, waited_seconds(event))
    assert phase == PhaseTotals(tune=Work(1, 3.0), measure=Work(2, 0.75), waited_s=3.0)


@pytest.mark.parametrize("outcome", ["miss", "partial", None, 3, ["hit"]])
def test_what_is_no_other_outcome_is_a_miss(outcome: Any) -> None:
    phase = PhaseTotals()
    phase.add({"e": "resolve", "outcome": outcome}, 0.0)
    assert phase.keys == {"miss": 1}
