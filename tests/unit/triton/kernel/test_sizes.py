"""The size of a launch without its grid being evaluated, and when that is not to be had."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("triton")

from tuneonce.model.key import Work
from tuneonce.triton.kernel.sizes import (
    Size,
    are_whole,
    argument_reader,
    rounded,
    size_of,
    size_reader,
    whole,
)

AUTOTUNER = SimpleNamespace(arg_names=["x", "n", "m", "BLOCK"], keys=["m"], fn=None, configs=[])
FIRST = {"BLOCK": 16}
ROWS = 64
NOTHING: frozenset[str] = frozenset()
CALL = None, 100, 7


def up(n: int, by: int) -> int:
    return -(-n // by)


class Tensor:
    """Stands for what is neither a number nor plain."""

    def __init__(self, rows: int) -> None:
        self.rows = rows


def measured(grid: Any, x: Any = None, n: int = 100, m: int = 7) -> Size:
    return size_of(AUTOTUNER, (x, n, m), {"grid": grid}, FIRST)


def reader(grid: Any, read: frozenset[str] = NOTHING, args: tuple[Any, ...] = CALL) -> Any:
    """What tells calls like this one apart."""
    return size_reader(AUTOTUNER, (len(args), "grid"), read, args, {"grid": grid})


def closing_over(rows: int) -> Callable[[Any], Any]:
    return lambda meta: (up(rows, meta["BLOCK"]), 2)


def test_a_tuple_is_its_own_size() -> None:
    assert measured((4, 5)) == Size(Work(20), frozenset())
    assert measured((4, 5, 2, 9)).work.programs == 40  # Triton has three dimensions
    assert measured((0, 5)).work.programs == 0
    read = reader((4, 5))
    assert read is not None
    assert read(CALL, {"grid": (4, 5)}) == ((4, 5), 100)


def test_the_largest_tensor_of_a_call_is_a_size_too() -> None:
    def largest(*args: Any) -> Any:
        return size_of(AUTOTUNER, args, {"grid": (4,)}, FIRST).work.elements

    class Failing:
        @property
        def shape(self) -> Any:
            raise RuntimeError

    small, large = SimpleNamespace(shape=(3, 4)), SimpleNamespace(shape=[5, 6])
    assert largest(small, large, 1000) == 30
    assert largest((small, (large,)), 7) == 30
    assert largest(5, None) is None
    assert largest(small, Failing(), SimpleNamespace(shape=("n", 2)), Tensor(9)) == 12


def test_a_grid_that_closes_over_a_size_is_told_from_one_that_closes_over_another() -> None:
    assert measured(closing_over(64)) == Size(Work(8), frozenset())
    assert measured(closing_over(128)).work.programs == 16
    read = reader(closing_over(64))
    assert read is not None
    sizes = [read(CALL, {"grid": closing_over(rows)}) for rows in (64, 128, 64)]
    assert sizes[0] == sizes[2] != sizes[1]


def test_the_arguments_that_a_grid_reads_decide_and_no_others() -> None:
    def grid(meta: Any) -> Any:
        return (up(meta["n"], meta["BLOCK"]),)

    size = measured(grid, x=Tensor(1), n=100)
    assert size == Size(Work(7), frozenset({"n"}))
    read = reader(grid, frozenset({"n"}))
    assert read is not None
    calls = [(None, 100, 7), (None, 100, 8), (None, 200, 7)]
    sizes = [read(args, {"grid": grid}) for args in calls]
    assert sizes[0] == sizes[1] != sizes[2]


def test_other_numbers_tell_sizes_apart_where_the_grid_does_not() -> None:
    autotuner = SimpleNamespace(
        arg_names=["x", "n", "m", "scale", "stride_x", "flag"], keys=["m"], fn=None, configs=[]
    )
    call, grid = (None, 100, 7, 0.5, 100, True), (132,)

    def read(**changed: Any) -> Any:
        args = tuple(changed.get(n, v) for n, v in zip(autotuner.arg_names, call, strict=True))
        return found(args, {"grid": changed.get("grid", grid)})

    found = size_reader(autotuner, (6, "grid"), NOTHING, call, {"grid": grid})
    assert found is not None
    same = read()
    assert read(m=8) == read(scale=2.0) == read(stride_x=200) == read(flag=False) == same
    assert len({same, read(n=200), read(grid=(264,))}) == 3


@pytest.mark.parametrize("size", [32, 64, 1024, 4096, 2**31])
def test_sizes_that_are_nearly_equal_are_one_and_powers_of_two_are_where_one_begins(
    size: int,
) -> None:
    assert rounded(size) == size
    assert rounded(size - 1) < size
    assert rounded(size + size // 16 - 1) == size
    assert rounded(size + size // 16) > size
    assert rounded(((size + size // 32, 3), 5)) == ((size, 3), 5)
    assert rounded(-size - 1) == -size - max(1, size // 16)


def test_small_numbers_and_what_is_no_number_are_not_rounded() -> None:
    kept = (*range(-31, 32), True, None, 250.5, "text", (1, 2), len)
    assert rounded(kept) == kept


def test_an_argument_by_name_is_read_by_name() -> None:
    def grid(meta: Any) -> Any:
        return (meta.get("n"), meta.get("nothing", 1))

    size = size_of(AUTOTUNER, (None,), {"n": 5, "grid": grid}, FIRST)
    assert size == Size(Work(5), frozenset({"n"}))
    read = size_reader(
        AUTOTUNER, (1, "n", "grid"), frozenset({"n"}), (None,), {"n": 5, "grid": grid}
    )
    assert read is not None
    assert read((None,), {"n": 5, "grid": grid}) != read((None,), {"n": 6, "grid": grid})


def test_a_global_number_may_change_between_launches(monkeypatch: pytest.MonkeyPatch) -> None:
    def grid(meta: Any) -> Any:
        return (up(ROWS, meta["BLOCK"]),)

    assert measured(grid) == Size(Work(4), frozenset())
    read = reader(grid)
    assert read is not None
    before = read(CALL, {"grid": grid})
    monkeypatch.setitem(globals(), "ROWS", 128)
    assert measured(grid).work.programs == 8
    assert read(CALL, {"grid": grid}) != before


def test_a_default_of_the_grid_is_a_size_too() -> None:
    grids = [lambda meta, rows=rows: (rows, meta["BLOCK"]) for rows in (3, 4)]
    assert measured(grids[0]) == Size(Work(48), frozenset())
    read = reader(grids[0])
    assert read is not None
    assert read(CALL, {"grid": grids[0]}) != read(CALL, {"grid": grids[1]})


def test_another_grid_has_another_size_whatever_it_holds() -> None:
    one, other = (lambda meta: (meta["BLOCK"],)), (lambda meta: (2 * meta["BLOCK"],))
    read = reader(one)
    assert read is not None
    assert read(CALL, {"grid": one}) != read(CALL, {"grid": other})


def nested(rows: int) -> Any:
    held = Tensor(rows)
    return lambda meta: (held.rows,)


@pytest.mark.parametrize(
    ("name", "grid", "programs"),
    [
        ("a tensor among the arguments", lambda meta: (meta["x"].rows,), 3),
        ("an object that it closes over", nested(5), 5),
        ("all of its argument", lambda meta: (len(list(meta)),), 5),
        ("a copy of it", lambda meta: ({**meta}["n"],), 100),
        ("a function in it", lambda meta: (sum(meta["n"] for _ in range(2)),), 200),
        ("a partial", partial(lambda rows, meta: (rows,), 6), 6),
        ("a list", [4, 5], 20),
        ("a number", 4, 4),
    ],
)
def test_what_cannot_be_told_is_evaluated_at_each_launch(
    name: str, grid: Any, programs: int
) -> None:
    assert measured(grid, x=Tensor(3)) == Size(Work(programs), None), name


def test_a_grid_that_fails_has_no_size() -> None:
    def grid(meta: Any) -> Any:
        raise RuntimeError

    assert measured(grid) == Size(Work(None), None)


def test_other_grids_make_the_reader_fail_or_differ() -> None:
    read = reader(closing_over(64))
    assert read is not None
    known = read(CALL, {"grid": closing_over(64)})
    for grid in ((8, 2), partial(up, 3), lambda meta: (8, 2)):
        with contextlib.suppress(AttributeError, TypeError):
            assert read(CALL, {"grid": grid}) != known


def test_a_name_that_is_no_argument_makes_no_reader() -> None:
    grid = closing_over(64)
    assert reader(grid, frozenset({"n"}), (None,)) is None


def test_the_numbers_and_shapes_of_a_call_stand_for_what_cannot_be_read() -> None:
    def call(rows: int, n: int, flag: bool = True) -> tuple[Any, ...]:
        return SimpleNamespace(shape=(rows, 4), dtype="f32"), n, flag

    read = argument_reader(AUTOTUNER, (3, "grid"), call(3, 5), {"grid": None})
    found = [read(call(*one), {}) for one in ((3, 5), (3, 5), (4, 5), (3, 6))]
    assert found[0] == found[1]
    assert len({*found}) == 3
    assert all(map(are_whole, found))
    assert not are_whole((5, object()))
    by_name = argument_reader(AUTOTUNER, (1, "n", "grid"), call(3, 5)[:1], {"n": 5, "grid": None})
    assert by_name(call(3, 5)[:1], {"n": 7}) == (7, (3, 4))
    with pytest.raises(AttributeError):
        read((None, 5, True), {})


def test_all_sizes_are_alike_where_one_winner_is_for_all() -> None:
    assert whole((1, 2), {"grid": (3,)}) is whole((), {})
