"""Takes a candidate's compilation out of a launch, as far as it needs the user's Python.

Triton is asked to warm the candidate up, which computes its specialisation as a launch would; where
it turns to its compiler, ours stands in, generates the first of the compiler's languages (TTIR,
about 5 % of a compilation) and stops. The rest of the way any process can go that has Triton. With
many cores even that is left to them, for kernels that can be packed (`tuneonce.triton.pack`).
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..codec import Unencodable
from . import compat
from .calls import Cold
from .checks import Check
from .fronts import Fronts
from .pack import Packing, State
from .source import innermost
from .variants import Variant, describe

_here = threading.local()

# What these knobs and variables make a compiler print or write is meant to be seen.
_IN_THIS_PROCESS = {
    "compilation": ("always_compile", "override", "dump_ir", "use_ir_loc"),
    "nvidia": ("dump_nvptx", "dump_ptxas_log"),
    "amd": ("dump_amdgcn", "dump_mir"),
}
_PRINTING = (
    "MLIR_ENABLE_DUMP",
    "LLVM_IR_ENABLE_DUMP",
    "MLIR_ENABLE_TIMING",
    "LLVM_ENABLE_TIMING",
    "MLIR_ENABLE_DIAGNOSTICS",
    "TRITON_ENABLE_LLVM_DEBUG",
    "TRITON_LLVM_DEBUG_ONLY",
    "TRITON_REPRODUCER_PATH",
)


@dataclass(frozen=True)
class Shipment:
    """One variant on its way: `hash` is the binary's key in Triton's cache.

    `src` is Triton's source of it. `job` is for the helper, None if the binary is there already.
    `variant` describes it, None if that is not possible. `check` is owed if its kernel is on trial.
    """

    hash: str
    src: Any
    job: dict[str, Any] | None
    variant: Variant | None
    check: Check | None = None


class _Stop(BaseException):
    """Carries a source out of Triton; not an Exception, which kernels' wrappers may catch."""

    def __init__(self, src: Any, target: Any, options: Mapping[str, Any]) -> None:
        self.src, self.target, self.options = src, target, options


def ship(
    cold: Cold,
    config: Any,
    *,
    pending: Callable[[str], bool],
    fronts: Fronts,
    packing: Packing,
) -> Shipment | None:
    """What has to be compiled before `config` can be launched; None if it is in this process.

    `pending(hash)`: it is being compiled already, so its code need not be generated. `packing`:
    whether it can be generated in the helper. Raises what Triton raises where it cannot even begin,
    as the launch will.
    """
    autotuner, nargs, kwargs = cold.autotuner, cold.nargs, cold.kwargs
    jit = innermost(autotuner.fn)
    if config.pre_hook is not None and any(hasattr(v, "block_shape") for v in nargs.values()):
        # It shapes descriptors, which the binary depends on.
        config.pre_hook({**nargs, **kwargs, **config.all_kwargs()})
    with _diverted(jit):
        try:
            autotuner.fn.run(*cold.args, **{**kwargs, "warmup": True, **config.all_kwargs()})
        except _Stop as stop:
            return front(
                stop.src, stop.target, stop.options,
                pending=pending, fronts=fronts, packing=packing,
            )  # fmt: skip
    return None


@contextmanager
def _diverted(jit: Any) -> Iterator[None]:
    """While this is on, this thread's compilations of `jit` stop after their first language."""
    from triton.runtime.driver import driver

    _ = jit.device_caches[driver.active.get_current_device()]  # sets jit.compile
    original = jit.compile

    def compile(src: Any, target: Any = None, options: Any = None, **more: Any) -> Any:
        if getattr(_here, "jit", None) is not jit:
            return original(src, target=target, options=options, **more)
        raise _Stop(src, target, options)

    before = getattr(_here, "jit", None)
    jit.compile, _here.jit = compile, jit
    try:
        yield
    finally:
        _here.jit = before
        if jit.compile is compile:
            jit.compile = original


def front(
    src: Any,
    target: Any,
    options: Mapping[str, Any],
    *,
    pending: Callable[[str], bool],
    fronts: Fronts,
    packing: Packing,
) -> Shipment:
    """Pack `src` or generate its code, unless its binary is there or on its way. Thread-safe."""
    from triton.compiler.compiler import ASTSource, make_backend

    if type(src) is not ASTSource:
        raise NotShippable(type(src).__name__)
    backend = make_backend(target)
    parsed = backend.parse_options(dict(options))
    key = compat.binary_key(src, backend, parsed)
    try:
        variant = describe(src, vars(parsed), backend)
    except Unencodable:
        variant = None
    if pending(key) or _in_cache(key, src):
        return Shipment(key, src, None, variant)
    code = _code(src, target, parsed, backend, fronts, packing)
    job = {
        "name": src.name,
        "source_hash": src.hash(),
        "backend_hash": backend.hash(),
        **code,
        "target": (target.backend, target.arch, target.warp_size),
        "options": dict(options),
        "directory": _directory(),
        "environment": dict(os.environ),
        "knobs": compat.set_knobs(),
    }
    check = Check(src, target, parsed, backend, job) if job["kernel"] is not None else None
    return Shipment(key, src, job, variant, check)


def _code(
    src: Any, target: Any, options: Any, backend: Any, fronts: Fronts, packing: Packing
) -> dict[str, Any]:
    """What the helper compiles: a text in the first language, or what that is generated from.

    With the name of the kernel if it is on trial.
    """
    if (text := fronts.known(src, target, options)) is None:
        kernel = src.fn.cache_key
        state = packing.ask(kernel)
        packed = None if state is State.HERE else packing.pack(src)
        if packed is not None:
            trial = kernel if state is State.TRIED else None
            return {"module": None, "source": packed, "kernel": trial}
        text = fronts.text(src, target, options, backend)
    return {"module": text, "source": None, "kernel": None}


def _directory() -> str | None:
    """Where relative paths of the program's start; None if that is gone."""
    try:
        return str(Path.cwd())
    except OSError:
        return None


def misplaced(shipment: Shipment, hash: str) -> str | None:
    """Why Triton will not find what was sent away and compiled under `hash`; None if it will."""
    if hash != shipment.hash:
        return "its key for a binary is not this process's"
    if not _in_cache(hash, shipment.src):
        return "Triton does not find its binaries"
    return None


def _in_cache(hash: str, src: Any) -> bool:
    """Whether Triton finds a binary of `src` under this key."""
    from triton.runtime.cache import get_cache_manager

    return bool(get_cache_manager(hash).get_group(f"{src.name[:150]}.json"))


class NotShippable(Exception):
    """Another language's source: it has no TTIR to send."""


def blocked() -> str | None:
    """Why compilations must stay in this process; None if they may leave."""
    knobs: Any = sys.modules["triton.knobs"]
    if compat.interpreting():
        return "interpreter"
    for group, names in _IN_THIS_PROCESS.items():
        for name in names:
            if getattr(getattr(knobs, group, None), name, None):
                return name
    for name in _PRINTING:
        if os.environ.get(name, "0") not in ("", "0"):
            return name
    if any(isinstance(value, type) for value in vars(knobs.cache).values()):
        return "a cache manager that was not named in the environment"
    if getattr(knobs.runtime, "add_stages_inspection_hook", None) is not None:
        return "add_stages_inspection_hook"
    if compat.compiles_asynchronously():
        return "AsyncCompileMode"
    return None
