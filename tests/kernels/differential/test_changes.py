"""A program changes Triton's compiler after its first tuning: what comes next is of its compiler.

Replacements run in the program, as often as with stock Triton, which a helper could not know of.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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

PROGRAMS = programs("changes")
# One of each kind; the others take as long again.
KINDS = [
    "replaced_stage",
    "backend_subclass",
    "replaced_visitor",
    "replaced_pass",
    "assembler",
    "variables",
    "instrumentation_callbacks",
    "proton",
    "stages_hook",
]
ARMS = {"stock": None, "six": 6, "two": 2}
Started = tuple[Start, dict[str, dict[str, Any]]]


@pytest.fixture(scope="module")
def started(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str, str], Started]:
    """What a program, and those that go with it, launched with an arm: each in a process."""
    folder = tmp_path_factory.mktemp("changes")
    done: dict[str, dict[str, Started]] = {arm: {} for arm in ARMS}

    def get(arm: str, program: str) -> Started:
        if program not in done[arm]:
            those = [one for one in PROGRAMS if (one in KINDS) == (program in KINDS)]
            starts = [
                Start(folder / arm / one, ["changes"], ARMS[arm], only=[one]) for one in those
            ]
            pairs = zip(starts, run(starts, folder), strict=True)
            done[arm] |= zip(those, pairs, strict=True)
        return done[arm][program]

    return get


def test_there_is_one_of_each_kind() -> None:
    assert set(KINDS) <= set(PROGRAMS)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("arm", "program"),
    [
        *[("six", program) for program in KINDS],
        *[
            pytest.param(arm, program, marks=pytest.mark.thorough)
            for arm in ("six", "two")
            for program in PROGRAMS
            if arm == "two" or program not in KINDS
        ],
    ],
)
def test_what_is_compiled_afterwards_is_what_stock_compiles(
    arm: str, program: str, started: Callable[[str, str], Started]
) -> None:
    stock, answer = started("stock", program)
    if program not in answer:
        pytest.skip("this Triton cannot be changed so")
    theirs = answer[program]
    assert theirs["error"] is None
    assert not [one["text"] for one in theirs["launched"] if "error" in one]
    start, answer = started(arm, program)
    assert start.ahead >= 2, "nothing was compiled elsewhere before the change"
    wrong = [
        *start.problems,
        *launched_otherwise(theirs, answer[program]),
        *lacking(stock, start, answer[program]["launched"]),
        *differing(stock, start),
    ]
    assert wrong == []
