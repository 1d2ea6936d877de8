"""A candidate that takes the device down is not tried again by the next process."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes import Children
from tuneonce.events.totals import summarise

pytest.importorskip("triton")

PROGRAM = """
import json, os
import triton, triton.language as tl
import tuneonce

tuneonce.install()

class OutOfMemoryError(RuntimeError):
    pass

def bench(call, quantiles):
    call()
    if block == 32 and os.environ["ERROR"] == "memory":
        raise OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
    if block == 32 and os.environ["ERROR"] == "context":
        raise RuntimeError("Triton Error [CUDA]: an illegal memory access was encountered")
    if block == 32 and os.environ["ERROR"] == "program":
        raise RuntimeError("Triton kernel JIT compilation detected after warm-up")
    return [1.0, 1.0, 1.0]

@triton.autotune([triton.Config({"B": b}) for b in (16, 32, 64)], key=["n"], do_bench=bench)
@triton.jit
def kernel(n, B: tl.constexpr):
    tl.program_id(0) * B + n

stock_bench = type(kernel)._bench
def note(self, *args, config, **meta):
    global block
    block = config.kwargs["B"]
    return stock_bench(self, *args, config=config, **meta)
type(kernel)._bench = note

try:
    kernel[(1,)](1)
    outcome = kernel.best_config.kwargs["B"]
except RuntimeError as error:
    outcome = str(error)
print(json.dumps({"outcome": outcome}))
"""


@pytest.mark.parametrize("error", ["memory", "context"])
def test_the_next_process_goes_on_without_it(tmp_path: Path, error: str) -> None:
    children = Children(tmp_path, {"TRITON_INTERPRET": "1", "ERROR": error})
    first = children.run(PROGRAM, TUNEONCE_EVENTS=str(tmp_path / "first"))
    assert "CUDA" in first["outcome"]
    second = children.run(PROGRAM, TUNEONCE_EVENTS=str(tmp_path / "second"))
    assert second["outcome"] == 16
    totals = summarise(tmp_path / "second")
    assert (totals.candidates_measured, totals.tunes) == (1, 1)


def test_an_error_that_says_nothing_about_the_candidate_is_not_kept(tmp_path: Path) -> None:
    children = Children(tmp_path, {"TRITON_INTERPRET": "1"})
    first = children.run(PROGRAM, ERROR="program")
    assert "warm-up" in first["outcome"]
    second = children.run(PROGRAM, ERROR="none", TUNEONCE_EVENTS=str(tmp_path / "second"))
    assert second["outcome"] == 16
    assert summarise(tmp_path / "second").candidates_measured == 2
