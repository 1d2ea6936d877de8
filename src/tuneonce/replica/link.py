"""A program's side of its remote: a courier of its own, which is told and asked by lines.

No call here talks to a server, and none waits for one longer than its caller allows. The courier is
another process (`courier_process`, `service`); what it has not said yet is not known, and a courier
that fails, or has ended, is done without. What is waited for comes out of one `Patience`, so a
remote that never answers makes a start later by that and no more.

Of the processes of a machine that start together one pulls: it has a claim, which its courier
takes over. Each has a courier as soon as it has something to say.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

import msgspec

from ..model.codec import digest
from ..system.claims import Claims
from ..system.forks import renew_in_child
from ..system.greenlets import patched_by
from ..system.headroom import SPARED, room_for_processes
from ..system.interpreter import NoInterpreter, own_interpreter
from ..system.patience import Patience
from .courier import START
from .courier_process import Order
from .shared import shelf_of
from .wishes import Do, Said, Turn, Wish

PULL_S = 3.0
"""Nobody waits for what is pulled any more once so many seconds have passed since it began:
a program that has loaded a model by then never waited. Arbitrary."""

PATIENCE_S = 1.0
"""So long one process waits for its remote in all, at most."""

ANSWER_S = 0.5
"""So long one answer is waited for. Arbitrary: a claim takes one round trip to a Redis server and
two or three to an object store, which takes some 50 ms for each."""

PUSHED_WITHIN_S = 2.0
"""So long the end of a process waits until what it kept is pushed: where it ends a container, that
ends with it. Arbitrary."""

# Two looks at what another process pulls, or at what another thread has heard, in seconds.
_LOOK_S = 0.02
# Seconds from a courier's last word to its end, before it is ended. Arbitrary.
_LAST_WORD_S = 0.2
_MOST_LINE = 1 << 20

Tell = Callable[[Said], None]
"""Hears what the courier says that is for people: of records that came and went, and of trouble."""


class Link:
    """One program's courier between its store and its remote, both by their addresses.

    Thread-safe. A forked child has a courier of its own, if it needs one.
    """

    def __init__(
        self,
        store: str,
        remote: str,
        *,
        claims: Claims | None = None,
        tell: Tell = lambda word: None,
        environ: Mapping[str, str] | None = None,
        patience: Patience | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._store, self._remote, self._claims, self._tell = store, remote, claims, tell
        self._environ = dict(os.environ if environ is None else environ)
        self._patience = Patience(PATIENCE_S) if patience is None else patience
        self._clock, self._sleep = clock, sleep
        # Named by a digest: an address may hold a password.
        self._pull_claim = "pull-" + digest([store, remote], length=40)
        self._process: subprocess.Popen[bytes] | None = None
        self.renew()
        renew_in_child(self)

    def renew(self) -> None:
        """Also in a forked child: the courier is the parent's."""
        process, self._process = self._process, None
        if process is not None:
            process.returncode = 0  # it is no child of ours, and nobody waits for it
            for stream in (process.stdin, process.stdout):
                with contextlib.suppress(OSError):
                    assert stream is not None
                    stream.close()
        self._lock = threading.RLock()
        self._heard = b""
        self._began: float | None = None
        self._pulls, self._is_pulled, self._gone = False, False, False
        self._pulled: set[str] = set()
        self._told: set[str] = set()
        self._turns: dict[str, Turn] = {}
        self._is_silent = False
        self._kept = 0  # since it was last said that all was pushed
        self._finished, self._finishes = 0, 0

    # -- what the program does -------------------------------------------------------------------

    def begin(self) -> None:
        """Have it pulled what is shared, unless another process of this machine has just begun."""
        with self._lock:
            if self._began is not None:
                return
            self._began = self._clock()
            if self._is_off():
                return
            claim = None
            if self._claims is not None:
                try:
                    claim = self._claims.take(self._pull_claim)
                except OSError:  # nowhere to claim: both pull
                    pass
                else:
                    if claim is None:
                        return
            self._pulls = True
            path, fd = ("", -1) if claim is None else claim.file
            self._start(pulls=True, claim=path, fd=fd)
            if claim is not None and self._process is None:
                claim.give_up()
            elif claim is not None:
                claim.leave()

    def await_pulled(self, name: str) -> bool:
        """Wait, for a moment at most, until the shelf of this record is pulled.

        True: it is, and what was not there when it was last looked at may be. Said once of a shelf.
        """
        shelf = shelf_of(name) or ""
        if shelf in self._told or self._gone:
            return False
        self.begin()
        with self._lock:  # it is wanted soon, whoever pulls
            if not self._has_pulled(shelf) and self._is_there():
                self._wish("shelf", shelf)

        def has_come() -> bool:
            return self._has_pulled(shelf) or self._nobody_pulls()

        assert self._began is not None
        most = max(0.0, self._began + PULL_S - self._clock())
        self._wait(lambda: self._gone or has_come(), most)
        if not has_come():
            return False
        self._told.add(shelf)
        return True

    def claim(self, name: str) -> Turn:
        """Whose turn it is to measure what this record will hold; ours, if nobody says so.

        Waits `ANSWER_S` for the answer, and not at all where the courier is not done with pulling,
        or has said nothing since it was last asked.
        """
        self.begin()
        self._hear(0.0)
        with self._lock:
            is_busy = self._pulls and not self._is_pulled
            if is_busy or self._is_silent or not self._is_there() or not self._wish("claim", name):
                return Turn.OURS
            self._turns.pop(name, None)
        self._wait(lambda: name in self._turns or self._gone, ANSWER_S)
        self._is_silent = name not in self._turns and not self._gone
        return self._turns.pop(name, Turn.OURS)

    def give_up(self, name: str) -> None:
        """Nobody here measures what this record would hold, or waits for it."""
        if self._process is not None:
            self._wish("give_up", name)

    def kept(self, name: str) -> None:
        """A record is in the store now, which others may want."""
        if shelf_of(name) is None:
            return
        self._hear(0.0)
        with self._lock:
            if self._is_there() and self._wish("kept", name):
                self._kept += 1

    def finish(self, seconds: float = PUSHED_WITHIN_S) -> None:
        """Wait, so long at most, until what was kept is pushed.

        Not at all for a remote that has not answered so far.
        """
        self._hear(0.0)
        is_busy = self._pulls and not self._is_pulled
        if self._process is None or self._gone or not self._kept or is_busy or self._is_silent:
            return
        with self._lock:
            self._finishes += 1
            number, kept = self._finishes, self._kept
            asked = self._wish("finish", str(number))
        until = self._clock() + seconds
        while asked and not self._gone and self._finished < number:
            left = until - self._clock()
            if left <= 0:
                return
            self._hear(left)
        self._kept -= kept

    def close(self) -> None:
        """The program needs no remote any more. The courier ends once it has done what it was told.

        Waits for nothing.
        """
        with self._lock:
            process, self._process = self._process, None
            self._gone = True
            if process is not None:
                process.returncode = 0 if process.poll() is None else process.returncode
                self._close(process)

    # -- the courier -----------------------------------------------------------------------------

    def _is_off(self) -> bool:
        room = room_for_processes()
        self._gone = self._gone or patched_by() is not None or (room is not None and room < SPARED)
        return self._gone

    def _is_there(self) -> bool:
        """Start a courier where there is none; whether there is one."""
        if self._process is None and not self._is_off():
            self._start(pulls=False)
        return self._process is not None and not self._gone

    def _start(self, *, pulls: bool, claim: str = "", fd: int = -1) -> None:
        """`claim` and `fd` are those of an `Order`."""
        paths = [str(Path(path).absolute()) for path in sys.path]
        try:
            process = subprocess.Popen(
                [own_interpreter(), "-c", START, *paths],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**self._environ, "TUNEONCE": "0"},
                pass_fds=() if fd < 0 else (fd,),
                # It outlives a Ctrl-C on the terminal, to push what is there.
                start_new_session=True,
            )
        except (OSError, ValueError, NoInterpreter) as error:
            self._fail(f"no process can be started for the remote: {error}")
            return
        assert process.stdin is not None
        assert process.stdout is not None
        os.set_blocking(process.stdin.fileno(), False)
        os.set_blocking(process.stdout.fileno(), False)
        self._process = process
        self._write(Order("attend", self._store, self._remote, pulls, claim, fd))

    def _wish(self, do: Do, name: str) -> bool:
        return self._write(Wish(do, name))

    def _write(self, line: Order | Wish) -> bool:
        """Whether it was written: where the courier does not read, it is done without."""
        data = msgspec.json.encode(line) + b"\n"
        with self._lock:
            process = self._process
            if process is None or self._gone:
                return False
            assert process.stdin is not None
            try:
                # At once or not at all: a line is shorter than what a pipe takes in one piece.
                return os.write(process.stdin.fileno(), data) == len(data)
            except BlockingIOError:
                return False
            except OSError:
                self._hear(0.0)
                return False

    def _has_pulled(self, shelf: str) -> bool:
        return self._is_pulled or shelf in self._pulled

    def _nobody_pulls(self) -> bool:
        """Whether another process pulled, and is done."""
        if self._pulls or self._claims is None:
            return False
        return self._claims.progress(self._pull_claim) is None

    def _wait(self, is_over: Callable[[], bool], most: float | None = None) -> None:
        """Until it is over, or patience is."""
        self._hear(0.0)
        with self._patience.waiting(most) as seconds:
            until = self._clock() + seconds
            while not is_over() and (left := until - self._clock()) > 0:
                if self._process is None:
                    self._sleep(min(left, _LOOK_S))
                else:
                    self._hear(min(left, _LOOK_S))

    def _hear(self, seconds: float) -> None:
        """What the courier has said, or says within that time."""
        process = self._process
        if process is None or process.stdout is None:
            return
        try:
            something = select.poll()
            something.register(process.stdout.fileno(), select.POLLIN)
            if not something.poll(seconds * 1000):
                return
        except ValueError:  # closed by another thread
            return
        with self._lock:
            if process is not self._process:
                return
            self._read(process, process.stdout)

    def _read(self, process: subprocess.Popen[bytes], out: IO[bytes]) -> None:
        try:
            while process is self._process and (more := os.read(out.fileno(), 1 << 16)):
                self._heard += more
                *lines, self._heard = self._heard.split(b"\n")
                for line in lines:
                    self._take(msgspec.json.decode(line, type=Said))
                if len(self._heard) > _MOST_LINE:
                    break
        except BlockingIOError:  # no more for now
            return
        except (OSError, msgspec.MsgspecError) as error:
            self._fail(f"what talks to the remote cannot be understood: {error}")
            return
        if process is self._process:
            self._fail("the process that talks to the remote has ended")

    def _take(self, word: Said) -> None:
        self._is_silent = False
        if word.what == "pulled":
            self._pulled.add(word.name)
            self._is_pulled = self._is_pulled or not word.name
        elif word.what == "turn" and word.turn is not None:
            self._turns[word.name] = word.turn
        elif word.what == "finished":
            self._finished = int(word.name)
        elif word.what == "failed":
            self._fail(word.message)
            return
        elif word.what == "rests":
            self._part()
        self._tell(word)

    def _fail(self, why: str) -> None:
        """Go on without."""
        if self._gone:
            return
        self._gone = True
        self._part()
        self._tell(Said("failed", message=why))

    def _part(self) -> None:
        """The courier has said that it ends, or has ended, or is to end."""
        process, self._process = self._process, None
        if process is None:
            return
        for _ in range(2):
            try:
                process.wait(timeout=_LAST_WORD_S)
                break
            except subprocess.TimeoutExpired:
                process.kill()
        self._close(process)

    @staticmethod
    def _close(process: subprocess.Popen[bytes]) -> None:
        for stream in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                assert stream is not None
                stream.close()
