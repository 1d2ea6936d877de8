"""The document of a frozen set of winners."""

from __future__ import annotations

import itertools
import json
import random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuneonce.model.frozen import FROZEN, BadFrozen, FrozenSet, Winner, read_document

KEY, LIST = "0" * 24, "1" * 12


def winner(
    letter: str = "a", *, key: str = KEY, work_class: str = "c03", candidates: str = LIST
) -> Winner:
    """A winner whose digest is made of one letter."""
    return Winner(
        kernel="add",
        world="NVIDIA H200 · cuda:90 · triton-3.6.0",
        tuning="n=64",
        key=key,
        work_class=work_class,
        candidates=candidates,
        winner=letter * 16,
        text="BLOCK=64",
    )


SEVERAL = [
    winner("a"),
    winner("b", work_class="cxx"),
    winner("c", key="2" * 24),
    winner("d", key="2" * 24, candidates="3" * 12),
]


def document(found: FrozenSet) -> Any:
    return json.loads(found.document())


def test_what_is_written_is_read_again() -> None:
    found = FrozenSet(SEVERAL)
    again = read_document(found.document())
    assert again.winners == found.winners == sorted(SEVERAL)
    assert (again.sha256, again.name) == (found.sha256, found.sha256[:12])
    assert again.winners_of(KEY, LIST) == {"c03": "a" * 16, "cxx": "b" * 16}
    assert again.winners_of("2" * 24, "3" * 12) == {"c03": "d" * 16}
    assert again.winners_of(KEY, "3" * 12) == {}


def test_an_empty_set_is_one() -> None:
    assert read_document(FrozenSet([]).document()).winners == []


def test_the_order_they_come_in_changes_no_byte() -> None:
    written = {FrozenSet(order).document() for order in itertools.permutations(SEVERAL)}
    assert len(written) == 1


def test_the_document_is_ascii_and_says_first_what_it_is() -> None:
    data = FrozenSet(SEVERAL).document()
    assert data.isascii()
    assert data.startswith(b'{\n  "schema": "tuneonce.frozen/1",\n  "sha256": "')
    assert data.endswith(b"}\n")


def test_another_indentation_is_the_same_set() -> None:
    found = FrozenSet(SEVERAL)
    packed = json.dumps(document(found), separators=(",", ":")).encode()
    assert read_document(packed).sha256 == found.sha256


@pytest.mark.parametrize("field", Winner.__struct_fields__)
def test_every_field_is_in_the_digest(field: str) -> None:
    found = document(FrozenSet([winner()]))
    old = found["winners"][0][field]
    found["winners"][0][field] = "c04" if field == "work_class" else "f" * len(old)
    with pytest.raises(BadFrozen, match="was changed"):
        read_document(json.dumps(found).encode())


@pytest.mark.parametrize("order", [*itertools.permutations(["c00", "c03", "c11", "cxx"])])
def test_each_work_class_has_its_winner(order: tuple[str, ...]) -> None:
    letters = {"c00": "a", "c03": "b", "c11": "c", "cxx": "d"}
    found = FrozenSet(winner(letters[one], work_class=one) for one in order)
    winners = {one: letter * 16 for one, letter in letters.items()}
    assert found.winners_of(KEY, LIST) == winners


def test_two_winners_of_one_place_are_refused() -> None:
    with pytest.raises(ValueError, match="two winners"):
        FrozenSet([winner("a"), winner("b")])


def with_winner(**fields: Any) -> bytes:
    """A document whose one winner has other values, with whatever digest."""
    one = {**msgspec.to_builtins(winner()), **fields}
    return json.dumps({"schema": FROZEN, "sha256": "0" * 64, "winners": [one]}).encode()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "no such document"),
        (b"null", "no such document"),
        (b"[]", "no such document"),
        (b"[" * 100_000, "no such document"),
        (b'{"schema":"\xff"}', "no such document"),
        (b'{"schema":"tuneonce.frozen/2"}', "schema is 'tuneonce.frozen/2'"),
        (b'{"schema":"tuneonce.ls/1"}', "schema is 'tuneonce.ls/1'"),
        (b'{"schema":"tuneonce.frozen/1"}', "no such document"),
        (b'{"schema":"tuneonce.frozen/1","sha256":"","winners":{}}', "no such document"),
        (b'{"schema":"tuneonce.frozen/1","sha256":"","winners":[]}', "was changed"),
        (b'{"schema":"tuneonce.frozen/1","sha256":"","winners":[],"x":1}', "no such document"),
        (with_winner(), "was changed"),
        (with_winner(key="0" * 23), "no such document"),
        (with_winner(key="0" * 24 + "\n"), "no such document"),
        (with_winner(winner=None), "no such document"),
        (with_winner(winner="G" * 16), "no such document"),
        (with_winner(work_class="c3"), "no such document"),
        (with_winner(candidates=["1" * 12]), "no such document"),
        (with_winner(more=1), "no such document"),
        (FrozenSet(SEVERAL).document()[:-3], "no such document"),
    ],
)
def test_what_is_no_document_says_why(data: bytes, why: str) -> None:
    with pytest.raises(BadFrozen, match=why):
        read_document(data)


def test_a_document_that_names_a_place_twice_is_refused() -> None:
    found = document(FrozenSet([winner("a")]))
    found["winners"].append({**found["winners"][0], "winner": "b" * 16})
    with pytest.raises(BadFrozen, match="two winners"):
        read_document(json.dumps(found).encode())


@given(st.integers(0, 2**32), st.integers(1, 8))
def test_a_damaged_document_is_refused_or_says_the_same(seed: int, flips: int) -> None:
    found = FrozenSet(SEVERAL)
    chance = random.Random(seed)
    data = bytearray(found.document())
    for _ in range(flips):
        data[chance.randrange(len(data))] = chance.randrange(256)
    try:
        again = read_document(bytes(data))
    except BadFrozen:
        return
    assert again.winners == found.winners
