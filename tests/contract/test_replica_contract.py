"""One suite for every replica: what a push and a pull may rely on without knowing which it is."""

from __future__ import annotations

import contextlib
import itertools
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.contract.fake_objects import fake_objects
from tests.contract.servers import (
    azure_environment,
    google_environment,
    moto_server,
    need,
    redis_server,
    s3_environment,
)
from tuneonce.errors import StoreReadOnly
from tuneonce.replica import Replica, open_replica
from tuneonce.replica.base import (
    MOST_OFFERED_BYTES,
    MOST_OFFERS,
    Offer,
    Taken,
    digest_of,
    in_pushes,
)
from tuneonce.replica.in_memory import Shared, in_memory
from tuneonce.replica.readonly import ReadOnlyReplica
from tuneonce.store.base import MAX_RECORD_BYTES

SHELF = "NVIDIA-H200-90~81c2"
KINDS = ("memory", "files", "redis", "s3", "s3 of moto", "google", "azure")

Opener = Callable[[], Replica]


class Server(NamedTuple):
    """An address with a place for what differs from test to test, and what a client must know."""

    address: str
    environment: dict[str, str]


@pytest.fixture(scope="module", params=KINDS)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server | None]:
    """One server for all tests of a kind; None: memory."""
    kind = request.param
    with contextlib.ExitStack() as stack:
        if kind == "memory":
            yield None
        elif kind == "files":
            yield Server(f"file://{tmp_path_factory.mktemp('shared')}", {})
        elif kind == "redis":
            port = stack.enter_context(redis_server())
            yield Server(f"redis://127.0.0.1:{port}/0", {})
        elif kind == "s3 of moto":
            url = stack.enter_context(moto_server("bucket"))
            yield Server("s3://bucket/some/prefix", s3_environment(url))
        else:
            need(module="obstore")
            fake = stack.enter_context(fake_objects())
            if kind == "s3":
                yield Server("s3://bucket", s3_environment(fake.url))
            elif kind == "google":
                yield Server("gs://bucket/prefix", google_environment(fake.url))
            else:
                yield Server("az://container/prefix", azure_environment(fake.url))


_numbers = itertools.count()


@pytest.fixture
def another(server: Server | None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Opener]:
    """Opens a replica in an empty place, the same one each time, as another process would."""
    opened: list[Replica] = []
    shared, namespace = Shared(), f"test-{next(_numbers)}"
    for name, text in ({} if server is None else server.environment).items():
        monkeypatch.setenv(name, text)

    def open_one() -> Replica:
        if server is None:
            opened.append(in_memory(shared))
        else:
            opened.append(open_replica(f"{server.address}?namespace={namespace}"))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()
        one.close()


@pytest.fixture
def replica(another: Opener) -> Replica:
    return another()


def name(number: int | str) -> str:
    return f"v1/kernel~1/{SHELF}/0a1b/c02.{number}.verdict.json"


def offer(number: int | str, data: bytes = b"", over: str = "") -> Offer:
    return Offer(name(number), data or b"data %s" % str(number).encode(), over)


def everything(replica: Replica, shelf: str = SHELF, since: str = "") -> dict[str, bytes]:
    """All that a reader has in the end who begins there."""
    found: dict[str, bytes] = {}
    while True:
        page = replica.pull(shelf, since)
        assert not page.problems
        found.update(page.entries)
        if not page.more:
            return found
        assert page.cursor != since
        since = page.cursor


# -- one reader, one writer ------------------------------------------------------------------------


def test_an_empty_place_has_nothing(replica: Replica) -> None:
    assert replica.shelves() == []
    page = replica.pull(SHELF)
    assert (page.entries, page.more, page.problems) == ([], False, [])
    assert replica.holds(SHELF, [name(1)]) == {}
    assert replica.push(SHELF, []) == []


def test_what_was_pushed_is_pulled(replica: Replica, another: Opener) -> None:
    offers = [offer(1), offer(2, b"\0" * 70_000), offer(3, b"\xff\n{} 12\n")]
    assert replica.push(SHELF, offers) == [None, None, None]
    for reader in (replica, another()):
        assert reader.shelves() == [SHELF]
        assert everything(reader) == {one.name: one.data for one in offers}
        held = {one.name: digest_of(one.data) for one in offers}
        assert reader.holds(SHELF, [*held, name(4)]) == held


