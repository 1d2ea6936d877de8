from __future__ import annotations

from statistics import quantiles

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuneonce.tuning.quantiles import quantile

SAMPLES = st.lists(st.floats(1e-5, 1e5), min_size=2).map(sorted)


@given(SAMPLES)
def test_quantiles_are_those_of_the_standard_library(samples: list[float]) -> None:
    fifths = quantiles(samples, n=5, method="inclusive")
    ours = [quantile(samples, number / 5) for number in range(1, 5)]
    assert ours == pytest.approx(fifths, rel=1e-12)


@given(SAMPLES)
def test_the_ends_are_the_least_and_the_greatest(samples: list[float]) -> None:
    assert (quantile(samples, 0.0), quantile(samples, 1.0)) == (samples[0], samples[-1])
    assert quantile(samples[:1], 0.2) == samples[0]


def test_recorded_quantiles_keep_their_last_bits() -> None:
    samples = [0.1, 0.3, 0.7, 1.1]
    assert [quantile(samples, q) for q in (0.5, 0.2, 0.8)] == [
        0.3 + (0.7 - 0.3) * 0.5,
        0.1 + (0.3 - 0.1) * (0.2 * 3),
        0.7 + (1.1 - 0.7) * (0.8 * 3 - 2),
    ]
