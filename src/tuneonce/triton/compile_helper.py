"""The process that compiles for others: a program of its own, started by path.

It imports triton and nothing of ours but `remake`, and forks one child for every compilation. A
fork of a process that has the compiler loaded costs milliseconds, shares its memory, and confines
what a compiler can do to a process: a crash is one candidate's. The process itself never compiles,
holds no device and starts no thread, so forking it is safe.

It reads frames from standard input and writes frames to what was standard output; a frame is a
length of eight bytes and a pickle (only its parent is at the other end)::

    in:  ("setup", {"path": sys.path, "parent": its process, "workers": 16, "nice": 10,
                    "slots": directory or None, "triton_key": ..., "idle_s": 60.0})
         ("compile", 7, job, urgent)      ("hurry", [7])      ("drop", [7, 9, ...])
    out: ("ready", seconds)               ("unable", text)    ("idle",)    ("alive",)
         ("alike", 7, True)
         ("done", 7, {"hash": ..., "seconds": ...})
         ("failed", 7, kind, text)        ("crashed", 7, signal or status)

A job is what `tuneonce.triton.ship` makes of one candidate. Children write their own answers: a
frame is shorter than PIPE_BUF, so answers do not mix.

It ends when its input does, when its parent is gone, or by SIGTERM, and takes along all that it has
started. When it had nothing to do for a while it says so; its parent then closes the input, unless
a job is on its way. While it has, it says every second that it is alive.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import random
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

# Of a child that has written its answer: no compiler ends a process like this.
_ANSWERED = 86
# A slot that is not free after so long belongs to a process that was stopped, or to too many.
_SLOT_S = 60.0
# What can wait gets a third of the time of what cannot, where both want a core.
_NICER = 5
_TEXT_BYTES = 2000
# Under the name by which packed kernels call for it.
_REMAKE = "tuneonce.triton.remake"
_KNOBS = ("build", "cache", "compilation", "language", "nvidia", "amd")


class Helper:
    """Runs jobs, at most `workers` at a time, and as many again of those that can wait.

    What somebody waits for does not wait for what nobody does.
    """

    def __init__(self, source, sink):
        self.source, self.sink = source, sink
        self.setup = {"parent": os.getppid()}
        self.waiting: deque = deque()
        self.later: deque = deque()
        self.children = {}  # by process: the job's number, and whether it was urgent
        self.crashed = False
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
        while os.getppid() == self.setup["parent"]:
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
                self.start(*self.waiting.popleft(), urgent=True)
            while self.later and len(self.children) < self.setup["workers"]:
                # Taken here, and not by the child: while it is queued it may become urgent.
                with slot(
                    self.setup.get("slots"), "later", self.setup["workers"], wait=False
                ) as got:
                    if not got:
                        break
                    self.start(*self.later.popleft(), urgent=False)
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
            seconds = load_compiler(self.setup)
        except Exception as error:
            self.say("unable", f"{type(error).__name__}: {short(error)}")
            raise SystemExit(1) from error
        with contextlib.suppress(OSError):
            # What a killed compilation leaves behind lies here, and not in the user's way.
            self.scratch = tempfile.tempdir = tempfile.mkdtemp(prefix="tuneonce-compile-")
        self.say("ready", seconds)

    def urgent(self):
        return sum(urgent for _, urgent in self.children.values())

    def know(self, job):
        """Ask the assembler for its version once, and not in every child."""
        ptxas = job["knobs"].get("nvidia", {}).get("ptxas")
        what = (job["target"], job["environment"].get("TRITON_PTXAS_PATH"), ptxas)
        if what not in self.known:
            self.known.add(what)
            with contextlib.suppress(Exception):  # the child's error, if it still is one there
                triton_backend(job).hash()
            os.chdir("/")  # hold nobody's directory

    def start(self, number, job, *, urgent):
        try:
            pid = os.fork()
        except OSError as error:  # too many processes
            self.say("failed", number, type(error).__name__, short(error))
            return
        if pid:
            self.children[pid] = number, urgent
            return
        status = 1
        try:
            os.close(self.source)
            signal.set_wakeup_fd(-1)
            for name in (signal.SIGCHLD, signal.SIGTERM):
                signal.signal(name, signal.SIG_DFL)
            if not urgent and self.setup.get("nice"):
                os.nice(_NICER)
            with slot(self.setup.get("slots") if urgent else None, "slot", self.setup["workers"]):
                answer = ("done", number, compile_job(job, partial(self.say, "alike", number)))
            self.say(*answer)
            status = _ANSWERED
        except BaseException as error:
            self.say("failed", number, type(error).__name__, short(error))
            status = _ANSWERED
        finally:
            os._exit(status)

    def reap(self):
        while self.children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            number, _ = self.children.pop(pid, (None, None))
            code = os.waitstatus_to_exitcode(status)
            if code != _ANSWERED and number is not None:
                self.crashed = True
                self.say("crashed", number, code)

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


_knobs_at_start: dict = {}


def load_compiler(setup):
    """Import what compiles; returns the seconds that took."""
    began = time.perf_counter()
    sys.path[:] = setup["path"]
    if setup.get("nice"):
        # The process that measures goes first: its launches must not wait for a compiler.
        os.nice(setup["nice"])
    import triton.compiler.code_generator
    import triton.compiler.compiler
    import triton.runtime.cache
    from triton import knobs

    loader = SourceFileLoader(_REMAKE, str(Path(__file__).with_name("remake.py")))
    sys.modules[_REMAKE] = remake = ModuleType(_REMAKE)
    loader.exec_module(remake)
    remake.find_places(triton.compiler.code_generator)
    for group in _KNOBS:
        if hasattr(knobs, group):
            _knobs_at_start[group] = dict(vars(getattr(knobs, group)))
    # Hashing the installation again would take half a second, for the same answer.
    for module in (triton.compiler.compiler, triton.runtime.cache):
        if hasattr(module, "triton_key"):
            module.triton_key = lambda: setup["triton_key"]
    return time.perf_counter() - began


@contextlib.contextmanager
def slot(directory, kind, count, *, wait=True):
    """One of the node's compile slots of this kind, of which there are as many as cores.

    Says whether there is one, which it always is for who waits. A child that is forked inside has
    it too, until it ends.
    """
    file, got = None, True
    if directory is not None:
        with contextlib.suppress(OSError):
            # A directory that cannot be used shares nothing, and stops nobody.
            file = taken_slot(directory, kind, count, wait=wait)
            got = file is not None
    try:
        yield got
    finally:
        if file is not None:
            file.close()


def taken_slot(directory, kind, count, *, wait=True):
    """Any slot that is free; else None, or one of them as soon as it is, but not for ever."""
    import fcntl

    order = random.sample(range(count), count)
    for number in order:
        file = Path(directory, f"{kind}-{number}.lock").open("ab")  # noqa: SIM115
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
        except OSError as error:
            file.close()
            if not isinstance(error, BlockingIOError):
                raise

    if not wait:
        return None

    def enough(*_):
        raise TimeoutError

    file = Path(directory, f"{kind}-{order[0]}.lock").open("ab")  # noqa: SIM115
    signal.signal(signal.SIGALRM, enough)
    signal.setitimer(signal.ITIMER_REAL, _SLOT_S)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
    except OSError:
        file.close()
        raise
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return file


def triton_backend(job):
    """Triton's backend for a job: where who asks is, in its environment and with its knobs."""
    os.environ.clear()
    os.environ.update(job["environment"])
    if job.get("directory") is not None:
        with contextlib.suppress(OSError):
            os.chdir(job["directory"])  # paths of the program's may be relative
    from triton import knobs
    from triton.backends.compiler import GPUTarget
    from triton.compiler import compiler

    for group, values in _knobs_at_start.items():
        # Not through the knobs, which would change the environment.
        state = vars(getattr(knobs, group))
        state.clear()
        state.update(values)
        state.update(job["knobs"].get(group, {}))
    return compiler.make_backend(GPUTarget(*job["target"]))


