"""Who is looked at first because of what is expected, and who may still win after that."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest

from tuneonce.tuning.expectations import Expectations, Expected, Trust

TRUST = Trust()
TWENTY = {c: 1.0 + 0.2 * c for c in range(20)}


def expected(times: Mapping[int, float], error: float = 0.05) -> Expected:
    return Expected.of(times, error, TRUST)


def test_the_promising_are_the_near_and_at_least_a_few() -> None:
    assert expected({3: 2.0, 1: 1.1, 0: 1.0, 2: 1.14, 4: 1.0}).promising() == [0, 4, 1, 2]
    assert expected(TWENTY).promising() == [0, 1, 2]
    assert expected({0: 1.0}).promising() == [0]


def test_what_is_no_time_is_not_expected() -> None:
    times = {0: math.nan, 1: math.inf, 2: 0.0, 3: -1.0, 4: 2.0}
    assert expected(times).times == {4: 2.0}


@pytest.mark.parametrize("unit", [1.0, 1e-6, 1e6])
def test_who_is_as_expected_leaves_the_slow_out(unit: float) -> None:
    seen = {c: unit * TWENTY[c] for c in (0, 1, 2, 10)}
    assert expected(TWENTY).could_win(seen) == []
    # One that is expected within the error of the best is not left out.
    assert expected({**TWENTY, 19: 1.02}).could_win(seen) == [19]


def test_who_was_not_seen_may_all_win_where_nothing_can_be_compared() -> None:
    assert expected(TWENTY).could_win({30: 1.0}) == list(TWENTY)


def test_an_expectation_that_is_wrong_leaves_nobody_out() -> None:
    unseen = [c for c in TWENTY if c > 2]
    # Far off, and its favourite is not the best of those that were seen.
    assert expected(TWENTY).could_win({0: 1.0, 1: 9.0, 2: 0.2}) == unseen
    assert expected(TWENTY).could_win({0: 1.2, 1: 1.0, 2: 1.45}) == unseen


def ask(count: int = 20, **more: Any) -> Expectations:
    given: dict[str, Any] = {"known": {}, "prior": {}, "compile_s": {}, **more}
    return Expectations(range(count), trust=TRUST, seed=0, **given)


def test_without_expectations_the_first_wave_is_everybody() -> None:
    assert ask().first() == list(range(20))


def test_the_first_wave_has_the_first_of_the_list_and_probes() -> None:
    backwards = {c: 1.0 + 0.2 * (19 - c) for c in range(20)}
    wave = ask(prior=backwards).first()
    assert {19, 18, 17, 0} < set(wave)
    assert len(wave) == 4 + math.ceil(16 / TRUST.probe_every)
    assert len(set(wave)) == len(wave)


def test_the_first_wave_has_those_of_whom_nothing_is_expected() -> None:
    assert {20, 21} < set(ask(22, prior=TWENTY).first())


def test_what_was_measured_counts_before_what_others_measured() -> None:
    wave = ask(4, known={0: 1.0, 1: 9.0, 2: 9.0, 3: 9.0}, prior={3: 0.1}).first()
    assert wave[0] == 0


def test_without_probes_the_first_wave_is_a_handful_and_the_first_of_the_list() -> None:
    backwards = {c: 1.0 + 0.04 * (19 - c) for c in range(20)}
    assert set(ask(prior=backwards, prior_error=0.04, probes=False).first()) == {19, 18, 17, 0}
    # What nobody has measured is, all the same.
    assert 20 in ask(21, prior=backwards, prior_error=0.04, probes=False).first()


def test_the_error_that_is_given_says_who_could_win() -> None:
    seen = {c: TWENTY[c] for c in (0, 1, 2)}
    assert ask(prior=TWENTY, prior_error=0.04, probes=False).more(seen, seen) == []
    assert ask(prior=TWENTY, prior_error=0.28, probes=False).more(seen, seen) == [3]
    # One that is wrong leaves nobody out, whatever it says of itself.
    upset = {0: 1.2, 1: 1.0, 2: 1.4}
    assert ask(prior=TWENTY, prior_error=0.04, probes=False).more(upset, upset) == [*range(3, 20)]
    assert ask(prior=TWENTY, prior_error=0.04, probes=False).more({}, {0, 1, 2}) == [*range(3, 20)]
