"""What requests of the demo's server wait for after a restart, compiled for a simulated GPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import PYTHONPATH
from tuneonce.bench.load import prompt_lengths
from tuneonce.bench.restart import load_of
from tuneonce.bench.result import Restart, decode

for package in ("torch", "triton", "starlette", "uvicorn", "prometheus_client", "aiohttp"):
    pytest.importorskip(package)

SERVER = Path(__file__).with_name("demo_simulated.py")

# Of these the cold start meets no multiple of 16, and the restart does: a binary that none has.
LENGTHS = ("--num-prompts", "2", "--input-len", "17", "--input-len-to", "48", "--seed", "4")
MET = [[33, 39], [22, 48], [37, 26]]


def starts(home: Path) -> tuple[Restart, str]:
    """A cold start, a restart, and ours with Triton's cache emptied; and the tables of them."""
    out = home / "out.json"
    words = ["--arms", "stock,tuneonce", "--output", str(out)]
    words += ["--then", "empty-triton-cache", "--then-arms", "tuneonce"]
    words += [*LENGTHS, "--output-len", "2", "--ignore-eos", "--max-concurrency", "1"]
    words += ["--", sys.executable, str(SERVER), "--port", "{port}"]
    done = subprocess.run(
        [sys.executable, "-m", "tuneonce", "bench", "restart", *words],
        env={
            **os.environ,
            "HOME": str(home),
            "PYTHONPATH": PYTHONPATH,
            "TRITON_DEFAULT_FP_FUSION": "1",
            # More than all of it takes on a machine that does other things as well.
            "TUNEONCE_WARM_BUDGET": "120",
        },
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    document = decode(out.read_bytes(), source="the benchmark")
    assert isinstance(document, Restart)
    return document, done.stdout


def of(document: Restart, arm: str, what: str) -> list[Any]:
    """A figure of the events of an arm's runs, in their order."""
    events = [run.events for run in document.runs if run.arm == arm]
    return [None if one is None else getattr(one, what) for one in events]


@pytest.mark.slow
def test_after_the_first_start_no_request_compiles_or_tunes(tmp_path: Path) -> None:
    document, tables = starts(tmp_path)
    assert [prompt_lengths(load_of(document.load, run=run)) for run in (1, 2, 3)] == MET
    assert [(run.arm, run.after, run.new_lengths, run.failed) for run in document.runs] == [
        *[("stock", None, 2, 0)] * 2,
        *[("tuneonce", after, 2, 0) for after in (None, None, "empty-triton-cache")],
    ]
    assert of(document, "stock", "ready") == [1, 1]
    assert of(document, "tuneonce", "ready") == [1, 1, 1]

    tunes = of(document, "tuneonce", "serving_tunes")
    assert (tunes[0] > 0, tunes[1:]) == (True, [0, 0])
    compiles = of(document, "tuneonce", "serving_compiles")
    assert (compiles[0] > 0, compiles[1:]) == (True, [0, 0])
    waited = of(document, "tuneonce", "serving_s")
    assert (waited[0] > 0, waited[1:]) == (True, [0, 0])
    # All binaries that a start had are there when Triton's cache is not; what is compiled at
    # the restart no request had asked for before.
    assert of(document, "tuneonce", "compiles")[2] == 0

    # The same requests, and what they wait for without: the tunes of each start, and a binary for
    # a length of another kind.
    assert len(set(of(document, "stock", "serving_tunes"))) == 1
    assert of(document, "stock", "serving_compiles")[1] > 0
    assert_the_tables_say_so(tables)


def assert_the_tables_say_so(tables: str) -> None:
    restart, _, emptied = tables.split("\nRun ")[1:]
    assert restart.startswith("2: after a restart")
    assert emptied.startswith("3: Triton's cache emptied")
    for table in (restart, emptied):
        cells = {line[1:33].strip(): line[33:].split()[:2] for line in table.splitlines()}
        assert cells["Requests of a new length"][1] == "2"
        for label in ("Tunes while serving", "Compiles while serving"):
            stock, ours = cells[label]
            assert stock not in ("0", "–") if table is restart else stock == "–"
            assert ours == "0"
        assert float(cells["Seconds waited while serving"][1]) == 0.0
