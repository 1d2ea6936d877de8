"""What Triton's own cache of tuning results knows is taken over, and never harmed or trusted."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton")

import triton
from triton.runtime.autotuner import Autotuner

from tests.kernels.equivalence_gpu import Call, GpuLab, blocks, covering, make_copy, run_ours
from tests.kernels.equivalence_lab import Events
from tuneonce.store.memory import MemoryStore
from tuneonce.testing import SimulatedGPU
from tuneonce.triton.kernel import device_facts
from tuneonce.triton.kernel.autotuner_state import AutotunerState
from tuneonce.triton.kernel.session import Session
from tuneonce.triton.launch import stock_results

SIZES = (1024, 512, 1024)


def scenario(lab: GpuLab) -> Iterator[Call]:
    kernel = lab.autotune(make_copy(), blocks(64, 128, 256), ["n"])
    for n in SIZES:
        yield lambda n=n: kernel[covering(1024)](lab.x, lab.out, n)


@pytest.fixture(autouse=True)
def directory(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Triton's cache, with compiled kernels of the tests before and no tuning results."""
    shared = tmp_path_factory.getbasetemp() / "triton-of-takeover"
    for path in shared.glob("*/*.autotune.json"):
        shutil.rmtree(path.parent)
    monkeypatch.setenv("TRITON_CACHE_AUTOTUNING", "1")
    monkeypatch.setenv("TRITON_CACHE_DIR", str(shared))
    device_facts.forget()
    return shared


@pytest.fixture
def stock(directory: Path) -> list[Any]:
    """What stock Triton has seen that has left its results."""
    steps = GpuLab().run(scenario)
    assert [len(step.benchmarked) for step in steps] == [3, 3, 0]
    assert len(results(directory)) == 2
    return steps


