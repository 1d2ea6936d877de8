"""The parent's side of the compile helper: starts it, hands out jobs, tells what became of them.

The helper is started for the first cold key and not before, with a new process image (no fork of
a process that holds a device), and lives for as long as there is something to compile, plus a
while. It ends with its parent, however that ends.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import pickle
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import compat

_HELPER = Path(__file__).with_name("compile_helper.py")
# Arbitrary: importing Triton takes one second on a slow disk and much longer on a stuck one.
_START_S = 30.0
# Arbitrary: it takes milliseconds.
_STOP_S = 5.0
# Arbitrary: below the process that measures, above what runs at night.
_NICE = 10
# Arbitrary: long enough for a server that tunes one kernel after another while it starts.
IDLE_S = 60.0
# A compiler does not send these to itself: somebody else has ended it, or the kernel for memory.
_FROM_OUTSIDE = frozenset({-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP})


@dataclass(frozen=True)
class Compiled:
    """A binary that is now in Triton's cache. `seconds` is what compiling it took there."""

    hash: str
    seconds: float


class NotCompiled(Exception):
    """A job has no binary. `kind` names the compiler's exception class, if there was one."""

    def __init__(self, kind: str, text: str) -> None:
        self.kind = kind
        super().__init__(text)


class Crashed(NotCompiled):
    """The compiler took its process down; here it would have taken the program down."""


class HelperLost(Exception):
    """The helper is gone or never came; nothing is known about the job."""


@dataclass
class _Helper:
    """One helper process, this process's ends of what connects them, and what it owes."""

    process: subprocess.Popen[bytes]
    input: socket.socket
    output: int
    began: float
    pending: dict[int, Future[Compiled]] = field(default_factory=dict)
    on_alike: dict[int, Callable[[bool], None]] = field(default_factory=dict)
    ready: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)
    reason: str = ""

    def send(self, *message: Any) -> None:
        """Raises OSError if the helper is gone."""
        data = pickle.dumps(message)
        data = struct.pack("<Q", len(data)) + data
        try:
            # Some programs let SIGPIPE kill them.
            self.input.sendall(data, socket.MSG_NOSIGNAL)
        except BaseException:  # an interrupt, too: what follows half a frame is not understood
            self.kill()
            raise

    def messages(self) -> Iterator[tuple[Any, ...]]:
        """What the helper says, until it ends."""
        buffer = b""
        while data := os.read(self.output, 1 << 16):
            buffer += data
            while len(buffer) >= 8 and len(buffer) >= 8 + (size := _size(buffer)):
                message, buffer = buffer[8 : 8 + size], buffer[8 + size :]
                yield pickle.loads(message)

    def terminate(self) -> None:
        self._signal(os.kill, signal.SIGTERM)

    def kill(self) -> None:
        """End it, with all that it has started."""
        self._signal(os.killpg, signal.SIGKILL)

    def _signal(self, send: Callable[[int, int], None], number: int) -> None:
        # Its number is nobody else's before it was waited for, which `watch` alone does.
        if not self.ended.is_set():
            with contextlib.suppress(OSError):
                send(self.process.pid, number)

    def watch(self) -> None:
        """End it if it does not come up; when it has ended, end what it left, then forget it."""
        if not self.ready.wait(_START_S):
            self.reason = f"it was not ready after {_START_S:.0f} s"
            self.kill()
        with contextlib.suppress(OSError):  # the program may reap all children by itself
            os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOWAIT)
            self.kill()
        self.ended.set()
        self.process.wait()


_pools: weakref.WeakSet[CompilePool] = weakref.WeakSet()


