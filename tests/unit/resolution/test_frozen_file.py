"""Reading the file of a frozen set of winners."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from tests.unit.model.test_frozen import SEVERAL
from tuneonce.errors import SettingsError
from tuneonce.model.frozen import FrozenSet
from tuneonce.resolution import frozen_file
from tuneonce.resolution.frozen_file import MAX_BYTES, read_frozen

DOCUMENT = FrozenSet(SEVERAL).document()


def test_a_file_and_a_link_to_it(tmp_path: Path) -> None:
    """A file that Kubernetes mounts from a ConfigMap is a link."""
    path, link = tmp_path / "winners.json", tmp_path / "link.json"
    path.write_bytes(DOCUMENT)
    link.symlink_to(path)
    assert read_frozen(path).winners == read_frozen(link).winners == sorted(SEVERAL)


def test_no_thread_is_left(tmp_path: Path) -> None:
    path = tmp_path / "winners.json"
    path.write_bytes(DOCUMENT)
    before = set(threading.enumerate())
    read_frozen(path)
    refused(tmp_path / "none")
    assert set(threading.enumerate()) <= before


def refused(path: Path, **bound: float) -> str:
    with pytest.raises(SettingsError) as caught:
        read_frozen(path, **bound)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_what_is_no_file_is_told_and_waits_for_nobody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "No such file" in refused(tmp_path / "none")
    assert "Is a directory" in refused(tmp_path)
    assert "not a regular file" in refused(tmp_path / "pipe")
    assert "not a regular file" in refused(Path("/dev/zero"))
    assert "null" in refused(Path("a\0b"))


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.json"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    assert f"more than {MAX_BYTES:,} bytes" in refused(path)


def test_a_file_that_was_cut_or_changed_is_told(tmp_path: Path) -> None:
    path = tmp_path / "winners.json"
    path.write_bytes(DOCUMENT[:-100])
    assert "no such document" in refused(path)
    path.write_bytes(DOCUMENT.replace(b"BLOCK=64", b"BLOCK=32", 1))
    assert "was changed" in refused(path)


def test_a_mount_that_does_not_answer_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = threading.Event()

    def never(path: Path) -> bytes:
        answers.wait(60)
        return DOCUMENT

    monkeypatch.setattr(frozen_file, "_bytes_of", never)
    try:
        assert "not read within 0.01 s" in refused(tmp_path / "far", read_s=0.01)
    finally:
        answers.set()
