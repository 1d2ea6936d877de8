"""A store over another one: a base, an older place, journals."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tuneonce.errors import (
    RecordUnreadable,
    StoreError,
    StoreReadOnly,
    StoreUnavailable,
    Unreadable,
)
from tuneonce.store import Store, open_base, open_store, open_with_older
from tuneonce.store.base import MAX_RECORD_BYTES
from tuneonce.store.layered import LayeredStore, is_of_base
from tuneonce.store.memory import MemoryStore
from tuneonce.store.readonly import ReadOnlyStore

NAME, OTHER = "k/w/d/verdict", "k/w/e/verdict"


@pytest.fixture
def lower() -> MemoryStore:
    store = MemoryStore()
    store.put(NAME, b"lower")
    store.put(OTHER, b"only there")
    return store


@pytest.fixture
def upper() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def based(upper: MemoryStore, lower: MemoryStore) -> LayeredStore:
    """Over a store that may only be read, as a base is."""
    return LayeredStore(upper, ReadOnlyStore(lower), base="/opt/results")


# -- over one that is only read ------------------------------------------------------------------


def test_what_is_below_is_read(upper: MemoryStore, based: LayeredStore) -> None:
    upper.put("k/w/f/verdict", b"new")
    assert based.get(NAME) == b"lower"
    assert sorted(based.list("")) == [NAME, OTHER, "k/w/f/verdict"]
    assert sorted(based.children("k/w/")) == ["k/w/d/", "k/w/e/", "k/w/f/"]
    assert len(based.children("k/w/", limit=2)) == 2
    assert based.describe().base == "/opt/results"


def test_what_is_above_goes_first(upper: MemoryStore, based: LayeredStore) -> None:
    based.put(NAME, b"new")
    assert based.get(NAME) == upper.get(NAME) == b"new"
    assert list(based.list("k/w/d/")) == [NAME]


def test_what_is_below_was_there_first(upper: MemoryStore, based: LayeredStore) -> None:
    assert not based.put_if_absent(NAME, b"new")
    assert based.get(NAME) == b"lower"
    assert list(upper.list("")) == []
    assert based.put_if_absent("k/w/new", b"new")
    with pytest.raises(ValueError, match="too many"):
        based.put_if_absent(NAME, bytes(MAX_RECORD_BYTES + 1))


def test_what_cannot_be_used_stays_and_is_not_the_first(
    upper: MemoryStore, lower: MemoryStore, based: LayeredStore
) -> None:
    assert not based.set_aside(NAME, seen=b"lower"), "it was not moved"
    assert based.get(NAME) == lower.get(NAME) == b"lower"
    assert based.put_if_absent(NAME, b"whole")
    assert based.get(NAME) == upper.get(NAME) == b"whole"
    assert based.set_aside(NAME, seen=b"whole"), "the one above is moved"


def test_what_is_replaced_stays_replaced(
    upper: MemoryStore, lower: MemoryStore, based: LayeredStore
) -> None:
    """What `Resolver.replace` does, twice."""
    for before, new in ((b"lower", b"better"), (b"better", b"best")):
        assert not based.delete_if(NAME, b"another")
        assert based.delete_if(NAME, before)
        assert based.get(NAME) is None
        assert list(based.list("k/w/d/")) == list(based.children("k/w/d/")) == []
        assert based.put_if_absent(NAME, new)
        assert not based.put_if_absent(NAME, b"late")
    assert lower.get(NAME) == b"lower"
    assert LayeredStore(upper, ReadOnlyStore(lower)).get(NAME) == b"best", "in another process"


def test_one_thread_removes_what_is_below(based: LayeredStore) -> None:
    start, wins = threading.Barrier(8), list[bool]()

    def remove() -> None:
        start.wait(30)
        wins.append(based.delete_if(NAME, b"lower"))

    threads = [threading.Thread(target=remove) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wins.count(True) == 1


def test_whose_a_record_is(upper: MemoryStore, lower: MemoryStore, based: LayeredStore) -> None:
    upper.put(OTHER, b"mine")
    asked = is_of_base(based)
    assert [asked(name) for name in (NAME, OTHER, "k/none")] == [True, False, False]
    for store in (upper, LayeredStore(upper, lower)):  # the second one has no base, but a past
        assert not is_of_base(store)(NAME)


class ModelOverBase(RuleBasedStateMachine):
    """Over a base, too, any sequence of operations does what it does to a dictionary."""

    name = st.sampled_from([f"{a}/{b}" for a in "ab" for b in "123"])
    data = st.sampled_from([b"", b"one", b"two"])

    @initialize(below=st.dictionaries(name, data))
    def start(self, below: dict[str, bytes]) -> None:
        lower = MemoryStore()
        for name, data in below.items():
            lower.put(name, data)
        self.below, self.lower = dict(below), lower
        self.store, self.model = LayeredStore(MemoryStore(), ReadOnlyStore(lower)), dict(below)

    @rule(name=name, data=data)
    def put(self, name: str, data: bytes) -> None:
        self.store.put(name, data)
        self.model[name] = data

    @rule(name=name, data=data)
    def put_if_absent(self, name: str, data: bytes) -> None:
        assert self.store.put_if_absent(name, data) == (name not in self.model)
        self.model.setdefault(name, data)

    @rule(name=name, data=data)
    def delete_if(self, name: str, data: bytes) -> None:
        equal = self.model.get(name) == data
        assert self.store.delete_if(name, data) == equal
        if equal:
            del self.model[name]

    @invariant()
    def holds_the_same(self) -> None:
        if hasattr(self, "store"):
            assert {name: self.store.get(name) for name in self.store.list("")} == self.model
            children = {name for top in "ab" for name in self.store.children(f"{top}/")}
            assert children == set(self.model)
            assert {name: self.lower.get(name) for name in self.lower.list("")} == self.below


TestModelOverBase = ModelOverBase.TestCase
TestModelOverBase.settings = settings(
    max_examples=50,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


# -- over one that may be written ----------------------------------------------------------------


def test_what_is_removed_is_removed_below_too(upper: MemoryStore, lower: MemoryStore) -> None:
    store = LayeredStore(upper, lower)
    assert not store.delete_if(NAME, b"another")
    assert store.delete_if(NAME, b"lower")
    upper.put(OTHER, b"only there")
    assert store.delete_if(OTHER, b"only there")
    assert list(lower.list("")) == list(store.list("")) == []


def test_another_record_below_does_not_come_up(upper: MemoryStore, lower: MemoryStore) -> None:
    store = LayeredStore(upper, lower)
    upper.put(NAME, b"upper")
    assert not store.delete_if(NAME, b"lower")
    assert store.delete_if(NAME, b"upper")
    assert store.get(NAME) is None
    assert lower.get(NAME) == b"lower"


# -- over one that does not work -----------------------------------------------------------------


class Failing(MemoryStore):
    """Raises for all names and folders."""

    def __init__(self, error: StoreError) -> None:
        super().__init__()
        self.error = error

    def get(self, name: str) -> bytes | None:
        raise self.error

    def children(self, prefix: str, *, limit: int | None = None) -> list[str]:
        raise self.error

    list = children  # type: ignore[assignment]

    def delete_if(self, name: str, expected: bytes) -> bool:
        raise self.error


def test_one_that_fails_has_nothing_and_is_told_of_once(upper: MemoryStore) -> None:
    told: list[StoreError] = []
    error = StoreUnavailable("gone", store="x")
    store = LayeredStore(upper, Failing(error), tell=told.append)
    upper.put(NAME, b"upper")
    assert store.get(OTHER) is None
    assert store.get(NAME) == b"upper"
    assert list(store.list("")) == [NAME]
    assert store.children("") == ["k/"]
    assert store.delete_if(NAME, b"upper")
    assert store.put_if_absent(OTHER, b"new")
    assert told == [error]


def test_a_record_that_may_not_be_read_is_told_and_never_the_first(upper: MemoryStore) -> None:
    told: list[StoreError] = []
    error = RecordUnreadable(NAME, Unreadable.OWNER)
    store = LayeredStore(upper, Failing(error), tell=told.append)
    with pytest.raises(RecordUnreadable):
        store.get(NAME)
    assert told == [], "its reader counts it"
    assert store.put_if_absent(NAME, b"new")
    assert store.get(NAME) == b"new"
    assert not is_of_base(LayeredStore(upper, Failing(error), base="x"))(NAME)
    assert is_of_base(LayeredStore(MemoryStore(), Failing(error), base="x"))(NAME)


# -- opening -------------------------------------------------------------------------------------


def test_only_an_older_place_that_is_there_is_looked_at(tmp_path: Path) -> None:
    address = str(tmp_path / "new")
    assert type(open_with_older(address, None)) is type(open_store(address))
    assert type(open_with_older(address, str(tmp_path / "older"))) is type(open_store(address))
    (tmp_path / "older").mkdir()
    assert type(open_with_older(address, str(tmp_path / "older"))) is LayeredStore


def test_a_base_is_there_and_is_only_read(tmp_path: Path) -> None:
    place = tmp_path / "base"
    with pytest.raises(StoreUnavailable, match="No such file"):
        open_base(str(place))
    place.write_text("a file")
    with pytest.raises(StoreUnavailable, match="Not a directory"):
        open_base(str(place))
    place.unlink()
    open_store(place).put(NAME, b"baked")
    base: Store = open_base(str(place))
    assert base.get(NAME) == b"baked"
    with pytest.raises(StoreReadOnly):
        base.put(NAME, b"new")
