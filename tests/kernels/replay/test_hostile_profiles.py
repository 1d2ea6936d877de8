"""Profiles that are not true: what is launched and kept is what stock launches and keeps."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

pytest.importorskip("triton")

import triton
import triton.language as tl

from tests.kernels.pool_lab import binaries
from tests.kernels.replay.replay_kernels import KERNELS, plain, second, tune, x
from tests.kernels.replay.replay_lab import Program, Start
from tuneonce.model.profiles import ProfilePart, UsedVariant
from tuneonce.model.record_names import kind_of
from tuneonce.model.records import pack, unpack
from tuneonce.model.shared_profiles import SharedProfile
from tuneonce.store.memory import MemoryStore


@triton.jit
def counts(x, n, STEPS: tl.constexpr):
    for step in tl.static_range(STEPS):
        n += step
    tl.store(x, n)


def launches() -> list[dict[str, bytes]]:
    """What the program launches: all that is known of each binary."""
    made = [
        plain[(1,)](x(), 5, 2),
        plain[(1,)](x(), 16, 3, num_warps=2),
        second[(1,)](x()[1:], 1 << 40, 2),
        counts[(1,)](x(), 5, 2),
        tune(),
    ]
    return [{name: one.asm[name] for name in ("ttir", "ptx", "cubin")} for one in made]


def started(program: Program, **options: Any) -> Any:
    return program.start(kernels=(*KERNELS, counts), **options)


First = tuple[Path, MemoryStore, list[dict[str, bytes]]]


@pytest.fixture(scope="module")
def first_start(tmp_path_factory: pytest.TempPathFactory) -> First:
    """What a first start leaves, and the codes that it launched, with nothing made ready."""
    cache, program = tmp_path_factory.mktemp("triton"), Program()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_CACHE_DIR", str(cache))
        patch.setenv("TRITON_DEFAULT_FP_FUSION", "1")
        with started(program) as start:
            found = launches()
            start.ready()
    assert isinstance(program.store, MemoryStore)
    return cache, program.store, found


@pytest.fixture
def program(first_start: First, monkeypatch: pytest.MonkeyPatch) -> Program:
    """The program after its first start."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(first_start[0]))
    store = MemoryStore()
    for name in first_start[1].list(""):
        store.put(name, first_start[1].get(name) or b"")
    return Program(store)


@pytest.fixture
def codes(first_start: First) -> list[dict[str, bytes]]:
    return first_start[2]


def rewrite(
    program: Program,
    change: Callable[[list[UsedVariant]], None],
    kind: type[ProfilePart] | type[SharedProfile] = ProfilePart,
) -> None:
    """Change what the profile says, under a right checksum, in its part or in what is shared.

    Of the two only that one is left.
    """
    for name in list(program.store.list("profiles/")):
        data = program.store.get(name)
        assert data is not None
        if kind_of(name) is kind:
            record = unpack(data, kind)
            change(record.variants)
            program.store.put(name, pack(record))
        else:
            program.store.delete_if(name, data)


def cache() -> dict[str, dict[str, bytes]]:
    return binaries(Path(os.environ["TRITON_CACHE_DIR"]))


def assert_as_stock(start: Start, codes: list[dict[str, bytes]]) -> None:
    before = cache()
    assert launches() == codes
    assert {key: cache()[key] for key in before} == before
    assert start.events.problems() == []


def of(variants: list[UsedVariant], name: str) -> int:
    return next(i for i, one in enumerate(variants) if one.kernel.endswith(f":{name}"))


def put(name: str, **changes: Any) -> Callable[[list[UsedVariant]], None]:
    """Change one entry of a kernel; `variant` is added to what its variant holds."""

    def change(variants: list[UsedVariant]) -> None:
        at = of(variants, name)
        more = {**variants[at].variant, **changes.get("variant", {})}
        variants[at] = msgspec.structs.replace(variants[at], **{**changes, "variant": more})

    return change


def swap(*fields: str) -> Callable[[list[UsedVariant]], None]:
    """Two kernels' entries change places in these fields."""

    def change(variants: list[UsedVariant]) -> None:
        one, other = of(variants, "plain"), of(variants, "second")
        before = variants[one]
        for at, of_whom in ((one, variants[other]), (other, before)):
            taken = {field: getattr(of_whom, field) for field in fields}
            variants[at] = msgspec.structs.replace(variants[at], **taken)

    return change


