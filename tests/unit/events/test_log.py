"""The events of a process, in a file that outlives it."""

from __future__ import annotations

import errno
import json
import os
import signal
import stat
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import tuneonce.events.log as events_module
from tuneonce.events import log as module
from tuneonce.events.log import SCHEMA, EventLog, read_processes
from tuneonce.system.ancestry import lineage


class Clock:
    def __init__(self, now: float = 1763000000.25) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "store" / "events"


def log(directory: Path | None, clock: Clock | None = None) -> EventLog:
    return EventLog(directory, mode="on", store="/srv/store", clock=clock or Clock())


def read(directory: Path) -> list[list[dict[str, Any]]]:
    return list(read_processes(directory))


def test_what_a_file_holds(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["vllm", "serve", "model", "--api-key", "secret"])
    clock = Clock()
    events = log(directory, clock)
    assert not directory.exists()  # nothing is touched before the first event
    events.emit("resolve", kernel="m:add", outcome="hit")
    clock.now += 1.5
    events.emit("tune", seconds=3)
    [[started, resolve, tune]] = read(directory)
    assert started == {
        "schema": SCHEMA,
        "pid": os.getpid(),
        "started": 1763000000.25,
        "argv": ["vllm", "serve", "model"],
        "lineage": lineage(),
        "mode": "on",
        "store": "/srv/store",
    }
    assert resolve == {"t": 0.0, "e": "resolve", "kernel": "m:add", "outcome": "hit"}
    assert tune == {"t": 1.5, "e": "tune", "seconds": 3}
    [path] = directory.iterdir()
    assert path.name == f"20251113T021320.250000-{os.getpid()}.jsonl"


def test_files_and_directories_are_private(directory: Path) -> None:
    before = os.umask(0)
    try:
        log(directory).emit("tune")
    finally:
        os.umask(before)
    [path] = directory.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(directory.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("above", "mask", "root", "inside", "file"),
    [
        (0o755, 0o022, 0o755, 0o700, 0o600),
        (0o2775, 0o022, 0o2775, 0o2770, 0o640),
        (0o2775, 0o077, 0o700, 0o700, 0o600),
    ],
    ids=oct,
)
def test_the_first_event_makes_a_store_as_the_first_record_does(
    tmp_path: Path, above: int, mask: int, root: int, inside: int, file: int
) -> None:
    """What is in the files is no other user's business, but a group's who shares the store."""
    volume = tmp_path / "volume"
    volume.mkdir()
    volume.chmod(above)
    before = os.umask(mask)
    try:
        log(volume / "store/.events").emit("tune")
    finally:
        os.umask(before)
    [path] = (volume / "store/.events").iterdir()
    found = [stat.S_IMODE(p.stat().st_mode) for p in (path.parent.parent, path.parent, path)]
    assert found == [root, inside, file]


@pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM, errno.EROFS])
def test_beside_another_users_store_events_go_to_this_users_directory(
    directory: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    clock = Clock()
    log(directory, clock).emit("tune", who="the owner of the store")
    clock.now += 1
    real = events_module._begin_file

    def refused(path: Path, line: bytes) -> None:
        if path.parent == directory:
            raise OSError(code, os.strerror(code))
        real(path, line)

    with monkeypatch.context() as patch:
        patch.setattr(events_module, "_begin_file", refused)
        mine = log(directory, clock)
        mine.emit("tune", who="me")
        mine.emit("tune", who="me again")
    assert len(list(directory.iterdir())) == 1
    said = [[event.get("who") for event in lines[1:]] for lines in read(directory)]
    assert said == [["the owner of the store"], ["me", "me again"]]
    # Those of one store are not those of another.
    assert read(directory.with_name("other")) == []
    kept = Path(os.environ["XDG_CACHE_HOME"], "tuneonce/events")
    assert [stat.S_IMODE(p.stat().st_mode) for p in kept.glob("*/*")] == [0o600]


def test_a_user_without_a_directory_writes_no_events(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: Path, line: bytes) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(events_module, "_begin_file", refused)
    monkeypatch.setattr(events_module, "user_directory", lambda environ: None)
    events = log(directory)
    events.emit("tune")
    events.emit("tune")
    assert read(directory) == []


def test_each_event_is_in_the_file_at_once(directory: Path) -> None:
    events = log(directory)
    for count in range(1, 4):
        events.emit("tune")
        assert len(read(directory)[0]) == count + 1


def test_no_directory_no_events() -> None:
    log(None).emit("tune")


def test_after_close_a_new_file(directory: Path) -> None:
    clock = Clock()
    events = log(directory, clock)
    events.emit("tune")
    events.close()
    events.close()
    clock.now += 1
    events.emit("tune")
    assert [len(lines) for lines in read(directory)] == [2, 2]


def test_a_forked_child_has_a_file_of_its_own(directory: Path) -> None:
    events = log(directory)
    events.emit("tune", who="parent")
    pid = os.fork()
    if pid == 0:
        try:
            events.emit("tune", who="child")
        finally:
            os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    events.emit("tune", who="parent")
    by_pid = {lines[0]["pid"]: [e["who"] for e in lines[1:]] for lines in read(directory)}
    assert by_pid == {os.getpid(): ["parent", "parent"], pid: ["child"]}


def test_a_fork_while_another_thread_writes(directory: Path) -> None:
    events = log(directory)
    events.emit("tune")
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with events._writing:
            held.set()
            release.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(60)
    pid = os.fork()
    if pid == 0:
        try:
            events.emit("tune")
        finally:
            os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    release.set()
    thread.join()
    assert len(read(directory)) == 2


def test_threads_write_whole_lines(directory: Path) -> None:
    events = log(directory)

    def write(number: int) -> None:
        for _ in range(200):
            events.emit("tune", number=number, text="x" * 500)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(read(directory)[0]) == 1 + 4 * 200


class Strange:
    def __str__(self) -> str:
        raise RuntimeError("no text")


def endless() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


def test_strange_fields_cost_their_event_and_nothing_else(directory: Path) -> None:
    events = log(directory)
    events.emit("tune", a=Path("/a"), b={1, 2}.__class__, c="\ud800", d=float("inf"), e2=b"x")
    events.emit("tune", a=Strange())
    events.emit("tune", a=endless())
    events.emit("tune", last=True)
    [[_, first, last]] = read(directory)
    assert (first["a"], first["c"], first["d"]) == ("/a", "\ud800", float("inf"))
    assert last["last"] is True


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    events = log(tmp_path / "file" / "events")
    events.emit("tune")
    events.emit("tune")
    events.close()


def test_a_disk_that_fills_up(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events = log(directory)
    events.emit("tune")
    stock = os.write

    def full(fd: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    events.emit("tune")
    monkeypatch.setattr(os, "write", stock)
    events.emit("tune")  # silent from now on
    assert [len(lines) for lines in read(directory)] == [2]


def test_without_an_argv(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(sys, "argv")  # as in a program that embeds Python
    log(directory).emit("tune")
    assert read(directory)[0][0]["argv"] == []


def test_a_bound_on_lines(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_LINES", 5)
    events = log(directory)
    for _ in range(10):
        events.emit("tune")
    assert len(read(directory)[0]) == 1 + 5


def test_only_the_newest_files_are_kept_and_no_file_of_others_is_touched(directory: Path) -> None:
    directory.mkdir(parents=True)
    foreign = [directory / name for name in ("a.jsonl", "0.jsonl", "20200101.jsonl", "notes.txt")]
    for path in foreign:
        path.write_text("{}\n")
    clock = Clock()
    for _ in range(module.KEEP_FILES + 10):
        clock.now += module.KEEP_S
        events = log(directory, clock)
        events.emit("tune", at=clock.now)
        events.close()
        for path in directory.glob(f"*-{os.getpid()}.jsonl"):
            os.utime(path, (clock.now - 1, clock.now - 1))
    kept = [lines[1]["at"] for lines in read(directory)]
    assert kept == [
        clock.now - back * module.KEEP_S for back in range(module.KEEP_FILES - 1, -1, -1)
    ]
    assert all(path.exists() for path in foreign)


def test_a_server_does_not_lose_its_file_to_its_workers(directory: Path) -> None:
    clock = Clock(time.time())
    server = log(directory, clock)
    server.emit("tune", who="server")
    for _ in range(2 * module.KEEP_FILES):
        clock.now += 1
        worker = log(directory, clock)
        worker.emit("compile")
        worker.close()
    server.emit("tune", who="server")
    processes = read(directory)
    assert len(processes) == 1 + 2 * module.KEEP_FILES
    assert [event.get("who") for event in processes[0]] == [None, "server", "server"]


def test_nothing_stays_open(directory: Path) -> None:
    before = open_descriptors()
    events = log(directory)
    for _ in range(3):
        events.emit("tune")
        assert open_descriptors() == before


def test_a_program_that_closes_and_reuses_every_descriptor(directory: Path, tmp_path: Path) -> None:
    pid = os.fork()
    if pid == 0:
        try:
            events = log(directory)
            events.emit("tune", number=1)
            os.closerange(3, 64)
            own = os.open(tmp_path / "own", os.O_RDWR | os.O_CREAT)
            for _ in range(8):
                os.dup(own)
            events.emit("tune", number=2)
            events.close()
            os._exit(0 if os.fstat(own).st_size == 0 else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    [[_, *told]] = read(directory)
    assert [event["number"] for event in told] == [1, 2]


@pytest.mark.parametrize("what", ["fifo", "link", "dangling", "directory"])
def test_what_is_no_file_of_ours_is_not_written_to(
    what: str, directory: Path, tmp_path: Path
) -> None:
    directory.mkdir(parents=True)
    target, path = tmp_path / "target", directory / f"20251113T021320.250000-{os.getpid()}.jsonl"
    match what:
        case "fifo":
            os.mkfifo(path)
        case "link":
            target.write_text("")
            path.symlink_to(target)
        case "dangling":
            path.symlink_to(target)
        case "directory":
            path.mkdir()
    for _ in range(2):
        log(directory).emit("tune")
    assert not target.exists() or target.read_text() == ""
    assert read(directory) == []


def test_a_file_that_is_removed_stays_away(directory: Path) -> None:
    events = log(directory)
    events.emit("tune")
    [path] = directory.iterdir()
    path.unlink()
    events.emit("tune")
    assert list(directory.iterdir()) == []


def test_a_line_that_is_too_long_is_left_out(directory: Path) -> None:
    events = log(directory)
    events.emit("tune", text="x" * module.MAX_LINE_BYTES)
    events.emit("tune", last=True)
    [[_, last]] = read(directory)
    assert last["last"] is True


def test_a_signal_handler_in_the_middle_of_an_event(tmp_path: Path) -> None:
    """Wherever it strikes: at each of the lines that are run, one after the other."""
    place = 0
    while strike(tmp_path / str(place), place):
        place += 1
    assert place > 30


def strike(directory: Path, place: int) -> bool:
    """Emit, and again in a signal handler at the line of that number. False: there is none."""
    heard: list[Any] = []
    events = EventLog(directory, mode="on", store="", listener=heard.append, clock=Clock())
    passed = 0

    def trace(frame: Any, what: str, argument: Any) -> Any:
        nonlocal passed
        if frame.f_code.co_filename == module.__file__:
            if passed == place:
                signal.raise_signal(signal.SIGUSR1)
            passed += 1
        return trace

    before = signal.signal(signal.SIGUSR1, lambda *_: events.emit("tune", who="handler"))
    tracing = sys.gettrace()
    sys.settrace(trace)
    try:
        events.emit("tune", who="program")
    finally:
        sys.settrace(tracing)
        signal.signal(signal.SIGUSR1, before)
    struck = passed > place
    expected = ["handler", "program"] if struck else ["program"]
    assert sorted(event["who"] for event in read(directory)[0][1:]) == expected
    assert sorted(event["who"] for event in heard) == expected
    return struck


def test_a_listener_that_emits(directory: Path) -> None:
    def listener(event: dict[str, Any]) -> None:
        if event["e"] == "resolve":
            events.emit("tune")

    events = EventLog(directory, mode="on", store="", listener=listener, clock=Clock())
    events.emit("resolve")
    assert [event.get("e") for event in read(directory)[0]] == [None, "resolve", "tune"]


def test_nobody_waits_for_who_is_stuck(directory: Path) -> None:
    stuck, go_on = threading.Event(), threading.Event()

    def listener(event: dict[str, Any]) -> None:
        if event.get("slow"):
            stuck.set()
            assert go_on.wait(60)

    events = EventLog(directory, mode="on", store="", listener=listener, clock=Clock())
    thread = threading.Thread(target=lambda: events.emit("tune", slow=True))
    thread.start()
    try:
        assert stuck.wait(60)
        events.emit("tune", number=1)
        events.emit("tune", number=2)
    finally:
        go_on.set()
        thread.join()
    assert [event.get("number") for event in read(directory)[0][1:]] == [None, 1, 2]


def test_a_fork_in_the_middle_of_an_event(directory: Path) -> None:
    children: list[int] = []

    def listener(event: dict[str, Any]) -> None:
        if event.get("who") == "parent" and not children:
            children.append(os.fork())

    events = EventLog(directory, mode="on", store="", listener=listener)
    events.emit("tune", who="parent")
    if children == [0]:
        try:
            events.emit("tune", who="child")
        finally:
            os._exit(0)
    assert os.waitpid(children[0], 0)[1] == 0
    events.emit("tune", who="parent")
    told = {lines[0]["pid"]: [e["who"] for e in lines[1:]] for lines in read(directory)}
    assert told[os.getpid()] == ["parent", "parent"]
    assert told[children[0]] == ["child"]


def open_descriptors() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


# -- reading -------------------------------------------------------------------------------------

HEAD = json.dumps({"schema": SCHEMA, "pid": 1})


def test_reading_an_absent_directory(tmp_path: Path) -> None:
    assert read(tmp_path / "nowhere") == []


@pytest.mark.parametrize(
    "text",
    ["", "\n", "{}", "[]", "not json", '{"schema":"tuneonce.events/2"}', "[" * 100_000, "\x00"],
    ids=lambda text: repr(text[:30]),
)
def test_files_that_are_not_ours_are_passed_over(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.jsonl").write_text(text)
    (tmp_path / "b.jsonl").mkdir()
    (tmp_path / "c.jsonl").write_bytes(b"\xff\xfe\xfd")
    (tmp_path / "d.jsonl").write_text(HEAD)
    assert read(tmp_path) == [[{"schema": SCHEMA, "pid": 1}]]


@pytest.mark.parametrize("cut", ['{"e":"tu', "[1]", "[" * 100_000, "\ufffd"])
def test_a_line_that_was_cut_off_ends_its_file(tmp_path: Path, cut: str) -> None:
    text = f'{HEAD}\n{{"e":"tune"}}\n{cut}\n{{"e":"late"}}\n'
    (tmp_path / "a.jsonl").write_text(text)
    assert [line.get("e") for line in read(tmp_path)[0]] == [None, "tune"]


def test_processes_come_oldest_first(tmp_path: Path) -> None:
    for name in ("b", "a", "c"):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"schema": SCHEMA, "pid": name}))
    assert [lines[0]["pid"] for lines in read(tmp_path)] == ["a", "b", "c"]


def test_files_from_the_future_push_nobody_out(tmp_path: Path) -> None:
    clock = Clock()
    clock.now = time.time()
    for back in range(module.KEEP_FILES + 5):  # written long ago, by a clock that was ahead
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(clock.now + 1e7 + back))
        path = tmp_path / f"{stamp}.000000-1.jsonl"
        path.write_text("")
        os.utime(path, (clock.now - 1e6, clock.now - 1e6))
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(clock.now - 1e5))
    mine = tmp_path / f"{stamp}.000000-2.jsonl"
    mine.write_text("")
    os.utime(mine, (clock.now - 1e5, clock.now - 1e5))
    log(tmp_path, clock=clock).emit("ready")
    assert mine.exists()
    assert len(list(tmp_path.iterdir())) == module.KEEP_FILES
