"""Values of any class, as keys hold them: two that differ never meet, or there is no encoding."""

from __future__ import annotations

import dataclasses
import enum
from typing import Any, NamedTuple

import pytest

from tuneonce.model.codec import Unencodable
from tuneonce.triton.kernel.tuning_key import tuning_key

pytest.importorskip("triton")
torch = pytest.importorskip("torch")
tl = pytest.importorskip("triton.language")


def key(n: Any) -> Any:
    """The tuning key of a launch with this one argument."""
    return tuning_key(["n"], ["n"], {"n": n})


class Mode(enum.Enum):
    FAST = 1


class Unit:
    """Something that a value holds beside what it is."""

    def __new__(cls, value: Any, unit: str | None = None) -> Any:
        made: Any = super().__new__(cls, value)  # type: ignore[call-arg]
        if unit is not None:
            made.unit = unit
        return made


class Count(Unit, int):
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = int.__hash__


class OtherCount(int): ...


class Name(Unit, str):
    def __str__(self) -> str:
        return "whatever"


class Real(float): ...


class Data(bytes): ...


class Boxes(tuple[Any, ...]):
    __slots__ = ()

    def __iter__(self) -> Any:
        return iter(())


class Pair(NamedTuple):
    x: Any
    y: Any


class Other(NamedTuple):
    x: Any
    y: Any


@dataclasses.dataclass(frozen=True)
class Layout:
    size: int
    order: Any = dataclasses.field(compare=False)


@dataclasses.dataclass(frozen=True)
class OtherLayout(Layout): ...


@dataclasses.dataclass(frozen=True)
class Slotted:
    __slots__ = ("size",)
    size: Any


@dataclasses.dataclass(frozen=True)
class Shaped:
    """Has a shape as tensors have, but no dtype."""

    shape: Any


@dataclasses.dataclass
class Mutable:
    size: int


VALUES = [
    1, True, 1.0, "1", None, 0, False, 0.0, -0.0, "", (), (1,), [1], (1, 2), b"1", 2**70,
    float("nan"), float("inf"), Mode.FAST, torch.float16, torch.bfloat16, tl.float16, tl.float32,
    tl.constexpr(1), tl.constexpr(True), tl.constexpr(tl.float16), {"a": 1}, {"a": 1, "b": 2},
    torch.Size([]), torch.Size([1]), torch.Size([1, 2]), Pair(1, 2), Other(1, 2),
    Count(1), Count(2), OtherCount(1), Count(1, unit="m"), Name("1"), Name("1", unit="m"),
    Real(1.0), Data(b"1"), Boxes((1, 2)), torch.device("cuda", 0), torch.device("cuda", 1),
    torch.device("cpu"), "cpu", torch.strided, torch.contiguous_format,
    Layout(1, (2,)), Layout(1, (2.0,)), Layout(2, (2,)), Shaped((1, 2)), Shaped((1, 3)),
    OtherLayout(1, (2,)), Slotted(1), Slotted(2), Slotted(Layout(1, (2,))),
]  # fmt: skip


def test_values_of_any_type_are_told_apart() -> None:
    encoded = [repr(key(n=value)) for value in VALUES]
    assert len(set(encoded)) == len(VALUES)
    assert encoded == [repr(key(n=value)) for value in VALUES]
    assert key(n=float("nan")) == key(n=float("-nan"))


@pytest.mark.parametrize(
    "value",
    [torch.ones(2), torch.ones(()), torch.ones(0), object(), lambda: None, [torch.ones(1)],
     Mutable(1), Layout(1, object()), Pair(1, torch.ones(1)), Boxes((object(),)), Count],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_a_key_that_cannot_be_encoded(value: Any) -> None:
    with pytest.raises(Unencodable):
        key(n=value)


def test_a_value_that_holds_itself() -> None:
    order: list[Any] = []
    layout = Layout(1, order)
    order.append(layout)
    with pytest.raises(Unencodable):
        key(n=layout)


def test_layouts_of_gluon() -> None:
    gluon = pytest.importorskip("triton.experimental.gluon.language")
    layouts = [gluon.BlockedLayout([1, size], [32, 1], [4, 1], [1, 0]) for size in (4, 8)]
    layouts += [gluon.SliceLayout(0, layouts[0]), gluon.SliceLayout(1, layouts[0])]
    layouts.append(gluon.SwizzledSharedLayout(1, 1, 1, [1, 0]))
    layouts.append(gluon.NVMMASharedLayout(128, 16, 2))
    assert len({repr(key(n=layout)) for layout in layouts}) == len(layouts)
    assert key(n=layouts[0]) == key(n=gluon.BlockedLayout([1, 4], [32, 1], [4, 1], [1, 0]))
