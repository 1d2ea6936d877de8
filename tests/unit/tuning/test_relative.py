"""Times in units of the fastest, and two lists of them made one."""

from __future__ import annotations

import math

import pytest

from tuneonce.tuning.relative import bounded, complete, relative


def test_what_is_no_time_is_left_out() -> None:
    assert relative({0: 4.0, 1: 2.0, 2: 0.0, 3: -1.0, 4: math.inf, 5: math.nan}) == {0: 2.0, 1: 1.0}
    assert relative({0: 0.0}) == {}
    assert relative({}) == {}


def test_factors_are_bounded_so_that_means_are_finite() -> None:
    assert relative({0: 1e-300, 1: 1e300}) == {0: 1.0, 1: bounded(math.inf)}
    assert math.isfinite(bounded(math.inf))
    assert bounded(0.0) > 0


def test_what_one_lacks_comes_from_the_other_in_its_unit() -> None:
    near = {"a": 1.0, "b": 2.0}
    assert complete(near, {"b": 20.0, "c": 30.0}) == pytest.approx({**near, "c": 3.0})
    assert complete(near, {"c": 30.0}) == near
    assert complete({}, {"c": 30.0}) == {"c": 30.0}
    assert complete(near, {}) == near
