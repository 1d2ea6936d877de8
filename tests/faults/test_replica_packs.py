"""Shelves of packs in places that lose, refuse, lie or do not compare."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.fake_objects import FakeObjects, fake_objects
from tests.contract.servers import need, s3_environment
from tuneonce.errors import StoreReadOnly, StoreUnavailable
from tuneonce.replica import Replica, in_files, in_objects, open_replica
from tuneonce.replica.base import Claimed, Offer, ReplicaInfo, Taken, digest_of
from tuneonce.replica.in_memory import MemorySpace, Shared, in_memory
from tuneonce.replica.in_packs import PackReplica
from tuneonce.replica.space import Swap

SHELF = "NVIDIA-H200-90~81c2"
FIRST = Taken(digest_of(b"data"), b"data")
OURS, THEIRS = Claimed(True, None), Claimed(False, None)
INFO = ReplicaInfo(kind="memory", url="memory:")


def offer(number: int | str, data: bytes = b"data") -> Offer:
    return Offer(f"v1/kernel~1/{SHELF}/0a1b/c02.{number}.verdict.json", data)


def names(replica: Replica) -> list[str]:
    """What a reader has, by the number of the offer."""
    page = replica.pull(SHELF)
    return sorted(entry.name.split(".")[-3] for entry in page.entries)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeObjects]:
    need(module="obstore")
    with fake_objects() as fake:
        for name, text in s3_environment(fake.url).items():
            monkeypatch.setenv(name, text)
        yield fake


def bucket() -> Replica:
    return open_replica("s3://bucket")


def the_pack(fake: FakeObjects) -> str:
    (found,) = (name for name in fake.names() if name.endswith(".pack"))
    return found


# -- conditions ------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["ignores", "unsupported"])
def test_a_server_that_does_not_compare_is_found_out(fake: FakeObjects, how: str) -> None:
    setattr(fake.faults, how, True)
    one, other = bucket(), bucket()
    assert one.push(SHELF, [offer(1)]) == [None]
    assert "does not compare" in one.describe().note
    assert other.push(SHELF, [offer(1, b"other"), offer(2)])[0] == Taken(
        digest_of(b"data"), b"data"
    )
    assert names(bucket()) == ["1", "2"]
    # Merged packs stay: the head of somebody who writes at this moment may name them.
    assert sum(name.endswith(".pack") for name in fake.names()) == 2


def test_what_was_lost_without_conditions_is_pushed_again(fake: FakeObjects) -> None:
    fake.faults.ignores = True
    one = bucket()
    one.push(SHELF, [offer(1)])
    head = dict(fake.objects)[f"bucket/tuneonce/{SHELF}/head"]
    bucket().push(SHELF, [offer(2)])
    fake.objects[f"bucket/tuneonce/{SHELF}/head"] = head  # who has not seen the second writes last
    assert names(one) == ["1"]
    assert bucket().push(SHELF, [offer(2), offer(1)]) == [None, FIRST]
    assert names(bucket()) == ["1", "2"]


def test_a_server_that_compares_is_found_out_once(fake: FakeObjects) -> None:
    one = bucket()
    for number in range(3):
        one.push(SHELF, [offer(number)])
    assert one.describe().note == ""
    assert sum("probe" in request for request in fake.asked) == 3
    before = len(fake.asked)
    bucket().push(SHELF, [offer(3)])
    assert sum("probe" in request for request in fake.asked[before:]) == 2


def test_a_server_that_is_busy_with_a_head_is_asked_again(fake: FakeObjects) -> None:
    one = bucket()
    one.push(SHELF, [offer(1)])
    fake.faults.busy = [409, 429, 503, 412]
    assert one.push(SHELF, [offer(2)]) == [None]
    assert fake.faults.busy == []
    assert names(bucket()) == ["1", "2"]
    # Twice it may have been written, so what it would name is left.
    assert sum(name.endswith(".pack") for name in fake.names()) == 3


def test_a_server_that_is_busy_is_not_taken_for_one_that_compares(fake: FakeObjects) -> None:
    fake.faults.ignores = True
    fake.faults.busy = [503, 429]
    one = bucket()
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="too busy"):
            one.push(SHELF, [offer(1)])
    assert one.push(SHELF, [offer(1)]) == [None]
    assert "does not compare" in one.describe().note


# -- refused, down, slow, too large ----------------------------------------------------------------


def test_credentials_that_may_not_write_are_read_only(fake: FakeObjects) -> None:
    bucket().push(SHELF, [offer(1)])
    fake.faults.refuses = frozenset({"PUT"})
    with pytest.raises(StoreReadOnly, match="readonly=1"):
        bucket().push(SHELF, [offer(2)])
    assert names(bucket()) == ["1"]


def test_credentials_that_may_not_remove_are_enough(fake: FakeObjects) -> None:
    fake.faults.refuses = frozenset({"DELETE", "POST"})
    for number in range(3):
        assert bucket().push(SHELF, [offer(number)]) == [None]
    assert names(bucket()) == ["0", "1", "2"]


@pytest.mark.parametrize("fault", ["refuses", "fails"])
def test_a_bucket_that_cannot_be_read_is_unavailable(fake: FakeObjects, fault: str) -> None:
    bucket().push(SHELF, [offer(1)])
    setattr(fake.faults, fault, frozenset({"GET"}))
    asked = len(fake.asked)
    for call in (bucket().shelves, lambda: bucket().pull(SHELF), lambda: bucket().holds(SHELF, [])):
        with pytest.raises(StoreUnavailable, match="s3://bucket"):
            call()
    assert len(fake.asked) == asked + 3  # nothing is tried twice


@pytest.mark.timeout(15)
def test_a_server_that_does_not_answer_is_left(
    fake: FakeObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_objects, "REQUEST_S", 0.2)
    fake.faults.silent = True
    with pytest.raises(StoreUnavailable):
        bucket().pull(SHELF)


def test_what_is_too_large_is_not_read(fake: FakeObjects) -> None:
    bucket().push(SHELF, [offer(1)])
    fake.faults.claims = 1 << 40
    with pytest.raises(StoreUnavailable, match="1099511627776 bytes"):
        bucket().pull(SHELF)


def test_a_bucket_is_named_and_the_secret_is_not(
    fake: FakeObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "verysecret")
    fake.faults.fails = frozenset({"GET"})
    with pytest.raises(StoreUnavailable) as raised:
        bucket().pull(SHELF)
    assert "verysecret" not in str(raised.value)


# -- what is lost or damaged -----------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["lost", "cut", "changed"])
def test_a_pack_that_cannot_be_read_is_pushed_again(fake: FakeObjects, damage: str) -> None:
    bucket().push(SHELF, [offer(1), offer(2)])
    name = the_pack(fake)
    stored = fake.objects[name]
    if damage == "lost":
        del fake.objects[name]
    elif damage == "cut":
        stored.data = stored.data[:-5]
    else:
        stored.data = stored.data.replace(b"pack/1", b"pack/7")
    page = bucket().pull(SHELF)
    assert (page.entries, len(page.problems)) == ([], 1)
    assert page.cursor  # it is not asked for again
    assert bucket().holds(SHELF, [offer(1).name]) == {}
    assert bucket().push(SHELF, [offer(1), offer(3)]) == [None, None]
    assert names(bucket()) == ["1", "3"]
    if damage != "lost":
        assert name in fake.names()


def test_a_pack_that_is_lost_beside_a_writer_that_knows_it(fake: FakeObjects) -> None:
    writer = bucket()
    writer.push(SHELF, [offer(1)])
    assert writer.holds(SHELF, [offer(1).name])
    writer._last.clear()  # type: ignore[attr-defined]
    del fake.objects[the_pack(fake)]
    assert writer.push(SHELF, [offer(2)]) == [None]
    assert writer.push(SHELF, [offer(1)]) == [None]
    assert names(bucket()) == ["1", "2"]


@pytest.mark.parametrize("data", [b"", b"{", b'{"schema":"tuneonce.head/2","packs":[]}', b"\xff"])
def test_a_head_that_cannot_be_read_is_left_alone(fake: FakeObjects, data: bytes) -> None:
    bucket().push(SHELF, [offer(1)])
    head = fake.objects[f"bucket/tuneonce/{SHELF}/head"]
    head.data = data
    for call in (lambda: bucket().pull(SHELF), lambda: bucket().push(SHELF, [offer(2)])):
        with pytest.raises(StoreUnavailable, match=f"{SHELF}/head is no head"):
            call()
    assert head.data == data


def test_what_no_head_names_is_nothing(fake: FakeObjects) -> None:
    """As a process leaves it that is killed between its two writes."""
    fake.faults.loses = "head$"
    bucket().push(SHELF, [offer(1)])
    fake.faults.loses = ""
    assert names(bucket()) == []
    assert bucket().push(SHELF, [offer(1, b"another")]) == [None]
    assert names(bucket()) == ["1"]


def test_a_reader_that_comes_while_packs_are_merged(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = Shared()
    in_memory(shared).push(SHELF, [offer(1)])
    reader = in_memory(shared)
    read = reader._space.read
    merged: list[int] = []

    def merge_first(wanted: list[str], *, most: int) -> list[bytes | None]:
        if wanted[0].endswith(".pack") and not merged:
            merged.append(1)
            assert in_memory(shared).push(SHELF, [offer(2)]) == [None]
        return read(wanted, most=most)

    monkeypatch.setattr(reader._space, "read", merge_first)
    assert names(reader) == ["1", "2"]
    assert merged


def test_others_that_write_all_the_time() -> None:
    class Busy(MemorySpace):
        def swap(self, name: str, data: bytes, version: str | None) -> Swap:
            return Swap.LOST

    paused: list[float] = []
    space = Busy()
    replica = PackReplica(space, INFO, "x", pause=paused.append)
    with pytest.raises(StoreUnavailable, match="all the time"):
        replica.push(SHELF, [offer(1)])
    assert len(paused) == 32
    assert max(paused) <= 0.5
    assert space.shared.objects == {}  # nothing is left behind


def test_a_swap_that_may_have_happened_keeps_what_it_names() -> None:
    class Unsure(MemorySpace):
        def swap(self, name: str, data: bytes, version: str | None) -> Swap:
            super().swap(name, data, version)
            return Swap.UNSURE

    shared = Shared()
    replica = PackReplica(Unsure(shared), INFO, "tuneonce", pause=lambda seconds: None)
    # It happened, so the records are found there, as if another had pushed them.
    assert replica.push(SHELF, [offer(1)]) == [FIRST]
    assert names(in_memory(shared)) == ["1"]


# -- claims ----------------------------------------------------------------------------------------


def claims_in(fake: FakeObjects) -> list[str]:
    return [name for name in fake.names() if "/claims/" in name]


@pytest.mark.parametrize("how", ["ignores", "unsupported"])
def test_where_nothing_is_compared_nobody_is_kept_from_anything(
    fake: FakeObjects, how: str
) -> None:
    setattr(fake.faults, how, True)
    one, other = bucket(), bucket()
    for owner, replica in (("one", one), ("other", other)):
        assert replica.claim(SHELF, offer(1).name, owner, 60) == OURS
        assert replica.renew(SHELF, offer(1).name, owner, 60)
        replica.give_up(SHELF, offer(1).name, owner)
    assert [name for name in fake.names() if not name.endswith("/probe")] == []
    one.push(SHELF, [offer(1)])
    assert other.claim(SHELF, offer(1).name, "other", 60) == Claimed(False, b"data")


def test_nothing_is_left_of_a_claim_that_was_given_up(fake: FakeObjects) -> None:
    one = bucket()
    assert one.claim(SHELF, offer(1).name, "one", 60) == OURS
    assert one.renew(SHELF, offer(1).name, "one", 60)
    assert len(claims_in(fake)) == 1
    one.give_up(SHELF, offer(1).name, "one")
    assert claims_in(fake) == []
    one.push(SHELF, [offer(1)])
    assert bucket().claim(SHELF, offer(1).name, "other", 60).data == b"data"
    assert claims_in(fake) == []


def test_who_may_write_and_not_remove_gives_up_all_the_same(fake: FakeObjects) -> None:
    fake.faults.refuses = frozenset({"DELETE", "POST"})
    one, other = bucket(), bucket()
    for owner, replica in (("one", one), ("other", other), ("one", one)):
        assert replica.claim(SHELF, offer(1).name, owner, 60) == OURS
        replica.give_up(SHELF, offer(1).name, owner)
        assert not replica.renew(SHELF, offer(1).name, owner, 60)
    assert len(claims_in(fake)) == 1


def test_claims_where_nothing_may_be_written(fake: FakeObjects) -> None:
    fake.faults.refuses = frozenset({"PUT"})
    with pytest.raises(StoreReadOnly, match="readonly=1"):
        bucket().claim(SHELF, offer(1).name, "one", 60)


@pytest.mark.timeout(15)
@pytest.mark.parametrize("fault", ["fails", "silent"])
def test_claims_of_a_server_that_does_not_work(
    fake: FakeObjects, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_objects, "REQUEST_S", 0.2)
    setattr(fake.faults, fault, frozenset({"GET", "PUT"}))
    for call in (
        lambda: bucket().claim(SHELF, offer(1).name, "one", 60),
        lambda: bucket().renew(SHELF, offer(1).name, "one", 60),
        lambda: bucket().give_up(SHELF, offer(1).name, "one"),
        lambda: bucket().await_news(SHELF, "", 60),
    ):
        with pytest.raises(StoreUnavailable, match="s3://bucket"):
            call()


def test_a_server_that_is_busy_with_a_claim(fake: FakeObjects) -> None:
    one = bucket()
    assert one.claim(SHELF, offer(0).name, "one", 60) == OURS  # it compares
    fake.faults.busy = [503]
    assert one.claim(SHELF, offer(1).name, "one", 60) == OURS
    fake.faults.busy = [503, 429]
    assert one.claim(SHELF, offer(2).name, "one", 60) == THEIRS  # not known to be ours
    assert one.claim(SHELF, offer(2).name, "one", 60) == OURS


def test_a_claim_that_may_have_been_made() -> None:
    class Unsure(MemorySpace):
        def swap(self, name: str, data: bytes, version: str | None) -> Swap:
            super().swap(name, data, version)
            return Swap.UNSURE

    shared = Shared()
    one = PackReplica(Unsure(shared), INFO, "tuneonce")
    assert one.claim(SHELF, offer(1).name, "one", 60) == OURS
    assert one.renew(SHELF, offer(1).name, "one", 60)
    assert in_memory(shared).claim(SHELF, offer(1).name, "other", 60) == THEIRS


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b'{"schema":"tuneonce.claim/2"}', b"[]"])
def test_a_claim_that_cannot_be_read_is_anothers(data: bytes) -> None:
    now = [0.0]
    one = PackReplica(space := MemorySpace(), INFO, "tuneonce", clock=lambda: now[0])
    assert one.claim(SHELF, offer(1).name, "one", 60) == OURS
    (at,) = space.shared.objects
    space.shared.objects[at] = data
    assert not one.renew(SHELF, offer(1).name, "one", 60)
    one.give_up(SHELF, offer(1).name, "one")
    assert one.claim(SHELF, offer(1).name, "one", 60) == THEIRS
    now[0] = 60.0
    assert one.claim(SHELF, offer(1).name, "one", 60) == OURS


def test_a_claim_of_an_owner_that_claims_again_is_another_one(fake: FakeObjects) -> None:
    """A server that tells versions apart by their bytes must see that somebody goes on."""
    one, seen = bucket(), set()
    for _ in range(3):
        assert one.claim(SHELF, offer(1).name, "one", 60) == OURS
        seen.add(fake.objects[claims_in(fake)[0]].e_tag)
        one.give_up(SHELF, offer(1).name, "one")
    assert len(seen) == 3


def test_a_record_that_is_pushed_while_it_is_claimed_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who had the claim pushes and gives up at the moment at which another one claims."""
    shared = Shared()
    owner, other = in_memory(shared), in_memory(shared)
    assert owner.claim(SHELF, offer(1).name, "owner", 60) == OURS
    swap = other._space.swap

    def is_late(name: str, data: bytes, version: str | None) -> Swap:
        owner.push(SHELF, [offer(1)])
        owner.give_up(SHELF, offer(1).name, "owner")
        return swap(name, data, version)

    monkeypatch.setattr(other._space, "swap", is_late)
    assert other.claim(SHELF, offer(1).name, "other", 60) == Claimed(False, b"data")
    assert not [name for name in shared.objects if "/claims/" in name]


