"""What docs/fleet.md gives readers and writers is enough for them, and nothing of it too much."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.contract.servers import moto_server, need, redis_server, s3_environment
from tests.factories import make_key, put_verdict
from tuneonce.errors import StoreError, StoreReadOnly
from tuneonce.replica import Replica, open_replica
from tuneonce.replica.base import Offer
from tuneonce.replica.exchange import Pulled, pull, push
from tuneonce.store.memory import MemoryStore

PAGE = (Path(__file__).parents[2] / "docs/fleet.md").read_text(encoding="utf-8")
SHELF = "NVIDIA-H200-90~81c2"


def name(number: int) -> str:
    return f"v1/kernel~1/{SHELF}/0a1b/c02.{number}.verdict.json"


def read(replica: Replica) -> None:
    """All that a reader asks for."""
    assert replica.shelves() == [SHELF]
    page = replica.pull(SHELF)
    assert page.entries
    assert not page.problems
    assert replica.holds(SHELF, [name(1)])
    assert replica.await_news(SHELF, "", 1.0)
    assert not replica.await_news(SHELF, page.cursor, 1.0)


def write(replica: Replica, *, first: int) -> None:
    """All that a writer asks for, with records of numbers from `first` on."""
    for number in range(first, first + 3):  # of which packs are merged
        assert replica.claim(SHELF, name(number), "me", 60.0).ours
        assert replica.renew(SHELF, name(number), "me", 60.0)
        assert replica.push(SHELF, [Offer(name(number), b"data %d" % number)]) == [None]
        replica.give_up(SHELF, name(number), "me")
    over = replica.holds(SHELF, [name(first)])[name(first)]
    assert replica.push(SHELF, [Offer(name(first), b"better", over)]) == [None]
    assert replica.try_writing()


def refuses_to_be_written(replica: Replica) -> None:
    with pytest.raises(StoreReadOnly, match="readonly=1"):
        replica.push(SHELF, [Offer(name(99), b"data")])
    with pytest.raises(StoreReadOnly, match="readonly=1"):
        replica.claim(SHELF, name(99), "me", 60.0)
    with pytest.raises(StoreReadOnly, match="readonly=1"):
        replica.try_writing()


# -- Redis ---------------------------------------------------------------------------------------


def allowed(role: str) -> list[str]:
    """What the page's line allows a user of Redis."""
    [words] = re.findall(rf"^ACL SETUSER tuneonce-{role} on >\w+ (.+)$", PAGE, re.MULTILINE)
    found: list[str] = words.split()
    return found


class Accounts:
    """Of a Redis server, whose administrator this is."""

    def __init__(self, port: int) -> None:
        import redis

        self._port = port
        self.administrator = redis.Redis(port=port)

    def open(self, user: str, words: list[str], rest: str = "0") -> Replica:
        """As a user who may do this; the server knows none of our scripts. `rest` is the address's
        end."""
        self.administrator.script_flush()
        self.administrator.execute_command("ACL", "SETUSER", user, "reset", "on", ">word", *words)
        return open_replica(f"redis://{user}:word@127.0.0.1:{self._port}/{rest}")

    def empty(self) -> None:
        self.administrator.flushall()


@pytest.fixture
def accounts() -> Iterator[Accounts]:
    with redis_server() as port:
        made = Accounts(port)
        with closing(made.administrator):
            yield made


def test_redis_lets_writers_write_and_readers_read(accounts: Accounts) -> None:
    with accounts.open("writer", allowed("writer")) as writer:
        write(writer, first=1)
        read(writer)
    with accounts.open("reader", allowed("reader")) as reader:
        read(reader)
        refuses_to_be_written(reader)
        assert reader.pull(SHELF).entries


@pytest.mark.parametrize("role", ["reader", "writer"])
def test_redis_is_allowed_nothing_that_is_not_needed(accounts: Accounts, role: str) -> None:
    for word in allowed(role):
        accounts.empty()
        if role == "reader":
            with accounts.open("somebody", allowed("writer")) as writer:
                write(writer, first=1)
        less = [one for one in allowed(role) if one != word]
        with accounts.open("less", less) as replica, pytest.raises(StoreError):
            if role == "writer":
                write(replica, first=1)
            read(replica)


def test_redis_keeps_an_account_to_its_namespace_and_database(accounts: Accounts) -> None:
    words = allowed("writer")
    words.remove("~tuneonce:*")
    [inside] = re.findall(r"`(~tuneonce:\S+)` and `~tuneonce:NAME:\*` in the place", PAGE)
    words += [inside.replace("NAME", "prod"), "~tuneonce:prod:*", "+select"]
    assert "needs `+select`" in PAGE
    with accounts.open("writer", words, "2?namespace=prod") as writer:
        write(writer, first=1)
        read(writer)
    for others in ("2?namespace=production", "2"):
        with accounts.open("writer", words, others) as writer:
            with pytest.raises(StoreError):
                writer.push(SHELF, [Offer(name(1), b"data")])
            with pytest.raises(StoreError):
                writer.pull(SHELF)


