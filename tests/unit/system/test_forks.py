"""A child that is forked while another thread holds a lock of ours can still use it."""

from __future__ import annotations

import gc
import os
import threading
import warnings
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from tuneonce.activation import install
from tuneonce.events.log import EventLog
from tuneonce.events.progress import Progress
from tuneonce.system import forks
from tuneonce.system.forks import lazy, renew_in_child
from tuneonce.testing import SimulatedGPU
from tuneonce.triton.compile.ahead import Ahead
from tuneonce.triton.compile.interpreter_turns import InterpreterTurns
from tuneonce.triton.kernel.autotuner_state import AutotunerState

# Only a test that would fail waits this long.
TOO_LONG = 30.0


def in_child_of_a_holder(lock: AbstractContextManager[Any], use: Callable[[], object]) -> int:
    """The exit status of a child that uses what another thread of its parent holds."""
    held, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            held.set()
            go_on.wait(TOO_LONG)

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert held.wait(TOO_LONG)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads
            child = os.fork()
        if child == 0:
            status = 3
            try:
                threading.Timer(TOO_LONG, os._exit, [2]).start()
                use()
                status = 0
            finally:
                os._exit(status)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    finally:
        go_on.set()
        thread.join()


def test_compiling_ahead_begins_anew_in_the_child() -> None:
    """The thread that does it is not there."""
    nothing: Any = None
    ahead = Ahead(nothing, nothing, nothing)

    def use() -> None:
        assert not ahead.begun

    assert in_child_of_a_holder(ahead._begun, use) == 0
    assert not ahead.begun  # the holder has let go


def test_the_switch(monkeypatch: pytest.MonkeyPatch) -> None:
    assert in_child_of_a_holder(install._lock, install.uninstall) == 0


def test_events(tmp_path: Path) -> None:
    events = EventLog(tmp_path / "events", mode="on", store="")

    def use() -> None:
        events.emit("tune")
        assert (tmp_path / "events").exists()

    assert in_child_of_a_holder(events._writing, use) == 0


def test_the_progress_line() -> None:
    progress = Progress(raise_errors=True)

    def use() -> None:
        with progress.tuning("m:add", "n=1", total=2) as tuning:
            progress._long.append(tuning)

    assert in_child_of_a_holder(progress._lock, use) == 0


def test_an_autotuners_state() -> None:
    state = AutotunerState()

    def use() -> None:
        with state.lock:
            pass

    assert in_child_of_a_holder(state.lock, use) == 0


def test_turns() -> None:
    turns = InterpreterTurns()

    def use() -> None:
        with turns.tuning(), turns.away(), turns.piece():
            pass

    assert in_child_of_a_holder(turns._changed, use) == 0


def test_a_tuning_of_the_parent_is_none_of_the_child() -> None:
    turns = InterpreterTurns()
    assert in_child_of_a_holder(turns.tuning(), lambda: turns._tunings and 1 / 0) == 0


def test_the_hook_and_what_checks_verdicts() -> None:
    pytest.importorskip("triton")
    from triton.runtime import autotuner

    from tuneonce.resolution.resolver import Resolver
    from tuneonce.settings import Recheck
    from tuneonce.store.memory import MemoryStore
    from tuneonce.triton.compile.workers import Workers
    from tuneonce.triton.launch.hook import Hook
    from tuneonce.triton.launch.persistence import Persistence

    events = EventLog(None, mode="on", store="")
    workers = Workers(None, events)
    persistence = Persistence(Resolver(MemoryStore(), events), events, raise_errors=True)
    hook = Hook(autotuner, persistence, workers, recheck=Recheck.REPORT)
    rechecker = hook._cold_path._rechecker
    assert rechecker is not None

    def use() -> None:
        with hook._new_state, rechecker._lock:
            pass

    assert in_child_of_a_holder(hook._new_state, use) == 0
    assert in_child_of_a_holder(rechecker._lock, use) == 0


def test_a_simulated_gpu() -> None:
    gpu = SimulatedGPU()

    def use() -> None:
        with gpu._lock:
            pass

    assert in_child_of_a_holder(gpu._lock, use) == 0


def test_values_that_are_computed_once_have_no_lock() -> None:
    class Some:
        @lazy
        def value(self) -> object:
            """What it is."""
            return object()

    one = Some()
    assert one.value is one.value
    assert one.value is not Some().value
    assert isinstance(Some.value, lazy)
    assert Some.value.__doc__ == "What it is."


def test_nobody_is_kept_for_the_sake_of_a_fork() -> None:
    class Renewable:
        def renew(self) -> None:
            pass

    one = Renewable()
    renew_in_child(one)
    known = weakref.ref(one)
    assert one in forks._renewables
    del one
    gc.collect()
    assert known() is None
