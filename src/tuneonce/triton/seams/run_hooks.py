"""``JITFunction.pre_run_hooks``: what a launch calls before it compiles, the program's and ours."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

from . import samples
from .seam import Feature, Seam

_MODULE = "triton.runtime.jit"

# What ours are told by; of the program's hooks nothing is asked, not even whether they are equal.
_MARK = "tuneonce_hook"


def of_program(kernel: Any) -> Any:
    """What of the program's a launch calls first; None where there can be nothing."""
    hooks = getattr(kernel, "pre_run_hooks", None)
    return None if hooks is None else [hook for hook in hooks if not _is_ours(hook)]


def ours(kernel: Any) -> list[Any]:
    """What a launch calls first and was added here."""
    return [hook for hook in kernel.pre_run_hooks if _is_ours(hook)]


def add(kernel: Any, hook: Callable[..., None]) -> None:
    """Have a launch call `hook`, which is none of the program's, after those that there are."""
    vars(hook)[_MARK] = True
    kernel.pre_run_hooks.append(hook)


def remove(kernel: Any, hook: Any) -> None:
    """Have later launches not call it; a launch that is going through the hooks goes on."""
    kernel.pre_run_hooks = [one for one in kernel.pre_run_hooks if one is not hook]


def _is_ours(hook: Any) -> bool:
    return type(hook) is FunctionType and _MARK in vars(hook)


SEAMS = (
    Seam(
        "JITFunction.pre_run_hooks",
        _MODULE,
        (Feature.COMPILE_POOL, Feature.COMPILE_AHEAD, Feature.STOCK_FILES, Feature.WARM),
        "what of the program's is called before a launch compiles",
        samples.holds("pre_run_hooks", list),
        names=("pre_run_hooks",),
    ),
)
