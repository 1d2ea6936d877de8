"""`tuneonce why` and `tuneonce stats`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.factories import H100, NOON, make_key, process, put_verdict, resolved, write_events
from tuneonce.store.files import FileStore

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Tell

TIMES = {64: (0.2,), 128: (0.1,)}


def test_why_names_the_parts_that_differ(tell: Tell, store: FileStore, events: Path) -> None:
    put_verdict(store, make_key(callee_helper="a", product=H100), TIMES)
    missed = make_key(callee_helper="b")
    write_events(events, process(resolved(missed, "miss", blocks=(64, 128, 512)), started=NOON + 9))
    said = tell("why", "add")
    assert said.code == 0
    for text in (
        "callee.helper differs",
        "world.product: NVIDIA H100 → NVIDIA H200",
        "candidates: BLOCK=512 num_warps=4 is new",
        "nothing was known of its 3 candidates",
        "server.py --port 80",
    ):
        assert text in said.words
    document = tell("why", "kernels:add", "--json").json
    assert (document["schema"], document["state"]) == ("tuneonce.why/1", "miss")
    (miss,) = document["misses"]
    parts = [difference["part"] for difference in miss["nearest"]["differences"]]
    assert parts == ["kernel.callee.helper", "world.product", "candidates"]


def test_why_with_a_wholly_other_list_stays_short(
    tell: Tell, store: FileStore, events: Path
) -> None:
    put_verdict(store, make_key(), TIMES)
    blocks = tuple(range(1000, 1030))
    write_events(events, process(resolved(make_key(), "miss", blocks=blocks), started=NOON + 9))
    assert "… and 20 more" in tell("why", "add").out
    (miss,) = tell("why", "add", "--json").json["misses"]
    assert len(miss["nearest"]["differences"]) == 32


def test_why_after_a_hit(tell: Tell, store: FileStore, events: Path) -> None:
    put_verdict(store, make_key(), TIMES)
    write_events(events, process(resolved(make_key(), "hit"), started=NOON + 9))
    said = tell("why", "add")
    assert "1 hit" in said.out
    assert "BLOCK=128 num_warps=4" in said.out
    assert tell("why", "add", "--json").json["state"] == "hit"


def test_why_of_a_kernel_that_is_not_persisted(tell: Tell, events: Path) -> None:
    event = resolved(make_key(), "not_persisted", reason="not_encodable:a.B")
    write_events(events, process(event))
    assert (
        "1 key not persisted, tuned as stock would: not_encodable:a.B" in tell("why", "add").words
    )


def test_why_of_a_kernel_that_no_process_met(tell: Tell, store: FileStore, events: Path) -> None:
    put_verdict(store, make_key(), TIMES)
    said = tell("why", "add")
    assert said.code == 0
    assert "None of the last 0 processes" in said.out
    old = process(resolved(make_key(), "miss"))
    write_events(events, old, process(), process())
    assert "None of the last 2 processes" in tell("why", "add", "--last", "2").words
    assert len(tell("why", "add", "--last", "3", "--json").json["misses"]) == 1


def test_why_of_an_unknown_kernel(tell: Tell, store: FileStore, events: Path) -> None:
    write_events(events, process(resolved(make_key("softmax_fwd"), "hit")))
    said = tell("why", "softmax_fw")
    assert (said.code, said.out, len(said.err.splitlines())) == (2, "", 1)
    assert "did you mean kernels:softmax_fwd?" in said.err


def test_why_tells_of_bad_records(tell: Tell, store: FileStore) -> None:
    bad = put_verdict(store, make_key(), TIMES)
    store.put(bad, b"{}")
    said = tell("why", "add")
    assert said.code == 0
    assert f"problem: {bad}" in said.out


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


@pytest.mark.parametrize("words", [["stats"], ["why", "add"]])
def test_events_from_elsewhere(tell: Tell, tmp_path: Path, words: list[str]) -> None:
    elsewhere = tmp_path / "elsewhere"
    (tmp_path / "store").mkdir()
    write_events(elsewhere, process(resolved(make_key(), "miss")))
    assert str(elsewhere) == tell(*words, "--events", str(elsewhere), "--json").json["events"]
    os.environ["TUNEONCE_EVENTS"] = str(elsewhere)
    assert str(elsewhere) == tell(*words, "--json").json["events"]
    os.environ["TUNEONCE_EVENTS"] = "0"
    said = tell(*words, "--json")
    assert (said.code, said.out, len(said.err.splitlines())) == (2, "", 1)
    assert "--events" in said.err


@pytest.mark.parametrize("last", ["0", "-1", "many", "²"])
def test_last_is_a_number_of_processes(tell: Tell, last: str) -> None:
    assert tell("stats", f"--last={last}").code == 2


def test_since(tell: Tell, events: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: NOON + 7200)
    miss = resolved(make_key(), "miss", t=10.0)
    write_events(
        events,
        *[process(miss, started=NOON + n * 600, pid=n + 1) for n in range(12)],
        # It has run for long, and told something only just now.
        process(miss, resolved(make_key("mul"), "hit", t=7190.0), started=NOON, pid=99),
    )

    def pids(*words: str) -> list[int]:
        return [one["pid"] for one in tell("stats", "--json", *words).json["processes"]]

    assert len(pids()) == 10
    assert pids("--since", "1h") == [7, 8, 9, 10, 11, 12, 99]
    assert pids("--since", "60min", "--last", "2") == [12, 99]
    assert pids("--since", "2023-11-14T23:13:30Z") == [7, 8, 9, 10, 11, 12, 99]
    assert pids("--since", "2023-11-14T23:13:30") == [7, 8, 9, 10, 11, 12, 99]  # here: UTC
    assert pids("--since", "2023-11-15T01:13:30+02:00") == [7, 8, 9, 10, 11, 12, 99]
    assert len(pids("--since", "2023-11-14")) == 13
    assert len(pids("--since", "999999999w")) == 13
    assert pids("--since", "0s") == []
    assert "No process has left events since then" in tell("stats", "--since", "0s").out
    assert tell("why", "add", "--since", "1h", "--json").json["processes"] == 7
    (missed,) = tell("why", "add", "--since", "1h", "--json").json["misses"]
    assert missed["processes"] == 7


@pytest.mark.parametrize(
    "when", ["", "2", "h", "2 weeks", "-2h", "1e3h", "yesterday", "2999-01-01", "²h"]
)
def test_since_is_a_time_that_was(tell: Tell, events: Path, when: str) -> None:
    events.mkdir(parents=True)
    said = tell("stats", f"--since={when}")
    assert (said.code, said.out, len(said.err.splitlines())) == (2, "", 1)
