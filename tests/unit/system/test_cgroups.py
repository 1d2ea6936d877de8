"""The control groups of a process, as files say them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tuneonce.system.cgroups import controlled, unified

LINES = "12:memory:/pod/one\n11:cpu,cpuacct:/pod\n3:name=systemd:/\n0::/slice/unit\n"


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "own"
    path.write_text(LINES)
    return path


def below(mount: Path, found: object) -> list[str]:
    return [str(path.relative_to(mount)) for path in found]  # type: ignore[attr-defined]


def test_the_innermost_comes_first(tmp_path: Path, own: Path) -> None:
    assert below(tmp_path, unified(tmp_path, own)) == ["slice/unit", "slice", "."]


def test_each_controller_has_a_tree_in_version_1(tmp_path: Path, own: Path) -> None:
    assert below(tmp_path, controlled("memory", tmp_path, own)) == [
        "memory/pod/one", "memory/pod", "memory",
        "memory,memoryacct/pod/one", "memory,memoryacct/pod", "memory,memoryacct",
    ]  # fmt: skip
    assert below(tmp_path, controlled("cpu", tmp_path, own))[:2] == ["cpu/pod", "cpu"]
    assert below(tmp_path, controlled("pids", tmp_path, own)) == ["pids", "pids,pidsacct"]


@pytest.mark.parametrize("text", ["0::/../outside\n", "0::/\n", "nonsense\n\n", ""])
def test_a_group_that_is_not_mounted_here(tmp_path: Path, text: str) -> None:
    (tmp_path / "own").write_text(text)
    assert below(tmp_path, unified(tmp_path, tmp_path / "own")) == ["."]


def test_where_nothing_is_known(tmp_path: Path) -> None:
    assert below(tmp_path, unified(tmp_path, tmp_path / "missing")) == ["."]
    (tmp_path / "own").write_bytes(b"0::/\xff\n")
    assert below(tmp_path, unified(tmp_path, tmp_path / "own")) == ["."]
