"""Kernels that are packed: their code is generated in the helper, and is the same as here."""

from __future__ import annotations

import math
import pickle
import queue
import signal
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton")

import triton
import triton.language as tl
from triton.compiler import ASTSource

from tests.kernels import pack_ops
from tests.kernels import pack_ops as ops
from tests.kernels.pool_lab import (
    FOUR,
    TARGET,
    TOO_LONG,
    autotuned,
    binaries,
    blocks,
    cache,
    kills_itself,
    launch,
    make_add,
    shipped,
    tuner,
)
from tuneonce.triton import remake, trials
from tuneonce.triton.checks import Checks
from tuneonce.triton.compile_pool import Compiled, CompilePool, NotCompiled
from tuneonce.triton.fronts import Fronts
from tuneonce.triton.pack import Packing, State
from tuneonce.triton.ship import Shipment, front
from tuneonce.triton.turns import Turns

SCALE: tl.constexpr = tl.constexpr(3.0)
BOUNDS = tl.constexpr((1, 2))
log = tl.math.log


class Settings:
    width = 4


@triton.jit
def add_one(value, amount: tl.constexpr = 1.0):
    return value + amount


@triton.jit
def add_two(value):
    return add_one(add_one(value, amount=SCALE))


@triton.jit(noinline=True)
def apart(value):
    return value * 2.0


@triton.jit
def constants(x, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    tl.store(x + i, tl.load(x + i) * SCALE + BOUNDS[1])


@triton.jit
def callees(x, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    value = add_two(tl.load(x + i))
    tl.store(x + i, tl.sum(value, 0) + tl.cumsum(value, 0))


@triton.jit
def modules(x, BLOCK: tl.constexpr):
    # Not what it says: tl.nothing_of_that_name, ops.nor_this
    i = tl.arange(0, BLOCK)
    value = ops.exp(ops.leaky(tl.load(x + i), ops.SLOPE)) + log(tl.load(x + i) + 2.0)
    tl.store(x + i, tl.extra.cuda.libdevice.rsqrt(value))


@triton.jit
def scalars(x, BLOCK: tl.constexpr):
    tl.store(x, apart(tl.load(x)))
    for step in tl.static_range(2):
        tl.store(x + step, tl.load(x + step) * BLOCK)


@triton.jit
def asks(x, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    tl.store(x + i, tl.load(x + i) + tl.extra.cuda.num_warps())


@triton.jit
def only_small(x, BLOCK: tl.constexpr):
    tl.static_assert(BLOCK < 32, "too large")
    tl.store(x + tl.arange(0, BLOCK), 1.0)


def closed_over() -> Any:
    factor, inner = tl.constexpr(7), add_one

    @triton.jit
    def closure(x, BLOCK: tl.constexpr):
        i = tl.arange(0, BLOCK)
        tl.store(x + i, inner(tl.load(x + i)) * factor)

    return closure


KERNELS = [constants, callees, modules, scalars, asks, closed_over()]


def source(kernel: Any, block: int = 16) -> Any:
    return ASTSource(kernel, {"x": "*fp32", "BLOCK": "constexpr"}, {(1,): block})


def state(kernel: Any, packing: Packing) -> State:
    return packing.ask(kernel.cache_key)


class Heard(Packing):
    """Says what was found out, too."""

    def __init__(self) -> None:
        super().__init__(on=True)
        self._answers = queue.Queue[bool]()

    def told(self, kernel: str, alike: bool) -> None:
        super().told(kernel, alike)
        self._answers.put(alike)

    def answer(self) -> bool:
        return self._answers.get(timeout=TOO_LONG)


def owe(pool: CompilePool, packing: Packing, shipment: Shipment) -> None:
    """Have it found out whether the helper generates the same code."""
    assert shipment.check is not None
    Checks(Fronts(), packing, Turns()).owe(pool, shipment.check, urgent=True)


def assert_not_alike(future: Future[Compiled]) -> None:
    """What was compiled on trial was not kept."""
    with pytest.raises(NotCompiled) as caught:
        future.result(TOO_LONG)
    assert caught.value.kind == "NotAlike"


@pytest.fixture
def alike(pool: CompilePool) -> Callable[[Any, Heard], bool]:
    """Sends a first variant of a kernel; whether the helper generates the same code."""

    def send(kernel: Any, packing: Heard) -> bool:
        first = shipped(source(kernel), packing, num_warps=2)
        assert first.job is not None
        assert first.job["module"] is None
        assert first.job["source"] is not None
        done = pool.submit(first.job)
        owe(pool, packing, first)
        if packing.answer():
            assert done.result(TOO_LONG).hash == first.hash
            return True
        assert_not_alike(done)
        assert binaries(cache()) == {}
        return False

    return send


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.__name__)
def test_the_helper_makes_what_stock_makes(
    kernel: Any,
    pool: CompilePool,
    alike: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    packing = Heard()
    assert alike(kernel, packing)
    assert state(kernel, packing) is State.THERE

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "there"))
    second = shipped(source(kernel, 64), packing, num_warps=8)
    assert second.job is not None
    assert second.job["module"] is None
    assert pool.submit(second.job).result(TOO_LONG).hash == second.hash

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "here"))
    stock = triton.compile(source(kernel, 64), target=TARGET, options={"num_warps": 8})
    assert stock.hash == second.hash
    [there], [here] = (list(binaries(tmp_path / name).values()) for name in ("there", "here"))
    assert there.keys() == here.keys()
    for name in there:
        if not name.startswith("__grp__"):  # which holds the directory
            assert there[name] == here[name], name


