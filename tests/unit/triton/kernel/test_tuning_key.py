"""The values that Triton tunes by: which arguments are meant, in which order, and their dtypes."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import pytest

from tuneonce.model.codec import Unencodable
from tuneonce.triton.kernel.tuning_key import tuning_key

torch = pytest.importorskip("torch")
pytest.importorskip("triton")

NAMES = ["x", "y", "n", "mode", "BLOCK"]


def key(keys: Any = ("n", "mode"), **arguments: Any) -> Any:
    return tuning_key(NAMES, keys, arguments)


X = torch.ones(2, dtype=torch.float16)
Y = torch.ones(2, dtype=torch.int8)


def test_the_parts_of_a_tuning_key() -> None:
    assert key(x=X, y=Y, n=7, mode="fast", BLOCK=16) == (
        ("x.dtype", ["str", "torch.float16"]),
        ("y.dtype", ["str", "torch.int8"]),
        ("n", ["int", "7"]),
        ("mode", ["str", "fast"]),
    )


def test_the_order_of_arguments_and_of_the_list_is_irrelevant() -> None:
    arguments = {"x": X, "y": Y, "n": 7, "mode": "fast"}
    expected = key(**arguments)
    for order in itertools.permutations(arguments.items()):
        assert key(**dict(order)) == expected
    assert key(keys=["mode", "n"], **arguments) == expected
    assert key(keys=["mode", "n", "n"], **arguments) == expected


def test_arguments_that_are_not_there_are_no_part() -> None:
    assert key(n=7) == (("n", ["int", "7"]),)
    assert key(keys=["nothing"], n=7) == ()
    assert tuning_key(NAMES, ["n"], {"grid": (1,), "num_warps": 4}) == ()


class Pair(NamedTuple):
    x: Any
    y: Any


def test_the_dtypes_of_what_is_in_a_tuple() -> None:
    assert key(x=Pair(X, (Y, 3)), y=(), n=7) == (
        ("x.0.dtype", ["str", "torch.float16"]),
        ("x.1.0.dtype", ["str", "torch.int8"]),
        ("n", ["int", "7"]),
    )
    descriptors = [descriptor(X), descriptor(Y)]
    assert len({repr(key(x=(one, 1))) for one in descriptors}) == 2
    deep: Any = X
    for _ in range(40):
        deep = (deep,)
    with pytest.raises(Unencodable):
        key(x=deep)


def descriptor(base: Any) -> Any:
    kind = type("TensorDescriptor", (), {})
    made = kind()
    made.base = base
    return made


def test_a_numpy_scalar_has_a_type_too() -> None:
    numpy = pytest.importorskip("numpy")
    assert key(n=numpy.int32(1)) != key(n=numpy.int64(1)) != key(n=1)
    assert ("n.dtype", ["str", "int32"]) in key(n=numpy.int32(1))


def test_arguments_that_are_no_key_may_be_anything() -> None:
    assert key(keys=["n"], n=1, mode=object(), y=None) == (("n", ["int", "1"]),)
