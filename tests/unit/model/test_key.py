"""Keys as named parts, their addresses, and the sizes of launches."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.fakes import candidate, question
from tuneonce.model.codec import canonical, encode
from tuneonce.model.key import (
    Candidate,
    Difference,
    KernelId,
    Key,
    class_distance,
    compare,
    coordinates,
    largest_first,
    work_class,
)
from tuneonce.model.record_names import (
    _ending,
    class_of_verdict,
    kind_of,
    list_digest,
    parts_digest,
    readable,
)
from tuneonce.model.records import VERDICT, Verdict, pack, unpack
from tuneonce.store.base import check_name, check_prefix

KERNEL = KernelId("add", "kernels", (("source", "00"), ("callee.helper", "01")))
WORLD = (("backend", "cuda"), ("arch", "90"), ("product", "H200"))
KEY = Key(KERNEL, (("n", encode(7)), ("x.dtype", encode("torch.int8"))), WORLD, "H200-90")


def changed(**fields: Any) -> Key:
    return dataclasses.replace(KEY, **fields)


def test_a_key_is_a_list_of_named_parts() -> None:
    assert KEY.parts == (
        ("kernel.name", "add"),
        ("kernel.source", "00"),
        ("kernel.callee.helper", "01"),
        ("key.n", '["int","7"]'),
        ("key.x.dtype", '["str","torch.int8"]'),
        ("world.backend", "cuda"),
        ("world.arch", "90"),
        ("world.product", "H200"),
    )


def test_every_part_is_in_the_digest_and_the_address() -> None:
    others = [
        changed(kernel=dataclasses.replace(KERNEL, name="sub")),
        changed(kernel=dataclasses.replace(KERNEL, source=(("source", "02"),))),
        changed(tuning=(("n", encode(8)), KEY.tuning[1])),
        changed(tuning=(("m", encode(7)), KEY.tuning[1])),
        changed(tuning=(("n", encode(True)), KEY.tuning[1])),
        changed(tuning=KEY.tuning[:1]),
        changed(world=(*WORLD[:2], ("product", "H20"))),
        changed(world=WORLD[:2]),
    ]
    assert len({key.digest for key in [KEY, *others]}) == len(others) + 1
    assert len({key.directory for key in [KEY, *others]}) == len(others) + 1


def test_what_is_for_people_is_in_no_digest() -> None:
    moved = changed(kernel=dataclasses.replace(KERNEL, module="elsewhere"))
    assert moved.parts == KEY.parts
    assert moved.directory == KEY.directory
    assert changed(world_name="H200 NVL").digest == KEY.digest


def test_the_digest_is_that_of_the_parts_a_record_carries() -> None:
    asked = question(16, 32)
    verdict = Verdict(
        key=list(asked.key.parts),
        about={},
        work_class="c03",
        programs=64,
        candidates=asked.digests,
        winner=asked.digests[0],
        measurements=[],
        origin="measured",
        tune_s=1.0,
        compile_s=1.0,
        published_at=1.0,
        tuneonce="0",
    )
    carried = unpack(pack(verdict), Verdict).key
    assert parts_digest(carried) == asked.key.digest
    assert asked.key.directory.rpartition("/")[2] == asked.key.digest


PARTS = st.lists(st.tuples(st.sampled_from(["a", "b", "c", "d"]), st.sampled_from(["1", "2"])),
                 max_size=4, unique_by=lambda part: part[0])  # fmt: skip


@settings(deadline=None)
@given(PARTS, PARTS)
def test_compare_names_exactly_what_differs(ours: Any, theirs: Any) -> None:
    differences = compare(ours, theirs)
    left, right = dict(ours), dict(theirs)
    assert {d.part for d in differences} == {
        name for name in {*left, *right} if left.get(name) != right.get(name)
    }
    assert all((d.ours, d.theirs) == (left.get(d.part), right.get(d.part)) for d in differences)
    assert (differences == []) == (left == right)


def test_compare_keeps_our_order_and_ends_with_theirs() -> None:
    ours = [("b", "1"), ("a", "1"), ("same", "0")]
    theirs = [("z", "9"), ("same", "0"), ("a", "2")]
    assert compare(ours, theirs) == [
        Difference("b", "1", None),
        Difference("a", "1", "2"),
        Difference("z", None, "9"),
    ]


# -- addresses -----------------------------------------------------------------------------------

HOSTILE = [
    "add",
    "make.<locals>.kernel",
    "<lambda>",
    "..",
    "../../etc/passwd",
    "/",
    "",
    "-.-",
    "~root",
    ".hidden",
    "ядро",
    "カーネル",
    "\ud800",
    "a\x00b\n",
    "x" * 300,
    "é" * 300,
    "add.verdict.json",
    "lost+found",
]


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_addresses_are_names_a_store_takes(name: str) -> None:
    kernel = KernelId(name, name, (("source", "00"),))
    key = Key(kernel, (), (("product", name),), name)
    check_prefix(key.directory + "/")
    for work in ("c00", "c31", "cxx"):
        assert check_name(key.verdict_name(work, [candidate(1).digest])).startswith(key.directory)
        assert check_name(key.measurement_name(work, candidate(1).digest))
    assert key.directory.count("/") == 3


@settings(deadline=None)
@given(st.text(st.characters(), max_size=80), st.text(st.characters(), max_size=80))
@example("A", "a")
def test_any_two_kernels_have_two_addresses_that_a_store_takes(one: str, other: str) -> None:
    directories = [Key(KernelId(n, "m", ()), (), WORLD, n).directory for n in (one, other)]
    for directory in directories:
        check_prefix(directory + "/")
    # Not even on a file system that folds case.
    assert (directories[0].lower() == directories[1].lower()) == (one == other)


@pytest.mark.parametrize(
    ("schema", "end"),
    [("tuneonce.verdict/1", ".verdict.json"), ("tuneonce.verdict/12", ".verdict.12.json")],
)
def test_each_version_of_a_schema_has_names_of_its_own(schema: str, end: str) -> None:
    assert _ending("verdict", schema) == end
    assert not ".verdict.json".endswith(_ending("verdict", "tuneonce.verdict/2"))
    name = f"c03.{'0' * 12}{end}"
    assert class_of_verdict(name) == ("c03" if schema == VERDICT else None)
    assert kind_of(name) == (Verdict if schema == VERDICT else None)


def test_readable_keeps_what_people_know_a_kernel_by() -> None:
    assert readable("chunk_fwd_kernel_h") == "chunk_fwd_kernel_h"
    assert readable("make.<locals>.kernel") == "make.-locals-.kernel"
    assert readable("NVIDIA H200 MIG 1g.18gb") == "NVIDIA-H200-MIG-1g.18gb"
    assert readable("<>") == "x"


# -- candidates ----------------------------------------------------------------------------------


def test_a_list_is_its_members_whatever_their_order() -> None:
    digests = [candidate(block).digest for block in (16, 32, 64)]
    assert len({list_digest(order) for order in itertools.permutations(digests)}) == 1
    assert list_digest(digests) != list_digest(digests[:2])
    assert list_digest(digests) != list_digest([*digests[:2], candidate(128).digest])
    assert list_digest([]) != list_digest(digests)


def test_a_candidate_is_its_named_values() -> None:
    same = Candidate((("BLOCK", encode(16)), ("num_warps", encode(4))))
    assert same.digest == candidate(16).digest
    others = [
        (("BLOCK", encode(16)), ("num_warps", encode(8))),
        (("BLOCK_M", encode(16)), ("num_warps", encode(4))),
        (("BLOCK", encode(16.0)), ("num_warps", encode(4))),
        (("BLOCK", encode(16)),),
    ]
    assert len({Candidate(config).digest for config in others} - {same.digest}) == len(others)


# -- the size of a launch ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("programs", "expected"),
    [
        (None, "cxx"),
        (-1, "cxx"),
        (0, "cxx"),
        (1, "c00"),
        (3, "c00"),
        (4, "c01"),
        (15, "c01"),
        (16, "c02"),
        (63, "c02"),
        (64, "c03"),
        (255, "c03"),
        (256, "c04"),
        (4**9 - 1, "c08"),
        (4**9, "c09"),
        (4**10, "c10"),
        (2**31 - 1, "c15"),
        (2**93, "c46"),
    ],
)
def test_work_classes_are_powers_of_four(programs: int | None, expected: str) -> None:
    assert work_class(programs) == expected


@pytest.mark.parametrize(
    ("programs", "elements", "expected"),
    [
        (64, None, "c03"),
        (64, 0, "c03"),
        (64, 1, "c03e00"),
        (64, 64, "c03e00"),
        (64, 182, "c03e01"),  # 2.84 each
        (64, 181, "c03e00"),
        (32, 2**17, "c02e06"),
        (31, 2**17, "c02e06"),
        (16, 2**17, "c02e06"),
        (128, 2**40, "c03e16"),
        (None, 64, "cxx"),
        (0, 64, "cxx"),
    ],
)
def test_a_work_class_says_how_much_each_program_has(
    programs: int | None, elements: int | None, expected: str
) -> None:
    assert work_class(programs, elements) == expected


@given(st.integers(1, 2**40), st.integers(1, 2**60))
def test_a_share_spans_a_factor_of_four(programs: int, elements: int) -> None:
    found = coordinates(work_class(programs, elements))
    assert found is not None
    assert found[1] is not None
    share = elements / programs
    assert share < 4 ** (found[1] + 0.75) * (1 + 1e-9)
    assert found[1] == 0 or share > 4 ** (found[1] - 0.25) * (1 - 1e-9)


@given(st.integers(1, 100_000))
def test_a_chunked_kernel_has_one_share_whatever_the_length(length: int) -> None:
    """32 heads of 128, one program for 64 tokens of a head; the last chunk may be in part."""
    length += 640
    assert work_class(32 * -(-length // 64), length * 32 * 128).endswith("e06")


@given(st.integers(1, 2**100))
def test_a_work_class_spans_a_factor_of_four(programs: int) -> None:
    number = int(work_class(programs)[1:])
    assert 4**number <= programs < 4 ** (number + 1)


def test_how_far_work_classes_are_apart() -> None:
    assert class_distance("c03", "c03") == 0
    assert class_distance("c03", "c10") == class_distance("c10", "c03") == 7
    assert class_distance("cxx", "cxx") == 0
    assert class_distance("c03e05", "c03e07") == 2
    assert class_distance("c03e05", "c04e04") == 2
    assert class_distance("c03e05", "c03") == class_distance("c03", "c03e05") == 1
    assert class_distance("c03e05", "cxx") == math.inf
    assert class_distance("cxx", "c03") == class_distance("c03", "cxx") == math.inf


def test_the_largest_class_has_the_most_elements_in_all() -> None:
    names = ["cxx", "c02e05", "c03e05", "c01e09", "c04e04", "c03"]
    assert sorted(names, key=largest_first) == [
        "c01e09",
        "c04e04",
        "c03e05",
        "c02e05",
        "c03",
        "cxx",
    ]


def test_parts_are_text_that_json_gives_back() -> None:
    parts = Key(KERNEL, (("s", encode("\ud800é")),), WORLD, "w").parts
    assert all(text.isascii() for _, text in parts)
    assert parts[3][1] == canonical(encode("\ud800é"))
