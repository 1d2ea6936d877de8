"""The bytes in which records travel: many in a pack, or one sealed.

A *pack* is a line of JSON and what it announces, compressed by zlib::

    {"schema":"tuneonce.pack/1","word":"...","sha256":"<of the rest>","bytes":<of it unpacked>}
    <name> <bytes>\\n<data><name> <bytes>\\n<data>...

The word makes two packs of the same records unlike each other.

A *sealed* record is its digest (`base.digest_of`, 32 characters) and its data, compressed. Both say
how much they unpack to or are read within a bound, so that a few bytes never fill a memory.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable

import msgspec

from ..store.base import MAX_RECORD_BYTES, check_name
from .base import Entry, digest_of

PACK = "tuneonce.pack/1"

MOST_PACKED, MOST_UNPACKED = 32 << 20, 128 << 20
"""No pack has more bytes than these, as it is kept and as it is read. Arbitrary; a pack of a push
has a quarter of that, and packs are merged up to a quarter."""

_DIGEST_CHARS = 32
_MOST_HEAD = 300
# Records of one kernel have most of their text in common. 6 packs 5 % smaller and takes twice as
# long; 1,000 verdicts over nine candidates take 0.1 s.
_LEVEL = 3


class BadPack(Exception):
    """Bytes that are no pack, or no sealed record, that this version reads. One sentence."""


class _Head(msgspec.Struct, frozen=True):
    schema: str
    word: str
    sha256: str
    bytes: int


def pack(entries: Iterable[Entry], *, word: str = "") -> tuple[bytes, int]:
    """A pack of these, and the bytes that it unpacks to. The caller sees to its size."""
    raw = b"".join(b"%s %d\n%s" % (e.name.encode(), len(e.data), e.data) for e in entries)
    body = zlib.compress(raw, _LEVEL)
    head = _Head(PACK, word, hashlib.sha256(body).hexdigest(), len(raw))
    return msgspec.json.encode(head) + b"\n" + body, len(raw)


def unpack(data: bytes) -> list[Entry]:
    """What is in a pack. Raises BadPack unless all of it is whole."""
    end = data.find(b"\n", 0, _MOST_HEAD)
    try:
        head = msgspec.json.decode(data[: max(end, 0)], type=_Head)
    except (ValueError, msgspec.MsgspecError) as error:
        raise BadPack("it does not begin as a pack does") from error
    if head.schema != PACK:
        raise BadPack("it is a pack of another version")
    body = memoryview(data)[end + 1 :]
    if hashlib.sha256(body).hexdigest() != head.sha256:
        raise BadPack("its checksum does not fit")
    if not 0 <= head.bytes <= MOST_UNPACKED:
        raise BadPack(f"it unpacks to {head.bytes} bytes")
    return _entries(_inflated(body, head.bytes, exactly=True))


def _entries(raw: bytes) -> list[Entry]:
    found, at = [], 0
    while at < len(raw):
        end = raw.find(b"\n", at, at + 2000)
        name, _, size = raw[at : max(end, at)].decode("ascii", "replace").rpartition(" ")
        start = end + 1
        if end < 0 or not (size.isdecimal() and size.isascii()) or len(size) > 9:
            raise BadPack("what is in it is no list of records")
        at = start + int(size)
        if at > len(raw) or int(size) > MAX_RECORD_BYTES or not _is_name(name):
            raise BadPack("what is in it is no list of records")
        found.append(Entry(name, raw[start:at]))
    return found


def _is_name(name: str) -> bool:
    try:
        check_name(name)
    except ValueError:
        return False
    return True


def seal(data: bytes) -> bytes:
    """One record by itself."""
    return digest_of(data).encode() + zlib.compress(data, _LEVEL)


def unseal(sealed: bytes) -> bytes:
    """The record that was sealed. Raises BadPack."""
    data = _inflated(sealed[_DIGEST_CHARS:], MAX_RECORD_BYTES)
    if sealed_digest(sealed) != digest_of(data):
        raise BadPack("its checksum does not fit")
    return data


def sealed_digest(sealed: bytes) -> str:
    """The digest that a sealed record says its data has; of another value its first characters."""
    return sealed[:_DIGEST_CHARS].decode("latin-1")


def _inflated(body: bytes | memoryview, most: int, *, exactly: bool = False) -> bytes:
    stream = zlib.decompressobj()
    try:
        raw = stream.decompress(body, most + 1)
    except zlib.error as error:
        raise BadPack("it cannot be unpacked") from error
    whole = stream.eof and not stream.unused_data
    if not whole or len(raw) > most or (exactly and len(raw) < most):
        raise BadPack("it does not unpack to what it should")
    return raw
