"""Programs made to fool whoever generates code elsewhere, or lets candidates share it.

Whatever stock Triton launches, in the same order, right or not, is launched; what is left in its
cache is what stock leaves there, byte for byte.
"""

from __future__ import annotations

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

MODULES = ("fooling_types", "fooling_state", "fooling_calls")
PROGRAMS = [name for module in MODULES for name in programs(module)]
ARMS = ("two", "six", "two, elsewhere", "six, elsewhere")


@pytest.fixture(scope="module")
def starts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Start, dict]]:
    """What each arm launched. The last two know what the others have compiled on another GPU."""
    folder = tmp_path_factory.mktemp("fooled")
    made = {"stock": Start(folder / "stock", MODULES)}
    for name in ARMS:
        count, _, elsewhere = name.partition(", ")
        made[name] = Start(
            folder / name.replace(", ", "-"),
            MODULES,
            {"two": 2, "six": 6}[count],
            folder / f"store-{count}",
            "another" if elsewhere else "one",
        )
    answers = run(list(made.values()), folder)
    return {
        name: (start, answer) for (name, start), answer in zip(made.items(), answers, strict=True)
    }


@pytest.mark.timeout(600)
@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize("program", PROGRAMS)
def test_what_is_launched_is_what_stock_launches(
    program: str, arm: str, starts: dict[str, tuple[Start, dict]]
) -> None:
    stock, results = starts["stock"]
    start, answers = starts[arm]
    if program not in results:
        pytest.skip("this Triton cannot have it")
    assert results[program]["error"] is None
    result = answers[program]
    wrong = [
        *launched_otherwise(results[program], result),
        *lacking(stock, start, result["launched"]),
        *differing(stock, start, kernel=program),
    ]
    assert wrong == []


def test_helpers_were_used(starts: dict[str, tuple[Start, dict]]) -> None:
    """Otherwise this would have compared nothing."""
    for arm in ARMS:
        start, _ = starts[arm]
        assert start.ahead > 20, arm
        assert start.problems == [], arm
