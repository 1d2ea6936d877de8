"""Unmodified kernels of fla-core (flash-linear-attention), cold and then warm.

The Gated DeltaNet operator of Qwen3-Next, six autotuned kernels: one dense call and one packed
call, in two processes that share a store. The workload counts what Triton does by itself, without
us, so it cannot be deceived by our own events.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tests.fakes import ROOT, Children
from tuneonce.events import totals

WORKLOAD = ROOT / "benchmarks/fla_workload.py"
KERNELS = {
    "chunk_fwd_kernel_o",
    "chunk_gated_delta_rule_fwd_kernel_h_blockdim64",
    "chunk_gated_delta_rule_fwd_kkt_solve_kernel",
    "chunk_local_cumsum_scalar_kernel",
    "l2norm_fwd_kernel",
    "recompute_w_u_fwd_kernel",
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.thorough,  # as `third_party`, at all sizes
    pytest.mark.skipif(importlib.util.find_spec("fla") is None, reason="fla-core is not installed"),
]


def test_the_second_process_tunes_and_compiles_nothing(children: Children, tmp_path: Path) -> None:
    documents = []
    summaries = []
    for start in ("cold", "warm"):
        # Seeds differ: a second tuning would find other winners, so equal winners were kept.
        documents.append(
            children.run(
                WORKLOAD,
                *("--simulated", "--small", "--again", "1"),
                *("--seed", str(len(documents))),
                timeout=600,
                TUNEONCE="1",
                TUNEONCE_EVENTS=str(tmp_path / start),
            )
        )
        summaries.append(totals.summarise(tmp_path / start))
    cold, warm = documents

    assert set(cold["winners"]) == KERNELS
    assert cold["totals"]["candidates"] > 50
    assert summaries[0].compiles > 50  # in other processes, most of them
    assert summaries[0].tunes == cold["totals"]["tuned_keys"]
    assert summaries[0].candidates_measured == cold["totals"]["candidates"]

    assert warm["totals"]["tuned_keys"] == 0
    assert warm["totals"]["candidates"] == 0
    assert warm["totals"]["compiles"] == 0
    assert warm["totals"]["disk_loads"] > 0
    assert warm["winners"] == cold["winners"]
    tuned = summaries[1]
    assert (tuned.tunes, tuned.candidates_measured, tuned.compiles) == (0, 0, 0)
    assert tuned.hits + tuned.provisional == cold["totals"]["tuned_keys"]
    assert tuned.misses == 0
    assert tuned.problems == {}
