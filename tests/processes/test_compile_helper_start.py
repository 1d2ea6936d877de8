"""Where a compile helper is started, where it must not be, and what it must leave alone."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import ROOT
from tests.kernels.warm import WarmPython

pytest.importorskip("triton")

TUNE = """
import json, os, sys
import torch, triton, triton.language as tl
import tuneonce
from tuneonce.testing import SimulatedGPU

tuneonce.install()

@triton.jit
def add(x, out, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + i, tl.load(x + i, mask=i < n) + 1, mask=i < n)

sizes = json.loads(os.environ["BLOCKS"])
configs = [triton.Config({"BLOCK": b}, num_warps=w) for b in sizes for w in (1, 4)]
kernel = triton.autotune(configs, ["n"])(add)

def tune(n, dtype=torch.float32):
    kernel[(16,)](torch.ones(1024, dtype=dtype), torch.zeros(1024), n)

gpu = SimulatedGPU(do_bench=True)
"""


class Programs:
    """Programs that tune, in a directory and with a store of their own."""

    def __init__(self, home: Path, warm: WarmPython) -> None:
        self.home, self._warm = home, warm

    def run(self, body: str, *, new: bool = False, **options: Any) -> dict[str, Any]:
        """What a program said: a fork of one that has imported torch, or a `new` one."""
        path = self.home / "elsewhere" / "program.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(TUNE + textwrap.dedent(body))
        environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("TUNEONCE", "TRITON_"))},
            "PYTHONPATH": str(ROOT / "src"),
            "HOME": str(self.home),
            "TRITON_CACHE_DIR": str(self.home / "triton"),
            "TUNEONCE_STORE": str(self.home / "store"),
            "TUNEONCE_EVENTS": str(self.home / "events"),
            "TUNEONCE_WORKERS": "2",
            "TRITON_DEFAULT_FP_FUSION": "1",
            "BLOCKS": "[64, 128]",
            **options.pop("environment", {}),
        }
        if new:
            command = options.pop("command", [sys.executable, str(path)])
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=120,
                **{"cwd": self.home, **options},
            )  # fmt: skip
        else:
            told = self.home / "told"
            done = self._warm.run(path, env=environment, cwd=self.home, told=told, **options)
        assert done.returncode == 0, done.stderr
        said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return {**said, "stderr": done.stderr}

    def events(self, kind: str) -> list[dict[str, Any]]:
        lines = [
            json.loads(line)
            for file in (self.home / "events").iterdir()
            for line in file.read_text().splitlines()
        ]
        return [line for line in lines if line.get("e") == kind]

    @property
    def ahead(self) -> int:
        """Compilations in other processes."""
        return sum(bool(one.get("ahead")) for one in self.events("compile"))

    @property
    def here(self) -> int:
        return len(self.events("compile")) - self.ahead


@pytest.fixture
def programs(tmp_path: Path, warm_python: WarmPython) -> Programs:
    return Programs(tmp_path, warm_python)


def test_nothing_is_imported_from_the_current_directory(programs: Programs) -> None:
    """Where somebody may have put a file that is called like a module."""
    for name in ("triton", "json", "select", "tempfile", "signal", "resource", "knobs"):
        (programs.home / f"{name}.py").write_text("open('executed', 'w').close()\n1 / 0\n")
    said = programs.run(
        """
        with gpu:
            sys.path.insert(0, "")  # as in a notebook
            tune(1024)
        print(json.dumps({}))
        """,
        new=True,
    )
    assert said["stderr"] == ""
    assert not (programs.home / "executed").exists()
    assert (programs.ahead, programs.here) == (4, 0)


@pytest.mark.parametrize(
    "how",
    [
        "sys.frozen = True",
        "__compiled__ = True",
        "sys.executable = sys.argv[0]",
        "sys.executable = ''",
        "os.environ['TUNEONCE_COMPILE_HELPER'] = '1'",
    ],
)
def test_a_program_that_is_no_python_is_not_started_again(programs: Programs, how: str) -> None:
    programs.run(
        f"""
        with open("started", "a") as file:
            file.write("x")
        {how}
        with gpu:
            tune(1024)
        print(json.dumps({{}}))
        """
    )
    assert (programs.home / "started").read_text() == "x"
    assert (programs.ahead, programs.here) == (0, 4)
    assert [one["what"] for one in programs.events("problem")] == ["compile_helper_lost"]


def test_the_helpers_environment_is_marked(programs: Programs) -> None:
    said = programs.run(
        """
        from tuneonce.activation import install as activation

        with gpu:
            tune(1024)
        helper = activation._installed.hook._workers._pool._helper.process.pid
        environment = open(f"/proc/{helper}/environ").read()
        print(json.dumps({"marked": "TUNEONCE_COMPILE_HELPER=1" in environment}))
        """
    )
    assert said["marked"]


@pytest.mark.parametrize("reuse", ["nothing", "a file", "a socket"])
def test_descriptors_that_the_program_closes_are_its_own(programs: Programs, reuse: str) -> None:
    """As a daemon does; what it opens then gets the numbers, and nothing of ours may come there."""
    said = programs.run(
        f"""
        import socket

        with gpu:
            tune(1024)
            os.closerange(3, 256)
            mine = []
            for _ in range(40):
                if {reuse!r} == "a file":
                    mine.append(os.open(f"mine-{{len(mine)}}", os.O_RDWR | os.O_CREAT))
                elif {reuse!r} == "a socket":
                    mine.extend(one.detach() for one in socket.socketpair())
            tune(1000)
            tune(1000, torch.float16)
        open_still = all(os.fstat(fd) for fd in mine)
        sizes = [os.fstat(fd).st_size for fd in mine] if {reuse!r} == "a file" else []
        unread = 0
        for fd in mine if {reuse!r} == "a socket" else ():
            os.set_blocking(fd, False)
            try:
                unread += len(os.read(fd, 100))
            except BlockingIOError:
                pass
        print(json.dumps({{"open": open_still, "written": sum(sizes), "unread": unread}}))
        """
    )
    assert said == {"open": True, "written": 0, "unread": 0, "stderr": said["stderr"]}
    assert "Traceback" not in said["stderr"]
    tunes = programs.events("tune")
    assert len(tunes) == 3


def may_limit_processes() -> bool:
    """Whether this process can start another that the limit of processes holds for."""
    return os.geteuid() == 0 and hasattr(ctypes.CDLL(None), "prctl")


LIMITED = """
import ctypes, json, os, resource, sys

