"""One suite for every replica: what a push and a pull may rely on without knowing which it is."""

from __future__ import annotations

import contextlib
import itertools
import json
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.contract import replica_racer
from tests.contract.fake_objects import fake_objects
from tests.contract.servers import (
    azure_environment,
    azurite_environment,
    azurite_server,
    google_environment,
    moto_server,
    need,
    redis_server,
    s3_environment,
)
from tuneonce.errors import StoreReadOnly
from tuneonce.replica import Replica, in_files, open_replica
from tuneonce.replica.base import (
    MOST_OFFERED_BYTES,
    MOST_OFFERS,
    Claimed,
    Offer,
    Taken,
    digest_of,
    in_pushes,
)
from tuneonce.replica.in_memory import MemorySpace, Shared, in_memory
from tuneonce.replica.in_packs import PackReplica
from tuneonce.replica.readonly import ReadOnlyReplica
from tuneonce.store.base import MAX_RECORD_BYTES

ROOT = Path(__file__).parents[2]
SHELF = "NVIDIA-H200-90~81c2"
OURS, THEIRS = Claimed(True, None), Claimed(False, None)
KINDS = ("memory", "files", "redis", "s3", "s3 of moto", "google", "azure", "azure of azurite")

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
        elif kind == "azure of azurite":
            url = stack.enter_context(azurite_server("container"))
            yield Server("az://container/some/prefix", azurite_environment(url))
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


class Time:
    """Time of claims that passes when it is told to, for whoever measures it."""

    def __init__(self, server: Server | None) -> None:
        self._now = 0.0
        self._server = server

    def rules(self, replica: Replica) -> Replica:
        """The same replica, which looks at this time if it looks at any."""
        if isinstance(replica, PackReplica):
            replica._claims._clock = lambda: self._now
        return replica

    def goes_on(self, seconds: float) -> None:
        self._now += seconds
        if self._server is None or not self._server.address.startswith("redis:"):
            return
        import redis

        with redis.Redis.from_url(self._server.address) as somebody:
            for key in somebody.scan_iter("*:claim:*"):
                somebody.pexpire(key, max(0, somebody.pttl(key) - round(1000 * seconds)))


@pytest.fixture
def time(server: Server | None) -> Time:
    return Time(server)


@pytest.fixture
def contents(replica: Replica, server: Server | None) -> Callable[[], dict[str, bytes]]:
    """All that a server keeps, by name, whatever it means."""

    def found() -> dict[str, bytes]:
        if server is None:
            assert isinstance(replica, PackReplica)
            assert isinstance(replica._space, MemorySpace)
            return dict(replica._space.shared.objects)
        if server.address.startswith("file:"):
            below = Path(server.address.removeprefix("file://")).rglob("*")
            return {str(path): path.read_bytes() if path.is_file() else b"" for path in below}
        if server.address.startswith("redis:"):
            import redis

            with redis.Redis.from_url(server.address) as somebody:
                return {repr(key): somebody.dump(key) or b"" for key in somebody.scan_iter()}
        from obstore.store import from_url

        bucket = from_url(server.address, client_options={"allow_http": True})
        files = [one for part in bucket.list() for one in part]
        return {one["path"]: bytes(bucket.get(one["path"]).bytes()) for one in files}

    return found


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
        with pytest.raises(StoreReadOnly, match="readonly=1"):
            view.try_writing()
    assert everything(replica) == {name(1): offer(1).data}


def test_whether_it_can_be_written_is_found_out_without_a_trace(
    replica: Replica, another: Opener, contents: Callable[[], dict[str, bytes]]
) -> None:
    before = contents()
    # An object store is asked by what a push leaves there first of all.
    assert replica.try_writing() is (replica.describe().kind != "objects")
    assert contents() == before
    replica.push(SHELF, [offer(1)])
    before = contents()
    assert another().try_writing() is True
    assert contents() == before


