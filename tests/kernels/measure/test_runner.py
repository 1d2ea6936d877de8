"""Candidates that fail while they race, memory that is short, and what hooks do to buffers."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("triton")

import torch
import triton
from triton.runtime.errors import OutOfResources

from tests.fakes import journal_folder, measurements_left
from tests.kernels.equivalence_lab import OFF
from tests.kernels.jobs import make_add, make_scale
from tests.kernels.pool_lab import FOUR, SIZE, Tuner, autotuned, blocks, by_block, launch, tuner
from tuneonce.model.codec import decode
from tuneonce.model.records import Verdict, unpack
from tuneonce.store.memory import MemoryStore
from tuneonce.testing import SimulatedGPU
from tuneonce.triton.measure.device_timer import out_of_memory, timer_for

MIB = 1 << 20


def no_memory() -> torch.OutOfMemoryError:
    return torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def of_block(*sizes: int) -> Callable[[Any], bool]:
    return lambda launch: launch.constants["BLOCK"] in sizes


def launched(tuning: Tuner) -> set[int]:
    return {launch.constants["BLOCK"] for launch in tuning.gpu.launches}


def stored(store: MemoryStore) -> tuple[list[Verdict], dict[Any, Any]]:
    """The verdicts of a store, and why each candidate failed, by its block (None: it ran)."""
    verdicts: list[Verdict] = []
    measurements = measurements_left(journal_folder(store))
    for name in store.list(""):
        data = store.get(name)
        assert data is not None
        if name.endswith(".verdict.json"):
            verdicts.append(unpack(data, Verdict))
            measurements += verdicts[-1].measurements
    return verdicts, {decode(dict(m.config)["BLOCK"]): m.failed for m in measurements}


# -- memory ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        no_memory(),
        RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be ..."),
        RuntimeError("Triton Error [CUDA]: out of memory"),
        RuntimeError("HIP error: out of memory"),
    ],
)
def test_how_a_device_says_that_it_has_too_little_memory(error: Exception) -> None:
    assert out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        RuntimeError("my list is out of memory"),
        MemoryError("out of memory"),
        OutOfResources(2, 1, "shared memory"),
    ],
)
def test_what_else_programs_say_about_memory(error: Exception) -> None:
    assert not out_of_memory(error)


@pytest.fixture
def buffers(monkeypatch: pytest.MonkeyPatch) -> Callable[[SimulatedGPU, int], list[int]]:
    """Gives a device so many free MiB; the sizes of the buffers that it overwrites, in MiB."""

    def arrange(gpu: SimulatedGPU, free: int) -> list[int]:
        seen: list[int] = []

        def empty(size: int, **options: Any) -> Any:
            if size * 4 > free * MIB:
                raise no_memory()
            return ("buffer", size * 4 // MIB)

        monkeypatch.setattr(torch, "empty", empty)
        monkeypatch.setattr(gpu.driver, "get_empty_cache_for_benchmark", lambda: empty(64 * MIB))
        monkeypatch.setattr(gpu.driver, "clear_cache", lambda buffer: seen.append(buffer[1]))
        return seen

    return arrange


@pytest.mark.parametrize(
    ("free", "expected"), [(300, {256}), (200, {128}), (70, {64}), (32, {32}), (10, set())]
)
def test_the_buffer_against_a_warm_cache_is_as_large_as_fits(
    buffers: Any, free: int, expected: set[int]
) -> None:
    # Looks make tensors of their own.
    with tuner(workers=0, policies=OFF) as tuning:
        seen = buffers(tuning.gpu, free)
        assert launch(autotuned(make_add(), blocks(*FOUR))) == 512
        assert set(seen) == expected


def test_another_error_of_the_buffer_is_the_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise RuntimeError("CUDA error: no device")

    with tuner(workers=0) as tuning:
        monkeypatch.setattr(tuning.gpu.driver, "get_empty_cache_for_benchmark", broken)
        with pytest.raises(RuntimeError, match="no device"):
            launch(autotuned(make_add(), blocks(*FOUR)))


class Buffer:
    """Stands for memory that is held."""


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Callable[[SimulatedGPU], Callable[[], bool]]:
    """Gives a device a buffer; the function says whether that memory is held."""

    def arrange(gpu: SimulatedGPU) -> Callable[[], bool]:
        references: list[Any] = []

        def allocate() -> Buffer:
            buffer = Buffer()
            references.append(weakref.ref(buffer))
            return buffer

        monkeypatch.setattr(gpu.driver, "get_empty_cache_for_benchmark", allocate)
        return lambda: any(reference() is not None for reference in references)

    return arrange


@pytest.mark.parametrize("moment", ["launch", "load", "sample"])
def test_a_candidate_that_needs_our_memory_gets_it(
    held: Any, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    with tuner(workers=0) as tuning:
        is_held = held(tuning.gpu)
        if moment == "load":
            load = tuning.gpu.driver.utils.load_binary

            def load_binary(*args: Any) -> Any:
                if is_held() and tuning.gpu.loaded == 2:
                    raise RuntimeError("Triton Error [CUDA]: out of memory")
                return load(*args)

            monkeypatch.setattr(tuning.gpu.driver.utils, "load_binary", load_binary)
        else:
            met: list[int] = []

            def fails(launch: Any) -> bool:
                met.append(launch.constants["BLOCK"])
                enough = met.count(256) >= (1 if moment == "launch" else 3)
                return met[-1] == 256 and is_held() and enough

            tuning.gpu.fail(fails, no_memory)
        kernel = autotuned(make_add(), blocks(*FOUR))
        assert launch(kernel) == 512
        assert launched(tuning) == set(FOUR)
        assert all(times[0] < 1 for times in kernel.configs_timings.values())
        assert not is_held()
        assert tuning.events.problems() == []


def test_memory_is_given_back_after_each_key(held: Any) -> None:
    with tuner(workers=0) as tuning:
        is_held = held(tuning.gpu)
        kernel = autotuned(make_add(), blocks(*FOUR))
        assert timer_for(kernel) is not None
        launch(kernel)
        assert not is_held()


def test_a_candidate_that_does_not_fit_into_memory_is_passed_over() -> None:
    """And not tried again by the next start, over another list."""
    store = MemoryStore()
    kernel = make_add()
    with tuner(workers=0, store=store) as tuning:
        tuning.gpu.fail(of_block(512), no_memory)
        assert launch(autotuned(kernel, blocks(*FOUR))) == 256
    verdicts, failed = stored(store)
    assert len(verdicts) == 1
    reason = "OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."
    assert failed == {64: None, 128: None, 256: None, 512: reason}
    with tuner(workers=0, store=store) as tuning:
        assert launch(autotuned(kernel, blocks(*FOUR, 32 * 4, 8))) == 256
        assert 512 not in launched(tuning)


def test_if_none_fits_that_is_the_programs_error_and_nobodys_record() -> None:
    """As with stock Triton; and with memory the next start tunes as if nothing had been."""
    store = MemoryStore()
    kernel = make_add()
    with tuner(workers=0, store=store) as tuning:
        tuning.gpu.fail(of_block(*FOUR), no_memory)
        with pytest.raises(torch.OutOfMemoryError):
            launch(autotuned(kernel, blocks(*FOUR)))
    assert stored(store) == ([], {})
    with tuner(workers=0, store=store):
        assert launch(autotuned(kernel, blocks(*FOUR))) == 512


def test_copies_that_do_not_fit_are_not_the_candidates_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No candidate can be measured: the first of the list is used, and nothing is recorded."""
    store = MemoryStore()

    def clone(self: Any) -> Any:
        raise no_memory()

    with tuner(workers=0, store=store):
        kernel = autotuned(make_add(), blocks(*FOUR), restore_value=["out"])
        with monkeypatch.context() as patched:
            patched.setattr(torch.Tensor, "clone", clone)
            assert launch(kernel) == 64
    assert stored(store) == ([], {})


