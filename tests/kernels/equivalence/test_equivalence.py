"""Equal to stock Triton: the same launches, buffers, winners, errors and messages.

Every scenario runs five times, each in fresh state (see `equivalence_lab.Runs`). Ours over a store
that remembers nothing must be stock exactly, for any sequence of calls. Over a store that remembers
the first start must be stock, too, and the next start must be a stock Triton that has forgotten
nothing: the same launches without a benchmark, and nothing printed.
"""

from __future__ import annotations

import pytest

pytest.importorskip("triton")

from tests.kernels.equivalence_calls import CALLS
from tests.kernels.equivalence_candidates import CANDIDATES
from tests.kernels.equivalence_failures import FAILURES
from tests.kernels.equivalence_lab import Step, run_all_ways

ALL = {**CALLS, **CANDIDATES, **FAILURES}

# Within one start ours finds in the store what it has measured a moment ago; stock measures again.
MEASURED_ONCE = {
    "a_cache_cleared_by_the_program",
    "a_candidate_that_ends_the_tuning",
    "a_benchmark_that_fails",
}
# What the program has done to the autotuner by the end says nothing about the next start.
CHANGED_BY_THE_PROGRAM = {
    "a_winner_assigned_by_the_program",
    "candidates_replaced_by_the_program",
    "a_candidate_changed_in_place",
}
# The next start is no stock Triton with a good memory; tests of their own say what it is.
OTHERWISE_WARM = {
    "a_candidate_that_ends_the_tuning",
    "a_tuned_value_given_by_the_caller",
    "a_tuned_value_of_some_candidates_given_by_the_caller",
    "a_benchmark_of_mixed_answers",
    "hooks_that_fail",
}
# Without the benchmark one of the kernels is not launched, so nothing is asked about it.
LAUNCHED_BY_A_BENCHMARK = {"a_kernel_launched_while_another_is_tuned"}


@pytest.fixture(autouse=True)
def _printing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_PRINT_AUTOTUNING", "1")


@pytest.mark.parametrize("name", ALL)
def test_equal_to_stock(name: str) -> None:
    runs = run_all_ways(ALL[name])
    if name not in FAILURES:
        assert {step.outcome[0] for step in runs.stock} == {"returned"}
    assert differences(runs.forgetful, runs.stock) == []
    if name not in MEASURED_ONCE:
        assert differences(runs.cold, runs.stock) == []
    assert runs.cold_events.of("problem") == runs.warm_events.of("problem") == []
    if name in CHANGED_BY_THE_PROGRAM | OTHERWISE_WARM:
        return
    assert differences(runs.warm, runs.stock_knowing, warm=True) == []
    if name in FAILURES:
        return
    assert {step.printed for step in runs.warm} == {""}
    assert runs.warm_events.of("tune") == runs.warm_events.of("measure") == []
    if name not in LAUNCHED_BY_A_BENCHMARK:
        assert [step.timings for step in runs.warm] == [step.timings for step in runs.stock]


@pytest.mark.parametrize("name", sorted(MEASURED_ONCE))
def test_measured_once_is_launched_alike(name: str) -> None:
    runs = run_all_ways(ALL[name])
    for our, their in zip(runs.cold, runs.stock, strict=True):
        assert our.without("benchmark", "after") == their.without("benchmark", "after")
        assert (our.outcome, our.best_config) == (their.outcome, their.best_config)
        assert our.cache == their.cache
        assert set(our.events) <= set(their.events)


def differences(ours: list[Step], theirs: list[Step], *, warm: bool = False) -> list[str]:
    """What differs between two runs, call by call.

    `warm`: ours looks at the live candidates before it adopts one, so it prunes, and it says how
    long they took when they were measured; stock that knows the winner does neither.
    """
    but = ("timings", "prune", "model") if warm else ()
    found = []
    for number, (our, their) in enumerate(zip(ours, theirs, strict=True)):
        for name in vars(our):
            if name in but:
                continue
            left, right = (
                one.without(*but) if name == "events" else getattr(one, name)
                for one in (our, their)
            )
            if left != right:
                found.append(f"call {number}, {name}: {left} is {right} with stock")
    return found