def test_an_owner_that_pushes_while_its_claim_is_taken_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shared, now = Shared(), [0.0]
    owner = in_memory(shared)
    other = PackReplica(MemorySpace(shared), INFO, "tuneonce", clock=lambda: now[0])
    assert owner.claim(SHELF, offer(1).name, "owner", 60) == OURS
    assert other.claim(SHELF, offer(1).name, "other", 60) == THEIRS
    now[0] = 60.0
    swap = other._space.swap

    def is_late(name: str, data: bytes, version: str | None) -> Swap:
        if version is not None:
            owner.push(SHELF, [offer(1)])
        return swap(name, data, version)

    monkeypatch.setattr(other._space, "swap", is_late)
    assert other.claim(SHELF, offer(1).name, "other", 60) == Claimed(False, b"data")
    assert not [name for name in shared.objects if "/claims/" in name]


def test_a_record_whose_pack_is_merged_while_it_is_looked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shared = Shared()
    in_memory(shared).push(SHELF, [offer(1)])
    one = in_memory(shared)
    read = one._space.read
    merged: list[int] = []

    def merge_first(wanted: list[str], *, most: int) -> list[bytes | None]:
        if wanted[0].endswith(".pack") and not merged:
            merged.append(1)
            assert in_memory(shared).push(SHELF, [offer(2)]) == [None]
        return read(wanted, most=most)

    monkeypatch.setattr(one._space, "read", merge_first)
    assert one.claim(SHELF, offer(1).name, "one", 60) == Claimed(False, b"data")
    assert merged


