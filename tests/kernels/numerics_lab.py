"""Kernels that compute, in Triton's interpreter, and are tuned as on a GPU.

The simulated GPU's clock says how long a launch took. Some candidates are wrong, each in its way.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any
from unittest.mock import patch

import pytest
import torch
import triton
import triton.language as tl
from triton.runtime.interpreter import InterpretedFunction

from tests.kernels.equivalence_lab import language_restored
from tuneonce.policies import Numerics, Policies
from tuneonce.resolution.resolver import Resolver
from tuneonce.testing import SimulatedGPU

ROWS, COLUMNS = 20, 64

OFF = Policies(numerics=Numerics.OFF)
# Nothing is compiled here, and a launch takes long: looking is most of a tuning.
CHECK = Policies(numerics=Numerics.CHECK, look_share=1.0)
BITS = Policies(numerics=Numerics.BITS, look_share=1.0)

# Ways to be wrong: the end is left out, or what is beyond it is not; two launches differ; sums
# begin anew; a block is the one before; it begins one too late.
HONEST, TAIL, MASK, RACE, ACCUMULATOR, STALE, SHIFTED = range(7)


def column_sums(
    x,
    out,
    calls,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    BLOCK: tl.constexpr,
    WRONG: tl.constexpr,
):  # type: ignore[no-untyped-def]
    """Of blocks of rows, so that each size of block rounds in its way.

    What a race comes to depends on `calls`. Most is known to Python, which is faster to interpret.
    """
    column = tl.arange(0, COLUMNS)
    zero = tl.full((COLUMNS,), 0.0, tl.float32)
    total = zero
    stale = zero
    for start in range(0, ROWS, BLOCK):
        part = zero
        for i in range(BLOCK):
            row = start + i
            end = ROWS
            if WRONG == 1:
                end = ROWS // BLOCK * BLOCK
            if WRONG == 2:
                end = row + 1
            if WRONG == 6:
                row += 1
            if row < end:
                part += tl.load(x + (column + row * COLUMNS))
        if WRONG == 4:
            total = part
        elif WRONG == 5:
            total += stale
        else:
            total += part
        stale = part
    if WRONG == 3:
        total *= 1 + tl.load(calls) % 2
    tl.store(out + column, total)


def add_to(x, out, n, BLOCK: tl.constexpr, WRONG: tl.constexpr):  # type: ignore[no-untyped-def]
    """In place."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = at < n
    if WRONG == 1:
        mask = at < n - BLOCK
    tl.store(out + at, tl.load(out + at, mask=mask) + tl.load(x + at, mask=mask), mask=mask)


def candidates(*ways: tuple[int, int], **options: Any) -> list[triton.Config]:
    """Of a block and a way to be wrong."""
    return [triton.Config({"BLOCK": block, "WRONG": wrong}, **options) for block, wrong in ways]


@contextlib.contextmanager
def ended_before_publishing() -> Iterator[None]:
    """A process that measures all candidates, and ends before it has published a winner."""

    class Ended(BaseException):
        pass

    with pytest.raises(Ended), patch.object(Resolver, "publish", side_effect=Ended):
        yield


class Bench:
    """One kernel under an autotuner. Each candidate takes half the time of the one before.

    So few launches are needed, since each takes a while to be interpreted.
    """

    def __init__(
        self,
        fn: FunctionType,
        ways: list[tuple[int, int]],
        gpu: SimulatedGPU,
        *,
        on_launch: Callable[[list[tuple[int, int]]], None] = lambda launched: None,
        hooks: dict[tuple[int, int], Callable[[Any], None]] | None = None,
        **options: Any,
    ) -> None:
        self.kernel = InterpretedFunction(fn)
        self.launched: list[tuple[int, int]] = []
        self._calls = itertools.count()
        self.won: tuple[int, int] | None = None
        """The winner of the last call of `sums`: the GPU takes the autotuner's own with it."""
        times = {way: 64.0 / 2**i for i, way in enumerate(ways)}
        stock = self.kernel.run

        def run(*args: Any, **meta: Any) -> Any:
            way = meta["BLOCK"], meta["WRONG"]
            self.launched.append(way)
            on_launch(self.launched)
            gpu.thread.clock_ms += times[way]
            with language_restored():
                return stock(*args, **meta)

        self.kernel.run = run
        configs = candidates(*ways)
        for config, way in zip(configs, ways, strict=True):
            config.pre_hook = (hooks or {}).get(way, self._count if way[1] == RACE else None)
        self.tuner = triton.autotune(configs, [], **options)(self.kernel)

    def _count(self, nargs: dict[str, Any]) -> None:
        nargs["calls"].fill_(next(self._calls))

    @property
    def winner(self) -> tuple[int, int]:
        chosen = self.tuner.best_config.kwargs
        return chosen["BLOCK"], chosen["WRONG"]

    @property
    def failed(self) -> set[tuple[int, int]]:
        """Those that count as if they did not run."""
        return {
            (config.kwargs["BLOCK"], config.kwargs["WRONG"])
            for config, times in self.tuner.configs_timings.items()
            if times[0] == float("inf")
        }

    def sums(self) -> Any:
        """Launch `column_sums`; what it wrote."""
        x = torch.rand(2 * ROWS * COLUMNS, generator=torch.Generator().manual_seed(0)) + 1
        out, calls = torch.zeros(COLUMNS), torch.zeros(1, dtype=torch.int32)
        self.tuner[(1,)](x, out, calls, ROWS, COLUMNS)
        self.won = self.winner
        return out
