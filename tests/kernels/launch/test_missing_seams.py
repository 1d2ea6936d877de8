"""Without a seam what needs it is off, with a reason, and launches are as stock's."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton")

import triton

from tests.kernels.equivalence_gpu import (
    Call,
    GpuLab,
    blocks,
    covering,
    make_copy,
    run_ours,
    visible,
)
from tests.kernels.jobs import make_add
from tests.kernels.pool_lab import FOUR, autotuned, launch, tuner
from tests.kernels.pool_lab import blocks as sizes
from tuneonce.policies import Numerics, Policies
from tuneonce.store.memory import MemoryStore
from tuneonce.triton.kernel import device_facts
from tuneonce.triton.launch.observer import Observer
from tuneonce.triton.measure import device_timer
from tuneonce.triton.seams import table
from tuneonce.triton.seams.seam import Feature, Finding


@pytest.fixture(autouse=True)
def _compiled_once(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = tmp_path_factory.getbasetemp() / "triton-of-seams"
    monkeypatch.setenv("TRITON_CACHE_DIR", str(shared))
    device_facts.forget()


@pytest.fixture
def lacks(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Have Triton come without one seam, of which nothing else is known."""

    def take(name: str) -> None:
        changed = [
            dataclasses.replace(seam, probe=lambda: Finding.OTHER) if seam.name == name else seam
            for seam in table.SEAMS
        ]
        assert changed != list(table.SEAMS)
        monkeypatch.setattr(table, "SEAMS", tuple(changed))

    return take


def reasons(events: Any) -> list[str]:
    return [one["detail"] for one in events.seen if one.get("what") == "seam_missing"]


def scenario(lab: GpuLab) -> Iterator[Call]:
    kernel = lab.autotune(make_copy(), blocks(64, 128, 256), ["n"])
    for n in (1024, 512, 1024):
        yield lambda n=n: kernel[covering(1024)](lab.x, lab.out, n)
    yield lambda: kernel.run(lab.x, lab.out, 256, grid=(4,), warmup=True)
    yield lambda: kernel[covering(1024)](lab.x, lab.out, 256)


@pytest.mark.parametrize(
    "feature", [one for one in Feature if one is not Feature.HOOK], ids=lambda one: one.name
)
def test_a_launch_is_as_stock_whatever_is_off(
    monkeypatch: pytest.MonkeyPatch, lacks: Any, feature: Feature
) -> None:
    # A tuning of an empty cache each: what Triton has compiled is found by all.
    everything_on, _ = run_ours(scenario, MemoryStore())
    lacks(next(s.name for s in table.needed_by(feature) if Feature.HOOK not in s.needed_by))
    policies = Policies(numerics=Numerics.CHECK) if feature is Feature.NUMERICS else None
    ours, events = run_ours(scenario, MemoryStore(), policies=policies)
    assert visible(ours) == visible(everything_on)
    told = [one["detail"] for one in events.of("problem")]
    assert all(one["what"] == "seam_missing" for one in events.of("problem"))
    assert len(told) == len(set(told))


