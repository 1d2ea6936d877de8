"""Directories of one user."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tuneonce.paths import make_private_directory


@pytest.fixture
def umask() -> Iterator[Callable[[int], int]]:
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("mask", [0, 0o022, 0o077, 0o277, 0o777], ids=oct)
def test_new_directories_are_private(
    tmp_path: Path, umask: Callable[[int], int], mask: int
) -> None:
    umask(mask)
    path = tmp_path / "a" / "b" / "c"
    make_private_directory(path)
    assert [mode(p) for p in (path, path.parent, path.parent.parent)] == [0o700] * 3


def test_what_exists_is_left_alone(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    make_private_directory(shared)
    make_private_directory(shared / "mine")
    assert mode(shared) == 0o1777
    assert mode(shared / "mine") == 0o700


def test_a_directory_made_by_another_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a" / "b"
    stock = Path.mkdir

    def late(self: Path, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        stock(self, 0o755)
        stock(self, mode, parents, exist_ok)

    monkeypatch.setattr(Path, "mkdir", late)
    make_private_directory(path)
    assert mode(path) == 0o755  # theirs


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        make_private_directory(tmp_path / "file" / "a")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(OSError, match="link"):
        make_private_directory(tmp_path / "link")
