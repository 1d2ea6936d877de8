"""A Redis server that is emptied, full, closed, restarted, or holds what somebody else has put."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.contract.servers import redis_server
from tuneonce.errors import StoreFull, StoreReadOnly, StoreUnavailable
from tuneonce.replica import Replica, in_redis, open_replica
from tuneonce.replica.base import Claimed, Offer, Taken, digest_of
from tuneonce.replica.packs import seal

SHELF = "NVIDIA-H200-90~81c2"
OURS, THEIRS = Claimed(True, None), Claimed(False, None)
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
        with pytest.raises(StoreFull):
            replica.claim(SHELF, offer(2).name, "one", 60)
        assert replica.claim(SHELF, offer(1).name, "one", 60).data == b"data"
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
        with pytest.raises(StoreReadOnly, match="readonly=1"):
            reader.claim(SHELF, offer(2).name, "one", 60)
        assert reader.await_news(SHELF, "", 60)
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
        with pytest.raises(StoreReadOnly, match="read-only copy"):
            replica.claim(SHELF, offer(2).name, "one", 60)
        assert replica.await_news(SHELF, "", 60)
        assert names(replica) == ["1"]
    finally:
        client.slaveof()


def test_keys_of_somebody_else_are_left_alone(replica: Replica, client: Any) -> None:
    client.set(TAG + "records", "mine")
    client.set("tuneonce:tuneonce:shelves", "mine")
    client.xadd(TAG + "news", {"n": "mine"})
    client.set(TAG + "epoch", "mine")
    client.hset(f"{TAG}claim:{offer(2).name}", "mine", "mine")
    for call in (
        lambda: replica.claim(SHELF, offer(1).name, "one", 60),
        lambda: replica.claim(SHELF, offer(2).name, "one", 60),
        lambda: replica.renew(SHELF, offer(2).name, "one", 60),
        lambda: replica.give_up(SHELF, offer(2).name, "one"),
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
    assert replica.claim(SHELF, offer(1).name, "one", 60) == OURS
    assert replica.claim(SHELF, offer(1).name, "other", 60) == THEIRS
    (taken,) = replica.push(SHELF, [offer(1)])
    assert taken is not None
    assert taken.data is None
    assert replica.push(SHELF, [offer(1)._replace(over=taken.digest)]) == [None]
    assert names(replica) == ["1", "2"]


def test_a_server_that_goes_and_comes_back() -> None:
    with redis_server() as port:
        replica = open_replica(f"redis://127.0.0.1:{port}/0")
        replica.push(SHELF, [offer(1)])
    for call in (
        replica.shelves,
        lambda: replica.push(SHELF, [offer(1)]),
        lambda: replica.claim(SHELF, offer(1).name, "one", 60),
        lambda: replica.await_news(SHELF, "", 60),
    ):
        with pytest.raises(StoreUnavailable, match=str(port)):
            call()
    with redis_server(port):
        assert replica.push(SHELF, [offer(1)]) == [None]
        assert replica.push(SHELF, [offer(1)]) == [Taken(digest_of(b"data"), b"data")]
        replica.close()


# -- claims and news -------------------------------------------------------------------------------


def test_a_claim_expires_by_the_servers_clock(replica: Replica, client: Any) -> None:
    key = f"{TAG}claim:{offer(1).name}"
    assert replica.claim(SHELF, offer(1).name, "one", 60) == OURS
    assert 0 < client.pttl(key) <= 60_000
    assert replica.renew(SHELF, offer(1).name, "one", 600)
    assert 60_000 < client.pttl(key) <= 600_000
    assert replica.claim(SHELF, offer(1).name, "one", 1) == OURS
    deadline = time.monotonic() + 30
    while replica.claim(SHELF, offer(1).name, "other", 60) != OURS:
        assert time.monotonic() < deadline
    assert client.keys(TAG + "*") == [key.encode()]


def test_claims_of_a_server_that_has_forgotten_its_scripts(replica: Replica, client: Any) -> None:
    for call in (
        lambda: replica.claim(SHELF, offer(1).name, "one", 60) == OURS,
        lambda: replica.renew(SHELF, offer(1).name, "one", 60),
    ):
        client.script_flush()
        assert call()


def blocked(client: Any) -> None:
    """Come back when somebody waits at the server."""
    deadline = time.monotonic() + 30
    while not client.info("clients")["blocked_clients"]:
        assert time.monotonic() < deadline


@pytest.mark.parametrize("before", ["nothing", "a push", "a flush"])
def test_who_waits_at_the_server_is_told(replica: Replica, client: Any, before: str) -> None:
    if before != "nothing":
        replica.push(SHELF, [offer(1)])
    cursor = replica.pull(SHELF).cursor
    told: list[bool] = []
    thread = threading.Thread(target=lambda: told.append(replica.await_news(SHELF, cursor, 60)))
    thread.start()
    blocked(client)
    if before == "a flush":
        client.flushall()
    with open_replica(replica.describe().url) as other:
        other.push(SHELF, [offer(2)])
    thread.join()
    assert told == [True]


def test_who_waits_does_so_within_the_time_for_an_answer(client: Any, port: int) -> None:
    with open_replica(f"redis://127.0.0.1:{port}/0?socket_timeout=0.3") as replica:
        assert not replica.await_news(SHELF, "", 1)
        assert replica.traffic.requests > 2  # it has waited more than once


def test_news_that_nobody_can_pull_are_none(replica: Replica, client: Any) -> None:
    """Or who waits and pulls in turns would do so without a pause."""
    replica.push(SHELF, [offer(1)])
    client.delete(TAG + "epoch")
    assert replica.pull(SHELF).cursor == ""
    assert not replica.await_news(SHELF, "", 1)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("answer", [b"", b"hello\r\n", b"$-5\r\n", b"\xff" * 100 + b"\r\n"])
def test_what_is_no_redis_server(answer: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_redis, "ANSWER_S", 0.2)
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while not over.is_set():
                connection, _ = server.accept()
                with connection:
                    # Until the client goes.
                    while not over.is_set() and connection.recv(1000):
                        connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"redis://127.0.0.1:{server.getsockname()[1]}/0"
        with open_replica(url) as replica:
            for call in (
                lambda: replica.claim(SHELF, offer(1).name, "one", 60),
                lambda: replica.renew(SHELF, offer(1).name, "one", 60),
                lambda: replica.give_up(SHELF, offer(1).name, "one"),
                lambda: replica.await_news(SHELF, "", 60),
            ):
                with pytest.raises(StoreUnavailable, match=url):
                    call()
        over.set()
        socket.create_connection(server.getsockname()).close()
        thread.join()
