"""The compile helper's end: however its parent ends, and wherever it was started.

A helper and all that it starts are one process group, found in /proc by its leader's number.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import ROOT
from tests.processes.groups import TOO_LONG, await_end_of, group
from tuneonce.triton.compile.worker import compile_helper

pytest.importorskip("triton")

PROGRAM = """
import json, os, signal, sys, threading
import triton
from tests.kernels.jobs import OBEDIENT, job
from tuneonce.triton.compile import helper_process
from tuneonce.triton.compile.pool import CompilePool

helper_process._PROGRAM = OBEDIENT

def say(**what):
    os.write(TOLD, json.dumps(what).encode() + b"\\n")

def stay():
    os.read(HELD, 1)

TOLD, HELD = (int(fd) for fd in sys.argv[1:3])
pool = CompilePool(workers=2)
"""

# Compiles one candidate, begins another that does not end, and says who does it.
BUSY = """
from pathlib import Path
import tempfile

assert pool.submit(job(64)).result(60).seconds > 0
fifo = Path(tempfile.mkdtemp(), "fifo")
os.mkfifo(fifo)
# The first as an assembler does, in a process of the compiler's.
stuck = pool.submit(job(128, does=["system", f"read line < {fifo}"]))
other = pool.submit(job(128, does=["wait", str(fifo)]))
say(helper=pool._helper.process.pid)
"""


class Child:
    """A program that tells through a pipe how far it is, and stays until it is told to go on."""

    def __init__(self, home: Path, program: str, **options: Any) -> None:
        path = home / "program.py"
        path.write_text(PROGRAM + textwrap.dedent(program))
        told, tell = os.pipe()
        hold, go = os.pipe()
        self.told = os.fdopen(told)
        self.go_on: Callable[[], None] | None = lambda: os.close(go)
        command = [sys.executable, str(path), str(tell), str(hold)]
        before = options.pop("shell_first", None)
        if before is not None:
            command = ["/bin/sh", "-c", f'{before}; exec "$@"', "sh", *command]
        environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
        self.process = subprocess.Popen(
            command,
            env={**environment, "TRITON_DEFAULT_FP_FUSION": "1"},
            pass_fds=(tell, hold),
            stderr=subprocess.PIPE,
            **{"cwd": home, "stdout": subprocess.DEVNULL, **options},
        )
        os.close(tell)
        os.close(hold)

    def says(self) -> dict[str, Any]:
        line = self.told.readline()
        assert line, self.problems()
        said: dict[str, Any] = json.loads(line)
        return said

    def problems(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.read().decode()

    def release(self) -> None:
        if self.go_on is not None:
            self.go_on()
            self.go_on = None

    def close(self) -> None:
        self.release()
        self.process.kill()
        self.process.wait()
        self.told.close()
        assert self.process.stderr is not None
        self.process.stderr.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Child]]:
    children = []

    def starter(program: str, **options: Any) -> Child:
        children.append(Child(tmp_path, program, **options))
        return children[-1]

    yield starter
    for child in children:
        child.close()


def begun(child: Child) -> int:
    """The leader of the helper's group, when the group is at work: helper, compilers, a shell."""
    leader: int = child.says()["helper"]
    deadline = time.monotonic() + TOO_LONG
    while len(group(leader)) < 4:
        assert time.monotonic() < deadline, group(leader)
        assert child.process.poll() is None, child.problems()
    return leader


# -- the end of the parent -----------------------------------------------------------------------


def test_a_parent_that_ends_leaves_nothing(start: Any) -> None:
    child = start(BUSY + "stay()\n")
    leader = begun(child)
    child.release()
    assert child.process.wait(TOO_LONG) == 0, child.problems()
    # It has waited for that.
    assert group(leader) == {}
    assert child.problems() == ""


def test_a_parent_that_raises_leaves_nothing(start: Any) -> None:
    child = start(BUSY + "stay()\nraise SystemExit(3)\n")
    leader = begun(child)
    child.release()
    assert child.process.wait(TOO_LONG) == 3
    assert group(leader) == {}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_parent_that_is_killed_leaves_nothing(start: Any, number: int) -> None:
    child = start(BUSY + "stay()\n")
    leader = begun(child)
    child.process.send_signal(number)
    child.process.wait(TOO_LONG)
    await_end_of(leader)


@pytest.mark.parametrize("how", ["os.fork()", "libc.fork()"])
def test_a_fork_that_outlives_the_parent_does_not_keep_it(start: Any, how: str) -> None:
    """Neither one that Python knows of, nor one that was made behind its back."""
    child = start(
        BUSY
        + f"""
import ctypes
libc = ctypes.PyDLL(None)
if {how} == 0:
    say(child=os.getpid())
    os.read(HELD, 1)
    os._exit(0)
stay()
"""
    )
    leader = begun(child)
    orphan = child.says()["child"]
    child.process.send_signal(signal.SIGKILL)
    child.process.wait(TOO_LONG)
    await_end_of(leader)
    os.kill(orphan, 0)  # it is still there
    child.release()


