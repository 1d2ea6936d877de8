"""A profile in a store: parts, several processes that tidy up at once, stores that do not work."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes import FaultyStore, RememberedEvents
from tests.unit.model.test_profiles import HOUR, as_part, names, of, part, variant
from tests.unit.model.test_shared_profiles import H100, H200, of_key
from tuneonce.errors import StoreError, StoreFull, StoreReadOnly, StoreUnavailable
from tuneonce.model.profiles import Profile, ProfilePart, Start, merge
from tuneonce.model.record_names import (
    PROFILES,
    kind_of,
    profile_part_name,
    shared_profile_name,
)
from tuneonce.model.records import pack
from tuneonce.model.shared_profiles import PERIOD_S, SharedProfile
from tuneonce.resolution import profiles as module
from tuneonce.resolution.access import Access
from tuneonce.resolution.profiles import Profiles
from tuneonce.store import Store
from tuneonce.store.bounded import BoundedStore
from tuneonce.store.files import FileStore
from tuneonce.store.memory import MemoryStore
from tuneonce.store.readonly import ReadOnlyStore

NAME = "server 1"


def profiles(store: Store, name: str = NAME) -> Profiles:
    return Profiles(Access(store, RememberedEvents()), lambda: name)


def part_names(store: Store) -> list[str]:
    return sorted(store.list(PROFILES))


def put(store: Store, *parts: ProfilePart) -> None:
    for one in parts:
        store.put(profile_part_name(one), pack(one))


MANY = [of(n, "a" if n % 3 else "b", f"k{n}", complete=n > 30) for n in range(40)]
WHOLE = merge(MANY)


def test_what_is_kept_is_loaded(store: Store) -> None:
    one = profiles(store)
    assert one.load() == Profile()
    assert one.keep(MANY[0])
    assert one.keep(MANY[1])
    assert profiles(store).load() == merge(MANY[:2])


def test_a_part_that_grows_replaces_itself(store: Store) -> None:
    start, used = Start("s", HOUR), [variant(f"k{n}", "s", HOUR + n) for n in range(3)]
    one = profiles(store)
    for count in (1, 2, 3):
        one.keep(part(start, *used[:count]))
    assert len(part_names(store)) == 1
    assert [v.kernel for v in one.load().variants] == ["kernels:k2", "kernels:k1", "kernels:k0"]


def test_few_parts_are_left_as_they_are(store: Store) -> None:
    put(store, *MANY[:3])
    before = part_names(store)
    profiles(store).tidy()
    assert part_names(store) == before


def test_many_parts_become_few_that_say_the_same(store: Store) -> None:
    put(store, *MANY)
    profiles(store).tidy()
    assert len(part_names(store)) == 1
    assert profiles(store).load() == WHOLE
    put(store, *(of(n, "a") for n in range(40, 80)))
    profiles(store).tidy()
    assert len(part_names(store)) == 1
    assert profiles(store).load() == merge([*MANY, *(of(n, "a") for n in range(40, 80))])


def test_a_large_profile_is_kept_in_parts_that_a_store_takes(store: Store) -> None:
    wide = {f"sig.x{n}": "*fp32" for n in range(60)}
    start = Start("s", 0.0, complete=True)
    parts = [
        part(start, *(variant(f"{p}-{n}", "s", 1.0, variant=wide) for n in range(40)), name=str(p))
        for p in range(40)
    ]
    put(store, *parts)
    profiles(store).tidy()
    assert 1 < len(part_names(store)) < 40
    assert profiles(store).load() == merge(parts)


class Interrupting(FaultyStore):
    """Before its operation of this number something else happens."""

    def __init__(self, inner: Store, number: int, instead: Callable[[], None]) -> None:
        super().__init__(inner)
        self.number, self.instead = number, instead

    def _meet(self, operation: str, name: str) -> None:
        super()._meet(operation, name)
        if len(self.calls) == self.number:
            self.instead()


class Killed(BaseException):
    pass


def kill() -> None:
    raise Killed


def operations_of_tidying() -> int:
    store = FaultyStore(MemoryStore())
    put(store.inner, *MANY)
    profiles(store).tidy()
    return len(store.calls)


# What is changed is changed from the first write on.
STEPS = range(1, operations_of_tidying() + 1, 3)


@pytest.mark.parametrize("number", STEPS)
def test_killed_anywhere_nothing_is_lost(number: int) -> None:
    store = MemoryStore()
    put(store, *MANY)
    with pytest.raises(Killed):
        profiles(Interrupting(store, number, kill)).tidy()
    assert profiles(store).load() == WHOLE
    profiles(store).tidy()
    assert profiles(store).load() == WHOLE


@pytest.mark.parametrize("number", STEPS)
def test_two_that_tidy_up_at_once_lose_nothing(number: int) -> None:
    store = MemoryStore()
    put(store, *MANY)
    profiles(Interrupting(store, number, profiles(store).tidy)).tidy()
    assert profiles(store).load() == WHOLE
    assert len(part_names(store)) < len(MANY)


@pytest.mark.parametrize("number", STEPS)
def test_what_a_living_process_adds_to_its_part_meanwhile_is_kept(number: int) -> None:
    store = MemoryStore()
    put(store, *MANY)
    start = MANY[35].starts[0]
    grown = part(start, *MANY[35].variants, *MANY[35].keys, variant("new", start.id, start.at + 9))
    assert profile_part_name(grown) == profile_part_name(MANY[35])
    profiles(Interrupting(store, number, lambda: put(store, grown))).tidy()
    assert "kernels:new" in {one.kernel for one in profiles(store).load().variants}


@pytest.mark.parametrize("error", [StoreFull, StoreReadOnly, StoreUnavailable])
@pytest.mark.parametrize("operation", ["get", "put", "delete_if", "children"])
def test_a_store_that_fails_raises_nothing_and_loses_nothing(
    operation: str, error: type[StoreError]
) -> None:
    inner = MemoryStore()
    put(inner, *MANY)
    one = profiles(FaultyStore(inner, **{operation: error("no", store="memory:")}))
    assert one.load() in (WHOLE, Profile())
    assert one.keep(of(41, "c", complete=False)) is (operation != "put")
    one.tidy()
    found = profiles(inner).load()
    assert {v.kernel for v in WHOLE.variants} <= {v.kernel for v in found.variants}


def test_a_read_only_store_answers_and_is_not_written() -> None:
    inner = MemoryStore()
    put(inner, *MANY)
    before = part_names(inner)
    one = profiles(ReadOnlyStore(inner))
    assert one.load() == WHOLE
    assert not one.keep(of(41, "c", complete=False))
    one.tidy()
    assert part_names(inner) == before


def test_a_store_that_never_answers_is_asked_once() -> None:
    over = threading.Event()

    class Dead(MemoryStore):
        def children(self, prefix: str, *, limit: int | None = None) -> list[str]:
            over.wait(60)
            return []

    bounded = BoundedStore(Dead(), "memory:", read_s=0.01)
    assert profiles(bounded).load() == Profile()
    assert bounded.is_silent
    assert not profiles(bounded).keep(MANY[0])
    over.set()


def test_reading_ends_when_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """One bound for all that is read, the profiles of others included."""
    now = itertools.count(0.0, 1.0)  # each look at the clock takes a second
    monkeypatch.setattr(module.time, "monotonic", lambda: next(now))
    store = FaultyStore(MemoryStore())
    for n in range(8):
        put(store.inner, *(ProfilePart(f"server {n + 2}", f"p{i}", [], [], []) for i in range(20)))
    profiles(store).load(within_s=3.0)
    assert len(store.calls) <= 8


def test_how_much_is_read_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_PARTS", 5)
    store = FaultyStore(MemoryStore())
    put(store.inner, *MANY)
    profiles(store).load()
    assert [operation for operation, _ in store.calls].count("get") == 5
    monkeypatch.setattr(module, "_MOST_PARTS", 1000)
    monkeypatch.setattr(module, "_MOST_BYTES", len(pack(MANY[0])) * 3)
    store.calls.clear()
    profiles(store).load()
    assert [operation for operation, _ in store.calls].count("get") <= 5


# -- profiles of the same program -----------------------------------------------------------------


def test_where_nothing_is_recorded_the_last_used_profile_of_the_program_answers(
    store: Store,
) -> None:
    for name, number in (("server 2", 5), ("server 3", 9), ("server 4", 7), ("other 5", 20)):
        said = as_part(merge([of(number, f"k{number}")]), "p")
        put(store, ProfilePart(name, said.id, said.starts, said.variants, said.keys))
    assert names(profiles(store).load()) == {"k9"}
    # One start of its own may have ended early; two say what is needed.
    put(store, of(1, "own"))
    assert names(profiles(store).load()) == {"own", "k9"}
    put(store, of(2, "own too"))
    assert names(profiles(store).load()) == {"own", "own too"}
    assert profiles(store, "third 1").load() == Profile()


def test_what_is_added_goes_to_the_programs_own(store: Store) -> None:
    put(store, ProfilePart("server 2", "p", *_fields(of(1, "a"))))
    one = profiles(store)
    one.keep(of(2, "b"))
    assert names(profiles(store).load()) == {"a", "b"}
    put(store, ProfilePart(NAME, "p2", *_fields(of(3, "c"))))
    assert names(profiles(store).load()) == {"b", "c"}
    assert names(profiles(store, "server 2").load()) >= {"a"}


def _fields(of_part: ProfilePart) -> tuple[list[Start], list, list]:  # type: ignore[type-arg]
    return of_part.starts, of_part.variants, of_part.keys


@pytest.mark.parametrize(
    "name", ["", " ", "/etc/passwd", "..", "../x 1", "a/b c", "\udcff 1", "x" * 5000, "é ü", "\n"]
)
def test_a_profile_may_have_any_name(tmp_path: Path, name: str) -> None:
    store = FileStore(tmp_path / "store")
    one = profiles(store, name)
    start = Start("s", 1.0)
    kept = one.keep(ProfilePart(name, "s-0", [start], [variant("a", "s", 1.0)], []))
    found = profiles(store, name).load()
    assert (len(found.variants) == 1) is kept
    assert kept or "\udcff" in name
    assert [path.name for path in tmp_path.iterdir() if path.name != "store"] == []


def test_the_name_is_asked_for_when_it_is_needed_and_once() -> None:
    asked: list[str] = []

    def name() -> str:
        asked.append(NAME)
        return NAME

    one = Profiles(Access(MemoryStore(), RememberedEvents()), name)
    assert asked == []
    one.load()
    one.keep(MANY[0])
    assert asked == [NAME]


# -- what machines share of it -------------------------------------------------------------------

NOW = 2000 * PERIOD_S + HOUR


def having(store: Store, name: str = NAME, clock: Callable[[], float] = lambda: NOW) -> Profiles:
    return Profiles(Access(store, RememberedEvents()), lambda: name, clock=clock)


def started(store: Store, number: int, *used: str, world: str = H200, name: str = NAME) -> None:
    """Leave what a complete start has used, and add it to what is shared."""
    start, at = f"s{number}", NOW + number
    entries = [variant(one, start, at) for one in used]
    keys = [of_key(one, at, world, start) for one in used]
    made = ProfilePart(name, f"{start}-0", [Start(start, at, complete=True)], entries, keys)
    put(store, made)
    having(store, name).share()


def shared_in(store: Store) -> dict[str, bytes | None]:
    return {
        name: store.get(name) for name in store.list(PROFILES) if kind_of(name) is SharedProfile
    }


def test_what_a_start_needed_is_shared_and_the_first_start_elsewhere_reads_it(store: Store) -> None:
    started(store, 1, "a", "b")
    ((name, data),) = shared_in(store).items()
    assert name == shared_profile_name(NAME, H200)
    there = MemoryStore()
    assert not having(there).has_shared()
    there.put(name, data or b"")
    assert having(there).has_shared()
    found = having(there).load(world=H200)
    assert (names(found), found.starts) == ({"a", "b"}, [])
    for other in (having(there).load(), having(there).load(world=H100)):
        assert other == Profile()
    # And another program's profile is another one.
    assert having(there, "server 2").load(world=H200) == Profile()


def test_it_is_read_as_long_as_the_own_profile_is_young_and_ages_nothing_in_it() -> None:
    there = MemoryStore()
    started(there, 1, "a", "b")
    ((name, data),) = shared_in(there).items()
    store = MemoryStore()
    store.put(name, data or b"")
    for number in (2, 3):
        found = having(store).load(world=H200)
        assert names(found) == {"a", "b"} | ({"c"} if number == 3 else set())
        assert len(found.starts) == number - 2
        started(store, number, "c")
    assert having(store).load(world=H200) == having(store).load()
    assert names(having(store).load(world=H200)) == {"c"}


def test_what_is_shared_goes_before_what_other_arguments_needed(store: Store) -> None:
    started(store, 1, "other", name="server 2")
    assert names(having(store).load(world=H200)) == {"other"}
    there = MemoryStore()
    started(there, 1, "a")
    for name, data in shared_in(there).items():
        store.put(name, data or b"")
    assert names(having(store).load(world=H200)) == {"a"}
    assert names(having(store).load(world=H100)) == {"other"}


def test_starts_that_need_the_same_write_nothing(store: Store) -> None:
    started(store, 1, "a", "b")
    before = shared_in(store)
    for number in range(2, 9):
        started(store, number, "a", "b")
    assert shared_in(store) == before
    started(store, 9, "c")
    assert shared_in(store) != before


def test_machines_that_need_other_things_come_to_the_same() -> None:
    stores = [MemoryStore() for _ in range(3)]
    for number, (store, used) in enumerate(zip(stores, "abc", strict=True)):
        started(store, number, used)
    for one, other in itertools.permutations(stores, 2):  # as if each had the other's record
        ((name, data),) = shared_in(one).items()
        other.put(name, data or b"")
        having(other).share()
    found = [having(store).load(world=H200) for store in stores]
    assert [names(one) for one in found] == [{"a", "b", "c"}] * 3


def test_worlds_are_apart(store: Store) -> None:
    started(store, 1, "a", world=H200)
    started(store, 2, "b", world=H100)
    assert set(shared_in(store)) == {shared_profile_name(NAME, one) for one in (H200, H100)}
    there = MemoryStore()
    for name, data in shared_in(store).items():
        there.put(name, data or b"")
    assert names(having(there).load(world=H200)) == {"a"}
    assert names(having(there).load(world=H100)) == {"b"}


def test_what_is_shared_is_no_part(store: Store) -> None:
    put(store, *MANY)
    started(store, 50, "a")
    before = shared_in(store)
    profiles(store).tidy()
    assert shared_in(store) == before
    assert len(part_names(store)) == 1 + len(before)


@pytest.mark.parametrize(
    "bad", [b"", b"garbage", b'{"schema":"tuneonce.shared-profile/1","sha256":"0"}\n{}\n', "wrong"]
)
def test_one_that_cannot_be_used_is_written_anew(store: Store, bad: bytes | str) -> None:
    wrong = MemoryStore()
    started(wrong, 1, "x", world=H100)
    (data,) = shared_in(wrong).values()
    assert data is not None
    store.put(shared_profile_name(NAME, H200), data if bad == "wrong" else bytes(bad))  # type: ignore[arg-type]
    assert having(store).load(world=H200) == Profile()
    started(store, 1, "a")
    started(store, 2, "a")
    assert names(having(store).load(world=H200)) == {"a"}
    there = MemoryStore()
    for name, found in shared_in(store).items():
        there.put(name, found or b"")
    assert names(having(there).load(world=H200)) == {"a"}


@pytest.mark.parametrize("failure", [StoreReadOnly, StoreFull, StoreUnavailable])
def test_a_store_that_takes_nothing_is_asked_once_for_all_worlds(
    failure: type[StoreError],
) -> None:
    inner = MemoryStore()
    for number, world in enumerate((H200, H100)):
        start = f"s{number}"
        keys = [of_key("a", NOW, world, start)]
        put(inner, ProfilePart(NAME, start, [Start(start, NOW)], [], keys))
    store = FaultyStore(inner, put=failure("no", store="faulty:"))
    having(store).share()
    assert [operation for operation, _ in store.calls].count("put") == 1


def test_what_was_not_read_in_time_is_not_written_over(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    started(store, 1, "a")
    before = shared_in(store)
    put(store, ProfilePart(NAME, "s2", [Start("s2", NOW)], [], [of_key("b", NOW, H200, "s2")]))
    monkeypatch.setattr(module, "_SHARED_WITHIN_S", -1.0)
    having(store).share()
    assert shared_in(store) == before
    monkeypatch.setattr(module, "_SHARED_WITHIN_S", 60.0)
    having(store).share()
    assert shared_in(store) != before
