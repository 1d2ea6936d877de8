"""What a miss does under each policy, and keys that never stop."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any

import pytest

pytest.importorskip("triton")

import torch
import triton

from tests.kernels.equivalence_gpu import blocks, covering, make_copy
from tests.kernels.equivalence_lab import Events
from tests.kernels.equivalence_lab import tuneonce_on as hooked
from tests.kernels.launch.test_recheck import tuneonce_on as checking
from tuneonce.errors import KeyNotTuned
from tuneonce.phase import Phases
from tuneonce.policies import OnMiss, Policies
from tuneonce.settings import Recheck
from tuneonce.store.memory import MemoryStore
from tuneonce.testing import SimulatedGPU
from tuneonce.triton.kernel import device_facts
from tuneonce.triton.launch import hook as hook_module
from tuneonce.tuning.siblings import MANY, MOST_TUNED

X, OUT = torch.arange(4096.0), torch.zeros(4096)
TOO_LONG = 60.0


@pytest.fixture(autouse=True)
def _compiled_once(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "compiled"))
    device_facts.forget()


def tunable(*sizes: int, key: Any = ("n",), **options: Any) -> Any:
    return triton.autotune(blocks(*(sizes or (256, 128, 64))), list(key), **options)(make_copy())


def launch(kernel: Any, n: int = 1024, x: torch.Tensor = X) -> int:
    kernel[covering(1024)](x, OUT, n)
    block: int = kernel.best_config.kwargs["BLOCK"]
    return block


def by_block(one: Any) -> float:
    return float(one.constants["BLOCK"])


def under(store: Any, policy: OnMiss) -> Any:
    return hooked(store, policies=Policies(starting=policy))


def tuned(n: int = 1024, *sizes: int) -> MemoryStore:
    store = MemoryStore()
    with SimulatedGPU(times=by_block), hooked(store):
        launch(tunable(*sizes), n)
    return store


def stored(store: Any, ending: str) -> list[str]:
    return [name for name in store.list("") if name.endswith(ending)]


# -- the policy of a phase -----------------------------------------------------------------------


def test_the_policy_is_that_of_the_phase() -> None:
    phases = Phases()
    policies = Policies(starting=OnMiss.TUNE, serving=OnMiss.ERROR)
    with SimulatedGPU(), hooked(MemoryStore(), phases=phases, policies=policies) as events:
        kernel = tunable()
        launch(kernel, 1024)
        phases.serve()
        launch(kernel, 1024)
        with pytest.raises(KeyNotTuned):
            launch(kernel, 2048)
        phases.renew()
        launch(kernel, 2048)
    assert len(events.of("tune")) == 2


@pytest.mark.parametrize("policy", [OnMiss.BORROW, OnMiss.ERROR])
def test_ranks_that_benchmark_together_tune_under_every_policy(
    policy: OnMiss, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others wait in the benchmark function: who does not call it would hang them."""
    monkeypatch.setattr(hook_module, "is_one_of_several", lambda: True)
    called: list[float] = []

    def bench(call: Callable[[], Any], quantiles: Any = None, **more: Any) -> list[float]:
        call()
        called.append(1.0)
        return [1.0, 1.0, 1.0]

    with SimulatedGPU(), under(MemoryStore(), policy) as events:
        launch(tunable(do_bench=bench))
    assert len(called) == 3
    assert events.of("borrow") == []


# -- error ---------------------------------------------------------------------------------------


def refused(kernel: Any, n: int = 2048, **more: Any) -> KeyNotTuned:
    with pytest.raises(KeyNotTuned) as caught:
        launch(kernel, n, **more)
    return caught.value


def test_a_key_without_a_verdict_is_refused_and_says_what_is_near() -> None:
    store = tuned(1024)
    with SimulatedGPU(times=by_block), under(store, OnMiss.ERROR):
        kernel = tunable()
        error = refused(kernel, 2048)
    assert isinstance(error, RuntimeError)
    assert error.kernel.endswith(".copy")
    assert (error.phase, error.key) == ("starting", "x=fp32 out=fp32 n=2048")
    assert error.nearest == "x=fp32 out=fp32 n=1024"
    assert error.differences == ("key.n: 1024 → 2048",)
    for words in (
        error.kernel,
        error.key,
        "TUNEONCE_ON_MISS_STARTING=error",
        "key.n: 1024 → 2048",
        "`tuneonce tune SCRIPT`",
        "`tuneonce why ",
    ):
        assert words in str(error)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.nearest, again.differences) == (
        str(error),
        error.nearest,
        error.differences,
    )