def test_a_helper_that_is_killed_leaves_nothing(start: Any) -> None:
    child = start(BUSY + "stuck.exception(60); say(what=type(stuck.exception()).__name__); stay()")
    leader = begun(child)
    os.kill(leader, signal.SIGKILL)
    assert child.says() == {"what": "HelperLost"}
    await_end_of(leader)


def test_a_helper_that_is_asked_to_end_while_it_forks(start: Any) -> None:
    """What a signal handler raises there is dropped."""
    file = Path(compile_helper.__file__)
    program = f"""
import os, runpy, signal
os.register_at_fork(after_in_parent=lambda: os.kill(os.getpid(), signal.SIGTERM))
runpy.run_path({str(file)!r}, run_name="__main__")
"""
    child = start(
        f"""
        from pathlib import Path
        from tuneonce.triton.compile import helper_process
        path = Path(sys.argv[0]).with_name("asked.py")
        path.write_text({program!r})
        helper_process._PROGRAM = path
        pool.submit(job(64))
        helper = pool._helper
        say(ended=helper.ended.wait(60))
        """
    )
    assert child.says() == {"ended": True}


def test_a_helper_that_is_asked_to_end_leaves_nothing(start: Any) -> None:
    child = start(BUSY + "stay()")
    leader = begun(child)
    os.kill(leader, signal.SIGTERM)
    await_end_of(leader)


