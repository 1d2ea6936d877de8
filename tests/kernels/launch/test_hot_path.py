"""A launch whose key is known touches no file, no network, no environment and imports nothing."""

from __future__ import annotations

import enum
import math
from typing import Any

import numpy
import pytest

pytest.importorskip("triton")

import torch
import triton
import triton.language as tl
from triton.runtime.interpreter import InterpretedFunction

from tests.fakes import Children
from tests.kernels.equivalence_calls import blocks as interpreted_blocks
from tests.kernels.equivalence_lab import Forgetful, tuneonce_on
from tuneonce.triton.launch import hook

SCRIPT = """
import json
import os
import sys
import threading

import torch
import triton
import triton.language as tl

import tuneonce
from tuneonce.testing import SimulatedGPU

LAUNCHES = 1000


@triton.autotune([triton.Config({"BLOCK": block}) for block in (64, 128)], key=["n", "mode"])
@triton.jit
def scale(x, out, n, mode, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + i, tl.load(x + i, mask=i < n) * mode, mask=i < n)


class Counting(dict):
    reads = 0

    def __getitem__(self, name):
        Counting.reads += 1
        return super().__getitem__(name)


def launch(x, out):
    for n in (1024, 512):
        scale[lambda meta: (triton.cdiv(n, meta["BLOCK"]),)](x, out, n, 2)
        scale[(4,)](x, out=out, n=n, mode=3)


audited = []
watching = False
# What the launches have met before is written down for the next start while they go on.
everybody = os.environ.get("TUNEONCE_PROFILE") == "0"


def audit(event, args):
    if event == "object.__getattr__" and args[1] == "__code__":
        return  # grids are told apart by their code; no input or output, though it is audited
    if watching and (everybody or threading.current_thread() is threading.main_thread()):
        audited.append(event)


def watch(x, out):
    global watching
    launch(x, out)
    launch(x, out)
    Counting.reads = 0
    audited.clear()
    watching = True
    for _ in range(LAUNCHES // 4):
        launch(x, out)
    found = sorted(set(audited))
    open(os.devnull).close()
    assert "open" in audited, "the watch does not see"
    watching = False
    return {"audited": found, "environment": Counting.reads / LAUNCHES}


os.environ._data = Counting(os.environ._data)
sys.addaudithook(audit)
x, out = torch.arange(1024.0), torch.zeros(1024)
seen = {}
with SimulatedGPU():
    seen["stock"] = watch(x, out)
with SimulatedGPU() as gpu:
    assert tuneonce.install()
    seen["tuned here"] = watch(x, out)
    tuned = len(gpu.benchmarked)
with SimulatedGPU() as gpu:
    seen["from the store"] = watch(x, out)
    print(json.dumps({"seen": seen, "tuned": tuned, "tuned again": len(gpu.benchmarked)}))
"""


@pytest.mark.parametrize("profile", ["a name", "0"], ids=["of the caller", "of all threads"])
def test_a_known_key_costs_no_input_or_output(warm_children: Children, profile: str) -> None:
    environment = {"TRITON_DEFAULT_FP_FUSION": "1", "TUNEONCE_PROFILE": profile}
    answer: Any = warm_children.run(SCRIPT, **environment)
    assert (answer["tuned"], answer["tuned again"]) == (8, 0)
    stock = answer["seen"].pop("stock")
    for seen in answer["seen"].values():
        assert seen["audited"] == stock["audited"] == []
        # Triton asks for its own debug switch and the like.
        assert seen["environment"] <= stock["environment"]


class Argument:
    """An argument of a kernel that is launched in Python, with a dtype or without."""

    def __init__(self, *dtype: Any) -> None:
        if dtype:
            self.dtype = dtype[0]


class First(enum.IntEnum):
    WORD = 1


class Second(enum.IntEnum):
    WORD = 1


