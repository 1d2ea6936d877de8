"""A store that is kept below a limit."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.factories import leave_in_journal, let_age, make_key, put_verdict
from tuneonce.replay import store_limit
from tuneonce.replay.store_limit import OutOfTime, StoreLimit, Turns
from tuneonce.store.files import FileStore
from tuneonce.system.claims import Claims

TIMES = {64: (0.2,), 128: (0.1,)}


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    """One with keys that were written 30, 20 and 10 days ago."""
    made = FileStore(tmp_path / "store")
    for name, days in (("a", 30), ("b", 20), ("c", 10)):
        let_age(made, put_verdict(made, make_key(name), TIMES), days=days)
    return made


@contextlib.contextmanager
def guarded(what: str) -> Iterator[None]:
    yield


def limit(store: FileStore, keys: float, **more: Any) -> StoreLimit:
    """At most so many keys."""
    root = store.describe().location
    [size] = {path.stat().st_size for path in Path(root, "v1").rglob("*.json")}
    options = {"journals": list, "claims": None, "guarded": guarded, **more}
    return StoreLimit(root, int(size * keys), **options)


def kernels(store: FileStore) -> list[str]:
    return sorted(name.split("/")[1].partition("~")[0] for name in store.list("v1/"))


def nothing() -> None:
    """No turns: all at once."""


def test_what_was_used_longest_ago_goes(store: FileStore, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "tuneonce"):
        limit(store, 2.5).keep(nothing)
    assert kernels(store) == ["b", "c"]
    assert "removed 1 keys" in caplog.text
    limit(store, 2).keep(nothing)
    assert kernels(store) == ["b", "c"]
    limit(store, 0.5).keep(nothing)
    assert kernels(store) == []


def test_what_is_new_stays_and_that_is_said(
    store: FileStore, caplog: pytest.LogCaptureFixture
) -> None:
    keeper = limit(store, 0)
    put_verdict(store, make_key("new"), TIMES)
    with caplog.at_level(logging.INFO, "tuneonce"):
        keeper.keep(nothing)
    assert kernels(store) == ["new"]
    assert "the rest is too new, or others'" in caplog.text


def test_a_key_with_a_journal_somewhere_near_stays(store: FileStore, tmp_path: Path) -> None:
    leave_in_journal(tmp_path / "near", make_key("a"), 64, 0.1)
    limit(store, 0, journals=lambda: [tmp_path / "near"]).keep(nothing)
    assert kernels(store) == ["a"]


def test_one_process_of_a_machine_does_it_at_a_time(store: FileStore, tmp_path: Path) -> None:
    claims = Claims(tmp_path)
    keeper = limit(store, 0, claims=claims)
    looked = []

    def look() -> None:
        """While one is at it."""
        if not looked:
            looked.append(kernels(store))
            limit(store, 0, claims=claims).keep(nothing)
            assert kernels(store) == ["a", "b", "c"]

    keeper.keep(look)
    assert looked
    assert kernels(store) == []
    assert list(tmp_path.glob("*.claim")) == []


def test_where_there_can_be_no_claims(store: FileStore, tmp_path: Path) -> None:
    limit(store, 0, claims=Claims(tmp_path / "none")).keep(nothing)
    assert kernels(store) == []


def test_a_store_that_keeps_nothing_or_is_not_there(store: FileStore, tmp_path: Path) -> None:
    for url in ("memory:", f"{store.describe().url}?readonly=1", str(tmp_path / "none")):
        StoreLimit(url, 0, journals=list, claims=None, guarded=guarded).keep(nothing)
    assert kernels(store) == ["a", "b", "c"]
    assert not (tmp_path / "none").exists()


def test_it_is_done_in_a_thread_and_once(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    keeper = limit(store, 1)
    done = threading.Semaphore(0)
    ran = []

    def keep(turns: Turns) -> None:
        ran.append(threading.current_thread().name)
        done.release()

    monkeypatch.setattr(keeper, "keep", keep)
    keeper.begin()
    keeper.begin()
    assert done.acquire(timeout=60)
    assert ran == ["tuneonce-limit"]
    keeper.renew()  # as in a forked child
    keeper.begin()
    assert done.acquire(timeout=60)


def test_where_there_may_be_no_more_threads(
    store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any, **more: Any) -> None:
        raise RuntimeError("no more threads")

    monkeypatch.setattr(store_limit, "start_thread", refuse)
    limit(store, 0).begin()
    assert kernels(store) == ["a", "b", "c"]


def test_turns_are_short_and_come_to_an_end(store: FileStore) -> None:
    now, slept = [0.0], []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    turns = Turns(within_s=1.0, clock=lambda: now[0], sleep=sleep)
    turns()
    assert slept == []
    now[0] += 0.01
    turns()
    assert slept == [pytest.approx(0.04)]
    turns()
    assert len(slept) == 1
    now[0] = 1.5
    with pytest.raises(OutOfTime):
        turns()
    keeper = limit(store, 0)
    with pytest.raises(OutOfTime):
        keeper.keep(turns)
    assert kernels(store) == ["a", "b", "c"]
