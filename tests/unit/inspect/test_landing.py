"""Records that come into a store, and what they meet there."""

from __future__ import annotations

import itertools
import random
from pathlib import Path
from typing import Any

import pytest

from tests.factories import (
    NOON,
    make_key,
    make_verdict,
    put_damaged,
    put_loose,
    put_variants,
    put_verdict,
    random_verdict,
)
from tuneonce.errors import StoreReadOnly
from tuneonce.inspect import landing
from tuneonce.inspect.landing import Found, Landed, Landing, found
from tuneonce.model.records import BadRecord, Verdict, pack
from tuneonce.store import Store
from tuneonce.store.files import FileStore
from tuneonce.store.memory import MemoryStore
from tuneonce.store.readonly import ReadOnlyStore

KEY = make_key("add")
TIMES, OTHERS = {64: (0.2,), 128: (0.1,)}, {64: (0.1,), 128: (0.2,)}


def counts(did: Landed) -> dict[str, Any]:
    """What is not zero."""
    return {name: n for name in did.__struct_fields__ if (n := getattr(did, name))}


def name_of(verdict: Verdict) -> str:
    return KEY.verdict_name(verdict.work_class, verdict.candidates)


def offer(verdict: Verdict, source: str = "there") -> tuple[str, list[Found]]:
    name = name_of(verdict)
    return name, [found(source, name, pack(verdict))]


def test_what_comes_is_new_known_better_or_worse() -> None:
    store = MemoryStore()
    name, old = offer(make_verdict(KEY, TIMES, at=NOON))
    _, new = offer(make_verdict(KEY, TIMES, at=NOON + 1))
    expected = [("new", old), ("known", old), ("replaced", new), ("kept", old), ("known", new)]
    for what, offers in expected:
        landed = Landing(store)
        landed.take(name, offers)
        assert counts(landed.did).items() >= {what: 1}.items()
        # The winners are the same: there is nothing to tell.
        assert landed.did.winners == []
        assert landed.did.conflicts == (what in ("replaced", "kept"))
    assert store.get(name) == new[0].data


def test_verdicts_that_do_not_agree_are_told() -> None:
    store = MemoryStore()
    put_verdict(store, KEY, TIMES)
    landed = Landing(store)
    name, offers = offer(make_verdict(KEY, OTHERS, at=NOON + 1))
    _, others = offer(make_verdict(KEY, OTHERS, winner=128, at=NOON - 1), "elsewhere")
    landed.take(name, [*offers, *others])
    assert (landed.did.replaced, landed.did.conflicts, landed.did.winners_differ) == (1, 1, 1)
    [told] = landed.did.winners
    assert (told.kernel, told.key, told.work_class) == ("kernels:add", "n=64 x=bf16", "c02")
    assert (told.stays.source, told.stays.winner, told.stays.winner_ms) == (
        "there",
        "BLOCK=64 num_warps=4",
        0.1,
    )
    assert [side.source for side in told.others] == [store.describe().location, "elsewhere"]
    assert {side.winner for side in told.others} == {"BLOCK=128 num_warps=4"}
    assert told.because == "it is newer"


def test_many_conflicts_are_counted_and_some_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landing, "_TOLD", 3)
    landed = Landing(MemoryStore())
    for number in range(5):
        key = make_key("add", tuning={"n": number})
        offers = []
        for times in (TIMES, OTHERS):
            verdict = make_verdict(key, times)
            name = key.verdict_name("c02", verdict.candidates)
            offers.append(found("there", name, pack(verdict)))
        landed.take(name, offers)
        landed.refuse("x", BadRecord("checksum", "it is no record"))
    assert (landed.did.conflicts, landed.did.winners_differ, len(landed.did.winners)) == (5, 5, 3)
    assert (landed.did.unusable, len(landed.did.problems)) == (5, 3)


@pytest.mark.parametrize("kind", ["measurement", "variants"])
def test_other_records_are_no_conflicts(kind: str) -> None:
    one, other = MemoryStore(), MemoryStore()
    if kind == "variants":
        name = put_variants(one, KEY, 64, at=NOON)
        put_variants(other, KEY, 64, at=NOON + 1)
    else:
        name = put_loose(one, KEY, 64, 0.1, at=NOON)
        put_loose(other, KEY, 64, 0.2, at=NOON + 1)
    newer = other.get(name)
    assert newer is not None
    landed = Landing(one)
    landed.take(name, [found("there", name, newer)])
    assert counts(landed.did) == {"replaced": 1}
    assert one.get(name) == newer


