"""A candidate that ends every process that launches it."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton")

import torch
import triton

from tests.fakes import RememberedEvents
from tests.kernels.equivalence_gpu import blocks, covering, make_copy
from tuneonce.resolution.journal import Journals
from tuneonce.resolution.resolver import Resolver
from tuneonce.store.files import FileStore
from tuneonce.testing import SimulatedGPU
from tuneonce.triton.compile.workers import build_workers
from tuneonce.triton.launch.hook import Hook
from tuneonce.triton.launch.persistence import Persistence


def start(home: Path, lethal: int, own: bool) -> tuple[int, list[str]]:
    """One start in a process of its own: how it ended, and what it told of."""
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        # Triton 3.4 waits for a compiler's threads where its garbage is collected; a fork has none.
        gc.freeze()
        try:
            os.write(write, tune(home, lethal, own).encode())
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(3)
    os.close(write)
    with os.fdopen(read) as said:
        told = said.read().splitlines()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), told


def tune(home: Path, lethal: int, own: bool) -> str:
    def bench(call: Any, quantiles: Any) -> list[float]:
        call()
        return [1.0] * 3

    events: Any = RememberedEvents()
    journals = Journals(lambda: [home / "journal"])
    resolver = Resolver(FileStore(home / "store"), events, journals=journals)
    persistence = Persistence(resolver, events, True)
    module = triton.runtime.autotuner
    hook = Hook(module, persistence, build_workers(1, events), journals=journals)
    options = {"do_bench": bench} if own else {}
    with SimulatedGPU(do_bench=True, times=lambda one: float(one.constants["BLOCK"])) as gpu:
        gpu.fail(lambda one: one.constants["BLOCK"] == lethal, lambda: os._exit(77))
        hook.install()
        kernel = triton.autotune(blocks(256, 64, 128), ["n"], **options)(make_copy())
        kernel[covering(1024)](torch.zeros(1024), torch.zeros(1024), 1024)
        best = kernel.best_config.kwargs["BLOCK"]
    problems = [one["detail"] for one in events.seen if one["e"] == "problem"]
    return "\n".join([str(best), *problems])


@pytest.mark.parametrize("own", [False, True])
def test_a_candidate_that_ends_the_process_is_left_out_from_the_third_start_on(
    own: bool, tmp_path: Path
) -> None:
    starts = [start(tmp_path, 64, own) for _ in range(4)]
    assert [end for end, _ in starts] == [77, 77, 3, 3]
    assert [told[:1] for _, told in starts] == [[], [], *[["256" if own else "128"]] * 2]
    assert len(starts[2][1]) == 2
    assert "BLOCK=64" in starts[2][1][1]
    assert len(starts[3][1]) == 1
    assert list((tmp_path / "journal").iterdir()) == []
