"""Stored verdicts measured again: what is reported, what is replaced, and what is left alone."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

pytest.importorskip("triton")

import torch
import triton
from triton.runtime.autotuner import Autotuner

from tests.kernels.equivalence_gpu import blocks, covering, make_copy
from tests.kernels.equivalence_lab import STOCK_RUN, Events
from tuneonce.model.records import Verdict, pack, unpack
from tuneonce.policies import Policies
from tuneonce.resolution.resolver import Resolver
from tuneonce.settings import Recheck
from tuneonce.store.memory import MemoryStore
from tuneonce.testing import SimulatedGPU
from tuneonce.triton.compile.workers import build_workers
from tuneonce.triton.kernel import device_facts
from tuneonce.triton.launch.hook import Hook
from tuneonce.triton.launch.persistence import Persistence

X = torch.arange(1024.0)
Times = dict[int, float]

# Milliseconds of the blocks 256, 128 and 64, in the order of the list.
THEN = {256: 0.1, 128: 0.2, 64: 0.3}
NOW = {256: 0.3, 128: 0.24, 64: 0.2}


@pytest.fixture(autouse=True)
def _compiled_once(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "compiled"))
    device_facts.forget()


@contextlib.contextmanager
def tuneonce_on(
    store: Any,
    recheck: Recheck = Recheck.OFF,
    *,
    raise_errors: bool = True,
    policies: Policies | None = None,
) -> Iterator[Events]:
    events = Events()
    resolver = Resolver(store, events)  # type: ignore[arg-type]
    persistence = Persistence(resolver, events, raise_errors)  # type: ignore[arg-type]
    workers = build_workers(0, events)  # type: ignore[arg-type]
    module = sys.modules["triton.runtime.autotuner"]
    hook = Hook(module, persistence, workers, recheck=recheck, policies=policies)
    assert hook.install()
    try:
        yield events
    finally:
        hook.uninstall()
        assert Autotuner.run is STOCK_RUN


def tunable(**options: Any) -> Any:
    return triton.autotune(blocks(256, 128, 64), ["n"], **options)(make_copy())


def launch(kernel: Any, n: int = 1024) -> None:
    kernel[covering(n)](X, torch.zeros(1024), n)


def by_block(times: Times) -> Callable[[Any], float]:
    return lambda one: times[one.constants["BLOCK"]]


def gpu_with(times: Times, **options: Any) -> SimulatedGPU:
    return SimulatedGPU(times=by_block(times), do_bench=True, **options)


def store_tuned(times: Times = THEN, n: int = 1024, **options: Any) -> MemoryStore:
    """A store with the verdict that these times lead to."""
    store = MemoryStore()
    with gpu_with(times), tuneonce_on(store):
        launch(tunable(**options), n)
    return store


def verdicts(store: MemoryStore) -> list[Verdict]:
    names = [name for name in store.list("") if name.endswith(".verdict.json")]
    return [unpack(store.get(name) or b"", Verdict) for name in names]


def rechecked(events: Events) -> dict[str, Any]:
    [found] = events.of("recheck")
    return found


# -- wrong, right, tied --------------------------------------------------------------------------


def test_a_wrong_verdict_is_reported() -> None:
    store = store_tuned()
    before = verdicts(store)
    with gpu_with(NOW) as gpu, tuneonce_on(store, Recheck.REPORT) as events:
        kernel = tunable()
        launch(kernel)
        assert kernel.best_config is kernel.configs[0]
        assert gpu.launches[-1].runs(kernel.configs[0])
        measured = len(gpu.launches)
        launch(kernel)
        assert len(gpu.launches) == measured + 1
    found = rechecked(events)
    assert found["winner"] == "BLOCK=256 num_warps=4 num_stages=3"
    assert found["fastest"] == found["best"] == "BLOCK=64 num_warps=1 num_stages=3"
    assert found["regret"] == pytest.approx(0.5, abs=1e-6)
    assert found["noise"] == pytest.approx(0, abs=1e-6)
    assert (found["wrong"], found["fixed"], found["provisional"]) == (True, False, False)
    assert (found["candidates"], found["passes"]) == (3, 40)
    assert found["key_text"] == "x=fp32 out=fp32 n=1024"
    assert found["kernel"].endswith("copy")
    assert verdicts(store) == before
    assert events.outcomes == ["hit"]
    assert events.of("problem") == []


def test_a_wrong_verdict_is_fixed() -> None:
    store = store_tuned()
    [old] = verdicts(store)
    with gpu_with(NOW), tuneonce_on(store, Recheck.FIX) as events:
        kernel = tunable()
        launch(kernel)
        assert kernel.best_config is kernel.configs[2]
        assert kernel.configs_timings[kernel.configs[2]][0] == pytest.approx(0.2)
    assert rechecked(events)["fixed"] is True
    [new] = verdicts(store)
    assert new.winner == new.candidates[2] != old.winner
    assert (new.origin, new.tune_s) == ("rechecked", old.tune_s)
    times = {m.candidate: m.times[0] for m in new.measurements}
    assert [times[c] for c in new.candidates] == pytest.approx([0.3, 0.24, 0.2])
    assert {m.method for m in new.measurements} == {"recheck"}
    assert all(m.settled and m.samples >= 3 for m in new.measurements)
    # The next start uses it as any other.
    with gpu_with(NOW), tuneonce_on(store, Recheck.FIX) as events:
        kernel = tunable()
        launch(kernel)
        assert kernel.best_config is kernel.configs[2]
    assert events.outcomes == ["hit"]
    assert (rechecked(events)["regret"], rechecked(events)["fixed"]) == (0, False)


@pytest.mark.parametrize(
    ("times", "regret"),
    [
        ({256: 0.2, 128: 0.24, 64: 0.3}, 0.0),
        ({256: 0.2, 128: 0.2, 64: 0.2}, 0.0),
        ({256: 0.2, 128: 0.197, 64: 0.3}, 0.01523),
        ({256: 0.2, 128: 0.1965, 64: 0.1962}, 0.01937),
    ],
)
def test_a_right_or_tied_verdict_is_left_alone(times: Times, regret: float) -> None:
    store = store_tuned()
    before = verdicts(store)
    with gpu_with(times), tuneonce_on(store, Recheck.FIX) as events:
        kernel = tunable()
        launch(kernel)
        assert kernel.best_config is kernel.configs[0]
    assert rechecked(events)["regret"] == pytest.approx(regret, abs=1e-4)
    assert not rechecked(events)["wrong"]
    assert verdicts(store) == before


def test_a_verdict_that_ties_is_not_wrong_for_standing_later() -> None:
    store = store_tuned({256: 0.3, 128: 0.2, 64: 0.1})
    with gpu_with({256: 0.2, 128: 0.2, 64: 0.2}), tuneonce_on(store, Recheck.FIX) as events:
        launch(tunable())
    found = rechecked(events)
    assert found["winner"].startswith("BLOCK=64 ")
    assert (found["wrong"], found["fixed"]) == (False, False)


def test_the_replacement_is_who_a_tuning_would_choose() -> None:
    store = store_tuned()
    times = {256: 0.3, 128: 0.201, 64: 0.2}
    with gpu_with(times), tuneonce_on(store, Recheck.FIX) as events:
        kernel = tunable()
        launch(kernel)
        assert kernel.best_config is kernel.configs[1]
    found = rechecked(events)
    assert found["fastest"].startswith("BLOCK=64 ")
    assert found["best"].startswith("BLOCK=128 ")
    assert [v.winner for v in verdicts(store)] == [v.candidates[1] for v in verdicts(store)]


@pytest.mark.parametrize("seed", range(6))
def test_noise_proves_nothing(seed: int) -> None:
    store = store_tuned()
    times = {256: 0.2, 128: 0.199, 64: 0.198}
    with gpu_with(times, noise=0.05, seed=seed), tuneonce_on(store, Recheck.FIX) as events:
        launch(tunable())
    found = rechecked(events)
    assert not found["wrong"]
    assert 0.005 < found["noise"] < 0.06
    assert [v.origin for v in verdicts(store)] == ["measured"]


def test_through_noise_a_wrong_verdict_is_proven() -> None:
    store = store_tuned()
    with gpu_with(NOW, noise=0.05), tuneonce_on(store, Recheck.FIX) as events:
        launch(tunable())
    found = rechecked(events)
    assert found["fixed"]
    assert abs(found["regret"] - 0.5) < 2 * found["noise"]


def test_far_behind_is_looked_at_once() -> None:
    store = store_tuned()
    times = {256: 0.2, 128: 0.41, 64: 9.0}
    with gpu_with(times) as gpu, tuneonce_on(store, Recheck.REPORT) as events:
        launch(tunable())
        count = [one.constants["BLOCK"] for one in gpu.launches].count
        # Once to load it, once to look at it; three times if it is not that far.
        assert (count(64), count(128)) == (2, 4)
        assert count(256) >= 40
    assert rechecked(events)["candidates"] == 3


# -- whose key, whose benchmark ------------------------------------------------------------------


def test_a_key_without_a_verdict_is_tuned_as_ever() -> None:
    store = MemoryStore()
    with gpu_with(NOW), tuneonce_on(store, Recheck.FIX) as events:
        kernel = tunable()
        launch(kernel)
        assert kernel.best_config is kernel.configs[2]
    assert (events.of("recheck"), len(events.of("tune"))) == ([], 1)
    assert [v.origin for v in verdicts(store)] == ["measured"]


def test_every_key_is_checked_once() -> None:
    store = store_tuned()
    with gpu_with(THEN), tuneonce_on(store):
        launch(tunable(), 512)
    with gpu_with(NOW), tuneonce_on(store, Recheck.REPORT) as events:
        for kernel in (tunable(), tunable()):
            launch(kernel, 1024)
            launch(kernel, 512)
    assert [one["key_text"].split()[-1] for one in events.of("recheck")] == ["n=1024", "n=512"]


def test_a_verdict_of_another_size_gets_one_of_this_size_beside_it() -> None:
    configs = blocks(256, 128, 64)
    store = MemoryStore()
    with gpu_with(THEN), tuneonce_on(store):
        triton.autotune(configs, [])(make_copy())[(1,)](X, torch.zeros(1024), 1024)
    one_winner = Policies(work_classes=False)  # else the size is measured anyhow
    with gpu_with(NOW), tuneonce_on(store, Recheck.FIX, policies=one_winner) as events:
        kernel = triton.autotune(configs, [])(make_copy())
        kernel[(100,)](X, torch.zeros(1024), 1024)
        assert kernel.best_config is kernel.configs[2]
    assert events.outcomes == ["provisional"]
    found = rechecked(events)
    assert (found["provisional"], found["fixed"]) == (True, True)
    origins = {v.work_class: (v.origin, v.candidates.index(v.winner)) for v in verdicts(store)}
    assert origins == {"c00e05": ("measured", 0), "c03e01": ("rechecked", 2)}


@pytest.mark.parametrize("fix", [Recheck.REPORT, Recheck.FIX])
def test_a_benchmark_of_the_authors_is_used_three_times(fix: Recheck) -> None:
    benched: list[float] = []

    def bench(call: Callable[[], Any], quantiles: Any) -> list[float]:
        call()
        ms = gpu.model.ms(gpu.launches[-1])
        # Every second result is disturbed.
        benched.append(ms * (1 + len(benched) % 2 / 10))
        return [benched[-1], benched[-1], benched[-1]]

    with gpu_with(THEN) as gpu, tuneonce_on(store := MemoryStore()):
        launch(tunable(do_bench=lambda call, quantiles: (call(), [THEN[256]] * 3)[1]))
    with gpu_with(NOW) as gpu, tuneonce_on(store, fix) as events:
        kernel = tunable(do_bench=bench)
        launch(kernel)
        assert kernel.best_config is kernel.configs[0 if fix is Recheck.REPORT else 2]
    assert len(benched) == 9
    found = rechecked(events)
    assert found["regret"] == pytest.approx(0.5)
    assert found["passes"] == 3
    assert found["wrong"]
    assert 0 <= found["noise"] <= 0.11
    assert found["fixed"] is (fix is Recheck.FIX)


def test_during_a_capture_nothing_is_measured() -> None:
    store = store_tuned()
    with gpu_with(NOW) as gpu, tuneonce_on(store, Recheck.FIX) as events:
        kernel = tunable()
        with gpu.capture() as captured:
            launch(kernel)
        assert [one.runs(kernel.configs[0]) for one in captured] == [True]
        assert len(gpu.launches) == 1
    assert events.of("recheck") == []


# -- what a tuning promises ----------------------------------------------------------------------


def test_buffers_are_left_as_by_a_tuning() -> None:
    store = store_tuned(reset_to_zero=["out"])
    out, x = torch.ones(1024), torch.ones(1024)
    calls: list[bool] = []

    def pre_hook(arguments: dict[str, Any], reset_only: bool = False) -> None:
        calls.append(reset_only)

    with gpu_with(NOW), tuneonce_on(store, Recheck.REPORT):
        tunable(reset_to_zero=["out"])[covering(1024)](x, out, 1024)
        assert out.count_nonzero() == 0
        tunable(restore_value=["x"])[covering(512)](x, out, 512)
        assert x.eq(1).all()
    with gpu_with(NOW), tuneonce_on(store, Recheck.REPORT) as events:
        launch(tunable(pre_hook=pre_hook))
        assert len(events.of("recheck")) == 1
    # Before every launch; and at the end, to clear what those have left.
    assert len(calls) > 40
    assert (calls[-1], calls.count(True)) == (True, 1)


def test_a_candidate_that_does_not_run_is_out() -> None:
    store = store_tuned()
    with gpu_with(NOW) as gpu, tuneonce_on(store, Recheck.FIX) as events:
        gpu.fail(lambda one: one.constants["BLOCK"] == 64)
        kernel = tunable()
        launch(kernel)
        assert kernel.best_config is kernel.configs[1]
    found = rechecked(events)
    assert (found["candidates"], found["regret"]) == (2, pytest.approx(0.25))


def test_what_failed_while_it_was_tuned_is_not_launched_again() -> None:
    store = MemoryStore()
    with gpu_with(THEN) as gpu, tuneonce_on(store):
        gpu.fail(lambda one: one.constants["BLOCK"] == 64)
        launch(tunable())
    with gpu_with(NOW) as gpu, tuneonce_on(store, Recheck.FIX):
        launch(tunable())
        assert 64 not in {one.constants["BLOCK"] for one in gpu.launches}
    [verdict] = verdicts(store)
    assert verdict.candidates.index(verdict.winner) == 1
    assert [m.failed is not None for m in verdict.measurements].count(True) == 1


def test_a_winner_that_does_not_run_has_no_regret() -> None:
    store = store_tuned()
    with gpu_with(NOW) as gpu, tuneonce_on(store, Recheck.FIX) as events:
        gpu.fail(lambda one: one.constants["BLOCK"] == 256)
        launch(kernel := tunable())  # tuned for this process, as without a recheck
        assert kernel.best_config is kernel.configs[2]
    found = rechecked(events)
    assert "regret" not in found
    assert not found["fixed"]
    assert "winner_does_not_run" in [one["what"] for one in events.of("problem")]


def test_an_error_ends_the_check_and_not_the_launch() -> None:
    store = store_tuned()
    with gpu_with(NOW) as gpu, tuneonce_on(store, Recheck.FIX, raise_errors=False) as events:
        gpu.fail(lambda one: one.constants["BLOCK"] == 64, lambda: RuntimeError("out of luck"))
        kernel = tunable()
        launch(kernel)
        assert kernel.best_config is kernel.configs[0]
        assert gpu.launches[-1].runs(kernel.configs[0])
    assert [one["what"] for one in events.of("problem")] == ["internal_recheck"]
    assert [v.origin for v in verdicts(store)] == ["measured"]


def test_a_verdict_that_changes_meanwhile_is_not_lost() -> None:
    class Changing(MemoryStore):
        armed = False

        def delete_if(self, name: str, expected: bytes) -> bool:
            if self.armed and name.endswith(".verdict.json"):
                self.put(name, other)
            return super().delete_if(name, expected)

    store = Changing()
    with gpu_with(THEN), tuneonce_on(store):
        launch(tunable())
    [name] = [name for name in store.list("") if name.endswith(".verdict.json")]
    # Another process has tuned again, and found somebody else.
    [now] = verdicts(store)
    other = pack(msgspec.structs.replace(now, winner=now.candidates[1]))
    store.armed = True
    with gpu_with(NOW), tuneonce_on(store, Recheck.FIX) as events:
        kernel = tunable()
        launch(kernel)
        assert kernel.best_config is kernel.configs[0]
    assert (rechecked(events)["wrong"], rechecked(events)["fixed"]) == (True, False)
    assert store.get(name) == other
