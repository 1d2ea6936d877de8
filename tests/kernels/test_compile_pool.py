"""Compilations in other processes: what they leave in Triton's cache, and all that can go wrong."""

from __future__ import annotations

import json
import logging
import os
import signal
import stat
import sys
import textwrap
import threading
import types
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton")

import triton
from triton import knobs

from tests.fakes import Children
from tests.kernels.equivalence_lab import Forgetful
from tests.kernels.pool_lab import (
    BROKEN,
    Does,
    Tuner,
    autotuned,
    binaries,
    blocks,
    cache,
    job,
    kills_itself,
    launch,
    make_add,
    make_scale,
    release,
    tuner,
    waits_for,
)
from tuneonce.store.memory import MemoryStore
from tuneonce.triton import compile_helper, compile_pool
from tuneonce.triton.compile_pool import CompilePool, Crashed, HelperLost, NotCompiled
from tuneonce.triton.ship import blocked

# Only a test that would fail waits this long.
TOO_LONG = 60.0
FOUR = (64, 128, 256, 512)


@pytest.fixture
def pool() -> Iterator[CompilePool]:
    made = CompilePool(workers=2)
    yield made
    made.close()


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """The warnings of this package so far."""
    caplog.set_level(logging.WARNING, "tuneonce")
    return lambda: [record.getMessage() for record in caplog.records]


# -- where binaries land -------------------------------------------------------------------------

PROGRAM = """
    import json, os
    import torch, triton, triton.language as tl
    from triton import knobs
    import tuneonce
    from tuneonce.testing import SimulatedGPU

    tuneonce.install()

    @triton.jit
    def double(x, out, n, BLOCK: tl.constexpr, ACC: tl.constexpr):
        i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        value = tl.load(x + i, mask=i < n).to(tl.float32)
        for _ in range(ACC):
            value += tl.sum(value, 0)
        tl.store(out + i, value.to(out.dtype.element_ty), mask=i < n)

    configs = [
        triton.Config({"BLOCK": b, "ACC": a}, num_warps=w)
        for b in (64, 128) for a in (1, 3) for w in (2, 4)
    ]
    kernel = triton.autotune(configs, ["n"])(double)
    compiled = []
    before = knobs.compilation.listener

    def listener(**call):
        compiled.append(call["cache_hit"])
        if before is not None:
            before(**call)

    knobs.compilation.listener = listener
    with SimulatedGPU(do_bench=True):
        kernel[(16,)](torch.ones(1024, dtype=torch.bfloat16), torch.zeros(1024), 1024)
    print(json.dumps({"compiled": compiled.count(False), "loaded": compiled.count(True)}))
"""
SAME = (".cubin", ".ptx", ".llir", ".json")


def test_binaries_are_those_of_stock_and_stock_finds_them(
    children: Children, tmp_path: Path
) -> None:
    there, here = tmp_path / "there", tmp_path / "here"
    # Written once: the assembler puts the time of the file into a binary's line table.
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(PROGRAM))
    sent = children.run(program, TUNEONCE="1", TUNEONCE_WORKERS="2", TRITON_CACHE_DIR=str(there))
    assert sent == {"compiled": 0, "loaded": 8}
    stock = children.run(program, TUNEONCE="0", TRITON_CACHE_DIR=str(here))
    assert stock == {"compiled": 8, "loaded": 0}

    shipped, compiled = binaries(there), binaries(here)
    assert shipped.keys() == compiled.keys()
    for key, files in shipped.items():
        assert files.keys() == compiled[key].keys()
        for name, data in files.items():
            if name.startswith("__grp__"):
                paths = json.loads(data)["child_paths"]
                assert paths == {file: str(there / key / file) for file in paths}
            elif name.endswith(SAME):  # others differ in the names of block arguments
                assert data == compiled[key][name], name

    again = children.run(program, TUNEONCE="0", TRITON_CACHE_DIR=str(there))
    assert again == {"compiled": 0, "loaded": 8}


