"""Forty kernels of many kinds: what is left in Triton's cache is, byte for byte, what stock leaves.

Each is tuned for two keys or more that take other branches, with stock Triton and with tuneonce:
at a first start, at one whose Triton cache was emptied, and at one on another GPU product, of which
the last two know what an earlier start had compiled.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

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
Launched = dict[str, dict[str, Any]]
FEW = ("kernels_constants",)
PRODUCTS = {"first": "one", "emptied": "one", "elsewhere": "another", "few elsewhere": "another"}
THOROUGH = (pytest.mark.slow, pytest.mark.thorough)


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> tuple[Start, Launched]:
    folder = tmp_path_factory.mktemp("stock")
    start = Start(folder / "home", MODULES)
    (results,) = run([start], folder)
    return start, results


@pytest.mark.slow
@pytest.mark.every_version
@pytest.mark.timeout(600)
def test_all_of_them_compile_with_stock(stock: tuple[Start, Launched]) -> None:
    """Otherwise this would compare nothing."""
    _, results = stock
    calls = Counter(one.get("kernel") for result in results.values() for one in result["launched"])
    assert not [result["error"] for result in results.values() if result["error"]]
    assert not [one for r in results.values() for one in r["launched"] if "error" in one]
    assert len(calls) >= 40
    assert min(calls.values()) >= 2


@pytest.mark.slow
@pytest.mark.every_version
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "workers",
    [
        {"first": 6, "few elsewhere": 2},
        pytest.param({"first": 2, "emptied": 2, "elsewhere": 2}, marks=THOROUGH),
        pytest.param({"first": 6, "emptied": 6, "elsewhere": 6}, marks=THOROUGH),
    ],
    ids=["short", "two", "six"],
)
def test_binaries_are_those_of_stock(
    workers: dict[str, int], stock: tuple[Start, Launched], tmp_path: Path
) -> None:
    its, results = stock
    store = tmp_path / "store"
    starts = [
        Start(tmp_path / name, FEW if "few" in name else MODULES, count, store, PRODUCTS[name])
        for name, count in workers.items()
    ]
    wrong: dict[str, list[object]] = {}
    for start, answers in zip(starts, run(starts, tmp_path), strict=True):
        assert start.ahead > 0, f"{start.home.name}: no helper was used"
        found = wrong[start.home.name] = [*start.problems, *differing(its, start)]
        for program, result in answers.items():
            found += launched_otherwise(results[program], result)
            found += lacking(its, start, result["launched"])
    assert wrong == {start.home.name: [] for start in starts}