def test_a_directory_that_may_not_be_written_is_found_out(
    replica: Replica, another: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    if replica.describe().kind != "files":
        pytest.skip("what a server refuses is in tests/contract/test_replica_permissions.py")
    replica.push(SHELF, [offer(1)])
    may_write = in_files.may_write
    monkeypatch.setattr(in_files, "may_write", lambda path: path.name != SHELF and may_write(path))
    with pytest.raises(StoreReadOnly, match=f"may not be written by user .*{SHELF}"):
        another().try_writing()


def test_it_says_what_it_is(replica: Replica, server: Server | None) -> None:
    info = replica.describe()
    assert info.note == ""
    if server is not None:
        assert info.url.startswith(server.address)
        assert "?namespace=test-" in info.url


# -- claims ----------------------------------------------------------------------------------------


def test_a_claim_has_one_owner_until_it_is_given_up(replica: Replica, another: Opener) -> None:
    other = another()
    assert replica.claim(SHELF, name(1), "one", 60) == OURS
    assert other.claim(SHELF, name(1), "other", 60) == THEIRS
    assert replica.claim(SHELF, name(1), "one", 60) == OURS  # again
    assert other.claim(SHELF, name(2), "other", 60) == OURS  # another name
    assert other.claim("interpreter~77", name(1), "other", 60) == OURS  # another shelf
    replica.give_up(SHELF, name(1), "one")
    assert other.claim(SHELF, name(1), "other", 60) == OURS
    assert replica.claim(SHELF, name(1), "one", 60) == THEIRS


def test_an_owner_may_be_another_object(replica: Replica, another: Opener) -> None:
    assert replica.claim(SHELF, name(1), "one", 60) == OURS
    later = another()
    assert later.claim(SHELF, name(1), "one", 60) == OURS
    assert later.renew(SHELF, name(1), "one", 60)
    later.give_up(SHELF, name(1), "one")
    assert replica.claim(SHELF, name(1), "other", 60) == OURS


def test_anothers_claim_is_neither_renewed_nor_given_up(replica: Replica, another: Opener) -> None:
    other = another()
    assert replica.claim(SHELF, name(1), "one", 60) == OURS
    assert not other.renew(SHELF, name(1), "other", 60)
    other.give_up(SHELF, name(1), "other")
    assert replica.renew(SHELF, name(1), "one", 60)
    assert other.claim(SHELF, name(1), "other", 60) == THEIRS


def test_a_claim_that_is_gone_is_not_renewed(replica: Replica) -> None:
    assert not replica.renew(SHELF, name(1), "one", 60)
    replica.give_up(SHELF, name(1), "one")
    assert replica.claim(SHELF, name(1), "one", 60) == OURS
    replica.give_up(SHELF, name(1), "one")
    assert not replica.renew(SHELF, name(1), "one", 60)
    assert replica.claim(SHELF, name(1), "other", 60) == OURS


def test_a_claim_that_nobody_renews_expires(another: Opener, time: Time) -> None:
    owner, other = another(), time.rules(another())
    assert owner.claim(SHELF, name(1), "one", 60) == OURS
    assert other.claim(SHELF, name(1), "other", 60) == THEIRS
    time.goes_on(58)
    assert other.claim(SHELF, name(1), "other", 60) == THEIRS
    time.goes_on(3)
    assert other.claim(SHELF, name(1), "other", 60) == OURS
    assert not owner.renew(SHELF, name(1), "one", 60)
    owner.give_up(SHELF, name(1), "one")
    assert owner.claim(SHELF, name(1), "one", 60) == THEIRS


def test_a_claim_that_is_renewed_is_kept(another: Opener, time: Time) -> None:
    owner, other = another(), time.rules(another())
    assert owner.claim(SHELF, name(1), "one", 60) == OURS
    assert other.claim(SHELF, name(1), "other", 60) == THEIRS
    for renew in (
        lambda: owner.renew(SHELF, name(1), "one", 60),
        lambda: owner.claim(SHELF, name(1), "one", 60) == OURS,
    ):
        time.goes_on(50)
        assert renew()
        assert other.claim(SHELF, name(1), "other", 60) == THEIRS
        time.goes_on(50)
        assert other.claim(SHELF, name(1), "other", 60) == THEIRS
        assert renew()


def test_one_of_those_who_watched_takes_over(another: Opener, time: Time) -> None:
    assert another().claim(SHELF, name(1), "gone", 60) == OURS
    watchers = [time.rules(another()) for _ in range(3)]

    def claims() -> list[bool]:
        return [one.claim(SHELF, name(1), f"w{n}", 60).ours for n, one in enumerate(watchers)]

    assert claims() == [False, False, False]
    time.goes_on(61)
    assert claims() == [True, False, False]
    assert claims() == [True, False, False]


def test_what_has_a_record_cannot_be_claimed(replica: Replica, another: Opener) -> None:
    there = Claimed(False, offer(1).data)
    replica.push(SHELF, [offer(1), offer(2)])
    for one in (replica, another()):
        assert one.claim(SHELF, name(1), "one", 60) == there
        assert not one.renew(SHELF, name(1), "one", 60)
        assert one.claim(SHELF, name(3), "one", 60) == OURS
        one.give_up(SHELF, name(3), "one")


def test_who_waited_for_an_owner_gets_its_record(replica: Replica, another: Opener) -> None:
    owner, there = another(), Claimed(False, offer(1).data)
    assert owner.claim(SHELF, name(1), "owner", 60) == OURS
    assert replica.claim(SHELF, name(1), "one", 60) == THEIRS
    owner.push(SHELF, [offer(1)])
    assert replica.claim(SHELF, name(1), "one", 60) == there  # not given up yet
    assert owner.claim(SHELF, name(1), "owner", 60) == there
    owner.give_up(SHELF, name(1), "owner")
    assert replica.claim(SHELF, name(1), "one", 60) == there


def test_a_claim_is_no_record(replica: Replica, another: Opener) -> None:
    assert replica.claim(SHELF, name(1), "one", 60) == OURS
    reader = another()
    assert everything(reader) == {}
    assert reader.holds(SHELF, [name(1)]) == {}
    assert reader.push(SHELF, [offer(1)]) == [None]  # whoever was first, and not who claimed
    assert everything(replica) == {name(1): offer(1).data}


def test_claims_are_a_few_round_trips(replica: Replica, another: Opener) -> None:
    kind = replica.describe().kind
    most = {"redis": 1, "objects": 2}.get(kind)
    if most is None:
        pytest.skip("these are no requests to a server")
    replica.push(SHELF, [offer(1)])
    replicas = [replica, another()]
    for one in replicas:
        one.pull(SHELF)
        one.claim(SHELF, name("before"), "x", 60)  # finds out what the server can do
    asked = [
        lambda one: one.claim(SHELF, name(2), "owner", 60) == OURS,
        lambda one: one.claim(SHELF, name(2), "other", 60) == THEIRS,
        lambda one: one.claim(SHELF, name(1), "other", 60).data == offer(1).data,
        lambda one: not one.renew(SHELF, name(2), "other", 60),
        lambda one: one.renew(SHELF, name(2), "owner", 60),
        lambda one: one.give_up(SHELF, name(2), "owner") is None,
    ]
    for call, one in zip(asked, [0, 1, 1, 1, 0, 0], strict=True):
        before = replicas[one].traffic.round_trips
        assert call(replicas[one])
        spent = replicas[one].traffic.round_trips - before
        # Of a claim that turns out to be needless, packs remove what they have put there.
        assert 1 <= spent <= (most if call is not asked[2] or most == 1 else most + 2)


@pytest.mark.parametrize("owner", ["", "a b", "x" * 65, "a/b", "ü", "one\n"])
def test_malformed_owners_are_the_callers_mistake(replica: Replica, owner: str) -> None:
    for call in (
        lambda: replica.claim(SHELF, name(1), owner, 60),
        lambda: replica.renew(SHELF, name(1), owner, 60),
        lambda: replica.give_up(SHELF, name(1), owner),
    ):
        with pytest.raises(ValueError, match="owner"):
            call()


@pytest.mark.parametrize("seconds", [0, 0.5, -1, 3601, float("inf"), float("nan")])
def test_times_are_bounded(replica: Replica, seconds: float) -> None:
    for call in (
        lambda: replica.claim(SHELF, name(1), "one", seconds),
        lambda: replica.renew(SHELF, name(1), "one", seconds),
        lambda: replica.await_news(SHELF, "", seconds),
    ):
        with pytest.raises(ValueError, match="seconds"):
            call()


def test_malformed_names_cannot_be_claimed(replica: Replica) -> None:
    for shelf, what in (("a/b", name(1)), ("", name(1)), (SHELF, "../up"), (SHELF, "")):
        for call in (
            lambda shelf=shelf, what=what: replica.claim(shelf, what, "one", 60),
            lambda shelf=shelf, what=what: replica.renew(shelf, what, "one", 60),
            lambda shelf=shelf, what=what: replica.give_up(shelf, what, "one"),
        ):
            with pytest.raises(ValueError, match="name"):
                call()
    with pytest.raises(ValueError, match="name"):
        replica.await_news("a/b", "", 1)


def test_read_only_claims_nothing_and_awaits_news(replica: Replica, another: Opener) -> None:
    with ReadOnlyReplica(another()) as view:
        for call in (
            lambda: view.claim(SHELF, name(1), "one", 60),
            lambda: view.renew(SHELF, name(1), "one", 60),
            lambda: view.give_up(SHELF, name(1), "one"),
        ):
            with pytest.raises(StoreReadOnly, match="readonly=1"):
                call()
        replica.push(SHELF, [offer(1)])
        assert view.await_news(SHELF, "", 30)
    assert replica.claim(SHELF, name(2), "another", 60) == OURS


# -- news ------------------------------------------------------------------------------------------


def test_news_that_are_there_are_not_waited_for(replica: Replica, another: Opener) -> None:
    replica.push(SHELF, [offer(1)])
    reader = another()
    for cursor in ("", "0123456789abcdef 1-0", f"0123456789abcdef {1 << 60}-0", "word", "0" * 64):
        assert reader.await_news(SHELF, cursor, 3600)
    cursor = reader.pull(SHELF).cursor
    replica.push(SHELF, [offer(2)])
    assert reader.await_news(SHELF, cursor, 3600)


@pytest.mark.parametrize("has_some", [False, True])
def test_news_that_come_are_told(replica: Replica, another: Opener, has_some: bool) -> None:
    if has_some:
        replica.push(SHELF, [offer(1)])
    reader = another()
    cursor = reader.pull(SHELF).cursor
    told: list[bool] = []
    thread = threading.Thread(target=lambda: told.append(reader.await_news(SHELF, cursor, 60)))
    thread.start()
    replica.push("interpreter~77", [offer(2)])
    replica.push(SHELF, [offer(2)])
    thread.join()
    assert told == [True]
    assert offer(2) in [Offer(*one) for one in reader.pull(SHELF, cursor).entries]


@pytest.mark.timeout(60)
def test_where_nothing_comes_nobody_waits_for_ever(replica: Replica, another: Opener) -> None:
    assert not replica.await_news(SHELF, "", 1)
    replica.push(SHELF, [offer(1)])
    replica.push("interpreter~77", [offer(2)])
    assert replica.claim(SHELF, name(2), "one", 60) == OURS  # is none
    reader = another()
    assert not reader.await_news(SHELF, reader.pull(SHELF).cursor, 1)


# -- many at once ----------------------------------------------------------------------------------


def in_threads(count: int, work: Callable[[int], None]) -> None:
    """Do that with the numbers from 0 on, all at once; raises what one of them raised."""
    start = threading.Barrier(count)
    failures: list[BaseException] = []

    def run(me: int) -> None:
        try:
            start.wait(30)
            work(me)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(me,)) for me in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def test_of_many_one_has_a_claim(another: Opener) -> None:
    replicas = [another() for _ in range(4)]
    inside = threading.Lock()
    tries = 10_000  # so that nobody waits for ever for one that has failed

    def work(me: int) -> None:
        for _ in range(3):
            asked = (
                replicas[me].claim(SHELF, name(1), f"owner-{me}", 600).ours for _ in range(tries)
            )
            assert any(asked)
            assert inside.acquire(blocking=False)
            assert replicas[me].renew(SHELF, name(1), f"owner-{me}", 600)
            inside.release()
            replicas[me].give_up(SHELF, name(1), f"owner-{me}")

    in_threads(len(replicas), work)


