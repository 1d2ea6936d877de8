"""Candidates that do not compile, compilers that crash, helpers that are lost."""

from __future__ import annotations

import os
import signal
import stat
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton")

import triton

from tests.kernels.jobs import job, make_add, make_scale
from tests.kernels.pool_lab import (
    BROKEN,
    FOUR,
    TOO_LONG,
    Tuner,
    autotuned,
    binaries,
    blocks,
    cache,
    launch,
    release,
    tuner,
)
from tuneonce.store.memory import MemoryStore
from tuneonce.triton.compile import helper_process
from tuneonce.triton.compile.compile_errors import is_compile_error
from tuneonce.triton.compile.helper_process import HelperLost
from tuneonce.triton.compile.pool import CompilePool, Crashed, NotCompiled
from tuneonce.triton.compile.worker import compile_helper, frames
from tuneonce.triton.seams import compilers


def test_candidates_that_do_not_compile_are_passed_over_with_their_reason() -> None:
    with tuner() as tuning:
        kernel = autotuned(make_add(), [*blocks(32, 64, 128), BROKEN])
        assert launch(kernel) == 128
        assert tuning.events.problems() == []
        failed = {m.candidate: m.failed for m in verdict(tuning).measurements if m.failed}
    assert len(failed) == 2
    assert any(reason.startswith("CompileTimeAssertionFailure") for reason in failed.values())
    assert any(reason.startswith("PTXASError") for reason in failed.values())


def verdict(tuning: Tuner) -> Any:
    from tuneonce.model.records import Verdict, unpack

    store = tuning.hook._persistence.resolver._access.store
    [name] = [name for name in store.list("") if name.endswith(".verdict.json")]
    return unpack(store.get(name), Verdict)


def test_a_job_that_is_no_module(pool: CompilePool) -> None:
    future = pool.submit({**job(), "complete": "this is no module"})
    with pytest.raises(NotCompiled) as raised:
        future.result(TOO_LONG)
    assert not isinstance(raised.value, Crashed)
    assert raised.value.kind == "RuntimeError"
    assert pool.submit(job(128)).result(TOO_LONG).seconds > 0


@pytest.mark.usefixtures("obedient")
@pytest.mark.parametrize("how", [signal.SIGSEGV, signal.SIGABRT])
def test_a_compiler_that_crashes(pool: CompilePool, how: int) -> None:
    with pytest.raises(Crashed, match=f"status -{int(how)}"):
        pool.submit(job(does=["kill", int(how)])).result(TOO_LONG)
    assert pool.submit(job(128)).result(TOO_LONG).seconds > 0


@pytest.mark.usefixtures("obedient")
@pytest.mark.parametrize("status", [0, 1])
def test_a_compiler_that_exits(pool: CompilePool, status: int) -> None:
    """LLVM's fatal errors end the process; nothing may be waited for then."""
    with pytest.raises(Crashed, match=f"status {status}"):
        pool.submit(job(does=["exit", status])).result(TOO_LONG)


@pytest.mark.usefixtures("obedient")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGXCPU])
def test_a_compilation_that_was_killed_is_nobodys_fault(pool: CompilePool, how: int) -> None:
    """The system's choice when memory or time is short: not to be held against the candidate."""
    with pytest.raises(NotCompiled) as raised:
        pool.submit(job(does=["kill", int(how)])).result(TOO_LONG)
    assert not isinstance(raised.value, Crashed)


def test_an_option_that_the_helper_cannot_have(pool: CompilePool) -> None:
    """What is not plain data is not sent, and costs nobody the helper."""

    class Number(int):
        pass

    for value in (object(), lambda: None, Number(3), {1: 2}, {"a", "b"}, b"bytes"):
        with pytest.raises(frames.BadFrame):
            pool.submit({**job(), "options": {"option": value}})
    assert pool.submit(job(128)).result(TOO_LONG).seconds > 0


def test_an_option_that_is_not_plain_is_compiled_here() -> None:
    """Triton takes it, and so the kernel is tuned as ever."""

    class Warps(int):
        pass

    with tuner() as tuning:
        configs = [triton.Config({"BLOCK": block}, num_warps=Warps(4)) for block in FOUR]
        assert launch(autotuned(make_add(), configs)) == 512
        assert (tuning.ahead, tuning.here) == (0, 4)
        assert tuning.events.problems() == []


def test_a_key_that_is_not_the_programs_is_written_nowhere(pool: CompilePool) -> None:
    before = binaries(cache())
    with pytest.raises(NotCompiled, match="key for a binary") as raised:
        pool.submit({**job(), "hash": "0" * 64}).result(TOO_LONG)
    assert raised.value.kind == "OtherTriton"
    assert binaries(cache()) == before


