from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneonce.bench.sse import EventStream


def decode(chunks: list[bytes]) -> list[str]:
    stream = EventStream()
    events = [event for chunk in chunks for event in stream.feed(chunk)]
    return events + stream.close()


@pytest.mark.parametrize(
    ("body", "events"),
    [
        (b"", []),
        (b"data: a\n\n", ["a"]),
        (b"data:a\n\n", ["a"]),
        (b"data:  a\n\n", [" a"]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", ["a", "b"]),
        (b"data: a\r\rdata: b\r\r", ["a", "b"]),
        (b"data: a\ndata: b\n\n", ["a\nb"]),
        (b": ping\n\ndata: a\n\n: ping\n\n", ["a"]),
        (b"event: x\nid: 1\nretry: 2\ndata: a\n\n", ["a"]),
        (b"nonsense\n\ndata: a\n\n", ["a"]),
        (b"\n\n\ndata: a\n\n\n\n", ["a"]),
        (b"\xef\xbb\xbfdata: a\n\n", ["a"]),
        (b"data: [DONE]", ["[DONE]"]),
        (b"data: [DONE]\n", ["[DONE]"]),
        (b"data\n\n", [""]),
        ("data: größe\u2028x\x0by\n\n".encode(), ["größe\u2028x\x0by"]),
        (b"data: \xff\n\n", ["\ufffd"]),
    ],
)
def test_events(body: bytes, events: list[str]) -> None:
    assert decode([body]) == events
    assert decode([body[i : i + 1] for i in range(len(body))]) == events


line_ends = st.sampled_from([b"\n", b"\r", b"\r\n"])
text = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=20)


@st.composite
def bodies(draw: st.DrawFn) -> tuple[bytes, list[str]]:
    """A stream and the data of its events, with comments and other fields in between."""
    body, events = b"", []
    for _ in range(draw(st.integers(0, 6))):
        # Mixed line ends are legal, but a CR followed by an empty line ended by LF is one CRLF.
        end = draw(line_ends)
        body += draw(st.sampled_from([b"", b": ping" + end, b"id: 7" + end]))
        lines = draw(st.lists(text, min_size=1, max_size=3))
        body += b"".join(b"data: " + line.encode() + end for line in lines) + end
        events.append("\n".join(lines))
    return body, events


@settings(deadline=None)  # a loaded machine is no failure
@given(bodies(), st.data())
def test_cuts_change_nothing(case: tuple[bytes, list[str]], data: st.DataObject) -> None:
    body, events = case
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=10)))
    bounds = [0, *cuts, len(body)]
    chunks = [body[a:b] for a, b in pairwise(bounds)]
    assert decode(chunks) == events
