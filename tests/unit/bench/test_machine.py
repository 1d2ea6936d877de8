from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tuneonce.bench.machine import (
    describe_gpu,
    describe_machine,
    installed_versions,
    torch_has_gpu,
)


@pytest.fixture
def smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place for an ``nvidia-smi`` that is the only program there is."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path / "nvidia-smi"


def says(smi: Path, text: str, *, status: int = 0) -> None:
    smi.write_text(f"#!{sys.executable}\nprint({text!r})\nraise SystemExit({status})\n")
    smi.chmod(0o755)


def test_gpus(smi: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert describe_gpu() is None
    says(smi, "NVIDIA H200, 570.1\nNVIDIA H200, 570.1")
    gpu = describe_gpu()
    assert gpu is not None
    assert (gpu.name, gpu.count, gpu.driver, gpu.visible) == ("NVIDIA H200", 2, "570.1", "1")
    says(smi, "NVIDIA-SMI has failed, because", status=9)
    assert describe_gpu() is None


def test_without_a_gpu_torch_is_not_asked(smi: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert not torch_has_gpu()
    says(smi, "No devices found.")
    assert not torch_has_gpu()


def test_machine_and_versions() -> None:
    machine = describe_machine()
    assert 1 <= machine.cpu_usable <= machine.cpu_count
    assert machine.python.startswith("3.")
    assert {"torch", "triton", "vllm", "transformers", "fla-core"} <= set(installed_versions())
