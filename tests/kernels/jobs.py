"""Small kernels, and jobs that compile them elsewhere: what the compile pool and its helper get.

The kernels have a switch for each way in which a candidate can fail to compile. Nothing here needs
torch, whose import takes ten times as long as Triton's: programs that have no tensors do without.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget

from tuneonce.triton.compile.code_texts import CodeTexts
from tuneonce.triton.compile.shipment import Shipment, shipment_of

TARGET = GPUTarget("cuda", 90, 32)
OBEDIENT = Path(__file__).with_name("obedient_helper.py")
"""What to put in the place of `helper_process._PROGRAM` for jobs that say what a child `does`."""


def make_add() -> Any:
    """A kernel function; each call makes one that was never compiled in this process."""

    @triton.jit
    def add(x, out, n, BLOCK: tl.constexpr, ASM: tl.constexpr = "mov.b32 $0, $1;"):
        tl.static_assert(BLOCK != 32, "32 is too small")
        i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        value = tl.load(x + i, mask=i < n)
        value = tl.inline_asm_elementwise(
            ASM, "=r,r", [value], dtype=tl.float32, is_pure=True, pack=1
        )
        tl.store(out + i, value, mask=i < n)

    return add


def make_scale() -> Any:
    """Another kernel function."""

    @triton.jit
    def scale(x, out, n, BLOCK: tl.constexpr):
        i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        tl.store(out + i, tl.load(x + i, mask=i < n) * 2, mask=i < n)

    return scale


def job(block: int = 64, *, does: list[Any] | None = None, **options: Any) -> dict[str, Any]:
    """The compilation of one variant of `add`. `does`: see `obedient_helper`."""
    kernel = make_add()
    signature = {"x": "*fp32", "out": "*fp32", "n": "i32", "BLOCK": "constexpr", "ASM": "constexpr"}
    constants = {"BLOCK": block, "ASM": "mov.b32 $0, $1;"}
    source = triton.compiler.ASTSource(kernel, signature, constants)
    made = shipped(source, **options)
    assert made.job is not None, "it is in the cache already"
    return made.job if does is None else {**made.job, "does": does}


def shipped(source: Any, **options: Any) -> Shipment:
    """`source` on its way to a helper."""
    return shipment_of(source, TARGET, options, CodeTexts(), on_its_way=lambda binary: False)
