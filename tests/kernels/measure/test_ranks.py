"""A benchmark function that waits for other ranks is called equally often by all of them."""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("triton")

import torch
import triton

from tests.fakes import Children
from tests.kernels.equivalence_gpu import blocks, covering, make_copy
from tests.kernels.equivalence_lab import tuneonce_on
from tuneonce.store.memory import MemoryStore
from tuneonce.system.ranks import is_a_rank, is_one_of_several
from tuneonce.testing import SimulatedGPU
from tuneonce.triton.kernel import device_facts
from tuneonce.triton.measure.benchmark import own_benchmark, whose_benchmark

SIZES = ["WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_NTASKS", "MV2_COMM_WORLD_SIZE"]


@pytest.fixture(autouse=True)
def _alone(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "compiled"))
    for name in SIZES:
        monkeypatch.delenv(name, raising=False)
    # This suite may itself run in a child of some runner.
    monkeypatch.setattr("multiprocessing.process.parent_process", lambda: None)
    device_facts.forget()


# -- one of several ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize(
    ("size", "several"), [("1", False), ("2", True), ("", False), ("x", False)]
)
def test_by_the_environment(
    name: str, size: str, several: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not is_one_of_several()
    monkeypatch.setenv(name, size)
    assert is_one_of_several() is is_a_rank() is several


@pytest.mark.parametrize(("size", "several"), [(1, False), (2, True)])
def test_by_torch(size: int, several: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    distributed: Any = SimpleNamespace(is_initialized=lambda: True, get_world_size=lambda: size)
    monkeypatch.setitem(sys.modules, "torch.distributed", distributed)
    assert is_one_of_several() is is_a_rank() is several
    distributed.is_initialized = lambda: False
    assert not is_one_of_several()
    del distributed.is_initialized
    assert not is_one_of_several()


# -- whose benchmark -----------------------------------------------------------------------------


def test_whose_function_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def bench(call: Any, quantiles: Any) -> list[float]:
        return [1.0]

    def tuned(**options: Any) -> Any:
        return triton.autotune(blocks(64, 128), ["n"], **options)(make_copy())

    assert not own_benchmark(tuned())
    assert own_benchmark(tuned(do_bench=bench))
    with pytest.warns(DeprecationWarning, match="deprecated"):
        made_by_triton = tuned(warmup=5, rep=5)
    assert not own_benchmark(made_by_triton)
    monkeypatch.setattr(triton.testing, "do_bench", bench)
    assert own_benchmark(made_by_triton)


@pytest.mark.parametrize("way", ["module", "instance", "subclass", "class", "driver", "wrapped"])
def test_what_a_program_has_put_in_its_place(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with SimulatedGPU(do_bench=True) as gpu:
        kernel = triton.autotune(blocks(64, 128), ["n"])(make_copy())
        stock = triton.testing.do_bench
        assert whose_benchmark(kernel) == "tritons"
        assert kernel.do_bench is stock  # and Triton keeps it now
        assert whose_benchmark(kernel) == "tritons"
        monkeypatch.setattr(triton.testing, "do_bench", lambda call, **options: 1.0)
        assert whose_benchmark(kernel) == "tritons"
        monkeypatch.undo()
        replace_benchmark(way, kernel, gpu, lambda call, **options: 1.0, monkeypatch)
        assert whose_benchmark(kernel) == "own"
        if way in ("module", "driver", "wrapped"):  # it is asked at the first need of it
            assert vars(kernel).setdefault("do_bench", kernel.do_bench) is not stock
            monkeypatch.undo()
            assert whose_benchmark(kernel) == "own"


def replace_benchmark(
    way: str, kernel: Any, gpu: SimulatedGPU, bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All the ways in which a program gives a tuner another function than Triton's."""
    vars(kernel).pop("do_bench", None)
    if way == "module":
        monkeypatch.setattr(triton.testing, "do_bench", bench)
    elif way == "wrapped":
        wrapped = functools.wraps(triton.testing.do_bench)(bench)
        monkeypatch.setattr(triton.testing, "do_bench", wrapped)
    elif way == "instance":
        kernel.do_bench = bench
    elif way == "subclass":
        kernel.__class__ = type("Mine", (type(kernel),), {"do_bench": staticmethod(bench)})
    elif way == "class":
        monkeypatch.setattr(type(kernel), "do_bench", property(lambda self: bench))
    elif way == "driver":
        monkeypatch.setattr(gpu.driver, "get_benchmarker", lambda: bench)


WAYS = ["module", "instance", "subclass", "class", "driver", "wrapped", None]


@pytest.mark.parametrize("way", WAYS)
def test_it_is_asked_and_answers_for_itself(way: str | None) -> None:
    """Of three starts the second replaces the function, which prefers the other candidate."""
    store = MemoryStore()

    def start(replaced: bool) -> tuple[Any, int]:
        asked: list[int] = []

        def bench(call: Any, quantiles: Any = None, **options: Any) -> list[float]:
            call()
            asked.append(1)
            return [float(len(asked))] * 3

        with (
            pytest.MonkeyPatch.context() as patch,
            SimulatedGPU(do_bench=True, times=lambda one: 300.0 / one.constants["BLOCK"]) as gpu,
            tuneonce_on(store),
        ):
            kernel = triton.autotune(blocks(64, 128), ["n"])(make_copy())
            if replaced and way is not None:
                replace_benchmark(way, kernel, gpu, bench, patch)
            kernel[covering(1024)](torch.zeros(1024), torch.zeros(1024), 1024)
            return kernel.best_config.kwargs["BLOCK"], len(asked)

    seen = [start(False), start(True), start(False), start(True)]
    own = (128, 0) if way is None else (64, 2)
    known = (128, 0) if way is None else (64, 0)
    assert seen == [(128, 0), own, (128, 0), known]


# -- what is measured ----------------------------------------------------------------------------


class Bench:
    """A benchmark function that notes what it is called for."""

    def __init__(self, gpu: SimulatedGPU) -> None:
        self.gpu = gpu
        self.seen: list[int] = []

    def __call__(self, call: Any, quantiles: Any) -> list[float]:
        before = len(self.gpu.launches)
        self.seen.append(0)
        call()
        for launch in self.gpu.launches[before:]:
            self.seen[-1] = launch.constants["BLOCK"]
        time = float(self.seen[-1] or 1)
        return [time, time, time]


def run(kernel: Any, n: int = 1024) -> None:
    kernel[covering(n)](torch.arange(1024.0), torch.zeros(1024), 1024)


def test_the_store_neither_answers_nor_shortens(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()

    def start(*sizes: int, several: bool) -> tuple[list[int], list[Any], Any]:
        monkeypatch.setenv("WORLD_SIZE", "2" if several else "1")
        with SimulatedGPU() as gpu, tuneonce_on(store) as events:
            bench = Bench(gpu)
            kernel = triton.autotune(blocks(*sizes), ["n"], do_bench=bench)(make_copy())
            run(kernel)
            run(kernel)
            found = [(one["outcome"], one["reason"]) for one in events.of("resolve")]
            return bench.seen, found, kernel.best_config.kwargs["BLOCK"]

    known = [("miss", "benchmark_of_ranks")]
    assert start(256, 128, 64, several=True) == ([256, 128, 64], known, 64)
    # What it found is kept: for who is alone.
    assert start(256, 128, 64, several=False)[:2] == ([], [("hit", None)])
    assert start(256, 128, 64, several=True) == ([256, 128, 64], known, 64)
    assert start(256, 128, 64, 512, several=True) == ([256, 128, 64, 512], known, 64)
    # Triton's own benchmark is not answered for by another one.
    with SimulatedGPU() as gpu, tuneonce_on(store) as events:
        run(triton.autotune(blocks(256, 128, 64), ["n"])(make_copy()))
        assert len(gpu.benchmarked) == 3
        assert events.outcomes == ["miss"]


def test_candidates_that_do_not_compile_are_asked_for_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import triton.language as tl

    @triton.jit
    def picky(x, out, n, BLOCK: tl.constexpr):
        tl.static_assert(BLOCK != 128)
        i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        tl.store(out + i, tl.load(x + i, mask=i < n), mask=i < n)

    monkeypatch.setenv("WORLD_SIZE", "2")
    with SimulatedGPU() as gpu, tuneonce_on(MemoryStore()):
        bench = Bench(gpu)
        run(triton.autotune(blocks(256, 128, 64), ["n"], do_bench=bench)(picky))
        assert bench.seen == [256, 0, 64]


def test_a_launch_of_nothing_decides_as_with_stock_and_is_not_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    store = MemoryStore()
    with SimulatedGPU() as gpu, tuneonce_on(store):
        bench = Bench(gpu)
        kernel = triton.autotune(blocks(256, 128, 64), ["n"], do_bench=bench)(make_copy())
        run(kernel, 0)
        assert len(bench.seen) == 3
        assert list(store.list("")) == []
        run(kernel)
        assert len(bench.seen) == 3


def test_in_a_capture_the_store_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    with SimulatedGPU() as gpu, tuneonce_on(store):
        run(triton.autotune(blocks(256, 64), ["n"], do_bench=Bench(gpu))(make_copy()))
    monkeypatch.setenv("WORLD_SIZE", "2")
    with SimulatedGPU() as gpu, tuneonce_on(store):
        kernel = triton.autotune(blocks(256, 64), ["n"], do_bench=Bench(gpu))(make_copy())
        with gpu.capture():
            run(kernel)
        assert kernel.cache == {}
        assert kernel.best_config is kernel.configs[0]


# -- real processes ------------------------------------------------------------------------------

PROGRAM = """
import json, multiprocessing, os, sys
import tuneonce

def bench(call, quantiles):
    global calls
    calls += 1
    if barrier is not None:
        barrier.wait(100)
    call()
    return [1.0, 1.0, 1.0]

def work(store, shared, answers):
    global barrier, calls
    barrier, calls = shared, 0
    os.environ["TUNEONCE_STORE"] = store
    tuneonce.install()
    import torch, triton, triton.language as tl
    from tuneonce.testing import SimulatedGPU

    @triton.autotune([triton.Config({"BLOCK": b}) for b in (64, 128)], key=["n"], do_bench=bench)
    @triton.jit
    def copy(x, out, n, BLOCK: tl.constexpr):
        i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        tl.store(out + i, tl.load(x + i, mask=i < n), mask=i < n)

    x, out = torch.ones(1024), torch.zeros(1024)
    with SimulatedGPU():
        copy[(4,)](x, out, 1024)
        copy[(4,)](x, out, 1024)
    answers.put(calls) if answers is not None else print(json.dumps([calls]))

if __name__ == "__main__":
    if len(sys.argv) == 2:
        work(sys.argv[1], None, None)
    else:
        context = multiprocessing.get_context("spawn")
        shared, answers = context.Barrier(2), context.Queue()
        ranks = [
            context.Process(target=work, args=(store, shared, answers)) for store in sys.argv[1:]
        ]
        for rank in ranks:
            rank.start()
        found = [answers.get(timeout=200) for _ in ranks]
        for rank in ranks:
            rank.join()
        print(json.dumps(found))
"""


@pytest.mark.slow
def test_two_ranks_of_which_one_has_a_verdict(
    children: Children, warm_children: Children, tmp_path: Path
) -> None:
    known, unknown = str(tmp_path / "known"), str(tmp_path / "unknown")
    assert warm_children.run(PROGRAM, known) == [2]
    assert warm_children.run(PROGRAM, known) == [0]  # for who is alone, it answers
    assert children.run(PROGRAM, known, unknown) == [2, 2]
