"""How many compilers may run, from what the system says of this process."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from tests.fakes import write_files
from tuneonce.system.cpus import slots_directory, usable_cpus

CORES = 16


@pytest.fixture(autouse=True)
def _sixteen_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(CORES)), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: CORES)


def cores(home: Path, own: str | None, files: dict[str, str]) -> int:
    """Usable cores where the control groups hold `files` and the process is in those of `own`."""
    tree = home / "cgroup"
    tree.mkdir()
    write_files(tree, files)
    if own is not None:
        (home / "own").write_text(own)
    return usable_cpus(cgroup=tree, own=home / "own")


def test_affinity_counts_where_there_is_no_quota(tmp_path: Path) -> None:
    assert cores(tmp_path, None, {}) == CORES


def test_this_machine_has_a_core() -> None:
    assert 1 <= usable_cpus() <= CORES


def test_without_affinity_all_cores_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    assert cores(tmp_path, None, {}) == 5


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("400000 100000\n", 4),
        ("350000 100000\n", 4),  # three and a half cores keep four compilers busy
        ("50000 100000\n", 1),
        ("1000 100000\n", 1),
        ("6400000 100000\n", CORES),
        ("max 100000\n", CORES),
        ("", CORES),
        ("400000\n", CORES),
        ("0 100000\n", CORES),
        ("400000 0\n", CORES),
        ("nan 100000\n", CORES),
        ("inf 100000\n", CORES),
        ("a lot\n", CORES),
    ],
)
def test_a_quota_of_version_2(tmp_path: Path, text: str, expected: int) -> None:
    assert cores(tmp_path, "0::/\n", {"cpu.max": text}) == expected


@pytest.mark.parametrize(
    ("quota", "period", "expected"),
    [("200000", "100000", 2), ("-1", "100000", CORES), ("200000", "0", CORES)],
)
@pytest.mark.parametrize("tree", ["cpu", "cpu,cpuacct"])
def test_a_quota_of_version_1(
    tmp_path: Path, tree: str, quota: str, period: str, expected: int
) -> None:
    files = {f"{tree}/cpu.cfs_quota_us": f"{quota}\n", f"{tree}/cpu.cfs_period_us": f"{period}\n"}
    own = "12:cpuset:/\n4:cpu,cpuacct:/docker/0123\n1:name=systemd:/docker/0123\n"
    assert cores(tmp_path, own, files) == expected


def test_a_quota_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "cgroup").mkdir()
    (tmp_path / "cgroup/cpu.max").write_bytes(b"\xff\xfe")
    assert usable_cpus(cgroup=tmp_path / "cgroup", own=tmp_path / "own") == CORES


def test_the_smallest_quota_of_all_groups_above_counts(tmp_path: Path) -> None:
    files = {
        "cpu.max": "max 100000\n",
        "batch.slice/cpu.max": "300000 100000\n",
        "batch.slice/job.scope/cpu.max": "800000 100000\n",
        "other.slice/cpu.max": "100000 100000\n",
    }
    assert cores(tmp_path, "0::/batch.slice/job.scope\n", files) == 3


def test_a_group_of_version_1_below_the_mounted_one(tmp_path: Path) -> None:
    group = "cpu/slurm/job_7"
    files = {f"{group}/cpu.cfs_quota_us": "500000\n", f"{group}/cpu.cfs_period_us": "100000\n"}
    assert cores(tmp_path, "3:cpuacct,cpu:/slurm/job_7\n0::/\n", files) == 5


def test_a_group_outside_of_what_is_mounted(tmp_path: Path) -> None:
    files = {"cpu.max": "700000 100000\n"}
    assert cores(tmp_path, "0::/../../other\n", files) == 7


# -- where processes share their cores -----------------------------------------------------------


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_the_slots_are_one_private_directory_per_user(temporary: Path) -> None:
    slots = slots_directory()
    assert slots == temporary / f"tuneonce-{os.getuid()}/slots"
    assert (slots.stat().st_mode & 0o777, slots.parent.stat().st_mode & 0o777) == (0o700, 0o700)
    assert slots_directory() == slots


def test_who_is_bound_to_other_cores_shares_with_nobody(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {slots_directory()}
    for cores in ({0, 1, 2, 3}, {4, 5, 6, 7}):
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid, cores=cores: cores)
        found.add(slots_directory())
        assert slots_directory() in found
    mine = temporary / f"tuneonce-{os.getuid()}"
    assert found == {mine / name for name in ("slots", "slots-f", "slots-f0")}


@pytest.mark.parametrize("which", ["", "slots"])
@pytest.mark.parametrize("mode", [0o777, 0o770, 0o1777])
def test_a_directory_that_others_may_write_is_not_used(
    temporary: Path, which: str, mode: int
) -> None:
    slots = slots_directory()
    assert slots is not None
    (slots.parent / which).chmod(mode)
    assert slots_directory() is None


def test_a_directory_of_somebody_else_is_not_used(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    me = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: me + 1)
    (temporary / f"tuneonce-{me + 1}/slots").mkdir(parents=True, mode=0o700)
    assert slots_directory() is None


@pytest.mark.parametrize("which", ["", "slots"])
def test_a_link_is_not_followed(temporary: Path, which: str) -> None:
    """Who made the link could lead us, and the files that we make, to any directory of ours."""
    elsewhere = temporary / "elsewhere"
    (elsewhere / "slots").mkdir(parents=True, mode=0o700)
    elsewhere.chmod(0o700)
    name = temporary / f"tuneonce-{os.getuid()}"
    if which:
        name.mkdir(mode=0o700)
        (name / "slots").symlink_to(elsewhere / "slots")
    else:
        name.symlink_to(elsewhere)
    assert slots_directory() is None


def test_a_directory_that_cannot_be_made(temporary: Path) -> None:
    (temporary / f"tuneonce-{os.getuid()}").write_text("in the way")
    assert slots_directory() is None


def test_no_temporary_directory_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> str:
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    assert slots_directory() is None
