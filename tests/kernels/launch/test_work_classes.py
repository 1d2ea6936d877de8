"""One key, several sizes of launch: each work class has its own winner, and nobody waits for it."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("triton")

import torch
import triton
import triton.language as tl
from triton.runtime.errors import OutOfResources

from tests.kernels.equivalence_gpu import blocks
from tests.kernels.launch.test_exploration import Process, exploring, verdicts
from tuneonce.policies import OnMiss, Policies
from tuneonce.store.memory import MemoryStore
from tuneonce.testing import SimulatedGPU
from tuneonce.triton.compile import supply, workers
from tuneonce.triton.kernel import device_facts, known_winners
from tuneonce.triton.kernel.sizes import size_of
from tuneonce.triton.launch import hook

SIZES = (32, 64, 128, 256)
X, OUT = torch.zeros(64), torch.zeros(64)
SMALL, LARGE, HUGE = 64, 100_000, 6_000_000


@pytest.fixture(autouse=True)
def _compiled_once(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "compiled"))
    device_facts.forget()


def tunable() -> Any:
    @triton.jit
    def copy(x, out, n, BLOCK: tl.constexpr):
        i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        tl.store(out + i, tl.load(x + i, mask=i < n), mask=i < n)

    # Its key holds nothing: the first size that is met decides for all, in stock Triton.
    return triton.autotune(blocks(*SIZES), [])(copy)


def best(n: int) -> int:
    """The block that is the fastest for so many elements."""
    return 32 if n < 1000 else 128 if n < 1_000_000 else 256


def times(launch: Any) -> float:
    block = launch.constants["BLOCK"]
    n = launch.grid[0] * block
    return 0.01 * (1 + n / 1e6) * (1.0 if block == best(n) else 1.5)


def run(kernel: Any, n: int) -> int:
    """Launch; the block that ran."""
    kernel[lambda meta: (triton.cdiv(n, meta["BLOCK"]),)](X, OUT, n)
    block: int = kernel.best_config.kwargs["BLOCK"]
    return block


@contextlib.contextmanager
def process(
    store: Any, *, workers: int = 2, **policies: Any
) -> Iterator[tuple[Process, SimulatedGPU]]:
    """A process that tunes while it starts, and explores while it serves."""
    with (
        SimulatedGPU(do_bench=True, noise=0.02, times=times) as gpu,
        exploring(store, workers=workers, policies=Policies(**policies)) as one,
    ):
        yield one, gpu


def serve(one: Process) -> None:
    one.hook._cold_path._phases.serve()


def learned(one: Process, kernel: Any, n: int, most: int = 3000) -> int:
    """Launch until the class of this size has a winner of its own; how often that was."""
    for number in range(1, most + 1):
        run(kernel, n)
        one.settle()
        if not any(classes.exploring for classes in kernel._tuneonce_state.classes.values()):
            return number
    raise AssertionError("there is no winner")


def test_while_it_starts_each_class_is_tuned_when_it_is_met_and_keeps_its_winner() -> None:
    store = MemoryStore()
    with process(store) as (one, gpu):
        kernel = tunable()
        assert [run(kernel, n) for n in (SMALL, LARGE, HUGE)] == [32, 128, 256]
        tunes = one.events.of("tune")
        assert [tune["work_class"] for tune in tunes] == ["c00e02", "c05e00", "c08e00"]
        gpu.forget()
        again = [run(kernel, n) for n in (LARGE, SMALL, HUGE, SMALL, LARGE)]
        assert again == [128, 32, 256, 32, 128]
        assert len(gpu.launches) == 5
        # Another size of a class that is known is another launch of it, and nothing else.
        assert [run(kernel, n) for n in (SMALL + 1, LARGE + 1)] == [32, 128]
        assert len(one.events.of("tune")) == 3
    found = {verdict.work_class: verdict for verdict in verdicts(store)}
    assert found.keys() == {"c00e02", "c05e00", "c08e00"}


def test_what_an_earlier_hook_knew_is_gone_with_it() -> None:
    kernel = tunable()
    for by_class in (True, False, True):  # the second has met the kernel already
        with process(MemoryStore(), work_classes=by_class):
            kernel.cache.clear()
            assert [run(kernel, n) for n in (SMALL, LARGE)] == [32, 128 if by_class else 32]


def test_what_is_known_of_one_class_shortens_the_next() -> None:
    with process(MemoryStore()) as (one, _):
        kernel = tunable()
        run(kernel, LARGE)
        run(kernel, LARGE * 4)  # the next class
        first, second = one.events.of("tune")
        assert second["measured"] <= first["measured"]


# Of the classes below and above that of LARGE, where all have the same winner.
LESS, MORE = LARGE // 4, LARGE * 4


def test_between_two_classes_a_race_leaves_out_who_could_not_win() -> None:
    store = MemoryStore()
    with process(store) as (one, _):
        kernel = tunable()
        for n in (LESS, MORE):
            run(kernel, n)
        assert run(kernel, LARGE) == 128
        assert one.events.of("tune")[2]["measured"] == len(SIZES) - 1
        assert one.events.of("tune")[2]["candidates"] == len(SIZES)
    # Nor does the record say that it failed, or was measured.
    [verdict] = [v for v in verdicts(store) if v.work_class.startswith("c05")]
    assert len(verdict.candidates) == len(SIZES)
    assert len(verdict.measurements) == len(SIZES) - 1
    assert not any(m.failed for m in verdict.measurements)


@pytest.mark.parametrize("again", [False, True], ids=["known here", "known to the store"])
def test_between_two_classes_traffic_leaves_out_who_could_not_win(again: bool) -> None:
    store = MemoryStore()
    with contextlib.ExitStack() as stack:
        one, _ = stack.enter_context(process(store))
        kernel = tunable()
        for n in (LESS, MORE):
            run(kernel, n)
        if again:
            stack.close()
            one, _ = stack.enter_context(process(store))
            kernel = tunable()
            run(kernel, MORE)
        serve(one)
        run(kernel, LARGE)
        learned(one, kernel, LARGE)
        assert run(kernel, LARGE) == 128
        [told] = one.told("verdict")
        assert (told["candidates"], told["held_back"]) == (len(SIZES), 1)
        assert (told["untried"], told["failed"]) == (0, 0)
        one.settle()
    [verdict] = [v for v in verdicts(store) if v.work_class.startswith("c05")]
    assert len(verdict.measurements) == len(SIZES) - 1
    assert not any(m.failed for m in verdict.measurements)


@pytest.mark.parametrize("policy", [OnMiss.BORROW, OnMiss.EXPLORE])
@pytest.mark.parametrize(
    ("known", "runs"),
    # The nearest, of two the larger; or a third one that is close to both.
    [((LESS, MORE), 128), ((LESS, MORE, 64 * MORE), 64)],
    ids=["two", "three"],
)
def test_between_two_classes_the_winner_that_is_the_likeliest_runs_at_once(
    policy: OnMiss, known: tuple[int, ...], runs: int
) -> None:
    behind = {32: (1.0, 1.5, 1.5), 64: (1.1, 1.1, 1.0), 128: (1.5, 1.0, 1.5), 256: (2.0, 2.0, 2.0)}

    def made_up(launch: Any) -> float:
        block = launch.constants["BLOCK"]
        n = launch.grid[0] * block
        place = 0 if n < 2 * LESS else 1 if n < 2 * MORE else 2
        return 0.01 * (1 + n / 1e6) * behind[block][place]

    with (
        SimulatedGPU(do_bench=True, noise=0.005, times=made_up) as gpu,
        exploring(MemoryStore(), policies=Policies(serving=policy)) as one,
    ):
        kernel = tunable()
        assert [run(kernel, n) for n in known] == [32, 128, 64][: len(known)]
        serve(one)
        one.compiled_here.clear()
        gpu.forget()
        asked = len(one.events.of("resolve"))
        assert run(kernel, LARGE) == runs
        # Nothing else is launched or compiled, and no store is asked, by this launch.
        assert len(gpu.launches) == 1
        assert one.compiled_here == []
        if policy is OnMiss.BORROW:
            assert len(one.events.of("resolve")) == asked


def test_the_second_start_has_every_class_from_its_first_launch() -> None:
    store = MemoryStore()
    with process(store):
        kernel = tunable()
        for n in (SMALL, LARGE, HUGE):
            run(kernel, n)
    with process(store) as (one, gpu):
        kernel = tunable()
        assert [run(kernel, n) for n in (SMALL, LARGE, HUGE)] == [32, 128, 256]
        assert len(gpu.launches) == 3
        assert one.events.of("tune") == []
        assert [e["outcome"] for e in one.events.of("resolve")] == ["hit"] * 3


def test_while_it_serves_a_new_class_runs_the_nearest_winner_and_its_traffic_tunes_it() -> None:
    store = MemoryStore()
    with process(store) as (one, gpu):
        kernel = tunable()
        run(kernel, SMALL)
        serve(one)
        one.compiled_here.clear()
        gpu.forget()
        assert run(kernel, LARGE) == 32  # the winner of the class that is known, at once
        assert len(gpu.launches) == 1
        assert one.compiled_here == []
        learned(one, kernel, LARGE)
        assert run(kernel, LARGE) == 128
        assert run(kernel, SMALL) == 32
        assert one.events.of("tune")[1:] == []
        assert one.compiled_here == []
    assert {v.work_class: v.origin for v in verdicts(store)} == {
        "c00e02": "measured",
        "c05e00": "explored",
    }


def test_what_the_winner_of_a_size_gains_is_told() -> None:
    with process(MemoryStore()) as (one, _):
        kernel = tunable()
        run(kernel, SMALL)
        run(kernel, LARGE)
        serve(one)
        run(kernel, HUGE)
        learned(one, kernel, HUGE)
        first, second = one.events.of("tune")
        assert "gained" not in first
        assert second["instead_of"].startswith("BLOCK=32 ")
        assert second["gained"] == pytest.approx(1 / 3, abs=0.05)
        [told] = one.told("verdict")
        assert (told["instead_of"][:9], told["winner"][:9]) == ("BLOCK=128", "BLOCK=256")
        assert told["gained"] == pytest.approx(1 / 3, abs=0.05)


def test_a_warm_up_of_another_size_does_not_decide_for_the_next_start() -> None:
    store = MemoryStore()
    with process(store) as (one, _):
        kernel = tunable()
        run(kernel, SMALL)  # a warm-up
        serve(one)
        run(kernel, LARGE)
        learned(one, kernel, LARGE)
    with process(store) as (one, gpu):
        kernel = tunable()
        run(kernel, SMALL)
        serve(one)
        gpu.forget()
        # The store is asked beside the launches: a few at most run the winner of the warm-up.
        run(kernel, LARGE)
        one.settle()
        assert [run(kernel, LARGE) for _ in range(3)] == [128] * 3
        assert one.told("begin") == []


def test_what_the_store_knows_of_a_class_is_loaded_before_a_launch_runs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store, more = MemoryStore(), list[int]()
    monkeypatch.setattr(supply.Supply, "add", lambda self, positions: more.extend(positions))
    with process(store):
        kernel = tunable()
        run(kernel, SMALL)
        run(kernel, LARGE)
    with process(store) as (one, _):
        kernel = tunable()
        run(kernel, SMALL)
        serve(one)
        run(kernel, LARGE)
        one.compiled_here.clear()
        one.settle(lambda: not one.keys)
        assert [run(kernel, LARGE) for _ in range(2)] == [128] * 2
        assert one.compiled_here == []
        assert one.told("begin") == []
        assert more == []  # the winner alone was asked for


def test_a_stored_winner_of_a_class_that_does_not_run_here_costs_no_launch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = MemoryStore()
    with process(store):
        kernel = tunable()
        run(kernel, SMALL)
        run(kernel, LARGE)
    stock_load, refused = supply.load, []

    def load(session: Any, config: Any, device: Any) -> None:
        if config.kwargs["BLOCK"] == 128:
            refused.append(config)
            raise OutOfResources(300_000, 200_000, "shared memory")
        stock_load(session, config, device)

    monkeypatch.setattr(supply, "load", load)
    with process(store) as (one, _):
        kernel = tunable()
        run(kernel, SMALL)
        serve(one)
        run(kernel, LARGE)
        one.settle(lambda: bool(one.told("begin")))
        assert refused
        assert 128 not in [run(kernel, LARGE) for _ in range(20)]


def test_a_class_that_is_met_in_a_request_and_not_explored_asks_no_store() -> None:
    store = MemoryStore()
    with process(store):
        kernel = tunable()
        run(kernel, SMALL)
        run(kernel, LARGE)
    with process(store, serving=OnMiss.BORROW) as (one, _):
        kernel = tunable()
        run(kernel, SMALL)
        serve(one)
        asked = len(one.events.of("resolve"))
        assert [run(kernel, LARGE) for _ in range(2)] == [32] * 2
        assert len(one.events.of("resolve")) == asked


def test_what_was_read_before_answers_the_first_launch() -> None:
    store = MemoryStore()
    with process(store):
        kernel = tunable()
        run(kernel, SMALL)
        run(kernel, LARGE)
    names = [name for name in store.list("") if name.endswith("verdict.json")]
    with process(store) as (one, _):
        kernel = tunable()
        one.explorations._persistence.resolver.prefetch(names, until=float("inf"))
        run(kernel, SMALL)
        serve(one)
        assert run(kernel, LARGE) == 128


def test_a_program_that_puts_a_winner_in_place_is_obeyed_for_all_sizes() -> None:
    with process(MemoryStore()) as (_, _):
        kernel = tunable()
        for n in (SMALL, LARGE, SMALL, LARGE):
            run(kernel, n)
        [key] = kernel.cache
        # One that is the winner of another class, so that it is among ours.
        pinned = next(c for c in kernel.configs if c.kwargs["BLOCK"] == 32)
        kernel.cache[key] = pinned
        assert [run(kernel, n) for n in (LARGE, SMALL, LARGE, HUGE)] == [32] * 4
        kernel.cache.clear()
        assert [run(kernel, n) for n in (LARGE, SMALL)] == [128, 32]


def test_a_program_is_obeyed_while_another_thread_tunes_the_kernel() -> None:
    with process(MemoryStore()) as (_, _):
        kernel = tunable()
        run(kernel, SMALL)
        [key] = kernel.cache
        kernel.cache[key] = next(c for c in kernel.configs if c.kwargs["BLOCK"] == 256)
        ran: list[int] = []
        with kernel._tuneonce_state.lock:  # as for as long as it tunes
            thread = threading.Thread(target=lambda: ran.append(run(kernel, LARGE)))
            thread.start()
            thread.join(30.0)
        assert ran == [256]
        assert [run(kernel, n) for n in (LARGE, SMALL)] == [256, 256]


def test_a_program_that_decides_ends_what_explores() -> None:
    with process(MemoryStore()) as (one, _):
        kernel = tunable()
        run(kernel, SMALL)
        serve(one)
        run(kernel, LARGE)
        [key] = kernel.cache
        pinned = next(c for c in kernel.configs if c.kwargs["BLOCK"] == 256)
        kernel.cache[key] = pinned
        assert [run(kernel, n) for n in (LARGE, SMALL, LARGE)] == [256] * 3
        one.settle(lambda: not one.keys)
        assert kernel.cache[key] is pinned
        assert one.told("verdict") == []


def test_a_grid_that_reads_a_tensor_has_its_size_by_the_shapes_of_the_call() -> None:
    with process(MemoryStore()) as (one, _):
        kernel = tunable()
        evaluated = []

        def launched(x: Any) -> int:
            def grid(meta: Any) -> Any:
                evaluated.append(1)
                return (triton.cdiv(x.numel(), meta["BLOCK"]),)

            kernel[grid](x, OUT, 5)
            block: int = kernel.best_config.kwargs["BLOCK"]
            return block

        small, large = torch.zeros(SMALL), torch.zeros(LARGE)
        assert [launched(x) for x in (small, large, small, large)] == [32, 128, 32, 128]
        evaluated.clear()
        assert [launched(x) for x in (small, large)] == [32, 128]
        assert len(evaluated) == 2  # by Triton itself
        assert len(one.events.of("tune")) == 2


@pytest.mark.parametrize("grid", [(4,), lambda meta: (4,)], ids=["a tuple", "a function"])
def test_a_kernel_whose_grid_does_not_vary_is_told_by_its_tensors(grid: Any) -> None:
    """As a persistent kernel, or one whose programs walk over a sequence."""

    def told(launch: Any) -> float:
        return 1.0 if launch.constants["BLOCK"] == wanted else 2.0

    with (
        SimulatedGPU(do_bench=True, noise=0.02, times=told) as gpu,
        exploring(MemoryStore(), workers=2, policies=Policies()),
    ):
        kernel = tunable()

        def launched(n: int) -> int:
            kernel[grid](torch.zeros(n), torch.zeros(n), n)
            block: int = kernel.best_config.kwargs["BLOCK"]
            return block

        for wanted, n in ((32, 1000), (128, 100_000)):
            assert launched(n) == wanted
        gpu.forget()
        assert [launched(n) for n in (1001, 100_001, 1000, 100_000)] == [32, 128, 32, 128]
        assert len(gpu.launches) == 4


def test_a_launch_of_nothing_decides_nothing() -> None:
    with process(MemoryStore()) as (one, _):
        kernel = tunable()
        run(kernel, LARGE)
        tunes = len(one.events.of("tune"))
        assert run(kernel, 0) == 128
        assert len(one.events.of("tune")) == tunes
        [classes] = kernel._tuneonce_state.classes.values()
        assert set(classes.winners) == {"c05e00"}


def test_a_launch_of_nothing_explores_nothing_though_its_number_is_nearly_one_that_does() -> None:
    with process(MemoryStore()) as (one, _):
        kernel = tunable()

        def launched(n: int) -> None:
            kernel[lambda meta: (max(0, n - 100) * 1100,)](X, OUT, n)

        launched(200)
        serve(one)
        launched(102)
        [key] = one.keys
        launched(101)
        before = key.exploration.launches
        launched(100)
        assert key.exploration.launches == before
        launched(101)
        assert key.exploration.launches == before + 1


def extents(one: Process) -> list[int | None]:
    """How large the launches are said to be that tune their class, from now on."""
    explorations, seen = one.explorations, []
    go_on = explorations.go_on

    def told(explored: Any, extent: int | None, *call: Any) -> Any:
        seen.append(extent)
        return go_on(explored, extent, *call)

    explorations.go_on = told
    return seen


def test_launches_that_tune_a_class_are_compared_by_their_own_sizes_found_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    evaluated = []

    def evaluating(*call: Any, **others: Any) -> Any:
        evaluated.append(size_of(*call, **others))
        return evaluated[-1]

    monkeypatch.setattr(hook, "size_of", evaluating)
    monkeypatch.setattr(known_winners, "size_of", evaluating)
    with process(MemoryStore()) as (one, _):
        kernel = tunable()
        run(kernel, SMALL)
        serve(one)
        seen = extents(one)
        near = LARGE + 320  # of the same class, and within a sixteenth
        for n in (LARGE, near, LARGE, near):
            run(kernel, n)
        assert one.keys
        before = len(evaluated)
        for n in (LARGE, near, LARGE):
            run(kernel, n)
        assert seen[-3:] == [3125 * 64, 3135 * 64, 3125 * 64]
        assert len(evaluated) == before > 0


def test_what_judges_launches_does_not_look_at_the_compiler(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It would hold the interpreter for milliseconds, once for each few launches."""
    looked = []
    monkeypatch.setattr(workers, "blocked", lambda: looked.append(1))
    with process(MemoryStore()) as (one, _):
        kernel = tunable()
        run(kernel, SMALL)
        serve(one)
        run(kernel, LARGE)
        one.supplied()
        before = len(looked)
        learned(one, kernel, LARGE)
        assert looked[before:] == []