def test_many_divide_work_and_do_nothing_twice(another: Opener) -> None:
    replicas = [another() for _ in range(4)]
    names = [name(number) for number in range(5)]
    made: dict[int, list[str]] = {}

    def work(me: int) -> None:
        made[me] = replica_racer.make_all(replicas[me], SHELF, f"owner-{me}", names)

    in_threads(len(replicas), work)
    assert sorted(itertools.chain(*made.values())) == sorted(names)
    found = everything(another())
    assert found == {one: f"owner-{me}".encode() for me, all_of in made.items() for one in all_of}


def test_processes_divide_work_and_do_nothing_twice(another: Opener, server: Server | None) -> None:
    if server is None:
        pytest.skip("memory is shared in a process")
    reader, rounds = another(), 5
    program = [sys.executable, "-m", "tests.contract.replica_racer", reader.describe().url, SHELF]
    with contextlib.ExitStack() as stack:
        racers = [
            stack.enter_context(
                subprocess.Popen(
                    [*program, f"process-{me}", str(rounds)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    cwd=ROOT,
                )
            )
            for me in range(3)
        ]
        for racer in racers:
            assert racer.stdout is not None
            assert racer.stdout.readline() == "ready\n"
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.write("go\n")
            racer.stdin.flush()
        said = [racer.communicate(timeout=120) for racer in racers]
    assert [errors for _, errors in said] == [""] * len(said)
    made = [json.loads(out) for out, _ in said]
    assert sorted(itertools.chain(*made)) == sorted(name(number) for number in range(rounds))
    assert len(everything(reader)) == rounds


def test_of_many_one_is_first_and_all_see_that_one(another: Opener) -> None:
    writers, rounds = 4, 5
    won: list[list[int]] = [[] for _ in range(writers)]
    replicas = [another() for _ in range(writers)]

    def work(me: int) -> None:
        for number in range(rounds):
            mine = b"%d" % me
            answers = replicas[me].push(SHELF, [offer(number, mine), offer(f"{me}-{number}")])
            assert answers[1] is None
            if answers[0] is None:
                won[me].append(number)
            else:
                assert answers[0].data != mine

    in_threads(writers, work)
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
