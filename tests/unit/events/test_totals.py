"""Totals over events."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tuneonce.events.log import EventLog
from tuneonce.events.totals import Live, Totals, summarise, total
from tuneonce.events.work import PhaseTotals, Work


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
        resolve("shared", "never_stops"),
        {"e": "measure", "seconds": 0.25},
        {"e": "measure", "seconds": 0.25},
        {"e": "tune", "seconds": 2.0, "compile_s": 1.5, "measured": 2},
        {"e": "compile", "seconds": 1.5},
        {"e": "load", "seconds": 0.125},
        {"e": "load", "seconds": 0.125},
        {"e": "module_load", "seconds": 0.5},
        {"e": "replay", "variants": 20, "loaded": 12, "skipped": {"source": 8}, "seconds": 0.4},
        {"e": "restore", "binaries": 3, "bytes": 9000, "seconds": 0.1},
        {"e": "remote", "what": "pulled", "records": 120},
        {"e": "remote", "what": "pushed", "records": 7},
        {"e": "borrow"},
        {"e": "borrow"},
        {"e": "explore", "what": "begin"},
        {"e": "explore", "what": "verdict", "excess_ms": 1500.0},
        {"e": "problem", "what": "store_failed"},
        {"e": "problem", "what": "store_failed"},
        {"e": "problem"},
        {"e": "untuned", "why": "warmup"},
        {"e": "untuned", "why": "no_programs"},
        {"e": "untuned", "why": "no_programs"},
        {"e": "outputs", "left_out": "time", "classes": 2},
        {"e": "outputs", "left_out": None},
        {"e": "of a later version"},
        {},
    )
    assert counted == Totals(
        processes=1,
        hits=2,
        provisional=1,
        misses=3,
        not_persisted=1,
        shared=1,
        tunes=1,
        candidates_measured=2,
        compiles=1,
        disk_loads=2,
        tune_s=2.0,
        compile_s=1.5,
        load_s=0.25,
        saved_s=4.5,
        # Why keys were not hits: how a hit came about is no reason.
        reasons={"work_class": 1, "candidates_missing": 1, "unknown": 2, "no_source": 1}
        | {"never_stops": 1},
        problems={"store_failed": 2},
        untuned={"warmup": 1, "no_programs": 2},
        outputs_left_out={"time": 1},
        module_loads=1,
        module_load_s=0.5,
        # These events are of an earlier version: a tune, less its compilations, and a compilation.
        waited_s=2.0,
        replayed=12,
        replay_s=0.4,
        restored=3,
        restore_s=0.1,
        pulled=120,
        pushed=7,
        borrowed=2,
        explored=1,
        excess_s=1.5,
        starting=PhaseTotals(
            keys={"hit": 2, "provisional": 1, "miss": 3, "not_persisted": 1, "shared": 1},
            compile=Work(1, 1.5),
            disk_load=Work(2, 0.25),
            module_load=Work(1, 0.5),
            measure=Work(2, 0.0),
            tune=Work(1, 2.0),
            waited_s=2.0,
        ),
    )


def test_what_winners_gain_over_those_of_other_sizes() -> None:
    counted = totals(
        {"e": "tune", "winner": "B=1", "instead_of": "B=2", "gained": 0.25},
        {"e": "tune", "winner": "B=1"},
        {"e": "tune", "winner": "B=1", "instead_of": "B=2", "gained": None},
        {"e": "explore", "what": "verdict", "winner": "B=4", "instead_of": "B=8", "gained": 0.125},
        {"e": "explore", "what": "verdict", "winner": "B=4", "instead_of": "B=4", "gained": 0.0},
    )
    assert (counted.replaced, counted.gained) == (2, 0.375)


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


# -- start-up and serving ------------------------------------------------------------------------

TUNE = {"e": "tune", "seconds": 2.0, "compile_s": 1.5, "measured": 2}
COMPILE = {"e": "compile", "seconds": 1.5}
READY = {"e": "ready"}


def serving(counted: Totals) -> tuple[int, int, int, float]:
    return counted.ready, counted.serving_tunes, counted.serving_compiles, counted.serving_s


def test_what_comes_after_ready_is_serving() -> None:
    counted = totals(COMPILE, TUNE, READY, resolve("miss"), COMPILE, TUNE, {"e": "load"})
    # What the tuning run compiled is in an event of its own: not counted twice.
    assert serving(counted) == (1, 1, 1, 2.0)
    assert (counted.tunes, counted.compiles, counted.tune_s) == (2, 2, 4.0)


def test_what_is_made_ready_and_takes_longer_is_of_no_request() -> None:
    late = {**COMPILE, "waited": False, "within": "replay"}
    counted = totals(late, READY, late, COMPILE)
    assert serving(counted) == (1, 0, 1, 1.5)
    assert (counted.starting.compile.count, counted.serving.compile.count) == (2, 1)
    assert counted.compiles == 3


def test_without_ready_nothing_is_serving() -> None:
    assert serving(totals(COMPILE, TUNE)) == (0, 0, 0, 0.0)


def test_an_observers_benchmarks_while_serving() -> None:
    opening = {"e": "tune", "seconds": 0.0, "compile_s": 0.0}
    measured = {"e": "measure", "seconds": 2.0, "tune_s": 2.0, "compile_s": 1.5}
    assert serving(totals(READY, opening, COMPILE, measured)) == (1, 1, 1, 2.0)
    assert totals(measured, READY).serving_s == 0


def test_each_process_is_ready_for_itself() -> None:
    counted = total([[COMPILE, READY, TUNE], [TUNE, COMPILE], [READY, COMPILE]])
    assert serving(counted) == (2, 1, 1, 2.0)


def test_ready_twice_in_a_file_is_a_process_that_said_it_twice() -> None:
    assert totals(READY, READY).ready == 2


def listening() -> tuple[Live, list[None]]:
    met: list[None] = []
    return Live(lambda: met.append(None)), met


def test_live_totals_are_those_of_the_file() -> None:
    live, met = listening()
    events = [COMPILE, resolve("miss"), TUNE, READY, resolve("hit", saved_s=1.0), COMPILE]
    for event in events:
        live(event)
    assert live.now() == totals(*events)
    assert (live.ready, len(met)) == (True, 1)


def test_the_first_kernel_is_told_once_and_a_compile_is_none() -> None:
    live, met = listening()
    live(COMPILE)
    live(READY)
    assert met == []
    for _ in range(3):
        live(resolve("miss"))
    assert len(met) == 1


def test_a_forked_child_counts_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    live, _ = listening()
    live(resolve("hit", saved_s=3.0))
    live(READY)
    monkeypatch.setattr("tuneonce.events.totals.os.getpid", lambda: -1)
    assert not live.ready
    assert live.now() == Totals(processes=1)
    live(TUNE)
    assert serving(live.now()) == (0, 0, 0, 0.0)
    live(READY)
    live(TUNE)
    assert serving(live.now()) == (1, 1, 0, 0.5)


def test_a_sentence_for_a_log() -> None:
    counted = totals(resolve("hit", saved_s=7.25), resolve("miss"), TUNE, COMPILE)
    assert counted.sentence() == "1 hits, 1 tunes (2.0 s), 1 compiles (1.5 s), 7.2 s saved"
    counted = totals(resolve("hit"), resolve("provisional", "work_class", saved_s=1.0))
    assert counted.sentence() == (
        "2 hits (1 provisional), 0 tunes (0.0 s), 0 compiles (0.0 s), 1.0 s saved"
    )


def test_the_sentence_tells_of_loads_and_of_what_was_remembered_where_there_are_any() -> None:
    counted = totals(
        resolve("hit", saved_s=7.25),
        {"e": "restore", "binaries": 4, "seconds": 0.3},
        {"e": "load", "seconds": 0.25},
        {"e": "module_load", "seconds": 0.5},
        {"e": "module_load", "seconds": 0.25},
        {"e": "replay", "loaded": 12, "seconds": 0.4},
        {"e": "borrow"},
        {"e": "explore"},
    )
    assert counted.sentence() == (
        "1 hits, 1 borrowed, 1 explored, 0 tunes (0.0 s), 0 compiles (0.0 s), "
        "1 disk loads (0.2 s), 2 module loads (0.8 s), 4 binaries restored (0.3 s), "
        "12 variants replayed (0.4 s), 7.2 s saved"
    )


def test_each_kind_of_work_is_in_its_phase() -> None:
    tune = {"e": "tune", "seconds": 2.0, "waited_s": 2.0, "sample_s": 0.25, "compile_s": 9.0}
    counted = totals(
        {"e": "compile", "seconds": 4.0, "ahead": True, "waited": False},
        {"e": "compile", "seconds": 1.0, "waited": True},
        resolve("miss"),
        READY,
        resolve("miss"),
        resolve("hit"),
        {"e": "module_load", "seconds": 0.5, "waited": True, "within": "tune"},
        {"e": "measure", "seconds": 0.1},
        tune,
        {"e": "load", "seconds": 0.125, "waited": True},
        {"e": "wait", "seconds": 0.25, "waited": True},
    )
    assert counted.starting == PhaseTotals(keys={"miss": 1}, compile=Work(2, 5.0), waited_s=1.0)
    assert counted.serving == PhaseTotals(
        keys={"miss": 1, "hit": 1},
        disk_load=Work(1, 0.125),
        module_load=Work(1, 0.5),
        measure=Work(1, 0.25),
        tune=Work(1, 2.0),
        waited_s=2.375,
    )
    assert (counted.waited_s, counted.serving_s) == (3.375, 2.375)


def test_what_is_borrowed_is_a_miss_and_counted_once_more() -> None:
    counted = totals(
        resolve("miss", "unknown"), {"e": "borrow"}, resolve("shared", "key_never_stops")
    )
    assert (counted.misses, counted.borrowed, counted.shared, counted.hits) == (1, 1, 1, 0)
    assert counted.reasons == {"unknown": 1, "key_never_stops": 1}
    assert counted.sentence().startswith("0 hits, 1 shared, 1 borrowed, 0 tunes")
    assert totals(resolve("shared")).met
