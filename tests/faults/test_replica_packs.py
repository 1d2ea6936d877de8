"""Shelves of packs in places that lose, refuse, lie or do not compare."""

from __future__ import annotations

from pathlib import Path

import pytest

from tuneonce.errors import StoreUnavailable
from tuneonce.replica import Replica
from tuneonce.replica.base import Offer, ReplicaInfo, Taken, digest_of
from tuneonce.replica.in_files import FileSpace, in_files
from tuneonce.replica.in_memory import MemorySpace, Shared, in_memory
from tuneonce.replica.in_packs import PackReplica
from tuneonce.replica.space import Swap

SHELF = "NVIDIA-H200-90~81c2"
FIRST = Taken(digest_of(b"data"), b"data")
INFO = ReplicaInfo(kind="memory", url="memory:")


def offer(number: int | str, data: bytes = b"data") -> Offer:
    return Offer(f"v1/kernel~1/{SHELF}/0a1b/c02.{number}.verdict.json", data)


def names(replica: Replica) -> list[str]:
    """What a reader has, by the number of the offer."""
    page = replica.pull(SHELF)
    return sorted(entry.name.split(".")[-3] for entry in page.entries)


def test_a_reader_that_comes_while_packs_are_merged(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = Shared()
    in_memory(shared).push(SHELF, [offer(1)])
    reader = in_memory(shared)
    read = reader._space.read
    merged: list[int] = []

    def merge_first(wanted: list[str], *, most: int) -> list[bytes | None]:
        if wanted[0].endswith(".pack") and not merged:
            merged.append(1)
            assert in_memory(shared).push(SHELF, [offer(2)]) == [None]
        return read(wanted, most=most)

    monkeypatch.setattr(reader._space, "read", merge_first)
    assert names(reader) == ["1", "2"]
    assert merged


def test_others_that_write_all_the_time() -> None:
    class Busy(MemorySpace):
        def swap(self, name: str, data: bytes, version: str | None) -> Swap:
            return Swap.LOST

    paused: list[float] = []
    space = Busy()
    replica = PackReplica(space, INFO, "x", pause=paused.append)
    with pytest.raises(StoreUnavailable, match="all the time"):
        replica.push(SHELF, [offer(1)])
    assert len(paused) == 32
    assert max(paused) <= 0.5
    assert space.shared.objects == {}  # nothing is left behind


def test_a_swap_that_may_have_happened_keeps_what_it_names() -> None:
    class Unsure(MemorySpace):
        def swap(self, name: str, data: bytes, version: str | None) -> Swap:
            super().swap(name, data, version)
            return Swap.UNSURE

    shared = Shared()
    replica = PackReplica(Unsure(shared), INFO, "tuneonce", pause=lambda seconds: None)
    # It happened, so the records are found there, as if another had pushed them.
    assert replica.push(SHELF, [offer(1)]) == [FIRST]
    assert names(in_memory(shared)) == ["1"]


# -- files -----------------------------------------------------------------------------------------


def test_heads_are_removed_and_who_was_stopped_for_long_does_not_know(tmp_path: Path) -> None:
    space = FileSpace(str(tmp_path))
    for number in range(100):
        version = None if number == 0 else str(number)
        assert space.swap("n/s/head", b"%d" % number, version) is Swap.DONE
    assert len(list((tmp_path / "n/s/head").iterdir())) == 64
    found = space.read_head("n/s/head", most=100)
    assert found is not None
    assert found.data == b"99"
    assert space.swap("n/s/head", b"late", "99") is Swap.LOST
    assert space.swap("n/s/head", b"late", "40") is Swap.LOST
    assert space.swap("n/s/head", b"very late", "20") is Swap.UNSURE
    assert space.read_head("n/s/head", most=100) == found


def test_a_directory_that_may_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    replica = in_files(str(tmp_path / "file"), shown="file:///x", namespace="x")
    with pytest.raises(StoreUnavailable):
        replica.push(SHELF, [offer(1)])
