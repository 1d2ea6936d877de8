from __future__ import annotations

import os
import subprocess
import sys

import psutil
import pytest

from tuneonce.bench import procfs

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")


def later_namesake(process: psutil.Process) -> psutil.Process:
    """A process of the same number that was started later."""
    other = psutil.Process(process.pid)
    other._ident = (process.pid, process._ident[1] + 1)
    return other


def test_a_process_and_its_zombie() -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as child:
        process = procfs.find(child.pid)
        assert process is not None
        assert (process.pid, process.ppid()) == (child.pid, os.getpid())
        assert procfs.alive(process)
        assert not procfs.alive(later_namesake(process))
        child.kill()
        # Ended and not reaped: there is an entry, but nobody lives.
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert procfs.find(child.pid) is None
    assert procfs.find(child.pid) is None


def test_names_with_blanks_and_parentheses() -> None:
    code = "import sys; open('/proc/self/comm', 'w').write('a) S (b'); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-S", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        process = procfs.find(child.pid)
        assert process is not None
        assert process.ppid() == os.getpid()
        child.kill()


def test_members_are_known_by_session_mark_and_parent() -> None:
    def start(**env: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["cat"], stdin=subprocess.PIPE, env={**os.environ, **env}, start_new_session=True
        )

    with start() as leader, start(MARK="1") as marked, start(MARK="11") as other:
        found = {process.pid for process in procfs.members(leader=leader.pid, mark="MARK=1")}
        assert found == {leader.pid, marked.pid}
        for child in (leader, marked, other):
            child.kill()


def test_members_stay_known_and_so_do_their_children() -> None:
    with subprocess.Popen(
        ["sh", "-c", "tail -f /dev/null & echo $!; wait"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as seen:
        assert seen.stdout is not None
        child = int(seen.stdout.readline())
        known = procfs.find(seen.pid)
        assert known is not None
        # Neither session, mark nor parent leads from the leader to them.
        found = procfs.members(leader=-1, mark="MARK=1", known={known})
        assert {process.pid for process in found} == {seen.pid, child}
        later = later_namesake(known)
        assert procfs.members(leader=-1, mark="MARK=1", known={later}) == set()
        os.killpg(seen.pid, 9)


def test_names() -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as child:
        process = procfs.find(child.pid)
        assert process is not None
        assert process in procfs.living()
        assert procfs.name(process) == "cat"
        child.kill()
    assert procfs.name(process) == ""