def test_without_the_compile_pool_the_program_compiles(
    lacks: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    lacks("JITFunction.device_caches, compile")
    with tuner() as tuning:
        assert launch(autotuned(make_add(), sizes(*FOUR))) == 512
        assert launch(autotuned(make_add(), sizes(*FOUR)), 512) == 512
        assert (tuning.ahead, tuning.started) == (0, False)
        assert tuning.here >= 4
        assert reasons(tuning.events) == ["compile pool: JITFunction.device_caches, compile"]
        assert set(tuning.events.problems()) == {"seam_missing"}


def test_with_all_seams_it_is_compiled_elsewhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    with tuner() as tuning:
        assert launch(autotuned(make_add(), sizes(*FOUR))) == 512
        assert tuning.started
        assert tuning.events.problems() == []


def test_without_the_device_timer_bench_measures_every_candidate(
    lacks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    monkeypatch.setattr(device_timer, "DeviceTimer", made.append)
    lacks("driver.clear_cache")
    store = MemoryStore()
    with tuner(store=store) as tuning:
        kernel = autotuned(make_add(), sizes(*FOUR))
        assert launch(kernel) == 512
        assert len(kernel.configs_timings) == 4
        assert reasons(tuning.events) == ["device timer: driver.clear_cache"]
        assert len([one for one in tuning.events.seen if one["e"] == "measure"]) == 4
    assert made == []
    # What was measured so answers at the next start, where there is none either.
    with tuner(store=store) as tuning:
        assert launch(autotuned(make_add(), sizes(*FOUR))) == 512
        assert [one["outcome"] for one in tuning.of("resolve")] == ["hit"]


@pytest.mark.parametrize("name", ["Autotuner._do_bench", "Autotuner.do_bench"])
def test_a_benchmark_function_that_cannot_be_told_is_asked_and_its_results_are_not_kept(
    lacks: Any, name: str
) -> None:
    asked: list[Any] = []

    def mine(call: Any, quantiles: Any) -> list[float]:
        call()
        asked.append(quantiles)
        return [1.0, 1.0, 1.0]

    lacks(name)
    store = MemoryStore()
    with tuner(store=store) as tuning:
        assert launch(autotuned(make_add(), sizes(*FOUR), do_bench=mine)) == 64
        assert len(asked) == 4
        assert launch(autotuned(make_add(), sizes(*FOUR))) == 512
        assert sorted(reasons(tuning.events)) == [
            f"benchmark functions: {name}",
            f"device timer: {name}",
            f"stored results: {name}",
        ]
    assert list(store.list("")) == []


def results_of(directory: Path) -> dict[str, bytes]:
    found = directory.glob("*/*.autotune.json")
    return {str(path): path.read_bytes() for path in found}


def test_without_stocks_files_none_is_taken_over_or_written(
    lacks: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TRITON_CACHE_AUTOTUNING", "1")
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    lacks("autotuner.hashlib")
    ours, events = run_ours(scenario, MemoryStore())
    assert results_of(tmp_path) == {}
    assert reasons(events) == ["stock results files: autotuner.hashlib"]
    stock = GpuLab().run(scenario)
    left = results_of(tmp_path)
    assert left
    again, events = run_ours(scenario, MemoryStore())
    assert results_of(tmp_path) == left
    assert [len(step.benchmarked) for step in again] == [len(step.benchmarked) for step in ours]
    # Stock also keeps what a launch that only compiles has measured.
    assert [step.best_config for step in again][:3] == [step.best_config for step in stock][:3]


def test_without_an_identity_nothing_is_stored(lacks: Any) -> None:
    lacks("triton_key")
    store = MemoryStore()
    with tuner(store=store) as tuning:
        assert launch(autotuned(make_add(), sizes(*FOUR))) == 512
        (resolved,) = tuning.of("resolve")
        assert (resolved["outcome"], resolved["reason"]) == ("not_persisted", "seam_missing")
        assert "stored results: triton_key" in reasons(tuning.events)
    assert list(store.list("")) == []


def test_without_variants_nothing_is_known_to_compile_ahead(lacks: Any) -> None:
    lacks("language.core.dtype")
    store = MemoryStore()
    with tuner(store=store) as tuning:
        assert launch(autotuned(make_add(), sizes(*FOUR))) == 512
        assert "variants: language.core.dtype" in reasons(tuning.events)
    assert not [name for name in store.list("") if "variants" in name]


def test_an_observer_without_its_seams_counts_nothing(lacks: Any) -> None:
    lacks("Autotuner.base_fn")
    with tuner() as tuning:
        tuning.hook.uninstall()
        before = dict(vars(triton.runtime.autotuner.Autotuner))
        observer = Observer(triton.runtime.autotuner, tuning.events)
        assert not observer.install()
        assert dict(vars(triton.runtime.autotuner.Autotuner)) == before
        assert "observer: Autotuner.base_fn" in reasons(tuning.events)
        observer.uninstall()
