"""What a program and its courier write to each other, a line each (`link`, `service`).

A program writes an `Order` first, and then what it wishes:

=============  =====================================================================================
``shelf``      pull this one first
``claim``      say whose turn it is to measure what this record will hold (`Turn`)
``kept``       this record is in the local store now: push it, and give up its claim
``give_up``    nobody here measures it, or waits for it, any more
``finish``     say when everything that was wished for before is done
=============  =====================================================================================
"""

from __future__ import annotations

import enum
from typing import Literal

import msgspec

Do = Literal["shelf", "claim", "kept", "give_up", "finish"]


class Turn(enum.Enum):
    """What a claim comes to."""

    OURS = "ours"
    """This process measures it. Others hear that, where the remote can be written to."""
    THEIRS = "theirs"
    """Another machine does; its verdict will be pulled."""
    KNOWN = "known"
    """There is a verdict, and it is in the local store now."""


class Wish(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line from the program: what to do, and with which record, shelf or number."""

    do: Do
    name: str = ""


class Said(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line to the program.

    ``begun``: the courier is there, `records` is its process; ``pulled``: a shelf, or all where
    `name` is empty, with how many records were new; ``turn``: of a record; ``pushed``: so many
    records are there now; ``finished``: a wish of this number; ``note``: something for people;
    ``rests``: the courier ends, and may be started again; ``failed``: nothing more will be done,
    and why.
    """

    what: Literal["begun", "pulled", "turn", "pushed", "finished", "note", "rests", "failed"]
    name: str = ""
    turn: Turn | None = None
    records: int = 0
    message: str = ""
