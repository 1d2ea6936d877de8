"""One suite for every store: what a caller may rely on without knowing which one it has."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tuneonce.errors import StoreReadOnly
from tuneonce.store import Store, open_base, open_store, open_with_older
from tuneonce.store.base import MAX_RECORD_BYTES
from tuneonce.store.bounded import BoundedStore
from tuneonce.store.layered import LayeredStore
from tuneonce.store.readonly import ReadOnlyStore
from tuneonce.store.telling import TellingStore

NAME = "attention/h200/0a1b/verdict.json"

# For each store, its address in an empty place. The whole suite runs over each.
ADDRESSES: dict[str, Callable[[Path], str]] = {
    "files": lambda folder: f"file://{folder}/store",
    "moved files": lambda folder: f"file://{folder}/store",
    "based files": lambda folder: f"file://{folder}/store",
    "bounded files": lambda folder: f"file://{folder}/store",
    "memory": lambda folder: "memory:",
}


class Case(NamedTuple):
    kind: str
    address: str


@pytest.fixture(params=list(ADDRESSES))
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Case:
    return Case(request.param, ADDRESSES[request.param](tmp_path))


def opened(kind: str, address: str) -> Store:
    """The store; one as a program has it; or one that reads an older place or a base, both empty.

    A program's is told of and bounded. What a base holds is no part of the contract
    (`unit/store/test_layered.py`).
    """
    if kind == "bounded files":
        return BoundedStore(TellingStore(open_store(address), lambda name: None), address)
    if kind not in ("moved files", "based files"):
        return open_store(address)
    lower = Path(address.removeprefix("file://")).with_name("lower")
    lower.mkdir(exist_ok=True)
    if kind == "moved files":
        return open_with_older(address, str(lower))
    return LayeredStore(open_store(address), open_base(str(lower)), base=str(lower))


@pytest.fixture
def store(case: Case) -> Iterator[Store]:
    with opened(case.kind, case.address) as store:
        yield store


@contextlib.contextmanager
def empty_store(kind: str) -> Iterator[Store]:
    """For hypothesis, which needs a new store for every example."""
    with (
        tempfile.TemporaryDirectory() as folder,
        opened(kind, ADDRESSES[kind](Path(folder))) as store,
    ):
        yield store


# -- one record ----------------------------------------------------------------------------------


def test_absent_is_none(store: Store) -> None:
    assert store.get(NAME) is None
    assert list(store.list("")) == []
    assert not store.delete_if(NAME, b"")
    assert not store.set_aside(NAME)


@pytest.mark.parametrize("durable", [True, False])
def test_put_is_read_back_and_replaces(store: Store, durable: bool) -> None:
    store.put(NAME, b"first", durable=durable)
    store.put(NAME, b"second", durable=durable)
    assert store.get(NAME) == b"second"
    assert list(store.list("")) == [NAME]


@pytest.mark.parametrize("durable", [True, False])
def test_put_if_absent_keeps_the_first(store: Store, durable: bool) -> None:
    assert store.put_if_absent(NAME, b"first", durable=durable)
    assert not store.put_if_absent(NAME, b"second", durable=durable)
    assert not store.put_if_absent(NAME, b"first", durable=durable)
    assert store.get(NAME) == b"first"


def test_an_empty_record_is_a_record(store: Store) -> None:
    assert store.put_if_absent(NAME, b"")
    assert store.get(NAME) == b""
    assert not store.put_if_absent(NAME, b"more")
    assert store.delete_if(NAME, b"")
    assert store.get(NAME) is None


def test_the_largest_record_fits_and_a_larger_one_is_the_callers_mistake(store: Store) -> None:
    largest = bytes(MAX_RECORD_BYTES)
    store.put(NAME, largest, durable=False)
    assert store.get(NAME) == largest
    for write in (store.put, store.put_if_absent):
        with pytest.raises(ValueError, match="too many"):
            write(NAME, largest + b"!")
        with pytest.raises(TypeError, match="str"):
            write(NAME, "text")  # type: ignore[arg-type]
    assert store.get(NAME) == largest


def test_delete_if_compares(store: Store) -> None:
    store.put(NAME, b"mine")
    assert not store.delete_if(NAME, b"min")
    assert not store.delete_if(NAME, b"mine!")
    assert store.get(NAME) == b"mine"
    assert store.delete_if(NAME, b"mine")
    assert store.get(NAME) is None
    assert not store.delete_if(NAME, b"mine")
    assert store.put_if_absent(NAME, b"next")


def test_set_aside_frees_the_name(store: Store) -> None:
    store.put(NAME, b"broken")
    assert store.set_aside(NAME)
    assert store.get(NAME) is None
    assert list(store.list("")) == []
    assert not store.set_aside(NAME)
    assert store.put_if_absent(NAME, b"whole")
    assert store.get(NAME) == b"whole"


def test_set_aside_leaves_what_the_caller_has_not_seen(store: Store) -> None:
    store.put(NAME, b"healed by somebody else")
    assert not store.set_aside(NAME, seen=b"broken")
    assert store.get(NAME) == b"healed by somebody else"
    assert store.set_aside(NAME, seen=b"healed by somebody else")
    assert store.get(NAME) is None
    assert not store.set_aside(NAME, seen=b"healed by somebody else")


# -- names ---------------------------------------------------------------------------------------

MALFORMED = [
    "", "/", "a/", "/a", "a//b", ".", "..", "../a", "a/../b", ".hidden", "a/.tmp-1", "a b", "a\nb",
    "a\n", "a\0b", "ä", "a\\b", "a:b", "a*b", "x" * 201, "/".join("abcdefghi"), "a/" + "y" * 201,
]  # fmt: skip


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_names_are_refused_everywhere(store: Store, name: str) -> None:
    calls: list[Callable[[], object]] = [
        lambda: store.get(name),
        lambda: store.put(name, b""),
        lambda: store.put_if_absent(name, b""),
        lambda: store.delete_if(name, b""),
        lambda: store.set_aside(name),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="no record name"):
            call()
    assert list(store.list("")) == []


@pytest.mark.parametrize("prefix", ["/", "a//", "../", ".", "a/.", "a b", "a/\n"])
def test_malformed_prefixes_are_refused_at_once(store: Store, prefix: str) -> None:
    with pytest.raises(ValueError, match="no record name"):
        store.list(prefix)


parts = st.from_regex(r"[A-Za-z0-9_=~+@-][A-Za-z0-9_.=~+@-]{0,20}", fullmatch=True)
names = st.lists(parts | st.just("x" * 200), min_size=1, max_size=8).map("/".join)


@pytest.mark.parametrize("kind", list(ADDRESSES))
@settings(max_examples=25, deadline=None)
@given(name=names, data=st.binary(max_size=400), durable=st.booleans())
def test_any_name_and_any_bytes_come_back(kind: str, name: str, data: bytes, durable: bool) -> None:
    with empty_store(kind) as store:
        assert store.put_if_absent(name, data, durable=durable)
        assert store.get(name) == data
        for end in range(len(name) + 1):
            if not name[:end].endswith("/."):
                assert list(store.list(name[:end])) == [name]
        assert store.delete_if(name, data)
        assert list(store.list("")) == []


# -- listing -------------------------------------------------------------------------------------


def test_list_takes_prefixes_of_names_not_of_parts(store: Store) -> None:
    all_names = {"a/b/1.json", "a/b/2.json", "a/bc/1.json", "ab/1.json", "z.json"}
    for name in all_names:
        store.put(name, b"-", durable=False)

    def listed(prefix: str) -> set[str]:
        found = list(store.list(prefix))
        assert len(found) == len(set(found))
        return set(found)

    assert listed("") == all_names
    assert listed("a") == {"a/b/1.json", "a/b/2.json", "a/bc/1.json", "ab/1.json"}
    assert listed("a/") == {"a/b/1.json", "a/b/2.json", "a/bc/1.json"}
    assert listed("a/b") == {"a/b/1.json", "a/b/2.json", "a/bc/1.json"}
    assert listed("a/b/") == {"a/b/1.json", "a/b/2.json"}
    assert listed("a/b/1") == {"a/b/1.json"}
    assert listed("a/b/1.json") == {"a/b/1.json"}
    assert listed("a/b/1.json/") == set()
    assert listed("a/x/") == set()
    assert listed("y") == set()


def test_children_are_the_next_level_of_names(store: Store) -> None:
    for name in ("a/b/1.json", "a/b/2.json", "a/bc/1.json", "a/b.json", "ab/1.json", "z.json"):
        store.put(name, b"-", durable=False)

    def children(prefix: str) -> set[str]:
        found = list(store.children(prefix))
        assert len(found) == len(set(found))
        assert set(ReadOnlyStore(store).children(prefix)) == set(found)
        return set(found)

    assert children("") == {"a/", "ab/", "z.json"}
    assert children("a") == {"a/", "ab/"}
    assert children("a/") == {"a/b/", "a/b.json", "a/bc/"}
    assert children("a/b") == {"a/b/", "a/b.json", "a/bc/"}
    assert children("a/b.") == {"a/b.json"}
    assert children("a/b/") == {"a/b/1.json", "a/b/2.json"}
    assert children("a/b/1.json") == {"a/b/1.json"}
    assert children("a/b/1.json/") == children("a/x/") == children("y") == set()
    for malformed in ("/", "../", "a/.", "a b"):
        with pytest.raises(ValueError, match="no record name"):
            store.children(malformed)


def test_no_more_children_than_asked_for(store: Store) -> None:
    everything = {f"k/{number}/" for number in range(20)}
    for name in everything:
        store.put(name + "1.json", b"-", durable=False)
        store.put(name + "2.json", b"-", durable=False)
    for limit in (0, 1, 7, 20, 100):
        found = store.children("k/", limit=limit)
        assert len(found) == min(limit, 20)
        assert set(found) <= everything
        assert len(store.children("k/3", limit=limit)) == min(limit, 1)


def test_the_store_may_change_while_it_is_listed(store: Store) -> None:
    for number in range(20):
        store.put(f"k/{number:02}/r.json", b"-", durable=False)
    seen = []
    for name in store.list("k/"):
        seen.append(name)
        assert store.delete_if(name, b"-")
        store.put("other/" + name.replace("/", "-"), b"+", durable=False)
    assert sorted(seen) == [f"k/{number:02}/r.json" for number in range(20)]


class Model(RuleBasedStateMachine):
    """Any sequence of operations does to a store what it does to a dictionary."""

    name = st.sampled_from([f"{a}/{b}/{c}" for a in "ab" for b in ("w", "w2") for c in ("1", "12")])
    data = st.sampled_from([b"", b"one", b"two", b"\0" * 5000])
    kind = ""

    @initialize()
    def start(self) -> None:
        self.stack = contextlib.ExitStack()
        self.store = self.stack.enter_context(empty_store(self.kind))
        self.model: dict[str, bytes] = {}

    def teardown(self) -> None:
        self.stack.close()

    @rule(name=name, data=data, durable=st.booleans())
    def put(self, name: str, data: bytes, durable: bool) -> None:
        self.store.put(name, data, durable=durable)
        self.model[name] = data

    @rule(name=name, data=data)
    def put_if_absent(self, name: str, data: bytes) -> None:
        absent = name not in self.model
        assert self.store.put_if_absent(name, data, durable=False) == absent
        self.model.setdefault(name, data)

    @rule(name=name, data=data)
    def delete_if(self, name: str, data: bytes) -> None:
        equal = self.model.get(name) == data
        assert self.store.delete_if(name, data) == equal
        if equal:
            del self.model[name]

    @rule(name=name, seen=st.none() | data)
    def set_aside(self, name: str, seen: bytes | None) -> None:
        moves = name in self.model and (seen is None or self.model[name] == seen)
        assert self.store.set_aside(name, seen=seen) == moves
        if moves:
            del self.model[name]

    @rule(prefix=st.sampled_from(["a", "a/", "a/w", "a/w/", "b/w2/1", "c/"]))
    def list_some(self, prefix: str) -> None:
        expected = sorted(name for name in self.model if name.startswith(prefix))
        assert sorted(self.store.list(prefix)) == expected
        # A folder that has been emptied may still be there.
        children = {"/".join(n.split("/")[: prefix.count("/") + 1]) for n in expected}
        found = {name.rstrip("/") for name in self.store.children(prefix)}
        assert children <= found

    @invariant()
    def holds_the_same(self) -> None:
        if hasattr(self, "store"):
            found = {name: self.store.get(name) for name in self.store.list("")}
            assert found == self.model


class ModelFiles(Model):
    kind = "files"


class ModelMemory(Model):
    kind = "memory"


_quick = settings(
    max_examples=25,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestModelFiles = ModelFiles.TestCase
TestModelFiles.settings = _quick
TestModelMemory = ModelMemory.TestCase
TestModelMemory.settings = _quick


# -- many at once ----------------------------------------------------------------------------------


def in_threads(count: int, work: Callable[[int], None]) -> None:
    """Run ``work(0)`` to ``work(count - 1)`` at once; the first exception is raised here."""
    start = threading.Barrier(count)
    failures: list[BaseException] = []

    def run(number: int) -> None:
        try:
            start.wait(30)
            work(number)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def test_threads_one_winner(store: Store) -> None:
    rounds = 100
    wins: list[list[int]] = [[] for _ in range(8)]

    def work(me: int) -> None:
        for number in range(rounds):
            if store.put_if_absent(f"r/{number}", b"%d" % me, durable=False):
                wins[me].append(number)
            assert store.get(f"r/{number}") is not None

    in_threads(8, work)
    assert sorted(number for won in wins for number in won) == list(range(rounds))
    for me, won in enumerate(wins):
        assert all(store.get(f"r/{number}") == b"%d" % me for number in won)


def test_threads_one_deleter(store: Store) -> None:
    rounds = 100
    wins: list[list[int]] = [[] for _ in range(8)]
    for number in range(rounds):
        store.put(f"r/{number}", b"old", durable=False)

    def work(me: int) -> None:
        wins[me] += [n for n in range(rounds) if store.delete_if(f"r/{n}", b"old")]

    in_threads(8, work)
    assert sorted(number for won in wins for number in won) == list(range(rounds))
    assert list(store.list("")) == []


def test_threads_see_whole_records_only(store: Store) -> None:
    versions = [bytes([65 + me]) * 30_000 for me in range(4)]
    store.put(NAME, versions[0], durable=False)

    def work(me: int) -> None:
        for _ in range(60):
            if me < 4:
                store.put(NAME, versions[me], durable=False)
            else:
                assert store.get(NAME) in versions

    in_threads(6, work)
    assert list(store.list("")) == [NAME]


# -- addresses, endings, read-only -----------------------------------------------------------------


def test_it_says_what_it_is_and_its_address_opens_it_again(case: Case, store: Store) -> None:
    store.put(NAME, b"kept")
    info = store.describe()
    assert info.kind == case.kind.rpartition(" ")[2]
    assert info.writable
    assert info.location
    with open_store(info.url) as again:
        assert again.describe() == dataclasses.replace(info, base="")
        if case.kind != "memory":
            assert again.get(NAME) == b"kept"


def test_closing_twice_is_fine(case: Case) -> None:
    store = open_store(case.address)
    store.close()
    store.close()


def test_read_only_reads_and_refuses_to_write(store: Store) -> None:
    store.put(NAME, b"kept")
    view = ReadOnlyStore(store)
    assert view.get(NAME) == b"kept"
    assert view.get("absent") is None
    assert list(view.list("attention/")) == [NAME]
    refused: list[Callable[[], object]] = [
        lambda: view.put(NAME, b"new"),
        lambda: view.put_if_absent("new", b"new"),
        lambda: view.put_if_absent(NAME, b"new"),
        lambda: view.delete_if(NAME, b"kept"),
    ]
    for call in refused:
        with pytest.raises(StoreReadOnly, match="readonly=1"):
            call()
    assert not view.set_aside(NAME)
    assert not view.set_aside(NAME, seen=b"kept")
    assert store.get(NAME) == b"kept"
    for name in ("a//b", "../a"):
        with pytest.raises(ValueError, match="no record name"):
            view.put(name, b"")


def test_read_only_by_address(case: Case, store: Store) -> None:
    store.put(NAME, b"kept")
    with open_store(case.address + "?readonly=1") as view:
        assert not view.describe().writable
        assert view.describe().url.endswith("?readonly=1")
        with pytest.raises(StoreReadOnly):
            view.put(NAME, b"new")
        if case.kind != "memory":
            assert view.get(NAME) == b"kept"
