"""A frozen set of winners: one document that says which candidate each key is launched with.

It holds what a launch needs to choose among its own candidates, and beside it what people read::

    {
      "schema": "tuneonce.frozen/1",
      "sha256": "<of the winners>",
      "winners": [
        {
          "kernel": "chunk_fwd_kernel_h",
          "world": "NVIDIA H200 \\u00b7 cuda:90 \\u00b7 triton-3.6.0",
          "tuning": "T=64 x=bf16",
          "key": "<digest of all parts of the key>",
          "work_class": "c03",
          "candidates": "<digest of the list, whatever its order>",
          "winner": "<digest of the winner>",
          "text": "BLOCK=64 num_warps=4"
        }, ...

Stores with equal winners give equal bytes: no times, nothing of the machine, one order. The SHA-256
is that of the canonical JSON (`model.codec`) of the schema and every value in that order, so it
does not change when a tool indents the file in another way. It proves that the document is whole
and says which one it is; whoever can write the file can make one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Annotated

import msgspec

from .codec import digest
from .records import WorkClass

FROZEN = "tuneonce.frozen/1"

_Key = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{24}\Z")]
_List = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{12}\Z")]
_Candidate = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{16}\Z")]


class BadFrozen(Exception):
    """A document is no frozen set of winners. The message says why."""


class Winner(msgspec.Struct, frozen=True, order=True, forbid_unknown_fields=True):
    """The winner of one key at one work class, over one list of candidates.

    `key`, `candidates` and `winner` are digests (`model.record_names`); `kernel`, `world`, `tuning`
    and `text` are for people, and choose nothing.
    """

    kernel: str
    world: str
    tuning: str
    key: _Key
    work_class: WorkClass
    candidates: _List
    winner: _Candidate
    text: str

    @property
    def place(self) -> tuple[str, str, str]:
        """What it is the winner of."""
        return self.key, self.work_class, self.candidates


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    schema: str
    sha256: str
    winners: list[Winner]


class _Head(msgspec.Struct, frozen=True):
    schema: str


_DOCUMENT, _HEAD = msgspec.json.Decoder(_Document), msgspec.json.Decoder(_Head)


class FrozenSet:
    """Winners that do not change; `sha256` says which they are. Raises ValueError for two of one
    place."""

    def __init__(self, winners: Iterable[Winner]) -> None:
        self.winners = sorted(winners)
        if len({one.place for one in self.winners}) < len(self.winners):
            raise ValueError("a key has two winners of one work class and list of candidates")
        values = [list(msgspec.structs.astuple(one)) for one in self.winners]
        self.sha256 = digest([FROZEN, values])
        self._found: dict[tuple[str, str], dict[str, str]] = {}
        for one in self.winners:
            by_class = self._found.setdefault((one.key, one.candidates), {})
            by_class[one.work_class] = one.winner

    @property
    def name(self) -> str:
        """The first digits of its digest, for people."""
        return self.sha256[:12]

    def winners_of(self, key: str, candidates: str) -> Mapping[str, str]:
        """The winners' digests by work class, for the digests of a key and of a list of
        candidates."""
        return self._found.get((key, candidates), {})

    def document(self) -> bytes:
        """The bytes of its document."""
        document = _Document(FROZEN, self.sha256, self.winners)
        return json.dumps(msgspec.to_builtins(document), indent=2).encode("ascii") + b"\n"


def read_document(data: bytes) -> FrozenSet:
    """The set in a document. Raises `BadFrozen`."""
    try:
        schema = _HEAD.decode(data).schema
        if schema != FROZEN:
            raise BadFrozen(f"its schema is {schema!r}, and {FROZEN!r} is known")
        document = _DOCUMENT.decode(data)
        found = FrozenSet(document.winners)
    except (ValueError, msgspec.MsgspecError, RecursionError) as error:  # bad UTF-8 is the first
        raise BadFrozen(f"it is no such document: {error}") from error
    if document.sha256 != found.sha256:
        raise BadFrozen("it was changed: its winners do not match its digest")
    return found