def test_no_file_is_left_of_what_is_still_being_written(start: Any, tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    program = """
        import tempfile
        assert pool.submit(job(64)).result(60).seconds > 0
        fifo = tempfile.mkdtemp(prefix="mine") + "/fifo"
        os.mkfifo(fifo)
        writing = pool.submit(job(128, does=["litter", fifo]))
        open(fifo).read()
        pool.close()
        say(files=os.listdir(tempfile.gettempdir()))
    """
    child = start("import os\nos.environ['TMPDIR'] = 'tmp'\n" + textwrap.dedent(program))
    assert [name[:4] for name in child.says()["files"]] == ["mine"]


def test_no_file_is_left_of_compilations_that_were_ended(start: Any, tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    program = """
        import tempfile
        assert pool.submit(job(64)).result(60).seconds > 0
        fifo = tempfile.mkdtemp(prefix="mine") + "/fifo"
        os.mkfifo(fifo)
        # A compilation that has files open, as while it assembles.
        stuck = pool.submit(job(128, does=["hold", fifo]))
        with open(fifo, "w"):
            say(files=os.listdir(tempfile.gettempdir()), helper=pool._helper.process.pid)
            stay()
    """
    child = start("import os\nos.environ['TMPDIR'] = 'tmp'\n" + textwrap.dedent(program))
    said = child.says()
    assert len(said["files"]) == 2
    child.process.kill()
    child.process.wait()
    await_end_of(said["helper"])
    assert [path.name[:4] for path in (tmp_path / "tmp").iterdir()] == ["mine"]


# -- while the parent lives ----------------------------------------------------------------------


def test_an_idle_helper_ends_and_the_next_job_starts_another(start: Any) -> None:
    child = start(
        """
        pool = CompilePool(workers=2, idle_s=0.05)
        for block in (64, 128, 256):
            assert pool.submit(job(block)).result(60).seconds > 0
            helper = pool._helper
            if helper is not None:
                helper.ended.wait(60)
                say(helper=helper.process.pid, status=helper.process.wait())
        say(lost=pool._lost)
        """
    )
    ended = []
    while "helper" in (said := child.says()):
        ended.append(said["helper"])
        assert said["status"] == 0
        assert group(said["helper"]) == {}
    assert said == {"lost": None}
    assert len(set(ended)) == len(ended)


def test_many_short_lived_helpers_lose_no_job(start: Any) -> None:
    """Jobs that come just when the helper has had enough."""
    child = start(
        """
        pool = CompilePool(workers=2, idle_s=0.0)
        one = job(64)
        for _ in range(40):
            assert pool.submit(one).result(60).seconds >= 0
        say(done=True)
        """
    )
    assert child.says() == {"done": True}


def test_the_helper_imports_triton_only_and_is_nice(start: Any) -> None:
    child = start(
        """
        import torch
        assert pool.submit(job(64)).result(60).seconds > 0
        say(helper=pool._helper.process.pid, mine=os.getpriority(os.PRIO_PROCESS, 0))
        stay()
        """
    )
    said = child.says()
    assert os.getpriority(os.PRIO_PROCESS, said["helper"]) == min(19, said["mine"] + 5)
    loaded = Path(f"/proc/{said['helper']}/maps").read_text()
    assert "libtriton" in loaded
    assert "libtorch" not in loaded
    assert "numpy" not in loaded
    assert Path(f"/proc/{said['helper']}/cwd").readlink() == Path("/")
    child.release()


# -- where it is started -------------------------------------------------------------------------

WORKS = """
assert pool.submit(job(64)).result(60).seconds > 0
say(helper=pool._helper.process.pid)
"""


def test_started_by_a_thread_that_ends(start: Any) -> None:
    child = start(
        """
        def work():
            assert pool.submit(job(64)).result(60).seconds > 0

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        first = pool._helper.process.pid
        assert pool.submit(job(128)).result(60).seconds > 0
        say(same=first == pool._helper.process.pid)
        """
    )
    assert child.says() == {"same": True}


def test_started_where_the_directory_is_gone(start: Any, tmp_path: Path) -> None:
    program = f"""
        gone = {str(tmp_path / "gone")!r}
        os.mkdir(gone)
        sys.path.insert(0, "")
        os.chdir(gone)
        os.rmdir(gone)
    """
    assert start(textwrap.dedent(program) + WORKS).says()["helper"] > 0


@pytest.mark.parametrize("when", ["at start", "later"])
def test_started_by_a_daemon(start: Any, when: str) -> None:
    """Its standard streams are closed, and what it prints must not reach the helper."""
    closing = "for fd in (0, 1, 2): os.close(fd)\n" if when == "later" else ""
    printing = "os.dup2(os.open(os.devnull, os.O_RDWR), 2)\nprint('hello', flush=True)\n"
    program = closing + WORKS
    if when == "later":
        program += (
            "assert min(pool._helper.input.fileno(), pool._helper.output.fileno()) > 2\n"
            "import contextlib\n"
            "with contextlib.suppress(OSError):\n    print('no frame', flush=True)\n"
            "sys.stdout = None\n"
        )
    else:
        program += "assert sys.stdout is None\n" + printing
    program += "assert pool.submit(job(128)).result(60).seconds > 0\nsay(again=True)\n"
    child = start(program, shell_first="exec <&- >&-" if when == "at start" else None)
    assert child.says()["helper"] > 0
    assert child.says() == {"again": True}


def test_started_with_few_files(start: Any) -> None:
    child = start(
        """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))
"""
        + WORKS
    )
    assert child.says()["helper"] > 0


def test_started_with_no_file_to_spare(start: Any) -> None:
    child = start(
        """
        import resource
        from tuneonce.triton.compile.helper_process import HelperLost
        one = job(64)
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        files = []
        try:
            while True:
                files.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            pass
        for spare in range(9):
            try:
                CompilePool(workers=2).submit(one)
            except HelperLost as error:
                lost = str(error)
            else:
                break
            free = os.open(os.devnull, os.O_RDONLY) if spare else None  # nothing was leaked
            if free is not None:
                os.close(free)
            os.close(files.pop())
        say(lost=lost, spare=spare)
        """
    )
    said = child.says()
    assert "Too many open files" in said["lost"]
    assert 2 < said["spare"] < 9


def test_started_in_a_notebook(start: Any) -> None:
    program = """
        import io

        class Stream(io.TextIOBase):
            def write(self, text):
                return len(text)

        sys.stdout = sys.stderr = sys.__stdout__ = sys.__stderr__ = Stream()
    """
    assert start(textwrap.dedent(program) + WORKS).says()["helper"] > 0


def test_a_program_that_dies_of_a_broken_pipe_lives(start: Any) -> None:
    child = start(
        """
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        assert pool.submit(job(64)).result(60).seconds > 0
        helper = pool._helper
        os.kill(helper.process.pid, signal.SIGSTOP)
        os.kill(helper.process.pid, signal.SIGKILL)
        try:
            os.waitid(os.P_PID, helper.process.pid, os.WEXITED | os.WNOWAIT)
        except ChildProcessError:  # the pool has waited for it already
            pass
        for block in (128, 256, 512):
            try:
                pool.submit(job(block))
            except Exception as error:
                say(lost=type(error).__name__)
                break
        """
    )
    assert child.says() == {"lost": "HelperLost"}


def test_a_program_that_reaps_all_children(start: Any) -> None:
    child = start(
        """
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        for block in (64, 128):
            assert pool.submit(job(block)).result(60).seconds > 0
        pool.close()
        say(done=True)
        """
    )
    assert child.says() == {"done": True}
    assert child.process.wait(TOO_LONG) == 0, child.problems()
