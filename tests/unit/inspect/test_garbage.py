"""Which keys and profiles are to go."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.factories import (
    H100,
    leave_in_journal,
    let_age,
    make_key,
    make_part,
    make_shared,
    put_loose,
    put_part,
    put_shared,
    put_variants,
    put_verdict,
    put_wanted,
)
from tuneonce.inspect.garbage import GRACE_S, Criteria, Places, Plan, plan
from tuneonce.model.key import Key
from tuneonce.model.profiles import UsedKey
from tuneonce.store.files import FileStore

DAY = 24 * 3600.0
TIMES = {64: (0.2,), 128: (0.1,)}


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "store")


def put(store: FileStore, name: str, *, days: float, **parts: Any) -> Key:
    """A key with a verdict and what belongs to it, written so long ago."""
    key = make_key(name, **parts)
    names = [put_verdict(store, key, TIMES), put_variants(store, key, *TIMES)]
    names += [put_loose(store, key, 512, 0.1), put_wanted(store, key, 512)]
    let_age(store, *names, days=days)
    return key


def use(store: FileStore, key: Key, *, days: float) -> None:
    """Have a start that has used the key so long ago."""
    at = time.time() - days * DAY
    part = make_part("server 1", start=f"{key.kernel.name}-{days}", at=at)
    verdict = f"{key.directory}/c02.x.verdict.json"
    used = UsedKey(key.kernel.name, verdict, "w", "serving", [part.starts[0].id], at)
    let_age(store, put_part(store, msgspec.structs.replace(part, keys=[used])), days=days)


Find = Callable[..., Plan]


@pytest.fixture
def find(store: FileStore) -> Find:
    def find(*, later: float = 0.0, **asked: Any) -> Plan:
        now = time.time()
        for name in ("written_before", "unused_since"):
            if name in asked:
                asked[name] = now - asked[name] * DAY
        places = Places((Path(store.describe().location, ".journal"),))
        return plan(store, Criteria(**asked), now=now + later, places=places)

    return find


def going(found: Plan) -> list[str]:
    return [one.kernel for one in found.going]


def test_nothing_is_asked_for(store: FileStore, find: Find) -> None:
    put(store, "add", days=400)
    assert going(find()) == []


def test_by_age_a_key_is_as_old_as_its_newest_record(store: FileStore, find: Find) -> None:
    put(store, "old", days=40)
    key = put(store, "renewed", days=40)
    let_age(store, put_verdict(store, key, TIMES, work_class="c05"), days=20)
    found = find(written_before=30)
    assert going(found) == ["old"]
    [one] = found.going
    assert (one.kind, one.files, one.world) == ("key", 4, "NVIDIA-H200-90")
    assert one.bytes == sum(
        path.stat().st_size for path in Path(store.describe().location, one.folder).iterdir()
    )
    assert found.bytes_after == found.held.bytes - one.bytes


def test_by_last_use(store: FileStore, find: Find) -> None:
    """Written long ago and used since is used; what no profile names is, when it was written."""
    use(store, put(store, "used", days=90), days=5)
    use(store, put(store, "left", days=90), days=45)
    put(store, "unnamed", days=80)
    put(store, "new", days=5)
    found = find(unused_since=30)
    assert going(found) == ["unnamed", "left"]
    assert found.going[1].used_at == pytest.approx(time.time() - 45 * DAY, abs=60)


def test_a_key_that_was_written_after_its_last_use(store: FileStore, find: Find) -> None:
    use(store, put(store, "add", days=10), days=45)
    assert "add" not in going(find(unused_since=30))


def test_all_that_is_asked_for_must_hold(store: FileStore, find: Find) -> None:
    use(store, put(store, "used", days=90), days=5)
    put(store, "young", days=20)
    put(store, "old", days=90)
    assert going(find(written_before=30, unused_since=10)) == ["old"]


def test_by_size_what_was_used_longest_ago_goes_first(store: FileStore, find: Find) -> None:
    for name, days in (("b", 30), ("c", 20), ("a", 40)):
        put(store, name, days=days)
    whole = find().held.bytes
    assert going(find(most_bytes=whole)) == []
    assert going(find(most_bytes=whole - 1)) == ["a"]
    assert going(find(most_bytes=whole // 3)) == ["a", "b"]
    assert going(find(most_bytes=0)) == ["a", "b", "c"]
    assert find(most_bytes=0).bytes_after == 0
    # Of those that fit everything else.
    assert going(find(most_bytes=0, written_before=25)) == ["a", "b"]


@pytest.mark.parametrize(
    ("pattern", "kernels"),
    [
        ("nvidia h100", ["add"]),
        ("*H20", []),
        ("NVIDIA*", ["add", "mul"]),
        ("cuda:90", ["add", "mul"]),
        ("triton-3.6.0*", ["add", "mul"]),
        ("cpu", []),
    ],
)
def test_by_world_as_other_commands_have_it(
    store: FileStore, find: Find, pattern: str, kernels: list[str]
) -> None:
    put(store, "add", days=40, product=H100)
    put(store, "mul", days=40)
    let_age(store, put_part(store, make_part()))
    assert sorted(going(find(world=pattern))) == kernels


def test_a_world_is_known_by_any_of_its_keys(store: FileStore, find: Find) -> None:
    """A key that has but measurements does not say what its world is."""
    for name in ("aaa", "zzz"):
        let_age(store, put_loose(store, make_key(name), 64, 0.1))
    put(store, "mul", days=40)
    assert sorted(going(find(world="cuda:90"))) == ["aaa", "mul", "zzz"]


def test_what_stays_is_counted_where_it_would_have_gone(store: FileStore, find: Find) -> None:
    put(store, "old", days=40)
    put_verdict(store, make_key("new"), TIMES)
    assert find(world="cuda:90").recent.files == 1
    assert find(world="*h100").recent.files == 0
    assert find(most_bytes=1 << 30).recent.files == 0
    assert find(written_before=1).recent.files == 0
    assert find(most_bytes=0).recent.files == 1


def test_a_record_of_another_world_does_not_tell_of_this_one(store: FileStore, find: Find) -> None:
    """One that was copied there: its key stays where its own world's pattern would have it go."""
    here, there = make_key(product=H100), make_key()
    name = put_verdict(store, here, TIMES)
    moved = name.replace(here.directory.split("/")[2], there.directory.split("/")[2])
    data = store.get(name)
    assert data is not None
    store.put(moved, data)
    let_age(store, name, moved)
    [one] = find(world="nvidia h100").going
    assert one.folder == here.directory


