"""Explorations in which something fails: a candidate, the program, we, or the whole process."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

pytest.importorskip("triton")

import triton

from tests.kernels.launch.test_exploration import (
    SIZES,
    exploring,
    run,
    served,
    tunable,
    verdicts,
)
from tuneonce.store.memory import MemoryStore
from tuneonce.testing import SimulatedGPU
from tuneonce.triton.kernel import device_facts

# What explores asks no more of a version of Triton than what is marked `every_version` does.
pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _compiled_once(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "compiled"))
    device_facts.forget()


def test_a_candidate_that_does_not_fit_costs_no_launch() -> None:
    store = MemoryStore()
    with SimulatedGPU(do_bench=True) as gpu, exploring(store) as process:
        gpu.fail(lambda launch: launch.constants["BLOCK"] in (32, 256))
        kernel = tunable()
        run(kernel)  # of 32, which is the first
        process.supplied()
        count = served(process, kernel)
        assert len(gpu.launches) == count + 1  # each call has launched something
    [verdict] = verdicts(store)
    failed = [dict(one.config)["BLOCK"][1] for one in verdict.measurements if one.failed]
    assert sorted(failed) == ["256", "32"]


def test_if_no_candidate_fits_the_error_is_the_launchs() -> None:
    with SimulatedGPU(do_bench=True) as gpu, exploring(MemoryStore()) as process:
        gpu.fail(lambda launch: True)
        with pytest.raises(triton.runtime.errors.OutOfResources):
            run(tunable(64, 128))
        assert process.keys == []


def test_an_error_of_the_program_is_the_launchs_and_ends_nothing() -> None:
    class Oops(Exception):
        pass

    with SimulatedGPU(do_bench=True) as gpu, exploring(MemoryStore()) as process:
        kernel = tunable(64, 128)
        run(kernel)
        process.supplied()
        broken = [True]
        gpu.fail(lambda launch: broken[0], Oops)
        for _ in range(20):
            with pytest.raises(Oops):
                run(kernel)
        broken[0] = False
        served(process, kernel)


def test_an_error_of_ours_ends_exploring_and_no_launch(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        SimulatedGPU(do_bench=True) as gpu,
        exploring(MemoryStore(), raise_errors=False) as process,
    ):
        kernel = tunable(64, 128)
        run(kernel)
        process.supplied()
        [key] = process.keys

        def broken(size: Any) -> Any:
            raise ZeroDivisionError

        monkeypatch.setattr(key.exploration, "choose", broken)
        run(kernel)
        run(kernel)
        assert len(gpu.launches) == 3
        assert len(kernel.cache) == 1
        assert [one["what"] for one in process.events.of("problem")] == ["internal_explore"]


def test_first_launches_are_named_until_they_are_over() -> None:
    """One that ends the process is known to the next start, as in a tuning."""
    with SimulatedGPU(do_bench=True), exploring(MemoryStore()) as process:
        kernel = tunable()
        run(kernel)
        [key] = process.keys
        assert key.session.journal is not None
        assert list(key._named) == [0]
        process.supplied()
        named = set()
        while len(key.exploration.rank()) < len(SIZES):
            run(kernel)
            assert len(set(key._named) - {0}) <= 1
            named |= set(key._named)
            process.settle()
        assert named | {0} == set(range(len(SIZES)))
        assert not key._named


def test_a_turn_that_comes_late_leaves_the_next_first_launch_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with SimulatedGPU(do_bench=True), exploring(MemoryStore()) as process:
        kernel = tunable()
        run(kernel)
        process.supplied()
        [key] = process.keys
        monkeypatch.setattr(process.explorations._background, "wake", lambda key: True)
        while len(key._named) < 2 or key.exploration.has_run(list(key._named)[-1]):
            run(kernel)
        latest = list(key._named)[-1]
        process.explorations._turn(key)
        assert list(key._named) == [latest]
        head = json.loads(os.pread(key.session.journal._file.fileno(), 4096, 0))
        assert head["launching"] == key.session.question.digests[latest]