def test_a_cache_that_the_program_moves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four tunes by one helper: each looks where Triton would look at that moment."""
    places = [tmp_path / str(number) for number in range(3)]
    counts = []

    def tune_one() -> None:
        launch(autotuned(make_scale(), blocks(*FOUR)))
        counts.append([len(list(place.glob("*/*.cubin"))) for place in places])

    with tuner(store=Forgetful()) as tuning:
        monkeypatch.setenv("TRITON_CACHE_DIR", str(places[0]))
        tune_one()
        helper = tuning.pool._helper
        monkeypatch.setenv("TRITON_CACHE_DIR", str(places[1]))
        tune_one()
        with knobs.cache.scope():
            knobs.cache.dir = str(places[2])
            tune_one()
        launch(autotuned(make_add(), blocks(*FOUR)))  # the knob is gone, the variable is left
        assert tuning.pool._helper is helper
        assert (tuning.ahead, tuning.here) == (16, 0)
        assert tuning.events.problems() == []
    assert counts == [[4, 0, 0], [4, 4, 0], [4, 4, 4]]
    assert len(list(places[1].glob("*/add.cubin"))) == 4


def test_a_relative_cache_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", "cache")
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with tuner(store=Forgetful()) as tuning:
        monkeypatch.chdir(tmp_path / "one")
        launch(autotuned(make_scale(), blocks(*FOUR)))
        monkeypatch.chdir(tmp_path / "two")
        launch(autotuned(make_scale(), blocks(*FOUR)))
        assert (tuning.ahead, tuning.here) == (8, 0)
    assert len(list(tmp_path.glob("one/cache/*/scale.cubin"))) == 4
    assert len(list(tmp_path.glob("two/cache/*/scale.cubin"))) == 4


def test_knobs_that_the_program_has_set() -> None:
    with tuner() as tuning, knobs.compilation.scope():
        knobs.compilation.store_binary_only = True
        launch(autotuned(make_add(), blocks(64, 128)))
        assert (tuning.ahead, tuning.here) == (2, 0)
    kept = {Path(name).suffix for files in binaries(cache()).values() for name in files}
    assert ".cubin" in kept
    assert not kept & {".ttir", ".ptx", ".llir"}


MANAGER = """
from triton.runtime.cache import FileCacheManager

class Elsewhere(FileCacheManager):
    def __init__(self, key, override=False, dump=False):
        super().__init__(key, override, dump)
        self.cache_dir += "-elsewhere"
        self.lock_path = self.cache_dir + "/lock"
        import os
        os.makedirs(self.cache_dir, exist_ok=True)

class Remembering(FileCacheManager):
    files = {}

    def put_group(self, filename, group):
        self.files[self.key, filename] = group
        return super().put_group(filename, group)

    def get_group(self, filename):
        return self.files.get((self.key, filename))
