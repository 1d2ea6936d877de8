"""Where a benchmark ran: machine, GPU and versions, found without importing torch or triton."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path

from .result import Gpu, Machine

_PACKAGES = ("torch", "triton", "vllm", "sglang", "transformers", "fla-core")


def describe_machine() -> Machine:
    """Return what this machine is; `cpu_usable` counts the CPUs this process may run on."""
    count = os.cpu_count() or 1
    affinity = getattr(os, "sched_getaffinity", None)
    return Machine(
        platform=platform.platform(),
        cpu_count=count,
        cpu_usable=len(affinity(0)) if affinity else count,
        cpu_model=cpu_model(),
        python=platform.python_version(),
    )


def describe_gpu() -> Gpu | None:
    """Return what ``nvidia-smi`` tells, or None without it or without a GPU."""
    listing = _nvidia_smi("--query-gpu=name,driver_version", "--format=csv,noheader")
    rows = [line.rpartition(",") for line in listing.splitlines() if "," in line]
    if not rows:
        return None
    return Gpu(
        name=" + ".join(dict.fromkeys(name.strip() for name, _, _ in rows)),
        count=len(rows),
        driver=rows[0][2].strip(),
        visible=os.environ.get("CUDA_VISIBLE_DEVICES"),
    )


def installed_versions() -> dict[str, str | None]:
    """Return the versions next to this Python; the server's own may differ if it has another."""
    versions: dict[str, str | None] = {}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    return versions


def torch_has_gpu() -> bool:
    """Whether torch, in this Python, can use a GPU. Asks a child, so that nothing is loaded here.

    The quick answer comes first: importing torch takes seconds.
    """
    if not _nvidia_smi("-L").startswith("GPU") and not Path("/dev/kfd").exists():
        return False
    question = "import sys, torch; sys.exit(0 if torch.cuda.is_available() else 1)"
    try:
        answer = subprocess.run(
            [sys.executable, "-c", question],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=180,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    return answer.returncode == 0


def _nvidia_smi(*arguments: str) -> str:
    try:
        answer = subprocess.run(
            ["nvidia-smi", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout if answer.returncode == 0 else ""


def cpu_model() -> str | None:
    """What the processor is called, which psutil does not tell."""
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or None
