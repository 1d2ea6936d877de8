from __future__ import annotations

import math

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneonce.bench.metrics import Outcome, percentile, spread, summarise
from tuneonce.bench.result import Spread

samples = st.lists(st.floats(0, 1e9), min_size=1, max_size=200)


@settings(deadline=None)  # a loaded machine is no failure
@given(samples, st.one_of(st.floats(0, 100), st.sampled_from([0, 1, 25, 50, 90, 99, 99.9, 100])))
def test_percentile_equals_numpy(values: list[float], percent: float) -> None:
    assert percentile(values, percent) == numpy.percentile(values, percent)


@settings(deadline=None)  # a loaded machine is no failure
@given(samples)
def test_spread_equals_numpy(values: list[float]) -> None:
    result = spread(values)
    assert result.p99 == numpy.percentile(values, 99)
    assert result.median == numpy.median(values)
    assert result.mean is not None
    assert math.isclose(result.mean, numpy.mean(values), rel_tol=1e-12)


def test_no_samples_have_no_figures() -> None:
    assert spread([]) == Spread(mean=None, median=None, p99=None)
    with pytest.raises(ValueError, match="at least one"):
        percentile([], 50)
    with pytest.raises(ValueError, match="between 0 and 100"):
        percentile([1.0], 101)


def test_summary_follows_vllms_definitions() -> None:
    outcomes = [
        Outcome(
            prompt_tokens=10,
            output_tokens=3,
            ttft_s=1.0,
            latency_s=2.0,
            itl_s=(0.4, 0.6),
            text="abc",
        ),
        Outcome(error="HTTP 500"),
        # One token has no time per further token.
        Outcome(prompt_tokens=20, output_tokens=1, ttft_s=3.0, latency_s=3.0, text="d"),
        Outcome(error="HTTP 500"),
        Outcome(error="HTTP 503"),
    ]
    result = summarise(outcomes, model="m", duration_s=4.0)
    assert (result.successful, result.failed) == (2, 3)
    assert result.errors == {"HTTP 500": 2, "HTTP 503": 1}
    assert (result.total_input_tokens, result.total_output_tokens) == (30, 4)
    assert result.request_throughput == 0.5
    assert result.output_token_throughput == 1.0
    assert result.total_token_throughput == 8.5
    assert result.ttft_samples_ms == [1000.0, 3000.0]
    assert result.ttft_ms == Spread(mean=2000.0, median=2000.0, p99=2980.0)
    assert result.tpot_samples_ms == [500.0]
    assert result.itl_samples_ms == [400.0, 600.0]
    assert result.output_digest is None


def test_digest_tells_texts_apart() -> None:
    def digest(*texts: str) -> str | None:
        return summarise([Outcome(text=t) for t in texts], model="m", duration_s=1.0).output_digest

    assert digest("a", "b") == digest("a", "b")
    assert len({digest("a", "b"), digest("ab", ""), digest("b", "a"), digest("a")}) == 4


def test_a_load_of_failures_has_no_times() -> None:
    result = summarise([Outcome(error="x")], model="m", duration_s=1.0)
    assert result.ttft_ms.p99 is None
    assert result.request_throughput == 0
