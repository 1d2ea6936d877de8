"""Answers that only the store, or the frozen set, can change."""

from __future__ import annotations

import itertools

import msgspec
import pytest

from tests.factories import make_verdict, put_variants, record
from tests.fakes import FaultyStore, RememberedEvents, journals_of, measured, question
from tests.unit.resolution.desk import THREE, Desk, d
from tests.unit.resolution.test_frozen import frozen
from tuneonce.errors import StoreUnavailable
from tuneonce.model.frozen import FrozenSet
from tuneonce.model.records import Verdict, pack
from tuneonce.resolution import deterministic
from tuneonce.resolution.deterministic import DeterministicResolver
from tuneonce.resolution.resolver import Outcome, Question, Resolution
from tuneonce.store import Store
from tuneonce.store.readonly import ReadOnlyStore


def over(
    store: Store, held: FrozenSet | None = None, *, by_class: bool = True
) -> DeterministicResolver:
    """The resolver of a process, as an installation has it."""
    return DeterministicResolver(
        ReadOnlyStore(store), RememberedEvents(), journals=None, frozen=held, by_class=by_class
    )


def put(store: Store, asked: Question, winner: int, **fields: object) -> str:
    """Store a verdict over the question's list; its name."""
    times = {16: (3.0,), 32: (2.0,), 64: (1.0,)}
    verdict: Verdict = make_verdict(asked.key, times, winner=winner, work_class=asked.work_class)
    verdict = msgspec.structs.replace(verdict, candidates=asked.digests, **fields)
    name = asked.key.verdict_name(asked.work_class, asked.digests)
    store.put(name, pack(verdict))
    return name


def contents(store: Store) -> dict[str, bytes | None]:
    return {name: store.get(name) for name in store.list("")}


ASKED = question(16, 32, 64)


def test_nothing_stored_is_the_first_candidate(store: Store) -> None:
    found = over(store).resolve(ASKED)
    assert (found.outcome, found.winner, found.reason) == (Outcome.MISS, None, "first_candidate")


def test_the_verdict_of_exactly_this_list(store: Store) -> None:
    put(store, ASKED, 32)
    found = over(store).resolve(ASKED)
    assert (found.outcome, found.winner, found.reason) == (Outcome.HIT, d(32), None)
    assert set(found.known) == {d(16), d(32), d(64)}
    assert over(store).resolve(question(64, 16, 32)).winner == d(32)
    for other in (question(16, 32), question(16, 32, 64, 128), question(16, 32, 64, n=2)):
        assert over(store).resolve(other).winner is None


STORED = {"c00": 16, "c03": 32, "c09": 64, "cxx": 16}


def put_all(store: Store, winners: dict[str, int]) -> None:
    for work_class, winner in winners.items():
        put(store, question(16, 32, 64, work_class=work_class), winner)


def of_class(work_class: str) -> Question:
    return question(16, 32, 64, work_class=work_class)


@pytest.mark.parametrize("order", [*itertools.permutations(["c00", "c02", "c06", "cxx"])])
def test_a_size_gets_its_own_winner_or_the_nearest_in_whatever_order(
    store: Store, order: tuple[str, ...]
) -> None:
    put_all(store, STORED)
    resolver = over(store)
    expected = {"c00": 16, "c02": 32, "c06": 64, "cxx": 16}  # c06 is as near to c03 as to c09
    found = {asked: resolver.resolve(of_class(asked)) for asked in order}
    assert {asked: one.winner for asked, one in found.items()} == {
        asked: d(winner) for asked, winner in expected.items()
    }
    hits = {asked for asked, one in found.items() if one.outcome is Outcome.HIT}
    assert hits == {"c00", "cxx"}
    assert {found[asked].reason for asked in ("c02", "c06")} == {"work_class"}
    of_key = {name: d(winner) for name, winner in STORED.items()}
    assert all(one.of_key and one.of_key.winners == of_key for one in found.values())


def test_what_a_store_has_of_a_key_is_read_once(store: Store) -> None:
    put_all(store, {"c00": 16, "c09": 64})
    counted = FaultyStore(store)
    resolver = over(counted)
    assert resolver.resolve(of_class("c00")).winner == d(16)
    read = len(counted.calls)
    put_all(store, {"c00": 32, "c03": 32})
    [name] = [name for name in store.list("") if "/c09." in name]
    assert store.delete_if(name, store.get(name) or b"")
    answers = [resolver.resolve(of_class(name)).winner for name in ("c00", "c03", "c09")]
    assert answers == [d(16), d(16), d(64)]
    assert len(counted.calls) == read
    assert over(store).resolve(of_class("c03")).winner == d(32)


def test_what_failed_at_any_size_is_known_at_all(store: Store) -> None:
    """Or which size is met first would decide what is tried last."""
    put_all(store, {"c00": 32})
    failed = [measured(16, failed="did not run", work_class="c09"), measured(32, 1.0)]
    put(store, of_class("c09"), 32, measurements=failed)
    for name in ("c00", "c09", "cxx"):
        of_key = over(store).resolve(of_class(name)).of_key
        assert of_key is not None
        assert of_key.failed == {d(16)}


