"""What limits say of further processes and memory."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from tests.fakes import write_files
from tuneonce.system.headroom import room_for_memory, room_for_processes

GIB = 1 << 30


@pytest.fixture(autouse=True)
def _no_limit_for_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    monkeypatch.setattr(resource, "getrlimit", lambda what: unlimited)


def tree(home: Path, files: dict[str, str], own: str = "0::/pod/one\n") -> dict[str, Path]:
    mount = home / "cgroup"
    mount.mkdir()
    write_files(mount, files)
    (home / "own").write_text(own)
    return {"cgroup": mount, "own": home / "own"}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        ({"pids.max": "max\n", "pids.current": "7\n"}, None),
        ({"pids.max": "100\n", "pids.current": "60\n"}, 40),
        ({"pids.max": "100\n", "pids.current": "160\n"}, 0),
        ({"pids.max": "100\n"}, None),
        ({"pids.max": "many\n", "pids.current": "60\n"}, None),
        (
            {
                "pod/one/pids.max": "max\n", "pod/one/pids.current": "3\n",
                "pod/pids.max": "50\n", "pod/pids.current": "20\n",
                "pids.max": "900\n", "pids.current": "100\n",
            },
            30,
        ),
    ],
)  # fmt: skip
def test_processes_of_a_group(tmp_path: Path, files: dict[str, str], expected: int | None) -> None:
    assert room_for_processes(**tree(tmp_path, files)) == expected


def test_processes_of_a_group_of_version_1(tmp_path: Path) -> None:
    files = {"pids/pod/pids.max": "64\n", "pids/pod/pids.current": "14\n"}
    assert room_for_processes(**tree(tmp_path, files, "9:pids:/pod\n")) == 50


@pytest.mark.parametrize(("user", "expected"), [(1000, 20 - 3 - 4), (1001, 20 - 1), (0, None)])
def test_processes_of_a_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user: int, expected: int | None
) -> None:
    proc = tmp_path / "proc"
    for pid, threads, owner in ((1, 3, 1000), (2, 4, 1000), (3, 1, 1001)):
        (proc / str(pid)).mkdir(parents=True)
        fields = ["S", *["0"] * 16, str(threads), "0"]
        (proc / str(pid) / "stat").write_text(f"{pid} (a ) name) {' '.join(fields)}\n")
        os.chown(proc / str(pid), owner, owner) if os.getuid() == 0 else None
    (proc / "version").write_text("")
    (proc / "4").mkdir()  # which has ended
    if os.getuid() != 0:
        pytest.skip("only root can give files to other users")
    monkeypatch.setattr(resource, "getrlimit", lambda what: (20, 20))
    monkeypatch.setattr(os, "getuid", lambda: user)
    assert room_for_processes(**tree(tmp_path, {}), proc=proc) == expected


def test_this_process_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda what: (1 << 20, 1 << 20))
    room = room_for_processes(cgroup=Path("/nowhere"), own=Path("/nowhere"))
    assert room is None if os.getuid() == 0 else room is not None and room < 1 << 20


@pytest.mark.parametrize(
    ("files", "own", "expected"),
    [
        ({}, "0::/\n", None),
        ({"memory.max": "max\n", "memory.current": "1\n"}, "0::/\n", None),
        ({"memory.max": f"{4 * GIB}\n", "memory.current": f"{3 * GIB}\n"}, "0::/\n", GIB),
        (
            {
                "memory.max": f"{4 * GIB}\n",
                "memory.current": f"{4 * GIB}\n",
                "memory.stat": f"anon 1\ninactive_file {2 * GIB}\n",
            },
            "0::/\n",
            2 * GIB,
        ),
        (
            {
                "memory/pod/memory.limit_in_bytes": f"{2 * GIB}\n",
                "memory/pod/memory.usage_in_bytes": f"{GIB}\n",
                "memory/memory.limit_in_bytes": "9223372036854771712\n",
                "memory/memory.usage_in_bytes": f"{GIB}\n",
            },
            "4:memory:/pod\n",
            GIB,
        ),
    ],
)
def test_memory(tmp_path: Path, files: dict[str, str], own: str, expected: int | None) -> None:
    assert room_for_memory(**tree(tmp_path, files, own)) == expected
