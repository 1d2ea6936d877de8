"""A base under a store, as an image brings it: read, never written, whatever is in it."""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("triton")

from tests.fakes import RememberedEvents, measured, question
from tests.faults.test_file_store_places import ROOT_ONLY
from tests.unit.resolution.test_profiles import MANY, part_names, profiles, put
from tuneonce.activation import parts
from tuneonce.model.profiles import merge
from tuneonce.model.records import Measurement
from tuneonce.resolution.resolver import Outcome, Resolver
from tuneonce.store import Store, open_base
from tuneonce.store.base import MAX_RECORD_BYTES
from tuneonce.store.bounded import BoundedStore
from tuneonce.store.files import FileStore
from tuneonce.store.layered import LayeredStore
from tuneonce.store.memory import MemoryStore
from tuneonce.store.readonly import ReadOnlyStore

ASKED = question(16, 32)
FAST, SLOW = ASKED.digests
KNOWN = {m.candidate: m for m in (measured(16, 1.0), measured(32, 2.0))}
OTHERWISE = {m.candidate: m for m in (measured(16, 2.0), measured(32, 1.0))}
NAME = ASKED.key.verdict_name(ASKED.work_class, ASKED.digests)


def what_is_in(place: Path) -> dict[str, tuple[bytes, int, float]]:
    """All files of a directory, with what a change of one would change."""
    found = {}
    for path in sorted(place.rglob("*")):
        about = path.lstat()
        data = path.read_bytes() if path.is_file() else b""
        found[str(path.relative_to(place))] = (data, about.st_mode, about.st_mtime)
    return found


@pytest.fixture
def anyones() -> Iterator[Path]:
    """A directory that every user may enter, unlike those that pytest makes."""
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        yield Path(made)


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """As a user whom permissions hold, which they do not hold root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def baked(anyones: Path) -> Iterator[Path]:
    """A base with one verdict, of a user who is nobody here, closed for writing.

    Whatever a test does with it, it is afterwards as it was.
    """
    place = anyones / "baked"
    publish(Resolver(FileStore(place), RememberedEvents()), KNOWN, FAST)
    close(place)
    before = what_is_in(place)
    yield place
    assert what_is_in(place) == before
    for path in (place, *place.rglob("*")):
        path.chmod(0o755)


def close(place: Path) -> None:
    for path in (place, *place.rglob("*")):
        if os.geteuid() == 0:
            os.chown(path, 12345, 12345)
        path.chmod(0o555 if path.is_dir() else 0o444)


def publish(resolver: Resolver, known: dict[str, Measurement], winner: str) -> str:
    return resolver.publish(ASKED, known, winner, origin="measured", tune_s=1.0)


class Process:
    """One process over its own store and a base."""

    def __init__(self, own: Store, base: Path) -> None:
        self.events = RememberedEvents()
        self.store = parts._over_base(own, str(base), self.events)
        self.resolver = Resolver(self.store, self.events)

    @property
    def answer(self) -> tuple[Outcome, str | None]:
        found = self.resolver.resolve(ASKED)
        return found.outcome, found.winner


def test_a_baked_verdict_is_a_hit_and_nothing_is_written(baked: Path, tmp_path: Path) -> None:
    own = FileStore(tmp_path / "own")
    one = Process(own, baked)
    assert isinstance(one.store, LayeredStore)
    assert one.answer == (Outcome.HIT, FAST)
    assert publish(one.resolver, OTHERWISE, SLOW) == FAST, "the base's verdict was the first"
    assert not (tmp_path / "own").exists()
    assert one.events.problems() == []


@ROOT_ONLY
def test_what_one_user_has_baked_serves_another(baked: Path, anyones: Path) -> None:
    """Neither is the owner of the other's directory."""
    mine = anyones / "own"
    mine.mkdir()
    os.chown(mine, 65534, 65534)
    with as_nobody():
        own = FileStore(mine)
        one = Process(own, baked)
        assert one.answer == (Outcome.HIT, FAST)
        assert one.resolver.replace(ASKED, OTHERWISE, SLOW, wrong=FAST)
        assert Process(own, baked).answer == (Outcome.HIT, SLOW)
        assert one.events.problems() == []


def test_a_verdict_that_was_replaced_stays_so_in_every_process(baked: Path, tmp_path: Path) -> None:
    own = FileStore(tmp_path / "own")
    one, other = Process(own, baked), Process(own, baked)
    assert one.resolver.replace(ASKED, OTHERWISE, SLOW, wrong=FAST)
    assert one.answer == other.answer == Process(own, baked).answer == (Outcome.HIT, SLOW)
    assert publish(other.resolver, KNOWN, FAST) == SLOW, "the base is not the first any more"
    assert not one.resolver.replace(ASKED, KNOWN, FAST, wrong=FAST), "it says something else"
    # And again: what is above is removed, and the base's does not come up.
    assert one.resolver.replace(ASKED, KNOWN, FAST, wrong=SLOW)
    assert one.resolver.replace(ASKED, OTHERWISE, SLOW, wrong=FAST)
    assert Process(own, baked).answer == (Outcome.HIT, SLOW)
    assert one.events.problems() == []