def test_a_grid_that_cannot_be_read_says_the_size_of_each_launch_that_tunes_its_class() -> None:
    with process(MemoryStore()) as (one, _):
        kernel = tunable()
        count = torch.tensor(LARGE)

        def launched(n: int) -> None:
            count.fill_(n)
            kernel[lambda meta: (triton.cdiv(int(count), meta["BLOCK"]),)](X, OUT, LARGE)

        run(kernel, SMALL)
        serve(one)
        seen = extents(one)
        for n in (LARGE, LARGE, LARGE + 320, LARGE, LARGE + 320):
            launched(n)
        assert seen[-3:] == [3135 * 64, 3125 * 64, 3135 * 64]


def test_one_winner_a_key_if_that_is_wanted() -> None:
    with process(MemoryStore(), work_classes=False) as (one, _):
        kernel = tunable()
        assert [run(kernel, n) for n in (SMALL, LARGE, HUGE)] == [32] * 3
        assert len(one.events.of("tune")) == 1


@pytest.mark.parametrize("policy", [OnMiss.BORROW, OnMiss.ERROR])
def test_a_policy_that_measures_nothing_serves_the_nearest_class(policy: OnMiss) -> None:
    with process(MemoryStore(), serving=policy) as (one, gpu):
        kernel = tunable()
        run(kernel, SMALL)
        serve(one)
        gpu.forget()
        assert [run(kernel, LARGE) for _ in range(3)] == [32] * 3
        assert len(gpu.launches) == 3
        assert len(one.events.of("tune")) == 1


