"""From Triton's objects to ours: candidates, tuning keys, the sizes of launches."""

from __future__ import annotations

import dataclasses
import enum
import functools
import itertools
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from tuneonce.model.codec import Unencodable
from tuneonce.model.wording import config_text
from tuneonce.triton.kernel.candidates import candidates_of
from tuneonce.triton.kernel.grid import programs
from tuneonce.triton.kernel.tuning_key import tuning_key

triton = pytest.importorskip("triton")
torch = pytest.importorskip("torch")
tl = pytest.importorskip("triton.language")


def config(values: dict[str, Any], **options: Any) -> Any:
    return triton.Config(values, **options)


def digests(*configs: Any) -> list[str]:
    return [candidate.digest for candidate in candidates_of(configs)]


# -- candidates ----------------------------------------------------------------------------------


def test_a_candidate_as_people_write_it() -> None:
    [one] = candidates_of([config({"B": 64, "A": "x"}, num_warps=8, num_stages=2, maxnreg=128)])
    assert config_text(one.config) == "A=x B=64 num_warps=8 num_stages=2 maxnreg=128"
    assert [name for name, _ in one.config] == [
        "A", "B", "num_warps", "num_ctas", "num_stages", "maxnreg", "ir_override",
    ]  # fmt: skip


def test_the_order_of_values_is_irrelevant() -> None:
    one = config({"A": 1, "B": {"x": 1, "y": (2, [3])}})
    other = config({"B": {"y": (2, [3]), "x": 1}, "A": 1})
    assert digests(one) == digests(other)


def test_every_value_counts() -> None:
    configs = [
        config({"B": 64}),
        config({"B": 128}),
        config({"B": 64.0}),
        config({"B": "64"}),
        config({"B": (64,)}),
        config({"B": None}),
        config({}),
        config({"A": 64}),
        config({"A": 64, "B": 64}),
        config({"B": 64}, num_warps=8),
        config({"B": 64}, num_stages=4),
        config({"B": 64}, num_ctas=2),
        config({"B": 64}, maxnreg=64),
        config({"B": 64}, ir_override="a.ttgir"),
        config({"B": tl.float16}),
        config({"B": torch.float16}),
        config({"B": tl.constexpr(64)}),
        config({"B": 64}, pre_hook=named_hook),
    ]
    assert len(set(digests(*configs))) == len(configs)
    # Whatever stands beside them.
    assert digests(*configs) == [digests(one)[0] for one in configs]


class Passing(triton.Config):
    """A library's, which passes on what Triton's does not."""

    def __init__(self, values: dict[str, Any], passed: dict[str, Any]) -> None:
        super().__init__(values)
        self.passed = passed

    def all_kwargs(self) -> dict[str, Any]:
        return {**super().all_kwargs(), **self.passed}


class Dropping(triton.Config):
    def all_kwargs(self) -> dict[str, Any]:
        return {name: v for name, v in super().all_kwargs().items() if name != "num_ctas"}


def test_all_that_is_passed_counts() -> None:
    configs = [
        config({"B": 64}),
        Passing({"B": 64}, {"fuse": True}),
        Passing({"B": 64}, {"fuse": False}),
        Passing({"B": 64}, {"fuse": 1}),
        Passing({"B": 64}, {"B": 128}),
        Passing({"B": 64}, {"num_warps": 8}),
        Dropping({"B": 64}),
    ]
    assert len(set(digests(*configs))) == len(configs)
    assert digests(*reversed(configs)) == [*reversed(digests(*configs))]
    with pytest.raises(Unencodable):
        candidates_of([Passing({"B": 64}, {"fuse": object()})])


def test_what_a_subclass_passes_as_triton_does_changes_no_digest() -> None:
    assert digests(config({"B": 64}), Passing({"B": 64}, {}))[0] == digests(config({"B": 64}))[0]
    assert digests(Passing({"B": 64}, {})) == digests(config({"B": 64}))
    # Stored records hold these digests.
    assert digests(config({"B": 64, "A": "x"}, num_warps=8, maxnreg=128)) == ["691fda8abf55cb0d"]


def test_a_flag_is_not_a_number() -> None:
    assert digests(config({"B": 1}))[0] != digests(config({"B": True}))[0]


def named_hook(arguments: dict[str, Any]) -> None: ...


def other_hook(arguments: dict[str, Any]) -> None: ...


def make_hook(value: int) -> Any:
    def hook(arguments: dict[str, Any]) -> int:
        return value

    return hook


class Callable:
    def __call__(self, arguments: dict[str, Any]) -> None: ...


def test_a_hook_counts_by_its_name() -> None:
    def one(hook: Any) -> str:
        return digests(config({"B": 64}, pre_hook=hook))[0]

    assert one(named_hook) == one(named_hook)
    hooks = [named_hook, other_hook, make_hook(1), Callable(), Callable().__call__, None]
    assert len({one(hook) for hook in hooks}) == len(hooks)
    assert one(make_hook(1)) == one(make_hook(2))  # what it does cannot be read
    assert one(functools.partial(named_hook)) != one(named_hook)


def test_candidates_that_agree_are_told_apart_by_their_place() -> None:
    same = [config({"B": 64}, pre_hook=make_hook(n)) for n in range(3)]
    other = config({"B": 128})
    found = digests(same[0], other, same[1], same[2])
    assert len(set(found)) == 4
    assert found == [*digests(same[0], other), *digests(*same)[1:]]
    assert found[0] == digests(same[2])[0]


def test_a_value_called_repeat_is_no_repetition() -> None:
    assert len(set(digests(config({}), config({}), config({"repeat": 1})))) == 3


@pytest.mark.parametrize("value", [object(), torch.ones(2), lambda: None, [object()]])
def test_a_candidate_that_cannot_be_encoded(value: Any) -> None:
    with pytest.raises(Unencodable):
        candidates_of([config({"B": 64}), config({"B": value})])


def test_candidates_without_some_of_the_fields() -> None:
    # A library's own class, or one of an older Triton.
    little = SimpleNamespace(kwargs={"B": 64}, num_warps=4, num_stages=3)
    assert config_text(candidates_of([little])[0].config) == "B=64 num_warps=4 num_stages=3"


# -- tuning keys ---------------------------------------------------------------------------------

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


# -- the size of a launch ------------------------------------------------------------------------


@triton.jit
def kernel(x, n, BLOCK: tl.constexpr, SPLIT: tl.constexpr = 4, EVEN: tl.constexpr = False):
    pass


def tuned(fn: Any = kernel, *, blocks: tuple[int, ...] = (16, 32)) -> Any:
    return triton.autotune([config({"BLOCK": block}) for block in blocks], key=["n"])(fn)


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
