"""Totals over events."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tuneonce.events import EventLog
from tuneonce.stats import Totals, summarise, total


def totals(*events: dict[str, Any]) -> Totals:
    return total([list(events)])


def resolve(outcome: str, reason: str | None = None, saved_s: float = 0.0) -> dict[str, Any]:
    return {"e": "resolve", "outcome": outcome, "reason": reason, "saved_s": saved_s}


def test_every_kind_of_event() -> None:
    counted = totals(
        {"schema": "tuneonce.events/1"},
        resolve("hit", saved_s=3.0),
        resolve("hit", "assembled", saved_s=1.0),
        resolve("provisional", "work_class", saved_s=0.5),
        resolve("partial", "candidates_missing"),
        resolve("miss", "unknown"),
        resolve("miss", "unknown"),
        resolve("not_persisted", "no_source"),
        {"e": "measure", "seconds": 0.25},
        {"e": "measure", "seconds": 0.25},
        {"e": "tune", "seconds": 2.0, "compile_s": 1.5, "measured": 2},
        {"e": "compile", "seconds": 1.5},
        {"e": "load", "seconds": 0.125},
        {"e": "load", "seconds": 0.125},
        {"e": "problem", "what": "store_failed"},
        {"e": "problem", "what": "store_failed"},
        {"e": "problem"},
        {"e": "of a later version"},
        {},
    )
    assert counted == Totals(
        processes=1,
        hits=2,
        provisional=1,
        misses=3,
        not_persisted=1,
        tunes=1,
        candidates_measured=2,
        compiles=1,
        disk_loads=2,
        tune_s=2.0,
        compile_s=1.5,
        load_s=0.25,
        saved_s=4.5,
        # Why keys were not hits: how a hit came about is no reason.
        reasons={"work_class": 1, "candidates_missing": 1, "unknown": 2, "no_source": 1},
        problems={"store_failed": 2},
    )


def test_an_observer_adds_up_candidate_by_candidate() -> None:
    counted = totals(
        {"e": "tune", "seconds": 0.0, "compile_s": 0.0},
        {"e": "measure", "seconds": 0.5, "tune_s": 0.5},
        {"e": "measure", "seconds": 0.25, "tune_s": 0.25},
    )
    assert (counted.tunes, counted.candidates_measured, counted.tune_s) == (1, 2, 0.75)


@pytest.mark.parametrize("value", [None, "1.5", [1], {}])
def test_fields_that_are_no_numbers_count_as_nothing(value: Any) -> None:
    counted = totals(
        {"e": "tune", "seconds": value},
        {"e": "measure", "tune_s": value},
        {"e": "compile", "seconds": value},
        {"e": "load", "seconds": value},
        {"e": "resolve", "outcome": value, "reason": value, "saved_s": value},
        {"e": "problem", "what": value},
    )
    assert counted.tune_s == counted.compile_s == counted.load_s == counted.saved_s == 0
    assert (counted.tunes, counted.compiles, counted.disk_loads, counted.misses) == (1, 1, 1, 1)


def test_a_directory_of_processes(tmp_path: Path) -> None:
    for number in range(3):
        log = EventLog(tmp_path, mode="on", store="", clock=lambda number=number: 1e9 + number)
        log.emit("resolve", outcome="hit", saved_s=2.0)
        log.emit("problem", what="store_failed")
        log.close()
    (tmp_path / "other.jsonl").write_text("not ours")
    counted = summarise(tmp_path)
    assert (counted.processes, counted.hits, counted.saved_s) == (3, 3, 6.0)
    assert counted.problems == {"store_failed": 3}
    assert summarise(tmp_path / "nowhere") == Totals()


def test_it_is_data() -> None:
    counted = totals(resolve("miss", "unknown"))
    assert msgspec.json.decode(msgspec.json.encode(counted), type=Totals) == counted
    assert json.loads(msgspec.json.encode(counted))["reasons"] == {"unknown": 1}
