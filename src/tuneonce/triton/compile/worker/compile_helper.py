"""The process that compiles for others: a program of its own, started by path.

It imports triton and nothing of ours but four files beside it, and forks one child for every
compilation. A fork of a process that has the compiler loaded costs milliseconds, shares its memory,
and confines what a compiler can do to a process: a crash is one candidate's. The process itself
never compiles, holds no device and starts no thread, so forking it is safe.

It reads frames (`frames`) from standard input and writes frames to what was standard output::

    in:  ["setup", {"path": [...], "files": {module: file}, "python": [3, 11, 7], "parent": 71,
                    "workers": 16, "nice": 10, "slots": directory or null, "triton_key": ...,
                    "binaries": directory or null, "idle_s": 60.0}]
         ["compile", 7, job, urgent]      ["hurry", [7]]      ["drop", [7, 9, ...]]
         ["finish"]                       end when there is nothing to do
    out: ["ready", seconds]               ["unable", text]    ["idle"]    ["alive"]
         ["done", 7, {"seconds": ..., "found": whether another process had compiled it}]
         ["failed", 7, kind, text]        ["crashed", 7, signal or status]

A job is what `triton.compile.shipment` makes of one candidate. Children write their own answers: a
frame is shorter than PIPE_BUF, so answers do not mix.

It ends when its input does, when its parent is gone, or by SIGTERM, and takes along all that it has
started. When it had nothing to do for a while it says so; its parent then closes the input, unless
a job is on its way. While it has, it says every second that it is alive.

Where the system allows no more processes, fewer compile at once; where it allows not even one, the
helper says that it is unable to go on.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import resource
import select
import signal
import sys
import tempfile
import time
from collections import deque
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

# Of a child that has written its answer, and of one that had too few processes or too little
# memory: no compiler ends a process like this.
_ANSWERED, _SHORT = 86, 87
# What a queued child tells: it has a slot, or none can be had.
_TURN, _NO_TURN = b"+", b"-"
_SHORTAGES = frozenset({errno.EAGAIN, errno.ENOMEM})
# What can wait gets a third of the time of what cannot, where both want a core.
_NICER = 5
_TEXT_BYTES = 2000
# What another helper of the node compiles is looked at again after so many seconds, and compiled
# here, too, after so many: that one may be stopped. Arbitrary.
_LOOK_AGAIN_S, _ELSEWHERE_S = 0.02, 30.0
# Of what is compiled from a store's records alone, so that a record that lies costs little:
# seconds of a processor and bytes. Arbitrary: ten times what the largest kernels need.
_CPU_S, _MEMORY = 120, 16 << 30


def _beside(name):
    """A module of this directory, under the name that it has in the package, which stays out."""
    full = f"tuneonce.triton.compile.worker.{name}"
    if __package__:  # for a test
        return importlib.import_module(full)
    if full not in sys.modules:
        loader = SourceFileLoader(full, str(Path(__file__).with_name(f"{name}.py")))
        sys.modules[full] = module = ModuleType(full)
        loader.exec_module(module)
    return sys.modules[full]


frames, job_slots, scratch, compile_job = map(
    _beside, ("frames", "job_slots", "scratch", "compile_job")
)


class Child(NamedTuple):
    """A process that was forked for a job."""

    number: int
    job: dict
    urgent: bool


class Helper:
    """Runs jobs, at most `workers` at a time, and as many again of those that can wait.

    Urgent jobs do not wait for others. A child is forked with a slot of the node, except for one,
    `queued`, which waits for a slot: so many ranks start hardly more processes than one. And with
    the claim of its binary: what another helper compiles is left to that one, and others go first.
    """

    def __init__(self, source, sink):
        self.source, self.sink = source, sink
        self.setup: dict = {"parent": os.getppid()}
        self.limit = 1
        self.waiting: deque = deque()
        self.later: deque = deque()
        self.children: dict[int, Child] = {}
        self.crashed = self.ending = False
        self.used = self.said = time.monotonic()
        self.reader = frames.Reader()
        self.known = set()
        self.scratch = None
        self.queued = None
        self.turns, self.turn = os.pipe()  # the queued child writes when it has a slot
        self.elsewhere: dict[int, float] = {}  # since when another helper compiles a job's binary

    def serve(self):
        wake, poke = os.pipe()
        os.set_blocking(poke, False)
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(poke, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        while not self.ending and os.getppid() == self.setup["parent"]:
            pause = _LOOK_AGAIN_S if self.elsewhere else 1.0
            readable, _, _ = select.select([self.source, wake, self.turns], [], [], pause)
            if wake in readable:
                os.read(wake, 4096)
            if self.turns in readable:
                self.queued = None
                if os.read(self.turns, 1) == _NO_TURN:  # others are stopped, or too many
                    self.setup["slots"] = None
            if self.source in readable:
                data = os.read(self.source, 1 << 20)
                if not data:
                    return
                for message in self.reader.feed(data):
                    self.take(message)
            self.reap()
            self.begin()
            if self.children or self.waiting or self.later:
                self.used = time.monotonic()
                if self.used - self.said >= 1:
                    self.say("alive")
            elif time.monotonic() - self.used > self.setup.get("idle_s", 60.0):
                self.used = time.monotonic()
                self.say("idle")

    def take(self, message):
        self.used = time.monotonic()
        what, *rest = message
        if what == "setup":
            self.setup = rest[0]
            self.limit = self.setup["workers"]
            self.prepare()
        elif what == "compile":
            number, job, urgent = rest
            self.know(job)
            (self.waiting if urgent else self.later).append((number, job))
        elif what == "finish":
            self.setup["idle_s"] = 0.0
        elif what in ("drop", "hurry"):
            named = set(rest[0])
            moved = [item for item in self.later if item[0] in named]
            self.later = deque(item for item in self.later if item[0] not in named)
            for number in named:
                self.elsewhere.pop(number, None)
            if what == "hurry":
                self.waiting.extend(moved)
            else:
                self.waiting = deque(item for item in self.waiting if item[0] not in named)

    def prepare(self):
        try:
            seconds = compile_job.load_compiler(self.setup)
        except Exception as error:
            self.unable(f"{type(error).__name__}: {short(error)}")
            raise SystemExit(1) from error
        scratch.sweep()
        with contextlib.suppress(OSError):
            # What a killed compilation leaves behind lies here, and not in the user's way.
            self.scratch = tempfile.tempdir = scratch.make("compile")
        self.say("ready", seconds)

    def unable(self, why):
        """There is no use in this process; its parent compiles by itself."""
        self.ending = True
        self.say("unable", why)

    def know(self, job):
        """Ask the assembler for its version once, and not in every child."""
        what = compile_job.assembler(job)
        if what not in self.known:
            self.known.add(what)
            with contextlib.suppress(Exception):  # the child's error, if it still is one there
                compile_job.triton_backend(job).hash()
            os.chdir("/")  # keep no directory of a requester in use

    def begin(self):
        """Start what can be started now."""
        while self.waiting and self.urgent() < self.limit and not self.ending:
            if not self.begin_urgent():
                return
            self.reap()  # starting many children takes longer than the first of them run
        while self.later and len(self.children) < self.limit and not self.ending:
            # The slot is taken here and not by a child, since a job that waits for one may become
            # urgent.
            with job_slots.slot(
                self.setup.get("slots"), "later", self.setup["workers"], wait=False, beside="slot"
            ) as got:
                if not got or not self.compile_next(self.later, urgent=False):
                    return
            self.reap()

    def begin_urgent(self):
        """Start the first of what is urgent. False: nothing more can be started now."""
        with job_slots.slot(
            self.setup.get("slots"), "slot", self.setup["workers"], wait=False
        ) as got:
            if got:
                return self.compile_next(self.waiting, urgent=True)
        if self.queued is None:
            self.compile_next(self.waiting, urgent=True, queued=True)
        return False

    def compile_next(self, items, *, urgent, queued=False):
        """Compile the first that no other helper of the node does. False: none, or not now."""
        directory = self.setup.get("binaries")
        for place, (number, job) in enumerate(items):
            name = compile_job.name_of_binary(job) if directory else None
            claim = None if name is None else job_slots.claim(directory, name)
            if claim == job_slots.TAKEN:
                since = self.elsewhere.setdefault(number, time.monotonic())
                if time.monotonic() - since < _ELSEWHERE_S:
                    continue
                claim = None
            self.elsewhere.pop(number, None)
            del items[place]
            try:
                binary = None if claim is None else name
                return self.compile(number, job, urgent=urgent, queued=queued, binary=binary)
            finally:
                if claim is not None:
                    os.close(claim)  # the child has it
        return False

    def urgent(self):
        return sum(child.urgent for child in self.children.values())

    def compile(self, number, job, *, urgent, queued=False, binary=None):
        """Fork a child that does it. False: there can be no more of them now.

        `queued`: it waits for a slot, and tells when it has one. `binary`: the name of its claim.
        """
        try:
            pid = os.fork()
        except OSError as error:
            self.fewer(Child(number, job, urgent), short(error))
            return False
        if pid:
            self.children[pid] = Child(number, job, urgent)
            if queued:
                self.queued = pid
            return True
        status = 1
        try:
            os.close(self.source)
            signal.set_wakeup_fd(-1)
            for name in (signal.SIGCHLD, signal.SIGTERM):
                signal.signal(name, signal.SIG_DFL)
            if queued:
                self.wait_for_turn()
            done = self.work(job, urgent)
            if binary is not None:
                job_slots.end_claim(self.setup["binaries"], binary)
            self.say("done", number, done)
            status = _ANSWERED
        except BaseException as error:
            status = _SHORT
            if not is_shortage(error):
                self.say("failed", number, type(error).__name__, short(error))
                status = _ANSWERED
        finally:
            os._exit(status)

    def work(self, job, urgent):
        """In a child."""
        if nice := self.setup.get("nice"):
            os.nice(nice - nice // 2 + (0 if urgent else _NICER))
        if job.get("staging") is not None:
            bound(resource.RLIMIT_CPU, _CPU_S)
            bound(resource.RLIMIT_AS, _MEMORY)
        return compile_job.compile_job(job)

    def wait_for_turn(self):
        """In a child, which has the slot until it ends."""
        told = _TURN
        try:
            job_slots.taken_slot(self.setup["slots"], "slot", self.setup["workers"])
        except OSError:
            told = _NO_TURN
        os.write(self.turn, told)

    def fewer(self, child, why):
        """One had too few processes or too little memory: it is done again, beside fewer."""
        if not self.children:
            self.unable(f"no processes or memory to compile with ({why})")
            return
        self.limit = max(1, min(self.limit - 1, len(self.children)))
        (self.waiting if child.urgent else self.later).appendleft((child.number, child.job))

    def reap(self):
        while self.children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            child = self.children.pop(pid, None)
            if pid == self.queued:  # killed before its turn
                self.queued = None
            code = os.waitstatus_to_exitcode(status)
            if child is None or code == _ANSWERED:
                continue
            # A compiler's own threads abort where none can be started; alone there may be enough.
            starved = code == -signal.SIGABRT and self.children and has_few_processes()
            if code == _SHORT or starved:
                self.fewer(child, "in a compiler")
            else:
                self.crashed = True
                self.say("crashed", child.number, code)

    def say(self, *message):
        self.said = time.monotonic()
        os.write(self.sink, frames.encode(*message))

    def end(self):
        """Leave nothing behind: no compiler, no assembler that one of them has started, no file."""
        self.end_children()
        if self.scratch is not None:
            scratch.remove(self.scratch)
        # All are in this group, of which this process is the leader.
        if (self.children or self.crashed) and os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGKILL)

    def end_children(self):
        """Those that still compile write where files are removed next."""
        for pid in self.children:
            os.kill(pid, signal.SIGKILL)  # its number is its own until it was waited for
        for pid in self.children:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


def is_shortage(error):
    """Whether an error, or what it came from, says that the system has no more to give."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _SHORTAGES:
            return True
        error = error.__cause__ or error.__context__
    return False