NAN = math.nan


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Argument(), Argument(None)),
        (Argument(None), Argument("None")),
        (Argument(1), Argument(True)),
        (Argument(1), Argument(1.0)),
        (Argument(First.WORD), Argument(Second.WORD)),
        (Argument(0.0), Argument(-0.0)),
        (Argument(torch.float32), Argument(torch.int32)),
        (Argument(torch.float32), Argument("torch.float32")),
        (Argument(numpy.dtype("f4")), Argument(numpy.dtype(">f4"))),
        (Argument(tl.float32), Argument(torch.float32)),
        (Argument(tl.float32), Argument(tl.int32)),
        (Argument(("a",)), Argument(["a"])),
        (1, True),
        (1, 1.0),
        (0.0, -0.0),
        (NAN, NAN),
        (math.nan, float("nan")),
        (None, Argument(None)),
    ],
)
def test_keys_are_no_coarser_than_stocks(one: Any, other: Any) -> None:
    """Each of two calls is tuned exactly if stock tunes it, in either order."""

    def tuned(first: Any, second: Any) -> list[int]:
        measured: list[int] = []

        def bench(call: Any, quantiles: Any) -> list[float]:
            measured[-1] += 1
            return [1.0, 1.0, 1.0]

        def kernel(x, n, BLOCK: tl.constexpr):
            pass

        fn = InterpretedFunction(kernel)
        fn.run = lambda *args, **kwargs: None
        autotuner = triton.autotune(interpreted_blocks(4, 8), ["n", "x"], do_bench=bench)(fn)
        for value in (first, second, first, second):
            measured.append(0)
            # Not tuned by the object itself, which is compared by identity.
            autotuner.keys = ["n"] if isinstance(value, Argument) else ["n", "x"]
            autotuner[(4,)](value, 8)
        return measured

    for calls in ((one, other), (other, one)):
        stock = tuned(*calls)
        with tuneonce_on(Forgetful()):
            assert tuned(*calls) == stock


class AnyKey(dict[Any, Any]):
    """Answers for every key once it holds one, as libraries do to tune once for all lengths."""

    def __contains__(self, key: object) -> bool:
        return len(self) > 0 or super().__contains__(key)

    def __getitem__(self, key: Any) -> Any:
        return super().__getitem__(key) if super().__contains__(key) else next(iter(self.values()))


class Wrapped:
    """No dictionary at all, and forgets when it is told to."""

    def __init__(self) -> None:
        self.inner: dict[Any, Any] = {}

    def __contains__(self, key: object) -> bool:
        return key in self.inner

    def __getitem__(self, key: Any) -> Any:
        return self.inner[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        self.inner[key] = value


@pytest.mark.parametrize(("kind", "tuned"), [(dict, 2), (AnyKey, 1), (Wrapped, 2)])
def test_a_cache_of_somebodys_is_asked_on_the_short_way(
    kind: Any, tuned: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    long_ways: list[int] = []
    stock_key_of = hook.stock_key_of

    def counting(*args: Any) -> Any:
        long_ways.append(1)
        return stock_key_of(*args)

    monkeypatch.setattr(hook, "stock_key_of", counting)
    measured: list[int] = []

    def bench(call: Any, quantiles: Any) -> list[float]:
        measured.append(1)
        return [1.0, 1.0, 1.0]

    def kernel(x, n, BLOCK: tl.constexpr):
        pass

    fn = InterpretedFunction(kernel)
    fn.run = lambda *args, **kwargs: None
    with tuneonce_on(Forgetful()):
        autotuner = triton.autotune(interpreted_blocks(4, 8), ["n"], do_bench=bench)(fn)
        autotuner.cache = kind()
        for n in (7, 8):
            autotuner[(4,)](X, n)
            long_ways.clear()
            for _ in range(5):
                autotuner[(4,)](X, n)
            assert long_ways == []
        assert len(measured) == 2 * tuned
        autotuner.cache = kind()  # which is obeyed, as with stock
        autotuner[(4,)](X, 7)
        assert len(measured) == 2 * tuned + 2


def test_a_config_of_a_librarys_is_asked_at_each_launch() -> None:
    class Config(triton.Config):
        fuse = False

        def all_kwargs(self) -> dict[str, Any]:
            return {**super().all_kwargs(), "fuse": Config.fuse}

    seen: list[bool] = []

    def kernel(x, n, BLOCK: tl.constexpr):
        pass

    fn = InterpretedFunction(kernel)
    fn.run = lambda *args, **kwargs: seen.append(kwargs["fuse"])

    def bench(call: Any, quantiles: Any) -> list[float]:
        return [1.0, 1.0, 1.0]

    with tuneonce_on(Forgetful()):
        configs = [Config({"BLOCK": size}) for size in (4, 8)]
        autotuner = triton.autotune(configs, ["n"], do_bench=bench)(fn)
        for fuse in (False, False, True, False):
            Config.fuse = fuse
            autotuner[(4,)](X, 8)
    assert seen == [False, False, True, False]


X = torch.zeros(4)
