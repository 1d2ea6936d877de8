"""Frames between the compile helper and its parent."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneonce.triton.compile.worker.frames import MAX_FRAME_BYTES, BadFrame, Reader, encode

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(max_size=5).filter(lambda name: name != "!tuple"), inner)
    ),
    max_leaves=20,
)


def same(one: Any, other: Any) -> bool:
    """Equal and of the same types, all the way down."""
    if type(one) is not type(other):
        return False
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[name], other[name]) for name in one)
    return bool(one == other)


@settings(deadline=None)
@given(value=VALUES, cut=st.integers(1, 40))
def test_what_is_sent_arrives_with_its_types(value: Any, cut: int) -> None:
    data = encode("word", value) + encode("end")
    reader = Reader()
    pieces = [data[i : i + cut] for i in range(0, len(data), cut)]
    heard = [message for piece in pieces for message in reader.feed(piece)]
    assert heard[-1] == ["end"]
    [word, came] = heard[0]
    assert word == "word"
    assert same(came, value)


def test_numbers_that_json_does_not_know() -> None:
    [message] = Reader().feed(encode("x", math.inf, -math.inf, math.nan))
    assert message[1:3] == [math.inf, -math.inf]
    assert math.isnan(message[3])


class Number(int):
    pass


@pytest.mark.parametrize(
    "value", [object(), b"x", {1, 2}, {1: 2}, Number(1), {"!tuple": [1]}, 1j, print, [Number(1)]]
)
def test_what_is_not_plain_is_refused(value: Any) -> None:
    with pytest.raises(BadFrame):
        encode("x", value)


def test_what_holds_itself_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(BadFrame):
        encode("x", value)


@settings(deadline=None, max_examples=300)
@given(data=st.binary(max_size=200))
def test_any_bytes_are_messages_or_bad(data: bytes) -> None:
    try:
        messages = Reader().feed(data)
    except BadFrame:
        return
    assert all(isinstance(message, list) and isinstance(message[0], str) for message in messages)


@settings(deadline=None, max_examples=300)
@given(body=st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_body_is_a_message_or_bad(body: bytes) -> None:
    try:
        messages = Reader().feed(len(body).to_bytes(4, "little") + body)
    except BadFrame:
        return
    assert all(isinstance(message, list) and isinstance(message[0], str) for message in messages)


def test_a_frame_that_claims_to_be_huge_is_not_waited_for() -> None:
    with pytest.raises(BadFrame, match="bytes"):
        Reader().feed((MAX_FRAME_BYTES + 1).to_bytes(4, "little"))


def test_nested_without_end() -> None:
    body = b'["x",' + b"[" * 100_000 + b"]" * 100_000 + b"]"
    with pytest.raises(BadFrame):
        Reader().feed(len(body).to_bytes(4, "little") + body)
