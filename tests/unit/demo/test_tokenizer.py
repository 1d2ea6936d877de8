from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tuneonce.demo.presets import PRESETS
from tuneonce.demo.tokenizer import EOS, Detokenizer, decode, encode


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_text_survives(text: str) -> None:
    assert decode(encode(text)) == text


def test_a_lone_surrogate_is_replaced() -> None:
    assert decode(encode("a\ud800b")) == "a?b"


def test_every_token_has_a_text_of_its_own() -> None:
    for preset in PRESETS.values():
        words = [decode([token]) for token in range(EOS + 1, preset.vocab_size)]
        assert len(set(words)) == len(words)
        assert all(word.startswith(" ") and word[1:].isalpha() for word in words)
    assert decode([EOS]) == ""


def test_a_character_appears_with_its_last_byte() -> None:
    detokenizer = Detokenizer()
    assert [detokenizer.push(byte) for byte in "é!".encode()] == ["", "é", "!"]
    assert detokenizer.flush() == ""


def test_an_unfinished_character_is_not_lost() -> None:
    first = "é".encode()[0]
    assert decode([first]) == "\ufffd"
    assert decode([first, EOS + 1]) == "\ufffd" + decode([EOS + 1])