@pytest.mark.parametrize("order", [*itertools.permutations(["c00", "c03", "c09", "cxx"])])
def test_without_work_classes_the_largest_is_for_all(store: Store, order: tuple[str, ...]) -> None:
    put_all(store, {work_class: STORED[work_class] for work_class in order})
    answers = [
        over(store, by_class=False).resolve(of_class(asked))
        for asked in ("c00", "c03", "c05", "c09", "c15", "cxx")
    ]
    assert {found.winner for found in answers} == {d(64)}
    assert [found.outcome for found in answers].count(Outcome.HIT) == 1
    assert {found.reason for found in answers} == {None, "work_class"}


def test_what_was_taken_over_from_triton_comes_last(store: Store) -> None:
    put(store, question(16, 32, 64, work_class="cxx"), 64, origin="stock-cache")
    found = over(store).resolve(ASKED)
    assert (found.outcome, found.winner, found.reason) == (
        Outcome.PROVISIONAL, d(64), "stock_cache"
    )  # fmt: skip
    put(store, question(16, 32, 64, work_class="c00"), 32)
    assert over(store).resolve(ASKED).winner == d(32)


def test_measurements_decide_nothing(store: Store) -> None:
    """Those in a journal are of this machine alone, and of a tuning that may still go on."""
    desk = Desk(store)
    for one in THREE:
        record(desk.resolver, ASKED, one)
    journal = journals_of(store).begin(ASKED.journal, "gpu", ASKED.key.directory)
    if journal is not None:
        for one in THREE:
            journal.record(msgspec.structs.replace(one, key=ASKED.key.digest))
        journal.close()
    assert desk.resolver.resolve(ASKED).winner == d(32)
    assert over(store).resolve(ASKED).winner is None


def test_a_failure_holds_for_ever(store: Store) -> None:
    """Whether it still does would depend on the clock."""
    failed = [measured(16, failed="did not run", at=1.0), measured(32, 1.0, at=1.0)]
    put(store, ASKED, 32, measurements=failed)
    assert over(store).resolve(ASKED).known[d(16)].failed == "did not run"


def test_a_broken_verdict_is_passed_over_and_left_in_place(store: Store) -> None:
    put(store, question(16, 32, 64, work_class="c00"), 32)
    name = put(store, question(16, 32, 64, work_class="c09"), 64)
    data = store.get(name)
    assert data is not None
    store.put(name, data[:-9])
    before = contents(store)
    resolver = over(store)
    assert resolver.resolve(ASKED).winner == d(32)
    assert contents(store) == before


def test_a_winner_that_is_no_candidate_is_not_used(store: Store) -> None:
    # A list's digest is short; whoever writes to a store can make one that fits.
    other = make_verdict(ASKED.key, {128: (1.0,)}, work_class="c03")
    store.put(ASKED.key.verdict_name("c03", ASKED.digests), pack(other))
    assert over(store).resolve(ASKED).winner is None


def test_of_a_folder_that_is_too_full_nothing_is_used(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deterministic, "_NAMES", 3)
    put(store, ASKED, 32)
    put_variants(store, ASKED.key, 16, 32)
    assert over(store).resolve(ASKED).winner == d(32)
    put_variants(store, ASKED.key, 16)
    resolver = over(store)
    assert resolver.resolve(ASKED).winner is None
    assert resolver._events.problems() == ["too_many_records"]  # type: ignore[attr-defined]


def test_a_store_that_fails_is_the_first_candidate(store: Store) -> None:
    put(store, ASKED, 32)
    down = StoreUnavailable("down")
    resolver = over(FaultyStore(store, get=down, children=down))
    assert resolver.resolve(ASKED).reason == "first_candidate"
    assert resolver._events.problems() == ["store_failed"]  # type: ignore[attr-defined]


def test_with_a_frozen_set_the_store_is_not_asked(store: Store) -> None:
    put(store, ASKED, 32)
    counted = FaultyStore(store)
    held = frozen(ASKED, d(64))
    assert over(counted, held).resolve(ASKED).winner == d(64)
    other = question(16, 32, 64, n=2)
    put(store, other, 32)
    found = over(counted, held).resolve(other)
    assert (found.winner, found.reason) == (None, "first_candidate")
    assert counted.calls == []


def test_the_store_and_the_set_that_was_frozen_of_it_say_the_same(store: Store) -> None:
    from tuneonce.inspect.freezing import freeze

    for work_class, winner in (("c00", 16), ("c07", 32), ("cxx", 64)):
        put(store, question(16, 32, 64, work_class=work_class), winner)
    held = freeze(store).frozen
    for asked, by_class, winner in (("c01", True, 16), ("c07", True, 32), ("c01", False, 32)):
        found = [
            over(store, one, by_class=by_class).resolve(of_class(asked)) for one in (held, None)
        ]
        assert [one.winner for one in found] == [d(winner)] * 2
        assert found[0].outcome is found[1].outcome


def test_nothing_is_kept(store: Store) -> None:
    counted = FaultyStore(store)
    resolver = over(counted)
    known = {m.candidate: m for m in THREE}
    assert resolver.publish(ASKED, known, d(16), origin="measured", tune_s=1.0) == d(16)
    assert not resolver.replace(ASKED, known, d(16), wrong=d(32))
    assembled = Resolution(Outcome.HIT, d(32), known, reason="assembled")
    assert resolver.settle(ASKED, assembled) is assembled
    assert counted.calls == []
    assert contents(store) == {}
