"""Starts of a program whose kernels take descriptors, whose blocks candidates set by hooks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton")

import torch
import triton
import triton.language as tl
from triton.tools.tensor_descriptor import TensorDescriptor

from tests.kernels.replay.replay_lab import Program, empty_cache

ROWS, COLUMNS = 64, 128


def _set_blocks(nargs: dict[str, Any]) -> None:
    nargs["source"].block_shape = [nargs["BLOCK"], 32]
    nargs["target"].block_shape = [nargs["BLOCK"], 32]


@triton.autotune(
    [triton.Config({"BLOCK": block}, num_warps=1, pre_hook=_set_blocks) for block in (4, 8, 16)],
    ["rows"],
)
@triton.jit
def tuned(source, target, rows, BLOCK: tl.constexpr):
    row = tl.program_id(0) * BLOCK
    target.store([row, 0], source.load([row, 0]) * 2)


@triton.jit
def adds(x, described, pair, n):
    i = tl.arange(0, 16)
    if described is not None:
        tl.store(x + i, described.load([n]))
    tl.store(x + i, pair[0].load([n]) + pair[1])


KERNELS = (tuned.fn, adds)
VARIANTS = 4


def descriptor(dtype: torch.dtype = torch.float16) -> Any:
    return TensorDescriptor.from_tensor(torch.zeros(ROWS, COLUMNS, dtype=dtype), [1, 16])


def line(dtype: torch.dtype = torch.float16) -> Any:
    return TensorDescriptor.from_tensor(torch.zeros(ROWS, dtype=dtype), [16])


def everything() -> list[Any]:
    x = torch.zeros(ROWS)
    return [
        tuned[lambda meta: (ROWS // meta["BLOCK"],)](descriptor(), descriptor(), ROWS),
        adds[(1,)](x, line(), (line(), 3), 5),
        adds[(1,)](x, None, (line(torch.int8), 1), 16),
        adds[(1,)](x, line(torch.bfloat16), (line(torch.float32), 2.5), 1),
    ]


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """One that has been started once."""
    made = Program(kept=tmp_path)
    with made.start(kernels=KERNELS) as start:
        everything()
        start.ready()
        assert start.of("profile") == []
    return made


def test_they_are_ready(program: Program) -> None:
    with program.start(kernels=KERNELS, budget_s=0.0):
        codes = [one.asm for one in everything()]
    with program.start(kernels=KERNELS) as start:
        warmed = start.ready()
        assert (warmed.variants, warmed.left_out, warmed.verdicts) == (VARIANTS, {}, 1)
        with start.nothing_compiled_or_loaded():
            assert [one.asm for one in everything()] == codes
        assert start.gpu.benchmarked == []


@pytest.mark.parametrize("kept", [True, False])
def test_after_the_cache_was_emptied(program: Program, kept: bool) -> None:
    """Their binaries are those that were kept, or compiled by others."""
    empty_cache()
    program.kept = program.kept if kept else None
    with program.start(kernels=KERNELS, workers=0 if kept else 2) as start:
        warmed = start.ready()
        compiled = 0 if kept else VARIANTS
        assert (warmed.variants, warmed.compiled, warmed.left_out) == (VARIANTS, compiled, {})
        with start.nothing_compiled_or_loaded():
            everything()
