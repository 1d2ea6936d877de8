"""A launch whose key is known touches no file, no network, no environment and imports nothing."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("triton")

from tests.fakes import Children

SCRIPT = """
import json
import os
import sys

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


def audit(event, args):
    if watching:
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


def test_a_known_key_costs_no_input_or_output(children: Children) -> None:
    answer: Any = children.run(SCRIPT, TRITON_DEFAULT_FP_FUSION="1")
    assert (answer["tuned"], answer["tuned again"]) == (8, 0)
    stock = answer["seen"].pop("stock")
    for seen in answer["seen"].values():
        assert seen["audited"] == stock["audited"] == []
        # Triton asks for its own debug switch and the like.
        assert seen["environment"] <= stock["environment"]
