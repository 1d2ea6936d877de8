"""The versions of ``Autotuner.run`` that were read, and that the hook's own stands for.

A fork of Triton, or a version to come, may do more in `run` than these do: one that replaces it
unread would drop those steps. A function is recognised by its source without comments and layout,
which no version of Python changes, and where there is none by the names and texts that it uses.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import io
import textwrap
import token
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType
from typing import Any

_LAYOUT = {token.NEWLINE: ";", token.INDENT: ">", token.DEDENT: "<"}
_IGNORED = (token.NL, token.COMMENT, token.ENDMARKER)


@dataclass(frozen=True)
class Run:
    """A version that was read.

    `skips_single_candidate`: it does not benchmark when pruning leaves one candidate.
    """

    skips_single_candidate: bool


_OLDER, _NEWER = Run(skips_single_candidate=False), Run(skips_single_candidate=True)

_BY_SOURCE = {
    "df1cf166171c8a77": _OLDER,  # 3.4 to 3.7
    "a0c100f1d4917a4d": _NEWER,  # 3.8 and 3.9
}
_BY_NAMES = {"5b63ab57321bff39": _OLDER, "babaec60e7987118": _NEWER}


@functools.lru_cache(maxsize=4)
def recognise(run: Any) -> Run | None:
    """Which version a function is; None if it is none that was read."""
    try:
        source = inspect.getsource(run)
    except (OSError, TypeError):
        code = getattr(run, "__code__", None)
        return _BY_NAMES.get(names_digest(code)) if isinstance(code, CodeType) else None
    return _BY_SOURCE.get(source_digest(source))


def source_digest(source: str) -> str:
    """A digest of a function's text without its comments and layout."""
    try:
        return _digest("".join(_words(textwrap.dedent(source))))
    except (tokenize.TokenError, SyntaxError):
        return ""


def _words(source: str) -> Iterator[str]:
    # Without any spaces, because newer versions of Python take the texts of f-strings apart.
    for word in tokenize.generate_tokens(io.StringIO(source).readline):
        if word.type not in _IGNORED:
            yield _LAYOUT.get(word.type) or "".join(word.string.split())


def names_digest(code: CodeType) -> str:
    """A digest of the names and texts that compiled code uses, those of its inner functions too."""
    return _digest("\n".join(sorted(set(_used(code)))))


def _used(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _used(constant)
        elif isinstance(constant, str) and "<locals>" not in constant:  # names of inner functions
            yield constant


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