"""


@pytest.fixture
def managers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "managers_of_mine.py").write_text(MANAGER)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("managers_of_mine", None)


@pytest.mark.usefixtures("managers")
def test_a_cache_manager_of_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_CACHE_MANAGER", "managers_of_mine:Elsewhere")
    with tuner() as tuning:
        assert launch(autotuned(make_add(), blocks(*FOUR))) == 512
        assert (tuning.ahead, tuning.here) == (4, 0)
        assert tuning.events.problems() == []
    assert len(list(cache().glob("*-elsewhere/add.cubin"))) == 4


@pytest.mark.usefixtures("managers")
def test_a_cache_manager_that_keeps_things_to_itself(
    monkeypatch: pytest.MonkeyPatch, warnings: Any
) -> None:
    """What another process compiles never arrives: found out once, and done here from then on."""
    monkeypatch.setenv("TRITON_CACHE_MANAGER", "managers_of_mine:Remembering")
    with tuner() as tuning:
        assert launch(autotuned(make_add(), blocks(*FOUR))) == 512
        assert tuning.here == 4
        assert tuning.events.problems() == ["compile_helper_lost"]
    assert len(warnings()) == 1
    assert "does not find its binaries" in warnings()[0]


def test_a_cache_manager_that_was_set_in_the_program() -> None:
    class Own(triton.runtime.cache.FileCacheManager):
        pass

    with tuner() as tuning, knobs.cache.scope():
        knobs.cache.manager_class = Own
        assert launch(autotuned(make_add(), blocks(64, 128))) == 128
        assert (tuning.ahead, tuning.here, tuning.started) == (0, 2, False)
        assert tuning.events.problems() == []


# -- when nothing leaves the process -------------------------------------------------------------


def test_a_warm_start_starts_no_helper() -> None:
    store = MemoryStore()
    kernel = make_add()
    with tuner(store=store):
        launch(autotuned(kernel, blocks(*FOUR)))
    with tuner(store=store) as tuning:
        assert launch(autotuned(kernel, blocks(*FOUR))) == 512
        assert [one["outcome"] for one in tuning.of("resolve")] == ["hit"]
        assert not tuning.started
        assert tuning.pool.start_s is None


@pytest.mark.parametrize(
    ("group", "knob"),
    [
        ("compilation", "always_compile"),
        ("compilation", "dump_ir"),
        ("compilation", "override"),
        ("nvidia", "dump_ptxas_log"),
        ("runtime", "interpret"),
    ],
)
def test_what_is_meant_to_be_seen_happens_here(group: str, knob: str) -> None:
    assert blocked() is None
    with getattr(knobs, group).scope():
        setattr(getattr(knobs, group), knob, True)
        assert blocked() is not None
    assert blocked() is None


@pytest.mark.parametrize("name", ["MLIR_ENABLE_DUMP", "LLVM_IR_ENABLE_DUMP", "MLIR_ENABLE_TIMING"])
def test_what_a_variable_makes_the_compiler_print(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "0")
    assert blocked() is None
    monkeypatch.setenv(name, "add")  # a kernel's name is allowed, too
    assert blocked() == name


def test_compiling_in_this_process_tunes_the_same() -> None:
    with tuner() as tuning, knobs.compilation.scope():
        knobs.compilation.always_compile = True
        assert launch(autotuned(make_add(), blocks(64, 128))) == 128
        assert (tuning.ahead, tuning.started) == (0, False)


@pytest.mark.skipif(not hasattr(triton, "AsyncCompileMode"), reason="this Triton has none")
def test_a_program_that_compiles_asynchronously_by_itself() -> None:
    from concurrent.futures import ThreadPoolExecutor

    with tuner() as tuning, ThreadPoolExecutor(2) as executor:
        with triton.AsyncCompileMode(executor):
            assert launch(autotuned(make_add(), blocks(64, 128))) == 128
        assert not tuning.started


@pytest.mark.parametrize("workers", [0, 1])
def test_one_worker_is_this_process(workers: int) -> None:
    with tuner(workers=workers) as tuning:
        assert launch(autotuned(make_add(), blocks(64, 128))) == 128
        assert (tuning.pool, tuning.ahead, tuning.here) == (None, 0, 2)


# -- candidates that do not compile --------------------------------------------------------------


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
    from tuneonce.records import Verdict, unpack

    store = tuning.hook._persistence.resolver._store
    [name] = [name for name in store.list("") if name.endswith(".verdict.json")]
    return unpack(store.get(name), Verdict)


def test_a_job_that_is_no_module(pool: CompilePool) -> None:
    future = pool.submit({**job(), "module": "this is no module"})
    with pytest.raises(NotCompiled) as raised:
        future.result(TOO_LONG)
    assert not isinstance(raised.value, Crashed)
    assert raised.value.kind == "RuntimeError"
    assert pool.submit(job(128)).result(TOO_LONG).seconds > 0


@pytest.mark.parametrize("how", [signal.SIGSEGV, signal.SIGABRT])
def test_a_compiler_that_crashes(pool: CompilePool, how: int) -> None:
    with pytest.raises(Crashed, match=f"status -{int(how)}"):
        pool.submit(job(options=kills_itself(how))).result(TOO_LONG)
    assert pool.submit(job(128)).result(TOO_LONG).seconds > 0


@pytest.mark.parametrize("status", [0, 1])
def test_a_compiler_that_exits(pool: CompilePool, status: int) -> None:
    """LLVM's fatal errors end the process; nothing may be waited for then."""
    with pytest.raises(Crashed, match=f"status {status}"):
        pool.submit(job(options=Does(os._exit, status))).result(TOO_LONG)


