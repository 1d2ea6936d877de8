"""Triton finds in its cache what was there, wherever that is now, and nothing else."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton")

import triton
from triton.runtime import cache as triton_cache
from triton.runtime.cache import FileCacheManager

from tests.kernels.pool_lab import binaries
from tests.kernels.replay.replay_kernels import N, plain, second, tune, x
from tests.kernels.replay.replay_lab import Program, Start, empty_cache
from tuneonce.triton.compile.stock_compiler import blocked
from tuneonce.triton.seams import lookups


def cache() -> Path:
    return Path(os.environ["TRITON_CACHE_DIR"])


def launches() -> list[Any]:
    return [
        plain[(1,)](x(), 5, 2).asm,
        second[(1,)](x(), 1 << 40, 3).asm,
        tune().asm,
        tune(N // 2).asm,
    ]


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """One that has been started once, and whose binaries are kept."""
    made = Program(kept=tmp_path / "store" / ".binaries")
    with made.start():
        launches()
    return made


@pytest.fixture
def codes(program: Program) -> list[Any]:
    with program.start() as start:
        found = launches()
        assert start.of("restore") == []
    return found


def assert_nothing_compiled(start: Start) -> None:
    assert [name for name, from_cache in start.compiled if not from_cache] == []


def test_an_emptied_cache_is_filled_byte_for_byte(program: Program, codes: list[Any]) -> None:
    before = binaries(cache())
    empty_cache()
    with program.start() as start:
        assert launches() == codes
        assert_nothing_compiled(start)
        assert len(start.of("restore")) == 3
    now = binaries(cache())
    assert len(now) == 3
    for key, files in now.items():
        assert files == before[key]  # all files, and their groups
    assert {p.name for p in (program.kept or Path()).iterdir()} == {f"{key}.zip" for key in now}


def test_only_what_was_launched_is_kept(program: Program) -> None:
    """The losing candidates of a tune are not."""
    assert program.kept is not None
    assert len(list(program.kept.iterdir())) == 3
    assert len([p for p in cache().iterdir() if list(p.glob("*.cubin"))]) == 5


def test_a_cache_in_another_place_is_filled(
    program: Program, codes: list[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "elsewhere"))
    with program.start() as start:
        assert launches() == codes
        assert_nothing_compiled(start)
    for group in (tmp_path / "elsewhere").rglob("__grp__*"):
        for path in json.loads(group.read_bytes())["child_paths"].values():
            assert Path(path).parent == group.parent
            assert Path(path).exists()


def test_a_cache_that_was_moved_is_healed(
    program: Program, codes: list[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its groups name files by absolute paths, which lead to nothing now."""
    before = cache()
    shutil.move(before, tmp_path / "moved")
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "moved"))
    with program.start() as start:
        assert launches() == codes
        assert_nothing_compiled(start)
    assert not before.exists()


def test_a_cache_that_is_changed_while_the_program_runs(
    program: Program, codes: list[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    empty_cache()
    with program.start() as start:
        plain[(1,)](x(), 5, 2)
        monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "later"))
        second[(1,)](x(), 1 << 40, 3)
        assert_nothing_compiled(start)
    assert len(list(cache().rglob("*.cubin"))) == 1  # there, and not where it was at the start
    assert len(list((tmp_path / "later").rglob("*.cubin"))) == 1


def test_ready_restores_too(program: Program, codes: list[Any]) -> None:
    empty_cache()
    with program.start() as start:
        warmed = start.ready()
        assert (warmed.variants, warmed.compiled, warmed.left_out) == (3, 0, {})
        with start.nothing_compiled_or_loaded():
            assert launches() == codes


