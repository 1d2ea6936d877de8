"""What of a store is shared: each kind of record and file that there is, by name."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tests.factories import (
    H100,
    NOON,
    leave_in_journal,
    make_key,
    make_part,
    make_shared,
    make_verdict,
    put_kept,
    put_loose,
    put_part,
    put_shared,
    put_variants,
    put_verdict,
    put_wanted,
)
from tests.fakes import journal_folder, measured
from tuneonce.model import record_names
from tuneonce.model.record_names import kind_of
from tuneonce.model.records import BadRecord, Verdict, pack, unpack
from tuneonce.model.shared_profiles import SharedProfile
from tuneonce.replica.shared import (
    RESULTS,
    SHARED,
    checked,
    checked_result,
    is_result,
    settled,
    shelf_of,
    supersedes,
)
from tuneonce.store.files import FileStore

KEY = make_key("add")
TIMES = {64: (0.2,), 128: (0.1,)}


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "store")


def test_results_are_shared_and_notes_of_this_machine_are_not(store: FileStore) -> None:
    shared = {
        put_verdict(store, KEY, TIMES),
        put_variants(store, KEY, 64, 128),
        put_loose(store, KEY, 256, 0.3),
        put_shared(store, make_shared(key=KEY)),
    }
    put_wanted(store, KEY, 64, 512)
    put_part(store, make_part())
    store.put("v1/a~1/b~2/c/c02.0123456789ab.verdict.2.json", b"of a later version")
    store.put("v1/notes.txt", b"somebody's")
    store.put("tuned/a~1/b~2/c/c02.0123456789ab.verdict.json", b"of something else")
    assert {name for name in store.list("") if shelf_of(name) is not None} == shared
    world = KEY.directory.split("/")[2]
    assert {shelf_of(name) for name in shared} == {world}


def test_what_begins_with_a_dot_is_no_record(store: FileStore, tmp_path: Path) -> None:
    name = put_verdict(store, KEY, TIMES)
    leave_in_journal(journal_folder(store), KEY, 256, 0.3)
    put_kept(store)
    assert store.set_aside(name)
    folders = {path.name for path in (tmp_path / "store").iterdir()}
    assert {".journal", ".set-aside"} < folders
    assert any(folder.startswith(".binaries") for folder in folders)
    assert list(store.list("")) == []


def test_of_a_new_kind_of_record_it_is_to_be_decided() -> None:
    """A kind that is neither shared nor named here is a decision that nobody has made."""
    kinds = set(record_names._ENDINGS)
    assert {kind.__name__ for kind in kinds - set(SHARED)} == {"ProfilePart", "Wanted"}
    assert set(SHARED) < kinds


def test_a_record_is_looked_at_before_it_goes_and_when_it_comes(store: FileStore) -> None:
    _, kernel, world, key, _ = put_verdict(store, KEY, TIMES).split("/")
    of_a_key = [put_verdict(store, KEY, TIMES), put_variants(store, KEY, 64)]
    for name in (*of_a_key, put_loose(store, KEY, 256, 0.3)):
        data = store.get(name)
        assert data is not None
        assert type(checked(name, data)) is kind_of(name)
        wrong = [name.replace(key, "0a1b"), name.replace("/c02.", "/c03."), f"v1/{name}"]
        if name in of_a_key:  # a measurement says neither
            wrong += [name.replace(kernel, "add~0"), name.replace(world, "NVIDIA-H200-90~0")]
        for elsewhere in wrong:
            with pytest.raises(BadRecord):
                checked(elsewhere, data)
        with pytest.raises(BadRecord, match="truncated"):
            checked(name, data[:-9])


def test_a_winner_under_another_candidates_digest_is_misplaced() -> None:
    verdict = make_verdict(KEY, TIMES)
    name = KEY.verdict_name(verdict.work_class, verdict.candidates)
    first, second = verdict.measurements
    swapped = [
        msgspec.structs.replace(first, config=second.config),
        msgspec.structs.replace(second, config=first.config),
    ]
    with pytest.raises(BadRecord, match="misplaced"):
        checked(name, pack(msgspec.structs.replace(verdict, measurements=swapped)))


def test_first_stays_but_for_what_was_proven_wrong_and_newer_measurements() -> None:
    first, fixed = make_verdict(KEY, TIMES), make_verdict(KEY, TIMES, origin="rechecked")
    other = make_verdict(KEY, TIMES, winner=64, at=5e9)
    assert not supersedes(other, first)
    assert not supersedes(first, other)
    assert supersedes(fixed, first)
    assert not supersedes(first, fixed)
    assert not supersedes(fixed, make_verdict(KEY, TIMES, winner=64, origin="rechecked"))
    old, new = measured(64, 0.2, at=1.0), measured(64, 0.1, at=2.0)
    assert supersedes(new, old)
    assert not supersedes(old, new)
    assert not supersedes(old, old)
    assert unpack(pack(first), Verdict) == first


def test_a_profile_is_looked_at_and_is_no_result(store: FileStore) -> None:
    name = put_shared(store, make_shared(key=KEY))
    data = store.get(name)
    assert data is not None
    assert checked(name, data) == make_shared(key=KEY, at=unpack(data, SharedProfile).keys[0].at)
    assert not is_result(name)
    with pytest.raises(BadRecord, match="no kind that is shared"):
        checked_result(name, data)
    world = KEY.directory.split("/")[2]
    h100 = make_key("add", product=H100).directory.split("/")[2]
    for wrong in (name.replace(world, h100), name.replace("server~", "server~0")):
        with pytest.raises(BadRecord, match="misplaced"):
            checked(wrong, data)
    with pytest.raises(BadRecord, match="truncated"):
        checked(name, data[:-9])


def test_of_two_profiles_both_stay_unless_one_has_all() -> None:
    both = make_shared(kernels=("m:a", "m:b"), at=NOON)
    a, b = (make_shared(kernels=(one,), at=NOON) for one in ("m:a", "m:b"))
    assert settled(a, both, now=NOON) is both
    assert settled(a, a, now=NOON) is a
    for one, other in ((a, b), (b, a), (both, a)):
        together = settled(one, other, now=NOON)
        assert isinstance(together, SharedProfile)
        assert {used.kernel for used in together.variants} == {"m:a", "m:b"}
    first, fixed = make_verdict(KEY, TIMES), make_verdict(KEY, TIMES, origin="rechecked")
    assert settled(fixed, first) is fixed
    assert settled(first, fixed) is fixed


def test_all_results_are_shared() -> None:
    assert set(SHARED) - set(RESULTS) == {SharedProfile}