class CompilePool:
    """Compiles jobs in other processes, `workers` at a time. Thread-safe; starts lazily.

    `slots()` is a directory in which the processes of this node share their cores. After `idle_s`
    seconds without a job the helper is ended; the next job starts another. One that ended
    otherwise, or did not start, is not replaced.
    """

    def __init__(
        self,
        *,
        workers: int,
        slots: Callable[[], Path | None] = lambda: None,
        idle_s: float = IDLE_S,
    ) -> None:
        self.workers = workers
        self._slots = slots
        self._idle_s = idle_s
        self._lock = threading.Lock()
        self._helper: _Helper | None = None
        self._lost: str | None = None
        self._last = 0
        self.start_s: float | None = None
        """Seconds from the start of the helper to its first answer; None before that."""
        _pools.add(self)

    def submit(
        self,
        job: dict[str, Any],
        *,
        urgent: bool = True,
        on_alike: Callable[[bool], None] = lambda alike: None,
    ) -> Future[Compiled]:
        """Compile `job` (see `ship`), before all that is not urgent.

        `on_alike` hears, from another thread, whether the code that the helper generates is the one
        that was sent along, for a job that has both. Raises HelperLost if there is no helper any
        more, or none can be started.
        """
        # Unpacked by the child that compiles: an option may be of a class that the helper lacks.
        job = {**job, "options": pickle.dumps(job["options"])}
        future: Future[Compiled] = Future()
        with self._lock:
            helper = self._started()
            self._last += 1
            helper.pending[self._last] = future
            if job["module"] is not None and job["source"] is not None:
                helper.on_alike[self._last] = on_alike
            try:
                helper.send("compile", self._last, job, urgent)
            except OSError as error:
                helper.pending.pop(self._last, None)
                self._lose(helper, str(error))
                raise HelperLost(self._lost) from error
            except BaseException:
                helper.pending.pop(self._last, None)
                raise
        return future

    def hurry(self, future: Future[Compiled]) -> None:
        """What was submitted without urgency is waited for now."""
        with self._lock:
            self._tell("hurry", [future])

    def drop(self, futures: Iterable[Future[Compiled]]) -> None:
        """Forget jobs that have not begun; the others end by themselves."""
        with self._lock:
            # Also of those that are running: nobody waits for their answers any more.
            for future in self._tell("drop", [f for f in futures if not f.done()]):
                future.cancel()

    def close(self) -> None:
        """End the helper and everything that it has started."""
        with self._lock:
            helper = self._helper
            if helper is None:
                return
            self._let_go(helper)
        helper.terminate()
        if not helper.ended.wait(_STOP_S):
            helper.kill()

    # -- with the lock held ------------------------------------------------------------------

    def _tell(self, what: str, futures: list[Future[Compiled]]) -> list[Future[Compiled]]:
        """Say something about jobs; returns those that the helper still owed."""
        helper = self._helper
        if helper is None:
            return []
        wanted = set(map(id, futures))
        numbers = [n for n, future in list(helper.pending.items()) if id(future) in wanted]
        if numbers:
            with contextlib.suppress(OSError):
                helper.send(what, numbers)
        if what != "drop":
            return []
        owed = [helper.pending.pop(number, None) for number in numbers]
        return [future for future in owed if future is not None]

    def _let_go(self, helper: _Helper) -> None:
        """Have nothing more to do with this helper, which therefore ends."""
        if self._helper is helper:
            self._helper = None
        helper.input.close()

    def _lose(self, helper: _Helper, reason: str) -> None:
        """The same, against our will: there will be no other."""
        helper.ready.wait(1.0)  # it may have said why it did not come up
        if self._helper is helper:
            self._lost = helper.reason or reason
        self._let_go(helper)

    def _started(self) -> _Helper:
        if self._lost is not None:
            raise HelperLost(self._lost)
        if self._helper is not None:
            return self._helper
        try:
            helper = _start()
        except HelperLost as error:
            self._lost = str(error)
            raise
        self._helper = helper
        threads = ((self._read, (helper,), "read"), (helper.watch, (), "watch"))
        try:
            for target, args, name in threads:
                name = f"tuneonce-compile-{name}"
                threading.Thread(target=target, args=args, name=name, daemon=True).start()
            slots = self._slots()
            setup = {
                "path": [str(path) for path in sys.path],
                "parent": os.getpid(),
                "workers": self.workers,
                "nice": _NICE,
                "slots": None if slots is None else str(slots),
                "triton_key": compat.triton_key(),
                "idle_s": self._idle_s,
            }
            helper.send("setup", setup)
        except (OSError, RuntimeError, LookupError) as error:  # no thread, no key, no helper
            helper.kill()
            self._lose(helper, str(error))
            raise HelperLost(self._lost) from error
        return helper

    # -- in a thread of their own ------------------------------------------------------------

    def _read(self, helper: _Helper) -> None:
        """Settles futures until the helper ends."""
        with contextlib.suppress(OSError, pickle.UnpicklingError):
            for what, *rest in helper.messages():
                if what == "ready":
                    self.start_s = time.perf_counter() - helper.began
                    helper.ready.set()
                elif what == "unable":
                    helper.reason = rest[0]
                elif what == "alike":
                    helper.on_alike.pop(rest[0], lambda alike: None)(rest[1])
                elif what == "idle":
                    with self._lock:
                        # Otherwise a job is on its way.
                        if not helper.pending:
                            self._let_go(helper)
                else:
                    if what == "crashed" and helper.on_alike.pop(rest[0], None):
                        # It came no further than to find out whether it can generate the code.
                        what, rest = "failed", [rest[0], "", "the compiler was not reached"]
                    _settle(helper.pending.pop(rest[0], None), what, rest[1:])
        helper.ready.set()
        os.close(helper.output)
        if helper.ended.wait(_STOP_S):
            helper.process.wait()
        reason = helper.reason or f"it ended with status {helper.process.returncode}"
        with self._lock:
            self._lose(helper, reason)
            left = list(helper.pending.values())
            helper.pending.clear()
        for future in left:
            if future.set_running_or_notify_cancel():
                future.set_exception(HelperLost(reason))

    def _after_fork(self) -> None:
        # Its ends are our parent's; while we hold them, the helper cannot see that they are closed.
        helper, self._helper, self._lost = self._helper, None, None
        self._lock = threading.Lock()
        if helper is not None:
            helper.input.close()
            with contextlib.suppress(OSError):
                os.close(helper.output)
            helper.process.returncode = 0  # it is not our child to wait for
            helper.ended = threading.Event()
            helper.ended.set()


