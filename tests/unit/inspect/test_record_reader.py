"""Reading a store for people: what is in a folder, and kernels by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.factories import make_key, put_damaged, put_loose, put_verdict
from tests.fakes import candidate
from tuneonce.inspect.record_reader import folders, kernel_names, matches, near_names
from tuneonce.store.files import FileStore
from tuneonce.store.memory import MemoryStore

TIMES = {64: (0.2, 0.19, 0.21), 128: (0.1, 0.09, 0.11), 256: ()}


def test_a_folder_is_one_key() -> None:
    store, key = MemoryStore(), make_key()
    put_verdict(store, key, TIMES)
    put_verdict(store, key, TIMES, work_class="c03")
    put_loose(store, key, 512, 0.3)
    put_verdict(store, make_key(tuning={"n": 65}), TIMES)
    first, second = sorted(folders(store), key=lambda folder: -len(folder.verdicts))
    assert (len(first.verdicts), len(first.loose)) == (2, 1)
    assert (len(second.verdicts), len(second.loose)) == (1, 0)
    assert first.key == key.digest
    assert first.parts == key.parts


def test_other_things_in_the_store_are_not_looked_at() -> None:
    store = MemoryStore()
    store.put("events/x.jsonl", b"{}")
    store.put("v2/other", b"")
    assert list(folders(store)) == []


def test_names_of_another_version_are_unknown_and_not_broken() -> None:
    store, key = MemoryStore(), make_key()
    put_verdict(store, key, TIMES)
    odd = ["v1/readme", f"{key.directory}/c02.claim.json"]
    for name in odd:
        store.put(name, b"?")
    read = list(folders(store))
    assert sorted(name for folder in read for name in folder.unknown) == sorted(odd)
    assert not any(folder.broken for folder in read)


def test_bad_records_are_handed_out_with_their_reason(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    expected = put_damaged(store, tmp_path)
    read = list(folders(store))
    assert sum(len(folder.verdicts) for folder in read) == 1
    problems = [broken.problem for folder in read for broken in folder.broken]
    assert {p.name: p.reason for p in problems} == expected


def test_a_measurement_of_another_key_is_misplaced() -> None:
    store, key = MemoryStore(), make_key()
    data = store.get(put_loose(store, key, 64, 0.1))
    assert data is not None
    other = make_key(tuning={"n": 1})
    store.put(other.measurement_name("c02", candidate(64).digest), data)
    (problem,) = [b.problem for folder in folders(store) for b in folder.broken]
    assert problem.reason == "misplaced"
    assert other.digest in problem.name


def test_a_record_removed_while_it_is_listed_is_absent() -> None:
    class Emptied(MemoryStore):
        def get(self, name: str) -> bytes | None:
            return None

    store = Emptied()
    put_verdict(store, make_key(), TIMES)
    (folder,) = folders(store)
    assert not folder.held
    assert not folder.broken


@pytest.mark.parametrize(
    "pattern", [None, "add", "kernels:add", "*", "a*", "kernels:*", "*:add", "kern*:a?d"]
)
def test_meant(pattern: str | None) -> None:
    assert matches(pattern, name="add", module="kernels")


@pytest.mark.parametrize("pattern", ["ad", "ADD", "kernels", "other:add", "b*", "kernels.add"])
def test_not_meant(pattern: str) -> None:
    assert not matches(pattern, name="add", module="kernels")


def test_a_kernel_of_which_only_its_folder_tells_the_name() -> None:
    assert matches("make.<locals>.add", name="make.-locals-.add", module=None)
    assert not matches("make.<locals>.add", name="make.-locals-.add", module="kernels")


def test_near_names() -> None:
    known = ["fla.ops:chunk_fwd_kernel_h", "fla.ops:chunk_fwd_kernel_o", "softmax"]
    assert set(near_names("chunk_fwd_kernel_p", known)) == set(known[:2])
    assert near_names("CHUNK_FWD_KERNEL_H", known)[0] == known[0]
    assert near_names("kernel_h", known)[0] == known[0]
    assert near_names("zzz", known) == []


def test_kernel_names() -> None:
    store = MemoryStore()
    put_verdict(store, make_key("add"), TIMES)
    put_verdict(store, make_key("add", source="1" * 16), TIMES)
    put_verdict(store, make_key("make.<locals>.mul"), TIMES)
    assert kernel_names(store) == ["add", "make.-locals-.mul"]
