"""What is read of launches so that equal readings are of equal sizes."""

from __future__ import annotations

import math
import types
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("triton")

import triton
import triton.language as tl

from tuneonce.model.key import work_class
from tuneonce.triton.kernel.exact_reader import (
    ExactReader,
    Needs,
    constant_names,
    constants_of,
    exact_reader,
    may_be_kept,
    stays,
)
from tuneonce.triton.kernel.sizes import size_of, whole

AUTOTUNER = SimpleNamespace(arg_names=["x", "n", "FLAG", "m", "BLOCK"], keys=["m"], fn=None)
FIRST = {"BLOCK": 16}
CONSTANTS = frozenset(("FLAG", "BLOCK"))
SIZES, ELEMENTS = Needs(programs=True), Needs(programs=True, elements=True)
ROWS: Any = 64
SETTINGS = types.ModuleType("settings")
SETTINGS.rows = 3  # type: ignore[attr-defined]


class Class:
    rows = 3


def up(n: int, by: int) -> int:
    return -(-n // by)


def reading(n: int) -> int:
    return n * int(ROWS)


def tensor(*shape: int) -> Any:
    return SimpleNamespace(shape=shape)


def call(grid: Any, *, x: Any = None, n: int = 100, flag: Any = 1, **more: Any) -> Any:
    return (x, n, flag, 7), {"grid": grid, **more}


def reader(needs: Needs, args: Any, kwargs: Any) -> ExactReader | None:
    size = size_of(AUTOTUNER, args, kwargs, FIRST)
    return exact_reader(AUTOTUNER, needs, CONSTANTS, size.read, args, kwargs)


def found(needs: Needs, made_of: Any, args: Any, kwargs: Any) -> Any:
    one = reader(needs, *made_of)
    assert one is not None
    return one.of(args, kwargs)


def tiles(meta: Any) -> Any:
    return (up(meta["n"], meta["BLOCK"]), 2)


def test_numbers_are_read_as_they_are_and_no_others_than_the_grids_and_constants() -> None:
    one = call(tiles, n=100_000)
    assert found(SIZES, one, *call(tiles, n=100_001)) == (1, 100_001)
    assert found(SIZES, one, *call(tiles, n=100_000, flag=2)) == (2, 100_000)
    assert found(SIZES, one, *call(lambda meta: (1,))) is None
    assert found(Needs(), one, *call(tiles, n=5)) == (1,)  # all sizes have one winner


def test_nothing_is_read_where_all_launches_are_alike() -> None:
    made = reader(Needs(), (), {"grid": tiles})
    assert made is not None
    assert made.of is whole


def test_how_many_elements_tensors_have() -> None:
    def over(x: Any) -> Any:
        return found(ELEMENTS, call((4,)), *call((4,), x=x))

    assert over(None) == (1, (4,), 0)
    assert over(tensor(3, 4)) == (1, (4,), 12)
    assert over((tensor(3, 4), tensor(5, 6))) == (1, (4,), 30)
    assert over(SimpleNamespace(shape=[5, 6])) == (1, (4,), 30)


def test_all_arguments_of_a_kernel_that_prunes_by_them() -> None:
    one = call(tiles, x=tensor(3, 4))
    assert found(Needs(arguments=True), one, *one) == (1, (3, 4), 100)
    assert found(Needs(arguments=True), call(tiles, x="word"), *call(tiles, x="word"))[-1] == "word"


@pytest.mark.parametrize("n", [1, 5, 100, 100_000])
@pytest.mark.parametrize("x", [None, (3, 4), (4096, 4096)])
def test_the_class_is_that_of_the_whole_grid(n: int, x: Any) -> None:
    rows = 3
    for grid in (tiles, (up(n, 16), 2), lambda meta: (rows * up(n, meta["BLOCK"]),)):
        args, kwargs = call(grid, n=n, x=None if x is None else tensor(*x))
        made = reader(ELEMENTS, args, kwargs)
        assert made is not None
        name = made.class_of(made.of(args, kwargs), FIRST, args, kwargs)
        assert name == work_class(*size_of(AUTOTUNER, args, kwargs, FIRST).work)


def branching(meta: Any) -> Any:
    return (meta["n"] if meta["FLAG"] == 1 else meta["x"],)


def asking(meta: Any) -> Any:
    return (meta["n"] if meta["FLAG"] == 1 else meta.get("x", 5),)


def looking(meta: Any) -> Any:
    return (meta["n"] if meta["FLAG"] == 1 else 5 + ("x" in meta),)


def unpacking(meta: Any) -> Any:
    return (meta["n"] if meta["FLAG"] == 1 else len({**meta}),)


def counting(meta: Any) -> Any:
    return (meta["n"] if meta["FLAG"] == 1 else len(meta),)


@pytest.mark.parametrize("grid", [branching, asking, looking, unpacking, counting])
def test_a_grid_that_reads_more_of_other_launches_has_no_class_by_what_was_read(grid: Any) -> None:
    made = reader(SIZES, *call(grid))
    assert made is not None
    args, kwargs = call(grid, x=9, flag=2)
    with pytest.raises(KeyError):
        made.class_of(made.of(args, kwargs), FIRST, args, kwargs)


def closing_over(value: Any) -> Callable[[Any], Any]:
    return lambda meta: (value, 2)


def test_what_a_grid_closes_over_and_its_global_values_are_read() -> None:
    assert found(SIZES, call(closing_over(4)), *call(closing_over(5))) == (1, 5)

    def of_rows(meta: Any) -> Any:
        return (ROWS,)

    assert found(SIZES, call(of_rows), *call(of_rows)) == (1, 64)


@pytest.mark.parametrize("held", [tensor(3), [3], {"rows": 3}])
def test_a_grid_that_closes_over_an_object_is_not_read(held: Any) -> None:
    assert reader(SIZES, *call(lambda meta: (held and 3,))) is None


@pytest.mark.parametrize(
    "grid",
    [
        lambda meta: (triton.cdiv(meta["n"], 16), min(1, 2)),
        lambda meta: (up(meta["n"], 16),),
        lambda meta: (math.ceil(meta["n"] / 16), 3),
        lambda meta: (ROWS,),
    ],
)
def test_functions_and_modules_of_functions_are_taken_to_stay(grid: Any) -> None:
    assert stays(grid)


LOOKED_UP = {"rows": 3}
look_up = LOOKED_UP.get
HOLDER = types.ModuleType("holder")
HOLDER.settings = SETTINGS  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "grid",
    [
        lambda meta: (SETTINGS.rows,),
        lambda meta: (HOLDER.settings.rows,),
        lambda meta: (Class.rows,),
        lambda meta: (reading(meta["n"]),),
        lambda meta: (look_up("rows"),),
    ],
)
def test_values_of_modules_classes_and_functions_are_not(grid: Any) -> None:
    assert not stays(grid)


def test_what_may_be_compared_is_plain() -> None:
    assert may_be_kept((1, "word", None, (1, 2), tl.float32))
    assert not may_be_kept((1, tensor(3)))
    assert not may_be_kept(None)


def test_constants_are_those_of_the_code_that_the_key_leaves_out() -> None:
    @triton.jit
    def kernel(x, n, FLAG: tl.constexpr, m: tl.constexpr, BLOCK: tl.constexpr):
        pass

    names = constant_names(triton.heuristics({"BLOCK": lambda meta: 1})(kernel))
    assert names == {"FLAG", "m", "BLOCK"}
    assert constant_names(object()) == frozenset()
    args, kwargs = call(tiles, num_warps=4, warmup=True)
    assert constants_of(AUTOTUNER, names, args, kwargs) == (("FLAG", 1), ("num_warps", 4))
    args, kwargs = call(tiles, flag=tensor(3))
    assert constants_of(AUTOTUNER, names, args, kwargs) == ()
