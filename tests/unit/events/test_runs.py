"""The line at the end of a `tuneonce run`."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest

from tests.factories import NOON, make_key, process, resolved, write_events
from tuneonce.events import runs
from tuneonce.events.log import EventLog, read_processes
from tuneonce.events.runs import is_first, line, new_run
from tuneonce.events.totals import Totals

RUN = f"71.5.{int(NOON)}"
NOTHING = "no autotuned kernel was launched"


def of_run(*events: dict[str, object], run: str = RUN) -> list[dict[str, object]]:
    about, *rest = process(*events, started=NOON + 1)
    return [{**about, "run": run}, *rest]


def test_all_processes_of_the_run_and_no_others(tmp_path: Path) -> None:
    tune, hit = {"e": "tune", "seconds": 12.0}, resolved(make_key(), "hit", saved_s=7.5)
    others = of_run(tune, run="72.5.1700000000"), process(tune)
    write_events(tmp_path, of_run(tune, hit), of_run(hit), *others)
    assert line(RUN, tmp_path, None) == (
        "2 hits, 1 tunes (12.0 s), 0 compiles (0.0 s), 15.0 s saved, in 2 processes"
    )
    write_events(tmp_path, of_run(hit, {"e": "problem", "what": "store_failed"}))
    assert line(RUN, tmp_path, None).endswith("; there were problems, see `tuneonce stats`")


def test_what_was_written_before_the_run_is_not_read(tmp_path: Path) -> None:
    write_events(tmp_path, of_run(resolved(make_key(), "hit"), run="71.5.1800000000"))
    assert line("71.5.1800000000", tmp_path, None) == NOTHING


@pytest.mark.parametrize("events", [[], [{"e": "compile", "seconds": 1.0}]])
def test_no_kernel(tmp_path: Path, events: list[dict[str, object]]) -> None:
    write_events(tmp_path, of_run(*events))
    assert line(RUN, tmp_path, Totals()) == NOTHING
    assert line(RUN, tmp_path / "not" / "there", None) == NOTHING


def test_without_events_what_this_process_knows() -> None:
    assert line(RUN, None, None) == NOTHING
    assert line(RUN, None, Totals(hits=3)).startswith("3 hits")
    assert "in this process" in line(RUN, None, Totals(hits=3))


def test_events_that_cannot_be_written_are_no_claim(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "is not known" in line(RUN, tmp_path / "file" / "events", Totals())


def test_a_run_knows_its_first_process(monkeypatch: pytest.MonkeyPatch) -> None:
    run = new_run()
    assert is_first(run)
    assert not is_first("")
    assert not is_first(f"1{run}")
    monkeypatch.setattr(os, "getpid", lambda: 1)
    assert not is_first(run)


def test_events_name_their_run(tmp_path: Path) -> None:
    for at, run in ((NOON, None), (NOON + 1, RUN)):
        EventLog(tmp_path, mode="on", store="", run=run, clock=lambda at=at: at).emit("ready")
    found = [events[0].get("run") for events in read_processes(tmp_path)]
    assert found == [None, RUN]


@pytest.mark.parametrize("stream", [None, io.StringIO(), "closed", "full"])
def test_a_standard_error_that_takes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stream: object
) -> None:
    monkeypatch.setattr(runs.signal, "signal", lambda number, handler: None)
    monkeypatch.setattr(runs, "_WRITE_S", 0.01)
    reading, writing = os.pipe()
    if isinstance(stream, str):
        monkeypatch.setattr(sys, "stderr", os.fdopen(os.dup(writing), "w"))
        if stream == "closed":
            os.close(reading)
        else:
            os.set_blocking(writing, False)
            with pytest.raises(BlockingIOError):
                while True:
                    os.write(writing, b"x" * 4096)
    else:
        monkeypatch.setattr(sys, "stderr", stream)
    runs.tell(RUN, tmp_path, None)
    os.close(writing)
    if stream != "closed":
        os.close(reading)
    if isinstance(stream, str):
        sys.stderr.close()