def test_what_was_generated_here_already_is_sent_as_text(alike: Any) -> None:
    packing = Heard()
    assert alike(constants, packing)
    fronts, jobs = Fronts(), []
    for packs in (Packing(on=False), packing):  # the second finds what the first has made
        shipment = front(
            source(constants, 128), TARGET, {},
            pending=lambda _: False, fronts=fronts, packing=packs,
        )  # fmt: skip
        assert shipment.job is not None
        jobs.append(shipment.job)
    assert jobs[0]["module"] == jobs[1]["module"] is not None
    assert jobs[1]["source"] is None


def test_until_it_is_checked_code_is_on_trial() -> None:
    packing = Heard()
    shipments = [shipped(source(constants, block), packing) for block in (16, 32, 64)]
    for shipment in shipments:
        assert shipment.job is not None
        assert shipment.check is not None
        assert shipment.job["module"] is None
        assert shipment.job["kernel"] == constants.cache_key


def test_nothing_is_kept_before_it_is_checked() -> None:
    packing, pool = Heard(), CompilePool(workers=3)
    first, second = (shipped(source(constants, block), packing) for block in (16, 32))
    assert first.job is not None
    assert second.job is not None
    # Of another kernel: when it is done, the helper had its time with the two before it.
    other = shipped(source(scalars), Packing(on=False))
    assert other.job is not None
    try:
        futures = [pool.submit(job) for job in (first.job, second.job)]
        pool.submit(other.job).result(TOO_LONG)
        assert len(binaries(cache())) == 1
        assert not any(future.done() for future in futures)
        owe(pool, packing, first)
        for future, shipment in zip(futures, (first, second), strict=True):
            assert future.result(TOO_LONG).hash == shipment.hash
        assert len(binaries(cache())) == 3
    finally:
        pool.close()


def test_a_check_that_never_comes_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "_CHECKED_S", 0.0)
    verdicts = trials.Verdicts()
    place = verdicts.place("kernel")
    with pytest.raises(trials.NotAlike):
        verdicts.wait(place)
    verdicts.pass_on(place, alike=True)
    verdicts.wait(place)


def test_a_candidate_that_does_not_compile_says_so_after_the_check(pool: CompilePool) -> None:
    packing = Heard()
    first, wrong = (shipped(source(only_small, block), packing) for block in (16, 64))
    assert first.job is not None
    assert wrong.job is not None
    failed = pool.submit(wrong.job)
    owe(pool, packing, first)
    with pytest.raises(NotCompiled, match="too large") as caught:
        failed.result(TOO_LONG)
    assert caught.value.kind == "CompileTimeAssertionFailure"


def test_a_candidate_whose_code_cannot_be_compared(pool: CompilePool) -> None:
    """The one that is to be checked does not compile here, either."""
    packing = Heard()
    wrong, right = (shipped(source(only_small, block), packing) for block in (64, 16))
    assert right.job is not None
    denied = pool.submit(right.job)
    owe(pool, packing, wrong)
    assert_not_alike(denied)
    assert not packing.answer()
    assert state(only_small, packing) is State.HERE


