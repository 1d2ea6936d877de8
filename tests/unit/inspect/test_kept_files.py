"""Kept binaries, counted and removed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tuneonce.inspect.kept_files import kept_files, remove_kept


@pytest.fixture
def place(tmp_path: Path) -> Path:
    made = tmp_path / "binaries"
    made.mkdir(mode=0o700)
    for name, size in (("A.zip", 10), ("B.zip", 20), (".draft-x", 5), ("notes", 99)):
        (made / name).write_bytes(b"x" * size)
    (made / "C.zip").mkdir()
    return made


def test_what_is_ours_is_counted_and_removed(place: Path, tmp_path: Path) -> None:
    (found,) = kept_files([tmp_path / "none", place, tmp_path / "other"])
    assert (found.directory, found.files, found.bytes) == (str(place), 3, 35)
    assert remove_kept([found]) == 3
    assert sorted(path.name for path in place.iterdir()) == ["C.zip", "notes"]
    assert kept_files([place]) == []
    assert remove_kept([found]) == 0


def test_a_link_and_another_s_directory_are_not_looked_at(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link").symlink_to(place)
    assert kept_files([tmp_path / "link"]) == []
    user = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: user + 1)
    assert kept_files([place]) == []


def test_what_cannot_be_removed_is_left(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "no")

    found = kept_files([place])
    monkeypatch.setattr(Path, "unlink", refuse)
    assert remove_kept(found) == 0
