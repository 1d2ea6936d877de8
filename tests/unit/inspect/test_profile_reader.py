"""Profiles as a store has them, and as people ask for them."""

from __future__ import annotations

import pytest

from tests.factories import H100, NOON, make_key, make_part, make_shared, put_part, put_shared
from tests.fakes import FaultyStore
from tuneonce.errors import RecordUnreadable, StoreUnavailable, Unreadable
from tuneonce.inspect.profile_reader import last_used, profile_folders, profile_listing
from tuneonce.model.profiles import ProfilePart
from tuneonce.store.memory import MemoryStore


def test_profiles_come_in_order_and_the_last_used_first() -> None:
    store = MemoryStore()
    for name, at in (("b 1", NOON), ("a 2", NOON + 5), ("c 3", NOON + 1)):
        put_part(store, make_part(name, at=at))
    assert [found.name for found in profile_folders(store)] == ["a 2", "b 1", "c 3"]
    assert [row.name for row in profile_listing(store).profiles] == ["a 2", "c 3", "b 1"]


def test_what_cannot_be_read_hides_nothing_else() -> None:
    store = MemoryStore()
    good = put_part(store, make_part())
    bad = put_part(store, make_part(number=1))
    store.put(bad, b"no record")
    store.put("profiles/file", b"")
    store.put(good.replace("s1-0", "x").replace(".profile.json", ".txt"), b"")
    found = {one.folder: one for one in profile_folders(store)}
    (whole,) = (one for one in found.values() if one.parts)
    assert [held.name for held in whole.parts] == [good]
    assert [one.problem.name for one in whole.broken] == [bad]
    assert len(whole.unknown) == 1
    assert found["file"].unknown == ["profiles/file"]


def test_a_profile_without_a_part_that_is_whole_has_its_program_s_name() -> None:
    store = MemoryStore()
    store.put(put_part(store, make_part("vllm 1")), b"")
    (found,) = profile_folders(store)
    assert (found.name, found.parts) == ("vllm", [])
    assert profile_listing(store).profiles == []


def test_what_is_shared_of_it_is_told_beside_it() -> None:
    store = MemoryStore()
    put_part(store, make_part("here 1", at=NOON))
    for product in ("NVIDIA H200", H100):
        put_shared(store, make_shared("here 1", at=NOON + 9, key=make_key(product=product)))
    put_shared(store, make_shared("elsewhere 2", kernels=("m:a", "m:b"), at=NOON + 1))
    bad = put_shared(store, make_shared("bad 3"))
    store.put(bad, b"no record")
    rows = {row.name: row for row in profile_listing(store).profiles}
    here, there = rows["here 1"], rows["elsewhere 2"]
    assert (here.starts, here.variants, here.parts, here.shared) == (1, 1, 1, 4)
    assert here.last_used == NOON
    assert (there.starts, there.variants, there.parts, there.shared) == (0, 0, 0, 3)
    assert there.last_used == NOON + 1
    assert [problem.name for problem in profile_listing(store).problems] == [bad]


def test_a_folder_that_is_closed_is_a_problem_and_a_store_that_fails_an_error() -> None:
    store = MemoryStore()
    put_part(store, make_part())
    closed = RecordUnreadable("profiles/", Unreadable.PERMISSION)
    assert len(profile_listing(FaultyStore(store, children=closed)).problems) == 1
    with pytest.raises(StoreUnavailable):
        profile_listing(FaultyStore(store, children=StoreUnavailable("gone", store="memory:")))


def test_a_part_without_anything_was_never_used() -> None:
    assert last_used(ProfilePart("a", "b", [], [], [])) == 0.0
    assert last_used(make_part(at=7.0)) == 7.0