def test_news_are_looked_for_less_and_less_often() -> None:
    now, paused = [0.0], []

    def pause(seconds: float) -> None:
        paused.append(round(seconds, 3))
        now[0] += seconds

    one = PackReplica(MemorySpace(), INFO, "tuneonce", pause=pause, clock=lambda: now[0])
    assert not one.await_news(SHELF, "", 10)
    assert paused == [0.1, 0.2, 0.4, *[0.5] * 18, 0.3]
    assert one.traffic.round_trips == len(paused) + 1


def test_news_that_come_between_two_looks() -> None:
    shared = Shared()
    paused: list[float] = []

    def pause(seconds: float) -> None:
        paused.append(seconds)
        if len(paused) == 3:
            in_memory(shared).push(SHELF, [offer(1)])

    one = PackReplica(MemorySpace(shared), INFO, "tuneonce", pause=pause)
    assert one.await_news(SHELF, "", 60)
    assert len(paused) == 3


# -- files -----------------------------------------------------------------------------------------


def test_heads_are_removed_and_who_was_stopped_for_long_does_not_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_files, "_KEPT_HEADS", 8)
    space = in_files.FileSpace(str(tmp_path))
    for number in range(20):
        version = None if number == 0 else str(number)
        assert space.swap("n/s/head", b"%d" % number, version) is Swap.DONE
    assert len(list((tmp_path / "n/s/head").iterdir())) == 8
    found = space.read_head("n/s/head", most=100)
    assert found is not None
    assert found.data == b"19"
    assert space.swap("n/s/head", b"late", "19") is Swap.LOST
    assert space.swap("n/s/head", b"late", "12") is Swap.LOST
    assert space.swap("n/s/head", b"very late", "5") is Swap.UNSURE
    # The number before the oldest that is kept: it was somebody's, though the next one is there.
    assert space.swap("n/s/head", b"very late", "11") is Swap.UNSURE
    assert space.read_head("n/s/head", most=100) == found


def test_a_claim_of_files_is_renewed_as_often_as_its_owner_wants(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_files, "_KEPT_HEADS", 4)
    one, other = (
        in_files.in_files(str(tmp_path), shown="file:///x", namespace="x") for _ in range(2)
    )
    assert one.claim(SHELF, offer(1).name, "one", 60) == OURS
    for _ in range(10):
        assert one.renew(SHELF, offer(1).name, "one", 60)
        assert other.claim(SHELF, offer(1).name, "other", 60) == THEIRS
    (folder,) = (tmp_path / f"x/{SHELF}/claims").iterdir()
    assert len(list(folder.iterdir())) <= 5
    one.give_up(SHELF, offer(1).name, "one")
    assert list(folder.iterdir()) == []
    assert other.claim(SHELF, offer(1).name, "other", 60) == OURS


def test_a_directory_that_may_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    replica = in_files.in_files(str(tmp_path / "file"), shown="file:///x", namespace="x")
    with pytest.raises(StoreUnavailable):
        replica.push(SHELF, [offer(1)])
    with pytest.raises(StoreUnavailable):
        replica.claim(SHELF, offer(1).name, "one", 60)
