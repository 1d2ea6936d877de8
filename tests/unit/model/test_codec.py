"""The canonical encoding: distinct values never meet, equal values always do."""

from __future__ import annotations

import collections
import contextlib
import enum
import json
import math
import struct
import sys
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tuneonce.model.codec import Atom, Unencodable, canonical, decode, digest, encode, render


class Color(enum.Enum):
    RED = 1
    GREEN = 2


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Perm(enum.Flag):
    R = 4
    W = 2
    X = 1


class Bits(enum.IntFlag):
    ONE = 1


class Word(str, enum.Enum):
    ONE = "1"


class Point(NamedTuple):
    x: int
    y: int


LARGE = 10**4000
HUGE = 10**6000  # more digits than Python prints, which Hypothesis does not expect

LEAVES_WITH_A_TYPE_THAT_DECODES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([0, 1, -1, LARGE, -LARGE, 2**1993 - 1, 2**1993, 2**63, 2**64])
    | st.floats()
    | st.sampled_from([0.0, -0.0, 1.0, 0.1, math.inf, -math.inf, math.nan, sys.float_info.min])
    | st.text(max_size=4)
    | st.text(st.characters(min_codepoint=0xD7FE, max_codepoint=0xE001), max_size=3)
    | st.sampled_from(["", "1", "nan", "None", "😀", "\ud83d\ude00", "\ud83d", "\x00"])
    | st.binary(max_size=3)
    | st.builds(Atom, st.sampled_from(["dtype", "1"]), st.sampled_from(["torch.int8", "1"]))
)
ENUMS = st.sampled_from(
    [*Color, *Level, *Perm, *Bits, *Word, Perm.R | Perm.W, Perm.R | Perm.X, Perm(0), Bits(8)]
)


def containers(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    # Not NaN: a set may hold it several times, and it never equals itself.
    hashable = leaves.filter(lambda leaf: leaf == leaf)
    hashable = hashable | st.tuples(hashable, hashable)
    return st.recursive(
        leaves,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.lists(inner, max_size=3).map(tuple)
            | st.dictionaries(hashable, inner, max_size=3)
            | st.sets(hashable, max_size=3)
            | st.frozensets(hashable, max_size=3)
        ),
        max_leaves=8,
    )


DECODABLE = containers(LEAVES_WITH_A_TYPE_THAT_DECODES)
ANY = containers(LEAVES_WITH_A_TYPE_THAT_DECODES | ENUMS)


def identity(value: Any) -> Any:
    """What the encoding has to tell apart, said in another way than the encoding does."""
    if isinstance(value, enum.Enum):
        return (type(value), value.name, identity(value.value))
    if isinstance(value, Atom):
        return (Atom, tuple(value))
    if isinstance(value, float):
        return (float, "nan" if value != value else struct.pack("d", value))
    if isinstance(value, (tuple, list)):
        return (type(value), tuple(identity(item) for item in value))
    if isinstance(value, (set, frozenset)):
        return (set, frozenset(identity(item) for item in value))
    if isinstance(value, dict):
        return (dict, frozenset((identity(k), identity(v)) for k, v in value.items()))
    return (type(value), value)


@settings(max_examples=300, deadline=None)
@given(ANY, ANY)
@example(1, True)
@example(1, 1.0)
@example(1, Level.LOW)
@example("1", Word.ONE)
@example(0.0, -0.0)
@example((), [])
@example({}, set())
@example(Perm.R | Perm.W, Perm.R | Perm.X)
@example(Bits(8), Bits(16))
@example("😀", "\ud83d\ude00")
@example(["😀"], ["\ud83d\ude00"])
@example(Atom("none", ""), None)
@example(LARGE, hex(LARGE))
@example([[]], [[], []])
def test_distinct_values_never_meet(one: Any, other: Any) -> None:
    same = identity(one) == identity(other)
    assert (canonical(encode(one)) == canonical(encode(other))) == same
    assert (digest(encode(one)) == digest(encode(other))) == same


def shuffled(value: Any, backwards: bool) -> Any:
    """An equal value of the same type, made in another order."""
    if type(value) in (list, tuple):
        return type(value)(shuffled(item, backwards) for item in value)
    if type(value) in (set, frozenset):
        items = [shuffled(item, backwards) for item in value]
        return type(value)(reversed(items) if backwards else items)
    if type(value) is dict:
        items = [(shuffled(k, backwards), shuffled(v, backwards)) for k, v in value.items()]
        return dict(reversed(items) if backwards else items)
    return float(str(value)) if type(value) is float else value


