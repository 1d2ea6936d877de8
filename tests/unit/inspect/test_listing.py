"""Reading a store for people: what is listed, in which order, and what stands on a sheet."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tests.factories import H100, NOON, make_key, make_verdict, put_damaged, put_loose, put_verdict
from tests.fakes import FaultyStore, candidate
from tuneonce.errors import StoreUnavailable
from tuneonce.inspect.listing import Entry, listing, sheets
from tuneonce.model.key import Parts
from tuneonce.model.records import pack
from tuneonce.store.files import FileStore
from tuneonce.store.memory import MemoryStore

TIMES = {64: (0.2, 0.19, 0.21), 128: (0.1, 0.09, 0.11), 256: ()}


def only(entries: list[Entry]) -> Entry:
    assert len(entries) == 1
    return entries[0]


def test_a_store_that_fails_is_told() -> None:
    store = FaultyStore(MemoryStore(), get=StoreUnavailable("down"))
    put_verdict(store.inner, make_key(), TIMES)
    with pytest.raises(StoreUnavailable):
        listing(store)


def test_a_verdict_in_a_listing() -> None:
    store, key = MemoryStore(), make_key()
    put_verdict(store, key, TIMES)
    entry = only(listing(store).entries)
    assert entry.kernel == "kernels:add"
    assert entry.world == "NVIDIA H200 · cuda:90 · triton-3.6.0"
    assert entry.world_parts["compiler"] == "triton-3.6.0-0123456789ab"
    assert entry.key == {"n": "64", "x.dtype": "torch.bfloat16"}
    assert entry.key_text == "n=64 x=bf16"
    assert (entry.work_class, entry.programs_class, entry.programs) == ("c02", (16, 63), 20)
    assert (entry.candidates, entry.measured, entry.failed) == (3, 3, 1)
    assert (entry.winner, entry.winner_ms) == ("BLOCK=128 num_warps=4", 0.1)
    assert (entry.first, entry.first_ms) == ("BLOCK=64 num_warps=4", 0.2)
    assert entry.gain == pytest.approx(2.0)
    assert (entry.origin, entry.published_at) == ("measured", NOON)
    assert entry.about == {"driver": "580.1"}
    assert entry.digest == key.digest


def test_no_gain_where_there_is_nothing_to_compare() -> None:
    store = MemoryStore()
    put_verdict(store, make_key(), {64: (), 128: (0.1,)}, winner=128)
    assert only(listing(store).entries).gain is None


def test_a_verdict_taken_over_without_its_winners_measurement() -> None:
    store, key = MemoryStore(), make_key()
    verdict = msgspec.structs.replace(make_verdict(key, TIMES), measurements=[])
    store.put(key.verdict_name("c02", verdict.candidates), pack(verdict))
    entry = only(sheets(store, kernel="add").entries)
    assert entry.winner == f"~{candidate(128).digest}"
    assert entry.gain is None
    assert [line.config for line in entry.measurements or []] == [None] * 3


def test_an_unfinished_key_beside_a_verdict_is_told_by_it() -> None:
    store, key = MemoryStore(), make_key()
    put_verdict(store, key, TIMES)
    put_loose(store, key, 64, 0.2)  # left over: the verdict is about this candidate
    put_loose(store, key, 512, 0.3, seconds=2.0)
    put_loose(store, key, 64, 0.4, work_class="c03")
    entries = [entry for entry in listing(store).entries if entry.origin is None]
    assert [(e.work_class, e.measured, e.winner) for e in entries] == [
        ("c02", 1, None),
        ("c03", 1, None),
    ]
    assert {entry.key_text for entry in entries} == {"n=64 x=bf16"}
    assert {entry.kernel for entry in entries} == {"kernels:add"}


def test_an_unfinished_key_by_itself() -> None:
    store, key = MemoryStore(), make_key("make.<locals>.add")
    put_loose(store, key, 64, 0.2, seconds=2.0)
    put_loose(store, key, 128, failed="did not run", seconds=1.0, at=NOON + 5)
    entry = only(listing(store).entries)
    assert (entry.kernel, entry.key) == ("make.-locals-.add", None)
    assert key.digest[:12] in entry.key_text
    assert (entry.measured, entry.failed, entry.tune_s) == (2, 1, 3.0)
    assert entry.published_at == NOON + 5

    def known(digest: str) -> tuple[str, Parts] | None:
        return ("kernels:make.<locals>.add", key.parts) if digest == key.digest else None

    told = only(listing(store, known=known, pattern="kernels:*").entries)
    assert (told.kernel, told.key_text) == ("kernels:make.<locals>.add", "n=64 x=bf16")
    assert told.world == "NVIDIA H200 · cuda:90 · triton-3.6.0"


def test_listings_have_one_order_whatever_the_stores() -> None:
    keys = [
        make_key("mul"),
        make_key(tuning={"n": 128}),
        make_key(tuning={"n": 64}),
        make_key(product=H100, tuning={"n": 256}),
        make_key(product=None),
    ]
    texts = []
    for order in (keys, keys[::-1]):
        store = MemoryStore()
        for key in order:
            put_verdict(store, key, TIMES)
            put_verdict(store, key, TIMES, work_class="c00")
        texts.append(msgspec.json.encode(listing(store)))
        entries = listing(store).entries
    assert texts[0] == texts[1]
    assert [(e.kernel, e.world[:11], e.key_text, e.work_class) for e in entries[:4]] == [
        ("kernels:add", "NVIDIA H100", "n=256", "c00"),
        ("kernels:add", "NVIDIA H100", "n=256", "c02"),
        ("kernels:add", "NVIDIA H200", "n=64", "c00"),
        ("kernels:add", "NVIDIA H200", "n=64", "c02"),
    ]
    assert entries[-1].kernel == "kernels:mul"


def test_a_kernel_that_moved_is_one_kernel_under_its_newest_module() -> None:
    store = MemoryStore()
    put_verdict(store, make_key(module="old", tuning={"n": 1}), TIMES, at=NOON)
    put_verdict(store, make_key(module="new", tuning={"n": 2}), TIMES, at=NOON + 9)
    put_verdict(store, make_key(module="older", tuning={"n": 3}), TIMES, at=NOON - 9)
    assert {entry.kernel for entry in listing(store).entries} == {"new:add"}


def test_a_name_lists_its_own_folders_only() -> None:
    store = FaultyStore(MemoryStore())
    put_verdict(store, make_key("add"), TIMES)
    put_verdict(store, make_key("add_more"), TIMES)
    store.calls.clear()
    assert only(sheets(store, kernel="kernels:add").entries).kernel == "kernels:add"
    levels = [name for operation, name in store.calls if operation == "children"]
    assert levels[0] == "v1/add~"
    assert all(name.startswith("v1/add~") for name in levels)
    assert not any("add_more" in name for _, name in store.calls)
    assert [e.kernel for e in listing(store, pattern="*more").entries] == ["kernels:add_more"]
    assert listing(store, pattern="other:add").entries == []


def test_names_that_share_a_folders_name_are_told_apart() -> None:
    store = MemoryStore()
    put_verdict(store, make_key("a<b"), TIMES)
    put_verdict(store, make_key("a>b"), TIMES)
    assert only(sheets(store, kernel="a<b").entries).kernel == "kernels:a<b"


def test_a_sheet_has_every_candidate_the_fastest_first() -> None:
    store, key = MemoryStore(), make_key()
    put_verdict(store, key, TIMES)
    lines = only(sheets(store, kernel="add").entries).measurements
    assert lines
    assert [line.median_ms for line in lines] == [0.1, 0.2, None]
    assert [line.winner for line in lines] == [True, False, False]
    assert [line.first for line in lines] == [False, True, False]
    assert (lines[0].p20_ms, lines[0].p80_ms) == (0.09, 0.11)
    assert lines[2].failed == "did not run"


def test_only_sheets_carry_measurements() -> None:
    store = MemoryStore()
    put_verdict(store, make_key(), TIMES)
    assert b'"measurements":' not in msgspec.json.encode(listing(store))
    assert b'"measurements":' in msgspec.json.encode(sheets(store, kernel="add"))


def test_bad_records_are_listed_beside_the_good(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    expected = put_damaged(store, tmp_path)
    found = listing(store)
    assert only(found.entries).kernel == "kernels:whole"
    assert {p.name for p in found.problems} == set(expected)
    assert len(sheets(store, kernel="bad1").problems) == 1
    assert sheets(store, kernel="whole").problems == []