def test_a_kernel_that_stays_is_compiled_from_this_process_code(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    generate = remake.generate
    monkeypatch.setattr(remake, "generate", lambda *a: generate(*a) + "\n// changed")
    kernel = autotuned(make_add(), blocks(*FOUR))
    with tuner(workers=4) as running:
        assert launch(kernel) == FOUR[-1]
        assert running.ahead == len(FOUR)
        assert running.here == 0
        assert not running.of("problem")


def test_other_code_there_and_the_kernel_stays(
    pool: CompilePool, alike: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a program has changed Triton's code generator."""
    generate = remake.generate
    with monkeypatch.context() as changed:
        changed.setattr(remake, "generate", lambda *a: generate(*a).replace("3.0", "4.0"))
        packing = Heard()
        assert not alike(constants, packing)
    assert state(constants, packing) is State.HERE
    again = shipped(source(constants, 64), packing).job
    assert again is not None
    assert (again["module"] is not None, again["source"]) == (True, None)
    assert pool.submit(again).result(TOO_LONG)


def test_another_source_is_not_compiled(pool: CompilePool, alike: Any) -> None:
    packing = Heard()
    assert alike(callees, packing)
    job = shipped(source(callees, 64), packing).job
    assert job is not None
    job["source_hash"] = "0" * 64
    with pytest.raises(Exception, match="another source"):
        pool.submit(job).result(TOO_LONG)


def test_a_crash_on_trial_is_no_fault_of_the_candidate(pool: CompilePool) -> None:
    packing = Packing(on=True)
    crashes = shipped(source(callees, 128), packing)
    assert crashes.job is not None
    crashes.job["source"] = pickle.dumps(kills_itself(signal.SIGSEGV))
    crashed = pool.submit(crashes.job)
    with pytest.raises(NotCompiled) as caught:
        crashed.result(TOO_LONG)
    assert (type(caught.value), caught.value.kind) == (NotCompiled, "NotAlike")


def test_a_check_that_crashes_finds_that_the_kernel_stays(pool: CompilePool) -> None:
    packing = Heard()
    first, second = (shipped(source(callees, block), packing) for block in (64, 128))
    assert first.check is not None
    assert second.job is not None
    first.check.job["source"] = pickle.dumps(kills_itself(signal.SIGSEGV))
    denied = pool.submit(second.job)
    owe(pool, packing, first)
    assert_not_alike(denied)
    assert not packing.answer()
    assert state(callees, packing) is State.HERE


def with_class() -> Any:
    @triton.jit
    def kernel(x, BLOCK: tl.constexpr):
        tl.store(x, BLOCK * Settings.width)

    return kernel


def with_computed_name() -> Any:
    @triton.jit(repr=lambda _: "another")
    def kernel(x, BLOCK: tl.constexpr):
        tl.store(x, BLOCK)

    return kernel


def with_module_class() -> Any:
    @triton.jit
    def kernel(x, BLOCK: tl.constexpr):
        tl.store(x, pack_ops.Widths.narrow)

    return kernel


def with_replaced_builtin() -> Any:
    @triton.jit
    def kernel(x, BLOCK: tl.constexpr):
        tl.store(x, tl.exp2(tl.load(x)))

    return kernel


@pytest.mark.parametrize(
    "make",
    [with_class, with_computed_name, with_module_class, with_replaced_builtin],
)
def test_what_only_this_process_has_stays(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = make()
    if make is with_replaced_builtin:
        monkeypatch.setattr(tl, "exp2", lambda value: value)
    packing = Heard()
    assert state(kernel, packing) is State.TRIED
    assert packing.pack(source(kernel)) is None
    assert state(kernel, packing) is State.HERE


def test_a_module_of_python_goes_along(alike: Any) -> None:
    @triton.jit
    def kernel(x, BLOCK: tl.constexpr):
        tl.store(x, tl.load(x) * math.pi)

    assert alike(kernel, Heard())


def test_off_nothing_is_packed() -> None:
    packing = Packing(on=False)
    job = shipped(source(constants), packing).job
    assert job is not None
    assert (job["source"], state(constants, packing)) == (None, State.HERE)