# -- other failures --------------------------------------------------------------------------


def test_a_candidate_that_does_not_fit_on_the_chip_is_recorded_with_its_reason() -> None:
    store = MemoryStore()
    kernel = make_add()
    with tuner(store=store) as tuning:
        tuning.gpu.fail(of_block(512))
        assert launch(autotuned(kernel, blocks(32, *FOUR))) == 256
    _, failed = stored(store)
    assert failed.pop(512).startswith("OutOfResources: out of resource: shared memory")
    assert failed.pop(32).startswith("CompileTimeAssertionFailure")
    assert failed == {64: None, 128: None, 256: None}


@pytest.mark.parametrize("workers", [0, 2])
def test_if_all_fail_the_program_hears_of_it_and_nothing_is_a_verdict(workers: int) -> None:
    store = MemoryStore()
    kernel = make_add()
    for start in range(2):
        with tuner(workers=workers, store=store) as tuning:
            tuning.gpu.fail(of_block(*FOUR))
            with pytest.raises(OutOfResources):
                launch(autotuned(kernel, blocks(*FOUR)))
            verdicts, failed = stored(store)
            assert verdicts == []
            assert len(failed) == 4
            if start:
                assert tuning.of("measure") == []


ILLEGAL = "CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be ..."


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_candidate_that_breaks_the_device_ends_the_tuning_once(nth: int) -> None:
    """At its first launch, or in its first look: the next process goes on without it."""
    store = MemoryStore()
    kernel = make_add()
    met: list[int] = []

    def breaks(launch: Any) -> bool:
        met.append(launch.constants["BLOCK"])
        return met[-1] == 256 and met.count(256) == nth

    with tuner(store=store) as tuning:
        tuning.gpu.fail(breaks, lambda: RuntimeError(ILLEGAL))
        with pytest.raises(RuntimeError, match="illegal memory access"):
            launch(autotuned(kernel, blocks(*FOUR)))
    verdicts, failed = stored(store)
    assert verdicts == []
    assert failed[256] == f"RuntimeError: {ILLEGAL.partition(chr(10))[0]}"
    with tuner(store=store) as tuning:
        assert launch(autotuned(kernel, blocks(*FOUR))) == 512
        assert 256 not in launched(tuning)


