"""Random kernels, random calls and random interference: the same launches and caches as stock."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterator
from types import FunctionType
from typing import Any

import pytest

pytest.importorskip("triton")

import torch
import triton
import triton.language as tl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from triton.runtime.interpreter import InterpretedFunction

from tests.kernels.equivalence_failures import out_of_resources
from tests.kernels.equivalence_lab import Call, Forgetful, Lab, tuneonce_on
from tuneonce.store.memory import MemoryStore

NAMES = ("x", "n", "y", "mode", "flag")
TENSORS = {
    "half": torch.zeros(4, dtype=torch.float16),
    "single": torch.zeros(4),
    "other": torch.zeros(8),
    "none": None,
}
# Values that are equal and differ, that differ and look alike, that equal nothing.
VALUES = [
    0,
    -0.0,
    False,
    1,
    True,
    1.0,
    2,
    None,
    "1",
    "",
    (1, 2),
    (1.0, 2),
    torch.float16,
    "float16",
]
VALUES += [math.nan, math.inf - math.inf, tl.float16, 2**40, b"1", frozenset({1})]
BLOCKS = (4, 8, 16, 32)


def random_kernel(x, n, y, mode, flag=0, BLOCK: tl.constexpr = 4, WAYS: tl.constexpr = 1):
    pass


def hook_one(arguments: dict[str, Any]) -> None:
    pass


def hook_two(arguments: dict[str, Any]) -> None:
    pass


@dataclasses.dataclass(frozen=True)
class Candidate:
    block: int
    warps: int = 4
    ways: int | None = None
    hook: Any = None

    def config(self) -> triton.Config:
        values = {"BLOCK": self.block} | ({} if self.ways is None else {"WAYS": self.ways})
        return triton.Config(values, num_warps=self.warps, pre_hook=self.hook)


@dataclasses.dataclass(frozen=True)
class Launch:
    """One call of the kernel: the first `positions` arguments by position, the others by name."""

    values: tuple[Any, ...]
    positions: int
    order: tuple[int, ...]
    grid: int | None

    def make(self, kernel: Any) -> Any:
        by_name = dict(zip(NAMES, self.values, strict=False))
        args = [by_name.pop(name) for name in NAMES[: min(self.positions, len(by_name))]]
        named = {NAMES[i]: by_name[NAMES[i]] for i in self.order if NAMES[i] in by_name}
        grid = (self.grid,) if self.grid is not None else (lambda meta: (64 // meta["BLOCK"],))
        return kernel[grid](*args, **named)


@dataclasses.dataclass(frozen=True)
class Interference:
    """What a program does to its kernel between two calls."""

    kind: str
    number: int
    candidates: tuple[Candidate, ...]

    def make(self, kernel: Any) -> None:
        configs = kernel.configs
        if self.kind == "clear":
            kernel.cache.clear()
        elif self.kind == "assign":
            for key in list(kernel.cache):
                kernel.cache[key] = configs[self.number % len(configs)]
        elif self.kind == "replace":
            kernel.configs = [one.config() for one in self.candidates]
        elif self.kind == "change":
            configs[self.number % len(configs)].num_stages = 2 + self.number
        elif self.kind == "keys":
            kernel.keys = list(kernel.keys[self.number % 2 :])


@dataclasses.dataclass(frozen=True)
class Program:
    keys: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    failing: frozenset[int]
    prunes: bool
    steps: tuple[Launch | Interference, ...]

    def __call__(self, lab: Lab) -> Iterator[Call]:
        def prune(configs: Any, arguments: Any, **meta: Any) -> Any:
            everything = {**arguments, **meta}
            kept = [one for one in configs if one.kwargs["BLOCK"] != everything.get("n")]
            return kept or list(configs)

        by = {"early_config_prune": prune} if self.prunes else None
        configs = [one.config() for one in self.candidates]
        kernel = lab.autotune(
            lab.interpreted(random_kernel), configs, list(self.keys), prune_configs_by=by
        )
        lab.failure = lambda meta, bench: (
            out_of_resources() if meta["BLOCK"] in self.failing else None
        )
        for step in self.steps:
            if isinstance(step, Launch):
                yield lambda step=step: step.make(kernel)
            else:
                step.make(kernel)


class QuickLab(Lab):
    """Launches are noted and not run; a time depends on the candidate and the key by name alone."""

    def interpreted(self, fn: FunctionType) -> InterpretedFunction:
        kernel = InterpretedFunction(fn)

        def run(*args: Any, grid: Any, warmup: bool, **meta: Any) -> Any:
            values = {**dict(zip(kernel.arg_names, args, strict=False)), **meta}
            size = grid(values) if callable(grid) else grid
            what = "benchmark" if self.benchmarking else "launch"
            # As the arguments have arrived: nothing else may depend on how they were given.
            shown = (tuple(map(self.show, args)), tuple((n, self.show(v)) for n, v in meta.items()))
            self.note(what, shown, size)
            keys = {name: values.get(name, "left out") for name in self.autotuners[0].keys}
            dtypes = {n: str(v.dtype) for n, v in values.items() if hasattr(v, "dtype")}
            options = {n: v for n, v in values.items() if n not in NAMES}
            self.last_launch = tuple(
                sorted((n, repr(v)) for n, v in {**dtypes, **keys, **options}.items())
            )
            if (error := self.failure(meta, self.benchmarking)) is not None:
                raise error
            return size

        kernel.run = run
        return kernel


candidates = st.lists(
    st.builds(
        Candidate,
        block=st.sampled_from(BLOCKS),
        warps=st.sampled_from([1, 4]),
        ways=st.sampled_from([None, None, 1, 2]),
        hook=st.sampled_from([None, None, hook_one, hook_two]),
    ),
    min_size=1,
    max_size=5,
).map(tuple)


def launches(grids: list[int | None]) -> st.SearchStrategy[Launch]:
    value = st.sampled_from(VALUES)
    return st.builds(
        Launch,
        values=st.tuples(
            st.sampled_from([TENSORS["half"], TENSORS["single"]]),
            value | st.sampled_from(BLOCKS),
            st.sampled_from(list(TENSORS.values())),
            value,
            value,
        ).flatmap(lambda all_of: st.sampled_from([all_of, all_of[:4]])),
        positions=st.integers(0, 5),
        order=st.permutations(range(5)).map(tuple),
        grid=st.sampled_from(grids),
    )


def programs(*, grids: list[int | None], kinds: list[str]) -> st.SearchStrategy[Program]:
    call = launches(grids)
    interference = st.builds(
        Interference,
        kind=st.sampled_from(kinds),
        number=st.integers(0, 4),
        candidates=candidates,
    )
    return st.builds(
        Program,
        # Not "x" and "y": the identity of a tensor is no key for another process.
        keys=st.lists(st.sampled_from(["n", "mode", "flag"]), max_size=3).map(tuple),
        candidates=candidates,
        failing=st.frozensets(st.sampled_from(BLOCKS), max_size=2),
        prunes=st.booleans(),
        # Calls are made twice as often as not, so that known keys are met.
        steps=st.lists(
            st.one_of(call.map(lambda one: (one,)), call.map(lambda one: (one, one)))
            | interference.map(lambda one: (one,)),
            min_size=1,
            max_size=8,
        ).map(lambda groups: tuple(step for group in groups for step in group)),
    )


PROGRAMS = int(os.environ.get("RANDOM_PROGRAMS", "100"))
KINDS = ["clear", "assign", "replace", "change", "keys"]
SOME = settings(
    max_examples=PROGRAMS,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def seen(steps: list[Any]) -> list[dict[str, Any]]:
    return [vars(step) for step in steps]


@pytest.fixture(autouse=True)
def _printing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_PRINT_AUTOTUNING", "1")


@given(programs(grids=[1, 4, 1000, None], kinds=KINDS))
@SOME
def test_a_forgetful_store_is_stock(program: Program) -> None:
    stock = QuickLab().run(program)
    with tuneonce_on(Forgetful()) as events:
        ours = QuickLab().run(program)
    assert seen(ours) == seen(stock)
    assert events.of("problem") == []


@given(programs(grids=[4], kinds=KINDS))
@SOME
def test_a_store_changes_no_launch_and_no_winner(program: Program) -> None:
    stock = QuickLab().run(program)
    store = MemoryStore()
    for start in ("cold", "warm"):
        with tuneonce_on(store) as events:
            ours = QuickLab().run(program)
        for our, their in zip(ours, stock, strict=True):
            assert our.outcome == their.outcome, start
            assert our.without("benchmark") == their.without("benchmark"), start
            assert our.best_config == their.best_config, start
            assert our.cache == their.cache, start
            assert len(our.events) <= len(their.events), start
        assert events.of("problem") == []
    assert events.of("measure") == []
