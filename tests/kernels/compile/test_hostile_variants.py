"""Variants in a store are data: whatever they hold, nothing of it is evaluated, opened or run.

``HOSTILE_VARIANTS`` says how many are tried.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.fakes import Children

pytest.importorskip("triton")

COUNT = os.environ.get("HOSTILE_VARIANTS", "4000")
CHILD = Path(__file__).with_name("hostile_variants_child.py")


@pytest.mark.parametrize("seed", ["0", "1"])
def test_whatever_a_variant_holds_it_is_refused_or_plain(
    warm_children: Children, seed: str
) -> None:
    said = warm_children.run(CHILD, COUNT, seed)
    assert said["seen"] == {}
    assert said["outcomes"]["refused"] > int(COUNT) / 3
    assert said["outcomes"]["accepted"] > int(COUNT) / 100  # the honest parts are known
