"""Kernels of published packages: what helpers leave in Triton's cache is what stock leaves."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("triton")

from tests.fakes import Children
from tests.kernels.differential.starting import Start, binaries, differing

CHILD = Path(__file__).with_name("child.py")
PACKAGES = {"fla_core": "fla", "mamba_ssm": "mamba_ssm", "gemlite": "gemlite"}


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", PACKAGES)
def test_binaries_are_those_of_stock(name: str, children_at: Callable[[str], Children]) -> None:
    """Of all their kernels' keys, three candidates each, with two and with six workers."""
    if importlib.util.find_spec(PACKAGES[name]) is None:
        pytest.skip(f"{name} is not installed")
    stock = children_at("stock")
    stock.run(CHILD, name, "--at-most", "3", timeout=800, TUNEONCE="0")
    theirs = Start(stock.home, ())
    wrong = {}
    for workers in ("2", "6"):
        ours = children_at(workers)
        told = ours.run(
            CHILD, name, "--at-most", "3", timeout=800, TUNEONCE="1", TUNEONCE_WORKERS=workers
        )
        assert told["disk_loads"] > 0, "no helper was used"
        start = Start(ours.home, ())
        wrong[workers] = differing(theirs, start)
        assert len(binaries(start)) > len(told["winners"]) / 2
    assert wrong == {"2": [], "6": []}
