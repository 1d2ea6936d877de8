"""What `ready()` makes ready, and what it leaves out; nothing of it changes what is launched."""

from __future__ import annotations

import os
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton")

import torch
import triton

from tests.kernels.pool_lab import binaries
from tests.kernels.replay import replay_kernels
from tests.kernels.replay.replay_kernels import (
    N,
    plain,
    reads_a_constant,
    second,
    sizes,
    tune,
    with_heuristics,
    x,
)
from tests.kernels.replay.replay_lab import Program, empty_cache
from tuneonce.model.record_names import PROFILES
from tuneonce.replay import first_launch, warm_up
from tuneonce.replay.warm_up import together
from tuneonce.store.layered import LayeredStore
from tuneonce.store.memory import MemoryStore
from tuneonce.store.readonly import ReadOnlyStore
from tuneonce.triton.compile.workers import Compilation, Workers
from tuneonce.triton.seams import compiled

ALL = 5
"""How many variants `everything` has: of the tuned kernel, both keys have one."""


def everything() -> list[Any]:
    """What the program launches; returns the variants."""
    return [
        plain[(1,)](x(), 5, 2),
        plain[(2,)](x(torch.float16), 16, 3, num_warps=2),
        second[(1,)](x()[1:], 1 << 40, 2),
        with_heuristics[(1,)](x(), 4),
        tune(),
        tune(N // 2),
    ]


def compiled_never(patch: pytest.MonkeyPatch) -> list[Future[Any]]:
    """What the helpers are asked for from now on, and never do."""
    asked: list[Future[Any]] = []

    def never(self: Workers, pool: Any, shipment: Any, **how: Any) -> Compilation:
        asked.append(Future())
        return Compilation(asked[-1], None)

    patch.setattr(Workers, "compile", never)
    return asked


@pytest.fixture
def program() -> Program:
    """One that has been started once."""
    made = Program()
    with made.start() as start:
        everything()
        assert start.ready().variants == 0
    return made


def test_nothing_is_compiled_or_loaded_after_ready(program: Program) -> None:
    with program.start() as start:
        warmed = start.ready()
        assert (warmed.variants, warmed.compiled, warmed.left_out) == (ALL, 0, {})
        assert warmed.verdicts == 2
        assert start.gpu.loaded == ALL
        with start.nothing_compiled_or_loaded():
            everything()
        assert start.gpu.benchmarked == []
        assert [one["outcome"] for one in start.of("resolve")] == ["hit", "hit"]
    (said,) = start.of("replay")
    assert (said["variants"], said["verdicts"]) == (ALL, 2)


def test_a_profile_in_a_base_makes_the_first_start_ready(program: Program) -> None:
    own = MemoryStore()
    image = Program(LayeredStore(own, ReadOnlyStore(program.store), base="/opt/results"))
    with image.start() as start:
        assert start.ready().variants == ALL
        with start.nothing_compiled_or_loaded():
            everything()
        assert [one["outcome"] for one in start.of("resolve")] == ["hit", "hit"]
        assert start.of("problem") == []
    assert [name for name in own.list("") if not name.startswith(PROFILES)] == []


def test_what_is_launched_is_what_a_start_without_it_launches(program: Program) -> None:
    with program.start(budget_s=0.0) as start:
        assert start.ready().variants == 0
        codes = [one.asm for one in everything()]
    with program.start() as start:
        start.ready()
        assert [one.asm for one in everything()] == codes


def test_what_was_launched_before_ready_is_known(program: Program) -> None:
    with program.start() as start:
        everything()
        warmed = start.ready()
        assert (warmed.variants, warmed.known, warmed.left_out) == (0, ALL, {})


def test_what_is_made_ready_and_launched_counts_as_used(program: Program) -> None:
    with program.start() as start:
        start.ready()
        plain[(1,)](x(), 5, 2)
        plain[(1,)](x(), 5, 2)
    used = {
        (one.kernel.partition(":")[2], one.variant.get("const.[2]"))
        for one in program.profile().variants
        if "start2" in one.starts
    }
    assert used == {("plain", 2)}


@pytest.mark.parametrize("workers", [2, 0])
def test_what_has_no_binary_is_compiled_elsewhere_or_left(program: Program, workers: int) -> None:
    empty_cache()
    with program.start(workers=workers) as start:
        warmed = start.ready()
        if workers == 0:
            assert warmed.left_out == {"no_binary": ALL}
            return
        assert (warmed.variants, warmed.compiled, warmed.left_out) == (ALL, ALL, {})
        with start.nothing_compiled_or_loaded():
            everything()


def test_a_new_source_is_compiled_and_ready_at_this_start_and_the_next(program: Program) -> None:
    text = plain.src
    try:
        plain._unsafe_update_src(text.replace("n * SCALE", "n * SCALE + 1"))
        with program.start(workers=2) as start:
            assert start.ready().compiled == 2
            with start.nothing_compiled_or_loaded():
                assert "+ 1" in plain.src
                plain[(1,)](x(), 5, 2)
        # The profile names the binaries of both sources now.
        with program.start() as start:
            assert start.ready().left_out == {}
            with start.nothing_compiled_or_loaded():
                plain[(1,)](x(), 5, 2)
                plain[(2,)](x(torch.float16), 16, 3, num_warps=2)
    finally:
        plain._unsafe_update_src(text)


# -- what no start has launched -------------------------------------------------------------------


def sized(n: int, m: int = 7, scale: int = 2) -> Any:
    return sizes[(1,)](x(), n, m, scale).asm


@pytest.fixture
def kept(tmp_path: Path) -> Program:
    """A program whose binaries are kept, and whose requests had two sizes."""
    program = Program(kept=tmp_path / "kept")
    with program.start() as start:
        sized(5), sized(32, 48)
        start.ready()
    return program


def test_sizes_that_no_start_has_met_are_ready(
    kept: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warm_up, "_GUESSED_WITHIN_S", 60.0)
    with kept.start(workers=2, guesses=96) as start:
        warmed = start.ready()
        assert (warmed.variants, warmed.guessed, warmed.compiled) == (9, 7, 7)
        elsewhere = [one for one in start.of("compile") if one.get("ahead")]
        assert [one.get("within") for one in elsewhere] == ["replay"] * 7
        with start.nothing_compiled_or_loaded():
            codes = [sized(5, 48), sized(32, 7), sized(1, 48)]
    # These are variants like any others now; what was not launched is still a guess.
    assert kept.recorded() == ["sizes"] * 5
    empty_cache()
    with kept.start(guesses=96) as start:
        warmed = start.ready()
        assert (warmed.variants, warmed.guessed, warmed.left_out) == (9, 4, {})
        with start.nothing_compiled_or_loaded():
            sized(1, 1)
    with kept.start(budget_s=0.0) as start:
        assert [sized(5, 48), sized(32, 7), sized(1, 48)] == codes


def test_guesses_are_waited_for_no_longer_than_their_time(
    kept: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warm_up, "_GUESSED_WITHIN_S", 0.0)
    with kept.start(workers=2, guesses=96) as start:
        warmed = start.ready()
        assert (warmed.variants, warmed.guessed, warmed.left_out) == (2, 0, {})


def test_no_more_guesses_are_handed_out_than_are_compiled_at_once(
    kept: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = compiled_never(monkeypatch)
    monkeypatch.setattr(warm_up, "_GUESSED_WITHIN_S", 0.3)
    with kept.start(workers=3, guesses=96) as start:
        assert start.ready().guessed == 0
    assert len(asked) == 3


def test_so_many_guesses_are_made_at_most(kept: Program) -> None:
    with kept.start(workers=2, guesses=3) as start:
        assert start.ready().guessed == 3


def test_nothing_is_guessed_beside_a_program_that_says_nothing(kept: Program) -> None:
    with kept.start(workers=2, guesses=96) as start:
        sized(5)
        warmed = start.replay.warm(launched_only=True)
        assert (warmed.variants, warmed.guessed, warmed.compiled) == (1, 0, 0)


# -- what the program does besides -----------------------------------------------------------------


def test_a_kernel_that_nobody_would_see_change_is_left_until_it_is_launched(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    with program.start():
        reads_a_constant[(1,)](x(), 5)
    with program.start() as start:
        monkeypatch.setattr(first_launch, "fingerprint", lambda kernel: None)
        assert start.ready().left_out == {"may_change": ALL + 1}
        assert start.gpu.loaded == 0
    with program.start() as start:
        reads_a_constant[(1,)](x(), 5)  # from now on Triton holds to it
        assert start.ready().left_out == {"may_change": ALL}


def test_beside_the_program_only_what_is_launched_is_touched(program: Program) -> None:
    with program.start() as start:
        plain[(1,)](x(), 5, 2)
        warmed = start.replay.warm(launched_only=True)
        assert (warmed.variants, warmed.known) == (1, 1)  # the other variant of that kernel
        assert warmed.left_out == {"may_change": ALL - 2}
        assert second.pre_run_hooks == []
        with start.nothing_compiled_or_loaded():
            plain[(2,)](x(torch.float16), 16, 3, num_warps=2)


def test_what_runs_before_a_launch_is_not_run_by_us(program: Program) -> None:
    seen: list[Any] = []
    try:
        with program.start() as start:
            plain.add_pre_run_hook(lambda *args, **kwargs: seen.append(args))
            assert start.ready().left_out == {"hooked": 2}
            assert seen == []
            everything()
            assert len(seen) == 2
    finally:
        plain.pre_run_hooks.clear()


def test_a_hook_that_keeps_triton_from_compiling_keeps_us(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(triton.knobs.runtime, "jit_cache_hook", lambda **call: True)
    with program.start() as start:
        warmed = start.ready()
        assert warmed.variants == 0
        assert sum(warmed.left_out.values()) == ALL
        assert plain[(1,)](x(), 5, 2) is None


def test_a_hook_that_raises_after_a_compile_stops_nothing(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**call: Any) -> None:
        raise RuntimeError("not in production")

    with program.start() as start:
        with monkeypatch.context() as patch:
            patch.setattr(triton.knobs.runtime, "jit_post_compile_hook", refuse)
            assert start.ready().left_out == {"failed:RuntimeError": ALL}
        everything()


def test_kernels_that_are_gone_are_left(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(replay_kernels, "plain")
    monkeypatch.setattr(replay_kernels, "second", torch.nn.Linear)
    with program.start() as start:
        warmed = start.ready()
    assert (warmed.variants, warmed.left_out) == (2, {"not_loaded": 3})


def test_threads_that_launch_meanwhile(program: Program) -> None:
    failed: list[BaseException] = []
    over = threading.Event()

    def launches() -> None:
        try:
            while not over.is_set():
                everything()
        except BaseException as error:
            failed.append(error)

    with program.start() as start:
        threads = [threading.Thread(target=launches) for _ in range(3)]
        for thread in threads:
            thread.start()
        warmed = start.ready()
        over.set()
        for thread in threads:
            thread.join()
        assert (failed, warmed.left_out) == ([], {})
        assert warmed.variants + warmed.known == ALL
        assert start.gpu.loaded <= 4 * ALL  # each thread once at most, as in stock
        with start.nothing_compiled_or_loaded():
            everything()


def test_modules_are_loaded_onto_the_device_of_the_caller(program: Program) -> None:
    with program.start(gpu={"devices": 2}) as start:
        start.gpu.set_current_device(1)
        assert start.ready().variants == ALL
        assert start.gpu.thread.device == 1
        with start.nothing_compiled_or_loaded():
            everything()
        assert {launch.device for launch in start.gpu.launches} == {1}
        start.gpu.set_current_device(0)
        plain[(1,)](x(), 5, 2)
        assert start.gpu.loaded == ALL + 1


def test_a_variant_that_does_not_fit_the_device_is_left(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(one: Any) -> None:
        raise RuntimeError("out of resource: shared memory")

    with program.start() as start:
        with monkeypatch.context() as patch:
            patch.setattr(compiled, "load", refuse)
            assert start.ready().left_out == {"does_not_run": ALL}
        everything()


# -- time ------------------------------------------------------------------------------------------


def test_without_time_nothing_is_done(program: Program) -> None:
    with program.start(budget_s=0.0) as start:
        assert start.ready().variants == 0
        assert start.gpu.loaded == 0
        assert start.of("replay") == []


def test_what_is_used_most_comes_first_until_the_time_is_over(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    with program.start():
        second[(1,)](x()[1:], 1 << 40, 2)
        tune()
    now = 0.0
    load = compiled.load

    def take_a_second(one: Any) -> None:
        nonlocal now
        now += 1.0
        load(one)

    monkeypatch.setattr(warm_up, "usable_cpus", lambda: 1)
    monkeypatch.setattr(compiled, "load", take_a_second)
    with program.start(budget_s=1.5) as start:
        start.replay._warmer._clock = lambda: now
        warmed = start.ready()
        assert (warmed.variants, warmed.left_out) == (2, {"budget": ALL - 2})
        with start.nothing_compiled_or_loaded():
            second[(1,)](x()[1:], 1 << 40, 2)


def test_a_helper_that_hangs_is_not_waited_for_longer(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = compiled_never(monkeypatch)
    empty_cache()
    with program.start(workers=2, budget_s=0.5) as start:
        warmed = start.ready()
    assert warmed.variants == 0
    assert len(asked) == ALL
    assert not any(one.done() for one in asked)
    assert set(warmed.left_out) <= {"no_binary", "budget"}


def test_a_thread_that_never_ends_is_left_behind() -> None:
    over = threading.Event()
    together(over.wait, 3, 0.01)
    assert [one.name for one in threading.enumerate()].count("tuneonce-warm") == 3
    over.set()


def test_a_helper_that_is_lost_is_asked_once(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def lost(self: Workers, pool: Any, shipment: Any, **how: Any) -> Compilation:
        asked.append(shipment)
        raise OSError("no helper")

    monkeypatch.setattr(Workers, "compile", lost)
    empty_cache()
    with program.start(workers=2) as start:
        assert start.ready().left_out == {"no_binary": ALL}
        assert len(asked) == 1
        assert start.events.problems() == ["compile_helper_lost"]
        plain[(1,)](x(), 5, 2)


def test_the_cache_is_left_as_stock_leaves_it(program: Program, tmp_path: Path) -> None:
    cache = Path(os.environ["TRITON_CACHE_DIR"])
    before = binaries(cache)
    with program.start() as start:
        start.ready()
        everything()
    assert binaries(cache) == before
