"""A replica in a Redis server: a few keys a shelf, and scripts that read or write them in one step.

    tuneonce:{<namespace>/<shelf>}:records    a hash: name -> sealed record (`packs`)
    tuneonce:{<namespace>/<shelf>}:news       a stream: names in the order in which records came
    tuneonce:{<namespace>/<shelf>}:epoch      a word that is new when the shelf begins anew
    tuneonce:{<namespace>/<shelf>}:claim:...  the owner of the claim of a record, until it expires
    tuneonce:<namespace>:shelves              a set: the names of the shelves

The braces keep the keys of a shelf in one slot of a cluster. The stream is not cut: a name in it
takes a tenth of what the record takes, and so a reader that knows nothing is one that begins at the
stream's start. A cursor is the epoch and the last id that was read.

A server that may evict keys can lose a shelf, which is pushed again: where the stream has gone, the
records count as gone, too. A claim that was evicted is free, and a claim expires by the server's
clock.

The client has time limits for connecting and for each time that it waits for bytes, and tries
nothing twice. It has none for a whole answer: whoever needs one ends the process (`courier`).
"""

from __future__ import annotations

import contextlib
import os
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import SettingsError, StoreError, StoreFull, StoreReadOnly, StoreUnavailable
from . import packs
from . import redis_scripts as scripts
from .base import (
    LEAST_SECONDS,
    PAGE_BYTES,
    Claimed,
    Entry,
    Offer,
    Page,
    Replica,
    ReplicaInfo,
    Taken,
    check_claim,
    check_offers,
    check_seconds,
    check_shelf,
)

# Seconds. Arbitrary: a server of the same site answers in milliseconds.
CONNECT_S, ANSWER_S = 3.0, 5.0

# What a client says about itself at first would be two round trips more; 8.1 and earlier versions.
_SILENT: tuple[dict[str, None], ...] = (
    {"driver_info": None},
    {"lib_name": None, "lib_version": None},
)

_MOST_NEWS = 5000  # names that one page looks at; arbitrary

# A name that no shelf has: it is no folder of a world.
_NO_SHELF = "try-writing"

# The second one is about a record that cannot be read.
_CLAIM_TRIES = 2


