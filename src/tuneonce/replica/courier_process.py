"""What runs in the courier's process: one push, pull or look, or what a program wishes by lines.

It reads one line of JSON, an `Order`. For the first three it goes on reading until its parent ends,
which ends it, too, and writes lines of JSON: how far it is, and at the end what it did or why it
could not (`courier`). A program's courier reads wishes (`service`), and has some seconds more when
the program has ended, to push what it has kept.
"""

from __future__ import annotations

import contextlib
import os
import queue
import resource
import secrets
import select
import sys
import threading
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

import msgspec

from ..errors import StoreError, TuneonceError

if TYPE_CHECKING:
    from .service import Wishes

MOST_MEMORY = 4 << 30
"""Bytes that it may write to: a server that sends without end ends this process and nothing else.
It needs a tenth of that. Arbitrary. Not of address space, of which each thread of a client reserves
much, and a machine of many cores has many."""


LAST_S = 20.0
"""So long a courier goes on after its program has ended. Arbitrary."""

MOST_MESSAGE = 1000
"""So many characters of what went wrong are told. Arbitrary."""

# So often, in seconds, it looks whether its program is alive: a child of that may hold the pipe.
_LOOKS_S = 5.0


class Order(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is to be done, between a store and a remote, both by their addresses.

    To ``attend`` is to do what a program wishes. If that begins with a pull, `claim` and `fd` are
    the file of the claim to it and an open descriptor of that, if there is one. `pid` is the
    program's process.
    """

    do: Literal["push", "pull", "look", "attend"]
    store: str
    remote: str
    pulls: bool = True
    claim: str = ""
    fd: int = -1
    pid: int = 0


class Word(msgspec.Struct, omit_defaults=True, frozen=True):
    """One line from the courier: how far it is, or one of what it did and what went wrong.

    `note` is what the replica has to say about itself. `error` is the name of an exception of
    `errors`, `message` its text and `url` the address of what it is about.
    """

    records: int = 0
    of: int | None = None
    did: dict[str, Any] | None = None
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
    # A byte at a time: what is behind it is for who reads wishes.
    order = msgspec.json.decode(_read_line(), type=Order)
    if order.do == "attend":
        return _attend(order, out)
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
    from .exchange import Pulled, Pushed, Step, pull, push
    from .look import Looked, look

    def tell(step: Step) -> None:
        _say(out, Word(records=step.records, of=step.of))

    with open_store(order.store) as store, open_replica(order.remote) as replica:
        did: Pushed | Pulled | Looked
        if order.do == "push":
            did = push(store, replica, tell=tell)
        elif order.do == "pull":
            did = pull(store, replica, tell=tell)
        else:
            did = look(store, replica, tell=tell)
        info = replica.describe()
    return Word(did=msgspec.to_builtins(did), note=info.note, url=info.url)


def _attend(order: Order, out: IO[bytes]) -> int:
    from ..store import open_store
    from ..system.claims import Claim
    from . import open_replica
    from .service import Listener, Service
    from .wishes import Said

    def say(said: Said) -> None:
        # What a server has said may be anything, and is for people's terminals.
        text = "".join(c if c.isprintable() else "?" for c in said.message[:MOST_MESSAGE])
        with contextlib.suppress(OSError, ValueError):  # the program has ended
            _say(out, msgspec.structs.replace(said, message=text))

    # Where memory is short the system is to end this process, and not the program.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    wishes: Wishes = queue.SimpleQueue()
    threading.Thread(target=_read_wishes, args=(wishes, order.pid), daemon=True).start()
    claim = Claim(Path(order.claim), order.fd) if order.claim else None
    say(Said("begun", records=os.getpid()))
    try:
        with open_store(order.store) as store, open_replica(order.remote) as replica:
            listener = Listener(lambda: open_replica(order.remote), wishes.put)
            owner = secrets.token_hex(8)
            service = Service(store, replica, wishes, say, owner=owner, listen=listener)
            if order.pulls:
                try:
                    service.pull()
                finally:
                    if claim is not None:
                        claim.give_up()
            service.run(pushes=order.pulls)
        return 0
    except TuneonceError as error:
        say(Said("failed", message=str(error)))
    except BaseException as error:
        say(Said("failed", message=f"{type(error).__name__}: {error}"))
    return 1


def _read_line() -> bytes:
    line = b""
    while not line.endswith(b"\n") and (more := os.read(0, 1)):
        line += more
    return line


def _read_wishes(wishes: Wishes, program: int) -> None:
    """Pass on what the program wishes; some time after its end, end this process."""
    from .wishes import Wish

    heard = b""
    something = select.poll()
    something.register(0, select.POLLIN)
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        while True:
            if not something.poll(_LOOKS_S * 1000):
                if _is_alive(program):
                    continue
                break  # a child of it holds the other end
            more = os.read(0, 1 << 16)
            if not more:
                break
            *lines, heard = (heard + more).split(b"\n")
            for line in lines:
                wishes.put(msgspec.json.decode(line, type=Wish))
    wishes.put(None)
    time.sleep(LAST_S)
    os._exit(1)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True


def _say(out: IO[bytes], word: msgspec.Struct) -> None:
    out.write(msgspec.json.encode(word) + b"\n")
    out.flush()


def _end_with_parent() -> None:
    # Not by sys.stdin: a thread that reads by it keeps the interpreter from its end.
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
    os._exit(1)