def test_profiles_go_by_their_last_use(store: FileStore, find: Find) -> None:
    for name, days in (("old 1", 50), ("new 2", 5)):
        at = time.time() - days * DAY
        let_age(store, put_part(store, make_part(name, at=at)), days=1)
    # What is shared of it is no use of it here, and goes with it.
    let_age(store, put_shared(store, make_shared("old 1")), days=1)
    let_age(store, put_shared(store, make_shared("elsewhere 3")), days=1)
    found = find(unused_since=30)
    assert [(one.kind, one.kernel, one.files) for one in found.going] == [("profile", "old", 2)]


def test_what_was_just_written_stays(store: FileStore, find: Find) -> None:
    put_verdict(store, make_key(), TIMES)
    found = find(most_bytes=0)
    assert (going(found), found.recent.files) == ([], 1)
    assert going(find(most_bytes=0, later=GRACE_S + 60)) == ["add"]


def test_a_key_to_which_somebody_writes_stays(store: FileStore, find: Find) -> None:
    """A temporary file, or a journal, is as much of a sign as a record."""
    one, other = put(store, "one", days=40), put(store, "other", days=40)
    root = Path(store.describe().location)
    (root / one.directory / ".tmp-1-0123456789abcdef").write_text("half")
    leave_in_journal(root / ".journal", other, 64, 0.1)
    found = find(written_before=30)
    assert (going(found), found.recent.files) == ([], 2)


def test_what_this_version_does_not_know_is_left_and_counted(store: FileStore, find: Find) -> None:
    later = make_key("later").directory + "/c02.x.verdict.2.json"
    store.put(later, b"x" * 100)
    let_age(store, later)
    found = find(most_bytes=0)
    assert going(found) == []
    assert found.bytes_after == 100


def test_other_users_files_stay(
    store: FileStore, find: Find, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, "add", days=40)
    user = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: user + 1)
    found = find(written_before=30)
    assert (going(found), found.others.files) == ([], 1)


def test_no_record_is_read_to_find_them(
    store: FileStore, find: Find, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, "add", days=40)

    def refuse(*args: object) -> bytes:
        raise AssertionError("a record was read")

    monkeypatch.setattr(FileStore, "get", refuse)
    assert going(find(written_before=30, unused_since=30, most_bytes=0)) == ["add"]


def test_it_can_be_ended_between_two_folders(store: FileStore) -> None:
    put(store, "add", days=40)
    seen = []

    def each() -> None:
        seen.append(1)
        if len(seen) == 2:
            raise LookupError

    with pytest.raises(LookupError):
        plan(store, Criteria(), now=0.0, places=Places(), each=each)


def test_only_what_was_shown_and_is_the_same(store: FileStore, find: Find) -> None:
    put(store, "one", days=40)
    shown = find(written_before=30).going
    put(store, "other", days=40)
    again = find(written_before=30)
    assert len(again.going) == 2
    assert going(again.only(shown)) == ["one"]
