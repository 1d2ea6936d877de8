"""A Redis server that is emptied, full, closed, restarted, or holds what somebody else has put."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.contract.servers import redis_server
from tuneonce.errors import StoreFull, StoreReadOnly, StoreUnavailable
from tuneonce.replica import Replica, open_replica
from tuneonce.replica.base import Offer, Taken, digest_of
from tuneonce.replica.packs import seal

SHELF = "NVIDIA-H200-90~81c2"
TAG = f"tuneonce:{{tuneonce/{SHELF}}}:"


def offer(number: int | str, data: bytes = b"data") -> Offer:
    return Offer(f"v1/kernel~1/{SHELF}/0a1b/c02.{number}.verdict.json", data)


def names(replica: Replica, since: str = "") -> list[str]:
    page = replica.pull(SHELF, since)
    return sorted(entry.name.split(".")[-3] for entry in page.entries)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with redis_server() as port:
        yield port


@pytest.fixture
def client(port: int) -> Iterator[Any]:
    """Somebody else, in a server that has nothing at the beginning of each test."""
    import redis

    with redis.Redis(port=port) as client:
        client.flushall()
        yield client


@pytest.fixture
def replica(client: Any, port: int) -> Iterator[Replica]:
    with open_replica(f"redis://127.0.0.1:{port}/0") as replica:
        yield replica


def test_a_server_that_was_emptied_is_filled_again(replica: Replica, client: Any) -> None:
    replica.push(SHELF, [offer(1), offer(2)])
    cursor = replica.pull(SHELF).cursor
    client.flushall()
    assert replica.pull(SHELF, cursor).entries == []
    assert replica.holds(SHELF, [offer(1).name]) == {}
    assert replica.push(SHELF, [offer(2)]) == [None]
    assert names(replica, cursor) == ["2"]


@pytest.mark.parametrize("evicted", ["records", "news", "epoch"])
def test_a_server_that_evicts_keys_loses_a_shelf_and_no_more(
    replica: Replica, client: Any, evicted: str
) -> None:
    replica.push(SHELF, [offer(1), offer(2)])
    cursor = replica.pull(SHELF).cursor
    client.delete(TAG + evicted)
    held = replica.holds(SHELF, [offer(1).name, offer(2).name])
    if evicted != "epoch":
        assert held == {}
    assert [one for one in replica.push(SHELF, [offer(1), offer(3)]) if one is None]
    assert {"1", "3"} <= set(names(replica))
    assert {"1", "3"} <= {*names(replica, cursor), *(["1"] if evicted == "records" else [])}


def test_scripts_that_the_server_has_forgotten_are_sent_again(
    replica: Replica, client: Any
) -> None:
    replica.push(SHELF, [offer(1)])
    client.script_flush()
    assert replica.push(SHELF, [offer(2)]) == [None]
    client.script_flush()
    assert names(replica) == ["1", "2"]


def test_a_full_server_can_be_read(replica: Replica, client: Any) -> None:
    replica.push(SHELF, [offer(1)])
    client.config_set("maxmemory", "1")
    try:
        with pytest.raises(StoreFull):
            replica.push(SHELF, [offer(2)])
        assert names(replica) == ["1"]
    finally:
        client.config_set("maxmemory", "0")
    assert replica.push(SHELF, [offer(2)]) == [None]
    assert names(replica) == ["1", "2"]


def test_a_user_who_may_only_read(replica: Replica, client: Any, port: int) -> None:
    replica.push(SHELF, [offer(1)])
    client.acl_setuser(
        "reader",
        enabled=True,
        reset=True,
        passwords=["+secret"],
        keys=["tuneonce:*"],
        commands=["+@read", "+@connection", "+eval", "+evalsha", "+script|load"],
    )
    with open_replica(f"redis://reader:secret@127.0.0.1:{port}/0") as reader:
        assert reader.shelves() == [SHELF]
        assert names(reader) == ["1"]
        with pytest.raises(StoreReadOnly, match="readonly=1") as raised:
            reader.push(SHELF, [offer(2)])
        assert "secret" not in str(raised.value)
    with (
        open_replica(f"redis://reader:wrong-word@127.0.0.1:{port}/0") as stranger,
        pytest.raises(StoreUnavailable) as refused,
    ):
        stranger.pull(SHELF)
    assert "wrong-word" not in str(refused.value)


def test_a_copy_of_another_server_is_read_only(replica: Replica, client: Any, port: int) -> None:
    replica.push(SHELF, [offer(1)])
    client.config_set("replica-read-only", "yes")
    # Of a server that does not answer: what was there stays.
    client.slaveof("127.0.0.1", "1")
    try:
        with pytest.raises(StoreReadOnly, match="read-only copy"):
            replica.push(SHELF, [offer(2)])
        assert names(replica) == ["1"]
    finally:
        client.slaveof()


def test_keys_of_somebody_else_are_left_alone(replica: Replica, client: Any) -> None:
    client.set(TAG + "records", "mine")
    client.set("tuneonce:tuneonce:shelves", "mine")
    client.xadd(TAG + "news", {"n": "mine"})
    client.set(TAG + "epoch", "mine")
    for call in (
        replica.shelves,
        lambda: replica.pull(SHELF),
        lambda: replica.holds(SHELF, [offer(1).name]),
        lambda: replica.push(SHELF, [offer(1)]),
    ):
        with pytest.raises(StoreUnavailable, match="WRONGTYPE"):
            call()
    assert client.get(TAG + "records") == b"mine"


@pytest.mark.parametrize("value", [b"x", b"0" * 40, seal(b"other")[:-3], b"0" * 31 + b"\xff"])
def test_a_record_that_cannot_be_read_is_replaced(
    replica: Replica, client: Any, value: bytes
) -> None:
    replica.push(SHELF, [offer(1), offer(2)])
    client.hset(TAG + "records", offer(1).name, value)
    page = replica.pull(SHELF)
    assert len(page.entries) == 1
    assert len(page.problems) == 1
    (taken,) = replica.push(SHELF, [offer(1)])
    assert taken is not None
    assert taken.data is None
    assert replica.push(SHELF, [offer(1)._replace(over=taken.digest)]) == [None]
    assert names(replica) == ["1", "2"]


def test_a_server_that_goes_and_comes_back() -> None:
    with redis_server() as port:
        replica = open_replica(f"redis://127.0.0.1:{port}/0")
        replica.push(SHELF, [offer(1)])
    for call in (replica.shelves, lambda: replica.push(SHELF, [offer(1)])):
        with pytest.raises(StoreUnavailable, match=str(port)):
            call()
    with redis_server(port):
        assert replica.push(SHELF, [offer(1)]) == [None]
        assert replica.push(SHELF, [offer(1)]) == [Taken(digest_of(b"data"), b"data")]
        replica.close()
