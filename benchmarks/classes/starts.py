"""How a process of an arm is started, ended in time and read.

All arms of an operator share one Triton cache, and so its binaries, which are the same for all; no
arm reads another's winners. The learning arm is the first and finds none. ``second`` has the
directories that ``learning`` left.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from documents import ROOT

# FLA keeps the results of its own autotuners whatever Triton's variable says.
STOCK = {"TUNEONCE": "0", "TRITON_CACHE_AUTOTUNING": "0", "FLA_CACHE_RESULTS": "0"}
TUNEONCE = {"TUNEONCE": "1"}
ENVIRONMENTS = {"learning": TUNEONCE, "second": TUNEONCE}
HOMES = {"second": "learning"}
"""An arm that starts from what another one has left."""

STEERING = ("TUNEONCE", "TRITON_", "FLA_", "MAMBA_")
# To end by itself after its last size, beyond what it is given.
GRACE_S = 5.0


class Starts:
    """Processes of one operator, in `scratch`; `extra` variables are for tuneonce's arms."""

    def __init__(self, operator: str, scratch: Path, extra: Mapping[str, str]) -> None:
        self._operator = operator
        self._scratch = scratch
        self._extra = extra

    def can(self, role: str) -> bool:
        """Whether what this arm starts from is there."""
        return role not in HOMES or (self._scratch / HOMES[role] / "store").exists()

    def run(self, role: str, options: list[str], *, until: float) -> dict[str, Any]:
        """One process and what it found, also where it did not come to its end."""
        self._empty(role)
        process, out, log = self._spawn(role, role, options, until=until)
        began = time.perf_counter()
        status = _wait(process, until + GRACE_S)
        found: dict[str, Any] = json.loads(out.read_text()) if out.exists() else {"sizes": {}}
        found["process_s"] = round(time.perf_counter() - began, 2)
        if status != 0:
            found["complete"] = False
            found["ended"] = f"exit {status}" if status is not None else "no time left"
            found["last_words"] = log.read_text()[-2000:]
        if role in ENVIRONMENTS:
            found |= what_was_done(self._scratch / f"events-{role}")
        return found

    def compile(self, options: list[str], *, processes: int, until: float) -> float:
        """Compile every candidate in so many processes. Returns seconds; failures are no matter."""
        began = time.perf_counter()
        spawned = []
        for number in range(processes):
            share = ["--share", f"{number}/{processes}"]
            name = f"compile-{number}"
            spawned.append(self._spawn("compile", name, [*options, *share], until=until)[0])
        for process in spawned:
            _wait(process, until)
        return round(time.perf_counter() - began, 2)

    def _empty(self, role: str) -> None:
        """Remove what an earlier try of this arm has left."""
        left = [f"events-{role}"] if role in HOMES else [f"events-{role}", role]
        left += ["triton"] if role == "learning" else []
        for name in left:
            shutil.rmtree(self._scratch / name, ignore_errors=True)

    def _spawn(
        self, role: str, name: str, options: list[str], *, until: float
    ) -> tuple[subprocess.Popen[bytes], Path, Path]:
        home = self._scratch / HOMES.get(role, name)
        home.mkdir(parents=True, exist_ok=True)
        events = self._scratch / f"events-{name}"
        events.mkdir(exist_ok=True)
        environment = {k: v for k, v in os.environ.items() if not k.startswith(STEERING)}
        path = [str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
        environment |= {
            "HOME": str(home),
            "XDG_CACHE_HOME": str(home / "cache"),
            "TRITON_CACHE_DIR": str(self._scratch / "triton"),
            "TUNEONCE_STORE": str(home / "store"),
            "TUNEONCE_EVENTS": str(events),
            # Two starts of one program, though their arguments differ.
            "TUNEONCE_PROFILE": f"work-classes-{self._operator}",
            "PYTHONPATH": os.pathsep.join(filter(None, path)),
            # Triton 3.9 warns unless this is set to what it does anyhow; others do not know it.
            "TRITON_DEFAULT_FP_FUSION": "1",
            **ENVIRONMENTS.get(role, STOCK),
            **(self._extra if role in ENVIRONMENTS else {}),
        }
        out, log = self._scratch / f"{name}.json", self._scratch / f"{name}.log"
        out.unlink(missing_ok=True)
        script = str(ROOT / "benchmarks/classes/process.py")
        command = [sys.executable, script, role, self._operator, "--out", str(out)]
        command += ["--until", str(until), *options]
        with log.open("w") as text:
            process = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=text,
                stderr=text,
                start_new_session=True,
            )
        return process, out, log


def _wait(process: subprocess.Popen[bytes], until: float) -> int | None:
    """The exit status; None where the process, a group of its own, was ended at `until`."""
    try:
        return process.wait(max(0.0, until - time.monotonic()))
    except subprocess.TimeoutExpired:
        return None
    finally:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def what_was_done(events: Path) -> dict[str, Any]:
    """What tuneonce says that it did: its totals, and its events by name."""
    import msgspec

    from tuneonce.events.log import read_processes
    from tuneonce.events.totals import total

    processes = [list(process) for process in read_processes(events)]
    names = Counter(str(event.get("e")) for process in processes for event in process)
    return {
        "totals": msgspec.to_builtins(total(processes)),
        "events": dict(sorted(names.items())),
        "explored": explored([event for process in processes for event in process]),
    }


def explored(events: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The keys and classes that launches were to tune, in the order in which that began: after how
    many seconds, and what came of it, or nothing if it did not end."""
    found: dict[Any, dict[str, Any]] = {}
    ready = 0.0
    for event in events:
        if event.get("e") == "ready":
            ready = event["t"]
        if event.get("e") != "explore":
            continue
        one = event.get("kernel"), event.get("key"), event.get("work_class")
        since = round(event["t"] - ready, 2)
        if event.get("what") == "begin":
            kernel = str(event.get("kernel")).rpartition(":")[2]
            found[one] = {"kernel": kernel, "work_class": event.get("work_class"), "began_s": since}
        else:
            said = {k: v for k, v in event.items() if k not in ("t", "e", "what", "kernel", "key")}
            found.setdefault(one, {}).update(said, ended_s=since)
    return list(found.values())
