"""Programs that start with records of what an earlier start of theirs had compiled.

`everything` is the earlier one. The others wait, after their first tuning, until all is begun that
can be begun before it is asked for, and then do not ask for it, or ask for something else.
"""

from __future__ import annotations

import threading
from typing import Any

import triton
import triton.language as tl
from lab import floats, warps


@triton.autotune(warps(2, 4, BLOCK=64), ["n"])
@triton.jit
def asked_for(x, out, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    tl.store(out + i, tl.load(x + i, mask=i < n) + 1, mask=i < n)


@triton.autotune(warps(2, 4, BLOCK=64), ["n"])
@triton.jit
def known(x, out, n, MODE: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    value = tl.load(x + i, mask=i < n)
    if MODE == 1:
        value += 1
    tl.store(out + i, value, mask=i < n)


@triton.autotune(warps(2, 4, BLOCK=64), ["n"])
@triton.jit
def known_with_option(x, out, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    value = tl.load(x + i, mask=i < n)
    tl.store(out + i, value * value + value, mask=i < n)


def _begins(recorder: Any) -> None:
    x = floats(64)
    recorder.launch(asked_for, x, x, 64)
    for thread in threading.enumerate():
        if thread.name == "tuneonce-ahead":
            thread.join()
    # Whoever is asked for these has done what was begun before.
    for n in (60, 32, 30, 16, 15):
        recorder.launch(asked_for, x, x, n)
        recorder.launch(asked_for, x.half(), x, n)


def program_everything(recorder: Any) -> None:
    x = floats(64)
    recorder.launch(asked_for, x, x, 64)
    recorder.launch(known, x, x, 64, 1)
    recorder.launch(known_with_option, x, x, 64)


def program_nothing_of_it(recorder: Any) -> None:
    """What nobody asks for, stock does not compile."""
    _begins(recorder)


def program_another_type(recorder: Any) -> None:
    """Triton's digest of the constant is the same, its code is not."""
    _begins(recorder)
    recorder.launch(known, floats(64), floats(64), 64, "1")


def program_another_value(recorder: Any) -> None:
    _begins(recorder)
    recorder.launch(known, floats(64), floats(64), 64, True)
    recorder.launch(known, floats(64), floats(64), 60, 2)


def program_another_option(recorder: Any) -> None:
    _begins(recorder)
    recorder.launch(known_with_option, floats(64), floats(64), 64, enable_fp_fusion=False)


def program_another_argument(recorder: Any) -> None:
    _begins(recorder)
    recorder.launch(known, floats(64).bfloat16(), floats(64), 64, 1)