@settings(max_examples=200, deadline=None)
@given(ANY, st.booleans())
def test_equal_values_always_meet(value: Any, backwards: bool) -> None:
    assert encode(shuffled(value, backwards)) == encode(value)


@settings(max_examples=200, deadline=None)
@given(DECODABLE)
def test_round_trip(value: Any) -> None:
    encoded = encode(value)
    assert identity(decode(encoded)) == identity(value)
    # And over the bytes of a record.
    assert identity(decode(json.loads(canonical(encoded)))) == identity(value)


@settings(max_examples=200, deadline=None)
@given(ANY)
def test_the_canonical_text_is_ascii_and_printable(value: Any) -> None:
    text = canonical(encode(value))
    assert text.isascii()
    assert text.isprintable()
    render(encode(value)).encode("utf-8")


def test_all_nans_are_one_value() -> None:
    odd = struct.unpack("d", struct.pack("Q", 0x7FF8_0000_0000_0001))[0]
    nans = [math.nan, float("nan"), -math.nan, odd, float("-nan"), math.inf - math.inf]
    assert {canonical(encode(nan)) for nan in nans} == {'["float","nan"]'}
    assert math.isnan(decode(["float", "nan"]))


def test_several_nans_in_one_container() -> None:
    one, other = float("nan"), float("nan")
    assert encode({one: 2, other: 1}) == encode({one: 1, other: 2})
    assert encode({one, other}) != encode({one})


def test_insertion_order_and_mutability_of_sets() -> None:
    assert encode({"a": 1, "b": [2]}) == encode({"b": [2], "a": 1})
    assert encode({3, 1, 2}) == encode(frozenset([2, 3, 1]))


def test_integers_of_any_size() -> None:
    sizes = [HUGE, -HUGE, HUGE + 1, 2**1993 - 1, 2**1993, -(2**1993)]
    assert [decode(encode(size)) for size in sizes] == sizes
    assert len({canonical(encode(size)) for size in sizes}) == len(sizes)


def test_what_the_forms_are() -> None:
    # Records that exist hold these; a change here retires every one of them.
    assert encode(None) == ["none"]
    assert encode(True) == ["bool", True]
    assert encode(7) == ["int", "7"]
    assert encode(0.5) == ["float", "0x1.0000000000000p-1"]
    assert encode("x") == ["str", "x"]
    assert encode("\ud800") == ["wtf8", "eda080"]
    assert encode(b"\x01") == ["bytes", "01"]
    assert encode((1, "a")) == ["tuple", ["int", "1"], ["str", "a"]]
    assert encode([1]) == ["list", ["int", "1"]]
    assert encode({"a": 1}) == ["dict", [["str", "a"], ["int", "1"]]]
    assert encode({2, 1}) == ["set", ["int", "1"], ["int", "2"]]
    assert encode(Color.RED) == ["enum", "Color", "RED", ["int", "1"]]
    assert encode(Atom("dtype", "torch.int8")) == ["atom", "dtype", "torch.int8"]
    assert encode(16**1000) == ["int", "0x1" + 1000 * "0"]


def test_a_member_that_was_given_another_value_is_another_value() -> None:
    def mode(fast: int) -> enum.Enum:
        return enum.Enum("Mode", {"FAST": fast}).FAST  # type: ignore[attr-defined]

    assert encode(mode(1)) == encode(mode(1))
    assert encode(mode(1)) != encode(mode(2))


def test_a_member_without_an_encodable_value_is_known_by_its_name() -> None:
    class Op(enum.Enum):
        ADD = object()

    assert encode(Op.ADD)[2:] == ["ADD"]


class MyInt(int):
    pass


class MyFloat(float):
    pass


class MyStr(str):
    pass


class MyBytes(bytes):
    pass


class MyList(list):  # type: ignore[type-arg]
    pass


class MyTuple(tuple):  # type: ignore[type-arg]
    pass


class MyDict(dict):  # type: ignore[type-arg]
    pass


class MySet(set):  # type: ignore[type-arg]
    pass


class Strange:
    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __repr__(self) -> str:
        raise RuntimeError("repr")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("eq")

    def __bool__(self) -> bool:
        raise RuntimeError("bool")

    __hash__ = object.__hash__