def has_few_processes():
    """Whether this user may have only so many processes."""
    return resource.getrlimit(resource.RLIMIT_NPROC)[0] != resource.RLIM_INFINITY


def bound(what, limit):
    """Lower a limit of this process; what cannot be lowered stays."""
    soft, hard = resource.getrlimit(what)
    if soft == resource.RLIM_INFINITY or soft > limit:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(what, (limit, hard))


def short(error):
    """An error's text, so short that its frame is written at once."""
    text = str(error)[:_TEXT_BYTES].encode("utf-8", "backslashreplace").decode()
    while len(frames.encode(text)) > _TEXT_BYTES:
        text = text[: len(text) * 3 // 4]
    return text


def main():
    source, sink = os.dup(0), os.dup(1)
    # What a compiler prints has no reader here, and must not look like an answer.
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    for ignored in (signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    # A group, so that all of it can be ended at once, and no session: what is written to disk and
    # restored later (CRIU) must be one.
    with contextlib.suppress(OSError):
        os.setpgid(0, 0)
    helper = Helper(source, sink)

    def end(*_):
        helper.ending = True  # as well: what is raised in the middle of a fork, Python drops
        sys.exit(0)

    signal.signal(signal.SIGTERM, end)
    try:
        helper.serve()
    finally:
        helper.end()


if __name__ == "__main__":
    main()
