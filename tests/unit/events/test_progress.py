"""The progress line: when there is one, what it says, and that it is gone at the end."""

from __future__ import annotations

import io
import logging
import os
import sys
import threading
from typing import Any

import pytest

from tuneonce.events import progress as module
from tuneonce.events.progress import KEY_CHARS, LOG_EVERY_S, Progress, shorten


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0
        self.read = 0

    def __call__(self) -> float:
        self.read += 1
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, logger="tuneonce")
    return caplog


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    stream = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    for name in ("NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    return stream


def logged(clock: Clock, **options: Any) -> Progress:
    return Progress(clock=clock, stream=io.StringIO(), raise_errors=True, **options)


# -- elsewhere than on a terminal ----------------------------------------------------------------


def test_a_quick_tuning_says_nothing(clock: Clock, log: pytest.LogCaptureFixture) -> None:
    with logged(clock).tuning("m:add", "n=64", total=10) as tuning:
        for candidate in range(10):
            clock.now += 0.19
            tuning.compiled(candidate)
            tuning.looked(candidate)
    assert log.messages == []


def test_one_line_in_five_seconds(clock: Clock, log: pytest.LogCaptureFixture) -> None:
    with logged(clock).tuning("m:add", "n=64", total=10) as tuning:
        for candidate in range(10):
            clock.now += 1
            tuning.looked(candidate)
    assert log.messages == [
        "tuneonce: tuning add n=64: 2 of 10 candidates, about 8 s left",
        "tuneonce: tuning add n=64: 7 of 10 candidates, about 3 s left",
    ]


def test_compiling_and_looking_are_a_step_each(clock: Clock, log: pytest.LogCaptureFixture) -> None:
    with logged(clock).tuning("add", "-", total=10) as tuning:
        for candidate in range(5):
            tuning.compiled(candidate)
        clock.now += 5
        tuning.looked(0)
        clock.now += 5
        tuning.looked(0)
    # Six of twenty steps in five seconds; a candidate that is looked at again is no step.
    assert log.messages == [
        "tuneonce: tuning add: 1 of 10 candidates, about 12 s left",
        "tuneonce: tuning add: 1 of 10 candidates, about 23 s left",
    ]


@pytest.mark.parametrize(
    ("compile_s", "look_s", "left"),
    [(0.0, 2.0, "about 16 s left"), (2.0, 0.01, "nearly done")],
)
def test_the_slower_of_the_two_decides(
    clock: Clock, log: pytest.LogCaptureFixture, compile_s: float, look_s: float, left: str
) -> None:
    tuning = logged(clock).tuning("add", "n=1", total=10)
    for candidate in range(10):
        clock.now += compile_s
        tuning.compiled(candidate)
    log.clear()
    clock.now += LOG_EVERY_S
    tuning.looked(0)
    tuning.logged_at = float("-inf")
    clock.now += look_s
    tuning.looked(1)
    assert log.messages[-1] == f"tuneonce: tuning add n=1: 2 of 10 candidates, {left}"


def test_what_is_known_is_done(clock: Clock, log: pytest.LogCaptureFixture) -> None:
    with logged(clock).tuning("add", "n=1", total=10, known=8) as tuning:
        clock.now += 600
        tuning.looked(8)
        clock.now += 600
        tuning.looked(9)
        clock.now += 600
        tuning.looked(0)  # again, because it has to race beside the others
    assert [message.partition(": tuning add n=1: ")[2] for message in log.messages] == [
        "9 of 10 candidates, about 10 min left",
        "10 of 10 candidates, nearly done",
        "10 of 10 candidates, nearly done",
    ]


def test_a_key_is_short_and_steers_nothing(clock: Clock, log: pytest.LogCaptureFixture) -> None:
    with logged(clock).tuning("add", "a\x1b[2J" + "x" * 200, total=1) as tuning:
        clock.now += 3
        tuning.compiled(0)
    assert "tuning add a?[2Jxxx" in log.messages[0]
    assert len(log.messages[0]) < KEY_CHARS + 80


def test_shorten() -> None:
    assert shorten("abc", limit=3) == "abc"
    assert shorten("abcd", limit=3) == "ab…"


def test_standard_error_by_default(
    clock: Clock, log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    progress = Progress(clock=clock, raise_errors=True)
    for stream in (io.StringIO(), None):
        monkeypatch.setattr(sys, "stderr", stream)
        with progress.tuning("add", "n=1", total=2) as tuning:
            clock.now += 3
            tuning.looked(0)
    assert len(log.messages) == 2
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    with progress.tuning("add", "n=1", total=2) as tuning:
        clock.now += 3
        tuning.looked(0)
        assert "tuning: 1 of 2" in sys.stderr.getvalue()  # type: ignore[attr-defined]
    assert len(log.messages) == 2


def test_off(clock: Clock, log: pytest.LogCaptureFixture) -> None:
    with logged(clock, on=False).tuning("add", "n=1", total=2) as tuning:
        clock.now += 100
        tuning.looked(0)
    assert log.messages == []
    assert clock.read == 0


# -- on a terminal -------------------------------------------------------------------------------


def test_the_line_of_a_terminal_is_gone_at_the_end(clock: Clock, terminal: Terminal) -> None:
    with Progress(clock=clock, stream=terminal, raise_errors=True).tuning(
        "m:add", "n=64", total=4
    ) as tuning:
        clock.now += 1
        tuning.looked(0)
        assert terminal.getvalue() == ""
        clock.now += 1.5
        tuning.looked(1)
        assert "tuning: 2 of 4 candidates, about 3 s left: add n=64" in terminal.getvalue()
        clock.now += 0.01
        tuning.looked(2)
        assert "3 of 4" not in terminal.getvalue()  # too soon after the last
        clock.now += 1
        tuning.looked(2)
        assert "3 of 4" in terminal.getvalue()
    assert shown(terminal.getvalue()) == []


LONG = "m:chunk_gated_delta_rule_fwd_kernel_h_blockdim64"
KEY = "H=16 Hg=16 K=128 V=128 BT=64 IS_VARLEN=False k=bf16 v=bf16"


@pytest.mark.parametrize(
    ("width", "name", "line"),
    [
        (100, LONG, "tuning: 6 of 12 candidates, about 60 s left: chunk_gated_delta_rule_fwd_ke"),
        (80, LONG, "tuning: 6 of 12 candidates, about 60 s left: chunk_gated_delta_rule_fwd_ke"),
        (50, LONG, "6 of 12, about 60 s left: chunk_gated_delta_rule"),
        (40, LONG, "6 of 12, about 60 s left: chunk_gated_d"),
        (40, "x" * 300, "6 of 12, about 60 s left: xxxxxxxxxxxxx"),
        (30, LONG, "6/12, 60 s left: chunk_gated"),
        (20, LONG, "6/12, 60 s left"),
        (10, LONG, "6/12, 60"),
        (80, "核" * 100, "tuning: 6 of 12 candidates, about 60 s left: 核核核核"),
    ],
)
def test_what_is_left_comes_first_at_any_width(
    clock: Clock,
    terminal: Terminal,
    monkeypatch: pytest.MonkeyPatch,
    width: int,
    name: str,
    line: str,
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    progress = Progress(clock=clock, stream=terminal, raise_errors=True)
    with progress.tuning(name, KEY, total=12) as tuning:
        for candidate in range(6):
            clock.now += 10
            tuning.looked(candidate)
        (drawn,) = shown(terminal.getvalue())
        assert drawn.startswith(line)
        assert sum(1 + (char > "⺀") for char in drawn) <= width


@pytest.mark.parametrize("width", [80, 60, 40, 20])
def test_several_at_once_at_any_width(clock: Clock, width: int) -> None:
    tuning = logged(clock).tuning(LONG, KEY, total=250)
    for candidate in range(120):
        clock.now += 10
        tuning.looked(candidate)
    line = tuning.line(clock.now, width=width, more=7)[:width]
    assert line.startswith(("tuning: 120 of 250", "120 of 250", "120/250"))
    assert "22 min left" in line
    assert ("(and 7 more)" in line) == (width > 40)


def test_a_quick_tuning_leaves_a_terminal_alone(clock: Clock, terminal: Terminal) -> None:
    with Progress(clock=clock, stream=terminal, raise_errors=True).tuning(
        "add", "n=1", total=1
    ) as tuning:
        tuning.looked(0)
    assert terminal.getvalue() == ""


def test_a_tuning_that_fails_takes_its_line_along(clock: Clock, terminal: Terminal) -> None:
    progress = Progress(clock=clock, stream=terminal, raise_errors=True)
    with pytest.raises(KeyError), progress.tuning("add", "n=1", total=2) as tuning:
        clock.now += 3
        tuning.looked(0)
        raise KeyError
    assert shown(terminal.getvalue()) == []


def test_a_terminal_that_draws_nothing_gets_log_lines(
    clock: Clock,
    terminal: Terminal,
    log: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    with Progress(clock=clock, stream=terminal, raise_errors=True).tuning(
        "add", "n=1", total=2
    ) as tuning:
        clock.now += 3
        tuning.looked(0)
    assert terminal.getvalue() == ""
    assert len(log.messages) == 1


def test_tunings_at_once_share_a_line(clock: Clock, terminal: Terminal) -> None:
    progress = Progress(clock=clock, stream=terminal, raise_errors=True)
    one = progress.tuning("one", "-", total=2)
    other = progress.tuning("other", "-", total=2)
    clock.now += 3
    one.looked(0)
    other.looked(0)
    both = "tuning: 1 of 2 candidates, about 3 s left (and 1 more): one"
    assert both in terminal.getvalue()
    one.__exit__()
    assert shown(terminal.getvalue()) == ["tuning: 1 of 2 candidates, about 3 s left: other"]
    other.__exit__()
    assert shown(terminal.getvalue()) == []


def test_threads(clock: Clock, terminal: Terminal) -> None:
    progress = Progress(clock=clock, stream=terminal, raise_errors=True)
    failed: list[BaseException] = []

    def tune(name: str) -> None:
        try:
            for _ in range(20):
                with progress.tuning(name, "-", total=5) as tuning:
                    clock.now += 3
                    for candidate in range(5):
                        tuning.looked(candidate)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=tune, args=(f"t{i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert shown(terminal.getvalue()) == []


def shown(written: str) -> list[str]:
    """What is left on a terminal of what was written to it."""
    lines, at = [""], 0
    position = 0
    while position < len(written):
        rest = written[position:]
        if rest.startswith("\x1b["):
            end = next(i for i, char in enumerate(rest[2:], start=2) if char.isalpha())
            argument, command = rest[2:end], rest[end]
            if command == "A":
                at = max(at - int(argument or 1), 0)
            elif command == "K":
                lines[at] = ""
            position += end + 1
            continue
        if rest[0] == "\n":
            at += 1
            lines += [""] * (at + 1 - len(lines))
        elif rest[0] != "\r":
            lines[at] += rest[0]
        position += 1
    return [line.rstrip() for line in lines if line.strip()]


# -- what must never happen ----------------------------------------------------------------------


def test_an_error_ends_the_telling_and_nothing_else(
    clock: Clock, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(text: str) -> int:
        raise OSError("the terminal is gone")

    progress = Progress(clock=clock, stream=terminal)
    with progress.tuning("add", "n=1", total=3) as tuning:
        clock.now += 3
        monkeypatch.setattr(terminal, "write", broken)
        tuning.looked(0)
        monkeypatch.undo()
        clock.now += 3
        tuning.looked(1)
    assert terminal.getvalue() == ""


def test_an_error_is_raised_where_errors_are(clock: Clock) -> None:
    def broken() -> float:
        raise OSError

    progress = logged(clock)
    tuning = progress.tuning("add", "n=1", total=3)
    progress._clock = broken
    with pytest.raises(OSError):  # noqa: PT011
        tuning.looked(0)


def test_a_thread_that_tells_is_not_waited_for(clock: Clock, log: pytest.LogCaptureFixture) -> None:
    progress = logged(clock)
    with progress.tuning("add", "n=1", total=3) as tuning, progress._lock:
        clock.now += 3
        tuning.looked(0)
    assert log.messages == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_starts_anew(clock: Clock, terminal: Terminal) -> None:
    progress = Progress(clock=clock, stream=terminal, raise_errors=True)
    with progress.tuning("add", "n=1", total=3) as tuning:
        clock.now += 3
        tuning.looked(0)
        with progress._lock:
            child = os.fork()
            if child == 0:
                free = progress._lock.acquire(blocking=False)
                os._exit(0 if free and progress._live is None else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_tuning_ends_while_another_thread_is_stuck_drawing(
    clock: Clock, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 0.01)
    progress = Progress(clock=clock, stream=terminal, raise_errors=True)
    with progress.tuning("m:add", "n=64", total=10) as tuning:
        clock.now += 3
        tuning.looked(0)
        assert progress._lock.acquire()
    assert progress._lock.locked()
