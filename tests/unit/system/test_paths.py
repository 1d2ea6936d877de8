"""Directories of one user: how they are made, and where they are."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from tuneonce.system import paths
from tuneonce.system.paths import make_private_directory, user_directory


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


# -- where this user's is ------------------------------------------------------------------------


@pytest.fixture
def entered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of this user in the system's list."""
    home = tmp_path / "entered"
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: SimpleNamespace(pw_dir=str(home)))
    return home


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This user's in the directory for temporary files, which is `TMPDIR` alone."""
    made = tmp_path / "tmp"
    made.mkdir()
    monkeypatch.setattr(paths, "_TEMPORARY", ())
    return made / f"tuneonce-{os.getuid()}"


def closed(*writable: Path) -> Callable[[str, int], bool]:
    """What `os.access` says to a user who may write below these only."""

    def access(path: str, mode: int) -> bool:
        return not mode & os.W_OK or any(Path(path).is_relative_to(place) for place in writable)

    return access


def test_home_tells(tmp_path: Path, entered: Path) -> None:
    home = {"HOME": str(tmp_path)}
    assert user_directory(home) == tmp_path / ".cache/tuneonce"
    assert user_directory({**home, "XDG_CACHE_HOME": "relative"}) == tmp_path / ".cache/tuneonce"
    assert user_directory({**home, "XDG_CACHE_HOME": "/x"}) == Path("/x/tuneonce")


@pytest.mark.parametrize("environ", [{}, {"HOME": ""}, {"HOME": "relative"}])
def test_without_a_home_the_list_of_users_tells(environ: dict[str, str], entered: Path) -> None:
    assert user_directory(environ) == entered / ".cache/tuneonce"


def nobody(uid: int) -> object:
    raise KeyError(uid)


@pytest.mark.parametrize("home", [None, "/", "/nonexistent"])
def test_a_user_without_a_home_has_a_place_for_temporary_files(
    home: str | None, tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    monkeypatch.setattr(os, "access", closed(tmp_path))
    environ = {"TMPDIR": str(temporary.parent), **({} if home is None else {"HOME": home})}
    assert user_directory(environ) == temporary / "cache"
    temporary.mkdir(mode=0o700)
    assert user_directory(environ) == temporary / "cache"
    temporary.chmod(0o777)  # anybody may have put there what is in it
    assert user_directory(environ) is None
    temporary.rmdir()
    temporary.symlink_to(tmp_path)
    assert user_directory(environ) is None


def test_no_place_at_all(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    monkeypatch.setattr(os, "access", closed())
    assert user_directory({"TMPDIR": str(temporary.parent)}) is None
    assert user_directory({"HOME": "/"}) is None


def test_temporary_files_have_other_places(
    tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    monkeypatch.setattr(os, "access", closed(temporary.parent))
    monkeypatch.setattr(paths, "_TEMPORARY", (str(tmp_path), str(temporary.parent)))
    mine = temporary / "cache"
    for environ in ({}, {"TMPDIR": "relative"}, {"TMPDIR": "/nowhere"}):
        assert user_directory(environ) == mine


def test_what_was_baked_into_a_home_is_read_where_nothing_may_be_written(
    tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", closed(temporary.parent))
    home = {"HOME": str(tmp_path / "home"), "TMPDIR": str(temporary.parent)}
    assert user_directory(home) == temporary / "cache"
    (tmp_path / "home/.cache/tuneonce").mkdir(parents=True)
    assert user_directory(home) == tmp_path / "home/.cache/tuneonce"


def test_the_root_directory_is_a_home_if_it_can_be_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(paths, "may_be", lambda path: True)
    assert user_directory({"HOME": "/"}) == Path("/.cache/tuneonce")
