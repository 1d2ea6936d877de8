"""What events tell of processes."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from tests.factories import NOON, make_key, process, resolved, write_events
from tuneonce.events.history import (
    KnownKeys,
    is_label,
    kernels_met,
    misses,
    read_history,
    statistics,
)


def test_statistics_of_the_last_processes(tmp_path: Path) -> None:
    key = make_key()
    write_events(
        tmp_path,
        process(resolved(key, "miss"), started=NOON, pid=1),
        process(
            resolved(key, "miss", reason="unknown"),
            {"t": 9.0, "e": "tune", "seconds": 8.0, "compile_s": 6.0},
            {"t": 9.5, "e": "problem", "what": "store_failed"},
            started=NOON + 10,
            pid=2,
            mode="observe",
        ),
        process(resolved(key, "hit", saved_s=8.0, t=0.5), started=NOON + 20, pid=3),
    )
    found = statistics(tmp_path, last=2)
    assert [one.pid for one in found.processes] == [2, 3]
    first, second = found.processes
    assert (first.mode, first.started, first.seconds) == ("observe", NOON + 10, 9.5)
    assert first.command == ["/srv/app/server.py", "--port", "80"]
    assert (second.totals.hits, second.totals.saved_s) == (1, 8.0)
    assert (found.totals.processes, found.totals.misses, found.totals.tune_s) == (2, 1, 8.0)
    assert found.totals.reasons == {"unknown": 1}
    assert found.totals.problems == {"store_failed": 1}


def test_no_directory_is_no_processes(tmp_path: Path) -> None:
    assert statistics(tmp_path / "none", last=10).processes == []
    assert KnownKeys(None)("0" * 24) is None


def test_a_file_cut_short_by_a_kill(tmp_path: Path) -> None:
    write_events(tmp_path, process(resolved(make_key(), "hit")))
    (path,) = tmp_path.iterdir()
    path.write_text(path.read_text() + '{"t": 3.0, "e": "tu')
    assert statistics(tmp_path, last=1).totals.hits == 1


STRANGE: list[dict[str, Any]] = [
    {"e": "resolve", "outcome": "miss"},
    {"e": "resolve", "outcome": "miss", "kernel": "kernels:add", "parts": 7, "candidates": {}},
    {"e": "resolve", "outcome": "miss", "kernel": "kernels:add", "parts": [[1]], "candidates": {}},
    {"e": "resolve", "outcome": "miss", "kernel": "kernels:add", "parts": [["a", "b"]]},
    {"e": "resolve", "outcome": ["miss"], "kernel": None},
    {"e": None},
    {},
]


def test_strange_events_are_passed_over(tmp_path: Path) -> None:
    about = {"started": "then", "argv": None, "pid": None}
    events = [{**process()[0], **about}, *STRANGE]
    write_events(tmp_path, events)
    (read,) = read_history(tmp_path)
    assert misses(read, None) == []
    (shown,) = statistics(tmp_path, last=1).processes
    assert (shown.started, shown.pid, shown.command, shown.seconds) == (0.0, 0, [], 0.0)
    json.dumps(sorted(kernels_met([read])))


def test_known_keys(tmp_path: Path) -> None:
    missed, hit = make_key(), make_key(tuning={"n": 1})
    write_events(tmp_path, process(resolved(missed, "partial"), resolved(hit, "hit")))
    known = KnownKeys(tmp_path)
    assert known(missed.digest) == ("kernels:add", missed.parts)
    assert known(hit.digest) is None


@pytest.mark.parametrize(
    ("kernel", "meant"),
    [("add", True), ("kernels:add", True), ("other:add", False), ("a*", False), ("kernels", False)],
)
def test_labels(kernel: str, meant: bool) -> None:
    assert is_label("kernels:add", kernel) is meant


def test_a_host_whose_clock_is_ahead_hides_nobody(tmp_path: Path) -> None:
    key, now, year = make_key(), float(int(time.time())), 365 * 86400.0

    def leave(pid: int, *, started: float, written: float) -> None:
        events = process(resolved(key, "miss", t=9.0), started=started, pid=pid)
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(started))
        path = tmp_path / f"{stamp}.000000-{pid}.jsonl"
        path.write_text("".join(json.dumps(event) + "\n" for event in events))
        os.utime(path, (written, written))

    for n in range(12):
        leave(n, started=now - 500 + 2 * n, written=now - 480 + 2 * n)
    for pid, written in ((97, now - 400), (98, now - 491), (99, now + year)):
        leave(pid, started=now + year, written=written)
    # By when their files were written; the oldest, if even that is to come.
    pids = [one.pid for one in statistics(tmp_path).processes]
    assert pids == [99, 0, 1, 2, 3, 4, 98, 5, 6, 7, 8, 9, 10, 11, 97]
    started = {one.pid: one.started for one in statistics(tmp_path).processes}
    assert started[97] == pytest.approx(now - 409, abs=1)
    recent = [one.pid for one in statistics(tmp_path, since=now - 450).processes]
    assert recent == [99, 97]