# -- S3 ------------------------------------------------------------------------------------------


def policy(*sids: str) -> dict[str, Any]:
    """The page's policy with these of its statements, for the bucket of the test."""
    [text] = re.findall(r"^```json\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    found: dict[str, Any] = json.loads(text.replace("BUCKET", "bucket").replace("PREFIX", "prefix"))
    assert [one["Sid"] for one in found["Statement"]] == ["List", "Read", "Write"]
    found["Statement"] = [one for one in found["Statement"] if one["Sid"] in sids]
    return found


class Users:
    """Of moto, which looks at policies as soon as all users are there."""

    def __init__(self, url: str) -> None:
        import boto3

        self._url = url
        self._monkeypatch = pytest.MonkeyPatch()
        account = {"aws_access_key_id": "a", "aws_secret_access_key": "s"}
        self._iam = boto3.client("iam", endpoint_url=url, region_name="us-east-1", **account)
        self._keys: dict[str, dict[str, str]] = {}

    def add(self, user: str, policy: dict[str, Any]) -> None:
        # To remove objects by a list of them S3 asks for this about each, and moto about the bucket
        # besides.
        for one in policy["Statement"]:
            if "s3:DeleteObject" in one["Action"]:
                one["Resource"] = [one["Resource"], "arn:aws:s3:::bucket"]
        self._iam.create_user(UserName=user)
        text = json.dumps(policy)
        self._iam.put_user_policy(UserName=user, PolicyName="one", PolicyDocument=text)
        self._keys[user] = self._iam.create_access_key(UserName=user)["AccessKey"]

    def begin(self) -> None:
        kind = {"Content-Type": "text/plain"}
        where = f"{self._url}/moto-api/reset-auth"
        asked = urllib.request.Request(where, data=b"0", method="POST", headers=kind)
        urllib.request.urlopen(asked, timeout=30).close()

    def open(self, user: str) -> Replica:
        key = self._keys[user]
        environment = s3_environment(self._url) | {
            "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
        }
        for variable, text in environment.items():
            self._monkeypatch.setenv(variable, text)
        return open_replica("s3://bucket/prefix")

    def close(self) -> None:
        self._monkeypatch.undo()
        self._iam.close()


@pytest.fixture
def users(monkeypatch: pytest.MonkeyPatch) -> Iterator[Users]:
    need(module="boto3")
    monkeypatch.setenv("INITIAL_NO_AUTH_ACTION_COUNT", "1000")
    with moto_server("bucket") as url, closing(Users(url)) as made:
        yield made


def test_s3_lets_writers_write_and_readers_read(users: Users) -> None:
    users.add("writer", policy("List", "Read", "Write"))
    users.add("reader", policy("List", "Read"))
    users.begin()
    with users.open("writer") as writer:
        write(writer, first=1)
        read(writer)
    with users.open("reader") as reader:
        read(reader)
        refuses_to_be_written(reader)
        assert reader.pull(SHELF).entries


@pytest.mark.parametrize(
    "action", ["s3:ListBucket", "s3:GetObject", "s3:PutObject", "s3:DeleteObject"]
)
def test_s3_allows_nothing_that_is_not_needed(users: Users, action: str) -> None:
    less = policy("List", "Read", "Write")
    for statement in less["Statement"]:
        actions = statement["Action"]
        statement["Action"] = [one for one in actions if one != action]
    less["Statement"] = [one for one in less["Statement"] if one["Action"]]
    users.add("all", policy("List", "Read", "Write"))
    users.add("less", less)
    users.begin()
    with users.open("all") as replica:
        write(replica, first=1)
    with users.open("less") as replica:
        if action != "s3:DeleteObject":
            with pytest.raises(StoreError):
                write(replica, first=10)
                read(replica)
            return
        # What may not be removed stays, and claims that are given up are free all the same.
        write(replica, first=10)
        assert replica.claim(SHELF, name(10), "me", 60.0).data == b"better"
        assert replica.claim(SHELF, name(20), "me", 60.0).ours
        replica.give_up(SHELF, name(20), "me")
    with users.open("all") as replica:
        assert replica.claim(SHELF, name(20), "another", 60.0).ours
        assert {one.name for one in replica.pull(SHELF).entries} >= {name(10), name(11), name(12)}


def test_a_reader_pulls_and_is_told_when_it_pushes(users: Users) -> None:
    users.add("writer", policy("List", "Read", "Write"))
    users.add("reader", policy("List", "Read"))
    users.begin()
    ours, theirs = MemoryStore(), MemoryStore()
    put_verdict(theirs, make_key(), {64: (0.2,)})
    with users.open("writer") as writer:
        push(theirs, writer)
    with users.open("reader") as reader:
        assert pull(ours, reader) == Pulled(new=1)
        put_verdict(ours, make_key("mul"), {64: (0.2,)})
        with pytest.raises(StoreReadOnly, match="readonly=1"):
            push(ours, reader)
