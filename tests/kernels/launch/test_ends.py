"""A program that ends after an error of its own says what it says with stock, and no more."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytest.importorskip("triton")

from tests.fakes import ROOT
from tests.kernels.warm import WarmPython

PROGRAM = """
import sys
import tuneonce
tuneonce.install()
import torch, triton, triton.language as tl
from tuneonce.testing import SimulatedGPU

@triton.autotune([triton.Config({"BLOCK": size}) for size in (64, 128, 256, 512)], key=["n"])
@triton.jit
def copy(x, out, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + i, tl.load(x + i, mask=i < n), mask=i < n)

gpu = SimulatedGPU(do_bench=sys.argv[1] == "race").install()
error = {"error": RuntimeError("CUDA error: an illegal memory access"),
         "interrupt": KeyboardInterrupt()}[sys.argv[2]]
seen = []
gpu.fail(lambda launch: seen.append(1) or len(seen) > int(sys.argv[3]), lambda: error)
x, out = torch.ones(1024), torch.zeros(1024)
try:
    copy[lambda meta: (triton.cdiv(1024, meta["BLOCK"]),)](x, out, 1024)
except BaseException as caught:
    kept = caught  # with its traceback, and all frames in it, until the interpreter ends
    print(type(caught).__name__)
"""


@pytest.mark.slow
@pytest.mark.parametrize("what", ["error", "interrupt"])
@pytest.mark.parametrize("how", ["race", "bench"])
def test_nothing_is_said_at_exit(
    how: str, what: str, tmp_path: Path, warm_python: WarmPython
) -> None:
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    env = {
        **os.environ,
        "TRITON_DEFAULT_FP_FUSION": "1",
        "TUNEONCE_WORKERS": "2",
        "TUNEONCE_STORE": str(tmp_path / "store"),
        "TUNEONCE_PROGRESS": "0",
        "TRITON_CACHE_DIR": str(tmp_path / "triton"),
        "PYTHONPATH": str(ROOT / "src"),
    }
    expected = {"error": "RuntimeError", "interrupt": "KeyboardInterrupt"}[what]
    for launches in ("0", "2"):
        done = warm_python.run(
            script, how, what, launches, env=env, cwd=tmp_path, told=tmp_path / "told", whole=True
        )
        assert (done.stdout.strip(), done.stderr, done.returncode) == (expected, "", 0)
