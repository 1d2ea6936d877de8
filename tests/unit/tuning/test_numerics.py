"""Who has equal bits, who is unsteady, who is wrong, and who is not to be accused."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuneonce.tuning.numerics import (
    REFERENCES,
    Conclusion,
    Panel,
    Standing,
    conclude,
    far_beyond,
    refuted,
    standings,
)

FAR = 0.1


def concluded(
    values: Sequence[float],
    *,
    arrival: Sequence[int] | None = None,
    unsteady: Sequence[int] = (),
    missing: Sequence[int] = (),
    room: int = REFERENCES,
    far: float | None = FAR,
) -> Conclusion[int]:
    """Candidates that each wrote one number, whose differences are their distances."""
    panel = Panel[int](far)
    for one in arrival if arrival is not None else range(len(values)):
        if one in missing:
            continue
        panel.add(
            one,
            str(values[one]),
            steady=one not in unsteady,
            distances={r: abs(values[one] - values[r]) for r in panel.references},
            room=len(panel.references) < room,
        )
    return conclude(range(len(values)), panel.seen)


def test_classes_are_numbered_in_the_authors_order() -> None:
    found = concluded([1.0, 1.01, 1.0, 1.02, 1.01], arrival=[3, 4, 2, 1, 0])
    assert found.classes == {0: 0, 1: 1, 2: 0, 3: 2, 4: 1}
    assert found.constant == {0, 2}
    assert (found.wrong, found.disagrees) == (frozenset(), False)


def test_the_unsteady_are_out_unless_all_are() -> None:
    found = concluded([1.0, 1.0, 1.0], unsteady=[0])
    assert found.classes == {1: 0, 2: 0}
    assert found.unsteady == {0}
    assert found.constant == {1, 2}
    assert concluded([1.0, 1.0, 1.0], unsteady=[0, 1, 2]).constant == {0, 1, 2}


def test_who_is_far_from_the_rest_is_wrong() -> None:
    found = concluded([1.0, 1.01, 5.0, 1.02])
    assert found.wrong == {2}
    assert found.distances[2] == 4.0
    assert not found.disagrees


def test_the_authors_first_candidate_is_not_accused() -> None:
    found = concluded([5.0, 1.0, 1.0, 1.0])
    assert found.wrong == frozenset()
    assert found.disagrees
    assert found.apart == {0}


def test_nobody_is_accused_beside_it() -> None:
    assert concluded([5.0, 1.0, 1.0, 1.0, 9.0]).wrong == frozenset()


def test_nor_where_it_was_not_seen() -> None:
    found = concluded([1.0, 1.0, 1.0, 5.0], missing=[0])
    assert (found.wrong, found.disagrees) == (frozenset(), True)


@pytest.mark.parametrize("values", [[1.0, 5.0], [1.0, 1.0, 5.0, 5.0], [1.0, 3.0, 5.0, 7.0]])
def test_no_majority_accuses_nobody(values: list[float]) -> None:
    found = concluded(values)
    assert (found.wrong, found.disagrees) == (frozenset(), True)
    # From the first that was seen.
    assert found.apart == {i for i, value in enumerate(values) if value != values[0]}


def test_what_is_no_number_is_far_and_so_is_nan() -> None:
    assert concluded([1.0, 1.0, inf]).wrong == {2}
    assert concluded([1.0, 1.0, nan]).wrong == {2}


def test_without_distances_nobody_is_wrong() -> None:
    found = concluded([1.0, 1.0, 5.0], far=None)
    assert (found.wrong, found.disagrees) == (frozenset(), False)
    assert found.classes == {0: 0, 1: 0, 2: 1}


def test_no_room_for_a_reference_only_costs_opinions() -> None:
    """The right ones came after a wrong one, and none of them could be kept."""
    found = concluded([1.0, 1.0, 5.0, 1.0], arrival=[2, 0, 1, 3], room=1)
    assert (found.wrong, found.disagrees) == (frozenset(), True)


def test_no_room_for_any_reference_leaves_the_bits() -> None:
    found = concluded([1.0, 1.0, 5.0], room=0)
    assert (found.wrong, found.disagrees) == (frozenset(), False)
    assert found.classes == {0: 0, 1: 0, 2: 1}


def test_one_that_came_before_what_it_is_measured_by() -> None:
    """Two wrong ones that agree come first; the second was never compared with the right ones."""
    found = concluded([1.0, 1.0, 5.0, 5.0, 1.0, 1.0], arrival=[2, 3, 0, 1, 4, 5])
    assert found.wrong == {2, 3}
    assert found.distances[3] == 4.0


def test_nothing_was_seen() -> None:
    assert conclude([0, 1], {}) == Conclusion({}, frozenset(), {}, frozenset(), False)
    assert conclude([0, 1], {}).constant == frozenset()


@given(st.lists(st.sampled_from([1.0, 1.05, 3.0, 5.0]), min_size=1, max_size=9), st.randoms())
def test_the_order_of_arrival_accuses_nobody_else(values: list[float], random: object) -> None:
    """As long as near is near: 1.0 and 1.05 are, and nothing else."""
    arrival = list(range(len(values)))
    random.shuffle(arrival)  # type: ignore[attr-defined]
    usual, other = concluded(values, room=9), concluded(values, arrival=arrival, room=9)
    few = len({v for v in values if v != 1.05}) <= REFERENCES
    assert other.classes == usual.classes
    assert other.constant == usual.constant
    if few:
        assert (other.wrong, other.disagrees) == (usual.wrong, usual.disagrees)


@given(
    st.lists(st.sampled_from([1.0, 1.05, 3.0, 5.0, inf]), min_size=1, max_size=9),
    st.sets(st.integers(0, 8)),
    st.integers(1, 3),
)
def test_what_is_never_broken(values: list[float], unsteady: set[int], room: int) -> None:
    found = concluded(values, unsteady=sorted(unsteady), room=room)
    assert 0 not in found.wrong
    assert 2 * len(found.wrong) < len(values)
    assert not (found.wrong and found.disagrees)
    assert bool(found.apart) == bool(found.wrong or found.disagrees)
    assert found.constant
    assert len({values[one] for one in found.constant if one in found.classes}) <= 1
    assert {*found.classes} | found.unsteady == {*range(len(values))}
    if max(values) - min(values) <= FAR:
        assert not found.wrong
        assert not found.disagrees


# -- thresholds ------------------------------------------------------------------------------


def test_the_coarsest_type_decides() -> None:
    assert far_beyond([32], 1) == pytest.approx(1 / 64, rel=1e-3)
    assert far_beyond([32, 16], 1) == pytest.approx(1 / 16, rel=1e-3)
    assert far_beyond([32, 8], 1) == pytest.approx(1 / 4, rel=1e-3)
    assert far_beyond([64], 1) == far_beyond([32], 1)


def test_long_sums_may_round_more_and_never_as_much_as_nothing_written() -> None:
    usual = far_beyond([32], 1)
    long = far_beyond([32], 1 << 32)
    assert usual is not None
    assert long is not None
    assert usual < long < 1
    assert far_beyond([8], 1 << 60) == 0.5


def test_without_floating_point_there_is_no_distance() -> None:
    assert far_beyond([], 1) is None
    assert far_beyond([1], 1) is None


# -- over several tunes ----------------------------------------------------------------------


def test_one_inequality_refutes_and_equalities_support() -> None:
    found = standings(
        "a",
        [
            ({"a": 0, "b": 0, "c": 0}, 64),
            ({"a": 0, "b": 1, "c": 0}, 4096),
            ({"a": 0, "b": 0}, None),
            ({"b": 0, "c": 1}, 8),  # says nothing about `a`
        ],
    )
    assert found["b"] == Standing(2, 1, frozenset({64}))
    assert found["c"] == Standing(2, 0, frozenset({64, 4096}))
    assert (found["b"].refuted, found["c"].refuted) == (True, False)
    assert refuted("a", [({"a": 0, "b": 0, "c": 0}, 64), ({"a": 0, "b": 1}, 8)]) == {"b"}


def test_one_that_was_unsteady_once_is_refuted() -> None:
    found = standings("a", [({"a": 0, "b": -1}, 1), ({"a": -1, "b": -1, "c": 0}, 1)])
    assert found == {
        "a": Standing(1, 1, frozenset({1})),
        "b": Standing(0, 2),
        "c": Standing(0, 1),
    }


@given(
    st.lists(
        st.tuples(st.dictionaries(st.sampled_from("abc"), st.integers(-1, 2)), st.integers(1, 4))
    ),
    st.randoms(),
)
def test_the_order_of_sightings_does_not_matter(
    sightings: list[tuple[dict[str, int], int]], random: object
) -> None:
    before = standings("a", sightings)
    random.shuffle(sightings)  # type: ignore[attr-defined]
    assert standings("a", sightings) == before
