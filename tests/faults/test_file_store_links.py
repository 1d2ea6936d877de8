"""Links below the root are never followed, and only names of the store's own making are touched.

Whoever can write to a store can put links into it, at any moment. Nothing that a launch or a
command does may then read, write, move or remove anything outside of the root.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tuneonce.errors import RecordUnreadable, StoreError, Unreadable
from tuneonce.store import Store, open_store
from tuneonce.store.base import MAX_SET_ASIDE

NAME = "v1/kernel/world/key/verdict.json"
PARTS = ["v1", "v1/kernel", "v1/kernel/world", "v1/kernel/world/key"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """Somebody's folder, which looks exactly like a part of a store."""
    folder = tmp_path / "outside"
    for name in (NAME, NAME.replace("verdict", "other")):
        for part in range(5):
            path = folder.joinpath(*name.split("/")[part:])
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"precious")
    return folder


@pytest.fixture
def store(root: Path) -> Store:
    store = open_store(root)
    store.put(NAME, b"data", durable=False)
    return store


def contents(folder: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("absolute", [True, False])
def test_a_link_in_a_folders_place(
    store: Store, root: Path, outside: Path, part: str, absolute: bool
) -> None:
    shutil.rmtree(root / part)
    depth = part.count("/") + 1
    (root / part).symlink_to(outside if absolute else Path("../" * depth) / "outside")
    assert (root / NAME).read_bytes() == b"precious"
    before = contents(outside)
    calls: list[Callable[[], object]] = [
        lambda: store.get(NAME),
        lambda: store.put(NAME, b"new"),
        lambda: store.put(NAME, b"new", durable=False),
        lambda: store.put_if_absent(NAME, b"new"),
        lambda: store.put_if_absent(NAME + "2", b"new"),
        lambda: store.delete_if(NAME, b"precious"),
    ]
    for call in calls:
        with pytest.raises(RecordUnreadable, match="link") as caught:
            call()
        assert caught.value.reason is Unreadable.NOT_A_FILE
    assert not store.set_aside(NAME)
    assert not store.set_aside(NAME, seen=b"precious")
    # It is listed as what it is, a name that cannot be read, and never as a folder.
    assert list(store.list("")) == [part]
    assert list(store.list(part + "/")) == store.children(part + "/") == []
    assert store.children(part) == [part]
    assert contents(outside) == before
    assert (root / part).is_symlink()


def test_a_link_in_a_records_place_stays_and_is_not_read(
    store: Store, root: Path, outside: Path
) -> None:
    (root / NAME).unlink()
    (root / NAME).symlink_to(outside / "verdict.json")
    with pytest.raises(RecordUnreadable, match="not a regular file"):
        store.get(NAME)
    assert not store.put_if_absent(NAME, b"new")
    for seen in (None, b"precious"):
        assert not store.set_aside(NAME, seen=seen)
    assert (root / NAME).is_symlink()
    # A put gives the name to another file; what the link led to is as it was.
    store.put(NAME, b"new")
    assert store.get(NAME) == b"new"
    assert (outside / "verdict.json").read_bytes() == b"precious"


@pytest.mark.parametrize("inside", [True, False])
def test_nothing_is_moved_through_a_link(
    store: Store, root: Path, outside: Path, inside: bool
) -> None:
    for number in range(100):
        (outside / f"{number:019d}-0000{number:04d}-report.json").write_text("precious")
    target = root / "elsewhere" if inside else outside
    target.mkdir(exist_ok=True)
    (root / ".set-aside").symlink_to(target)
    before = contents(target)
    for seen in (None, b"data"):
        assert not store.set_aside(NAME, seen=seen)
    assert store.get(NAME) == b"data"
    assert contents(target) == before


def test_of_what_is_aside_only_our_own_files_are_dropped(store: Store, root: Path) -> None:
    aside = root / ".set-aside"
    aside.mkdir()
    foreign = [f"report-{number:03d}.pdf" for number in range(100)]
    foreign += [f"{number:019d}-abcdefgh-notes" for number in range(20)]  # not hexadecimal
    for name in foreign:
        (aside / name).write_text("precious")
    link, folder = f"{0:019d}-0000000a-link", f"{0:019d}-0000000b-folder"
    (aside / link).symlink_to(aside / foreign[0])
    (aside / folder).mkdir()
    for number in range(MAX_SET_ASIDE + 10):
        store.put(f"k/{number}.json", b"broken", durable=False)
        assert store.set_aside(f"k/{number}.json")
    kept = {path.name for path in aside.iterdir()}
    assert kept > {*foreign, link, folder}
    ours = sorted(name.split("-", 2)[2] for name in kept - {*foreign, link, folder})
    assert ours == sorted(f"{number}.json" for number in range(10, MAX_SET_ASIDE + 10))


@pytest.mark.parametrize("part", [*PARTS, ".set-aside"])
def test_folders_are_swapped_for_links_all_the_time(
    root: Path, outside: Path, tmp_path: Path, part: str
) -> None:
    """Whatever the moment: an error, or the real folder; never what the link leads to."""
    store = open_store(root)
    store.put(NAME, b"data", durable=False)
    (root / part).mkdir(exist_ok=True)
    before = contents(outside)
    place = root / part
    ended = threading.Event()
    swaps = 0

    def swap() -> None:
        nonlocal swaps
        for turn in itertools.count():
            if ended.is_set():
                return
            away = root / f".moved-{turn}"
            with contextlib.suppress(OSError):
                place.rename(away)
                place.symlink_to(outside)
                swaps += 1
            with contextlib.suppress(OSError):  # a put may have made the folder anew
                place.unlink()
                away.rename(place)

    attacker = threading.Thread(target=swap)
    met = {"stored": 0, "refused": 0}
    attacker.start()
    try:
        for number in range(2_000):
            if number >= 50 and swaps > 20 and met["stored"] > 20:
                break
            data = b"%d" % number
            calls: list[Callable[[], object]] = [
                lambda data=data: store.put(NAME, data, durable=False),
                lambda data=data: store.put(NAME + ".durable", data),
                lambda n=number: store.put_if_absent(f"{NAME}.{n}", b"x", durable=False),
                lambda n=number: store.delete_if(f"{NAME}.{n}", b"x"),
                lambda: store.set_aside(NAME),
                lambda data=data: store.set_aside(NAME + ".durable", seen=data),
                lambda: list(store.list("v1/")),
            ]
            for call in calls:
                try:
                    call()
                    met["stored"] += 1
                except StoreError:
                    met["refused"] += 1
            for name in (NAME, NAME.replace("verdict", "other")):
                try:
                    assert store.get(name) != b"precious"
                except StoreError:
                    met["refused"] += 1
    finally:
        ended.set()
        attacker.join()
    assert contents(outside) == before
    assert swaps > 20
    assert met["stored"] > 20


def test_a_new_folder_that_is_swapped_for_a_link_keeps_its_targets_mode(
    root: Path, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The umask is put right on the folder that was made, not on what has its name by then."""
    outside.chmod(0o755)
    store = open_store(root)
    store.put("first", b"")
    real = os.mkdir

    def swapped(path: str, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        real(path, mode, dir_fd=dir_fd)
        if path == "kernel":
            (root / "v1/kernel").rename(root / "v1/moved")
            (root / "v1/kernel").symlink_to(outside)

    before = os.umask(0o277)
    try:
        monkeypatch.setattr(os, "mkdir", swapped)
        with pytest.raises(RecordUnreadable):
            store.put(NAME, b"data")
    finally:
        os.umask(before)
    assert outside.stat().st_mode & 0o777 == 0o755


def test_a_volume_whose_root_is_a_link_works_as_ever(tmp_path: Path) -> None:
    (tmp_path / "volume/deep").mkdir(parents=True)
    (tmp_path / "way").symlink_to("volume")
    (tmp_path / "store").symlink_to("way/deep")
    store = open_store(tmp_path / "store")
    store.put(NAME, b"data")
    assert store.set_aside(NAME)
    store.put(NAME, b"data")
    assert (tmp_path / "volume/deep" / NAME).read_bytes() == b"data"
    assert store.delete_if(NAME, b"data")


def test_a_root_that_leads_to_itself_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "store").symlink_to("store")
    store = open_store(tmp_path / "store")
    for call in (lambda: store.get(NAME), lambda: store.children("")):
        with pytest.raises(StoreError) as caught:
            call()
        assert not isinstance(caught.value, RecordUnreadable)
