"""What is compiled before it is asked for is in Triton's cache when it is asked for, not before."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

pytest.importorskip("triton")

from tests.kernels.differential.starting import (
    Start,
    differing,
    lacking,
    launched_otherwise,
    programs,
    run,
)

OTHERS = [name for name in programs("knowing") if name != "everything"]
# The winners' binaries are missing; or nothing is known of this GPU, but of another one.
PRODUCTS = ("one", "another")


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.timeout(900)
def test_a_start_that_knows_leaves_what_stock_leaves(tmp_path: Path) -> None:
    first = Start(tmp_path / "first", ["knowing"], 2, tmp_path / "store", "one", ["everything"])
    stocks = [Start(tmp_path / "stock" / one, ["knowing"], only=[one]) for one in OTHERS]
    first_answer, *theirs = run([first, *stocks], tmp_path)
    assert first_answer["everything"]["error"] is None

    starts = []
    for product in PRODUCTS:
        for name in OTHERS:
            home = tmp_path / product / name
            shutil.copytree(tmp_path / "store", home / "store")
            starts.append(Start(home, ["knowing"], 2, None, product, [name]))
    wrong = {}
    for start, answer, stock, their in zip(
        starts,
        run(starts, tmp_path),
        stocks * len(PRODUCTS),
        theirs * len(PRODUCTS),
        strict=True,
    ):
        (name,) = answer
        assert their[name]["error"] is None
        found = [
            *start.problems,
            *launched_otherwise(their[name], answer[name]),
            *lacking(stock, start, answer[name]["launched"]),
            *differing(stock, start),
        ]
        if found:
            wrong[f"{name}, {start.product}"] = found
    assert wrong == {}
