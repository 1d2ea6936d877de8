"""What a process leaves behind that ended while it tuned a key."""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fakes import candidate, measured
from tuneonce.resolution.journal import Journal, Journals


def journals(*directories: Path) -> Journals:
    return Journals(lambda: directories)


def begin(directory: Path, key: str = "key") -> Journal:
    journal = journals(directory).begin(key, "gpu", f"v1/{key}")
    assert journal is not None
    return journal


def die(journal: Journal) -> None:
    """As the system closes what a process that ended had open."""
    journal._file.close()
    journal._folder.close()


def die_launching(directory: Path, candidate: str) -> list[str]:
    journal = begin(directory)
    launching = journal.launching(candidate)
    launching.__enter__()
    die(journal)
    return journal.left_out


def test_a_candidate_is_left_out_with_two_strikes(tmp_path: Path) -> None:
    assert die_launching(tmp_path, "a") == []
    assert die_launching(tmp_path, "b") == []
    assert die_launching(tmp_path, "a") == []
    journal = begin(tmp_path)
    assert journal.left_out == ["a"]
    die(journal)
    journal = begin(tmp_path)
    assert journal.left_out == []  # it was told once, and is a record now
    die(journal)
    assert die_launching(tmp_path, "b") == []
    assert begin(tmp_path).left_out == ["b"]


def test_a_process_that_ends_otherwise_strikes_nobody(tmp_path: Path) -> None:
    for _ in range(3):
        journal = begin(tmp_path)
        with journal.launching("a"):
            pass
        die(journal)
        assert journal.left_out == []
    with pytest.raises(RuntimeError), begin(tmp_path).launching("a"):
        raise RuntimeError
    assert begin(tmp_path / "other").left_out == []


def test_a_tuning_that_ends_forgets_all(tmp_path: Path) -> None:
    die_launching(tmp_path, "a")
    journal = begin(tmp_path)
    with journal.launching("a"):
        pass
    journal.close()
    assert list(tmp_path.iterdir()) == []
    die_launching(tmp_path, "a")
    assert begin(tmp_path).left_out == []


def test_one_that_was_launched_after_all_has_no_strike(tmp_path: Path) -> None:
    die_launching(tmp_path, "a")
    journal = begin(tmp_path)
    with journal.launching("a"):
        pass
    die(journal)
    die_launching(tmp_path, "a")
    assert begin(tmp_path).left_out == []


def test_one_that_is_over_later_leaves_the_next_one_named(tmp_path: Path) -> None:
    for _ in range(2):
        journal = begin(tmp_path)
        with journal.launching("a"):
            launching = journal.launching("b")
            launching.__enter__()
        die(journal)
    assert begin(tmp_path).left_out == ["b"]


def test_a_process_that_lives_keeps_its_mark(tmp_path: Path) -> None:
    journal = begin(tmp_path)
    launching = journal.launching("a")
    launching.__enter__()
    assert journals(tmp_path).begin("key", "gpu", "v1/key") is None
    assert begin(tmp_path, "other").left_out == []
    journal.close()
    assert begin(tmp_path).left_out == []


