"""Runs starts of programs, and compares what they left in Triton's cache with what stock left."""

from __future__ import annotations

import base64
import functools
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fakes import ROOT
from tuneonce.events.log import read_processes

FOLDER = Path(__file__).parent
H200 = "NVIDIA H200 (simulated)"


@dataclass(frozen=True)
class Start:
    """One start. `arm`: None is stock Triton, otherwise tuneonce's number of workers.

    Starts that name one `store` know what the others have measured; each has a Triton cache of its
    own.
    """

    home: Path
    modules: Sequence[str]
    arm: int | None = None
    store: Path | None = None
    product: str = H200
    only: Sequence[str] | None = None

    def told(self) -> dict[str, Any]:
        return {
            "home": str(self.home),
            "modules": list(self.modules),
            "arm": self.arm,
            "store": str(self.store or self.home / "store"),
            "product": self.product,
            "only": None if self.only is None else list(self.only),
        }

    @property
    def ahead(self) -> int:
        """Compilations outside the program."""
        (events,) = read_processes(self.home / "events")
        return sum(bool(event.get("ahead")) for event in events if event.get("e") == "compile")

    @property
    def problems(self) -> list[dict[str, Any]]:
        (events,) = read_processes(self.home / "events")
        return [event for event in events if event.get("e") == "problem"]


def run(starts: Sequence[Start], folder: Path, **environment: str) -> list[dict[str, Any]]:
    """What the programs of each start launched, by program. Each start must come to its end."""
    document = folder / "launched.json"
    done = subprocess.run(
        [sys.executable, str(FOLDER / "starts.py"), str(document)],
        input=json.dumps([start.told() for start in starts]),
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(FOLDER.parent)]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "TUNEONCE": "0",
            "TUNEONCE_RAISE": "1",
            "TRITON_DEFAULT_FP_FUSION": "1",
            **environment,
        },
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    answers: list[dict[str, Any]] = json.loads(document.read_text())
    return answers


def programs(module: str) -> list[str]:
    """Names of the programs of a module, which is not imported: it needs Triton and a GPU."""
    text = (FOLDER / f"{module}.py").read_text()
    return re.findall(r"^ *def program_(\w+)\(", text, re.MULTILINE)


def binaries(start: Start) -> dict[str, dict[str, bytes]]:
    """What is in Triton's cache, by folder and file; results of tuning are left out."""
    return _files(start.home / "triton")


# A start that has ended changes nothing there any more, and many tests ask about the same two.
@functools.lru_cache(maxsize=4)
def _files(cache: Path) -> dict[str, dict[str, bytes]]:
    found: dict[str, dict[str, bytes]] = {}
    for path in sorted(cache.rglob("*")):
        if path.is_file() and not path.name.endswith(".autotune.json"):
            folder = str(path.parent.relative_to(cache))
            found.setdefault(folder, {})[path.name] = path.read_bytes()
    return found


def comparable(name: str, data: bytes, start: Start) -> bytes:
    if name.startswith("__grp__"):  # which names files by their paths
        return data.replace(str(start.home).encode(), b"")
    return data


def differing(stock: Start, start: Start, *, kernel: str = "") -> list[str]:
    """What is in Triton's cache and is not what stock leaves, as lines that say it.

    `kernel`: only of kernels whose names start so.
    """
    wrong = []
    theirs = binaries(stock)
    for folder, files in binaries(start).items():
        names = sorted(name for name in files if not name.startswith("__grp__"))
        if not names or not names[0].startswith(kernel):
            continue
        if folder not in theirs:
            wrong.append(f"{names[0]} {folder[:8]}: stock has none")
            continue
        if files.keys() != theirs[folder].keys():
            wrong.append(f"{names[0]} {folder[:8]}: files {sorted(files)}")
        for name in files.keys() & theirs[folder].keys():
            ours, stocks = files[name], theirs[folder][name]
            if comparable(name, ours, start) != comparable(name, stocks, stock):
                wrong.append(f"{name} {folder[:8]}: other bytes")
    return sorted(wrong)


def lacking(stock: Start, start: Start, launched: Sequence[dict[str, Any]]) -> list[str]:
    """Kernels that were launched and are not in Triton's cache where stock left them."""
    here, theirs = ({name_of(f) for f in binaries(s)} for s in (start, stock))
    hashes = {one["hash"] for one in launched if "hash" in one}
    return sorted(one for one in hashes if one not in here and one in theirs)


def name_of(folder: str) -> str:
    """The digest that a folder of Triton's cache is named for."""
    padding = "=" * (-len(folder) % 8)
    return base64.b32decode(folder + padding).hex()


def launched_otherwise(stock: dict[str, Any], result: dict[str, Any]) -> list[str]:
    """In what the launches and notes of a program are not those that it has with stock Triton."""
    wrong = [f"error {result['error']}"] if result["error"] != stock["error"] else []
    ours, theirs = result["launched"], stock["launched"]
    if len(ours) != len(theirs):
        wrong.append(f"{len(ours)} launches instead of {len(theirs)}")
    for number, (one, other) in enumerate(zip(ours, theirs, strict=False)):
        if "error" in one or "error" in other:
            if one != other:
                wrong.append(f"launch {number}: {short(one)} instead of {short(other)}")
            continue
        parts = [part for part in one if one[part] != other[part]]
        if parts:
            wrong.append(f"launch {number} of {one['kernel']}: other {', '.join(parts)}")
    if result["noted"] != stock["noted"]:
        wrong.append(f"noted {result['noted']} instead of {stock['noted']}")
    return wrong


def short(launch: dict[str, Any]) -> str:
    return str({key: text[:200] for key, text in launch.items() if key not in ("ttir", "ptx")})
