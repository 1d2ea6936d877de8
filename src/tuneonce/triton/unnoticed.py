"""Has Triton digest a kernel early without the kernel noticing.

Triton digests a kernel when it is first compiled, and from then on refuses to launch it if a global
that it reads has changed. Until then a program may change such globals, and what is done ahead of
a first launch must not take that from it. So the kernel is copied, and the functions that it calls
are left as they were.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
from collections.abc import Iterator
from types import CodeType, ModuleType
from typing import Any


def double(jit: Any) -> Any:
    """The same kernel, with a digest of its own."""
    twin = copy.copy(jit)
    if twin.hash is None:
        twin.used_global_vals = {}
    return twin


@contextlib.contextmanager
def unnoticed(src: Any) -> Iterator[None]:
    """Whatever is digested inside for `src` (Triton's `ASTSource`) is not digested afterwards."""
    fresh = [kernel for kernel in _reached(src) if kernel.hash is None]
    try:
        yield
    finally:
        for kernel in fresh:
            with getattr(kernel, "_hash_lock", contextlib.nullcontext()):
                kernel.hash, kernel.used_global_vals = None, {}


def unchanged(src: Any) -> bool:
    """Whether all globals are as they were when `src` was digested; launches ask the same."""
    return not any(
        scope.get(name) != value for (name, _), (value, scope) in src.fn.used_global_vals.items()
    )


def _reached(src: Any) -> list[Any]:
    """The functions of Triton's that the kernel may call, at any depth, and some more."""
    found: dict[int, Any] = {}
    todo = [src.fn, *src.constants.values()]
    while todo:
        kernel = todo.pop()
        if id(kernel) in found or not hasattr(kernel, "used_global_vals"):
            continue
        found[id(kernel)] = kernel
        names = set(_names(kernel.fn.__code__))
        scope = {**kernel.fn.__globals__, **inspect.getclosurevars(kernel.fn).nonlocals}
        values = [scope[name] for name in names & scope.keys()]
        todo += values
        for holder in values:
            if isinstance(holder, (ModuleType, type)):
                todo += [vars(holder)[name] for name in names & vars(holder).keys()]
    found.pop(id(src.fn))
    return list(found.values())


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    yield from code.co_freevars
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)
