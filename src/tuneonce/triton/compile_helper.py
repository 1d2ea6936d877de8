"""The process that compiles for others: a program of its own, started by path.

It imports triton and nothing of ours but four files beside it, and forks one child for every
compilation. A fork of a process that has the compiler loaded costs milliseconds, shares its memory,
and confines what a compiler can do to a process: a crash is one candidate's. The process itself
never compiles, holds no device and starts no thread, so forking it is safe.

It reads frames from standard input and writes frames to what was standard output; a frame is a
length of eight bytes and a pickle (only its parent is at the other end)::

    in:  ("setup", {"path": sys.path, "parent": its process, "workers": 16, "nice": 10,
                    "slots": directory or None, "triton_key": ..., "idle_s": 60.0})
         ("compile", 7, job, urgent)      ("hurry", [7])      ("drop", [7, 9, ...])
         ("check", 8, job)                ("deny", kernel)
    out: ("ready", seconds)               ("unable", text)    ("idle",)    ("alive",)
         ("alike", 8, True)
         ("done", 7, {"hash": ..., "seconds": ...})
         ("failed", 7, kind, text)        ("crashed", 7, signal or status)

A job is what `tuneonce.triton.ship` makes of one candidate. Children write their own answers: a
frame is shorter than PIPE_BUF, so answers do not mix.

The code of a kernel that nobody has checked yet is generated here on trial: what is compiled of it
is kept only when a check of one of its candidates has found the code to be its parent's.

It ends when its input does, when its parent is gone, or by SIGTERM, and takes along all that it has
started. When it had nothing to do for a while it says so; its parent then closes the input, unless
a job is on its way. While it has, it says every second that it is alive.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import pickle
import select
import shutil
import signal
import struct
import sys
import tempfile
import time
from collections import deque
from functools import partial
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

# Of a child that has written its answer: no compiler ends a process like this.
_ANSWERED = 86
# What can wait gets a third of the time of what cannot, where both want a core.
_NICER = 5
_TEXT_BYTES = 2000


def _beside(name):
    """A module of this directory, under the name that it has in the package, which stays out."""
    full = f"tuneonce.triton.{name}"
    if __package__:  # for a test
        return importlib.import_module(full)
    if full not in sys.modules:
        loader = SourceFileLoader(full, str(Path(__file__).with_name(f"{name}.py")))
        sys.modules[full] = module = ModuleType(full)
        loader.exec_module(module)
    return sys.modules[full]


slots, trials, remake, compile_job = map(_beside, ("slots", "trials", "remake", "compile_job"))


class Child(NamedTuple):
    """A process that was forked for a job: `place` is that of its kernel's verdict."""

    number: int
    urgent: bool
    place: int | None
    checks: bool


