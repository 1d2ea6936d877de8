"""Text in: one token per byte. Tokens out: bytes, and made-up words for the rest of the vocabulary.

Token 0–255 is that byte of UTF-8, token 256 ends a text, every other token is a word of its own.
"""

from __future__ import annotations

import codecs

EOS = 256

_CONSONANTS = "bcdfghjklmnprstvwxyz"
_VOWELS = "aeiou"
_SYLLABLES = [consonant + vowel for consonant in _CONSONANTS for vowel in _VOWELS]


def encode(text: str) -> list[int]:
    """The tokens of `text`: its UTF-8 bytes. A lone surrogate becomes a question mark."""
    return list(text.encode("utf-8", errors="replace"))


class Detokenizer:
    """Turns the tokens of one answer into text as they come.

    A character of several bytes appears with its last byte; bytes that are no UTF-8 become U+FFFD.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token: int) -> str:
        """The text that `token` adds."""
        if token < EOS:
            return self._decoder.decode(bytes((token,)))
        return self.flush() + ("" if token == EOS else _word(token - EOS - 1))

    def flush(self) -> str:
        """What is left of an unfinished character. Call it after the last token."""
        return self._decoder.decode(b"", final=True)


def decode(tokens: list[int]) -> str:
    """The text of `tokens`."""
    detokenizer = Detokenizer()
    return "".join(map(detokenizer.push, tokens)) + detokenizer.flush()


def _word(index: int) -> str:
    """A space and at least two syllables, different for every index ≥ 0."""
    syllables: list[str] = []
    while index or len(syllables) < 2:
        index, syllable = divmod(index, len(_SYLLABLES))
        syllables.append(_SYLLABLES[syllable])
    return " " + "".join(reversed(syllables))