def test_a_compilation_that_was_killed_is_nobodys_fault(pool: CompilePool) -> None:
    """The kernel's choice when memory is short: not to be held against the candidate."""
    with pytest.raises(NotCompiled) as raised:
        pool.submit(job(options=kills_itself(signal.SIGKILL))).result(TOO_LONG)
    assert not isinstance(raised.value, Crashed)


def test_an_option_that_the_helper_cannot_have(
    pool: CompilePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its class is known to this process only."""
    module = types.ModuleType("only_here")
    module.Option = type("Option", (), {"__module__": "only_here"})
    monkeypatch.setitem(sys.modules, "only_here", module)
    with pytest.raises(NotCompiled) as raised:
        pool.submit(job(options={"option": module.Option()})).result(TOO_LONG)
    assert raised.value.kind == "ModuleNotFoundError"
    with pytest.raises(Exception, match="pickle"):
        pool.submit(job(options={"option": lambda: None}))
    assert pool.submit(job(128)).result(TOO_LONG).seconds > 0


def test_a_long_error_in_any_script_is_one_frame() -> None:
    for text in ("x" * 10_000, "\u65e5" * 10_000, "\udcff" * 10_000):
        short = compile_helper.short(ValueError(text))
        assert 100 < len(short.encode()) <= 2000


@pytest.fixture
def crash_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Makes the compiler crash on the n-th job of a pool."""

    def arrange(number: int) -> None:
        submit = CompilePool.submit
        count = iter(range(1, 1000))

        def crash(self: CompilePool, job: dict[str, Any], **options: Any) -> Any:
            if next(count) == number:
                job = {**job, "options": kills_itself(signal.SIGSEGV)}
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


@pytest.fixture(params=["no path", "no file", "no helper", "no triton", "silence"])
def no_helper(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> str:
    """Makes it impossible to start a helper; the words of the warning."""
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nexec sleep 1000\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    if request.param == "no triton":
        without = [path for path in sys.path if not Path(path, "triton").is_dir()]
        monkeypatch.setattr(sys, "path", without)
        return "No module named 'triton'"
    monkeypatch.setattr(compile_pool, "_START_S", 0.3 if request.param == "silence" else 30.0)
    path, words = {
        "no path": ("", "its own path"),
        "no file": (str(tmp_path / "none"), "No such file"),
        "no helper": ("/bin/false", ""),
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


# -- several at once -----------------------------------------------------------------------------


def test_jobs_that_are_dropped(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    pool = CompilePool(workers=1)
    try:
        first = pool.submit(job(options=waits_for(tmp_path / "fifo")))
        dropped, kept = pool.submit(job(128)), pool.submit(job(256))
        pool.drop([dropped])
        with pytest.raises(CancelledError):
            dropped.result(0)
        release(tmp_path / "fifo")
        for future in (first, kept):
            assert future.result(TOO_LONG).seconds > 0
        assert len(list(cache().glob("*/add.cubin"))) == 2
    finally:
        pool.close()


def test_what_is_urgent_goes_first(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    pool = CompilePool(workers=1)
    done: list[str] = []
    try:
        first = pool.submit(job(options=waits_for(tmp_path / "fifo")))
        futures = {
            "later": pool.submit(job(64), urgent=False),
            "hurried": pool.submit(job(128), urgent=False),
            "urgent": pool.submit(job(256)),
        }
        for name, future in futures.items():
            future.add_done_callback(lambda _, name=name: done.append(name))
        pool.hurry(futures["hurried"])
        release(tmp_path / "fifo")
        for future in (first, *futures.values()):
            future.exception(TOO_LONG)
    finally:
        pool.close()
    assert done == ["urgent", "hurried", "later"]


def test_two_threads_tune_two_kernels() -> None:
    winners: dict[str, int] = {}
    start = threading.Barrier(2)

    def tune_one(name: str, kernel: Any) -> None:
        start.wait(TOO_LONG)
        winners[name] = launch(kernel)

    with tuner() as tuning:
        threads = [
            threading.Thread(target=tune_one, args=(name, autotuned(make(), blocks(16, *FOUR))))
            for name, make in (("add", make_add), ("scale", make_scale))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(TOO_LONG)
        assert winners == {"add": 512, "scale": 512}
        assert (tuning.ahead, tuning.here) == (10, 0)
        assert tuning.events.problems() == []


def test_a_slot_that_nobody_gives_back_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    monkeypatch.setattr(compile_helper, "_SLOT_S", 0.05)
    before = signal.getsignal(signal.SIGALRM)
    with (tmp_path / "0.lock").open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        try:
            with pytest.raises(TimeoutError):
                compile_helper.taken_slot(tmp_path, 1)
            with compile_helper.slot(tmp_path, 1):
                pass
        finally:
            signal.signal(signal.SIGALRM, before)
    with compile_helper.taken_slot(tmp_path, 1):
        pass
    with compile_helper.slot(tmp_path / "gone", 1), compile_helper.slot(None, 1):
        pass


def test_processes_share_the_slots_of_a_node(tmp_path: Path) -> None:
    """Two pools with one slot: the second compiles when the first has finished."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "slots").mkdir()
    pools = [CompilePool(workers=1, slots=lambda: tmp_path / "slots") for _ in range(2)]
    try:
        # In the child that has the slot.
        first = pools[0].submit(job(options=waits_for(tmp_path / "fifo")))
        with (tmp_path / "fifo").open("w"):  # it is there now
            second = pools[1].submit(job(128))
            assert not second.done()
        for future in (first, second):
            assert future.result(TOO_LONG).seconds > 0
    finally:
        for pool in pools:
            pool.close()


def test_a_pool_that_was_closed_starts_again(pool: CompilePool) -> None:
    pool.close()
    assert pool.submit(job(64)).result(TOO_LONG).seconds > 0
    waiting = pool.submit(job(128, options=Does(signal.pause)))
    pool.close()
    with pytest.raises(HelperLost):
        waiting.result(TOO_LONG)
    assert pool.submit(job(128)).result(TOO_LONG).seconds > 0


# -- forks ---------------------------------------------------------------------------------------

FORKS = """
    import json, os, sys
    import torch, triton, triton.language as tl
    import tuneonce
    from tuneonce import activation
    from tuneonce.testing import SimulatedGPU

    tuneonce.install()

    @triton.jit
    def add(x, out, n, BLOCK: tl.constexpr):
        i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        tl.store(out + i, tl.load(x + i, mask=i < n) + 1, mask=i < n)

    configs = [triton.Config({"BLOCK": b}) for b in (64, 128, 256, 512)]
    kernel = triton.autotune(configs, ["n"])(add)

    def tune(n, dtype):
        kernel[(16,)](torch.ones(1024, dtype=dtype), torch.zeros(1024), n)
        helper = pool()._helper
        socket = os.readlink(f"/proc/self/fd/{helper.input.fileno()}")
        return {"pid": helper.process.pid, "socket": socket}

    def pool():
        return activation._installed.hook._workers._pool

    with SimulatedGPU(do_bench=True):
        first = tune(1024, torch.float32)
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            links = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")
                     if os.path.islink(f"/proc/self/fd/{fd}")]
            held = first["socket"] in links
            mine = tune(1024, torch.float16)
            os.write(write, json.dumps([held, mine["pid"]]).encode())
            sys.exit(0)
        os.close(write)
        with open(read) as told:
            held, pid = json.load(told)
        status = os.waitpid(child, 0)[1]
        again = tune(1024, torch.bfloat16)
    print(json.dumps({"held": held, "child": pid, "first": first["pid"], "again": again["pid"],
                      "status": status}))
"""


def test_a_fork_has_a_helper_of_its_own(children: Children, tmp_path: Path) -> None:
    said = children.run(
        FORKS,
        TUNEONCE="1",
        TUNEONCE_WORKERS="2",
        TUNEONCE_EVENTS=str(tmp_path / "events"),
        PYTHONWARNINGS="ignore",
    )
    assert said["status"] == 0
    assert not said["held"]
    assert said["again"] == said["first"] != said["child"]
    files = (tmp_path / "events").iterdir()
    lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    compiles = [line for line in lines if line.get("e") == "compile"]
    assert len(compiles) == 12
    assert all(line.get("ahead") for line in compiles)
    assert not [line for line in lines if line.get("e") == "problem"]