class Helper:
    """Runs jobs, at most `workers` at a time, and as many again of those that can wait.

    What somebody waits for does not wait for what nobody does.
    """

    def __init__(self, source, sink):
        self.source, self.sink = source, sink
        self.setup = {"parent": os.getppid()}
        self.waiting: deque = deque()
        self.later: deque = deque()
        self.children: dict[int, Child] = {}
        self.verdicts = trials.Verdicts()
        self.crashed = self.ending = False
        self.used = self.said = time.monotonic()
        self.buffer = b""
        self.known = set()
        self.scratch = None

    def serve(self):
        wake, poke = os.pipe()
        os.set_blocking(poke, False)
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(poke, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        while not self.ending and os.getppid() == self.setup["parent"]:
            readable, _, _ = select.select([self.source, wake], [], [], 1.0)
            if wake in readable:
                os.read(wake, 4096)
            if self.source in readable:
                data = os.read(self.source, 1 << 20)
                if not data:
                    return
                for message in self.messages(data):
                    self.take(message)
            self.reap()
            while self.waiting and self.urgent() < self.setup["workers"]:
                self.compile(*self.waiting.popleft(), urgent=True)
            while self.later and len(self.children) < self.setup["workers"]:
                # Taken here, and not by the child: while it is queued it may become urgent.
                with slots.slot(
                    self.setup.get("slots"), "later", self.setup["workers"], wait=False
                ) as got:
                    if not got:
                        break
                    self.compile(*self.later.popleft(), urgent=False)
            if self.children or self.later:
                self.used = time.monotonic()
                if self.used - self.said >= 1:
                    self.say("alive")
            elif time.monotonic() - self.used > self.setup.get("idle_s", 60.0):
                self.used = time.monotonic()
                self.say("idle")

    def messages(self, data):
        self.buffer += data
        while len(self.buffer) >= 8:
            (size,) = struct.unpack("<Q", self.buffer[:8])
            if len(self.buffer) < 8 + size:
                return
            message, self.buffer = self.buffer[8 : 8 + size], self.buffer[8 + size :]
            yield pickle.loads(message)

    def take(self, message):
        self.used = time.monotonic()
        if message[0] == "setup":
            self.setup = message[1]
            self.prepare()
        elif message[0] == "compile":
            _, number, job, urgent = message
            self.know(job)
            (self.waiting if urgent else self.later).append((number, job))
        elif message[0] == "check":
            self.check(*message[1:])
        elif message[0] == "deny":
            self.verdicts.pass_on(self.verdicts.place(message[1]), alike=False)
        elif message[0] in ("drop", "hurry"):
            named = set(message[1])
            moved = [item for item in self.later if item[0] in named]
            self.later = deque(item for item in self.later if item[0] not in named)
            if message[0] == "hurry":
                self.waiting.extend(moved)
            else:
                self.waiting = deque(item for item in self.waiting if item[0] not in named)

    def prepare(self):
        try:
            seconds = compile_job.load_compiler(self.setup)
        except Exception as error:
            self.say("unable", f"{type(error).__name__}: {short(error)}")
            raise SystemExit(1) from error
        with contextlib.suppress(OSError):
            # What a killed compilation leaves behind lies here, and not in the user's way.
            self.scratch = tempfile.tempdir = tempfile.mkdtemp(prefix="tuneonce-compile-")
        self.say("ready", seconds)

    def urgent(self):
        return sum(child.urgent for child in self.children.values())

    def know(self, job):
        """Ask the assembler for its version once, and not in every child."""
        ptxas = job["knobs"].get("nvidia", {}).get("ptxas")
        what = (job["target"], job["environment"].get("TRITON_PTXAS_PATH"), ptxas)
        if what not in self.known:
            self.known.add(what)
            with contextlib.suppress(Exception):  # the child's error, if it still is one there
                compile_job.triton_backend(job).hash()
            os.chdir("/")  # hold nobody's directory

    def compile(self, number, job, *, urgent):
        place = self.verdicts.place(job["kernel"])

        def done():
            if not urgent and self.setup.get("nice"):
                os.nice(_NICER)
            directory = self.setup.get("slots") if urgent else None
            with slots.slot(directory, "slot", self.setup["workers"]):
                approve = None if job["kernel"] is None else partial(self.verdicts.wait, place)
                return "done", number, compile_job.compile_job(job, approve)

        self.fork(Child(number, urgent, place, checks=False), done)

    def check(self, number, job):
        place = self.verdicts.place(job["kernel"])

        def checked():
            alike = compile_job.generates_the_same(job)
            self.verdicts.pass_on(place, alike)
            return "alike", number, alike

        self.fork(Child(number, False, place, checks=True), checked)

    def fork(self, child, work):
        try:
            pid = os.fork()
        except OSError as error:  # too many processes
            self.failed(child, "failed", type(error).__name__, short(error))
            return
        if pid:
            self.children[pid] = child
            return
        status = 1
        try:
            os.close(self.source)
            signal.set_wakeup_fd(-1)
            for name in (signal.SIGCHLD, signal.SIGTERM):
                signal.signal(name, signal.SIG_DFL)
            self.say(*work())
            status = _ANSWERED
        except BaseException as error:
            self.failed(child, "failed", type(error).__name__, short(error))
            status = _ANSWERED
        finally:
            os._exit(status)

    def failed(self, child, how, *what):
        """Say that a job has no result; of one on trial that is nobody's fault but the trial's."""
        if child.checks:
            self.verdicts.pass_on(child.place, alike=False)
            self.say("alike", child.number, False)
        elif child.place is not None and not self.verdicts.alike(child.place):
            self.say("failed", child.number, trials.NotAlike.__name__, "its code was on trial")
        else:
            self.say(how, child.number, *what)

    def reap(self):
        while self.children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            child = self.children.pop(pid, None)
            code = os.waitstatus_to_exitcode(status)
            if code != _ANSWERED and child is not None:
                self.crashed = True
                self.failed(child, "crashed", code)

    def say(self, *message):
        self.said = time.monotonic()
        data = pickle.dumps(message)
        os.write(self.sink, struct.pack("<Q", len(data)) + data)

    def end(self):
        """Leave nothing behind: no compiler, no assembler that one of them has started, no file."""
        if self.scratch is not None:
            shutil.rmtree(self.scratch, ignore_errors=True)
        # All are in this group, of which this process is the leader.
        if (self.children or self.crashed) and os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGKILL)


def short(error):
    """An error's text, so short that its frame is written at once."""
    data = str(error).encode("utf-8", "backslashreplace")[:_TEXT_BYTES]
    return data.decode("utf-8", "ignore")


def main():
    source, sink = os.dup(0), os.dup(1)
    # Whatever a compiler prints belongs to nobody here, and must not look like an answer.
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    for ignored in (signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
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
