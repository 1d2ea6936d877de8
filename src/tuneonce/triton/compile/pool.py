"""The parent's side of the compile helper: starts it, hands out jobs, tells what became of them.

The helper is started for the first cold key and not before, and lives for as long as there is
something to compile, plus a while.

**Locks.** `triton.compile.workers` may take the pool's lock while it holds its own, never the
other way round; and no future is settled or cancelled while either is held, since that calls back.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...system.forks import renew_in_child
from ...system.headroom import SPARED, room_for_memory, room_for_processes
from ..seams import compilers
from .helper_process import Helper, HelperLost, start
from .worker.frames import BadFrame

# Arbitrary: it takes milliseconds.
_STOP_S = 5.0
# Arbitrary: below the process that measures, above what runs at night.
_NICE = 10
# Arbitrary: long enough for a server that tunes one kernel after another while it starts.
IDLE_S = 60.0
# A compiler does not send these to itself: another process has ended it, or the system has, for the
# memory or the time it took.
_FROM_OUTSIDE = frozenset(
    {-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP, -signal.SIGXCPU}
)


# What a compiler of one of the larger kernels takes, with its assembler, and what is left to the
# program where memory is limited. Arbitrary.
_COMPILER_BYTES, _SPARED_BYTES = 512 << 20, 1 << 30


@dataclass(frozen=True)
class Compiled:
    """There is a binary now. `seconds` is what compiling it took there.

    `found`: another process had compiled it meanwhile.
    """

    seconds: float
    found: bool = False


class NotCompiled(Exception):
    """A job has no binary. `kind` names the compiler's exception class, if there was one."""

    def __init__(self, kind: str, text: str) -> None:
        self.kind = kind
        super().__init__(text)


class Crashed(NotCompiled):
    """The compiler took its process down; here it would have taken the program down."""


_pools: weakref.WeakSet[CompilePool] = weakref.WeakSet()