def _start() -> _Helper:
    """A new helper process, connected. Raises HelperLost."""
    if not sys.executable:
        raise HelperLost("this interpreter does not know its own path")
    began = time.perf_counter()
    with contextlib.ExitStack() as theirs, contextlib.ExitStack() as ours:
        try:
            here, there = socket.socketpair()
            theirs.callback(there.close)
            here = socket.socket(fileno=_above_streams(here.detach()))
            ours.callback(here.close)
            output, sink = os.pipe()
            theirs.callback(os.close, sink)
            output = _above_streams(output)
            ours.callback(os.close, output)
            process = subprocess.Popen(
                # Isolated and without site: nothing but triton is wanted there, and quickly.
                [sys.executable, "-I", "-S", str(_HELPER)],
                stdin=there.fileno(),
                stdout=sink,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise HelperLost(str(error)) from error
        ours.pop_all()
    return _Helper(process, here, output, began)


def _above_streams(fd: int) -> int:
    """Not 0, 1 or 2, where a program that has closed its streams may write to."""
    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    finally:
        os.close(fd)


def _size(buffer: bytes) -> int:
    size: int = struct.unpack("<Q", buffer[:8])[0]
    return size


def _settle(future: Future[Compiled] | None, what: str, answer: list[Any]) -> None:
    if future is None or not future.set_running_or_notify_cancel():
        return
    if what == "done":
        future.set_result(Compiled(**answer[0]))
    elif what == "failed":
        future.set_exception(NotCompiled(answer[0], answer[1]))
    elif answer[0] in _FROM_OUTSIDE:
        future.set_exception(NotCompiled("", f"the compiler was ended with status {answer[0]}"))
    else:
        future.set_exception(Crashed("", f"the compiler ended with status {answer[0]}"))


def _after_fork() -> None:
    for pool in list(_pools):
        pool._after_fork()


@atexit.register
def _at_exit() -> None:
    for pool in list(_pools):
        pool.close()


os.register_at_fork(after_in_child=_after_fork)
