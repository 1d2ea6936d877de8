"""Packs and sealed records: what goes in comes out, and nothing else does."""

from __future__ import annotations

import contextlib
import hashlib
import json
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuneonce.replica import packs
from tuneonce.replica.base import Entry, digest_of
from tuneonce.replica.packs import BadPack, pack, seal, unpack, unseal
from tuneonce.store.base import MAX_RECORD_BYTES

names = st.from_regex(r"[a-z~][a-z.]{0,9}(/[a-z~][a-z.]{0,9}){0,3}", fullmatch=True)
entries = st.lists(st.builds(Entry, names, st.binary(max_size=300)), max_size=6)


def by_hand(raw: bytes, size: int | None = None, schema: str = packs.PACK) -> bytes:
    """A pack that is well signed, whatever is in it."""
    body = zlib.compress(raw)
    sha256 = hashlib.sha256(body).hexdigest()
    size = len(raw) if size is None else size
    head = {"schema": schema, "word": "", "sha256": sha256, "bytes": size}
    return json.dumps(head).encode() + b"\n" + body


@given(entries)
def test_what_is_packed_is_unpacked(given_entries: list[Entry]) -> None:
    data, size = pack(given_entries)
    assert unpack(data) == given_entries
    assert size == len(zlib.decompress(data.partition(b"\n")[2]))


def test_a_word_makes_packs_of_the_same_records_unlike() -> None:
    one = [Entry("a/b", b"1")]
    assert pack(one, word="1")[0] != pack(one, word="2")[0]
    assert unpack(pack(one, word="1")[0]) == one


@given(st.lists(st.builds(Entry, names, st.binary(max_size=50)), min_size=1), st.data())
def test_a_pack_that_was_changed_is_none(given_entries: list[Entry], draw: st.DataObject) -> None:
    data, _ = pack(given_entries)
    at = draw.draw(st.integers(0, len(data) - 1))
    changed = data[:at] + bytes([data[at] ^ draw.draw(st.integers(1, 255))]) + data[at + 1 :]
    for wrong in (changed, data[:at], data[:-1], data + b"!"):
        with contextlib.suppress(BadPack):
            assert unpack(wrong) == given_entries  # another word, or another name of a field


@pytest.mark.parametrize(
    "raw",
    [
        b"a/b 3\nab",
        b"a/b 3\nabcd",
        b"a/b\nabc",
        b"a/b -1\n",
        b"a/b 1e0\nx",
        b"a/b 99999999999999999999\nx",
        b"../up 1\nx",
        b"/root 1\nx",
        b" 1\nx",
        b"a/\xff 1\nx",
        b"a/b \xd9\xa1\nx",
        b"no end of line",
        b"x" * 5000,
        b"a/b %d\n" % (MAX_RECORD_BYTES + 1) + bytes(MAX_RECORD_BYTES + 1),
    ],
)
def test_what_is_no_list_of_records_is_none(raw: bytes) -> None:
    with pytest.raises(BadPack, match="no list of records"):
        unpack(by_hand(raw))


def test_a_few_bytes_do_not_fill_a_memory() -> None:
    bomb = b"a/b 9\n" + bytes(20 << 20)
    bombs = [by_hand(bomb, size) for size in (0, 10)]
    tracemalloc.start()
    try:
        for one in bombs:
            with pytest.raises(BadPack, match="does not unpack"):
                unpack(one)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    for size in (-1, packs.MOST_UNPACKED + 1):
        with pytest.raises(BadPack, match="unpacks to"):
            unpack(by_hand(bomb, size))
    sealed = digest_of(b"").encode() + zlib.compress(bytes(20 << 20))
    with pytest.raises(BadPack, match="does not unpack"):
        unseal(sealed)


def test_a_pack_under_the_checksum_of_another_is_none() -> None:
    one, other = by_hand(b"a/b 1\nx"), by_hand(b"a/b 1\ny")
    with pytest.raises(BadPack, match="checksum"):
        unpack(one.partition(b"\n")[0] + b"\n" + other.partition(b"\n")[2])


def test_another_version_and_no_pack_at_all_say_so() -> None:
    with pytest.raises(BadPack, match="another version"):
        unpack(by_hand(b"", schema="tuneonce.pack/2"))
    for data in (b"", b"\n", b"{}\n", b"[1]\nx", b"x" * 1000, b"{" * 200 + b"\n"):
        with pytest.raises(BadPack, match="does not begin"):
            unpack(data)


@given(st.binary(max_size=2000))
def test_what_is_sealed_is_unsealed(data: bytes) -> None:
    assert unseal(seal(data)) == data
    assert packs.sealed_digest(seal(data)) == digest_of(data)


def test_a_seal_that_does_not_fit_is_none() -> None:
    whole = seal(b"data")
    other = seal(b"other")
    for wrong in (b"", whole[:20], whole[:-1], whole + b"!", whole[:32] + other[32:]):
        with pytest.raises(BadPack):
            unseal(wrong)
