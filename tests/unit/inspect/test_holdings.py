"""Sizes by kind, kernel and world."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.factories import (
    H100,
    leave_in_journal,
    make_key,
    make_part,
    make_shared,
    put_kept,
    put_loose,
    put_part,
    put_shared,
    put_variants,
    put_verdict,
    put_wanted,
)
from tuneonce.errors import StoreUnavailable
from tuneonce.inspect.holdings import KINDS, Holdings, holdings
from tuneonce.store.files import FileStore
from tuneonce.store.memory import MemoryStore

TIMES = {64: (0.2,), 128: (0.1,)}


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "store")


@pytest.fixture
def full(store: FileStore) -> FileStore:
    """One file of each kind, and the same key in another world."""
    key = make_key()
    root = Path(store.describe().location)
    put_verdict(store, key, TIMES)
    put_verdict(store, make_key(product=H100), TIMES)
    put_variants(store, key, 64, 128)
    put_wanted(store, key, 64)
    put_loose(store, key, 512, 0.1)
    put_part(store, make_part())
    put_shared(store, make_shared())
    put_kept(store, "ABCDEFGH")
    leave_in_journal(root / ".journal", key, 64, 0.1)
    bad = put_verdict(store, make_key("bad"), TIMES)
    store.set_aside(bad)
    (root / key.directory / ".tmp-1-0123456789abcdef").write_text("cut off")
    (root / key.directory / "c02.x.verdict.2.json").write_text("of another version")
    return store


def test_every_kind_is_told(full: FileStore) -> None:
    found = holdings(full)
    assert found is not None
    assert tuple(found.kinds) == KINDS
    assert {kind: held.files for kind, held in found.kinds.items()} == {
        **dict.fromkeys(KINDS, 1),
        "verdicts": 2,
        "profiles": 2,
    }
    sizes = {kind: held.bytes for kind, held in found.kinds.items()}
    on_disk = [one for one in Path(found_at(full)).rglob("*") if one.is_file()]
    assert sum(sizes.values()) == sum(one.stat().st_size for one in on_disk)
    assert found.bytes == sum(sizes.values()) - sizes["binaries"]
    assert sizes["binaries"] == 1000


def found_at(store: FileStore) -> str:
    return store.describe().location


def test_kernels_and_worlds_are_told_apart(full: FileStore) -> None:
    found = holdings(full)
    assert found is not None
    here, there = (
        make_key(product=one).directory.split("/", 1)[1] for one in ("NVIDIA H200", H100)
    )
    assert {world: held.files for world, held in found.worlds.items()} == {
        here.rpartition("/")[0]: 6,
        there.rpartition("/")[0]: 1,
    }


def test_of_some_kernels(full: FileStore) -> None:
    put_verdict(full, make_key("mul"), TIMES)
    kernel = make_key("mul").directory.split("/")[1]
    found = holdings(full, [kernel, kernel])
    assert found is not None
    assert {kind: held.files for kind, held in found.kinds.items()} == {"verdicts": 1}


def test_a_store_that_is_no_directory(store: FileStore) -> None:
    assert holdings(MemoryStore()) is None
    assert holdings(store) == Holdings()  # not there yet, as over a base
    Path(store.describe().location).write_text("")
    with pytest.raises(StoreUnavailable, match="cannot be listed"):
        holdings(store)
