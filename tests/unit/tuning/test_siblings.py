"""Which keys of a kernel are near, and which never stop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import pytest

from tests.factories import H100, make_key, make_verdict
from tests.fakes import candidate, measured
from tuneonce.model.key import Parts, work_class
from tuneonce.tuning import siblings as module
from tuneonce.tuning.siblings import (
    MANY,
    MOST_KNOWN,
    MOST_TUNED,
    Endless,
    Sibling,
    Siblings,
    adapted,
    by_nearness,
    sibling_of,
    times_of,
)

A, B, C = LIVE = ["a", "b", "c"]


def parts(n: Any = 64, *, dtype: str = "torch.bfloat16", **more: Any) -> Parts:
    return make_key(tuning={"n": n, **more, "x.dtype": dtype}).parts


def one(
    n: Any, winner: str = A, *, size: str = "c03", times: Sequence[float] = (), **more: Any
) -> Sibling:
    """A key that was measured; without times only its winner's is known."""
    known = dict(zip(LIVE, times, strict=True)) if times else {winner: 1.0}
    return Sibling(parts(n, **more), size, winner, known)


def met(*known: Sibling) -> Siblings:
    found = Siblings()
    for sibling in known:
        found.learn(sibling)
    return found


def nearest(asked: Parts, *known: Sibling, size: str = "c03") -> list[int]:
    """The positions of the known ones, the nearest first."""
    found = by_nearness(asked, size, known)
    return [known.index(sibling) for sibling in found]


# -- near ----------------------------------------------------------------------------------------


def test_the_nearest_number_comes_first() -> None:
    assert nearest(parts(100), one(1), one(4096), one(128), one(64)) == [2, 3, 1, 0]


def test_another_dtype_comes_after_every_number() -> None:
    assert nearest(parts(64), one(64, dtype="torch.float32"), one(2**40)) == [1, 0]


def test_a_work_class_counts_as_two_doublings() -> None:
    assert nearest(parts(64), one(64 * 8), one(64, size="c04"), one(64 * 2)) == [2, 1, 0]


def test_an_unknown_work_class_is_farther_than_any_known_one() -> None:
    assert nearest(parts(64), one(64, size="cxx"), one(2**30, size="c09")) == [1, 0]


def test_of_live_candidates_the_fastest_takes_the_place_of_a_winner_that_is_gone() -> None:
    known = Sibling(parts(64), "c03", "gone", {"gone": 1.0, B: 1.5, A: 1.5, C: 2.0})
    found = known.among(LIVE)
    assert found is not None
    assert (found.winner, found.slowness(C)) == (A, pytest.approx(2 / 1.5))
    assert known.among([*LIVE, "gone"]) is known


def test_a_key_of_which_no_live_candidate_ran_says_nothing() -> None:
    known = [one(64, "gone"), one(128)]
    assert adapted(known, LIVE) == known[1:]
    assert [found.winner for found in met(*known).nearest(parts(64), "c03", LIVE)] == [A]


def test_a_winner_that_is_gone_is_no_witness() -> None:
    gone = [Sibling(parts(n), "c03", "gone", {"gone": 1.0, A: 1.5}) for n in (64, 128, 256)]
    assert shared(endless(*gone), 100) is None


def test_ties_are_broken_alike_whatever_the_order() -> None:
    known = [one(32), one(128), one(128, B), one(32, B)]
    expected = by_nearness(parts(64), "c03", known)
    for seed in range(10):
        Random(seed).shuffle(known)
        assert by_nearness(parts(64), "c03", known) == expected


def test_other_worlds_and_sources_are_no_siblings() -> None:
    ours = parts()
    elsewhere = [make_key(product=H100).parts, make_key(source="f" * 16).parts]
    known = met(*(Sibling(other, "c03", A) for other in elsewhere), one(128, B))
    assert [found.winner for found in known.nearest(ours, "c03", LIVE)] == [B]


def test_no_more_are_kept_than_may_be_and_the_oldest_go() -> None:
    known = met(*(one(n) for n in range(1, MOST_KNOWN + 11)))
    found = known.nearest(parts(1), "c03", LIVE)
    assert len(found) == MOST_KNOWN
    assert one(10).parts not in [sibling.parts for sibling in found]