def test_a_file_that_the_program_has_closed_is_not_written_to(tmp_path: Path) -> None:
    journal = begin(tmp_path)
    number = journal._file.fileno()
    with (tmp_path / "theirs").open("w+b") as theirs:
        os.dup2(theirs.fileno(), number)
        with journal.launching("a"):
            pass
        journal.close()
        os.close(number)
        assert theirs.read() == b""


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff", b"[]", b'{"strikes": 1}', b'{"strikes": {"a": "x"}}', b"{" * 9000, b"[" * 4000],
)
def test_content_that_is_not_ours(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key.gpu").write_bytes(content)
    assert journals(tmp_path).left("key") == []
    journal = begin(tmp_path)
    assert journal.left_out == []
    journal.record(measured(16, 1.0))
    die(journal)
    assert left(tmp_path) == [16]


def test_a_store_that_begins_with_a_journal_is_as_open_as_its_place(tmp_path: Path) -> None:
    """What root bakes into an image, its users read: the journal comes before the first record."""
    tmp_path.chmod(0o755)
    before = os.umask(0o022)
    try:
        journal = begin(tmp_path / "store" / ".journal")
    finally:
        os.umask(before)
    journal.close()
    assert stat.S_IMODE((tmp_path / "store").stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "store" / ".journal").stat().st_mode) == 0o700


def test_where_there_is_no_place(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "key.gpu").symlink_to(tmp_path / "file")
    for places in ([], [tmp_path / "file"], [tmp_path / "link"], [tmp_path / "in"]):
        assert journals(*places).begin("key", "gpu", "v1/key") is None
        assert journals(*places).left("key") == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize(("uid", "mode", "counts"), [(0, 0o600, 1), (71, 0o600, 0), (0, 0o602, 0)])
def test_whose_journals_count(tmp_path: Path, uid: int, mode: int, counts: int) -> None:
    place = tmp_path / "store" / ".journal"
    journal = begin(place)
    journal.record(measured(16, 1.0))
    die(journal)
    os.chown(place / "key.gpu", uid, -1)
    (place / "key.gpu").chmod(mode)
    assert len(left(place)) == len([*journals(place).all()]) == counts
    begun = journals(place).begin("key", "gpu", "v1/key")
    assert (begun is not None) == bool(counts)
    if begun is not None:
        die(begun)
    os.chown(tmp_path / "store", uid, -1)  # whose store it is
    assert len(left(place)) == (mode == 0o600)


# -- measurements --------------------------------------------------------------------------------


def left(directory: Path, key: str = "key") -> list[int]:
    """The candidates' blocks, in the order in which they were measured."""
    blocks = {candidate(block).digest: block for block in (16, 32, 64)}
    return [blocks[m.candidate] for m in journals(directory).left(key)]


def test_what_was_measured_is_found_after_a_kill_and_while_it_goes_on(tmp_path: Path) -> None:
    journal = begin(tmp_path)
    for block, found in ((16, [16]), (32, [16, 32])):
        journal.record(measured(block, 1.0))
        assert left(tmp_path) == found
    assert left(tmp_path, "other") == left(tmp_path, "ke") == []
    die(journal)
    again = begin(tmp_path)
    again.record(measured(64, failed="did not fit"))
    die(again)
    assert left(tmp_path) == [16, 32, 64]


@given(st.data())
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_somebody_has_changed_raises_nothing_and_is_no_other_measurement(
    tmp_path: Path, data: st.DataObject
) -> None:
    shutil.rmtree(tmp_path / "journal", ignore_errors=True)
    journal = begin(tmp_path / "journal")
    for block in (16, 32):
        journal.record(measured(block, 1.0))
    die(journal)
    path = tmp_path / "journal" / "key.gpu"
    good = path.read_bytes()
    at = data.draw(st.integers(0, len(good)))
    changed = (
        good[:at] + data.draw(st.binary(max_size=40)) + good[at + data.draw(st.integers(0, 40)) :]
    )
    path.write_bytes(changed)
    mine = journals(tmp_path / "journal")
    known = [measured(block, 1.0) for block in (16, 32)]
    assert all(m in known for m in mine.left("key"))
    assert all(m in known for _, m in mine.all())
    die(begin(tmp_path / "journal"))
    assert all(m in known for m in mine.left("key"))


def test_of_several_gpus_all_are_found(tmp_path: Path) -> None:
    for device, block in (("one", 16), ("two", 32)):
        journal = journals(tmp_path).begin("key", device, "v1/key")
        assert journal is not None
        journal.record(measured(block, 1.0))
    assert left(tmp_path) == [16, 32]


def test_a_kill_in_the_middle_of_a_write_costs_that_measurement(tmp_path: Path) -> None:
    journal = begin(tmp_path)
    journal.record(measured(16, 1.0))
    whole = (tmp_path / "key.gpu").stat().st_size
    journal.record(measured(32, 1.0))
    die(journal)
    data = (tmp_path / "key.gpu").read_bytes()
    for cut in range(whole, len(data)):
        (tmp_path / "key.gpu").write_bytes(data[:cut])
        assert left(tmp_path) == [16]
    journal = begin(tmp_path)
    journal.record(measured(64, 1.0))
    die(journal)
    assert left(tmp_path) == [16, 64]


def test_a_journal_is_removed_once_it_is_of_no_use(tmp_path: Path) -> None:
    begin(tmp_path).close()
    assert list(tmp_path.iterdir()) == []
    journal = begin(tmp_path)
    journal.record(measured(16, 1.0))
    journal.close()
    assert left(tmp_path) == [16]
    begin(tmp_path).close()  # its tuning found out nothing
    assert left(tmp_path) == [16]
    begin(tmp_path).forget()
    assert list(tmp_path.iterdir()) == []


def test_what_no_record_can_hold_is_refused(tmp_path: Path) -> None:
    journal = begin(tmp_path)
    for time in (0.0, float("inf")):
        with pytest.raises(ValueError, match="holds a"):
            journal.record(measured(16, time))
    die(journal)
    assert left(tmp_path) == []


def test_forgetting_leaves_those_that_are_written_to(tmp_path: Path) -> None:
    for key in ("one", "two", "three"):
        journal = begin(tmp_path, key)
        journal.record(measured(16, 1.0))
        if key != "three":
            journal.close()
    (tmp_path / "folder").mkdir()
    for key in ("one", "three", "four"):
        journals(tmp_path).forget(key)
        journals(tmp_path / "absent").forget(key)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "three.gpu", "two.gpu"]


