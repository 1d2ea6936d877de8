"""What measured classes let expect of another, and what tries to fool that."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from random import Random
from statistics import fmean

import pytest

from tests.unit.tuning.drifting_levels import drifting
from tuneonce.model.key import class_distance, largest_first
from tuneonce.tuning.between_classes import (
    BEHIND,
    LEAST_ERROR,
    STEP_ERROR,
    between,
    likeliest,
)
from tuneonce.tuning.quantiles import quantile

# Three candidates: one for little work, one for much, and one that is good at both.
SMALL, LARGE, FAIR = 0, 1, 2
BELOW = {SMALL: 1.0, LARGE: 1.4, FAIR: 1.1}
ABOVE = {SMALL: 14.0, LARGE: 10.0, FAIR: 11.0}
ENDS = {"c03": BELOW, "c05": ABOVE}


def test_times_between_two_classes_are_on_a_straight_line_of_logarithms() -> None:
    found = between("c04", ENDS)
    assert found.times == pytest.approx({SMALL: math.sqrt(1.4), LARGE: math.sqrt(1.4), FAIR: 1.1})
    # Half of what they differ by, over the three.
    half = math.log(1.4) / 2
    assert found.error == pytest.approx(math.sqrt(2 * half**2 / 3))
    assert found.on_both_sides
    assert not found.ruled_out
    near_below = between("c04", {"c03": BELOW, "c07": ABOVE}).times
    assert near_below[SMALL] == pytest.approx(1.4**0.25)
    assert near_below[LARGE] == pytest.approx(1.4**0.75)


def test_two_that_agree_are_believed_to_a_least_error() -> None:
    assert between("c04", {"c03": BELOW, "c05": BELOW}).error == LEAST_ERROR


def test_one_that_leads_alone_in_both_is_believed() -> None:
    alone = {0: 1.0, 1: 2.0, 2: 2.2}
    found = between("c04", {"c03": alone, "c05": {0: 1.0, 1: 1.5, 2: 9.0}})
    assert (found.error, found.on_both_sides) == (LEAST_ERROR, True)
    # With one candidate in common nothing can be compared.
    assert not between("c04", {"c03": alone, "c05": {0: 1.0, 7: 1.5}}).on_both_sides


def test_on_one_side_the_nearest_class_orders_and_its_last_are_ruled_out() -> None:
    slow = {**BELOW, 3: 1.0 * BEHIND + 0.01, 4: BEHIND}
    found = between("c04", {"c03": slow, "c01": {SMALL: 3.0, LARGE: 1.0}})
    assert found.times == slow
    assert (found.error, found.on_both_sides) == (STEP_ERROR, False)
    assert found.ruled_out == {3}
    # A class that is farther away rules nobody out, and says less.
    far = between("c05", {"c03": slow})
    assert far.error == pytest.approx(STEP_ERROR * math.sqrt(2))
    assert not far.ruled_out


def test_who_is_fast_in_one_adjacent_class_is_not_ruled_out_by_another() -> None:
    first, second = {0: 1.0, 1: 1.0, 2: 2.0}, {0: 1.0, 1: 1.0, 2: 1.2}
    assert between("c04e05", {"c03e05": first, "c04e04": second}).ruled_out == set()
    assert between("c04e05", {"c03e05": first, "c04e04": first}).ruled_out == {2}
    assert between("c04e05", {"c03e05": first, "c04e04": {0: 1.0, 1: 1.0}}).ruled_out == {2}


def test_what_the_nearest_have_not_measured_comes_from_farther_classes() -> None:
    far = {SMALL: 10.0, LARGE: 14.0, FAIR: 11.0, 3: 30.0}
    times = between("c04", {**ENDS, "c00": far, "cxx": {9: 1.0, 8: 2.0}}).times
    assert times.keys() == {SMALL, LARGE, FAIR, 3}
    assert times[3] > max(times[c] for c in (SMALL, LARGE, FAIR))


@pytest.mark.parametrize(
    ("one", "other", "is_between"),
    [
        ("c03e05", "c05e05", True),
        ("c04e04", "c04e07", True),
        ("c04e04", "c05e06", True),
        # Ever more programs share one large tensor.
        ("c03e06", "c05e04", True),
        ("c03e06", "c05e05", True),
        ("c03e06", "c05e06", False),
        # Neither has as much in all.
        ("c03e05", "c04e04", False),
        ("c03e05", "c03e06", False),
        ("c03", "c05", False),
        ("c03e05", "c05", False),
        ("c03e05", "cxx", False),
    ],
)
def test_a_class_is_between_those_on_whose_way_it_lies(
    one: str, other: str, is_between: bool
) -> None:
    assert between("c04e05", {one: BELOW, other: ABOVE}).on_both_sides is is_between
    assert between("c04e05", {other: BELOW, one: ABOVE}).on_both_sides is is_between


@pytest.mark.parametrize(
    ("other", "rules"),
    [
        ("c03e05", True),
        ("c04e06", True),
        ("c05e04", True),
        ("c05e06", False),
        ("c02e05", False),
        ("c04", False),
        ("cxx", False),
    ],
)
def test_an_adjacent_class_has_four_times_of_something(other: str, rules: bool) -> None:
    slow = {0: 1.0, 1: 1.0, 2: 2.0}
    assert between("c04e05", {other: slow}).ruled_out == ({2} if rules else set())


WINNERS = {"c03": SMALL, "c05": LARGE, "c08": FAIR}


def test_the_winner_that_is_expected_to_be_the_fastest_runs() -> None:
    # The fair one is third at both, and has won elsewhere.
    assert likeliest("c04", ENDS, WINNERS) == "c08"
    del (known := dict(WINNERS))["c08"]
    # Else both are as good, and the larger one stays.
    assert likeliest("c04", ENDS, known) == "c05"
    lopsided = {"c03": {**BELOW, SMALL: 0.9}, "c05": ABOVE}
    assert likeliest("c04", lopsided, known) == "c03"


def test_the_nearest_winner_stays_within_a_tie() -> None:
    ends = {"c03": {0: 1.0, 1: 1.01}, "c05": {0: 10.0, 1: 10.1}}
    assert likeliest("c04", ends, {"c05": 1, "c09": 0}) == "c05"
    ends["c05"][1] = 10.6
    assert likeliest("c04", ends, {"c05": 1, "c09": 0}) == "c09"


def test_nobody_runs_for_being_fast_who_was_not_measured_on_both_sides() -> None:
    ends = {"c03": {0: 1.0, 1: 1.1}, "c05": {0: 1.0, 2: 0.1}}
    assert likeliest("c04", ends, {"c03": 0, "c05": 2}) == "c03"
    assert likeliest("c04", ends, {"c03": 1, "c05": 2}) is None
    assert likeliest("c04", ends, {"c05": 2}) is None


@pytest.mark.parametrize(
    "classes",
    [
        {},
        {"c03": BELOW},
        {"c05": ABOVE},
        {"c02": BELOW, "c03": BELOW},
        {"c04": BELOW},
        {"cxx": BELOW},
        {"cxx": BELOW, "c05": ABOVE},
        {"c03": BELOW, "c05": {}},
        {"c03": BELOW, "c05": {LARGE: 10.0}},
        {"c03": BELOW, "c05": {SMALL: 0.0, LARGE: math.inf, FAIR: math.nan}},
        {"c03": BELOW, "c05": {7: 1.0, 8: 2.0}},
    ],
    ids=str,
)
def test_where_nothing_is_on_one_side_nothing_is_predicted(
    classes: Mapping[str, Mapping[int, float]],
) -> None:
    assert likeliest("c04", classes, WINNERS) is None
    found = between("c04", classes)
    assert not found.on_both_sides
    assert all(math.isfinite(t) and t > 0 for t in found.times.values())
    assert likeliest("cxx", classes, WINNERS) is None
    assert not between("cxx", classes).times


def test_hostile_times_end_in_finite_ones() -> None:
    r = Random(1)
    odd = [0.0, -1.0, math.inf, -math.inf, math.nan, 1e-320, 1e308, 1.0, 2.0]
    names = [f"c{n:02d}" for n in range(6)] + ["cxx", "c03e04", "c02e09"]
    for _ in range(2000):
        classes = {
            name: {c: r.choice(odd) for c in range(r.randrange(5))}
            for name in r.sample(names, r.randrange(len(names)))
        }
        asked = r.choice(names)
        found = between(asked, classes)
        assert all(math.isfinite(t) and t > 0 for t in found.times.values())
        assert math.isfinite(found.error)
        assert found.ruled_out <= found.times.keys()
        winners = {name: r.randrange(5) for name in names}
        assert likeliest(asked, classes, winners) in (None, *names)


# -- leaving out one class at a time -------------------------------------------------------------

CANDIDATES, CLASSES, KERNELS = 16, 6, 200


def leave_one_out(
    choose: Callable[[str, dict[str, dict[int, float]], dict[str, int]], int],
) -> list[float]:
    """The regret of what is chosen for each class that has others on both sides, from times with
    2 % of noise."""
    found = []
    for seed in range(KERNELS):
        r = Random(f"noise {seed}")
        levels = drifting(seed, CANDIDATES, CLASSES)
        classes = {
            f"c{n:02d}": {c: math.exp(n + one + r.gauss(0, 0.02)) for c, one in enumerate(behind)}
            for n, behind in enumerate(levels)
        }
        winners = {name: min(times, key=times.__getitem__) for name, times in classes.items()}
        for n in range(1, CLASSES - 1):
            name = f"c{n:02d}"
            others = {one: times for one, times in classes.items() if one != name}
            theirs = {one: winner for one, winner in winners.items() if one != name}
            found.append(math.exp(levels[n][choose(name, others, theirs)]) - 1)
    return sorted(found)


def of_nearest(name: str, classes: dict[str, dict[int, float]], winners: dict[str, int]) -> int:
    return winners[min(winners, key=lambda one: (class_distance(one, name), largest_first(one)))]


def of_likeliest(name: str, classes: dict[str, dict[int, float]], winners: dict[str, int]) -> int:
    found = likeliest(name, classes, winners)
    assert found is not None
    return winners[found]


def test_the_likeliest_winner_beats_that_of_the_nearest_class() -> None:
    nearest, predicted = leave_one_out(of_nearest), leave_one_out(of_likeliest)
    assert fmean(predicted) <= 0.75 * fmean(nearest)
    assert quantile(predicted, 0.95) <= quantile(nearest, 0.95)


def test_a_winner_of_the_middle_alone_is_not_foreseen_and_what_runs_is_measured_on_both_sides() -> (
    None
):
    ends = {"c03": {0: 1.0, 1: 1.02, 2: 3.0}, "c05": {0: 1.0, 1: 1.02, 2: 3.0}}
    winners = {"c03": 0, "c05": 0, "c09": 2}
    assert likeliest("c04", ends, winners) == "c05"
    # Nor is it ruled out: the error says how far it may be off, and a race asks.
    assert between("c04", ends).ruled_out == set()
