"""The directory of kept binaries: what it takes, gives back, refuses and removes."""

from __future__ import annotations

import errno
import io
import json
import os
import random
import stat
import tempfile
import threading
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import RememberedEvents
from tuneonce.replay import kept_binaries as module
from tuneonce.replay.kept_binaries import KeptBinaries
from tuneonce.triton.seams.lookups import Kept

KEY = "ABCDEFGHIJKLMNOP"
FILES = {"add.cubin": bytes(range(256)) * 40, "add.json": b'{"name": "add"}', "add.ttir": b"\x00"}
GROUPS = {"add.json": ["add.cubin", "add.json", "add.ttir"]}
MB = 1 << 20


class Lab:
    def __init__(self, root: Path) -> None:
        self.root, self.place = root, root / "store" / ".binaries"
        self.events = RememberedEvents()

    def kept(self, limit: int = 64 * MB, *places: Path) -> KeptBinaries:
        return KeptBinaries(lambda: list(places) or [self.place], limit, self.events)

    def folder(self, key: str = KEY, files: dict[str, bytes] | None = None) -> Path:
        """A folder of Triton's cache."""
        place = self.root / "triton" / key
        place.mkdir(parents=True, exist_ok=True)
        for name, data in (FILES if files is None else files).items():
            (place / name).write_bytes(data)
        return place

    def zip(self, key: str = KEY) -> Path:
        return self.place / f"{key}.zip"

    def left(self) -> list[str]:
        return sorted(path.name for path in self.place.iterdir())


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def test_a_directory_that_never_answers_is_waited_for_once(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A launch asks it, and the mount that it is on may die at any time."""
    lab.kept().keep(lab.folder(), GROUPS)
    monkeypatch.setattr(module, "READ_S", 0.05)
    answers = threading.Event()
    asked: list[int] = []

    def places() -> list[Path]:
        asked.append(threading.get_ident())
        assert answers.wait(60)
        return [lab.place]

    one = KeptBinaries(places, 64 * MB, lab.events)
    try:
        assert one.find(KEY) is None
        assert not one.has(KEY)
        assert one.find(KEY) is None
    finally:
        answers.set()
    assert len(asked) == 1
    assert threading.get_ident() not in asked
    assert lab.events.problems() == ["binaries_not_read"]


def test_files_come_back_byte_for_byte_with_their_groups(lab: Lab) -> None:
    one = lab.kept()
    assert not one.has(KEY)
    assert one.find(KEY) is None
    one.keep(lab.folder(), GROUPS)
    another = lab.kept()
    assert another.has(KEY)
    assert another.find(KEY) == Kept(FILES, GROUPS)
    assert lab.left() == [f"{KEY}.zip"]
    assert lab.events.problems() == []
    (said,) = [event for event in lab.events.seen if event["e"] == "restore"]
    assert said["bytes"] == sum(map(len, FILES.values()))


def test_of_a_folder_without_groups_the_modules_are_kept(lab: Lab) -> None:
    lab.kept().keep(lab.folder(files={"launcher.so": b"ELF", "x.autotune.json": b"{}"}), {})
    assert lab.kept().find(KEY) == Kept({"launcher.so": b"ELF"}, {})
    lab.kept().keep(lab.folder("QRSTUVWX", {"x.autotune.json": b"{}"}), {})
    assert lab.kept().find("QRSTUVWX") is None


def test_all_is_closed_to_others(lab: Lab) -> None:
    before = os.umask(0)
    try:
        lab.kept().keep(lab.folder(), GROUPS)
    finally:
        os.umask(before)
    for path in (lab.place, lab.zip()):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0


# -- places that are not private -------------------------------------------------------------------


def open_to_others(place: Path, patch: pytest.MonkeyPatch) -> None:
    place.mkdir(parents=True)
    place.chmod(0o755)


def a_link(place: Path, patch: pytest.MonkeyPatch) -> None:
    (place.parent.parent / "elsewhere").mkdir(mode=0o700)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(place.parent.parent / "elsewhere")


def anothers(place: Path, patch: pytest.MonkeyPatch) -> None:
    place.mkdir(parents=True, mode=0o700)
    patch.setattr(os, "geteuid", lambda: os.getuid() + 1)


def a_file(place: Path, patch: pytest.MonkeyPatch) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.touch(mode=0o600)


@pytest.mark.parametrize("spoil", [open_to_others, a_link, anothers, a_file])
def test_a_directory_that_is_not_private_is_refused(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, spoil: Any
) -> None:
    spoil(lab.place, monkeypatch)
    one = lab.kept()
    one.keep(lab.folder(), GROUPS)
    assert (one.directory, one.has(KEY), one.find(KEY)) == (None, False, None)
    assert lab.events.problems() == ["binaries_not_kept"]
    assert list(lab.root.rglob("*.zip")) == []


def test_the_next_place_is_taken_then(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    open_to_others(lab.place, monkeypatch)
    near = lab.root / "near" / "binaries"
    one = lab.kept(MB, lab.place, near)
    one.keep(lab.folder(), GROUPS)
    assert one.directory == near
    assert lab.kept(MB, lab.place, near).find(KEY) == Kept(FILES, GROUPS)
    assert lab.kept(MB, lab.root / "none" / "x").find(KEY) is None


def test_there_may_be_no_place(lab: Lab) -> None:
    one = KeptBinaries(lambda: [], MB, lab.events)
    one.keep(lab.folder(), GROUPS)
    one.trim()
    assert one.find(KEY) is None
    assert lab.events.seen == []


# -- archives that are not ours, or not whole ------------------------------------------------------


def archive(*members: tuple[str, bytes], groups: Any = None, how: int = 8) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", how) as made:
        about = {"kernel": "", "groups": GROUPS if groups is None else groups}
        made.writestr("about.json", json.dumps(about))
        for name, content in members:
            made.writestr(name, content)
    return data.getvalue()


GOOD = archive(*FILES.items())
MEMBER = ("add.cubin", b"x")


def patched(offset: int, value: int, *, central: int) -> bytes:
    """The good archive with 2 bytes changed in the first local header and its central twin."""
    data = bytearray(GOOD)
    for place in (offset, data.index(b"PK\x01\x02") + central):
        data[place : place + 2] = value.to_bytes(2, "little")
    return bytes(data)


BAD: dict[str, bytes] = {
    "empty": b"",
    "no archive": b"x" * 5000,
    "cut": GOOD[:-30],
    "cut in the middle": GOOD[: len(GOOD) // 2],
    "another byte": GOOD[:80] + bytes([GOOD[80] ^ 0xFF]) + GOOD[81:],
    "a password": patched(6, 1, central=8),
    "a method that is not known": patched(8, 77, central=10),
    "nothing about it": GOOD.replace(b"about.json", b"about.jsox"),
    "groups of another kind": archive(*FILES.items(), groups=[["add.json"]]),
    "groups of a number": archive(*FILES.items(), groups=5),
    "groups of names that are none": archive(*FILES.items(), groups={"g": [{}]}),
    "a group that lacks a file": archive(MEMBER),
    "a path upwards": archive(("../evil", b"x"), groups={}),
    "an absolute path": archive(("/tmp/evil", b"x"), groups={}),
    "a path downwards": archive(("a/b", b"x"), groups={}),
    "a hidden file": archive((".evil", b"x"), groups={}),
    "two dots": archive(("..", b"x"), groups={}),
    "a long name": archive(("x" * 300, b"x"), groups={}),
    "too many files": archive(*((f"f{n}", b"") for n in range(100)), groups={}),
    "too many bytes": archive(("f", bytes(65 * MB)), groups={}),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_archive_is_removed_and_counted(lab: Lab, what: str) -> None:
    one = lab.kept()
    one.keep(lab.folder(), GROUPS)
    lab.zip().write_bytes(BAD[what])
    assert one.find(KEY) is None
    assert lab.events.problems() == ["binary_unreadable"]
    assert lab.left() == []
    lab.kept().keep(lab.folder(), GROUPS)
    assert lab.kept().find(KEY) == Kept(FILES, GROUPS)


@pytest.mark.parametrize("seed", range(4))
def test_damaged_anyhow_nothing_is_raised_and_nothing_else_comes_back(lab: Lab, seed: int) -> None:
    chance = random.Random(seed)
    one = lab.kept()
    one.keep(lab.folder(), GROUPS)
    for _ in range(150):
        data = bytearray(GOOD)
        for _ in range(chance.randrange(1, 4)):
            at = chance.randrange(len(data))
            data[at : at + chance.randrange(3)] = chance.randbytes(chance.randrange(3))
        lab.zip().write_bytes(data)
        lab.zip().chmod(0o600)
        found = one.find(KEY)
        # Of a file the contents are checked; a name in the archive is not, and Triton asks for its.
        assert found is None or set(found.files.values()) <= set(FILES.values())


@pytest.mark.parametrize("what", ["link", "open to others", "a directory", "a pipe"])
def test_a_file_that_is_not_ours_alone_is_not_read(lab: Lab, what: str) -> None:
    one = lab.kept()
    one.keep(lab.folder(), GROUPS)
    path = lab.zip()
    if what == "link":
        path.rename(lab.root / "elsewhere.zip")
        path.symlink_to(lab.root / "elsewhere.zip")
    elif what == "open to others":
        path.chmod(0o644)
    else:
        path.unlink()
        path.mkdir() if what == "a directory" else os.mkfifo(path)
    assert one.find(KEY) is None
    assert lab.events.problems() == ["binary_unreadable"]


@pytest.mark.parametrize("key", ["", "..", "../x", "a/b", "x" * 500, "\x00" * 20, "é" * 20])
def test_what_is_no_key_names_no_file(lab: Lab, key: str) -> None:
    one = lab.kept()
    one.keep(lab.folder(), GROUPS)
    assert one.find(key) is None
    assert lab.left() == [f"{KEY}.zip"]


# -- room ------------------------------------------------------------------------------------------


def noise(size: int, seed: int) -> dict[str, bytes]:
    return {"a.cubin": random.Random(seed).randbytes(size)}


def keep_all(lab: Lab, one: KeptBinaries, *numbers: int, size: int = 100_000) -> None:
    for number in numbers:
        key = f"KEY{number:05d}"
        one.keep(lab.folder(key, noise(size, number)), {"g": ["a.cubin"]})
        os.utime(lab.zip(key), (number, number)) if lab.zip(key).exists() else None


def test_the_oldest_goes_first_and_the_limit_is_kept(lab: Lab) -> None:
    keep_all(lab, lab.kept(), *range(1, 10))
    one = lab.kept(MB)
    assert one.find("KEY00001") is not None  # used just now
    keep_all(lab, one, 10, 11, 12)
    left = lab.left()
    assert sum(path.stat().st_size for path in lab.place.iterdir()) <= MB
    assert "KEY00001.zip" in left
    assert "KEY00002.zip" not in left
    assert {"KEY00010.zip", "KEY00011.zip", "KEY00012.zip"} <= set(left)


def test_what_alone_is_too_large_does_not_stay(lab: Lab) -> None:
    one = lab.kept(10_000)
    keep_all(lab, one, 1, 2)
    assert lab.left() == []


def test_what_a_killed_process_left_is_removed_later(lab: Lab) -> None:
    one = lab.kept()
    one.keep(lab.folder(), GROUPS)
    drafts = [lab.place / ".draft-old", lab.place / ".draft-new"]
    for draft in drafts:
        draft.touch()
    os.utime(drafts[0], (0, 0))
    one.trim()
    assert lab.left() == [".draft-new", f"{KEY}.zip"]


def test_nothing_is_kept_where_that_is_off(lab: Lab) -> None:
    lab.kept(0).keep(lab.folder(), GROUPS)
    assert not lab.place.parent.exists()


def everything_below(root: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in [root, *root.rglob("*")]}


def test_a_process_that_writes_nothing_finds_what_is_there(lab: Lab) -> None:
    silent = KeptBinaries(lambda: [lab.place], 64 * MB, lab.events, writes=False)
    folder = lab.folder()
    silent.keep(folder, GROUPS)
    assert (silent.has(KEY), silent.find(KEY), silent.directory) == (False, None, None)
    assert not lab.place.parent.exists()
    lab.kept().keep(folder, GROUPS)
    os.utime(lab.zip(), (1, 1))
    lab.zip("SPOILED0").write_bytes(b"")
    lab.zip("SPOILED0").chmod(0o600)
    before = everything_below(lab.root)
    assert silent.find(KEY) == Kept(FILES, GROUPS)
    assert silent.find("SPOILED0") is None
    silent.trim()
    assert everything_below(lab.root) == before


def test_looking_makes_no_directory_and_finds_one_that_comes_later(lab: Lab) -> None:
    one = lab.kept()
    assert (one.has(KEY), one.find(KEY)) == (False, None)
    assert not lab.place.parent.exists()
    lab.kept().keep(lab.folder(), GROUPS)  # another process
    assert one.find(KEY) == Kept(FILES, GROUPS)
    assert lab.events.problems() == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize("where", ["mkstemp", "replace"])
def test_a_disk_that_takes_nothing(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, number: int, where: str
) -> None:
    def refuse(*args: Any, **more: Any) -> Any:
        raise OSError(number, os.strerror(number))

    lab.kept().keep(lab.folder("THEFIRST"), GROUPS)
    one = lab.kept()
    with monkeypatch.context() as patch:
        patch.setattr(*((tempfile, "mkstemp") if where == "mkstemp" else (Path, "replace")), refuse)
        one.keep(lab.folder(), GROUPS)
    assert lab.events.problems() == ["binary_not_kept"]
    assert lab.left() == ["THEFIRST.zip"]
    one.keep(lab.folder(), GROUPS)  # there is room again
    assert lab.kept().find(KEY) == Kept(FILES, GROUPS)


def test_a_read_only_disk_gives_what_it_has(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **more: Any) -> Any:
        raise OSError(errno.EROFS, "read-only")

    lab.kept().keep(lab.folder(), GROUPS)
    for name in ("utime", "unlink"):
        monkeypatch.setattr(os, name, refuse)
    one = lab.kept()
    assert one.find(KEY) == Kept(FILES, GROUPS)
    one.keep(lab.folder(), GROUPS)
    assert lab.events.problems() == []


def test_a_folder_that_is_emptied_meanwhile_is_not_kept(lab: Lab) -> None:
    place = lab.folder()
    (place / "add.cubin").unlink()
    lab.kept().keep(place, GROUPS)
    assert lab.events.problems() == ["binary_not_kept"]
    assert lab.left() == []


def test_many_at_once_keep_whole_archives(lab: Lab) -> None:
    """Threads, each with a process's own objects, write, read and trim the same directory."""
    folders = [lab.folder(f"KEY{n:05d}", noise(20_000, n)) for n in range(8)]
    wrong: list[Any] = []
    go = threading.Barrier(6)

    def work(seed: int) -> None:
        go.wait()
        for folder in random.Random(seed).choices(folders, k=40):
            one = lab.kept(150_000)
            one.keep(folder, {"g": ["a.cubin"]})
            found = one.find(folder.name)
            if found is not None and found.files != {"a.cubin": (folder / "a.cubin").read_bytes()}:
                wrong.append(folder)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert "binary_unreadable" not in lab.events.problems()
    assert not [name for name in lab.left() if name.startswith(".draft")]


def test_a_forked_child_keeps_for_itself(lab: Lab) -> None:
    one = lab.kept()
    one.keep(lab.folder(), GROUPS)
    with one._lock:  # held by a thread that the child does not have
        pid = os.fork()
        if pid == 0:
            try:
                one.keep(lab.folder("QRSTUVWX"), GROUPS)
                os._exit(0 if one.find(KEY) == Kept(FILES, GROUPS) else 1)
            except BaseException:
                os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert lab.left() == [f"{KEY}.zip", "QRSTUVWX.zip"]


def test_bounds_are_of_what_is_in_an_archive_and_not_of_the_archive() -> None:
    assert len(BAD["too many bytes"]) < module._MOST_BYTES // 100
