"""The digest of what is in memory."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import torch
from hypothesis import given
from hypothesis import strategies as st

from tuneonce.triton.measure.outputs import bits
from tuneonce.triton.measure.outputs.bits import digest_of

WORD = (1 << 64) - 1


def of(data: bytes) -> torch.Tensor:
    return torch.tensor(list(data), dtype=torch.uint8)


def mixed(word: int) -> int:
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & WORD
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & WORD
    return word ^ (word >> 31)


def plainly(*spans: bytes) -> str:
    """The same in plain integers, as any device must find it."""
    step, found = 0x9E3779B97F4A7C15, 0
    for data in spans:
        padded = data + bytes(-len(data) % 8)
        words = [int.from_bytes(padded[i : i + 8], "little") for i in range(0, len(padded), 8)]
        total = sum(mixed(w ^ (i * step & WORD)) for i, w in enumerate(words, start=1)) & WORD
        found = mixed((mixed(((found ^ len(data)) + step) & WORD) ^ total) + step & WORD)
    return f"{found:016x}"


@given(st.lists(st.binary(max_size=40), max_size=3))
def test_it_is_what_plain_integers_say(spans: list[bytes]) -> None:
    assert digest_of(*map(of, spans)) == plainly(*spans)


@given(st.binary(min_size=1, max_size=64), st.data())
def test_one_bit_changes_it(data: bytes, draw: st.DataObject) -> None:
    place = draw.draw(st.integers(0, 8 * len(data) - 1))
    other = bytearray(data)
    other[place // 8] ^= 1 << place % 8
    assert digest_of(of(data)) != digest_of(of(bytes(other)))


def test_where_something_is_counts() -> None:
    seen = {
        digest_of(of(b"a" + bytes(15))),
        digest_of(of(bytes(8) + b"a" + bytes(7))),
        digest_of(of(b"a" + bytes(14))),
        digest_of(of(b"a" + bytes(7)), of(bytes(8))),
        digest_of(of(bytes(8)), of(b"a" + bytes(7))),
    }
    assert len(seen) == 5


@pytest.mark.parametrize("chunk", [8, 24, 64])
def test_it_does_not_depend_on_how_much_is_read_at_a_time(
    chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = of(bytes(range(100)))
    before = digest_of(data)
    monkeypatch.setattr(bits, "_CHUNK_BYTES", chunk)
    assert digest_of(data) == before


def test_signs_of_zero_and_payloads_of_nan_are_bits() -> None:
    zeros = [torch.tensor([x]).view(torch.uint8) for x in (0.0, -0.0)]
    nans = [
        torch.tensor([x], dtype=torch.int32).view(torch.uint8) for x in (0x7FC00000, 0x7FC00001)
    ]
    assert len({digest_of(one) for one in [*zeros, *nans]}) == 4


def test_memory_that_is_not_aligned() -> None:
    raw = of(bytes(range(64)))
    assert digest_of(raw[3:50]) == digest_of(raw[3:50].clone())


@pytest.mark.gpu
def test_a_gpu_finds_the_same() -> None:
    data = torch.randint(0, 256, ((1 << 23) + 13,), dtype=torch.uint8)
    assert digest_of(data.cuda()) == digest_of(data)
