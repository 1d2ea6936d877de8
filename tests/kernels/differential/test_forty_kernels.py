"""Forty kernels of many kinds: what is left in Triton's cache is, byte for byte, what stock leaves.

Each is tuned for two keys or more that take other branches, with stock Triton and with tuneonce:
at a first start, at one whose Triton cache was emptied, and at one on another GPU product, of which
the last two know what an earlier start had compiled.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("triton")

from tests.kernels.differential.starting import (
    Start,
    differing,
    lacking,
    launched_otherwise,
    run,
)

MODULES = ("kernels_memory", "kernels_math", "kernels_control", "kernels_constants")


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> tuple[Start, dict]:
    folder = tmp_path_factory.mktemp("stock")
    start = Start(folder / "home", MODULES)
    (results,) = run([start], folder)
    return start, results


def test_all_of_them_compile_with_stock(stock: tuple[Start, dict]) -> None:
    """Otherwise this would compare nothing."""
    _, results = stock
    calls = Counter(one.get("kernel") for result in results.values() for one in result["launched"])
    assert not [result["error"] for result in results.values() if result["error"]]
    assert not [one for r in results.values() for one in r["launched"] if "error" in one]
    assert len(calls) >= 40
    assert min(calls.values()) >= 2


@pytest.mark.timeout(600)
@pytest.mark.parametrize("workers", [6, pytest.param(2, marks=pytest.mark.slow)])
def test_binaries_are_those_of_stock(
    workers: int, stock: tuple[Start, dict], tmp_path: Path
) -> None:
    its, results = stock
    store = tmp_path / "store"
    starts = {
        "first": Start(tmp_path / "first", MODULES, workers, store),
        "emptied": Start(tmp_path / "emptied", MODULES, workers, store),
        "elsewhere": Start(tmp_path / "elsewhere", MODULES, workers, store, "another"),
    }
    wrong: dict[str, list[object]] = {}
    for (name, start), answers in zip(
        starts.items(), run(list(starts.values()), tmp_path), strict=True
    ):
        assert start.ahead > 0, f"{name}: no helper was used"
        wrong[name] = [*start.problems, *differing(its, start)]
        for program, result in answers.items():
            wrong[name] += launched_otherwise(results[program], result)
            wrong[name] += lacking(its, start, result["launched"])
    assert wrong == {name: [] for name in starts}
