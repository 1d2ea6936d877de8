"""Which class's winner stands for a launch, where nothing is measured."""

from __future__ import annotations

import itertools

import pytest

from tuneonce.model.key import UNKNOWN_CLASS
from tuneonce.tuning.class_winners import ClassWinners, largest_class, nearest_class

CLASSES = ("c00e05", "c03e05", "c03e07", "c07", "cxx")


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("c03e05", "c03e05"),  # its own
        ("c01e05", "c00e05"),
        ("c02e05", "c03e05"),
        ("c03e06", "c03e07"),  # of two as near the one with more elements
        ("c05e06", "c03e07"),  # three steps from c07, too, which has less to do
        ("c09e09", "c07"),
        ("c00", "c00e05"),
        (UNKNOWN_CLASS, UNKNOWN_CLASS),
    ],
)
def test_its_own_or_the_nearest_and_of_two_the_larger(asked: str, found: str) -> None:
    assert {nearest_class(asked, order) for order in itertools.permutations(CLASSES)} == {found}


def test_of_two_as_near_with_as_much_work_it_is_the_one_with_more_programs() -> None:
    for order in (("c02e06", "c04e04"), ("c04e04", "c02e06")):
        assert nearest_class("c03e05", order) == "c04e04"


def test_of_an_unknown_size_it_is_the_largest_as_nothing_is_near() -> None:
    known = CLASSES[:-1]
    assert nearest_class(UNKNOWN_CLASS, known) == largest_class(known) == "c03e07"
    assert nearest_class("c03e05", [UNKNOWN_CLASS]) == UNKNOWN_CLASS
    assert nearest_class("c03e05", []) is None


def test_the_largest_has_the_most_work_and_an_unknown_size_comes_last() -> None:
    for order in itertools.permutations(["c00", "c03", "c11", "cxx"]):
        assert largest_class(order) == "c11"
    assert largest_class(["cxx"]) == "cxx"
    assert largest_class([]) is None


@pytest.mark.parametrize(
    ("winners", "differ", "by_elements"),
    [
        ({}, False, False),
        ({"c00e05": "a"}, False, False),
        ({"c00e05": "a", "c03e02": "a"}, False, False),
        ({"c00e05": "a", "c03e05": "b"}, True, False),
        ({"c00e05": "a", "c03e05": "b", "cxx": "c"}, True, False),
        ({"c00": "a", "c03": "b"}, True, False),
        ({"c00e05": "a", "c03e04": "b"}, True, True),
        ({"c00e05": "a", "c03": "b"}, True, True),
    ],
)
def test_what_of_a_launchs_size_matters(
    winners: dict[str, str], differ: bool, by_elements: bool
) -> None:
    found = ClassWinners(winners)
    assert (found.differ, found.differ_by_elements) == (differ, by_elements)


@pytest.mark.parametrize("winners", [("c00e05", "c03e05"), ("c00e05", "c03e05", "cxx"), ("c02",)])
def test_where_elements_do_not_matter_no_number_of_them_changes_the_winner(
    winners: tuple[str, ...],
) -> None:
    assert not ClassWinners({name: name for name in winners}).differ_by_elements
    for programs in range(12):
        names = [f"c{programs:02d}", *(f"c{programs:02d}e{share:02d}" for share in range(16))]
        assert len({nearest_class(name, winners) for name in names}) == 1