def test_an_error_of_the_programs_is_not_held_against_a_candidate() -> None:
    store = MemoryStore()
    kernel = make_add()
    with tuner(workers=0, store=store) as tuning:
        tuning.gpu.fail(of_block(256), lambda: ValueError("a hook of mine"))
        with pytest.raises(ValueError, match="a hook of mine"):
            launch(autotuned(kernel, blocks(*FOUR)))
    assert 256 not in stored(store)[1]


def test_failures_are_recorded_before_the_race_ends() -> None:
    """A process that is killed later does not lose them."""
    store = MemoryStore()
    with tuner(workers=0, store=store) as tuning:
        tuning.gpu.fail(of_block(64))
        seen: list[dict[Any, Any]] = []
        tuning.gpu.fail(
            lambda launch: bool(of_block(512)(launch) and seen.append(stored(store)[1]))
        )
        launch(autotuned(make_add(), blocks(*FOUR)))
    assert 64 in seen[0]


# -- hooks -----------------------------------------------------------------------------------


class Bench:
    """One kernel with hooks, tuned and launched; what was done to its buffers and hooks."""

    def __init__(self, **options: Any) -> None:
        self.x, self.out = torch.arange(float(SIZE)), torch.full((SIZE,), 5.0)
        self.notes: list[Any] = []
        configs = blocks(*FOUR)
        configs[3].pre_hook = lambda nargs: self.notes.append(("config", nargs["BLOCK"]))
        if options.pop("hooks", False):
            options["pre_hook"] = self.pre_hook
            options["post_hook"] = self.post_hook
        self.kernel = autotuned(make_scale(), configs, **options)

    def pre_hook(self, nargs: dict[str, Any], reset_only: bool = False) -> None:
        self.notes.append(("pre", reset_only, nargs["out"] is self.out, "BLOCK" in nargs))

    def post_hook(self, nargs: dict[str, Any], exception: Exception | None) -> None:
        self.notes.append(("post", type(exception).__name__, nargs["out"] is self.out))

    def ran(self, launch: Any) -> bool:
        """What a launch does to the buffer, on a device that computes nothing."""
        self.out += 1
        self.notes.append(("launch", launch.constants["BLOCK"]))
        return launch.constants["BLOCK"] == 128

    def run(self, gpu: SimulatedGPU) -> dict[str, Any]:
        gpu.fail(self.ran)
        grid = lambda meta: (triton.cdiv(SIZE, meta["BLOCK"]),)  # noqa: E731
        self.kernel[grid](self.x, self.out, SIZE)
        return {
            "out": self.out.tolist(),
            "kinds": set(self.notes),
            "end": self.notes[-3 if self.kernel.user_defined_pre_hook else -2 :],
            "winner": self.kernel.best_config.kwargs,
            "failed": sorted(
                config.kwargs["BLOCK"]
                for config, times in self.kernel.configs_timings.items()
                if times[0] == float("inf")
            ),
        }


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"hooks": True},
        {"reset_to_zero": ["out"]},
        {"restore_value": ["out"]},
        {"reset_to_zero": ["out"], "restore_value": ["x"]},
        {"hooks": True, "restore_value": ["out"]},
    ],
    ids=lambda options: "+".join(options) or "none",
)
def test_hooks_do_what_they_do_with_stock(options: dict[str, Any]) -> None:
    with SimulatedGPU(times=by_block) as gpu:
        stock = Bench(**options).run(gpu)
    with tuner() as tuning:
        ours = Bench(**options).run(tuning.gpu)
    if "hooks" in options or not options:
        # The buffer tells how many launches there were, which is not promised.
        del stock["out"], ours["out"]
    assert ours == stock
    assert stock["failed"] == [128]
    assert stock["winner"] == {"BLOCK": 512}
