"""How many programs a launch has, as far as it can be known before it."""

from __future__ import annotations

from typing import Any

import pytest

from tuneonce.triton.kernel.grid import programs

triton = pytest.importorskip("triton")
torch = pytest.importorskip("torch")
tl = pytest.importorskip("triton.language")


X = torch.ones(2, dtype=torch.float16)


@triton.jit
def kernel(x, n, BLOCK: tl.constexpr, SPLIT: tl.constexpr = 4, EVEN: tl.constexpr = False):
    pass


def tuned(fn: Any = kernel, *, blocks: tuple[int, ...] = (16, 32)) -> Any:
    return triton.autotune([triton.Config({"BLOCK": block}) for block in blocks], key=["n"])(fn)


def size(grid: Any, autotuner: Any = None, **others: Any) -> int | None:
    nargs = {"x": X, "n": 100}
    return programs(autotuner or tuned(), nargs, {"grid": grid, "warmup": False, **others})


@pytest.mark.parametrize(
    ("grid", "expected"),
    [
        ((3,), 3),
        ((3, 4), 12),
        ([3, 4, 5], 60),
        ((3, 0), 0),
        (7, 7),
        (torch.tensor(5), 5),
        ((torch.tensor(5), 2), 10),
        ((2**20, 2**20, 2**20), 2**60),
        ((), 1),
        (lambda meta: (3, 4), 12),
        (lambda meta: [3, 4], 12),
        (lambda meta: 3, 3),
        (lambda meta: (triton.cdiv(meta["n"], meta["BLOCK"]),), 7),
        # A parameter's default.
        (lambda meta: (meta["SPLIT"],), 4),
        (lambda meta: (meta["num_warps"],), 4),
        (lambda meta: (meta["x"].shape[0],), 2),
    ],
)
def test_grids(grid: Any, expected: int) -> None:
    assert size(grid) == expected


def test_the_first_candidate_decides_and_what_the_call_says_counts() -> None:
    def grid(meta: dict[str, Any]) -> tuple[int, ...]:
        return (meta["BLOCK"], meta["SPLIT"])

    assert size(grid) == 64
    assert size(grid, tuned(blocks=(128, 16))) == 512
    assert size(grid, SPLIT=2) == 32


def heuristics(fn: Any) -> Any:
    values = {
        "EVEN": lambda args: args["n"] % args["BLOCK"] == 0,
        "SPLIT": lambda args: args["BLOCK"] // 2 if not args["EVEN"] else 1,
    }
    return triton.heuristics(values)(fn)


def test_what_heuristics_compute_is_known_to_the_grid() -> None:
    assert size(lambda meta: (meta["SPLIT"], 1 + meta["EVEN"]), tuned(heuristics(kernel))) == 8
    even = tuned(heuristics(kernel), blocks=(50, 16))
    assert size(lambda meta: (meta["SPLIT"], 1 + meta["EVEN"]), even) == 2


def test_a_grid_that_changes_its_argument_changes_nothing() -> None:
    arguments: dict[str, Any] = {"grid": lambda meta: (meta.pop("n"), meta.clear() or 1)}
    nargs = {"x": X, "n": 100}
    assert programs(tuned(), nargs, arguments) == 100
    assert nargs == {"x": X, "n": 100}
    assert list(arguments) == ["grid"]


def raising(meta: dict[str, Any]) -> Any:
    raise ZeroDivisionError


@pytest.mark.parametrize(
    "grid",
    [None, "abc", object(), ("a",), (None,), raising, lambda meta: None, lambda: (1,),
     lambda meta: meta["nothing"], lambda meta: meta["x"], (float("nan"),), (float("inf"),)],
)  # fmt: skip
def test_a_grid_that_says_nothing(grid: Any) -> None:
    assert size(grid) is None


def test_heuristics_that_raise() -> None:
    broken = triton.heuristics({"SPLIT": raising})(kernel)
    assert size(lambda meta: (1,), tuned(broken)) is None
    assert size((1,), tuned(broken)) == 1


def test_a_launch_without_a_grid() -> None:
    assert programs(tuned(), {}, {}) is None
