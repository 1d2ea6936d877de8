"""`tuneonce stats`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.factories import make_key, process, resolved, write_events
from tuneonce.store.files import FileStore

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Tell

TIMES = {64: (0.2,), 128: (0.1,)}


@pytest.mark.usefixtures("terminal")
def test_stats(tell: Tell, events: Path) -> None:
    key = make_key()
    write_events(
        events,
        process(resolved(key, "miss", reason="unknown"), argv=["-c"], mode="observe"),
        process(
            resolved(key, "miss", reason="unknown"),
            {"e": "measure", "seconds": 2.0},
            {"e": "tune", "seconds": 12.34},
            {"e": "compile", "seconds": 6.0},
            {"e": "load", "seconds": 0.1},
            {"e": "problem", "what": "store_failed"},
        ),
        process(resolved(key, "hit", saved_s=12.34), resolved(key, "provisional")),
    )
    said = tell("stats", "--last", "2")
    assert said.code == 0
    assert "observe" not in said.out
    lines = [line.split() for line in said.out.splitlines()]
    first, second = [line[3:] for line in lines if line[:2] == ["11-14", "22:13"]]
    assert first == ["0", "0", "1", "1", "1", "1", "12.3", "6", "0"]
    assert second == ["1", "1", "0", "0", "0", "0", "0", "0", "12.3"]
    assert ["all", "2", "1", "1", "1", "1", "1", "1", "12.3", "6", "12.3"] in lines
    assert "unknown 1" in said.out
    assert "problems: store_failed 1" in said.out
    document = tell("stats", "--json").json
    assert document["schema"] == "tuneonce.stats/1"
    assert [one["mode"] for one in document["processes"]] == ["observe", "on", "on"]
    assert document["totals"]["saved_s"] == 12.34


def test_stats_tell_of_outputs(tell: Tell, events: Path) -> None:
    wrong = {"e": "problem", "what": "candidate_is_wrong"}
    write_events(
        events,
        process(wrong, wrong, {"e": "problem", "what": "candidates_disagree"}),
        process({"e": "outputs", "left_out": "too_large"}, {"e": "outputs", "left_out": None}),
    )
    out = tell("stats").out
    assert "problems: candidate_is_wrong 2, candidates_disagree 1" in out
    assert "outputs not looked at, by key: too_large 1" in out
    assert tell("stats", "--json").json["totals"]["outputs_left_out"] == {"too_large": 1}


def test_stats_of_nothing(tell: Tell, store: FileStore, events: Path) -> None:
    Path(store.describe().location).mkdir()
    said = tell("stats")
    assert said.code == 0
    assert str(events) in said.out
    assert tell("stats", "--json").json["processes"] == []


@pytest.mark.usefixtures("terminal")
def test_stats_while_serving(tell: Tell, events: Path) -> None:
    tunes, compiled = {"e": "tune", "seconds": 3.0, "compile_s": 1.0}, {"e": "compile"}
    served = process(tunes, {"e": "ready"}, tunes, {**compiled, "seconds": 0.5}, argv=["x" * 90])
    write_events(events, process(tunes, compiled), served)
    said = tell("stats")
    lines = [line.split() for line in said.out.splitlines()]
    assert ["while", "serving", "ready", "tunes", "comp", "seconds"] in lines
    [row] = [line for line in lines if line[:2] == ["11-14", "22:13"] and len(line) == 8]
    assert row[-4:] == ["1", "1", "1", "2.5"]
    assert ["all", "1", "that", "were", "ready", "1", "1", "1", "2.5"] in lines
    assert max(map(len, said.out.splitlines())) <= 80
    write_events(events, process(tunes), process(tunes))
    assert "serving" not in tell("stats").out


def test_in_a_pipe_each_process_is_one_row(tell: Tell, events: Path) -> None:
    ready = {"e": "ready"}
    long = process({"e": "tune", "seconds": 123456.0}, ready, argv=["x" * 70, "y" * 70])
    write_events(events, long, long)
    rows = [line for line in tell("stats").out.splitlines() if "y" * 70 in line]
    assert len(rows) == 4
    assert all(line.startswith(f"11-14 22:13 on {'x' * 70} {'y' * 70} ") for line in rows)


@pytest.mark.usefixtures("terminal")
def test_stats_fit_eighty_columns(tell: Tell, events: Path) -> None:
    long = process({"e": "tune", "seconds": 123456.0}, argv=["x" * 70, "y" * 70])
    write_events(events, long, long)
    assert max(map(len, tell("stats").out.splitlines())) <= 80


@pytest.mark.usefixtures("terminal")
def test_stats_by_phase(tell: Tell, events: Path) -> None:
    served = process(
        {"e": "compile", "seconds": 6.0, "waited": False, "ahead": True},
        {"e": "load", "seconds": 0.5, "waited": True},
        {"e": "module_load", "seconds": 0.25, "waited": True},
        {"e": "module_load", "seconds": 0.25, "waited": True, "within": "tune"},
        {"e": "replay", "loaded": 7, "seconds": 0.5},
        {"e": "ready"},
        {"e": "measure", "seconds": 1.0},
        {"e": "tune", "seconds": 3.0, "waited_s": 3.0, "sample_s": 2.0, "compile_s": 9.0},
        {"e": "explore", "what": "begin"},
        {"e": "explore", "what": "verdict", "winner": "B=4", "instead_of": "B=8", "gained": 0.125},
    )
    write_events(events, served)
    said = tell("stats")
    told = "1 winners took the place of another size's or key's: their launches take 12.5 % less,"
    assert told in " ".join(said.out.split())
    lines = [line.split() for line in said.out.splitlines()]
    assert ["starting", "1", "6", "1", "0.5", "2", "0.5", "0", "0", "0.75"] in lines
    assert ["serving", "0", "0", "0", "0", "0", "0", "1", "2", "3"] in lines
    assert "7 variants replayed" in said.out
    assert "1 keys tuned by their traffic" in said.out
    assert max(map(len, said.out.splitlines())) <= 80
    document = tell("stats", "--json").json["totals"]
    assert document["serving"]["tune"] == {"count": 1, "seconds": 3.0}
    assert document["starting"]["module_load"] == {"count": 2, "seconds": 0.5}
    assert (document["starting"]["waited_s"], document["waited_s"]) == (0.75, 3.75)
    assert document["replayed"] == 7


def test_stats_tells_what_was_borrowed_and_shared(tell: Tell, events: Path) -> None:
    key = make_key()
    borrowed = [resolved(key, "miss", reason="unknown"), {"e": "borrow"}]
    write_events(events, process(*borrowed, *borrowed, resolved(key, "shared")))
    words = " ".join(tell("stats").out.split())
    assert "2 misses ran the winner of a near key" in words
    assert "1 keys that never stop share a verdict" in words
    write_events(events, process(resolved(key, "hit")))
    assert "not tuned" not in tell("stats").out
