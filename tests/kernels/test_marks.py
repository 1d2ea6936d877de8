"""What a process leaves behind that ended while it launched a candidate for the first time."""

from __future__ import annotations

import itertools
import os
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton")

import torch
import triton

from tests.fakes import RememberedEvents
from tests.kernels.equivalence_gpu import blocks, covering, make_copy
from tuneonce.resolver import Resolver
from tuneonce.store.files import FileStore
from tuneonce.testing import SimulatedGPU
from tuneonce.triton.hook import Hook
from tuneonce.triton.marks import Mark, Marks
from tuneonce.triton.persist import Persistence
from tuneonce.triton.workers import build_workers


def begin(directory: Path, name: str = "key") -> Mark:
    mark = Marks(lambda: directory).begin(name)
    assert mark is not None
    return mark


def die(mark: Mark) -> None:
    """As the system closes what a process that ended had open."""
    mark._file.close()
    mark._folder.close()


def die_launching(directory: Path, candidate: str) -> list[str]:
    mark = begin(directory)
    launching = mark.launching(candidate)
    launching.__enter__()
    die(mark)
    return mark.left_out


def test_a_candidate_is_left_out_with_two_strikes(tmp_path: Path) -> None:
    assert die_launching(tmp_path, "a") == []
    assert die_launching(tmp_path, "b") == []
    assert die_launching(tmp_path, "a") == []
    mark = begin(tmp_path)
    assert mark.left_out == ["a"]
    die(mark)
    mark = begin(tmp_path)
    assert mark.left_out == []  # it was told once, and is a record now
    die(mark)
    assert die_launching(tmp_path, "b") == []
    assert begin(tmp_path).left_out == ["b"]


def test_a_process_that_ends_otherwise_strikes_nobody(tmp_path: Path) -> None:
    for _ in range(3):
        mark = begin(tmp_path)
        with mark.launching("a"):
            pass
        die(mark)
        assert mark.left_out == []
    with pytest.raises(RuntimeError), begin(tmp_path).launching("a"):
        raise RuntimeError
    assert begin(tmp_path / "other").left_out == []


def test_a_tuning_that_ends_forgets_all(tmp_path: Path) -> None:
    die_launching(tmp_path, "a")
    mark = begin(tmp_path)
    with mark.launching("a"):
        pass
    mark.close()
    assert list(tmp_path.iterdir()) == []
    die_launching(tmp_path, "a")
    assert begin(tmp_path).left_out == []


def test_one_that_was_launched_after_all_has_no_strike(tmp_path: Path) -> None:
    die_launching(tmp_path, "a")
    mark = begin(tmp_path)
    with mark.launching("a"):
        pass
    die(mark)
    die_launching(tmp_path, "a")
    assert begin(tmp_path).left_out == []


def test_a_process_that_lives_keeps_its_mark(tmp_path: Path) -> None:
    mark = begin(tmp_path)
    launching = mark.launching("a")
    launching.__enter__()
    assert Marks(lambda: tmp_path).begin("key") is None
    assert begin(tmp_path, "other").left_out == []
    mark.close()
    assert begin(tmp_path).left_out == []


def test_a_file_that_the_program_has_closed_is_not_written_to(tmp_path: Path) -> None:
    mark = begin(tmp_path)
    number = mark._file.fileno()
    with (tmp_path / "theirs").open("w+b") as theirs:
        os.dup2(theirs.fileno(), number)
        with mark.launching("a"):
            pass
        mark.close()
        os.close(number)
        assert theirs.read() == b""


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff", b"[]", b'{"strikes": 1}', b'{"strikes": {"a": "x"}}', b"{" * 9000, b"[" * 4000],
)
def test_content_that_is_not_ours(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key").write_bytes(content)
    assert begin(tmp_path).left_out == []


def test_a_store_that_begins_with_a_mark_is_as_open_as_its_place(tmp_path: Path) -> None:
    """What root bakes into an image, its users read: the mark comes before the first record."""
    tmp_path.chmod(0o755)
    before = os.umask(0o022)
    try:
        mark = Marks(lambda: tmp_path / "store" / ".marks").begin("key")
    finally:
        os.umask(before)
    assert mark is not None
    mark.close()
    assert stat.S_IMODE((tmp_path / "store").stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "store" / ".marks").stat().st_mode) == 0o700


def test_where_there_is_no_place(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "key").symlink_to(tmp_path / "file")
    for place in (None, tmp_path / "file", tmp_path / "link", tmp_path / "in"):
        assert Marks(lambda place=place: place).begin("key") is None


def test_a_slow_mount_is_asked_once(tmp_path: Path) -> None:
    for seconds, asked_again in ((0.1, True), (3.0, False)):
        clock = itertools.count(step=seconds)
        marks = Marks(lambda: tmp_path, clock=lambda clock=clock: next(clock))
        for known in (True, asked_again):
            mark = marks.begin("key")
            assert (mark is not None) is known
            if mark is not None:
                mark.close()


# -- a tuning ------------------------------------------------------------------------------------


def start(home: Path, lethal: int, own: bool) -> tuple[int, list[str]]:
    """One start in a process of its own: how it ended, and what it told of."""
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        try:
            os.write(write, tune(home, lethal, own).encode())
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(3)
    os.close(write)
    with os.fdopen(read) as said:
        told = said.read().splitlines()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), told


def tune(home: Path, lethal: int, own: bool) -> str:
    def bench(call: Any, quantiles: Any) -> list[float]:
        call()
        return [1.0] * 3

    events: Any = RememberedEvents()
    persistence = Persistence(Resolver(FileStore(home / "store"), events), events, True)
    module = triton.runtime.autotuner
    marks = Marks(lambda: home / "marks")
    hook = Hook(module, persistence, build_workers(1, events), marks=marks)
    options = {"do_bench": bench} if own else {}
    with SimulatedGPU(do_bench=True, times=lambda one: float(one.constants["BLOCK"])) as gpu:
        gpu.fail(lambda one: one.constants["BLOCK"] == lethal, lambda: os._exit(77))
        hook.install()
        kernel = triton.autotune(blocks(256, 64, 128), ["n"], **options)(make_copy())
        kernel[covering(1024)](torch.zeros(1024), torch.zeros(1024), 1024)
        best = kernel.best_config.kwargs["BLOCK"]
    problems = [one["detail"] for one in events.seen if one["e"] == "problem"]
    return "\n".join([str(best), *problems])


@pytest.mark.parametrize("own", [False, True])
def test_a_candidate_that_ends_the_process_is_left_out_from_the_third_start_on(
    own: bool, tmp_path: Path
) -> None:
    starts = [start(tmp_path, 64, own) for _ in range(4)]
    assert [end for end, _ in starts] == [77, 77, 3, 3]
    assert [told[:1] for _, told in starts] == [[], [], *[["256" if own else "128"]] * 2]
    assert len(starts[2][1]) == 2
    assert "BLOCK=64" in starts[2][1][1]
    assert len(starts[3][1]) == 1
    assert list((tmp_path / "marks").iterdir()) == []