def test_what_is_learned_anew_replaces_what_was_known() -> None:
    known = met(one(64, times=(1, 2, 3)), one(64, times=(1, 9, 9)))
    [found] = known.nearest(parts(65), "c03", LIVE)
    assert found.times == {A: 1, B: 9, C: 9}


def test_a_verdict_says_what_ran_and_how_fast() -> None:
    key = make_key()
    found = sibling_of(make_verdict(key, {64: (0.2,), 128: (0.1,), 256: ()}))
    assert (found.parts, found.work_class) == (key.parts, "c02")
    assert found.winner == candidate(128).digest
    assert found.slowness(candidate(64).digest) == pytest.approx(2.0)
    assert found.slowness(candidate(256).digest) == float("inf")
    assert times_of([measured(64, 0.5, 0.4, 0.6), measured(128, failed="no")]) == {
        candidate(64).digest: 0.5
    }


def test_without_a_time_of_the_winner_nothing_is_known_to_be_as_fast() -> None:
    assert Sibling(parts(), "c03", A, {B: 1.0}).slowness(B) == float("inf")


# -- never stops ---------------------------------------------------------------------------------


def find(known: Siblings, keys: Sequence[Parts]) -> list[Endless]:
    found = [known.meet(key) for key in keys]
    return [endless for endless in found if endless is not None]


def test_an_argument_is_endless_when_more_than_many_keys_differ_in_it_alone() -> None:
    known = Siblings()
    assert find(known, [parts(n) for n in range(MANY)]) == []
    assert find(known, [parts(MANY)]) == [Endless("n", MANY + 1)]
    assert find(known, [parts(n) for n in range(100, 104 + MANY)]) == [], "said once"
    assert known.is_endless(parts(7777))


def test_keys_that_were_found_measured_count_too() -> None:
    known = met(*(one(n) for n in range(1, MANY + 1)))
    assert find(known, [parts(1)]) == [], "met before"
    assert find(known, [parts(99)]) == [Endless("n", MANY + 1)]


def test_the_same_key_again_is_no_new_one() -> None:
    assert find(Siblings(), [parts(n % MANY) for n in range(100)]) == []


@pytest.mark.parametrize(
    "keys",
    [
        [parts(64, dtype=f"torch.float{bits}") for bits in range(MANY + 4)],
        [parts(64, name=f"head{i}") for i in range(MANY + 4)],
        [parts(n, m=1000 - n) for n in range(MANY + 4)],
        [parts(None if n % 2 else "x", flag=bool(n % 3)) for n in range(MANY + 4)],
        [parts(float("inf")), parts(float("nan"))] * MANY,
        [make_key(source=f"{n:016x}").parts for n in range(MANY + 4)],
    ],
    ids=["dtypes", "strings", "two at once", "no numbers", "not finite", "sources"],
)
def test_what_is_not_one_number_alone_is_not_endless(keys: list[Parts]) -> None:
    known = Siblings()
    assert find(known, keys) == []
    assert not any(known.is_endless(key) for key in keys)


def test_floats_and_integers_are_two_kinds() -> None:
    keys = [parts(n if n % 2 else n + 0.5) for n in range(2 * MANY)]
    known = Siblings()
    assert find(known, keys) == []
    assert [found.argument for found in find(known, [parts(0.1)])] == ["n"]


def endless(*known: Sibling) -> Siblings:
    """Of a kernel whose `n` is known to be endless, from keys that nobody has measured."""
    found = met(*known)
    assert find(found, [parts(10**6 + n) for n in range(MANY + 1)]) == [Endless("n", MANY + 1)]
    return found


def shared(known: Siblings, n: Any, size: str = "c03", **more: Any) -> str | None:
    found = known.share(parts(n, **more), size, LIVE)
    return None if found is None else found.winner


def test_siblings_that_have_one_winner_share_it() -> None:
    known = endless(one(64), one(128), one(256))
    assert shared(known, 100) == A
    assert shared(known, 300) == A, "on one side"


def test_nothing_is_shared_before_an_argument_is_endless() -> None:
    assert shared(met(one(64), one(128), one(256)), 100) is None


