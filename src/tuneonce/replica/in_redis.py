"""A replica in a Redis server: three keys a shelf, and scripts that read or write them in one step.

    tuneonce:{<namespace>/<shelf>}:records    a hash: name -> sealed record (`packs`)
    tuneonce:{<namespace>/<shelf>}:news       a stream: names in the order in which records came
    tuneonce:{<namespace>/<shelf>}:epoch      a word that is new when the shelf begins anew
    tuneonce:<namespace>:shelves              a set: the names of the shelves

The braces keep the keys of a shelf in one slot of a cluster. The stream is not cut: a name in it
takes a tenth of what the record takes, and so a reader that knows nothing is one that begins at the
stream's start. A cursor is the epoch and the last id that was read.

A server that may evict keys can lose a shelf, which is pushed again: where the stream has gone, the
records count as gone, too.

The client has time limits for connecting and for each time that it waits for bytes, and tries
nothing twice. It has none for a whole answer: whoever needs one ends the process (`courier`).
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import SettingsError, StoreError, StoreFull, StoreReadOnly, StoreUnavailable
from . import packs
from .base import (
    PAGE_BYTES,
    Entry,
    Offer,
    Page,
    Replica,
    ReplicaInfo,
    Taken,
    check_offers,
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

_PULL = """
local epoch = redis.call('GET', KEYS[3])
if not epoch then return false end
local last, from = '0-0', '-'
if epoch == ARGV[1] then last, from = ARGV[2], '(' .. ARGV[2] end
local news = redis.call('XRANGE', KEYS[2], from, '+', 'COUNT', ARGV[4])
local out, seen, size, more = {}, {}, 0, #news == tonumber(ARGV[4])
for _, item in ipairs(news) do
  local name = item[2][2]
  local value = not seen[name] and redis.call('HGET', KEYS[1], name)
  if value then
    size = size + #value
    if #out > 0 and size > tonumber(ARGV[3]) then more = true break end
    out[#out + 1] = name
    out[#out + 1] = value
    seen[name] = true
  end
  last = item[1]
end
return {epoch, last, more and 1 or 0, out}
"""

_HOLDS = """
local out = {}
if redis.call('EXISTS', KEYS[2]) == 0 then return out end
for i, name in ipairs(ARGV) do
  local value = redis.call('HGET', KEYS[1], name)
  out[i] = value and string.sub(value, 1, 32) or ''
end
return out
"""

# The name comes into the stream first: where a server is full in between, there is a name without a
# record, which readers pass over, and no record that no reader is told of.
_PUSH = """
if redis.call('EXISTS', KEYS[2]) == 0 then redis.call('DEL', KEYS[1], KEYS[3]) end
local out, count = {}, 0
for i = 2, #ARGV, 3 do
  local name, over, value = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  count = count + 1
  local there = redis.call('HGET', KEYS[1], name)
  if there and string.sub(there, 1, 32) ~= over then
    out[count] = there
  else
    redis.call('SET', KEYS[3], ARGV[1], 'NX')
    redis.call('XADD', KEYS[2], '*', 'n', name)
    redis.call('HSET', KEYS[1], name, value)
    out[count] = false
  end
end
return out
"""


class RedisReplica(Replica):
    """The shelves of a namespace in the server that `client` is connected to."""

    def __init__(self, client: Any, info: ReplicaInfo, namespace: str) -> None:
        super().__init__()
        self._client = client
        self._info = info
        self._namespace = namespace
        self._scripts = {text: client.register_script(text) for text in (_PULL, _HOLDS, _PUSH)}
        self._known_shelves: set[str] = set()

    def shelves(self) -> list[str]:
        found = self._ask(lambda: self._client.smembers(self._shelves_key()))
        names = (name.decode("ascii", "replace") for name in found)
        return sorted(name for name in names if _is_shelf(name))

    def pull(self, shelf: str, since: str = "") -> Page:
        epoch, _, last = since.partition(" ")
        arguments = [epoch, last or "0-0", PAGE_BYTES, _MOST_NEWS]
        answer = self._run(_PULL, shelf, arguments)
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
        cursor = f"{epoch.decode('ascii', 'replace')} {last.decode('ascii', 'replace')}"
        return Page(entries, cursor, bool(more), problems)

    def holds(self, shelf: str, names: Sequence[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        for start in range(0, len(names), _MOST_NEWS):
            part = names[start : start + _MOST_NEWS]
            digests = self._run(_HOLDS, shelf, list(part))
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
        return [_taken(there) for there in self._run(_PUSH, shelf, arguments)]

    def describe(self) -> ReplicaInfo:
        return self._info

    def close(self) -> None:
        self._client.close()

    def _shelves_key(self) -> str:
        return f"tuneonce:{self._namespace}:shelves"

    def _run(self, script: str, shelf: str, arguments: list[Any]) -> Any:
        tag = f"tuneonce:{{{self._namespace}/{check_shelf(shelf)}}}"
        keys = [f"{tag}:records", f"{tag}:news", f"{tag}:epoch"]
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