class RedisReplica(Replica):
    """The shelves of a namespace in the server that `client` is connected to."""

    def __init__(self, client: Any, info: ReplicaInfo, namespace: str) -> None:
        super().__init__()
        self._client = client
        self._info = info
        self._namespace = namespace
        self._scripts = {text: client.register_script(text) for text in scripts.ALL}
        self._known_shelves: set[str] = set()
        self._epochs: dict[str, str] = {}  # of each shelf, as it was pulled last
        # Half of the time for an answer is left for the answer.
        self._block_s = (_socket_timeout(client) or ANSWER_S) / 2

    def shelves(self) -> list[str]:
        found = self._ask(lambda: self._client.smembers(self._shelves_key()))
        names = (name.decode("ascii", "replace") for name in found)
        return sorted(name for name in names if _is_shelf(name))

    def pull(self, shelf: str, since: str = "") -> Page:
        epoch, _, last = since.partition(" ")
        arguments = [epoch, last or "0-0", PAGE_BYTES, _MOST_NEWS]
        answer = self._run(scripts.PULL, shelf, arguments)
        if answer is None:
            return Page([], "", problems=[])
        epoch, last, more, flat = answer
        entries, problems = [], []
        for raw_name, value in zip(flat[::2], flat[1::2], strict=True):
            self.traffic.received += len(value)
            name = raw_name.decode("ascii", "replace")
            try:
                entries.append(Entry(name, packs.unseal(value)))
            except packs.BadPack as error:
                problems.append(f"{name} is not used: {error}")
        self._epochs[shelf] = epoch.decode("ascii", "replace")
        cursor = f"{self._epochs[shelf]} {last.decode('ascii', 'replace')}"
        return Page(entries, cursor, bool(more), problems)

    def holds(self, shelf: str, names: Sequence[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        for start in range(0, len(names), _MOST_NEWS):
            part = names[start : start + _MOST_NEWS]
            digests = self._run(scripts.HOLDS, shelf, list(part))
            found.update(
                (name, digest.decode("latin-1"))
                for name, digest in zip(part, digests, strict=False)
                if digest
            )
        return found

    def push(self, shelf: str, offers: Sequence[Offer]) -> list[Taken | None]:
        check_shelf(shelf)
        check_offers(offers)
        if not offers:
            return []
        if shelf not in self._known_shelves:
            self._ask(lambda: self._client.sadd(self._shelves_key(), shelf))
            self._known_shelves.add(shelf)
        arguments: list[Any] = [os.urandom(8).hex()]
        for offer in offers:
            sealed = packs.seal(offer.data)
            self.traffic.sent += len(sealed)
            arguments += [offer.name, offer.over.encode("latin-1"), sealed]
        return [_taken(there) for there in self._run(scripts.PUSH, shelf, arguments)]

    def claim(self, shelf: str, name: str, owner: str, seconds: float) -> Claimed:
        check_claim(shelf, name, owner, seconds)
        unreadable = b""
        for _ in range(_CLAIM_TRIES):
            arguments = [name, owner, int(seconds * 1000), unreadable]
            ours, sealed = self._run(scripts.CLAIM, shelf, arguments, claim=name)
            if sealed is None:
                return Claimed(bool(ours), None)
            self.traffic.received += len(sealed)
            try:
                return Claimed(False, packs.unseal(sealed))
            except packs.BadPack:
                unreadable = packs.sealed_digest(sealed).encode("latin-1")
        return Claimed(True, None)  # somebody puts there what cannot be read, again and again

    def renew(self, shelf: str, name: str, owner: str, seconds: float) -> bool:
        check_claim(shelf, name, owner, seconds)
        return bool(self._run(scripts.HOLD, shelf, [owner, int(seconds * 1000)], claim=name))

    def give_up(self, shelf: str, name: str, owner: str) -> None:
        check_claim(shelf, name, owner)
        self._run(scripts.HOLD, shelf, [owner, 0], claim=name)

    def await_news(self, shelf: str, since: str, seconds: float) -> bool:
        check_shelf(shelf)
        check_seconds(seconds)
        end = time.monotonic() + seconds
        known, _, last = since.partition(" ")
        # The epoch of what was pulled last need not be asked for before one waits.
        is_known = bool(known) and known == self._epochs.get(shelf)
        while True:
            if not is_known:
                epoch = self._epoch(shelf)
                if epoch not in (None, known):
                    return True
                is_known = epoch is not None
            rest = end - time.monotonic()
            if rest <= 0:
                # A shelf that began anew after its server's clock was set back has lower ids.
                return self._epoch(shelf) not in (None, known)
            # Where there is no epoch nothing can be pulled, whatever is in the stream.
            begin = last or "0-0" if is_known else "$"
            if self._wait_behind(shelf, begin, min(rest, self._block_s)):
                return True

    def _epoch(self, shelf: str) -> str | None:
        epoch = self._ask(lambda: self._client.get(self._keys(shelf)[2]))
        return None if epoch is None else epoch.decode("ascii", "replace")

    def _wait_behind(self, shelf: str, last: str, seconds: float) -> bool:
        """Whether a name came to the stream behind that id, within that time."""
        news = {self._keys(shelf)[1]: last}
        milliseconds = max(1, int(seconds * 1000))  # 0 would be for ever
        return bool(self._ask(lambda: self._client.xread(news, count=1, block=milliseconds)))

    def try_writing(self) -> bool:
        # A claim needs memory and the right to write, and is gone a moment later in any case.
        name, owner = f"writing-{os.urandom(8).hex()}", "doctor"
        self.claim(_NO_SHELF, name, owner, LEAST_SECONDS)
        self.give_up(_NO_SHELF, name, owner)
        return True

    def describe(self) -> ReplicaInfo:
        return self._info

    def close(self) -> None:
        self._client.close()

    def _shelves_key(self) -> str:
        return f"tuneonce:{self._namespace}:shelves"

    def _keys(self, shelf: str) -> list[str]:
        return [self._tag(shelf) + what for what in ("records", "news", "epoch")]

    def _tag(self, shelf: str) -> str:
        return f"tuneonce:{{{self._namespace}/{check_shelf(shelf)}}}:"

    def _run(self, script: str, shelf: str, arguments: list[Any], *, claim: str = "") -> Any:
        """Run a script; `claim` is the name whose claim it is about."""
        keys = self._keys(shelf)
        if claim:
            keys.append(f"{self._tag(shelf)}claim:{claim}")
        return self._ask(lambda: self._scripts[script](keys=keys, args=arguments))

    def _ask(self, call: Callable[[], Any]) -> Any:
        """Make a request. Raises StoreError for whatever goes wrong."""
        from redis.exceptions import RedisError

        self.traffic.requests += 1
        self.traffic.round_trips += 1
        try:
            return call()
        except (RedisError, OSError, ValueError) as error:
            # A connection that was given up half-way must not give its answer to another question.
            self._client.connection_pool.disconnect()
            raise self._error(error) from error

    def _error(self, error: Exception) -> StoreError:
        from redis import exceptions

        url, text = self._info.url, f"{type(error).__name__}: {error}".rstrip(". ")
        not_allowed = "can't run this command" in text or "can't access" in text
        if isinstance(error, exceptions.ReadOnlyError) or "READONLY" in text:
            return StoreReadOnly(f"{url} is a read-only copy of another server", store=url)
        if isinstance(error, exceptions.NoPermissionError) or not_allowed:
            return StoreReadOnly(
                f"{url} does not allow this user to do that: {text}. Let it use scripts and the "
                "keys that begin with tuneonce:, or add ?readonly=1 to the address",
                store=url,
            )
        if isinstance(error, exceptions.OutOfMemoryError) or "OOM command" in text:
            return StoreFull(f"{url} has no memory left for more: {text}", store=url)
        return StoreUnavailable(
            f"{url} did not do what was asked: {text}. Look at that server, and at TUNEONCE_REMOTE",
            store=url,
        )


def _taken(there: bytes | None) -> Taken | None:
    if there is None:
        return None
    try:
        return Taken(packs.sealed_digest(there), packs.unseal(there))
    except packs.BadPack:
        return Taken(packs.sealed_digest(there), None)


def _socket_timeout(client: Any) -> float | None:
    """How long this client waits for bytes: an address may have an option for that."""
    seconds: float | None = client.connection_pool.connection_kwargs.get("socket_timeout")
    return seconds


def _is_shelf(name: str) -> bool:
    try:
        check_shelf(name)
    except ValueError:
        return False
    return True


def in_redis(url: str, *, shown: str, namespace: str) -> RedisReplica:
    """The replica in the server at a URL, as redis-py takes it; nobody is asked yet.

    `shown` is the address without credentials. Raises SettingsError.
    """
    try:
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry
    except ImportError as error:
        raise SettingsError(
            f"{shown} needs redis-py: pip install 'tuneonce[redis]' ({error})"
        ) from error
    for silent in _SILENT:
        # A later version takes what an earlier one needs, and warns of it.
        with warnings.catch_warnings(), contextlib.suppress(ValueError, TypeError):
            warnings.simplefilter("ignore", DeprecationWarning)
            client = redis.Redis.from_url(
                url,
                socket_timeout=ANSWER_S,
                socket_connect_timeout=CONNECT_S,
                retry=Retry(NoBackoff(), 0),
                protocol=2,
                **silent,
            )
            # Which finds out whether there are such options, and connects to nobody.
            client.connection_pool.make_connection()
            return RedisReplica(client, ReplicaInfo(kind="redis", url=shown), namespace)
    # Not the client's words: they may repeat a password.
    raise SettingsError(f"{shown} is no address that redis-py takes, or has a wrong option")
