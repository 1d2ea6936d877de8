#!/usr/bin/env python3
"""What tuneonce adds to the start of an interpreter, as one JSON document on standard output.

    python benchmarks/import_time.py [--repeats 40] > benchmarks/results/import_time.json

Five arms run one after another in every round (A B C D E A B C D E ...), so that a slow moment
of the machine meets all of them: a bare interpreter, the same with the .pth file installed and
off, installed and on, `import tuneonce`, and `tuneonce --help`. Each runs in an environment made
for this measurement, with only our source and what this interpreter can import in it. Times are
milliseconds of one process: elapsed, and processor time of the child. `added` compares each arm
with the bare start of the same round. `importtime` is the interpreter's own account
(-X importtime) of one further run of each, `pth_us` the time of that one line of the .pth file.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from datetime import datetime, timezone
from pathlib import Path

from documents import give

ROOT = Path(__file__).parents[1]
HELP = "import sys; sys.argv = ['tuneonce', '--help']; from tuneonce.cli import main; main()"


def make_environment(root: Path, *, with_pth: bool) -> Path:
    """An environment without pip; its interpreter."""
    venv.create(root, with_pip=False, symlinks=True)
    (site,) = root.glob("lib/python*/site-packages")
    # Only paths: start-up lines of other packages are not executed. The name sorts first.
    packages = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    paths = [str(ROOT / "src"), *packages]
    (site / "_paths.pth").write_text("".join(f"{path}\n" for path in paths))
    if with_pth:
        (site / "tuneonce.pth").write_text((ROOT / "src/tuneonce.pth").read_text())
    return root / "bin" / "python"


def environment(value: str | None) -> dict[str, str]:
    kept = {
        name: text
        for name, text in os.environ.items()
        if not name.startswith(("TUNEONCE", "TRITON", "PYTHON"))
    }
    return kept if value is None else {**kept, "TUNEONCE": value}


def run_once(command: list[str], env: dict[str, str]) -> tuple[float, float]:
    """Elapsed and processor time of one child, in milliseconds."""
    began = time.perf_counter()
    child = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    elapsed = time.perf_counter() - began
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{command} exited {child.returncode}")
    return elapsed * 1e3, (usage.ru_utime + usage.ru_stime) * 1e3


def import_times(command: list[str], env: dict[str, str]) -> dict[str, float]:
    """Cumulative milliseconds of each of our modules, and of what they bring along."""
    command = [command[0], "-X", "importtime", *command[1:]]
    text = subprocess.run(
        command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=True
    ).stderr
    rows = re.findall(r"^import time:\s+\d+ \|\s+(\d+) \| (\s*)(tuneonce\S*)", text, re.MULTILINE)
    return {name: int(microseconds) / 1e3 for microseconds, _, name in rows}


def summary(values: list[float]) -> dict[str, float]:
    tenths = statistics.quantiles(values, n=10)
    median = statistics.median(values)
    return {"median": round(median, 3), "p20": round(tenths[1], 3), "p80": round(tenths[7], 3)}


def pth_microseconds() -> float:
    """Median time to execute the off line, as site does it: compile and run."""
    line = (ROOT / "src/tuneonce.pth").read_text()
    times = []
    for _ in range(1000):
        began = time.perf_counter()
        exec(line)
        times.append(time.perf_counter() - began)
    return round(statistics.median(times) * 1e6, 2)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=40, help="rounds (default 40)")
    repeats = parser.parse_args().repeats
    if repeats < 2:
        parser.error("--repeats must be at least 2")
    for name in [name for name in os.environ if name.startswith("TUNEONCE")]:
        del os.environ[name]

    with tempfile.TemporaryDirectory() as scratch:
        bare = str(make_environment(Path(scratch) / "bare", with_pth=False))
        pth = str(make_environment(Path(scratch) / "pth", with_pth=True))
        arms = {
            "bare": ([bare, "-c", "pass"], environment(None)),
            "pth_off": ([pth, "-c", "pass"], environment(None)),
            "pth_on": ([pth, "-c", "pass"], environment("1")),
            "import": ([bare, "-c", "import tuneonce"], environment(None)),
            "help": ([bare, "-c", HELP], environment(None)),
        }
        for command, env in arms.values():  # compiles .pyc files, warms the page cache
            run_once(command, env)
        elapsed: dict[str, list[float]] = {name: [] for name in arms}
        cpu: dict[str, list[float]] = {name: [] for name in arms}
        for _ in range(repeats):
            for name, (command, env) in arms.items():
                wall, processor = run_once(command, env)
                elapsed[name].append(wall)
                cpu[name].append(processor)
        imported = {name: import_times(command, env) for name, (command, env) in arms.items()}

    def added(samples: dict[str, list[float]]) -> dict[str, dict[str, float]]:
        return {
            name: summary([a - b for a, b in zip(values, samples["bare"], strict=True)])
            for name, values in samples.items()
            if name != "bare"
        }

    document = {
        "schema": "tuneonce.benchmark.import_time/1",
        "when": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": ["python", "benchmarks/import_time.py", "--repeats", str(repeats)],
        "machine": {
            "python": platform.python_version(),
            "system": f"{platform.system()} {platform.machine()}",
            "cores": len(os.sched_getaffinity(0)),
        },
        "repeats": repeats,
        "elapsed_ms": {name: summary(values) for name, values in elapsed.items()},
        "cpu_ms": {name: summary(values) for name, values in cpu.items()},
        "added_elapsed_ms": added(elapsed),
        "added_cpu_ms": added(cpu),
        "importtime_ms": imported,
        "pth_us": pth_microseconds(),
        "samples_ms": {
            name: [round(value, 3) for value in values] for name, values in elapsed.items()
        },
    }
    give(document, None)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
