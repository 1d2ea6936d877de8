"""Totals of a server's processes, read while these write."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tuneonce.events import follower
from tuneonce.events.follower import EVERY_S, Follower
from tuneonce.events.log import SCHEMA, EventLog
from tuneonce.system.ancestry import lineage, this_process

TUNE = {"e": "tune", "seconds": 2.0, "waited_s": 2.0}
COMPILE = {"e": "compile", "seconds": 1.0, "waited": True}


class Clock:
    """Each look is late enough for a new reading, unless it is `held`."""

    def __init__(self) -> None:
        self.time, self.held = 0.0, False

    def __call__(self) -> float:
        self.time += 0 if self.held else EVERY_S
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def follow(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Follower:
    """One that is waited for however long it takes."""
    monkeypatch.setattr(follower, "WAIT_S", 60.0)
    return Follower(tmp_path, clock=clock)


def line(event: dict[str, Any]) -> bytes:
    return json.dumps(event).encode() + b"\n"


def begin(directory: Path, *events: dict[str, Any], number: int = 0, **about: Any) -> Path:
    """The file of a process that this one has started, unless `about` says otherwise."""
    first = {"schema": SCHEMA, "pid": 5, "lineage": ["5.1.2", this_process()], **about}
    path = directory / f"29991114T2213{number:02d}.000000-5.jsonl"
    path.write_bytes(b"".join(map(line, [first, *events])))
    return path


def add(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def test_what_is_added_is_counted_once(tmp_path: Path, follow: Follower) -> None:
    assert follow.now().processes == 0
    path = begin(tmp_path, COMPILE)
    assert (follow.now().processes, follow.now().compiles) == (1, 1)
    add(path, line(TUNE))
    for _ in range(3):
        assert (follow.now().compiles, follow.now().tunes) == (1, 1)
    begin(tmp_path, TUNE, number=1)
    assert (follow.now().processes, follow.now().tunes) == (2, 2)


def test_the_real_log_of_this_very_process_is_its_own(tmp_path: Path, follow: Follower) -> None:
    log = EventLog(tmp_path, mode="on", store="")
    log.emit("compile", seconds=1.0, waited=True)
    (path,) = tmp_path.glob("*.jsonl")
    assert json.loads(path.read_text().splitlines()[0])["lineage"] == lineage()
    assert follow.now().compiles == 1


@pytest.mark.parametrize(
    "about",
    [
        {"lineage": ["5.1.2", "6.1.2"]},
        {"lineage": None},
        {"lineage": this_process()},
        {"lineage": []},
        {"schema": "tuneonce.events/2"},
        {"run": "another", "lineage": []},
    ],
    ids=lambda about: next(iter(about)),  # the same in each process of a parallel run
)
def test_other_programs_do_not_count(
    tmp_path: Path, follow: Follower, about: dict[str, Any]
) -> None:
    path = begin(tmp_path, TUNE, **about)
    assert follow.now().processes == 0
    add(path, line(TUNE))
    assert follow.now().tunes == 0


def test_processes_of_the_same_run_count_wherever_they_were_started(
    tmp_path: Path, clock: Clock
) -> None:
    begin(tmp_path, TUNE, run="71.5.1", lineage=[])
    begin(tmp_path, TUNE, number=1, run="72.5.1", lineage=[])
    assert Follower(tmp_path, run="71.5.1", clock=clock).now().tunes == 1


def test_older_files_are_not_even_opened(
    tmp_path: Path, follow: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(tmp_path, TUNE).rename(tmp_path / "20001114T221300.000000-5.jsonl")
    opened: list[Path] = []
    monkeypatch.setattr(follower, "read_part", lambda path, *part: opened.append(path) or b"")
    follow.now()
    assert opened == []


def test_each_process_serves_after_its_own_ready(tmp_path: Path, follow: Follower) -> None:
    path = begin(tmp_path, TUNE, {"e": "ready"})
    begin(tmp_path, TUNE, number=1)
    follow.now()
    add(path, line(TUNE))
    totals = follow.now()
    assert (totals.ready, totals.starting.tune.count, totals.serving.tune.count) == (1, 2, 1)


def test_half_a_line_is_read_when_it_is_whole(tmp_path: Path, follow: Follower) -> None:
    path = begin(tmp_path)
    whole = line(TUNE)
    add(path, whole[:7])
    assert (follow.now().processes, follow.now().tunes) == (1, 0)
    add(path, whole[7:] + whole[:3])
    assert follow.now().tunes == 1
    add(path, whole[3:])
    assert follow.now().tunes == 2


def test_half_a_first_line(tmp_path: Path, follow: Follower) -> None:
    path = begin(tmp_path)
    data = path.read_bytes()
    path.write_bytes(data[:20])
    assert follow.now().processes == 0
    add(path, data[20:] + line(TUNE))
    assert (follow.now().processes, follow.now().tunes) == (1, 1)


@pytest.mark.parametrize(
    "odd", [b"no json\n", b"[1]\n", b"\n", b"\xff\xfe\n", b'{"a":' * 50 + b"\n"]
)
def test_a_line_that_is_no_event_ends_its_file(
    tmp_path: Path, follow: Follower, odd: bytes
) -> None:
    path = begin(tmp_path, TUNE)
    add(path, odd + line(TUNE))
    begin(tmp_path, TUNE, number=1)
    assert follow.now().tunes == 2
    add(path, line(TUNE))
    assert follow.now().tunes == 2


def test_what_was_counted_stays_when_its_file_is_gone(tmp_path: Path, follow: Follower) -> None:
    path = begin(tmp_path, TUNE)
    assert follow.now().tunes == 1
    path.unlink()
    assert (follow.now().tunes, follow.now().processes) == (1, 1)


def test_a_link_is_not_followed(tmp_path: Path, follow: Follower) -> None:
    path = begin(tmp_path, TUNE)
    secret = path.rename(tmp_path / "elsewhere")
    path.symlink_to(secret)
    assert follow.now().processes == 0


def test_so_much_is_read_at_a_time_and_no_more(
    tmp_path: Path, follow: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "MOST_BYTES", 1000)
    monkeypatch.setattr(follower, "_FIRST_BYTES", 500)
    begin(tmp_path, *[COMPILE] * 100)
    begin(tmp_path, *[COMPILE] * 100, number=1)
    read: list[int] = []
    part = follower.read_part

    def watched(path: Path, offset: int, size: int) -> bytes:
        data = part(path, offset, size)
        read[-1] += len(data)
        return data

    monkeypatch.setattr(follower, "read_part", watched)
    while not read or follow.now().compiles < 200:
        assert not read or 0 < read[-1] <= 1500
        read.append(0)
    assert len(read) > 5


def test_a_line_that_is_longer_than_what_is_read_at_a_time(
    tmp_path: Path, follow: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "MOST_BYTES", 500)
    path = begin(tmp_path, {"e": "resolve", "parts": "x" * 5000}, TUNE)
    for _ in range(6):
        follow.now()
    assert (follow.now().misses, follow.now().tunes) == (1, 1)
    monkeypatch.setattr(follower, "MAX_LINE_BYTES", 2000)
    add(path, line({"e": "resolve", "parts": "x" * 5000}) + line(TUNE))
    for _ in range(6):
        follow.now()
    assert (follow.now().misses, follow.now().tunes) == (1, 1)


def test_a_look_soon_after_another_reads_nothing(
    tmp_path: Path, follow: Follower, clock: Clock
) -> None:
    path = begin(tmp_path, TUNE)
    assert follow.now().tunes == 1
    clock.held = True
    add(path, line(TUNE))
    assert follow.now().tunes == 1
    clock.held = False
    assert follow.now().tunes == 2


def test_nobody_waits_for_a_directory_that_does_not_answer(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(tmp_path, TUNE)
    answer, looks = threading.Event(), list[int]()
    files = follower.files_to_read

    def stuck(*where: Any) -> Any:
        looks.append(1)
        assert answer.wait(60)
        return files(*where)

    monkeypatch.setattr(follower, "files_to_read", stuck)
    monkeypatch.setattr(follower, "WAIT_S", 0.0)
    follow = Follower(tmp_path, clock=clock)
    assert [follow.now().tunes for _ in range(5)] == [0] * 5
    answer.set()
    assert follow._calls.wait(60)
    assert len(looks) == 1  # the first was under way all the time
    assert follow.now().tunes == 1


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.write_text("a file")])
def test_no_directory_is_no_event(
    tmp_path: Path, clock: Clock, make: Callable[[Path], Any]
) -> None:
    make(tmp_path / "nowhere")
    assert Follower(tmp_path / "nowhere", clock=clock).now().processes == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_child_that_was_forked_while_it_was_read_is_not_stuck(
    tmp_path: Path, follow: Follower
) -> None:
    assert follow._reading.acquire(blocking=False)
    follow.renew()
    begin(tmp_path, TUNE)
    assert follow.now().tunes == 1
