"""Rebuilds variants that somebody has changed anyhow, under a watch; prints what came of them.

Usage: hostile_variants_child.py HOW_MANY SEED
"""

from __future__ import annotations

import json
import random
import re
import sys
from collections import Counter
from typing import Any

import triton
import triton.language as tl

from tuneonce.testing import SimulatedGPU
from tuneonce.triton.compile.stock_compiler import blocked
from tuneonce.triton.compile.variants import join, rebuild, split


@triton.jit
def twice(x):
    return x * 2


@triton.autotune([triton.Config({"BLOCK": 16}), triton.Config({"BLOCK": 32}, num_warps=8)], ["n"])
@triton.jit
def kernel(
    x, pair, n, scale: tl.constexpr, kind: tl.constexpr, fn: tl.constexpr, BLOCK: tl.constexpr
):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = fn(tl.load(x + i, mask=i < n)).to(kind) * scale
    tl.store(pair[0] + i, value, mask=i < n)


HONEST: dict[str, Any] = {
    "sig.x": "*fp32",
    "sig.pair": ["tuple", "*fp32", "i32"],
    "sig.n": "i32",
    "sig.scale": "constexpr",
    "sig.kind": "constexpr",
    "sig.fn": "constexpr",
    "sig.BLOCK": "constexpr",
    "const.[3]": ["float", (0.5).hex()],
    "const.[4]": ["dtype", "fp32"],
    "const.[5]": ["kernel", __name__, "twice"],
    "const.[6]": 16,
    "attr.[0]": [["tt.divisibility", 16]],
    "attr.[1, 0]": [],
    "opt.num_warps": 8,
    "opt.debug": True,
}
EVIL = "__import__('os').system('touch evil')"
VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 10**9, 1 << 64, 1 << 4000, 0.5, 1e308, float("inf"), "", "1",
    "x" * 10**5,
    "False", "constexpr", "*fp32", "fp32", "i32", EVIL, f"tensordesc<fp16[64, 64],{EVIL}>",
    f"tensordesc<{EVIL}>", "tensordesc<fp16[64, 64]>", f"*{EVIL}", "\ud800", "\x00", "nvTmaDesc",
    "--options-file /dev/zero", "/dev/zero", "../../etc/passwd", [], ["tuple"], ["tuple", "*fp32"],
    ["float", EVIL], ["float", "0x1.8p+1"], ["dtype", EVIL], ["dtype", "fp32"], ["dtype", ["fp32"]],
    ["constexpr", ["constexpr", ["constexpr", ["constexpr", ["constexpr", ["constexpr", 1]]]]]],
    ["kernel", "os", "system"], ["kernel", "sys", "modules"], ["kernel", "builtins", "eval"],
    ["kernel", "triton.language.core", "tensor.__init__"], ["kernel", __name__, "kernel"],
    ["kernel", __name__, "twice.fn.__globals__"], ["kernel", 1, 2], ["module", "os"],
    {"a": 1}, [["a"]],
    [["tt.divisibility", 1 << 40]], [["llvm.x", 1]], [["tt.divisibility", EVIL]], [[[[[[]]]]]],
    ["tuple", *["i32"] * 1000], ["list", 1, 2],
]  # fmt: skip
NAMES = [
    *HONEST, "opt.ptx_options", "opt.ir_override", "opt.extern_libs", "opt.arch",
    "opt.backend_name",
    "opt.num_stages", "opt.enable_fp_fusion", "opt.default_dot_input_precision", "opt.__class__",
    "const.[99]", "const.[-1]", "const.[]", "const.{}", f"const.{EVIL}", "const.[1e999]",
    "const.[true]",
    "const.[3, 0, 0, 0, 0, 0]", "attr.[2]", "attr.[98]", "sig.y", "sig.", "else.x", "", ".",
    "\ud800",
    "const." + "[" * 5000,
]  # fmt: skip


def changed(chance: random.Random) -> dict[str, Any]:
    variant = dict(HONEST)
    for _ in range(chance.choice((1, 1, 2, 3))):
        name = chance.choice(NAMES)
        what = chance.random()
        if what < 0.1:
            variant.pop(name, None)
        elif what < 0.2 and isinstance(variant.get(name), list):
            variant[name] = [chance.choice(VALUES), *variant[name]][: chance.randrange(5)]
        elif what < 0.3:
            text = "".join(chance.choice("*fp32bi1648tensordc<>[],() kx\n") for _ in range(12))
            variant[name] = text
        else:
            variant[name] = chance.choice(VALUES)
    return variant


def main(count: int, seed: int) -> None:
    chance = random.Random(seed)
    outcomes: Counter[str] = Counter()
    seen: Counter[str] = Counter()
    watched = (
        "exec",
        "compile",
        "import",
        "open",
        "subprocess",
        "os.",
        "ctypes",
        "socket",
        "shutil",
    )
    watching = False

    def watch(event: str, arguments: Any) -> None:
        if watching and event.startswith(watched):
            seen[f"{event} {str(arguments)[:200]}"] += 1

    with SimulatedGPU():
        assert blocked() is None
        configs = [None, *kernel.configs]
        rebuild(kernel.fn, HONEST, None)
        rebuild(kernel.fn, HONEST, configs[1])
        sys.addaudithook(watch)
        watching = True
        for _ in range(count):
            variant = changed(chance)
            common, each = split({"a": variant, "b": variant})
            try:
                whole = join(kernel.fn, common, each["a"])
                source, options = rebuild(kernel.fn, whole, chance.choice(configs))
            except ValueError:
                outcomes["refused"] += 1
                continue
            outcomes["accepted"] += 1
            check(source, options)
        watching = False
    print(json.dumps({"outcomes": outcomes, "seen": seen}))


def check(source: Any, options: dict[str, Any]) -> None:
    """What got through is made of nothing but what kernels are compiled with."""
    types = [*source.signature.values()]
    for kind in types:  # grows while it is read
        if isinstance(kind, tuple):
            types += kind
        else:
            assert re.fullmatch(r"[A-Za-z0-9*<>\[\], ]{2,60}", kind), kind
    assert all(type(value) in (int, bool, str, type(None)) for value in options.values())
    assert not {"ptx_options", "ir_override", "extern_libs"} & options.keys()
    assert options.get("arch") is None
    for value in source.constants.values():
        kind = type(value)
        assert kind.__module__ == "builtins" or kind.__name__ in (
            "dtype",
            "constexpr",
            "JITFunction",
        )
        assert kind.__name__ not in ("type", "function", "builtin_function_or_method", "module")


main(int(sys.argv[1]), int(sys.argv[2]))