class CompilePool:
    """Compiles jobs in other processes, `workers` at a time. Thread-safe; starts lazily.

    What is urgent does not wait for what is not: of that, as many may be running beside.

    `slots()` is a directory in which the processes of this node share their cores. After `idle_s`
    seconds without a job the helper is ended; the next job starts another. One that ended
    otherwise, or did not start, is not replaced.
    """

    def __init__(
        self,
        *,
        workers: int,
        slots: Callable[[], Path | None] = lambda: None,
        binaries: Callable[[], Path | None] = lambda: None,
        idle_s: float = IDLE_S,
    ) -> None:
        self.workers = workers
        self._slots, self._binaries = slots, binaries
        self._idle_s = idle_s
        self._lock = threading.Lock()
        self._helper: Helper | None = None
        self._leaving: list[Helper] = []  # those that were let go and may not have ended yet
        self._lost: str | None = None
        self._last = 0
        self.start_s: float | None = None
        """Seconds from the start of the helper to its first answer; None before that."""
        _pools.add(self)
        renew_in_child(self)

    def submit(self, job: dict[str, Any], *, urgent: bool = True) -> Future[Compiled]:
        """Compile `job` (see `shipment`), beside all that is not urgent.

        Raises HelperLost if there is no helper any more, or none can be started; BadFrame if the
        job is not plain data.
        """
        future: Future[Compiled] = Future()
        with self._lock:
            helper = self._started()
            self._last += 1
            helper.pending[self._last] = future
            try:
                helper.send("compile", self._last, job, urgent)
                return future
            except BaseException as error:
                helper.pending.pop(self._last, None)
                if not isinstance(error, OSError):
                    raise
                self._lose(helper, str(error))
                reason = self._lost
        helper.ended.wait(_STOP_S)  # the processes that it takes may be those that are needed now
        raise HelperLost(reason)

    def owed(self) -> int:
        """How many jobs are on their way, running or not."""
        helper = self._helper
        return 0 if helper is None else len(helper.pending)

    def hurry(self, future: Future[Compiled]) -> None:
        """What was submitted without urgency is waited for now."""
        with self._lock:
            self._tell("hurry", [future])

    def drop(self, futures: Iterable[Future[Compiled]]) -> None:
        """Forget jobs that have not begun; the others end by themselves."""
        wanted = [future for future in futures if not future.done()]
        with self._lock:
            helper = self._helper
            numbers = self._tell("drop", wanted)
            owed = [] if helper is None else [helper.pending.pop(n, None) for n in numbers]
        # Also of those that are running, whose answers are not needed any more.
        for future in owed:
            if future is not None:
                future.cancel()

    def finish(self) -> None:
        """End the helper when what is on its way is done; another may be started later."""
        with self._lock:
            helper = self._helper
            if helper is None:
                return
            if helper.pending:
                with contextlib.suppress(OSError):
                    helper.send("finish")
            else:
                self._let_go(helper)

    def close(self) -> None:
        """End the helper and everything that it has started; waits for that, within a bound."""
        with self._lock:
            if self._helper is not None:
                self._let_go(self._helper)
            leaving, self._leaving = self._leaving, []
        for helper in leaving:
            helper.terminate()
        deadline = time.monotonic() + _STOP_S
        for helper in leaving:
            if not helper.ended.wait(max(0.0, deadline - time.monotonic())):
                helper.kill()

    # -- with the lock held ------------------------------------------------------------------

    def _tell(self, what: str, futures: list[Future[Compiled]]) -> list[int]:
        """Say something about jobs; returns the numbers of those that the helper still owes."""
        helper = self._helper
        if helper is None:
            return []
        wanted = set(map(id, futures))
        numbers = [n for n, future in list(helper.pending.items()) if id(future) in wanted]
        if numbers:
            with contextlib.suppress(OSError):
                helper.send(what, numbers)
        return numbers

    def _let_go(self, helper: Helper) -> None:
        """Have nothing more to do with this helper, which therefore ends, and removes its files."""
        if self._helper is helper:
            self._leaving = [one for one in self._leaving if not one.ended.is_set()] + [helper]
        self._forget(helper)

    def _lose(self, helper: Helper, reason: str) -> None:
        """The same, against our will: there will be no other, and nobody waits for its end."""
        helper.ready.wait(1.0)  # it may have said why it did not come up
        if self._helper is helper:
            self._lost = helper.reason or reason
        self._forget(helper)

    def _forget(self, helper: Helper) -> None:
        if self._helper is helper:
            self._helper = None
        helper.input.close()

    def _started(self) -> Helper:
        if self._lost is not None:
            raise HelperLost(self._lost)
        if self._helper is not None:
            return self._helper
        try:
            self.workers = affordable(self.workers)
            helper = start()
        except HelperLost as error:
            self._lost = str(error)
            raise
        self._helper = helper
        threads = ((self._read, (helper,), "read"), (helper.watch, (), "watch"))
        try:
            for target, args, name in threads:
                name = f"tuneonce-compile-{name}"
                threading.Thread(target=target, args=args, name=name, daemon=True).start()
            helper.send("setup", self._setup())
        except (OSError, RuntimeError, LookupError, BadFrame) as error:
            # No thread, no key, no helper.
            helper.kill()
            self._lose(helper, str(error))
            raise HelperLost(self._lost) from error
        return helper

    def _setup(self) -> dict[str, Any]:
        """Raises LookupError."""
        slots, binaries = self._slots(), self._binaries()
        return {
            "path": compilers.import_path(),
            "files": compilers.compiler_files(),
            "python": list(sys.version_info[:3]),
            "parent": os.getpid(),
            "workers": self.workers,
            "nice": _NICE,
            "slots": None if slots is None else str(slots),
            "binaries": None if binaries is None else str(binaries),
            "triton_key": compilers.installation_digest(),
            "idle_s": self._idle_s,
        }

    # -- in a thread of their own ------------------------------------------------------------

    def _read(self, helper: Helper) -> None:
        """Settles futures until the helper ends."""
        try:
            for message in helper.messages():
                self._heard(helper, *message)
        except (OSError, BadFrame, LookupError, TypeError, ValueError) as error:
            # It says what no helper says, or the program has closed what connects us.
            helper.reason = helper.reason or f"its answers cannot be read: {error}"
            helper.kill()
        helper.ready.set()
        helper.output.close()
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

    def _heard(self, helper: Helper, what: str, *rest: Any) -> None:
        if what == "ready":
            self.start_s = time.perf_counter() - helper.began
            helper.ready.set()
        elif what == "unable":
            helper.reason = str(rest[0])
        elif what == "alive":
            pass
        elif what == "idle":
            with self._lock:
                if not helper.pending:  # otherwise a job is on its way
                    self._let_go(helper)
        else:
            number, *answer = rest
            result = _result(what, *answer)  # first, so that no future waits for what is no answer
            _settle(helper.pending.pop(number, None), result)

    def renew(self) -> None:
        """In a forked child, which has no helper yet."""
        # Its ends are our parent's; while we hold them, the helper cannot see that they are closed.
        helper, self._helper, self._lost, self._leaving = self._helper, None, None, []
        self._lock = threading.Lock()
        if helper is not None:
            helper.input.close()
            helper.output.close()
            helper.process.returncode = 0  # it is not our child to wait for
            helper.ended = threading.Event()
            helper.ended.set()


def affordable(workers: int) -> int:
    """How many of so many compilers the limits of this system leave room for.

    Raises HelperLost where there is no room for two: the program, which then compiles by itself,
    needs what is left, and what it starts must not fail because of us.
    """
    threads = compilers.threads_of_a_compiler()
    processes, memory = room_for_processes(), room_for_memory()
    rooms = [workers]
    if processes is not None:
        # As many of those that can wait run beside them; each starts an assembler.
        rooms.append((processes - SPARED - threads) // (2 * (2 + threads)))
    if memory is not None:
        rooms.append((memory - _SPARED_BYTES) // _COMPILER_BYTES)
    if min(rooms) < min(workers, 2):
        raise HelperLost("there is no room for compilers: too few processes or too little memory")
    return min(rooms)


def _result(what: str, first: Any, text: Any = "") -> Compiled | NotCompiled:
    """What an answer says. Raises for what is none."""
    if what == "done":
        return Compiled(seconds=float(first["seconds"]), found=bool(first.get("found")))
    if what == "failed":
        return NotCompiled(str(first), str(text))
    if what != "crashed":
        raise ValueError(f"no answer: {what!r}")
    if int(first) in _FROM_OUTSIDE:
        return NotCompiled("", f"the compiler was ended with status {int(first)}")
    return Crashed("", f"the compiler ended with status {int(first)}")


def _settle(future: Future[Compiled] | None, result: Compiled | NotCompiled) -> None:
    if future is None or not future.set_running_or_notify_cancel():
        return
    if isinstance(result, Compiled):
        future.set_result(result)
    else:
        future.set_exception(result)


@atexit.register
def _at_exit() -> None:
    for pool in list(_pools):
        pool.close()
