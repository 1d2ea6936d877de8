"""Kernels by how their control flows: loops, branches, callees, checks. For two keys at least."""

from __future__ import annotations

import inspect
from typing import Any

import triton
import triton.language as tl
from lab import blocks, floats, warps

RANGE = frozenset(inspect.signature(tl.range).parameters)


@triton.autotune(
    [triton.Config({"BLOCK": 64}, num_warps=2, num_stages=stages) for stages in (1, 3)], ["n"]
)
@triton.jit
def loops(x, out, n, STAGES: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    total = tl.zeros([BLOCK], tl.float32)
    for start in tl.range(0, n, BLOCK, num_stages=STAGES, loop_unroll_factor=2):
        total += tl.load(x + start + i)
    for start in tl.range(n, 0, -BLOCK, flatten=True, disallow_acc_multi_buffer=True):
        total -= tl.load(x + start + i)
    tl.store(out + i, total)


@triton.autotune(warps(2, 4, BLOCK=64), ["TIMES"])
@triton.jit
def unrolled(x, out, TIMES: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    value = tl.load(x + i)
    for step in tl.static_range(TIMES):
        for inner in range(3):
            value = value * step + inner if step % 2 == 0 else value - step
    tl.store(out + i, value)


@triton.autotune(warps(1, 2, BLOCK=32), ["n"])
@triton.jit
def while_loops(x, out, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    low, high = 0, n
    while low < high:
        middle = (low + high) // 2
        if tl.load(x + middle) < 1.0:
            low = middle + 1
        else:
            high = middle
    tl.store(out + i, low + tl.zeros([BLOCK], tl.float32))


@triton.jit(noinline=True)
def _apart(limit, scale: tl.constexpr):
    return limit * scale + 1


@triton.jit
def _inner(value, limit):
    if limit > 10:  # noqa: SIM108
        value = value * 2
    else:
        value = value * 3
    return value


@triton.jit
def _outer(value, limit, twice: tl.constexpr = False):
    value = _inner(value, limit)
    if twice:
        value = _inner(value, limit + 1)
    return value + _apart(limit, 3)


@triton.autotune(warps(2, 4, BLOCK=64), ["TWICE"])
@triton.jit
def callees(x, out, limit, TWICE: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    tl.store(out + i, _outer(tl.load(x + i), limit, twice=TWICE))


@triton.autotune(warps(2, 4, BLOCK=64), ["n"])
@triton.jit
def returns_early(x, out, n, BLOCK: tl.constexpr):
    first = tl.program_id(0) * BLOCK
    if first >= n:
        return
    i = first + tl.arange(0, BLOCK)
    if n % BLOCK == 0:
        tl.store(out + i, tl.load(x + i))
        return
    tl.store(out + i, tl.load(x + i, mask=i < n), mask=i < n)


@triton.autotune(blocks(64, 128, num_warps=4), ["n", "AXES"])
@triton.jit
def persistent(x, out, n, AXES: tl.constexpr, BLOCK: tl.constexpr):
    step = tl.num_programs(0)
    if AXES == 2:
        step *= tl.num_programs(1)
    for tile in range(tl.program_id(0), tl.cdiv(n, BLOCK), step):
        i = tile * BLOCK + tl.arange(0, BLOCK)
        tl.store(out + i, tl.load(x + i, mask=i < n) + step, mask=i < n)


@triton.autotune(warps(1, 2, BLOCK=32), ["HEX"])
@triton.jit
def prints(x, out, HEX: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    value = tl.load(x + i)
    tl.device_print("value: ", value, hex=HEX)
    tl.store(out + i, value)


@triton.autotune(warps(1, 2, BLOCK=32), ["n"])
@triton.jit(debug=True)
def asserts(x, out, n, BLOCK: tl.constexpr):
    tl.static_assert(BLOCK < 64, "too large")
    i = tl.arange(0, BLOCK)
    value = tl.load(x + i)
    tl.device_assert(value < n, "out of range")
    assert n > 0, "nothing"
    tl.store(out + i + n, value)


@triton.autotune(warps(2, 4, BLOCK=64), ["APPROXIMATE"])
@triton.jit
def assembly(x, out, APPROXIMATE: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    value = tl.load(x + i)
    if APPROXIMATE:
        value = tl.inline_asm_elementwise(
            "ex2.approx.ftz.f32 $0, $1;", "=f,f", [value], dtype=tl.float32, is_pure=True, pack=1
        )
    else:
        low, high = tl.inline_asm_elementwise(
            "{ mov.b32 $0, $2; add.f32 $1, $2, $2; }",
            "=r,=r,r",
            [value],
            dtype=(tl.float32, tl.float32),
            is_pure=False,
            pack=1,
        )
        value = low + high
    tl.store(out + i, value)


@triton.autotune(warps(2, 4, BLOCK=64), ["n"])
@triton.jit
def hints(x, out, n, stride, BLOCK: tl.constexpr):
    tl.assume(n > 0)
    tl.assume(stride % 8 == 0)
    i = tl.max_contiguous(tl.multiple_of(tl.program_id(0) * BLOCK + tl.arange(0, BLOCK), 64), 64)
    value = tl.load(x + i * stride, mask=i < n)
    tl.debug_barrier()
    tl.store(out + i, value, mask=i < n)


@triton.autotune(warps(1, 4, 8, BLOCK=128), ["DOUBLE"])
@triton.jit
def reads_its_warps(x, out, DOUBLE: tl.constexpr, BLOCK: tl.constexpr):
    """Candidates share everything but what they ask for themselves."""
    threads: tl.constexpr = tl.extra.cuda.num_threads()
    i = tl.arange(0, BLOCK)
    value = tl.load(x + i)
    if tl.extra.cuda.num_warps() > 2:
        value += threads
    if DOUBLE:
        value += value
    tl.store(out + i, value)


def _made_up(configs: Any, named: Any, **kwargs: Any) -> Any:
    fitting = (config for config in configs if config.kwargs["BLOCK"] <= named["n"])
    return [triton.Config(one.kwargs, num_warps=one.num_warps, num_stages=5) for one in fitting]


@triton.autotune(
    blocks(64, 128, 256, num_warps=2), ["n"], prune_configs_by={"early_config_prune": _made_up}
)
@triton.jit
def pruned(x, out, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + i, tl.load(x + i, mask=i < n) - 1, mask=i < n)


def _shrink(named: dict[str, Any]) -> None:
    named["out"].zero_()


@triton.autotune(
    [
        triton.Config({"BLOCK": 128}, num_warps=4, maxnreg=64, pre_hook=_shrink),
        triton.Config({"BLOCK": 128}, num_warps=4, num_ctas=2, pre_hook=_shrink),
        triton.Config({"BLOCK": 128}, num_warps=4, num_stages=1),
    ],
    ["n"],
)
@triton.jit
def options(x, out, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + i, tl.load(x + i, mask=i < n) * 2, mask=i < n)


def program_control(recorder: Any) -> None:
    launch = recorder.launch
    x, out = floats(8192), floats(8192)
    half = x.half()
    launch(loops, x, out, 1024, 2)
    launch(loops, half, out, 1000, 3)
    launch(unrolled, x, out, 2)
    launch(unrolled, x, out, 5)
    launch(while_loops, x, out, 1024)
    launch(while_loops, half, out, 1000)
    launch(callees, x, out, 16, False)
    launch(callees, half, out, 7, True)
    launch(returns_early, x, out, 1024)
    launch(returns_early, half, out, 1000)
    launch(persistent, x, out, 4096, 1)
    launch(persistent, x, out, 4001, 2, grid=(2, 2))
    launch(prints, x, out, True)
    launch(prints, x.int(), out, False)
    launch(asserts, x, out, 16)
    launch(asserts, half, out, 7)
    launch(assembly, x, out, True)
    launch(assembly, x, out, False)
    launch(hints, x, out, 1024, 8)
    launch(hints, half, out, 1000, 24)
    launch(reads_its_warps, x, out, False)
    launch(reads_its_warps, half, out, True)
    launch(pruned, x, out, 1024)
    launch(pruned, half, out, 100)
    launch(options, x, out, 1024)
    launch(options, half, out, 1000)
