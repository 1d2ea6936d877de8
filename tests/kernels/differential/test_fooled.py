"""Programs made to fool whoever generates code elsewhere, or lets candidates share it.

Whatever stock Triton launches, in the same order, right or not, is launched; what is left in its
cache is what stock leaves there, byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("triton")

from tests.kernels.differential.starting import (
    H200,
    Start,
    differing,
    lacking,
    launched_otherwise,
    programs,
    run,
)

MODULES = ("fooling_types", "fooling_state", "fooling_calls")
PROGRAMS = [name for module in MODULES for name in programs(module)]
THOROUGH = (pytest.mark.slow, pytest.mark.thorough)
# By name: workers, the store, the GPU, and who has filled the store.
ARMS: dict[str, tuple[int | None, str, str, str | None]] = {
    "stock": (None, "none", H200, None),
    "six": (6, "one", H200, None),
    "two, elsewhere": (2, "one", "another", "six"),
    "two": (2, "another", H200, None),
    "six, elsewhere": (6, "another", "another", "two"),
}
Started = tuple[Start, dict[str, dict[str, Any]]]


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Started]:
    """What each arm launched; it is started when it is first asked for."""
    folder = tmp_path_factory.mktemp("fooled")
    done: dict[str, Started] = {}

    def get(arm: str) -> Started:
        if arm not in done:
            workers, store, product, filled_by = ARMS[arm]
            if filled_by is not None:
                get(filled_by)
            home = folder / arm.replace(", ", "-")
            start = Start(home, MODULES, workers, folder / f"store-{store}", product)
            (answer,) = run([start], folder)
            done[arm] = start, answer
        return done[arm]

    return get


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize(
    "arm",
    [
        "six",
        pytest.param("two, elsewhere", marks=THOROUGH),
        pytest.param("two", marks=THOROUGH),
        pytest.param("six, elsewhere", marks=THOROUGH),
    ],
)
def test_what_is_launched_is_what_stock_launches(
    program: str, arm: str, started: Callable[[str], Started]
) -> None:
    stock, results = started("stock")
    if program not in results:
        pytest.skip("this Triton cannot have it")
    assert results[program]["error"] is None
    start, answers = started(arm)
    assert start.ahead > 20, "no helper was used"
    result = answers[program]
    wrong = [
        *start.problems,
        *launched_otherwise(results[program], result),
        *lacking(stock, start, result["launched"]),
        *differing(stock, start, kernel=program),
    ]
    assert wrong == []