def test_a_refused_launch_leaves_nothing_behind() -> None:
    store = MemoryStore()
    with SimulatedGPU() as gpu, under(store, OnMiss.ERROR) as events:
        kernel = tunable()
        before = {name: value for name, value in vars(kernel).items() if name != "_tuneonce_state"}
        for _ in range(2):
            refused(kernel)
            assert kernel.cache == {}
            assert kernel.nargs is None
        state = vars(kernel).pop("_tuneonce_state")
        assert {**before, "nargs": None} == {**vars(kernel), "nargs": None}
        assert state.shapes == {}
        assert state.lock.acquire(blocking=False)
        assert gpu.launches == gpu.benchmarked == []
        assert gpu.loaded == 0
    assert list(store.list("")) == []
    assert events.outcomes == ["miss", "miss"]
    assert [one["what"] for one in events.of("problem")] == ["key_not_tuned"] * 2


def test_what_is_stored_meanwhile_ends_the_refusals() -> None:
    store = MemoryStore()
    kernel = tunable()
    with SimulatedGPU(times=by_block), under(store, OnMiss.ERROR):
        refused(kernel, 1024)
    device_facts.forget()
    with SimulatedGPU(times=by_block), hooked(store):
        launch(tunable(), 1024)
    device_facts.forget()
    with SimulatedGPU(times=by_block), under(store, OnMiss.ERROR):
        assert launch(kernel, 1024) == 64


@pytest.mark.parametrize("prune", [False, True])
def test_a_kernel_with_one_candidate_is_never_refused(prune: bool) -> None:
    options: dict[str, Any] = {}
    if prune:
        options["prune_configs_by"] = {"early_config_prune": lambda configs, *a, **k: configs[2:]}
    kernel = tunable(*(() if prune else (64,)), **options)
    with SimulatedGPU(), under(MemoryStore(), OnMiss.ERROR):
        assert launch(kernel) == 64
        assert launch(kernel) == 64


def test_captures_and_launches_of_nothing_are_not_refused() -> None:
    with SimulatedGPU() as gpu, under(MemoryStore(), OnMiss.ERROR):
        kernel = tunable()
        with gpu.capture():
            launch(kernel)
        kernel[(0,)](X, OUT, 1024)
        refused(kernel)


def test_an_error_of_the_programs_comes_first() -> None:
    kernel = tunable()
    with (
        SimulatedGPU(),
        under(MemoryStore(), OnMiss.ERROR),
        pytest.raises(ValueError, match="BLOCK"),
    ):
        kernel[covering(1024)](X, OUT, 1024, BLOCK=64)


def test_a_key_that_cannot_be_kept_says_so() -> None:
    with SimulatedGPU(), under(MemoryStore(), OnMiss.ERROR):
        error = refused(tunable(key=("x",)))
    assert "cannot be kept" in str(error)
    assert error.key == "<Tensor> torch.float32 torch.float32", "its values are not waited for"
    assert error.nearest is None


def test_a_stored_winner_that_does_not_run_is_refused() -> None:
    store = tuned(1024)
    with SimulatedGPU(times=by_block) as gpu, under(store, OnMiss.ERROR):
        gpu.fail(lambda one: one.constants["BLOCK"] == 64)
        error = refused(tunable(), 1024)
    assert "does not run here" in str(error)
    assert isinstance(error.__cause__, triton.runtime.errors.OutOfResources)


def test_threads_are_all_refused() -> None:
    with SimulatedGPU(), under(MemoryStore(), OnMiss.ERROR):
        kernel = tunable()
        start = threading.Barrier(3)

        def one(_: int) -> str:
            start.wait(TOO_LONG)
            return refused(kernel).phase

        with ThreadPoolExecutor(3) as pool:
            found = [done.result(TOO_LONG) for done in [pool.submit(one, i) for i in range(3)]]
        assert found == ["starting"] * 3
        assert kernel.cache == {}


# -- keys that never stop ------------------------------------------------------------------------

BORDER = 1500


class TwoRegimes:
    """128 wins below the border, 64 from it on; `now` is what is launched."""

    def __init__(self) -> None:
        self.now = 0

    def winner(self) -> int:
        return 128 if self.now < BORDER else 64

    def __call__(self, one: Any) -> float:
        return 1.0 if one.constants["BLOCK"] == self.winner() else 1.5

    def run(self, kernel: Any, keys: list[int]) -> list[int]:
        """The keys that got another winner than their own."""
        wrong = []
        for self.now in keys:
            if launch(kernel, self.now) != self.winner():
                wrong.append(self.now)
        return wrong


def lengths(count: int, seed: int = 0) -> list[int]:
    return Random(seed).sample(range(2, 8192), count)


def tunes(events: Events) -> int:
    return len(events.of("tune"))


def problems(events: Events) -> list[str]:
    return [one["what"] for one in events.of("problem")]