@pytest.mark.parametrize("known", [(), (one(64),), (one(64), one(128))])
def test_fewer_than_three_siblings_are_not_enough(known: Sequence[Sibling]) -> None:
    assert shared(endless(*known), 100) is None


def test_the_nearest_on_both_sides_must_agree() -> None:
    """Else all keys beyond the number where the winner changes would have that of the small."""
    small, large = [one(n) for n in (64, 65, 66, 67)], [one(n, B) for n in (110, 120)]
    known = endless(*small, *large)
    assert shared(known, 70) is None
    assert shared(known, 66) == A
    assert shared(known, 115) is None, "of three witnesses one is small"


def test_the_nearest_siblings_winner_is_shared() -> None:
    known = endless(
        one(64, times=(1.0, 1.04, 3.0)),
        one(128, B, times=(1.04, 1.0, 3.0)),
        one(256, B, times=(1.04, 1.0, 3.0)),
    )
    assert shared(known, 70) == A
    assert shared(known, 120) == B


@pytest.mark.parametrize("slower", [1.06, 2.0])
def test_winners_that_are_slower_at_each_other_disagree(slower: float) -> None:
    ours = one(64, times=(1.0, 1.0, 3.0))
    theirs = [one(n, B, times=(slower, 1.0, 3.0)) for n in (128, 256)]
    assert shared(endless(ours, *theirs), 100) is None


def test_a_winner_that_was_not_measured_at_the_other_disagrees() -> None:
    assert shared(endless(one(64), one(128, B), one(256, B)), 100) is None


@pytest.mark.parametrize("n", [20, 1000, -100, 0])
def test_a_number_that_is_far_from_all_is_measured(n: int) -> None:
    assert shared(endless(one(64), one(128), one(256)), n) is None


def test_work_classes_that_are_far_apart_are_measured() -> None:
    known = endless(one(64), one(128), one(256))
    assert shared(known, 100, size="c04") == A
    assert shared(known, 100, size="c05") is None


def test_what_differs_in_more_is_not_shared() -> None:
    known = endless(one(64), one(128), one(256))
    assert shared(known, 100, dtype="torch.float32") is None
    assert shared(known, 100, m=1) is None
    assert shared(known, 100.0) is None


def test_another_group_of_an_endless_argument_shares_once_it_has_witnesses() -> None:
    known = endless(*(one(n, B, dtype="torch.float32") for n in (64, 128, 256)))
    assert shared(known, 100, dtype="torch.float32") == B


def test_only_so_many_keys_are_measured_where_siblings_disagree() -> None:
    known = endless(one(64), one(128, B), one(256))
    assert [shared(known, 80) for _ in range(MOST_TUNED + 1)] == [None] * MOST_TUNED + [A]
    assert shared(known, 10**9) == A, "however far"


def test_without_any_sibling_all_are_measured() -> None:
    known = endless()
    assert {shared(known, 100) for _ in range(MOST_TUNED + 10)} == {None}


def test_groups_that_are_kept_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_GROUPS", 3)
    known = Siblings()
    find(known, [parts(n, m=-n) for n in range(1, 50)])
    assert len(known._groups) == 3


def run(winner_of: Callable[[int], str], keys: Sequence[int]) -> tuple[int, list[int]]:
    """How many of these keys were measured, and which got another winner than their own."""
    known, measured_, wrong = Siblings(), 0, []
    for n in keys:
        key, size = parts(n), work_class(n)
        known.meet(key)
        found = known.share(key, size, LIVE)
        if found is None:
            measured_ += 1
            times = {A: 1.0 if winner_of(n) == A else 1.5, B: 1.0 if winner_of(n) == B else 1.5}
            known.learn(Sibling(key, size, winner_of(n), times))
        elif found.winner != winner_of(n):
            wrong.append(n)
    return measured_, wrong


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("border", [0, 300, 2000, 10**6])
def test_a_thousand_keys_of_two_regimes_are_few_measurements(border: int, seed: int) -> None:
    keys = Random(seed).sample(range(1, 8192), 1000)
    measured_, wrong = run(lambda n: A if n < border else B, keys)
    assert measured_ <= MANY + MOST_TUNED
    assert len(wrong) <= 10
    assert all(border / 2 < n < border * 2 for n in wrong)
