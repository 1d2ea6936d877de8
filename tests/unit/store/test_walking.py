"""A store's directory, file by file."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tuneonce.store._atomic import TEMP_AGE_S, kept_name, temp_name
from tuneonce.store.files import FileStore
from tuneonce.store.walking import (
    clock,
    discard,
    is_abandoned,
    is_still,
    is_temporary,
    look,
    prune,
    set_aside_at,
    walk,
)

NAME = "kernel/world/key/verdict.json"
FOLDER = "kernel/world/key"


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    made = FileStore(tmp_path / "store")
    made.put(NAME, b"record")
    return made


@pytest.fixture
def root(store: FileStore) -> str:
    return store.describe().location


def test_every_folder_and_its_files_are_told(root: str) -> None:
    Path(root, "kernel", "empty").mkdir()
    found = {folder.name: folder for folder in walk(root)}
    assert set(found) == {"", "kernel", "kernel/empty", "kernel/world", FOLDER}
    assert [name for name, folder in found.items() if folder.empty] == ["kernel/empty"]
    [file] = found[FOLDER].files
    assert (file.name, file.bytes, file.owner) == ("verdict.json", 6, os.geteuid())
    assert file.regular
    assert abs(file.written_at - time.time()) < 60


def test_a_part_of_a_store(root: str) -> None:
    assert [folder.name for folder in walk(root, "kernel/world")] == ["kernel/world", FOLDER]
    assert list(walk(root, "none")) == []
    assert list(walk(root, NAME)) == []


def test_a_directory_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list(walk(str(tmp_path / "none")))


def test_no_link_is_followed(root: str, tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs/file").write_text("x" * 100)
    Path(root, "kernel/link").symlink_to(tmp_path / "theirs")
    folder = next(one for one in walk(root) if one.name == "kernel")
    [link] = folder.files
    assert not link.regular
    assert not discard(root, "kernel", link)
    assert look(root, "kernel/link") == (None, [])
    assert (tmp_path / "theirs/file").exists()


def test_a_file_that_is_replaced_is_another_one(root: str, store: FileStore) -> None:
    [file] = look(root, FOLDER)[0].files  # type: ignore[union-attr]
    assert is_still(root, FOLDER, file)
    store.put(NAME, b"anothe")
    assert not is_still(root, FOLDER, file)
    assert not discard(root, FOLDER, file)
    assert store.get(NAME) == b"anothe"


def test_empty_folders_go_as_far_as_they_are_empty(root: str, store: FileStore) -> None:
    store.put("kernel/other/key/verdict.json", b"x")
    assert prune(root, FOLDER) == 0
    assert store.delete_if(NAME, b"record")
    assert prune(root, FOLDER) == 2
    assert sorted(one.name for one in walk(root)) == [
        "",
        "kernel",
        "kernel/other",
        "kernel/other/key",
    ]


def test_a_writer_finds_a_folder_that_has_gone_and_makes_it_again(
    root: str, store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that goes while the folders below it are made."""
    store.delete_if(NAME, b"record")
    real, gone = os.mkdir, []

    def mkdir(path: str, *args: object, **more: object) -> None:
        real(path, *args, **more)  # type: ignore[arg-type]
        if path == "world" and not gone:
            gone.append(prune(root, "kernel/world"))

    prune(root, FOLDER)
    monkeypatch.setattr(os, "mkdir", mkdir)
    store.put(NAME, b"again")
    assert gone == [2]
    assert store.get(NAME) == b"again"


class Removed(FileStore):
    """One in which another process removes a record, and its folder, once it was read."""

    def get(self, name: str) -> bytes | None:
        data = super().get(name)
        FileStore(self.describe().location).delete_if(name, b"record")
        prune(self.describe().location, FOLDER)
        return data


def test_of_two_that_remove_a_record_and_its_folder_one_did(root: str, store: FileStore) -> None:
    assert not Removed(root).delete_if(NAME, b"record")
    assert [folder.name for folder in walk(root)] == [""]


def test_what_is_left_over_is_told_by_its_name_and_age(root: str) -> None:
    Path(root, temp_name()).write_text("x")
    [file] = look(root, "")[0].files  # type: ignore[union-attr]
    assert is_temporary(file.name)
    assert not is_abandoned(file, file.changed_at + TEMP_AGE_S - 1)
    assert is_abandoned(file, file.changed_at + TEMP_AGE_S + 1)
    assert discard(root, "", file)
    assert not discard(root, "", file)
    at = set_aside_at(kept_name("verdict.json"))
    assert at is not None
    assert abs(at - time.time()) < 60
    assert set_aside_at("verdict.json") is None


def test_the_clock_of_a_store_leaves_nothing(root: str) -> None:
    assert abs(clock(root) - time.time()) < 60
    assert look(root, "")[0].files == []  # type: ignore[union-attr]
    with pytest.raises(FileNotFoundError):
        clock(f"{root}/none")


def test_a_folder_that_is_closed_is_told(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may enter every folder, so the system call refuses."""
    real = os.open

    def refuse(path: str, *args: object, **more: object) -> int:
        if path == "world":
            raise PermissionError(13, "closed")
        return real(path, *args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", refuse)
    assert [folder.name for folder in walk(root) if folder.closed] == ["kernel/world"]
