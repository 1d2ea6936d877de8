"""What runs in the courier's process: one push or pull, told line by line.

It reads one line of JSON, an `Order`, and then until its parent ends, which ends it, too. It writes
lines of JSON: how far it is, and at the end what it did or why it could not (`courier`).
"""

from __future__ import annotations

import contextlib
import os
import resource
import sys
import threading
from typing import IO, Literal

import msgspec

from ..errors import StoreError, TuneonceError

MOST_MEMORY = 4 << 30
"""Bytes that it may write to: a server that sends without end ends this process and nothing else.
It needs a tenth of that. Arbitrary. Not of address space, of which each thread of a client reserves
much, and a machine of many cores has many."""


class Order(msgspec.Struct, frozen=True):
    """What is to be done, between a store and a remote, both by their addresses."""

    do: Literal["push", "pull"]
    store: str
    remote: str


class Word(msgspec.Struct, omit_defaults=True, frozen=True):
    """One line from the courier: how far it is, or one of what it did and what went wrong.

    `note` is what the replica has to say about itself. `error` is the name of an exception of
    `errors`, `message` its text and `url` the address of what it is about.
    """

    records: int = 0
    of: int | None = None
    did: dict[str, int | list[str]] | None = None
    note: str = ""
    error: str | None = None
    message: str = ""
    url: str = ""


def main() -> int:
    """Carry out one order."""
    out = sys.stdout.buffer
    # What a client prints must not come between.
    sys.stdout = sys.stderr
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (MOST_MEMORY, MOST_MEMORY))
    order = msgspec.json.decode(sys.stdin.buffer.readline(), type=Order)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        _say(out, _carried_out(order, out))
        return 0
    except TuneonceError as error:
        url = error.store if isinstance(error, StoreError) else ""
        _say(out, Word(error=type(error).__name__, message=str(error), url=url))
    except BaseException as error:
        # Also what is no Exception: the panic of a client that is written in Rust.
        text = f"the process that talks to the remote failed: {type(error).__name__}: {error}"
        _say(out, Word(error="StoreUnavailable", message=text[:1000]))
    return 1


def _carried_out(order: Order, out: IO[bytes]) -> Word:
    from ..store import open_store
    from . import open_replica
    from .exchange import Step, pull, push

    def tell(step: Step) -> None:
        _say(out, Word(records=step.records, of=step.of))

    with open_store(order.store) as store, open_replica(order.remote) as replica:
        do = push if order.do == "push" else pull
        did = do(store, replica, tell=tell)
        info = replica.describe()
    return Word(did=msgspec.to_builtins(did), note=info.note, url=info.url)


def _say(out: IO[bytes], word: Word) -> None:
    out.write(msgspec.json.encode(word) + b"\n")
    out.flush()


def _end_with_parent() -> None:
    # Not by sys.stdin: a thread that reads by it keeps the interpreter from its end.
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
    os._exit(1)