LIES = {
    "another constant": put("plain", variant={"const.[2]": 7}),
    "another type of a constant": put("plain", variant={"const.[2]": ["float", "0x1.0p+1"]}),
    "true for a number": put("plain", variant={"const.[2]": True}),
    "text for a number": put("plain", variant={"const.[2]": "2"}),
    "another type": put("plain", variant={"sig.x": "*fp16"}),
    "a pointer for a number": put("plain", variant={"sig.n": "*i8", "attr.[1]": []}),
    "a constant for a number": put("plain", variant={"sig.n": "constexpr", "const.[1]": 5}),
    "an alignment": put("plain", variant={"attr.[0]": []}),
    "an alignment of a number": put("plain", variant={"attr.[1]": [["tt.divisibility", 16]]}),
    "a type of none": put("plain", variant={"sig.x": "tensordesc<fp16[64, 64]>"}),
    "python": put("plain", variant={"sig.x": "__import__('os').system('touch evil')"}),
    "a path to nowhere": put("plain", variant={"const.[99]": 1}),
    "another option": put("plain", options=[("num_warps", 16)]),
    "an option of another value": put("plain", options=[("num_warps", 0)]),
    "an option for the assembler": put("plain", options=[("ptx_options", "--options-file /x")]),
    "an option that names a file": put("plain", options=[("ir_override", "/dev/zero")]),
    "the grid": put("plain", options=[("grid", 1)]),
    "a launch": put("plain", options=[("warmup", False)]),
    "a parameter": put("plain", options=[("SCALE", 3)]),
    "options twice": put("plain", options=[("num_warps", 1), ("num_warps", 2)]),
    "another kernel's variant": swap("kernel"),
    "another kernel's key": swap("key"),
    "another kernel's binary": swap("binary"),
    "another kernel's names": swap("binary", "key"),
    "no kernel": put("plain", kernel="os:system"),
    "a module": put("plain", kernel="os"),
    "a class": put("plain", kernel="triton.runtime.jit:JITFunction"),
    "no binary": put("plain", binary="../../../../etc/passwd"),
    "a long binary": put("plain", binary="0" * 5000),
    "empty words": put("plain", binary="", key=""),
    "a huge constant": put("plain", variant={"const.[2]": "x" * 200}),
    "many parts": put("plain", variant={f"const.[{n}]": n for n in range(1000)}),
    "a loop of a thousand million steps": put("counts", variant={"const.[2]": 10**9}),
}


@pytest.mark.parametrize("kind", [ProfilePart, SharedProfile])
@pytest.mark.parametrize("lie", LIES)
def test_what_is_launched_is_what_stock_launches(
    program: Program,
    codes: list[dict[str, bytes]],
    lie: str,
    kind: type[ProfilePart] | type[SharedProfile],
) -> None:
    rewrite(program, LIES[lie], kind)
    with started(program) as start:
        warmed = start.ready()
        assert warmed.variants <= len(codes)
        assert sum(warmed.left_out.values()) <= 2
        assert start.gpu.launches == []
        assert_as_stock(start, codes)
    assert not Path("evil").exists()


def test_a_loop_of_a_thousand_million_steps_is_not_waited_for(
    program: Program, codes: list[dict[str, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not compiled here, where nobody could end it, and its code is generated for a while."""
    from tuneonce.triton.compile import shipment

    monkeypatch.setattr(shipment, "_WITHIN_S", 0.2)
    rewrite(program, LIES["a loop of a thousand million steps"])
    with started(program, workers=2) as start:
        warmed = start.ready()
        assert warmed.variants == len(codes) - 1
        assert sum(warmed.left_out.values()) == 1
        assert_as_stock(start, codes)


WILD: list[Any] = [
    None, True, 0, 1, -1, 10**9, 1 << 62, 0.5, "", "x" * 3000, "*fp32", "i32", "constexpr", [], {},
    ["tuple", "*fp32"], ["tuple", ["tuple", ["tuple", "i32"]]], ["float", "nan"], ["dtype", "fp16"],
    ["kernel", "os", "system"], ["constexpr", ["constexpr", 1]], [["tt.divisibility", 1 << 30]],
    "\x00", "tensordesc<fp8e5[1]>", "fp64", "u1", "*u64", "bf16",
]  # fmt: skip


@pytest.mark.parametrize("seed", range(int(os.environ.get("HOSTILE_PROFILES", "6"))))
def test_changed_anyhow_nothing_of_it_is_launched(
    program: Program, codes: list[dict[str, bytes]], seed: int
) -> None:
    chance = random.Random(seed)

    def change(variants: list[UsedVariant]) -> None:
        whole = list(variants)
        for _ in range(20):
            one = chance.choice(whole)
            parts = dict(one.variant)
            for _ in range(chance.randrange(3)):
                parts[chance.choice([*parts, "const.[0]", "attr.[1]"])] = chance.choice(WILD)
            variants.append(
                msgspec.structs.replace(
                    one,
                    kernel=chance.choice([one.kernel, chance.choice(whole).kernel]),
                    variant=parts,
                    binary=chance.choice([one.binary, chance.choice(whole).binary, "0" * 64]),
                    key=chance.choice([one.key, chance.choice(whole).key]),
                    options=[
                        (name, chance.choice(WILD))
                        for name in chance.choices(["num_warps", "debug", "maxnreg", "x"], k=2)
                    ][: chance.randrange(3)],
                )
            )

    rewrite(program, change)
    with started(program) as start:
        start.ready()
        assert start.gpu.launches == []
        assert_as_stock(start, codes)
