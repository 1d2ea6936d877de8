"""Directories for temporary files, and the sweep of those whose processes are gone."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tuneonce.triton.compile.worker import scratch

MAKES_ONE = "from tuneonce.triton.compile.worker import scratch; print(scratch.make('ahead'))"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def of_a_process_that_is_gone(place: Path) -> Path:
    """One that another process made, which did not come to remove it."""
    made = subprocess.run(
        [sys.executable, "-c", MAKES_ONE],
        env={**os.environ, "TMPDIR": str(place)},
        capture_output=True,
        text=True,
        check=True,
    )
    path = Path(made.stdout.strip())
    (path / "file").write_text("left")
    assert path.parent == place
    return path


def test_it_is_private_and_can_be_removed(place: Path) -> None:
    made = Path(scratch.make("compile"))
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    (made / "inner").mkdir()
    (made / "inner" / "file").write_text("x")
    scratch.remove(str(made))
    assert list(place.iterdir()) == []


def test_what_is_left_of_others_is_swept_and_nothing_else(place: Path) -> None:
    mine = Path(scratch.make("compile"))
    left = of_a_process_that_is_gone(place)
    kept = [
        place / "tuneonce-compile-someone",
        place / "tuneonce-1000",
        place / left.name.replace("ahead", "other"),
        place / f"{left.name}.bak",
    ]
    for path in kept:
        path.mkdir()
    target = place / "documents"
    target.mkdir()
    (target / "file").write_text("mine")
    link = place / f"{left.name[:-8]}abcdefgh"
    link.symlink_to(target)
    scratch.sweep()
    assert sorted(place.iterdir()) == sorted([mine, *kept, target, link])
    assert (target / "file").read_text() == "mine"


def test_a_number_that_came_again_is_another_process(place: Path) -> None:
    made = Path(scratch.make("ahead"))
    head, _, tail = made.name.rpartition("-")
    before = place / f"{head.rpartition('-')[0]}-1-{tail}"  # was started at another time
    before.mkdir()
    scratch.sweep()
    assert list(place.iterdir()) == [made]


def test_those_of_another_namespace_are_left(place: Path) -> None:
    left = of_a_process_that_is_gone(place)
    other = place / left.name.replace(scratch._namespace(), "1")
    left.rename(other)
    scratch.sweep()
    assert list(place.iterdir()) == [other]


def test_a_place_that_is_gone(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(place / "gone"))
    scratch.sweep()