libc = ctypes.CDLL(None, use_errno=True)
libc.prctl(8, 1, 0, 0, 0)  # keep capabilities over the change of the user
os.setgroups([])
user, limit = int(sys.argv[1]), int(sys.argv[2])
os.setresgid(user, user, user)
os.setresuid(user, user, user)

class Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]

class Data(ctypes.Structure):
    _fields_ = [(n, ctypes.c_uint32) for n in ("effective", "permitted", "inheritable")]

keep = 1 << 1 | 1 << 2  # read and search everything, but start no more than others may
data = (Data * 2)()
data[0].effective = data[0].permitted = data[0].inheritable = keep
assert libc.capset(ctypes.byref(Header(0x20080522, 0)), data) == 0
for capability in (1, 2):
    assert libc.prctl(47, 2, capability, 0, 0) == 0
resource.setrlimit(resource.RLIMIT_NPROC, (limit, limit))
os.execv(sys.executable, [sys.executable, *sys.argv[3:]])
"""


@pytest.mark.slow
@pytest.mark.every_version
@pytest.mark.skipif(not may_limit_processes(), reason="only root can start as another user")
@pytest.mark.parametrize("limit", [6, 12, 40])
def test_a_program_that_may_have_few_processes_lives(programs: Programs, limit: int) -> None:
    """Fewer compile at once, or nobody but the program: what stock survives, it survives."""
    program = programs.home / "elsewhere" / "program.py"
    limited = programs.home / "limited.py"
    limited.write_text(LIMITED)
    programs.home.chmod(0o777)
    user = 65000 + limit  # whose other processes would count
    said = programs.run(
        """
        with gpu:
            tune(1024)
            block = kernel.best_config.kwargs["BLOCK"]
        print(json.dumps({"block": block}))
        """,
        new=True,
        command=[sys.executable, str(limited), str(user), str(limit), str(program)],
        environment={
            "TUNEONCE_WORKERS": "16",
            # More candidates than processes that may be started, but for the last limit.
            "BLOCKS": "[32, 64, 128, 256, 512, 1024]",
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "MKL_NUM_THREADS": "1",
        },
    )
    assert said["block"] in (32, 64, 128, 256, 512, 1024)
    assert programs.ahead + programs.here >= 12
    assert len(programs.events("tune")) == 1
    failed = [one for one in programs.events("measure") if one.get("failed")]
    assert failed == []