def test_an_empty_record_and_the_largest_are_records(replica: Replica, another: Opener) -> None:
    largest = random.Random(1).randbytes(MAX_RECORD_BYTES)
    replica.push(SHELF, [Offer(name(1), b""), offer(2, largest)])
    assert everything(another()) == {name(1): b"", name(2): largest}


def test_the_first_stays_and_the_second_is_told_of_it(replica: Replica, another: Opener) -> None:
    replica.push(SHELF, [offer(1, b"first")])
    later = another()
    answers = later.push(SHELF, [offer(1, b"second"), offer(2)])
    assert answers == [Taken(digest_of(b"first"), b"first"), None]
    assert replica.push(SHELF, [offer(1, b"first")]) == [Taken(digest_of(b"first"), b"first")]
    assert everything(replica) == everything(later) == {name(1): b"first", name(2): offer(2).data}


def test_whoever_names_what_is_there_replaces_it(replica: Replica, another: Opener) -> None:
    replica.push(SHELF, [offer(1, b"wrong"), offer(2)])
    cursor = replica.pull(SHELF).cursor
    right = offer(1, b"right", over=digest_of(b"wrong"))
    assert another().push(SHELF, [right]) == [None]
    assert another().push(SHELF, [offer(1, b"third", over=digest_of(b"wrong"))]) == [
        Taken(digest_of(b"right"), b"right")
    ]
    assert everything(another()) == {name(1): b"right", name(2): offer(2).data}
    assert everything(replica, since=cursor)[name(1)] == b"right"
    # Where nothing is, there is nothing to replace.
    assert replica.push(SHELF, [offer(3, b"new", over=digest_of(b"gone"))]) == [None]


def test_a_cursor_goes_on_behind_what_was_read(replica: Replica, another: Opener) -> None:
    reader = another()
    replica.push(SHELF, [offer(n) for n in range(10)])
    first = reader.pull(SHELF)
    assert len(first.entries) == 10
    assert not first.more
    nothing = reader.pull(SHELF, first.cursor)
    assert (nothing.entries, nothing.cursor, nothing.more) == ([], first.cursor, False)
    replica.push(SHELF, [offer("new")])
    # What was merged may come again.
    second = reader.pull(SHELF, first.cursor)
    assert dict(second.entries)[name("new")] == offer("new").data
    assert reader.pull(SHELF, second.cursor).entries == []


def test_a_cursor_of_another_place_begins_anew(replica: Replica) -> None:
    replica.push(SHELF, [offer(1)])
    for cursor in ("0123456789abcdef 1-0", f"0123456789abcdef {1 << 60}-0", "word", "0" * 64):
        assert everything(replica, since=cursor) == {name(1): offer(1).data}


def test_shelves_are_apart(replica: Replica, another: Opener) -> None:
    replica.push(SHELF, [offer(1)])
    replica.push("interpreter~77", [offer(1, b"another")])
    reader = another()
    assert reader.shelves() == sorted([SHELF, "interpreter~77"])
    assert everything(reader) == {name(1): offer(1).data}
    assert everything(reader, "interpreter~77") == {name(1): b"another"}
    assert reader.pull("none").entries == []


def test_more_than_a_page_comes_in_pages(replica: Replica, another: Opener) -> None:
    # Three pages of what cannot be compressed.
    some = random.Random(2)
    offers = [offer(number, some.randbytes(1_000_000)) for number in range(18)]
    for part in in_pushes(offers):
        assert replica.push(SHELF, part) == [None] * len(part)
    reader = another()
    assert reader.pull(SHELF).more
    assert everything(reader) == {one.name: one.data for one in offers}


def test_a_thousand_records_are_a_few_round_trips(replica: Replica, another: Opener) -> None:
    some = random.Random(3)
    offers = [offer(number, some.randbytes(1000)) for number in range(1000)]
    replica.push(SHELF, offers)
    reader = another()
    assert reader.shelves() == [SHELF]
    assert len(everything(reader)) == 1000
    assert reader.traffic.round_trips <= 4