# -- bad archives --------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["cut", "noise", "other files", "wrong mode"])
def test_from_a_bad_archive_nothing_is_taken_and_it_is_compiled(
    program: Program, codes: list[Any], how: str
) -> None:
    assert program.kept is not None
    for path in program.kept.iterdir():
        data = path.read_bytes()
        if how == "cut":
            path.write_bytes(data[: len(data) // 2])
        elif how == "noise":
            path.write_bytes(b"\x00" * 999)
        elif how == "wrong mode":
            path.chmod(0o666)
        else:
            with zipfile.ZipFile(path, "w") as made:
                about = {"kernel": "", "groups": {"plain.json": ["../../evil"]}}
                made.writestr("about.json", json.dumps(about))
                made.writestr("../../evil", b"evil")
    empty_cache()
    with program.start() as start:
        assert launches() == codes
        assert [name for name, from_cache in start.compiled if not from_cache]
        assert set(start.events.problems()) == {"binary_unreadable"}
    assert not list(cache().parent.rglob("evil"))
    empty_cache()
    with program.start() as start:  # kept anew
        assert launches() == codes
        assert_nothing_compiled(start)


def test_files_under_another_key_are_not_looked_at(program: Program, codes: list[Any]) -> None:
    """Triton's key decides: what is kept under a key that it does not make is never read."""
    assert program.kept is not None
    first, second_one, _ = sorted(program.kept.iterdir())
    first.rename(program.kept / "AAAAAAAAAAAAAAAA.zip")
    shutil.copy(second_one, program.kept / "BBBBBBBBBBBBBBBB.zip")
    empty_cache()
    with program.start() as start:
        assert launches() == codes
        assert len(start.of("restore")) == 2


def test_where_files_cannot_be_put_the_launch_goes_on_as_in_stock(
    program: Program, codes: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    empty_cache()
    put = FileCacheManager.put
    refused: list[str] = []

    def full_at_first(self: Any, data: Any, filename: str, binary: bool = True) -> Any:
        if not refused:
            refused.append(filename)
            raise OSError(28, "No space left on device")
        return put(self, data, filename, binary)

    monkeypatch.setattr(FileCacheManager, "put", full_at_first)
    with program.start() as start:
        assert plain[(1,)](x(), 5, 2).asm == codes[0]
        assert start.compiled == [("plain", False)]
        assert launches() == codes
        assert [name for name, from_cache in start.compiled if not from_cache] == ["plain"]


# -- what is the program's -----------------------------------------------------------------------


class Own(FileCacheManager):
    """A program's cache manager."""


def test_a_cache_manager_of_the_program_s_is_left_alone(
    program: Program, codes: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    empty_cache()
    monkeypatch.setattr(triton.knobs.cache, "manager_class", Own)
    with program.start() as start:
        assert launches() == codes
        assert start.of("restore") == []
        assert len([name for name, from_cache in start.compiled if not from_cache]) >= 3


def test_where_files_are_dumped_and_overridden_is_left_alone(
    program: Program, codes: list[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    empty_cache()
    monkeypatch.setenv("TRITON_DUMP_DIR", str(tmp_path / "dump"))
    monkeypatch.setenv("TRITON_OVERRIDE_DIR", str(tmp_path / "override"))
    assert program.kept is not None
    (key,) = (
        path.stem
        for path in program.kept.iterdir()
        if "plain.json" in zipfile.ZipFile(path).namelist()
    )
    with program.start() as start:
        for options in ({"dump": True}, {"override": True}):
            found = FileCacheManager("00" * 16, **options)
            found.key = key
            assert not found.get_group("plain.json")
            assert found.get_file("launcher.so") is None
        assert start.of("restore") == []
    assert not list(tmp_path.glob("dump/*/*"))
    assert not list(tmp_path.glob("override/*/*"))


def test_the_class_is_as_before_afterwards(program: Program) -> None:
    stock = FileCacheManager.get_group, FileCacheManager.get_file
    with program.start():
        assert FileCacheManager.get_group is not stock[0]
    assert (FileCacheManager.get_group, FileCacheManager.get_file) == stock


def test_under_a_wrapper_of_the_program_s_it_stays_and_does_nothing(
    program: Program, codes: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    stock = FileCacheManager.get_group
    asked: list[str] = []
    try:
        with program.start() as start:
            ours = FileCacheManager.get_group

            def wrapper(self: Any, filename: str) -> Any:
                asked.append(filename)
                return ours(self, filename)

            FileCacheManager.get_group = wrapper
        assert FileCacheManager.get_group is wrapper
        empty_cache()
        program_without = Program(program.store)
        with program_without.start() as start:
            assert launches() == codes
            assert start.of("restore") == []
        assert asked
    finally:
        FileCacheManager.get_group = stock


def test_what_looks_keeps_nothing_from_being_compiled_elsewhere(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only what a program has put in the place of Triton's does, under ours and over it."""
    with program.start():
        assert blocked() is None

    def theirs(self: Any, filename: str) -> Any:
        return None

    stock = FileCacheManager.get_group
    with monkeypatch.context() as patch:
        patch.setattr(FileCacheManager, "get_group", theirs)
        with program.start():
            assert "get_group" in str(blocked())
    with program.start():
        ours = FileCacheManager.get_group
        FileCacheManager.get_group = theirs
        assert "get_group" in str(blocked())
        FileCacheManager.get_group = ours
    assert FileCacheManager.get_group is stock
    assert blocked() is None


class Finder:
    """Has everything, and is never to be asked."""

    def __init__(self, do: Callable[[], Any]) -> None:
        self.has = lambda folder: do()
        self.find = lambda folder, kernel: do()
        self.used = lambda folder, file: do()


def test_several_may_look_and_end_in_any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FileCacheManager, "get_group", FileCacheManager.get_group)
    monkeypatch.setattr(FileCacheManager, "get_file", FileCacheManager.get_file)
    asked: list[str] = []
    first, second_one = (
        Finder(lambda: asked.append("first")),
        Finder(lambda: asked.append("second")),
    )
    end_first, end_second = lookups.look_in(first), lookups.look_in(second_one)
    triton_cache.get_cache_manager("00" * 32).get_group("x.json")
    assert sorted(asked) == ["first", "second"]
    end_first()
    asked.clear()
    triton_cache.get_cache_manager("00" * 32).get_group("x.json")
    assert asked == ["second"]
    end_second()
    asked.clear()
    triton_cache.get_cache_manager("00" * 32).get_group("x.json")
    assert asked == []


def test_what_looks_does_not_look_again(tmp_path: Path) -> None:
    """Putting files there asks Triton's cache, which must not ask for them anew."""
    asked: list[int] = []

    def kept() -> Any:
        asked.append(1)
        return lookups.Kept({"a": b"1"}, {"g": ["a"]})

    end = lookups.look_in(Finder(kept))
    try:
        found = triton_cache.get_cache_manager("11" * 32).get_group("g")
        assert list(found) == ["a"]
        assert asked == [1]
    finally:
        end()
