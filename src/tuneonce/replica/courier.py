"""A push, pull or look in a process of its own, which is ended if it does not come to an end.

Clients of servers have time limits for this and that and none for the whole: a name that nobody
resolves, an answer of one byte a second, a mount that does not answer. A process can be killed. It
is spawned, not forked, and tells how far it is; where it says nothing for too long, or is not done
in time, it is killed, and what it did stays.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Literal

import msgspec

from .. import errors
from ..addresses import without_password
from ..errors import SettingsError, StoreError, StoreUnavailable
from .courier_process import Order, Word
from .exchange import Pulled, Pushed, Step, Tell
from .look import Looked

SILENT_S = 60.0
"""A courier that says nothing for so long is killed. Arbitrary: a page takes at most as long as a
request (`in_objects.REQUEST_S`), and its records are stored in seconds."""

WHOLE_S = 1800.0
"""And one that is not done by then. Arbitrary."""

_MOST_LINE = 1 << 20

_DID: dict[str, type[Pushed | Pulled | Looked]] = {"push": Pushed, "pull": Pulled, "look": Looked}

START = (
    "import sys; sys.path[:] = sys.argv[1:]; "
    "from tuneonce.replica.courier_process import main; sys.exit(main())"
)
"""What Python is started with. The paths, its arguments, are those of this process: neither more
nor fewer packages are found."""


class Delivery(msgspec.Struct, frozen=True):
    """What a courier did, and what the replica says about itself: its address, and a note or ""."""

    did: Pushed | Pulled | Looked
    url: str
    note: str


def send(
    do: Literal["push", "pull", "look"],
    store: str,
    remote: str,
    *,
    tell: Tell,
    environ: Mapping[str, str] | None = None,
    silent_s: float = SILENT_S,
    whole_s: float = WHOLE_S,
) -> Delivery:
    """Push or pull between a store and a remote, or look at both, by their addresses.

    Raises SettingsError for addresses that mean nothing, StoreError for what went wrong.
    """
    by = time.monotonic() + whole_s
    with _process(os.environ if environ is None else environ) as (process, said):
        order = msgspec.json.encode(Order(do, store, remote))
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended, and said why
            process.stdin.write(order + b"\n")
            process.stdin.flush()
        for word in _words(
            process.stdout, silent_s, by, without_password(remote.partition("?")[0])
        ):
            if word.error is not None:
                raise _error(word)
            if word.did is not None:
                did: Pushed | Pulled | Looked = msgspec.convert(word.did, _DID[do])
                return Delivery(did, word.url, word.note)
            tell(Step(word.records, word.of))
        said.seek(0)
        last = said.read()[-2000:].decode("utf-8", "replace").strip().rpartition("\n")[2]
    raise StoreUnavailable(f"the process that talks to the remote ended before it was done: {last}")


@contextlib.contextmanager
def _process(
    environ: Mapping[str, str],
) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    """A courier, which is not alive any more behind the block, and what it printed as errors."""
    paths = [str(Path(path).absolute()) for path in sys.path]
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [sys.executable, "-c", START, *paths],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            env={**environ, "TUNEONCE": "0"},
        )
        try:
            yield process, said
        finally:
            process.kill()
            for stream in (process.stdin, process.stdout):
                with contextlib.suppress(OSError):
                    assert stream is not None
                    stream.close()
            # One that waits for a dead mount ends when that answers.
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=1.0)


def _words(out: IO[bytes], silent_s: float, by: float, url: str) -> Iterator[Word]:
    """What a courier says, until it has nothing to say any more. Raises StoreUnavailable."""
    bytes_to_read = select.poll()
    bytes_to_read.register(out.fileno(), select.POLLIN)
    heard = b""
    while True:
        until = min(time.monotonic() + silent_s, by)
        while b"\n" not in heard:
            seconds = until - time.monotonic()
            if seconds <= 0 or not bytes_to_read.poll(seconds * 1000):
                what = "was not done in time" if until == by else f"was silent for {silent_s:g} s"
                raise StoreUnavailable(
                    f"the process that talks to {url} {what} and was ended. What it did so far "
                    "stays; look at that server and the network, and do it again",
                    store=url,
                )
            more = os.read(out.fileno(), 65536)
            if not more or len(heard) > _MOST_LINE:
                return
            heard += more
        line, _, heard = heard.partition(b"\n")
        yield msgspec.json.decode(line, type=Word)


def _error(word: Word) -> errors.TuneonceError:
    kind = getattr(errors, word.error or "", StoreUnavailable)
    if kind is SettingsError:
        return SettingsError(word.message)
    if not issubclass(kind, StoreError) or kind is errors.RecordUnreadable:
        kind = StoreUnavailable
    error: StoreError = kind(word.message, store=word.url)
    return error