STRANGERS = [
    MyInt(1),
    MyFloat(1.0),
    MyStr("a"),
    MyBytes(b"a"),
    MyList([1]),
    MyTuple((1,)),
    MyDict(a=1),
    MySet([1]),
    Point(1, 2),
    collections.OrderedDict(a=1),
    object(),
    Strange(),
    int,
    len,
    lambda: None,
    1j,
    range(3),
    bytearray(b"a"),
    memoryview(b"a"),
    slice(1),
    ...,
    NotImplemented,
    json,
]


@pytest.mark.parametrize("value", STRANGERS, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("wrap", [lambda v: v, lambda v: [v], lambda v: {"a": (v,)}])
def test_other_types_are_never_guessed(value: Any, wrap: Any) -> None:
    with pytest.raises(Unencodable) as caught:
        encode(wrap(value))
    assert caught.value.type_name == f"{type(value).__module__}.{type(value).__qualname__}"


def test_the_caller_may_know_more_types() -> None:
    def opaque(value: object) -> Atom | None:
        return Atom("complex", repr(value)) if isinstance(value, complex) else None

    assert encode([1j], opaque=opaque) == ["list", ["atom", "complex", "1j"]]
    with pytest.raises(Unencodable):
        encode(object(), opaque=opaque)


def test_a_value_that_the_caller_cannot_look_at_is_unencodable() -> None:
    with pytest.raises(Unencodable):
        encode(Strange(), opaque=lambda value: Atom("strange", repr(value)))


def list_in_itself() -> Any:
    value: list[Any] = [1]
    value.append(value)
    return value


def list_twice_in_itself() -> Any:
    value: list[Any] = []
    value += [value, value]
    return value


def dict_in_itself() -> Any:
    value: dict[str, Any] = {}
    value["a"] = (value,)
    return value


def doubled_often() -> Any:
    value: Any = 1
    for _ in range(31):
        value = [value, value]
    return value


def very_deep() -> Any:
    value: Any = 1
    for _ in range(100_000):
        value = (value,)
    return value


MAKE_ENDLESS = [list_in_itself, list_twice_in_itself, dict_in_itself, doubled_often, very_deep]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("make", MAKE_ENDLESS, ids=lambda make: make.__name__)
def test_containers_without_an_end(make: Any) -> None:
    with pytest.raises(Unencodable):
        encode(make())


@pytest.mark.timeout(20)
def test_a_container_in_itself_by_way_of_the_callers_types() -> None:
    class Box:
        def __init__(self) -> None:
            self.value: Any = None

    def opaque(value: object) -> Atom | None:
        assert isinstance(value, Box)
        return Atom("box", canonical(encode(value.value, opaque=opaque)))

    box = Box()
    box.value = [box, box]
    with pytest.raises(Unencodable):
        encode(box, opaque=opaque)


def test_what_real_programs_nest_is_no_problem() -> None:
    table = list(range(50_000))
    assert decode(encode(table)) == table
    deep: Any = 1
    for _ in range(31):
        deep = (deep,)
    assert decode(encode(deep)) == deep


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)  # fmt: skip
TAGS = ["none", "bool", "int", "float", "str", "wtf8", "bytes", "tuple", "list", "dict", "set",
        "enum", "atom", "?"]  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(JSON | st.builds(lambda tag, rest: [tag, *rest], st.sampled_from(TAGS), st.lists(JSON)))
@example(["float", "0x1p99999"])
@example(["int", "9" * 5000])
@example(["int", 7])
@example(["dict", [["list"], ["none"]]])
@example(["dict", [["none"]]])
@example(["wtf8", "ff"])
@example([])
@example("none")
def test_what_is_not_encoded_is_told_and_still_shown(stored: Any) -> None:
    with contextlib.suppress(ValueError):
        decode(stored)
    assert isinstance(render(stored), str)


@pytest.mark.timeout(20)
def test_a_very_deep_record_is_told_and_still_shown() -> None:
    stored: Any = ["none"]
    for _ in range(400):
        stored = ["tuple", stored]
    render(stored)


def test_shown_as_a_person_writes_it() -> None:
    values = [None, True, 64, 0.5, "bf16", Color.RED, Atom("dtype", "torch.int8"), (1, 2)]
    assert [render(encode(value)) for value in values] == [
        "None", "True", "64", "0.5", "bf16", "Color.RED", "torch.int8", "(1, 2)"
    ]  # fmt: skip
    assert render(encode([HUGE])).startswith("[")