def test_two_that_replace_at_once_agree(baked: Path, tmp_path: Path) -> None:
    own = FileStore(tmp_path / "own")
    processes = [Process(own, baked) for _ in range(8)]
    start = threading.Barrier(8)

    def replace(one: Process) -> None:
        start.wait(30)
        one.resolver.replace(ASKED, OTHERWISE, SLOW, wrong=FAST)

    threads = [threading.Thread(target=replace, args=(one,)) for one in processes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {one.answer for one in processes} == {(Outcome.HIT, SLOW)}


def test_a_store_that_cannot_be_written_leaves_the_base_as_it_is(baked: Path) -> None:
    one = Process(ReadOnlyStore(MemoryStore()), baked)
    assert not one.resolver.replace(ASKED, OTHERWISE, SLOW, wrong=FAST)
    assert one.answer == (Outcome.HIT, FAST)


# -- bad records ---------------------------------------------------------------------------------


def other_bytes(path: Path) -> None:
    winner = f'"winner":"{FAST}"'
    assert winner in path.read_text()
    path.write_text(path.read_text().replace(winner, f'"winner":"{SLOW}"'))


def a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def a_link(path: Path) -> None:
    path.rename(path.with_name("other"))
    path.symlink_to("other")


def too_large(path: Path) -> None:
    os.truncate(path, MAX_RECORD_BYTES + 1)


def everyones(path: Path) -> None:
    path.chmod(0o666)


def another_users(path: Path) -> None:
    os.chown(path, 54321, 54321)


@pytest.mark.parametrize(
    "spoil",
    [
        other_bytes,
        a_directory,
        a_link,
        too_large,
        everyones,
        pytest.param(another_users, marks=ROOT_ONLY),
    ],
)
def test_a_bad_record_is_a_miss_that_is_counted_once_and_left(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    base, own = tmp_path / "base", FileStore(tmp_path / "own")
    publish(Resolver(FileStore(base), RememberedEvents()), KNOWN, FAST)
    spoil(base / NAME)
    before = what_is_in(base)
    one = Process(own, base)
    assert [one.answer for _ in range(2)] == [(Outcome.MISS, None)] * 2
    assert one.events.problems() == ["record_unreadable"]
    assert "left in place" in one.events.seen[0]["detail"]
    assert publish(one.resolver, OTHERWISE, SLOW) == SLOW
    for process in (one, Process(own, base)):
        assert process.answer == (Outcome.HIT, SLOW)
    assert what_is_in(base) == before
    assert sorted(path.name for path in (tmp_path / "own").iterdir()) == ["v1"], "nothing set aside"


def test_a_bad_record_is_found_by_who_publishes_without_having_asked(tmp_path: Path) -> None:
    base, own = tmp_path / "base", FileStore(tmp_path / "own")
    FileStore(base).put(NAME, b"{}")
    one = Process(own, base)
    assert publish(one.resolver, OTHERWISE, SLOW) == SLOW
    assert Process(own, base).answer == (Outcome.HIT, SLOW)


# -- bases that do not work ----------------------------------------------------------------------


def test_a_base_that_is_missing_or_a_file_is_told_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own = MemoryStore()
    (tmp_path / "file").touch()
    for name in ("missing", "file"):
        caplog.clear()
        one = Process(own, tmp_path / name)
        assert one.store is own
        assert one.answer[0] is Outcome.MISS
        assert one.events.problems() == ["base_failed"]
        (said,) = caplog.messages
        assert str(tmp_path / name) in said
        assert said.endswith("going on without the base (TUNEONCE_BASE)")


def test_a_base_that_may_not_be_read_is_told_of_once(anyones: Path) -> None:
    base = anyones / "base"
    base.mkdir()
    base.chmod(0)
    with as_nobody():
        one = Process(MemoryStore(), base)
        assert one.answer == (Outcome.MISS, None)
    assert one.events.problems() == ["base_failed"]
    assert "Permission denied" in one.events.seen[0]["detail"]


def test_a_base_that_does_not_answer_holds_a_start_up_once(
    baked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = threading.Event()

    def hanging(directory: str) -> Store:
        answers.wait(60)
        return open_base(directory)

    monkeypatch.setattr(parts, "open_base", hanging)
    monkeypatch.setattr(parts, "READ_S", 0.01)
    own = MemoryStore()
    one = Process(own, baked)
    answers.set()
    assert one.store is own
    assert one.events.problems() == ["base_failed"]


def test_a_base_that_stops_answering_leaves_the_store_as_it_is(baked: Path) -> None:
    answers, told = threading.Event(), []

    class Hanging(MemoryStore):
        def get(self, name: str) -> bytes | None:
            answers.wait(60)
            return None

    own = BoundedStore(MemoryStore(), "own")
    base = BoundedStore(Hanging(), "base", read_s=0.01)
    store = LayeredStore(own, base, base=str(baked), tell=told.append)
    resolver = Resolver(store, RememberedEvents())
    assert resolver.resolve(ASKED).outcome is Outcome.MISS
    assert publish(resolver, KNOWN, FAST) == FAST
    assert resolver.resolve(ASKED).outcome is Outcome.HIT
    assert not store.is_silent
    assert base.is_silent
    assert len(told) == 1
    answers.set()


# -- profiles ------------------------------------------------------------------------------------


def test_parts_of_a_baked_profile_are_used_and_not_put_together_again(tmp_path: Path) -> None:
    base, own = FileStore(tmp_path / "base"), FileStore(tmp_path / "own")
    put(base, *MANY)
    store = LayeredStore(own, open_base(str(tmp_path / "base")), base=str(tmp_path / "base"))
    put(own, *MANY[:3])
    assert profiles(store).load() == merge(MANY)
    profiles(store).tidy()
    assert len(part_names(own)) == 3, "few are left as they are"
    assert len(part_names(base)) == len(MANY)
