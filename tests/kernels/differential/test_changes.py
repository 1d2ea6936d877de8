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
ARMS = {"stock": None, "six": 6, "two": 2}
Started = dict[str, tuple[Start, dict[str, dict[str, Any]]]]


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Started]:
    """What each program launched with an arm; a change is made in a process of its own."""
    folder = tmp_path_factory.mktemp("changes")
    done: dict[str, Started] = {}

    def get(arm: str) -> Started:
        if arm not in done:
            starts = [
                Start(folder / arm / program, ["changes"], ARMS[arm], only=[program])
                for program in PROGRAMS
            ]
            pairs = zip(starts, run(starts, folder), strict=True)
            done[arm] = dict(zip(PROGRAMS, pairs, strict=True))
        return done[arm]

    return get


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("arm", ["six", pytest.param("two", marks=pytest.mark.thorough)])
def test_what_is_compiled_afterwards_is_what_stock_compiles(
    program: str, arm: str, started: Callable[[str], Started]
) -> None:
    stock, answer = started("stock")[program]
    if program not in answer:
        pytest.skip("this Triton cannot be changed so")
    theirs = answer[program]
    assert theirs["error"] is None
    assert not [one["text"] for one in theirs["launched"] if "error" in one]
    start, answer = started(arm)[program]
    assert start.ahead >= 2, "nothing was compiled elsewhere before the change"
    wrong = [
        *start.problems,
        *launched_otherwise(theirs, answer[program]),
        *lacking(stock, start, answer[program]["launched"]),
        *differing(stock, start),
    ]
    assert wrong == []
