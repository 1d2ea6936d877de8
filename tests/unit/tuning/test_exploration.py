"""Exploring: what it ends at, what it costs, and traffic that tries to fool it."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random
from statistics import fmean, median
from typing import Any

import pytest

from tests.unit.tuning.race_model import Key, make_key
from tests.unit.tuning.traffic_model import Traffic
from tuneonce.tuning.expectations import Expectations, Trust
from tuneonce.tuning.exploration import Exploration
from tuneonce.tuning.quantiles import quantile
from tuneonce.tuning.terms import TERMS, Terms, Verdict

KEYS = 60


def regrets(**traffic: Any) -> list[float]:
    found = []
    for seed in range(KEYS):
        key = make_key(seed)
        found.append(key.regret(Traffic(key, seed=1, **traffic).run().winner))
    return sorted(found)


@pytest.mark.parametrize(
    ("traffic", "p95"),
    [
        ({}, 0.03),
        ({"sizes": 4.0}, 0.04),
        ({"noise": 0.1}, 0.06),
        ({"outliers": 0.1}, 0.10),
        ({"ramp": 1.5}, 0.05),  # the first launches take 2.5 times as long
        pytest.param({"late": 60}, 0.05, marks=pytest.mark.slow),
        pytest.param({"noise": 0.1, "sizes": 4.0, "late": 60}, 0.06, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_what_the_traffic_ends_at_is_as_fast_as_the_fastest(
    traffic: dict[str, float], p95: float
) -> None:
    found = regrets(**traffic)
    assert median(found) <= 0.02
    assert quantile(found, 0.95) <= p95


def test_times_that_grow_with_the_size_are_compared_once_it_is_known_how() -> None:
    """A few small launches of a slower candidate, beside large ones, made it the incumbent, and
    what it replaced was no finalist: at five of two hundred, among them these."""
    key = spread(1.0, *(1.15 + 0.05 * i for i in range(15)))
    quiet: dict[str, Any] = {"noise": 0.02, "outliers": 0.0, "ramp": 0.0, "late": 0}
    for seed in (*range(30, 62), 136, 199):
        traffic = Traffic(key, seed=seed, sizes=4.0, fixed=0.0, arrive_every=1, **quiet)
        assert traffic.run().winner == 0


@pytest.mark.parametrize("seed", range(20))
def test_two_that_lead_in_turns_come_to_an_end(seed: int) -> None:
    """A pass that was under way when another candidate began to serve was waited for, for ever."""
    random, exploration = Random(seed), Exploration([0, 1], 1)
    exploration.available(0)
    verdict = None
    for _ in range(1000):
        choice = exploration.choose(64)
        if exploration.due:  # judged beside a launch that is under way
            verdict = exploration.decide()
        if choice.timed:
            ms = (1.03 if choice.position == 0 else 1.0) * math.exp(random.gauss(0, 0.1))
            exploration.observe(choice, ms)
    assert verdict is not None


def spread(*ms: float) -> Key:
    return Key(
        family="spread",
        ms=ms,
        noise=(0.02,) * len(ms),
        slow_mode=((0.0, 0.0),) * len(ms),
        spikes=0.0,
        step_ms=0.0001,
        offset="uniform",
        seed=3,
    )


def won(key: Key, special: Callable[[int, int], float], **traffic: Any) -> list[int]:
    """The winners of twenty processes."""
    return [Traffic(key, seed=s, special=special, **traffic).run().winner for s in range(20)]


def test_one_that_is_fast_at_first_and_then_slow_does_not_win() -> None:
    """Others are dropped beside it while it is fast: they must be looked at again."""
    key = spread(1.0, 0.8, 1.1, 0.9, 1.0)
    found = won(key, lambda candidate, number: (0.5 if number < 7 else 2.0) ** (candidate == 4))
    assert 4 not in found
    assert found.count(1) >= 18


def test_one_of_two_speeds_counts_by_its_mean() -> None:
    key = spread(1.0, 0.95, 1.2)

    def special(candidate: int, number: int) -> float:
        return (0.6 if number % 3 == 0 else 1.4) if candidate == 0 else 1.0  # 1.13 on average

    found = won(key, special)
    assert found.count(1) >= 18


def test_of_those_that_tie_the_authors_first_wins() -> None:
    key = spread(1.3, 1.0, 1.0, 0.995, 1.0)
    found = won(key, lambda candidate, number: 1.0, noise=0.02)
    assert set(found) == {1}


def test_of_those_that_tie_the_one_that_served_wins() -> None:
    """Where nothing can be told, as of launches that are too short, nothing is changed."""
    key = spread(1.0, 1.0, 1.0, 0.995, 1.0)
    found = [Traffic(key, seed=seed, noise=0.02, served=3).run().winner for seed in range(20)]
    assert set(found) == {3}
    faster = spread(1.0, 1.0, 1.0, 1.1, 1.0)
    found = [Traffic(faster, seed=seed, noise=0.02, served=3).run().winner for seed in range(20)]
    assert set(found) == {0}


def test_a_faster_candidate_serves_before_the_verdict() -> None:
    traffic = Traffic(spread(3.0, 1.0, 1.02), arrive_every=20)
    while traffic.exploration.incumbent == 0:
        assert traffic.step() is None
    assert traffic.count < 80
    traffic.run()


# -- bounds ----------------------------------------------------------------------------------


def test_the_excess_is_bounded_and_reported() -> None:
    """Forty candidates that are all much slower than the one that serves."""
    key = spread(1.0, *[5.0] * 40)
    traffic = Traffic(key, outliers=0.0)
    verdict = traffic.run()
    # One look more than allowed may be on its way.
    assert verdict.excess <= TERMS.excess + 8 * TERMS.side_by_side
    really = traffic.used_ms - traffic.count * key.ms[0]
    assert 0.5 * really < verdict.excess_ms < really  # first launches are believed by half
    assert verdict.winner == 0
    assert verdict.untried
    assert not verdict.certain


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_at_most_the_share_of_launches_explores(share: float) -> None:
    traffic = Traffic(make_key(1), terms=Terms(share=share))
    exploration = traffic.exploration
    while traffic.step() is None:
        assert exploration.explored <= share * exploration.launches
    assert exploration.explored > share * exploration.launches / 5


def test_a_slow_candidate_is_not_launched_again_before_its_time_is_known() -> None:
    """A process may be hundreds of launches ahead of its device."""
    traffic = Traffic(spread(1.0, 9.0), late=500, arrive_every=1, outliers=0.0)
    traffic.run()
    assert traffic.launched[1] <= 4


def test_a_launch_whose_time_never_comes_holds_nothing_up() -> None:
    exploration = Exploration(range(3), 0)
    for position in (1, 2):
        exploration.available(position)
    lost = 0
    for number in range(4000):
        choice = exploration.choose(100)
        if not choice.timed:
            continue
        if number % 3 == 0:
            exploration.lose(choice)
            lost += 1
        else:
            exploration.observe(choice, (1.0, 0.9, 1.2)[choice.position] + number % 7 / 500)
        if exploration.due and (verdict := exploration.decide()):
            break
    assert verdict is not None
    assert verdict.winner == 1
    assert lost > 10


def test_no_more_passes_are_made_than_can_be_judged() -> None:
    """Whoever judges may be busy while thousands of launches come."""
    exploration = Exploration(range(3), 0)
    for position in (1, 2):
        exploration.available(position)
    passes = []
    for _ in range(5000):
        choice = exploration.choose(100)
        if choice.timed:
            exploration.observe(choice, 1.0)
        if exploration._finals is None:
            exploration.decide()
        passes.append(exploration._passes.whole)
    assert max(passes) < TERMS.most_passes + 2
    assert exploration.decide() is not None


# -- what is held back ------------------------------------------------------------------------


def held(key: Key, expected: dict[int, float], out: set[int], **traffic: Any) -> Traffic:
    """Traffic that holds these candidates back, and is given those that are asked for later."""
    found = Traffic(key, arrive_every=5, outliers=0.0, noise=0.02, **traffic)
    positions = range(len(key.ms))
    expectations = Expectations(
        positions, known={}, prior=expected, compile_s={}, trust=Trust(), seed=0, prior_error=0.05
    )
    found.exploration.hold_back(out, expectations)
    found._coming = [c for c in found._coming if c not in found.exploration.held_back]
    return found


def ended(traffic: Traffic) -> Verdict:
    asked = {0, *traffic._coming}
    for _ in range(20_000):
        verdict = traffic.step()
        more = traffic.exploration.pending - asked
        traffic._coming += sorted(more)
        asked |= more
        if verdict is not None:
            return verdict
    raise AssertionError("no verdict")


def test_who_could_not_win_is_never_launched_and_neither_failed_nor_untried() -> None:
    key = spread(1.2, 1.0, 1.5, 1.6, 1.7)
    traffic = held(key, dict(enumerate(key.ms)), {2, 3, 4})
    verdict = ended(traffic)
    assert (verdict.winner, verdict.held_back) == (1, {2, 3, 4})
    assert not verdict.untried | verdict.failed | verdict.dropped & {2, 3, 4}
    assert not traffic.launched.keys() & {2, 3, 4}


def test_who_was_held_back_is_tried_once_the_looks_show_that_this_was_wrong() -> None:
    key = spread(1.2, 1.0, 1.3, 0.8, 1.7)
    # The favourite is far from the best of those that were looked at.
    verdict = ended(held(key, {0: 1.0, 1: 1.4, 2: 1.3, 3: 3.0, 4: 1.7}, {2, 3, 4}))
    assert (verdict.winner, verdict.held_back) == (3, frozenset())


def test_if_those_that_were_expected_fail_the_others_are_tried() -> None:
    key = spread(1.2, math.inf, math.inf, 0.8, 1.0)
    expected = {0: 1.8, 1: 1.0, 2: 1.0, 3: 1.4, 4: 1.5}
    verdict = ended(held(key, expected, {3, 4}))
    assert verdict.winner == 3
    assert verdict.failed == {1, 2}


def test_if_the_only_one_that_ran_fails_one_that_was_not_held_back_serves() -> None:
    exploration = held(spread(1.0, 1.0, 1.0), {0: 1.0, 1: 1.8, 2: 1.0}, {1}).exploration
    exploration.fail(0)
    assert exploration.incumbent == 2
    exploration.fail(2)
    assert exploration.incumbent == 1
    assert not exploration.held_back


def test_what_is_known_or_loaded_is_not_held_back() -> None:
    exploration = Exploration(range(4), 0)
    exploration.restore({0: (1.0, 3), 1: (1.1, 3)})
    exploration.available(2)
    exploration.hold_back(
        range(4),
        Expectations(range(4), known={}, prior={}, compile_s={}, trust=Trust(), seed=0),
    )
    assert exploration.held_back == {3}


# -- what becomes of candidates --------------------------------------------------------------


def test_what_its_launches_have_taken_is_known_once_times_come() -> None:
    """Whose code is generated first: few long launches are more than many short ones."""
    long, short = Exploration([0, 1], 0), Exploration([0, 1], 0)
    for exploration, ms, launches in ((long, 2.0, 10), (short, 0.01, 1000)):
        for _ in range(launches):
            exploration.observe(exploration.choose(1), ms)
    assert (long.device_ms, short.device_ms) == (20.0, 10.0)
    first = Exploration([0, 1], 0)
    first.observe(first.choose(1), 300.0)  # with its loading
    assert first.device_ms == 0.0


def test_one_that_fails_is_not_launched_again() -> None:
    traffic = Traffic(make_key(2), outliers=0.0)
    exploration = traffic.exploration
    while len(exploration.rank()) < 3:
        traffic.step()
    gone = exploration.incumbent
    exploration.fail(gone)
    assert exploration.incumbent != gone
    before = traffic.launched.get(gone)
    assert traffic.run().winner != gone
    assert traffic.launched.get(gone) == before
    assert gone in exploration.failed


def test_the_verdict_waits_for_what_is_still_compiled() -> None:
    exploration = Exploration(range(3), 0)
    exploration.available(1)
    for _ in range(200):
        choice = exploration.choose(100)
        if choice.timed:
            exploration.observe(choice, (1.0, 1.5, 0.5)[choice.position])
        assert exploration.decide() is None
    exploration.missing(2)
    for _ in range(200):
        choice = exploration.choose(100)
        if choice.timed:
            exploration.observe(choice, (1.0, 1.5, 0.5)[choice.position])
        if verdict := exploration.decide():
            break
    assert verdict is not None
    assert (verdict.winner, verdict.untried) == (0, {2})


def test_if_the_one_that_serves_fails_before_others_are_known_the_next_serves() -> None:
    exploration = Exploration(range(3), 0)
    exploration.fail(0)
    assert exploration.choose(100).position == 1
    exploration.available(2)
    exploration.fail(1)
    assert exploration.choose(100).position == 2
    exploration.fail(2)
    assert exploration.choose(100).position == 2  # whatever is launched says what is wrong


def test_a_key_of_one_that_runs_ends_at_once() -> None:
    exploration = Exploration(range(2), 0)
    exploration.fail(1)
    verdict = exploration.decide()
    assert verdict is not None
    assert verdict.winner == 0
    assert exploration.choose(1).position == 0


def test_after_the_verdict_the_winner_runs_untimed() -> None:
    traffic = Traffic(make_key(5))
    winner = traffic.run().winner
    choice = traffic.exploration.choose(100)
    assert (choice.position, choice.timed) == (winner, False)


# -- another process goes on -----------------------------------------------------------------


def test_another_process_goes_on() -> None:
    """Of the second half it needs no look: what was far behind is not launched again."""
    whole, rest, tried, tried_again = [], [], 0, 0
    for seed in range(20):
        key = make_key(seed, count=20, family="spread")
        first = Traffic(key, seed=1)
        whole.append(Traffic(key, seed=1).run().explored)
        while first.exploration._looking or first.exploration.pending:
            first.step()
        known = {p: (s.median_ms, s.samples) for p, s in first.exploration.summaries().items()}
        second = Traffic(key, seed=2)
        for position in first.exploration.failed:
            second.exploration.fail(position)
        second.exploration.restore(known)
        verdict = second.run()
        for position in first.exploration.dropped - {verdict.winner}:
            tried += first.launched[position]
            tried_again += second.launched.get(position, 0)
        rest.append(verdict.explored)
        assert key.regret(verdict.winner) <= 0.05
    assert tried_again < 0.2 * tried
    assert fmean(rest) < 0.8 * fmean(whole)


def test_summaries_are_times_of_one_size() -> None:
    traffic = Traffic(spread(1.0, 1.1, 1.25), sizes=4.0, outliers=0.0, ramp=0.0)
    traffic.run()
    found = traffic.exploration.summaries()
    assert found[2].median_ms / found[0].median_ms == pytest.approx(1.25, rel=0.1)
    assert found[1].median_ms / found[0].median_ms == pytest.approx(1.1, rel=0.05)
    assert all(s.p20_ms <= s.median_ms <= s.p80_ms for s in found.values())
    assert all(math.isfinite(s.median_ms) and s.samples for s in found.values())


def test_the_incumbent_is_a_candidate() -> None:
    with pytest.raises(ValueError, match="incumbent"):
        Exploration([1, 2], 0)
