"""A winner from the store that cannot run here costs the benefit, never the launch."""

from __future__ import annotations

from tests.fakes import Children
from tuneonce.events.totals import summarise

# The constant that decides what fits is not in `key=`, so both sizes have one key.
PROGRAM = """
import json, sys
import torch, triton, triton.language as tl
import tuneonce
from tuneonce.testing import SimulatedGPU

tuneonce.install()
gpu = SimulatedGPU(times=lambda launch: 1.0 / launch.constants["BLOCK"]).install()

@triton.autotune([triton.Config({"BLOCK": b}, num_warps=8) for b in (16, 64, 128)], key=["n"])
@triton.jit
def attention(q, k, o, n, D: tl.constexpr, BLOCK: tl.constexpr):
    r, d = tl.arange(0, BLOCK), tl.arange(0, D)
    a = tl.load(q + r[:, None] * D + d[None, :])
    b = tl.load(k + d[:, None] * BLOCK + r[None, :])
    tl.store(o + r[:, None] * BLOCK + r[None, :], tl.dot(a, b))

x = torch.ones(256 * 512, dtype=torch.float32)
for _ in range(2):
    attention[(1,)](x, x, x, 4096, D=int(sys.argv[1]))
print(json.dumps([attention.best_config.kwargs["BLOCK"], len(gpu.benchmarked), len(gpu.launches)]))
"""


def test_a_winner_that_does_not_fit(warm_children: Children) -> None:
    children = warm_children
    events = children.home / "events"
    block, measured, _ = children.run(PROGRAM, "16")
    assert (block, measured) == (128, 3)
    block, measured, _ = children.run(PROGRAM, "256", TUNEONCE_EVENTS=str(events))
    assert block < 128
    assert measured == 3
    totals = summarise(events)
    assert totals.problems == {"winner_does_not_run": 1}
    assert (totals.tunes, totals.hits) == (1, 1)
    # What fits here is this process's business: the verdict of the others stands.
    assert children.run(PROGRAM, "16")[:2] == [128, 0]