def results(directory: Path) -> dict[Path, tuple[str, int]]:
    return {
        path: (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in directory.glob("*/*.autotune.json")
    }


def reasons(events: Events) -> list[tuple[str, Any]]:
    return [(one["outcome"], one["reason"]) for one in events.of("resolve")]


def test_the_winners_of_stock_without_a_tuning(stock: list[Any], directory: Path) -> None:
    left = results(directory)
    store = MemoryStore()
    ours, events = run_ours(scenario, store)
    assert reasons(events) == [("provisional", "stock_cache")] * 2
    assert events.of("tune") == events.of("measure") == events.of("problem") == []
    assert [step.benchmarked for step in ours] == [[]] * 3
    assert [step.best_config for step in ours] == [step.best_config for step in stock]
    assert [step.timings for step in ours] == [step.timings for step in stock]
    # The files are as they were, and stock still finds its results.
    assert results(directory) == left
    again = GpuLab().run(scenario)
    assert [step.benchmarked for step in again] == [[]] * 3


def test_the_next_start_has_it_from_our_store(stock: list[Any], directory: Path) -> None:
    store = MemoryStore()
    run_ours(scenario, store)
    for path in results(directory):
        path.unlink()
    ours, events = run_ours(scenario, store)
    assert reasons(events) == [("provisional", "stock_cache")] * 2
    assert [step.benchmarked for step in ours] == [[]] * 3
    assert [step.best_config for step in ours] == [step.best_config for step in stock]


def test_it_is_the_programs_own_candidate_that_runs(stock: list[Any]) -> None:
    ours, _ = run_ours(scenario, MemoryStore())
    assert all(about[0] in (0, 1, 2) for step in ours for _, about in step.cache[0])


def test_other_candidates_are_another_matter(stock: list[Any], directory: Path) -> None:
    def changed(lab: GpuLab) -> Iterator[Call]:
        kernel = lab.autotune(make_copy(), blocks(64, 128), ["n"])
        yield lambda: kernel[covering(1024)](lab.x, lab.out, 1024)

    ours, events = run_ours(changed, MemoryStore())
    assert [len(step.benchmarked) for step in ours] == [2]
    assert events.outcomes == ["miss"]


def one_key(of: str) -> Callable[[GpuLab], Iterator[Call]]:
    """A scenario of one launch, of what its name says."""

    def scenario(lab: GpuLab) -> Iterator[Call]:
        configs = blocks(64, 128)
        if of == "an empty key":
            kernel = lab.autotune(make_nothing(), configs, [])
            yield lambda: kernel[(4,)](1024)
        else:
            if of == "candidates with a pre-hook":
                configs[0].pre_hook = print
            kernel = lab.autotune(make_copy(), configs, ["n"])
            yield lambda: kernel[covering(1024)](lab.x, lab.out, 1024)

    return scenario


@pytest.mark.parametrize("of", ["candidates with a pre-hook", "an empty key"])
def test_what_stock_does_not_keep_is_tuned(of: str, directory: Path) -> None:
    unkept = one_key(of)
    GpuLab().run(unkept)
    assert results(directory) == {}
    store = MemoryStore()
    cold, events = run_ours(unkept, store)
    assert events.outcomes == ["miss"]
    assert [len(step.benchmarked) for step in cold] == [2]
    warm, events = run_ours(unkept, store)
    assert events.outcomes == ["hit"]
    assert [len(step.benchmarked) for step in warm] == [0]


def make_nothing() -> Any:
    @triton.jit
    def nothing(n, BLOCK: triton.language.constexpr):
        triton.language.arange(0, BLOCK)

    return nothing


# -- files that are not what they should be ------------------------------------------------------


def timed(change: Callable[[Any], Any]) -> Callable[[bytes], bytes]:
    """A file whose times are changed."""

    def damage(data: bytes) -> bytes:
        document = json.loads(data)
        for pair in document["configs_timings"]:
            pair[1] = change(pair[1])
        return json.dumps(document).encode()

    return damage


def configured(change: Callable[[dict[str, Any]], Any]) -> Callable[[bytes], bytes]:
    """A file whose candidates are changed."""

    def damage(data: bytes) -> bytes:
        document = json.loads(data)
        for pair in document["configs_timings"]:
            pair[0] = change(pair[0])
        return json.dumps(document).encode()

    return damage


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "truncated": lambda data: data[: len(data) // 2],
    "one byte short": lambda data: data[:-1],
    "not text": lambda data: b"\xff\xfe\x00" + data,
    "zeros": lambda data: bytes(len(data)),
    "a list": lambda data: b"[]",
    "null": lambda data: b"null",
    "no timings": lambda data: b'{"key": [1]}',
    "timings that are nothing": lambda data: b'{"configs_timings": null}',
    "timings that are none": lambda data: b'{"configs_timings": []}',
    "timings of nothing": lambda data: b'{"configs_timings": [1, 2, 3]}',
    "triples": lambda data: b'{"configs_timings": [[{}, [1], 2]]}',
    "very deep": lambda data: b'{"configs_timings": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "text for times": timed(lambda time: "fast"),
    "nothing for times": timed(lambda time: None),
    "no times": timed(lambda time: []),
    "nested times": timed(lambda time: [[time]]),
    "dictionaries for times": timed(lambda time: {"a": 1}),
    "times that are no numbers": timed(lambda time: [float("nan")] * 3),
    "endless times": timed(lambda time: [float("inf")] * 3),
    "times before time": timed(lambda time: [float("-inf")] * 3),
    "times beyond any float": timed(lambda time: [10**400] * 3),
    "fields that a candidate does not have": configured(lambda config: {**config, "evil": 1}),
    "fields that are missing": configured(lambda config: {}),
    "values that cannot be hashed": configured(lambda config: {**config, "kwargs": {"BLOCK": []}}),
    "candidates that are not ours": configured(lambda config: {**config, "kwargs": {"BLOCK": 512}}),
    "code in a candidate": configured(lambda config: {**config, "pre_hook": "__import__('os')"}),
    "candidates that are lists": configured(lambda config: list(config)),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_bad_file_costs_a_tuning_and_nothing_else(
    damage: str, stock: list[Any], directory: Path
) -> None:
    for path in results(directory):
        path.write_bytes(DAMAGES[damage](path.read_bytes()))
    left = results(directory)
    ours, events = run_ours(scenario, MemoryStore())
    assert [len(step.benchmarked) for step in ours] == [3, 3, 0]
    assert [step.best_config for step in ours] == [step.best_config for step in stock]
    assert events.outcomes == ["miss", "miss"]
    assert events.of("problem") == []
    assert results(directory) == left


def test_a_directory_in_place_of_a_file(stock: list[Any], directory: Path) -> None:
    for path in results(directory):
        path.unlink()
        path.mkdir()
    ours, events = run_ours(scenario, MemoryStore())
    assert [len(step.benchmarked) for step in ours] == [3, 3, 0]
    assert events.of("problem") == []


@pytest.mark.parametrize("lie", [-1.0, 0, True])
def test_a_lie_can_only_choose_among_the_candidates(
    lie: float, stock: list[Any], directory: Path
) -> None:
    for path in results(directory):
        document = json.loads(path.read_bytes())
        document["configs_timings"][2][1] = [lie] * 3
        document["configs_timings"][0][0]["kwargs"]["BLOCK"] = 4096
        path.write_text(json.dumps(document))
    ours, events = run_ours(scenario, MemoryStore())
    assert reasons(events) == [("provisional", "stock_cache")] * 2
    allowed = {(i, about) for i, about in enumerate(map(str, blocks(64, 128, 256)))}
    assert {step.best_config[0][:2] for step in ours} <= allowed


@pytest.mark.parametrize("error", [PermissionError, RecursionError, MemoryError, KeyError])
def test_what_triton_raises_costs_a_tuning(
    error: type[Exception], stock: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def check_disk_cache(self: Any, tuning_key: Any, configs: Any, bench_fn: Any) -> bool:
        raise error("no")

    monkeypatch.setattr(Autotuner, "check_disk_cache", check_disk_cache)
    ours, events = run_ours(scenario, MemoryStore())
    assert [len(step.benchmarked) for step in ours] == [3, 3, 0]
    assert events.of("problem") == []


# -- what we leave for stock -----------------------------------------------------------------------


def test_stock_finds_what_was_tuned_here(directory: Path) -> None:
    """Switched off, or in a container that kept nothing but Triton's cache."""
    ours, events = run_ours(scenario, MemoryStore())
    assert events.outcomes == ["miss", "miss"]
    assert len(results(directory)) == 2
    left = results(directory)
    after = GpuLab().run(scenario)
    assert [step.benchmarked for step in after] == [[]] * 3
    # Its own copies of the candidates, as read from the file.
    assert [about[1] for step in after for about in step.best_config] == [
        about[1] for step in ours for about in step.best_config
    ]
    assert results(directory) == left


def test_what_was_tuned_here_is_found_where_our_store_was_lost(directory: Path) -> None:
    first, _ = run_ours(scenario, MemoryStore())
    again, events = run_ours(scenario, MemoryStore())
    assert reasons(events) == [("provisional", "stock_cache")] * 2
    assert [step.benchmarked for step in again] == [[]] * 3
    assert [step.best_config for step in again] == [step.best_config for step in first]


def test_another_product_s_is_not_taken_over(directory: Path) -> None:
    """Stock's digest has the architecture in it, and not the product."""
    run_ours(scenario, MemoryStore())
    for path in results(directory):
        said = json.loads(path.read_text())
        path.write_text(json.dumps({**said, "tuneonce": {"world": "another"}}))
    _, events = run_ours(scenario, MemoryStore())
    assert events.outcomes == ["miss", "miss"]


@pytest.mark.parametrize(
    "of", ["a program that keeps none", "candidates with a pre-hook", "an empty key"]
)
def test_nothing_is_left_that_stock_would_not_leave(
    of: str, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if of == "a program that keeps none":
        monkeypatch.delenv("TRITON_CACHE_AUTOTUNING")

    _, events = run_ours(one_key(of), MemoryStore())
    assert len(events.of("tune")) == 1
    assert results(directory) == {}


def test_a_cache_that_cannot_be_written_costs_nothing(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from triton.runtime.cache import FileCacheManager

    def full(*args: Any, **kwargs: Any) -> Any:
        raise OSError(28, "No space left on device")

    run_ours(scenario, MemoryStore())  # compiles
    for path in results(directory):
        path.unlink()
    monkeypatch.setattr(FileCacheManager, "put", full)
    _, events = run_ours(scenario, MemoryStore())
    assert events.outcomes == ["miss", "miss"]
    assert events.of("problem") == []
    assert results(directory) == {}


def test_the_winner_is_what_stock_takes(directory: Path) -> None:
    """One that tied with the winner may have the lesser time."""
    configs = blocks(64, 128, 256)
    with SimulatedGPU():
        tuner = triton.autotune(configs, ["n"], cache_results=True)(make_copy())
        timings = dict(zip(configs, ([1.0] * 3, [0.99] * 3, [2.0] * 3), strict=True))
        session = Session(tuner, AutotunerState(), (64,), {}, (), {}, candidates=configs)
        session.timings, session.winner = timings, configs[0]
        stock_results.keep(session)
    (path,) = results(directory)
    said = json.loads(path.read_text())
    assert [config["kwargs"]["BLOCK"] for config, _ in said["configs_timings"]] == [64, 256]
