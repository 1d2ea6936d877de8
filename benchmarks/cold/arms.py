"""The arms of a comparison, and how one process of an arm is started and read.

``stock``
    Triton as it is, counted and not changed, with no cache of tuning results, and so without
    FLA's own: its autotuners keep results whatever Triton's variable says.
``tuneonce``
    On, with an empty store.
``tuneonce-known``
    On, with a store that knows every key from another world (`aging`): nothing in it may be used
    as it is, all of it may be known before the first call.
``tuneonce-warm``
    The second start after ``tuneonce``, with its store and its Triton cache.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cold.workloads import WORKLOADS

ROOT = Path(__file__).resolve().parents[2]

ARMS: dict[str, dict[str, str]] = {
    "stock": {
        "TUNEONCE": "observe",
        "TRITON_CACHE_AUTOTUNING": "0",
        "FLA_CACHE_RESULTS": "0",
    },
    "tuneonce": {"TUNEONCE": "1"},
    "tuneonce-known": {"TUNEONCE": "1"},
    "tuneonce-warm": {"TUNEONCE": "1"},
}
NEEDS = {"tuneonce-warm": "tuneonce"}
"""An arm that starts from what another has left, directly after it."""


class Failed(Exception):
    """A process of a workload ended badly; the text is the end of what it wrote."""


def environment(arm: str, home: Path, events: Path, steering: tuple[str, ...]) -> dict[str, str]:
    """This process's environment less all that steers, with directories of the arm's own."""
    theirs = ("TUNEONCE", "TRITON_", *steering)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(theirs)}
    path = [str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
    return kept | {
        "HOME": str(home),  # packages keep results of their own there
        "XDG_CACHE_HOME": str(home / "cache"),
        "TRITON_CACHE_DIR": str(home / "triton"),
        "TUNEONCE_STORE": str(home / "store"),
        "TUNEONCE_EVENTS": str(events),
        "PYTHONPATH": os.pathsep.join(filter(None, path)),
        # Triton 3.9 warns unless this is set to what it does anyhow; others do not know it.
        "TRITON_DEFAULT_FP_FUSION": "1",
        **ARMS[arm],
    }


def start(
    name: str,
    arm: str,
    home: Path,
    events: Path,
    options: list[str],
    *,
    timeout: float,
    extra: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """One process of a workload, timed from outside, with the events that it left.

    `extra` goes over the arm's environment. Raises `Failed`.
    """
    home.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, str(ROOT / "benchmarks/cold/run_workload.py"), name, *options]
    began = time.perf_counter()
    process = subprocess.Popen(
        command,
        env={**environment(arm, home, events, WORKLOADS[name].steering), **(extra or {})},
        cwd=home,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired as error:
        _end(process)
        raise Failed(f"not done after {timeout:.0f} s") from error
    except BaseException:
        _end(process)
        raise
    seconds = time.perf_counter() - began
    if process.returncode:
        raise Failed(f"exit {process.returncode}\n{err[-3000:]}")
    document: dict[str, Any] = json.loads(out)
    document.pop("schema")
    return {"process_s": round(seconds, 3), **document, **read_events(events)}


def _end(process: subprocess.Popen[str]) -> None:
    """End a process and its own helpers: they are its process group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def read_events(events: Path) -> dict[str, Any]:
    """Totals of the processes that wrote to `events`, and their ``tune`` events whole.

    An observer's ``tune`` events are empty: its figures stand in the totals.
    """
    import msgspec

    from tuneonce.events.log import read_processes
    from tuneonce.events.totals import total

    processes = list(read_processes(events))
    tunes = [event for lines in processes for event in lines if event.get("e") == "tune"]
    return {
        "totals": msgspec.to_builtins(total(processes)),
        "tunes": [event for event in tunes if event.get("seconds")],
    }
