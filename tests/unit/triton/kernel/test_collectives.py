"""Kernels that wait for other GPUs are told by their source."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("triton")

import triton
import triton.language as tl

from tuneonce.triton.kernel.collectives import talks_to_others


@triton.jit
def alone(x, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    tl.store(x, BLOCK)


@triton.jit
def reduced(x, signal_pad_ptrs, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    tl.store(x, BLOCK)


@pytest.mark.parametrize(("kernel", "expected"), [(alone, False), (reduced, True)])
def test_what_a_kernel_names_tells(kernel: Any, expected: bool) -> None:
    tuner = triton.autotune([triton.Config({"BLOCK": 1})], [])(kernel)
    assert talks_to_others(tuner) is expected
