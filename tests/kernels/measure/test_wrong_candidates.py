"""Candidates that are wrong, of many kinds, are caught, and no honest one beside them is accused.

They are those of `benchmarks/wrong`, in a process of its own, in Triton's interpreter.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton")

from tests.fakes import PYTHONPATH, ROOT

# Faults that make so little of a difference that they need not be caught, by kernel: sums that are
# rounded to bfloat16 after each step are as far apart as honest candidates of such types may be; a
# variance or a denominator hardly changes without one block of many, or without a short one.
SMALL = {
    ("matmul", "accumulator"),
    ("row_sum", "accumulator"),
    ("layer_norm", "lost"),
    ("softmax", "last"),
}

# How many CI has time for.
SOME, SOME_FIRST = 30, 4


def outcomes(tmp_path: Path, *words: str) -> list[dict[str, Any]]:
    """What became of the cases."""
    out = tmp_path / "out.json"
    command = [sys.executable, "-W", "error", str(ROOT / "benchmarks/wrong_candidates.py")]
    done = subprocess.run(
        [*command, "--out", str(out), *words],
        env={**os.environ, "PYTHONPATH": PYTHONPATH, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        timeout=540,
    )
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(out.read_text())["cases"]
    return found


def check(found: list[dict[str, Any]]) -> None:
    for one in found:
        assert one["accused"] == 0, one
        kernel, _, fault = one["case"].split("-")
        if not one["caught"]:
            assert one["why_missed"] == "near", one
            assert (kernel, fault) in SMALL, one
        # Those that are caught are so because of what was seen, and what is near is not accused.
        assert one["caught"] is (one["distance"] > one["far"]), one
        assert one["honest"] <= one["far"] / 8, one
        assert one["unsteady"] is (fault == "race"), one


@pytest.mark.slow
def test_a_sample_of_wrong_candidates_is_caught(tmp_path: Path) -> None:
    found = outcomes(tmp_path, "--sample", str(SOME))
    assert len(found) == SOME
    check(found)
    # Honest candidates do not all write the same.
    assert sum(one["honest"] > 0 for one in found) > SOME / 5


@pytest.mark.thorough
@pytest.mark.parametrize("seed", [0, 1])
def test_all_wrong_candidates_are_caught(tmp_path: Path, seed: int) -> None:
    found = outcomes(tmp_path, "--seed", str(seed))
    assert len(found) > 300
    check(found)


@pytest.mark.slow
def test_where_the_authors_first_is_wrong_nobody_is_accused(tmp_path: Path) -> None:
    found = outcomes(tmp_path, "--first", "--sample", str(SOME_FIRST))
    assert len(found) == SOME_FIRST
    for one in found:
        assert (one["caught"], one["accused"]) == (False, 0), one
        assert one["disagrees"] is (one["distance"] > one["far"]), one
