"""A fleet of 1,000 clients that meet the same keys, on one replica that fails now and then.

Time is the number on a heap, the clients take turns in one thread, and all that is random comes
from a seed. The replica is a real one. One call of twenty raises StoreUnavailable, half of these
after it took effect, and one client ends while it tunes.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable, Generator
from functools import partial
from typing import TypeVar

import pytest

from tests.contract.servers import redis_server
from tuneonce.replica import Replica, open_replica
from tuneonce.replica.base import Offer, ReplicaInfo
from tuneonce.replica.in_memory import MemorySpace, Shared
from tuneonce.replica.in_packs import PackReplica

T = TypeVar("T")

CLIENTS, KEYS = 1000, 5
SHELF = "NVIDIA-H200-90~81c2"
NAMES = [f"v1/kernel~1/{SHELF}/0a1b/c02.{n}.verdict.json" for n in range(KEYS)]

# Seconds, all arbitrary, and far longer than the test itself takes: a server's own clock goes on
# meanwhile. A fleet starts within half an hour, and a key takes some ten minutes.
START_S, TUNE_S = 1800.0, (300.0, 900.0)
HELD_S, RENEW_S, NEWS_S, RETRY_S = 480.0, 100.0, 600.0, 10.0
FAILS = 0.05  # of calls

AWAITED = 2
"""Requests of one that waits at a Redis server and is not told anything: it waits, and asks once
more. That a wait is made of several, each shorter than the time for an answer, is not simulated."""

Turns = Generator[float | None, None, bool]


class Fleet:
    """The clients, their turns, and what became of each key."""

    def __init__(self, seed: int, passes: Callable[[float], None] = lambda seconds: None) -> None:
        """`passes` is told of seconds that went by, some at a time."""
        self.now = 0.0
        self.begun: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()  # tunings whose client ended meanwhile
        self.done = 0
        self.requests = 0  # besides those that replicas have counted
        self.failures = 0
        self._passes = passes
        self._random = random.Random(seed)
        self._pushed = 0
        self._turns: list[tuple[float, int, int]] = []
        self._numbers = itertools.count()
        self._next: dict[int, int] = {}  # of each client the number of the turn that counts
        self._waiting: set[int] = set()

    def run(self, replicas: list[Replica]) -> None:
        clients = {me: self._work(f"client-{me}", one) for me, one in enumerate(replicas)}
        for me in clients:
            self._turn(me, self._random.uniform(0, START_S))
        told = 0.0
        while self._turns:
            at, number, me = heapq.heappop(self._turns)
            if self._next[me] != number:
                continue  # it waited, and there was news
            if at - told >= RETRY_S:
                self._passes(at - told)
                told = at
            self.now = at
            self._waiting.discard(me)
            try:
                pause = next(clients[me])
            except StopIteration as end:
                self.done += end.value
                continue
            if pause is None:
                self._waiting.add(me)
            self._turn(me, NEWS_S if pause is None else pause)

    def _turn(self, me: int, pause: float) -> None:
        self._next[me] = next(self._numbers)
        heapq.heappush(self._turns, (self.now + pause, self._next[me], me))

    def _try(self, call: Callable[[], T]) -> T | None:
        """What a call says; None where it has failed, before or after it took effect."""
        how = self._random.random()
        self.failures += how < FAILS
        if how < FAILS / 2:
            self.requests += 1
            return None
        answer = call()
        return None if how < FAILS else answer

    def _work(self, owner: str, replica: Replica) -> Turns:
        """A client, which yields for how long it is busy; None: until there are news.

        Returns whether it has got to its end.
        """
        cursor, seen = "", 0
        missing = self._random.sample(NAMES, KEYS)
        unasked = set(missing)
        while True:
            for name in [one for one in missing if one in unasked]:
                claimed = self._try(partial(replica.claim, SHELF, name, owner, HELD_S))
                if claimed is None:
                    continue
                unasked.discard(name)
                if claimed.data is not None:
                    assert not claimed.ours
                    missing.remove(name)
                elif claimed.ours:
                    self.begun[name] += 1
                    if not (yield from self._tune(replica, name, owner)):
                        self.ended[name] += 1
                        return False
                    missing.remove(name)
            if not missing:
                return True
            if unasked.intersection(missing):
                yield RETRY_S
                continue
            if seen == self._pushed:
                yield None
            if seen == self._pushed:
                self.requests += AWAITED
                unasked.update(missing)  # somebody may have ended
                continue
            told = self._try(partial(replica.await_news, SHELF, cursor, 3600))
            assert told in (True, None)
            page = self._try(partial(replica.pull, SHELF, cursor))
            if page is not None:
                cursor, seen = page.cursor, self._pushed
                missing = [name for name in missing if name not in dict(page.entries)]

    def _tune(self, replica: Replica, name: str, owner: str) -> Turns:
        """Tune and push. False if the client ends meanwhile."""
        rest, ends = self._random.uniform(*TUNE_S), not self.ended and name == NAMES[0]
        while rest > 0:
            yield min(rest, RENEW_S)
            rest -= RENEW_S
            if ends:
                return False
            assert self._try(lambda: replica.renew(SHELF, name, owner, HELD_S)) in (True, None)

        def push() -> bool:
            if replica.push(SHELF, [Offer(name, owner.encode())]) == [None]:
                self._pushed += 1
                for me in sorted(self._waiting):
                    self._turn(me, 0.0)
            return True

        while not self._try(push):
            yield RETRY_S
        self._try(lambda: replica.give_up(SHELF, name, owner))
        return True

    def check(self, replica: Replica) -> None:
        """Everything was tuned, and by one client alone unless that one has ended."""
        assert {entry.name for entry in replica.pull(SHELF).entries} == set(NAMES)
        assert self.ended == {NAMES[0]: 1}
        assert self.begun == {name: 1 + self.ended[name] for name in NAMES}
        assert self.done == CLIENTS - self.ended.total()
        assert self._pushed == KEYS
        assert self.failures > CLIENTS / 10


@pytest.mark.parametrize("seed", range(3))
def test_a_fleet_on_packs(seed: int) -> None:
    shared = Shared()
    fleet = Fleet(seed)
    info = ReplicaInfo(kind="memory", url="memory:")
    replicas: list[Replica] = [
        PackReplica(MemorySpace(shared), info, "tuneonce", clock=lambda: fleet.now)
        for _ in range(CLIENTS)
    ]
    fleet.run(replicas)
    fleet.check(replicas[0])
    # Those of clients that have ended, or whose last call has failed.
    assert sum("/claims/" in name for name in shared.objects) <= KEYS


@pytest.mark.parametrize("seed", range(3))
def test_a_fleet_on_redis(seed: int) -> None:
    from tuneonce.replica.in_redis import RedisReplica

    with contextlib.ExitStack() as stack:
        port = stack.enter_context(redis_server())
        url = f"redis://127.0.0.1:{port}/0"
        first = stack.enter_context(open_replica(url))
        client = first._client  # one connection for all: they take turns
        claims = [f"tuneonce:{{tuneonce/{SHELF}}}:claim:{name}" for name in NAMES]

        def passes(seconds: float) -> None:
            for key in claims:
                if (rest := client.pttl(key)) > 0:
                    client.pexpire(key, max(0, rest - round(1000 * seconds)))

        fleet = Fleet(seed, passes)
        replicas: list[Replica] = [
            RedisReplica(client, first.describe(), "tuneonce") for _ in range(CLIENTS)
        ]
        fleet.run(replicas)
        fleet.check(first)
        requests = fleet.requests + sum(one.traffic.requests for one in replicas)
        assert requests / CLIENTS / KEYS <= 2.5
