"""Equal to stock Triton over processes, with everything as a user has it: install, file store."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("triton")

from tests.fakes import Children

SCRIPT = """
import contextlib
import io
import json
import os
import re

import torch
import triton
import triton.language as tl

import tuneonce
from tuneonce.testing import SimulatedGPU


def note_block(arguments):
    hooked.append(arguments["BLOCK"])


hooked, told = [], []
configs = [
    triton.Config({"BLOCK": 64}, pre_hook=note_block),
    triton.Config({"BLOCK": 128}, num_warps=2),
    triton.Config({"BLOCK": 256}, num_warps=8, num_stages=2),
]


@triton.autotune(configs, key=["n", "mode"], restore_value=["out"])
@triton.heuristics({"even": lambda arguments: arguments["n"] % arguments["BLOCK"] == 0})
@triton.jit
def scale(x, out, n, mode: tl.constexpr, even: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    if even:
        tl.store(out + i, tl.load(x + i))
    else:
        tl.store(out + i, tl.load(x + i, mask=i < n), mask=i < n)


if os.environ["ARM"] == "tuneonce":
    assert tuneonce.install()
if hasattr(triton.knobs.autotuning, "listener"):
    triton.knobs.autotuning.listener = lambda **call: told.append(
        (str(call["key"]), str(call["best_config"]), call["cache_hit"])
    )
x, out = torch.arange(1024.0), torch.zeros(1024)
printed, calls = io.StringIO(), []
with SimulatedGPU() as gpu, contextlib.redirect_stdout(printed):
    for n, mode in ((1024, "a"), (1000, "a"), (1024, "b"), (1024, "a")):
        gpu.forget()
        scale[lambda meta: (triton.cdiv(n, meta["BLOCK"]),)](x, out, n, mode=mode)
        measured = len(gpu.benchmarked)
        calls.append({
            "measured": measured,
            "launched": [(one.candidate, one.grid) for one in gpu.launches[measured:]],
            "best": str(scale.best_config),
            "timings": [(str(one), t) for one, t in scale.configs_timings.items()],
            "cache": [(str(key), str(config)) for key, config in scale.cache.items()],
        })
text = re.sub(r"after [0-9.]+s", "after 0s", printed.getvalue())
print(json.dumps({"calls": calls, "printed": text, "told": told, "hooked": hooked}))
"""


@pytest.mark.slow
def test_a_first_start_is_stock_and_a_second_one_measures_nothing(warm_children: Children) -> None:
    def start(arm: str) -> Any:
        return warm_children.run(
            SCRIPT,
            ARM=arm,
            TRITON_PRINT_AUTOTUNING="1",
            TRITON_DEFAULT_FP_FUSION="1",
            TUNEONCE_NUMERICS="off",  # looks are launches, too
        )

    stock, cold, warm = start("stock"), start("tuneonce"), start("tuneonce")
    assert cold == stock
    assert [call.pop("measured") for call in stock["calls"]] == [3, 3, 3, 0]
    assert [call.pop("measured") for call in warm["calls"]] == [0, 0, 0, 0]
    assert warm["calls"] == stock["calls"]
    assert warm["printed"] == ""
    assert [(key, best) for key, best, _ in warm["told"]] == [
        (key, best) for key, best, _ in stock["told"]
    ]
    assert all(cache_hit for _, _, cache_hit in warm["told"])
    assert warm["hooked"] == [64 for call in warm["calls"] if call["best"].startswith("BLOCK: 64,")]
