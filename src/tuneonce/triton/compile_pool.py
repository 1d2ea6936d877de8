"""The parent's side of the compile helper: starts it, hands out jobs, tells what became of them.

The helper is started for the first cold key and not before, and lives for as long as there is
something to compile, plus a while.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import pickle
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

from . import compat
from .helper_process import Helper, HelperLost, start

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
        idle_s: float = IDLE_S,
    ) -> None:
        self.workers = workers
        self._slots = slots
        self._idle_s = idle_s
        self._lock = threading.Lock()
        self._helper: Helper | None = None
        self._lost: str | None = None
        self._last = 0
        self.start_s: float | None = None
        """Seconds from the start of the helper to its first answer; None before that."""
        _pools.add(self)

    def submit(self, job: dict[str, Any], *, urgent: bool = True) -> Future[Compiled]:
        """Compile `job` (see `ship`), beside all that is not urgent.

        Raises HelperLost if there is no helper any more, or none can be started.
        """
        future: Future[Compiled] = Future()
        with self._lock:
            helper = self._started()
            self._last += 1
            helper.pending[self._last] = future
            try:
                helper.send("compile", self._last, _for_a_child(job), urgent)
            except OSError as error:
                helper.pending.pop(self._last, None)
                self._lose(helper, str(error))
                raise HelperLost(self._lost) from error
            except BaseException:
                helper.pending.pop(self._last, None)
                raise
        return future

    def check(self, job: dict[str, Any], on_alike: Callable[[bool], None]) -> bool:
        """Find out whether the code that the helper generates is the one that `job` has with it.

        `on_alike` hears it from another thread. False: there is no helper that would say it.
        """
        job = _for_a_child(job)
        with self._lock:
            helper = self._helper
            if helper is None:
                return False
            self._last += 1
            helper.on_alike[self._last] = on_alike
            try:
                helper.send("check", self._last, job)
            except OSError:
                helper.on_alike.pop(self._last, None)
                return False
        return True

    def deny(self, kernel: str) -> None:
        """What the helper generates of this kernel must not be used: nobody can check it."""
        with self._lock, contextlib.suppress(OSError):
            if self._helper is not None:
                self._helper.send("deny", kernel)

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

    def _let_go(self, helper: Helper) -> None:
        """Have nothing more to do with this helper, which therefore ends."""
        if self._helper is helper:
            self._helper = None
        helper.input.close()

    def _lose(self, helper: Helper, reason: str) -> None:
        """The same, against our will: there will be no other."""
        helper.ready.wait(1.0)  # it may have said why it did not come up
        if self._helper is helper:
            self._lost = helper.reason or reason
        self._let_go(helper)

    def _started(self) -> Helper:
        if self._lost is not None:
            raise HelperLost(self._lost)
        if self._helper is not None:
            return self._helper
        try:
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

    def _read(self, helper: Helper) -> None:
        """Settles futures until the helper ends."""
        with contextlib.suppress(OSError, pickle.UnpicklingError):
            for what, *rest in helper.messages():
                if what == "ready":
                    self.start_s = time.perf_counter() - helper.began
                    helper.ready.set()
                elif what == "unable":
                    helper.reason = rest[0]
                elif what == "alive":
                    pass
                elif what == "alike":
                    helper.on_alike.pop(rest[0], lambda alike: None)(rest[1])
                elif what == "idle":
                    with self._lock:
                        # Otherwise a job is on its way.
                        if not helper.pending and not helper.on_alike:
                            self._let_go(helper)
                else:
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


def _for_a_child(job: dict[str, Any]) -> dict[str, Any]:
    """Its options are unpacked by the child that needs them: one may be of a class nobody has."""
    return {**job, "options": pickle.dumps(job["options"])}


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