def test_what_nobody_can_read_is_mended_and_what_others_can_is_left(tmp_path: Path) -> None:
    whole, store = MemoryStore(), FileStore(tmp_path / "store")
    reasons = put_damaged(store, tmp_path / "store")
    landed = Landing(store)
    for number, (name, reason) in enumerate(reasons.items()):
        times = {64: (0.2, 0.19, 0.21), 128: (0.1, 0.09, 0.11), 256: ()}
        put_verdict(whole, make_key(f"bad{number}"), times)
        data = whole.get(name)
        assert data is not None
        landed.take(name, [found("there", name, data)])
        if reason != "not a regular file":
            assert store.get(name) == data
    # A folder with somebody's file stands in a record's place, and is not removed.
    assert counts(landed.did) == {
        "replaced": 3,
        "unusable": 1,
        "problems": [f"{name} is not taken: not a regular file"],
    }
    later = b'{"schema":"tuneonce.verdict/7","sha256":"0"}\n{}\n'
    name, offers = offer(make_verdict(KEY, TIMES))
    store.put(name, later)
    landed = Landing(store)
    landed.take(name, offers)
    assert counts(landed.did) == {"unknown": 1}
    assert store.get(name) == later


class Busy(MemoryStore):
    """Another process puts a record there between the first look at its name and the put."""

    def __init__(self, theirs: Verdict) -> None:
        super().__init__()
        self.theirs = theirs

    def put_if_absent(self, name: str, data: bytes, *, durable: bool = True) -> bool:
        if self.get(name) is None:
            self.put(name, pack(self.theirs))
        return super().put_if_absent(name, data, durable=durable)


@pytest.mark.parametrize(("theirs_at", "ours_stays"), [(NOON + 1, False), (NOON - 1, True)])
def test_another_process_is_quicker(theirs_at: float, ours_stays: bool) -> None:
    ours, theirs = make_verdict(KEY, TIMES), make_verdict(KEY, OTHERS, at=theirs_at)
    store = Busy(theirs)
    landed = Landing(store)
    name, offers = offer(ours)
    landed.take(name, offers)
    assert store.get(name) == pack(ours if ours_stays else theirs)
    assert (landed.did.new, landed.did.replaced, landed.did.kept) == (0, ours_stays, not ours_stays)
    assert landed.did.conflicts == 1


def test_a_name_that_is_taken_and_freed_all_the_time_is_written_in_the_end() -> None:
    class Restless(MemoryStore):
        asked = 0

        def put_if_absent(self, name: str, data: bytes, *, durable: bool = True) -> bool:
            self.asked += 1
            return False

    store = Restless()
    landed = Landing(store)
    name, offers = offer(make_verdict(KEY, TIMES))
    landed.take(name, offers)
    assert (store.get(name), store.asked) == (offers[0].data, 2)


def test_a_dry_run_counts_the_same_and_writes_nothing() -> None:
    store = MemoryStore()
    put_verdict(store, make_key("mul"), TIMES)
    name, offers = offer(make_verdict(KEY, TIMES))
    _, better = offer(make_verdict(KEY, OTHERS, at=NOON + 1))
    dry, wet = Landing(ReadOnlyStore(store), dry_run=True), Landing(store)
    dry.take(name, [*offers, *better])
    assert store.get(name) is None
    wet.take(name, [*offers, *better])
    assert dry.did == wet.did
    assert (wet.did.new, wet.did.winners_differ) == (1, 1)
    with pytest.raises(StoreReadOnly):
        Landing(ReadOnlyStore(MemoryStore())).take(name, offers)


@pytest.mark.parametrize("seed", range(10))
def test_the_same_records_make_the_same_store_in_any_order(seed: int) -> None:
    chance = random.Random(seed)
    stores: list[Store] = [MemoryStore() for _ in range(3)]
    keys = [make_key("add", tuning={"n": n}) for n in range(6)]
    for store, key in itertools.product(stores, keys):
        if chance.random() < 0.8:
            verdict = random_verdict(chance, key)
            store.put(key.verdict_name("c02", verdict.candidates), pack(verdict))
    ends = set()
    for order in itertools.permutations(stores):
        target = MemoryStore()
        for store in order:
            landed = Landing(target)
            for name in store.list(""):
                data = store.get(name)
                assert data is not None
                landed.take(name, [found("there", name, data)])
            assert landed.did.unusable == 0
        ends.add(tuple(sorted((name, target.get(name)) for name in target.list(""))))
    assert len(ends) == 1
