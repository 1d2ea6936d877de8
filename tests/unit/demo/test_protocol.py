from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuneonce.demo.protocol import BadRequest, CompletionRequest, ServedModel, parse

MODEL = ServedModel(name="m", max_model_len=100, vocab_size=300)


def read(**fields: Any) -> CompletionRequest:
    return parse(json.dumps(fields).encode(), model=MODEL)


@pytest.mark.parametrize(
    ("prompt", "tokens"),
    [
        ("ab", [[97, 98]]),
        ([1, 299], [[1, 299]]),
        (["a", "bc"], [[97], [98, 99]]),
        ([[1], [2, 3]], [[1], [2, 3]]),
        (["a", [2]], [[97], [2]]),
    ],
)
def test_forms_of_a_prompt(prompt: Any, tokens: list[list[int]]) -> None:
    assert [list(request.tokens) for request in read(prompt=prompt).requests] == tokens


def test_defaults_are_openais() -> None:
    parsed = read(prompt="a")
    (request,) = parsed.requests
    assert (request.max_tokens, request.temperature, request.ignore_eos) == (16, 1.0, False)
    assert not parsed.stream
    assert not parsed.include_usage
    assert read(prompt="a").requests[0].seed != request.seed


def test_everything_asked_for() -> None:
    parsed = read(
        model="m",
        prompt=["a", "bc"],
        max_tokens=3,
        temperature=0,
        seed=-1,
        ignore_eos=True,
        stream=True,
        stream_options={"include_usage": True},
        # As clients send them, and of no effect.
        n=1,
        top_p=1.0,
        best_of=1,
        logprobs=None,
        repetition_penalty=1.0,
        user="somebody",
    )
    assert parsed.stream
    assert parsed.include_usage
    assert parsed.prompt_tokens == 3
    for request in parsed.requests:
        assert (request.max_tokens, request.temperature, request.ignore_eos) == (3, 0.0, True)
        assert 0 <= request.seed < 2**63


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": [[]]}, "prompt"),
        ({"prompt": 7}, "prompt"),
        ({"prompt": {"a": 1}}, "prompt"),
        ({"prompt": [1, "a"]}, "prompt"),
        ({"prompt": [1.0]}, "prompt"),
        ({"prompt": [True]}, "prompt"),
        ({"prompt": [300]}, "prompt"),
        ({"prompt": [-1]}, "prompt"),
        ({"prompt": "a" * 85}, "prompt"),
        ({"prompt": "a", "max_tokens": 0}, "max_tokens"),
        ({"prompt": "a", "max_tokens": -3}, "max_tokens"),
        ({"prompt": "a", "max_tokens": 1.5}, "max_tokens"),
        ({"prompt": "a", "max_tokens": "3"}, "max_tokens"),
        ({"prompt": "a", "max_tokens": True}, "max_tokens"),
        ({"prompt": "a", "temperature": -0.1}, "temperature"),
        ({"prompt": "a", "temperature": "hot"}, "temperature"),
        ({"prompt": "a", "temperature": float("nan")}, "temperature"),
        ({"prompt": "a", "temperature": float("inf")}, "temperature"),
        ({"prompt": "a", "seed": 1.5}, "seed"),
        ({"prompt": "a", "ignore_eos": 1}, "ignore_eos"),
        ({"prompt": "a", "stream": "yes"}, "stream"),
        ({"prompt": "a", "stream": True, "stream_options": 3}, "stream_options"),
        ({"prompt": "a", "stream_options": {"include_usage": True}}, "stream_options"),
        ({"prompt": "a", "n": 2}, "n"),
        ({"prompt": "a", "echo": True}, "echo"),
        ({"prompt": "a", "logprobs": 1}, "logprobs"),
        ({"prompt": "a", "stop": ["x"]}, "stop"),
        ({"prompt": "a", "top_p": 0.5}, "top_p"),
    ],
)
def test_what_is_refused(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        read(**fields)
    assert caught.value.param == param
    assert caught.value.status == 400
    assert str(caught.value)


def test_another_model_is_not_found() -> None:
    with pytest.raises(BadRequest, match="'x' does not exist") as caught:
        read(prompt="a", model="x")
    assert caught.value.status == 404


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b'"a"', b"\xff", b"[" * 100_000])
def test_bodies_that_are_no_object(body: bytes) -> None:
    with pytest.raises(BadRequest):
        parse(body, model=MODEL)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from(
    [
        "model",
        "prompt",
        "max_tokens",
        "temperature",
        "seed",
        "stream",
        "stream_options",
        "n",
        "stop",
    ]
)


@given(st.dictionaries(names, values))
def test_any_object_is_read_or_refused(fields: dict[str, Any]) -> None:
    try:
        parsed = parse(json.dumps(fields).encode(), model=MODEL)
    except BadRequest:
        return
    assert all(request.tokens and request.max_tokens >= 1 for request in parsed.requests)