def compile_job(job, say_alike):
    """Compile one candidate, with Triton's own `compile` and into Triton's own cache."""
    began = time.perf_counter()
    backend = triton_backend(job)
    # The parent's may name the assembler that it had found before the path to it was changed (as
    # TorchInductor does); its Triton would go on under that name, too.
    type(backend).hash = lambda _: job["backend_hash"]
    from triton.backends.compiler import GPUTarget
    from triton.compiler import compiler

    target = GPUTarget(*job["target"])
    options = pickle.loads(job["options"])
    if job["module"] is None:
        source = unpacked(job)
    else:
        if job["source"] is not None:
            say_alike(generates_the_same(job, target, options, backend))
        source = shipped(compiler, job)
    kernel = compiler.compile(source, target=target, options=options)
    return {"hash": kernel.hash, "seconds": time.perf_counter() - began}


def unpacked(job):
    """The candidate as a source that this process can generate code from."""
    source = pickle.loads(job["source"])
    if source.hash() != job["source_hash"]:
        raise RuntimeError("what was unpacked is another source")
    return source


def generates_the_same(job, target, options, backend):
    """Whether the code generated here is the one that was sent along."""
    try:
        generate = sys.modules[_REMAKE].generate
        return (
            generate(unpacked(job), target, backend.parse_options(options), backend)
            == job["module"]
        )
    except Exception:  # whatever it is, the parent's is good
        return False


def shipped(compiler, job):
    """The candidate as a source: its identity is the parent's, its code is the module's text."""

    class Shipped(compiler.ASTSource):  # type: ignore[name-defined]
        def __init__(self):
            self.fn = None
            self.language = compiler.Language.TRITON
            self.ext = "ttir"
            self.name = job["name"]
            self.signature, self.constants, self.attrs = {}, {}, {}

        def hash(self):
            return job["source_hash"]

        def make_ir(self, *args, **kwargs):
            context = kwargs.get("context", args[-1] if args else None)
            with tempfile.NamedTemporaryFile("w", suffix=".ttir", delete=False) as file:
                file.write(job["module"])
            try:
                module = compiler.ir.parse_mlir_module(file.name, context)
            finally:
                Path(file.name).unlink()
            module.context = context
            return module

    return Shipped()


def main():
    source, sink = os.dup(0), os.dup(1)
    # Whatever a compiler prints belongs to nobody here, and must not look like an answer.
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    for ignored in (signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    helper = Helper(source, sink)
    try:
        helper.serve()
    finally:
        helper.end()


if __name__ == "__main__":
    main()
