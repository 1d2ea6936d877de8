"""The size of a launch without its grid being evaluated, and when that is not to be had."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("triton")

from tuneonce.triton.kernel.sizes import (
    Size,
    are_whole,
    argument_reader,
    size_of,
    size_reader,
    whole,
)

AUTOTUNER = SimpleNamespace(arg_names=["x", "n", "m", "BLOCK"], fn=None, configs=[])
FIRST = {"BLOCK": 16}
ROWS = 64


def up(n: int, by: int) -> int:
    return -(-n // by)


class Tensor:
    """Stands for what is neither a number nor plain."""

    def __init__(self, rows: int) -> None:
        self.rows = rows


def measured(grid: Any, x: Any = None, n: int = 100, m: int = 7) -> Size:
    return size_of(AUTOTUNER, (x, n, m), {"grid": grid}, FIRST)


def closing_over(rows: int) -> Callable[[Any], Any]:
    return lambda meta: (up(rows, meta["BLOCK"]), 2)


def test_a_tuple_is_its_own_size() -> None:
    assert measured((4, 5)) == Size(20, frozenset())
    assert measured((4, 5, 2, 9)).programs == 40  # Triton has three dimensions
    assert measured((0, 5)).programs == 0
    read = size_reader(AUTOTUNER, (3, "grid"), (4, 5), frozenset())
    assert read is not None
    assert read((), {"grid": (4, 5)}) == (4, 5)


def test_a_grid_that_closes_over_a_size_is_told_from_one_that_closes_over_another() -> None:
    assert measured(closing_over(64)) == Size(8, frozenset())
    assert measured(closing_over(128)).programs == 16
    read = size_reader(AUTOTUNER, (3, "grid"), closing_over(64), frozenset())
    assert read is not None
    sizes = [read((), {"grid": closing_over(rows)}) for rows in (64, 128, 64)]
    assert sizes[0] == sizes[2] != sizes[1]


def test_the_arguments_that_a_grid_reads_decide_and_no_others() -> None:
    def grid(meta: Any) -> Any:
        return (up(meta["n"], meta["BLOCK"]),)

    size = measured(grid, x=Tensor(1), n=100)
    assert size == Size(7, frozenset({"n"}))
    read = size_reader(AUTOTUNER, (3, "grid"), grid, frozenset({"n"}))
    assert read is not None
    calls = [(None, 100, 7), (None, 100, 8), (None, 200, 7)]
    sizes = [read(args, {"grid": grid}) for args in calls]
    assert sizes[0] == sizes[1] != sizes[2]


def test_an_argument_by_name_is_read_by_name() -> None:
    def grid(meta: Any) -> Any:
        return (meta.get("n"), meta.get("nothing", 1))

    size = size_of(AUTOTUNER, (None,), {"n": 5, "grid": grid}, FIRST)
    assert size == Size(5, frozenset({"n"}))
    read = size_reader(AUTOTUNER, (1, "n", "grid"), grid, frozenset({"n"}))
    assert read is not None
    assert read((None,), {"n": 5, "grid": grid}) != read((None,), {"n": 6, "grid": grid})


def test_a_global_number_may_change_between_launches(monkeypatch: pytest.MonkeyPatch) -> None:
    def grid(meta: Any) -> Any:
        return (up(ROWS, meta["BLOCK"]),)

    assert measured(grid) == Size(4, frozenset())
    read = size_reader(AUTOTUNER, (3, "grid"), grid, frozenset())
    assert read is not None
    before = read((), {"grid": grid})
    monkeypatch.setitem(globals(), "ROWS", 128)
    assert measured(grid).programs == 8
    assert read((), {"grid": grid}) != before


def test_a_default_of_the_grid_is_a_size_too() -> None:
    grids = [lambda meta, rows=rows: (rows, meta["BLOCK"]) for rows in (3, 4)]
    assert measured(grids[0]) == Size(48, frozenset())
    read = size_reader(AUTOTUNER, (3, "grid"), grids[0], frozenset())
    assert read is not None
    assert read((), {"grid": grids[0]}) != read((), {"grid": grids[1]})


def test_another_grid_has_another_size_whatever_it_holds() -> None:
    one, other = (lambda meta: (meta["BLOCK"],)), (lambda meta: (2 * meta["BLOCK"],))
    read = size_reader(AUTOTUNER, (3, "grid"), one, frozenset())
    assert read is not None
    assert read((), {"grid": one}) != read((), {"grid": other})


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
    assert measured(grid, x=Tensor(3)) == Size(programs, None), name


def test_a_grid_that_fails_has_no_size() -> None:
    def grid(meta: Any) -> Any:
        raise RuntimeError

    assert measured(grid) == Size(None, None)


def test_other_grids_make_the_reader_fail_or_differ() -> None:
    read = size_reader(AUTOTUNER, (3, "grid"), closing_over(64), frozenset())
    assert read is not None
    known = read((), {"grid": closing_over(64)})
    for grid in ((8, 2), partial(up, 3), lambda meta: (8, 2)):
        with contextlib.suppress(AttributeError, TypeError):
            assert read((), {"grid": grid}) != known


def test_a_name_that_is_no_argument_makes_no_reader() -> None:
    grid = closing_over(64)
    assert size_reader(AUTOTUNER, (1, "grid"), grid, frozenset({"n"})) is None


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