def test_many_small_pushes_are_a_few_round_trips_too(another: Opener) -> None:
    writers = [another(), another()]
    for number in range(30):
        assert writers[number % 2].push(SHELF, [offer(number)]) == [None]
    reader = another()
    assert len(everything(reader)) == 30
    assert reader.traffic.round_trips <= 4


@pytest.mark.parametrize("shelf", ["", "a/b", "../a", ".hidden", "a b"])
def test_malformed_shelves_are_the_callers_mistake(replica: Replica, shelf: str) -> None:
    for call in (
        lambda: replica.pull(shelf),
        lambda: replica.holds(shelf, [name(1)]),
        lambda: replica.push(shelf, [offer(1)]),
    ):
        with pytest.raises(ValueError, match="name"):
            call()


def test_what_no_store_would_take_is_the_callers_mistake(replica: Replica) -> None:
    half = MAX_RECORD_BYTES // 2
    for offers in (
        [Offer("../up", b"")],
        [offer(1, bytes(MAX_RECORD_BYTES + 1))],
        [offer(1), offer(1)],
        [offer(number) for number in range(MOST_OFFERS + 1)],
        [offer(number, bytes(half)) for number in range(MOST_OFFERED_BYTES // half + 1)],
    ):
        with pytest.raises(ValueError, match=r"name|many|much|twice"):
            replica.push(SHELF, offers)
    assert everything(replica) == {}


def test_read_only_reads_and_refuses_to_push(replica: Replica, another: Opener) -> None:
    replica.push(SHELF, [offer(1)])
    with ReadOnlyReplica(another()) as view:
        assert view.shelves() == [SHELF]
        assert everything(view) == {name(1): offer(1).data}
        assert view.holds(SHELF, [name(1)]) == {name(1): digest_of(offer(1).data)}
        assert view.describe().url.endswith("readonly=1")
        with pytest.raises(StoreReadOnly, match="readonly=1"):
            view.push(SHELF, [offer(2)])
    assert everything(replica) == {name(1): offer(1).data}


def test_it_says_what_it_is(replica: Replica, server: Server | None) -> None:
    info = replica.describe()
    assert info.note == ""
    if server is not None:
        assert info.url.startswith(server.address)
        assert "?namespace=test-" in info.url


# -- many at once ----------------------------------------------------------------------------------


def test_of_many_one_is_first_and_all_see_that_one(another: Opener) -> None:
    writers, rounds = 4, 5
    start = threading.Barrier(writers)
    won: list[list[int]] = [[] for _ in range(writers)]
    failures: list[BaseException] = []
    replicas = [another() for _ in range(writers)]

    def work(me: int) -> None:
        try:
            start.wait(30)
            for number in range(rounds):
                mine = b"%d" % me
                answers = replicas[me].push(SHELF, [offer(number, mine), offer(f"{me}-{number}")])
                assert answers[1] is None
                if answers[0] is None:
                    won[me].append(number)
                else:
                    assert answers[0].data != mine
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(me,)) for me in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    assert sorted(number for wins in won for number in wins) == list(range(rounds))
    found = everything(another())
    assert len(found) == rounds + writers * rounds
    for me, wins in enumerate(won):
        assert all(found[name(number)] == b"%d" % me for number in wins)


def test_who_reads_while_others_write_misses_nothing(another: Opener) -> None:
    reader, writer = another(), another()
    found: dict[str, bytes] = {}
    cursor = ""
    for number in range(20):
        writer.push(SHELF, [offer(number)])
        if number % 3 == 0:
            page = reader.pull(SHELF, cursor)
            found.update(page.entries)
            cursor = page.cursor
    found.update(everything(reader, since=cursor))
    assert found == {name(number): offer(number).data for number in range(20)}


def test_a_place_for_each(tmp_path: Path) -> None:
    """Namespaces and directories are apart."""
    one = open_replica(f"file://{tmp_path}/a?namespace=x")
    one.push(SHELF, [offer(1)])
    assert open_replica(f"file://{tmp_path}/a?namespace=y").shelves() == []
    assert open_replica(f"file://{tmp_path}/b?namespace=x").shelves() == []
    assert open_replica(f"file://{tmp_path}/a?namespace=x").shelves() == [SHELF]
