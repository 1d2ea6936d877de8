"""A program changes Triton's compiler after its first tuning: what comes next is of its compiler.

Replacements run in the program, as often as with stock Triton, which a helper could not know of.
"""

from __future__ import annotations

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


@pytest.fixture(scope="module")
def starts(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], tuple[Start, dict]]:
    """What each program launched, with each arm; a change is made in a process of its own."""
    folder = tmp_path_factory.mktemp("changes")
    made = {
        (program, arm): Start(folder / arm / program, ["changes"], workers, only=[program])
        for program in PROGRAMS
        for arm, workers in ARMS.items()
    }
    answers = run(list(made.values()), folder)
    return {
        name: (start, answer) for (name, start), answer in zip(made.items(), answers, strict=True)
    }


@pytest.mark.timeout(900)
@pytest.mark.parametrize("arm", ["six", "two"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_what_is_compiled_afterwards_is_what_stock_compiles(
    program: str, arm: str, starts: dict[tuple[str, str], tuple[Start, dict]]
) -> None:
    stock, answer = starts[program, "stock"]
    start, ours = starts[program, arm]
    if program not in answer:
        pytest.skip("this Triton cannot be changed so")
    assert answer[program]["error"] is None
    assert not [one["text"] for one in answer[program]["launched"] if "error" in one]
    assert start.ahead >= 2, "nothing was compiled elsewhere before the change"
    wrong = [
        *start.problems,
        *launched_otherwise(answer[program], ours[program]),
        *lacking(stock, start, ours[program]["launched"]),
        *differing(stock, start),
    ]
    assert wrong == []