def test_a_capture_runs_the_winner_of_its_class_or_counts_that_there_is_none() -> None:
    store = MemoryStore()
    with process(store):
        run(kernel := tunable(), SMALL)
        run(kernel, LARGE)
    with process(store) as (one, _):
        kernel = tunable()
        run(kernel, SMALL)
        with torch.cuda.graph(torch.cuda.CUDAGraph()):
            assert run(kernel, LARGE) == 128
            # Of a size that nobody has measured: the nearest, and again without a question.
            assert [run(kernel, HUGE) for _ in range(2)] == [128] * 2
        told = [e["what"] for e in one.events.of("problem")]
        assert told == ["provisional_in_capture"]
        assert run(kernel, HUGE) == 256  # outside of a capture it is measured


def test_a_kernel_with_a_benchmark_of_its_own_has_one_winner_as_in_stock() -> None:
    asked = []

    def bench(call: Any, quantiles: Any = None) -> Any:
        asked.append(1)
        return [1.0, 1.0, 1.0]

    with process(MemoryStore()) as (_, _):
        kernel = triton.autotune(blocks(*SIZES), [], do_bench=bench)(tunable().fn)
        run(kernel, SMALL)
        measured = len(asked)
        run(kernel, LARGE)
        assert len(asked) == measured == len(SIZES)


def test_a_forked_child_has_the_classes_that_were_known() -> None:
    with process(MemoryStore(), workers=0) as (_, _):
        kernel = tunable()
        for n in (SMALL, LARGE, SMALL, LARGE):
            run(kernel, n)
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                status = int([run(kernel, n) for n in (SMALL, LARGE, SMALL)] != [32, 128, 32])
            finally:
                os._exit(status)
        assert os.waitpid(pid, 0)[1] == 0