def test_a_long_error_in_any_script_is_one_frame() -> None:
    for text in ("x" * 10_000, "\u65e5" * 10_000, "\udcff" * 10_000):
        short = compile_helper.short(ValueError(text))
        assert 100 < len(short.encode()) <= 2000


@pytest.fixture
def crash_at(obedient: None, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Makes the compiler crash on the n-th job of a pool."""

    def arrange(number: int) -> None:
        submit = CompilePool.submit
        count = iter(range(1, 1000))

        def crash(self: CompilePool, job: dict[str, Any], **options: Any) -> Any:
            if next(count) == number:
                job = {**job, "does": ["kill", int(signal.SIGSEGV)]}
            return submit(self, job, **options)

        monkeypatch.setattr(CompilePool, "submit", crash)

    return arrange


def test_a_crash_is_one_candidates(crash_at: Any) -> None:
    """The next start does not try it again, though here it would have survived."""
    store = MemoryStore()
    kernel = make_add()
    crash_at(1)  # the largest goes first
    with tuner(store=store) as tuning:
        assert launch(autotuned(kernel, blocks(*FOUR))) == 256
        assert tuning.events.problems() == []
        [failed] = [m.failed for m in verdict(tuning).measurements if m.failed]
    assert failed == "the compiler ended with status -11"


# -- a helper that is lost -----------------------------------------------------------------------


def test_a_helper_that_is_killed_costs_the_helper(
    monkeypatch: pytest.MonkeyPatch, warnings: Any
) -> None:
    submit = CompilePool.submit
    killed = []

    def kill(self: CompilePool, job: dict[str, Any], **options: Any) -> Any:
        future = submit(self, job, **options)
        if not killed and self._last == 3:
            killed.append(self._helper)
            os.kill(self._helper.process.pid, signal.SIGKILL)
        return future

    monkeypatch.setattr(CompilePool, "submit", kill)
    with tuner() as tuning:
        kernel = autotuned(make_add(), blocks(16, *FOUR, 1024))
        assert launch(kernel) == 1024
        assert len(kernel.configs_timings) == 6
        assert tuning.events.problems() == ["compile_helper_lost"]
        assert launch(autotuned(make_scale(), blocks(*FOUR))) == 512
        assert tuning.events.problems() == ["compile_helper_lost"]
        assert not tuning.started
    assert len(warnings()) == 1
    assert "compiling in this process" in warnings()[0]
    assert killed[0].ended.wait(TOO_LONG)


@pytest.mark.usefixtures("obedient")
def test_a_helper_that_is_stopped_is_given_up(
    pool: CompilePool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(helper_process, "_SILENT_S", 0.2)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    waiting = pool.submit(job(does=["wait", str(fifo)]))
    helper = pool._helper
    assert helper is not None
    assert helper.ready.wait(TOO_LONG)
    os.kill(helper.process.pid, signal.SIGSTOP)
    with pytest.raises(HelperLost, match="silent"):
        waiting.result(TOO_LONG)
    assert helper.ended.wait(TOO_LONG)


@pytest.mark.usefixtures("obedient")
def test_a_helper_that_compiles_for_long_is_not(
    pool: CompilePool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(helper_process, "_SILENT_S", 1.2)  # it speaks every second
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    heard, alive = pool._heard, threading.Semaphore(0)

    def counted(helper: Any, *message: Any) -> None:
        if message == ("alive",):
            alive.release()
        heard(helper, *message)

    monkeypatch.setattr(pool, "_heard", counted)
    waiting = pool.submit(job(does=["wait", str(fifo)]))
    for _ in range(4):  # longer than twice the bound
        assert alive.acquire(timeout=TOO_LONG)
    release(fifo)
    assert waiting.result(TOO_LONG)


@pytest.fixture(
    params=[
        "no path",
        "no file",
        "no Python",
        "no helper",
        "no triton",
        "another triton",
        "silence",
    ]
)
def no_helper(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> str:
    """Makes it impossible to start a helper; the words of the warning."""
    program = tmp_path / "python3.11"
    command = "exec sleep 1000" if request.param == "silence" else "exit 1"
    program.write_text(f"#!/bin/sh\n{command}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    if request.param == "no triton":
        monkeypatch.setattr(compilers, "import_path", lambda: [])
        return "No module named 'triton'"
    if request.param == "another triton":
        files = {**compilers.compiler_files(), "triton": str(tmp_path / "triton.py")}
        monkeypatch.setattr(compilers, "compiler_files", lambda: files)
        return "triton is not that of the program"
    monkeypatch.setattr(helper_process, "_START_S", 0.3 if request.param == "silence" else 30.0)
    path, words = {
        "no path": ("", "its own path"),
        "no file": (str(tmp_path / "none" / "python3"), "No such file"),
        "no Python": (str(tmp_path / "uwsgi"), "is no Python"),
        "no helper": (str(program), ""),
        "silence": (str(program), "not ready"),
    }[request.param]
    monkeypatch.setattr(sys, "executable", path)
    return words


def test_no_helper_can_be_started(no_helper: str, warnings: Any) -> None:
    with tuner() as tuning:
        assert launch(autotuned(make_add(), blocks(*FOUR))) == 512
        assert launch(autotuned(make_scale(), blocks(*FOUR))) == 512
        assert (tuning.ahead, tuning.here) == (0, 8)
        assert tuning.events.problems() == ["compile_helper_lost"]
    assert len(warnings()) == 1
    assert no_helper in warnings()[0]


# -- what ends a tuning in stock Triton ----------------------------------------------------------

# No power of two: an error of the code generator, which Triton does not pass over.
ODD = triton.Config({"BLOCK": 96})
# No warps that a block can have: an error of the backend's options.
NO_WARPS = triton.Config({"BLOCK": 64}, num_warps=3)
UNKNOWN_OPTION = triton.Config({"BLOCK": 64, "no_such_option": 1})


def by_candidate(call: Any, quantiles: Any) -> float:
    call()
    return float(len(quantiles))


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("own", [False, True])
def test_an_error_of_the_compiler_is_one_candidates(own: bool, workers: int) -> None:
    store, kernel = MemoryStore(), make_add()
    options = {"do_bench": by_candidate} if own else {}
    configs = [ODD, *blocks(64, 256), NO_WARPS, UNKNOWN_OPTION]
    for start in range(2):
        with tuner(store=store, workers=workers) as tuning:
            assert launch(autotuned(kernel, configs, **options)) == (64 if own else 256)
            told = [one["detail"] for one in tuning.of("problem")]
            if start == 0:
                assert len(told) == 3
                assert "BLOCK=96" in told[0]
                assert "CompilationError" in told[0]
                assert len([m for m in verdict(tuning).measurements if m.failed]) == 3
            else:  # it is said once
                assert told == []
                assert tuning.of("tune") == []


@pytest.mark.parametrize("own", [False, True])
def test_if_nothing_compiles_the_first_error_is_raised_and_nothing_is_kept(own: bool) -> None:
    store, kernel = MemoryStore(), make_add()
    options = {"do_bench": by_candidate} if own else {}
    with tuner(store=store, workers=1):
        tuned = autotuned(kernel, [ODD, NO_WARPS], **options)
        for _ in range(2):
            with pytest.raises(triton.CompilationError):
                launch(tuned)
            assert tuned.cache == {}
    assert list(store.list("")) == []


@pytest.mark.parametrize("what", ["file", "listener", "hook"])
def test_what_compiling_needs_is_nobodys_fault(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with stock the tuning ends, and the next one tries the candidate again."""
    error: Exception = OSError("no space") if what == "file" else RuntimeError("not here")

    def fails(*args: Any, **options: Any) -> Any:
        raise error

    knobs, store = triton.knobs, MemoryStore()
    with tuner(store=store, workers=1):
        if what == "file":
            monkeypatch.setattr(triton.runtime.cache.FileCacheManager, "put", fails)
        elif what == "listener":
            monkeypatch.setattr(knobs.compilation, "listener", fails)
        else:
            monkeypatch.setattr(knobs.runtime, "jit_post_compile_hook", fails)
        with pytest.raises(type(error), match=str(error)):
            launch(autotuned(make_scale(), blocks(64, 128)))
    assert [name for name in store.list("") if "verdict" in name] == []


def raised_in(*modules: str, raises: type[Exception] = RuntimeError) -> Exception:
    """An error that was raised in a function of the last of these, called by those before."""
    call: Any = None
    for module in reversed(modules):
        scope: dict[str, Any] = {"__name__": module, "call": call, "raises": raises}
        body = "call()" if call is not None else "raise raises"
        exec(f"def stage():\n    {body}", scope)
        call = scope["stage"]
    with pytest.raises(raises) as caught:
        call()
    return caught.value


def test_where_an_error_comes_from() -> None:
    nvidia = "triton.backends.nvidia.compiler"
    assert is_compile_error(raised_in("triton.compiler.compiler", nvidia))
    assert is_compile_error(raised_in(nvidia, "triton.runtime.errors"))
    assert not is_compile_error(raised_in(nvidia, "triton.knobs"))  # no ptxas
    assert not is_compile_error(raised_in("triton.backends.nvidia.driver"))
    assert not is_compile_error(raised_in("triton.compiler.compiler", "app"))
    assert not is_compile_error(RuntimeError())
    assert not is_compile_error(raised_in(nvidia, raises=UserWarning))  # -W error