def test_single_measurements_are_dropped(tmp_path: Path) -> None:
    journal = begin(tmp_path)
    for block, time in ((16, 2.0), (32, 1.0), (16, 1.5)):
        journal.record(measured(block, time))
    first, second, third = journals(tmp_path).all()
    assert {below for below, _ in (first, second, third)} == {"v1/key"}
    gone = first[1]
    assert not journals(tmp_path).drop("key", gone.candidate)  # it is open
    die(journal)
    assert not journals(tmp_path).drop("other", gone.candidate)
    assert not journals(tmp_path).drop("key", candidate(64).digest)
    assert journals(tmp_path).drop("key", gone.candidate)
    assert left(tmp_path) == [32]
    assert journals(tmp_path).drop("key", second[1].candidate)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_costs_the_journal_only(tmp_path: Path, monkeypatch: Any) -> None:
    journal = begin(tmp_path)
    journal.record(measured(16, 1.0))

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patched:
        patched.setattr("os.pwrite", full)
        journal.record(measured(32, 1.0))
        with journal.launching("a"):
            pass
    journal.record(measured(64, 1.0))
    die(journal)
    assert left(tmp_path) == [16, 64]


# -- places --------------------------------------------------------------------------------------


def test_what_is_left_is_found_in_all_places_and_new_ones_are_in_the_first(tmp_path: Path) -> None:
    far, near = tmp_path / "far", tmp_path / "near"
    for place, block in ((far, 16), (near, 32)):
        journal = begin(place)
        journal.record(measured(block, 1.0))
        die(journal)
    found = journals(far, near).left("key")
    assert [m.candidate for m in found] == [candidate(16).digest, candidate(32).digest]
    other = journals(near, far).begin("other", "gpu", "v1/other")
    assert other is not None
    die(other)
    assert (near / "other.gpu").exists()
    journals(far, near).forget("key")
    assert left(far) == left(near) == []


def test_a_slow_place_is_not_used_again(tmp_path: Path) -> None:
    for seconds, used in ((0.1, "one"), (3.0, "two")):
        clock = itertools.count(step=seconds)
        places = [tmp_path / str(seconds) / name for name in ("one", "two")]
        mine = Journals(lambda places=places: places[:1], clock=lambda clock=clock: next(clock))
        assert mine.left("key") == []  # takes its time
        mine._directories = lambda places=places: places
        journal = mine.begin("key", "gpu", "v1/key")
        assert journal is not None
        die(journal)
        assert (tmp_path / str(seconds) / used / "key.gpu").exists()


def test_where_there_are_no_locks_the_next_place_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    far, near = tmp_path / "far", tmp_path / "near"
    real = fcntl.flock

    def flock(file: int, operation: int) -> None:
        if Path(f"/proc/self/fd/{file}").readlink().is_relative_to(far):
            raise OSError(errno.ENOLCK, "no locks")
        real(file, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    journal = journals(far, near).begin("key", "gpu", "v1/key")
    assert journal is not None
    journal.record(measured(16, 1.0))
    assert journals(far, near).begin("key", "gpu", "v1/key") is None  # another process has it
    die(journal)
    assert left(near) == [16]


def test_a_file_in_another_s_place_is_not_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever had the name has removed it, and the next process has begun, before it is locked."""
    journal = begin(tmp_path)
    journal.record(measured(16, 1.0))
    die(journal)
    real = fcntl.flock
    begun: list[Journal] = []

    def flock(file: int, operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", real)
        journals(tmp_path).forget("key")
        begun.append(begin(tmp_path))
        begun[0].record(measured(32, 1.0))
        real(file, operation)

    for touch in (lambda mine: mine.forget("key"), lambda mine: mine.drop("key", "x")):
        monkeypatch.setattr(fcntl, "flock", flock)
        touch(journals(tmp_path))
        assert left(tmp_path) == [32]
        die(begun.pop())