def test_a_thousand_lengths_are_few_tunes_and_the_winner_is_right(
    warnings: Callable[[], list[str]],
) -> None:
    store, regimes = MemoryStore(), TwoRegimes()
    with SimulatedGPU(times=regimes), hooked(store) as events:
        wrong = regimes.run(tunable(), lengths(1000))
    assert tunes(events) <= MANY + MOST_TUNED
    assert len(stored(store, ".verdict.json")) == tunes(events)
    assert len(stored(store, "")) <= 3 * tunes(events)
    assert len(wrong) <= 10
    assert all(BORDER / 2 < n < BORDER * 2 for n in wrong)
    assert events.outcomes.count("shared") == 1000 - tunes(events)
    [problem] = events.of("problem")
    assert (problem["what"], problem["argument"]) == ("key_never_stops", "n")
    assert problem["count"] == MANY + 1
    [warning] = warnings()
    assert ".copy" in warning
    assert " n," in warning
    assert str(MANY + 1) in warning


def test_siblings_in_the_store_count_at_the_next_start() -> None:
    store, regimes = MemoryStore(), TwoRegimes()
    keys = lengths(200)
    with SimulatedGPU(times=regimes), hooked(store) as events:
        regimes.run(tunable(), keys[:100])
    first = tunes(events)
    device_facts.forget()
    with SimulatedGPU(times=regimes), hooked(store) as events:
        wrong = regimes.run(tunable(), keys[100:])
    assert tunes(events) < min(MANY, first)
    assert len(wrong) <= 5
    assert problems(events) == ["key_never_stops"], "said once in each start"


@pytest.mark.parametrize("policy", [OnMiss.BORROW, OnMiss.ERROR])
def test_they_share_a_verdict_under_every_policy(policy: OnMiss) -> None:
    store, regimes = MemoryStore(), TwoRegimes()
    phases = Phases()
    policies = Policies(serving=policy)
    with SimulatedGPU(times=regimes), hooked(store, phases=phases, policies=policies) as events:
        kernel = tunable()
        regimes.run(kernel, [*range(100, 104 + MANY)])
        before = sorted(store.list(""))
        phases.serve()
        assert regimes.run(kernel, [130, 131, 90]) == []
    assert events.of("borrow") == []
    assert sorted(store.list("")) == before


def test_what_is_borrowed_of_them_is_not_noted() -> None:
    """Far from all siblings it is borrowed; but it never comes again."""
    store, regimes = MemoryStore(), TwoRegimes()
    phases = Phases()
    policies = Policies(serving=OnMiss.BORROW)
    with SimulatedGPU(times=regimes), hooked(store, phases=phases, policies=policies) as events:
        kernel = tunable()
        regimes.run(kernel, [*range(100, 104 + MANY)])
        phases.serve()
        regimes.run(kernel, [4000])
    assert len(events.of("borrow")) == 1
    assert stored(store, ".wanted.json") == []


def test_other_dtypes_are_not_shared() -> None:
    store, regimes = MemoryStore(), TwoRegimes()
    with SimulatedGPU(times=regimes), hooked(store) as events:
        kernel = tunable()
        regimes.run(kernel, [*range(100, 104 + MANY)])
        before = tunes(events)
        launch(kernel, 110, X.half())
        assert tunes(events) == before + 1


def test_a_few_keys_are_all_tuned_and_nothing_is_said() -> None:
    with SimulatedGPU(), hooked(MemoryStore()) as events:
        kernel = tunable()
        for n in range(1, MANY + 1):
            launch(kernel, n)
        for n in range(1, MANY + 1):
            launch(kernel, n)
    assert tunes(events) == MANY
    assert problems(events) == []


def test_hits_are_not_warned_about() -> None:
    """Widths that are far apart are all tuned, and only the start that does so is told."""
    store = MemoryStore()
    widths = [4**power for power in range(1, MANY + 3)]
    for _ in range(2):
        device_facts.forget()
        with SimulatedGPU(), hooked(store) as events:
            kernel = tunable()
            for n in widths:
                launch(kernel, n)
    assert events.outcomes == ["hit"] * len(widths)
    assert problems(events) == []


def test_a_shared_winner_that_does_not_run_is_tuned_as_stock_would() -> None:
    store = MemoryStore()
    with SimulatedGPU(times=by_block) as gpu, hooked(store) as events:
        kernel = tunable()
        for n in range(100, 104 + MANY):
            launch(kernel, n)
        gpu.fail(lambda one: one.constants["BLOCK"] == 64)
        assert launch(kernel, 130) == 128
    assert "winner_does_not_run" in problems(events)


def test_a_shared_verdict_is_not_measured_again() -> None:
    store = MemoryStore()
    with SimulatedGPU(times=by_block), hooked(store):
        kernel = tunable()
        for n in range(100, 101 + MANY):
            launch(kernel, n)
    device_facts.forget()
    with SimulatedGPU(times=by_block), checking(store, Recheck.REPORT) as events:
        assert launch(tunable(), 150) == 64
    assert events.outcomes == ["shared"]
    assert events.of("recheck") == []
