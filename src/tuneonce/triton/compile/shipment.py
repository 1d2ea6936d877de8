"""Takes a candidate's compilation out of a launch, as far as it needs the user's Python.

A copy of the kernel, which launches nothing and calls no hooks, is asked to warm the
candidate up: that computes its specialisation as a launch would, and where Triton turns to its
compiler, the copy stops. The code is generated here, by Triton and with the program's own objects:
the first of the compiler's languages (TTIR), about 5 % of a compilation. The rest of the way any
process can go that has the same Triton.
"""

from __future__ import annotations

import copy
import hashlib
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...model.codec import Unencodable
from ..kernel.identity import innermost
from ..kernel.session import Session
from ..kernel.wrappers import honours_warmup
from ..seams import compat
from .code_texts import CodeTexts
from .variants import Variant, describe

# A text that a record alone asks for. Arbitrary: ten times that of the largest kernels.
_MOST_CHARS = 4 << 20
# Seconds for generating it. Arbitrary: ten times what the largest kernels take.
_WITHIN_S = 5.0


class NotShippable(Exception):
    """What has to be compiled cannot leave this process."""


@dataclass(frozen=True)
class Shipment:
    """One variant on its way: `hash` is the binary's key in Triton's cache.

    `src` is Triton's source of it. `job` is for the helper, None if the binary is there already or
    on its way. `variant` describes it, None if that is not possible.
    """

    hash: str
    src: Any
    job: dict[str, Any] | None
    variant: Variant | None


class _Stop(BaseException):
    """Carries a source out of Triton; not an Exception, which a heuristic may catch."""

    def __init__(self, src: Any, target: Any, options: Mapping[str, Any]) -> None:
        self.src, self.target, self.options = src, target, options


def shipment_for(
    session: Session, config: Any, *, on_its_way: Callable[[str], bool], tuning: bool = True
) -> Shipment | None:
    """What has to be compiled before `config` can be launched; None if it is in this process.

    `on_its_way(hash)`: it is being compiled already, so its code need not be generated. `tuning`:
    the candidate's hook is called many times in any case. Raises NotShippable, and what Triton
    raises where it cannot even begin, as the launch will.
    """
    autotuner, kwargs = session.autotuner, session.kwargs
    if not honours_warmup(autotuner.fn):
        raise NotShippable("what is launched may not only be warmed up")
    arguments = {**session.nargs, **kwargs}
    if session.texts is None:
        session.texts = CodeTexts()
    texts: CodeTexts = session.texts
    reads = texts.reads(innermost(autotuner.fn))
    alone = False
    if reads.others or reads.constants:  # which hooks may set before a launch compiles
        alone = config.pre_hook is not None
        if _is_hooked(innermost(autotuner.fn)) or (alone and not tuning):
            raise NotShippable("a hook may set what the kernel reads")
    # Descriptors are shaped by it, and the binary depends on that.
    shaped = any(hasattr(value, "block_shape") for value in arguments.values())
    if config.pre_hook is not None and (alone or shaped):
        config.pre_hook({**arguments, **config.all_kwargs()})
    wanted = {**kwargs, "warmup": True, **config.all_kwargs()}
    try:
        _warmed_up(autotuner.fn).run(*session.args, **wanted)
    except _Stop as stop:
        src, target, options = stop.src, stop.target, stop.options
    else:
        return None
    return shipment_of(src, target, options, texts, on_its_way=on_its_way, alone=alone)


def _is_hooked(kernel: Any) -> bool:
    """Whether a launch calls something of the program's before it compiles."""
    knobs: Any = sys.modules["triton.knobs"]
    return bool(kernel.pre_run_hooks) or getattr(knobs.runtime, "jit_cache_hook", None) is not None


def _warmed_up(fn: Any) -> Any:
    """What an autotuner launches, over a copy of the kernel that stops where it would be compiled.

    Raises NotShippable for wrappers that are not Triton's: what they launch is unknown.
    """
    from triton.runtime.autotuner import Heuristics

    if type(fn) is Heuristics:
        wrapper = object.__new__(Heuristics)
        vars(wrapper).update(vars(fn), fn=_warmed_up(fn.fn))
        return wrapper
    return _stopping(fn)


def _stopping(jit: Any) -> Any:
    from triton.compiler.compiler import compile as stock_compile
    from triton.runtime.driver import driver
    from triton.runtime.jit import JITFunction

    if type(jit) is not JITFunction:
        raise NotShippable(f"{type(jit).__module__}.{type(jit).__qualname__} is no kernel")
    _ = jit.device_caches[driver.active.get_current_device()]  # sets jit.compile
    if jit.compile is not stock_compile:
        raise NotShippable("another compiler than Triton's")
    if not unchanged(jit):
        raise NotShippable("a global has changed, as the launch will say")

    def stop(src: Any, target: Any = None, options: Any = None, **more: Any) -> Any:
        # Here, where the launch does it; the copy must not be digested for itself.
        _ = jit.cache_key
        vars(src.fn).update(hash=jit.hash, used_global_vals=jit.used_global_vals)
        raise _Stop(src, target, options)

    return double(jit, pre_run_hooks=[], compile=stop, _call_hook=_call_nobody)


def _call_nobody(*args: Any, **kwargs: Any) -> None:
    """In the place of Triton's call of JIT hooks, which the launch makes."""


def unchanged(jit: Any) -> bool:
    """Whether all globals are as they were when a kernel was digested; launches ask the same."""
    digested = jit.used_global_vals.items()
    return not any(scope.get(name) != value for (name, _), (value, scope) in digested)


def double(jit: Any, **changed: Any) -> Any:
    """A copy of a kernel, with some of its attributes changed."""
    with getattr(jit, "_hash_lock", nullcontext()):
        twin = copy.copy(jit)
    vars(twin).update(changed)
    return twin


def shipment_of(
    src: Any,
    target: Any,
    options: Mapping[str, Any],
    texts: CodeTexts,
    *,
    on_its_way: Callable[[str], bool],
    recorded: bool = False,
    alone: bool = False,
) -> Shipment:
    """Generate the code of `src`, unless its binary is there or on its way.

    `recorded`: a record alone asks for it, so time and size are bounded. `alone`: its code is no
    other candidate's. Raises NotShippable, and what Triton's code generator raises.
    """
    from triton.compiler.compiler import ASTSource, make_backend

    if type(src) is not ASTSource:  # another language's, which has no TTIR to send
        raise NotShippable(type(src).__name__)
    backend = make_backend(target)
    parsed = backend.parse_options(dict(options))
    key = compat.binary_key(src, backend, parsed)
    try:
        variant = describe(src, vars(parsed), backend)
    except Unencodable:
        variant = None
    if on_its_way(key) or in_cache(key, src):
        return Shipment(key, src, None, variant)
    within_s = _WITHIN_S if recorded else None
    code = texts.code(src, target, parsed, backend, within_s=within_s, alone=alone)
    if recorded and len(code.complete) > _MOST_CHARS:
        raise NotShippable("its code is too long")
    job = {
        "hash": key,
        "name": src.name,
        "source_hash": src.hash(),
        "backend_hash": backend.hash(),
        "printed": hashlib.sha256(code.source.encode()).hexdigest(),
        "complete": code.complete,
        "target": (target.backend, target.arch, target.warp_size),
        "options": dict(vars(parsed)),  # all of them, for every requester
        "directory": _directory(),
        "environment": dict(os.environ),
        "knobs": compat.set_knobs(),
        "staging": None,
    }
    return Shipment(key, src, job, variant)


def _directory() -> str | None:
    """Where relative paths of the program's start; None if that is gone."""
    try:
        return str(Path.cwd())
    except OSError:
        return None


def in_cache(hash: str, src: Any) -> bool:
    """Whether Triton finds a binary of `src` under this key."""
    cache: Any = sys.modules["triton.runtime.cache"]
    knobs: Any = sys.modules["triton.knobs"]
    keeps_files = (knobs.cache.manager_class or cache.FileCacheManager) is cache.FileCacheManager
    # Triton would make a folder for the key, which may never be needed.
    if keeps_files and not Path(knobs.cache.dir, cache._base32(hash)).is_dir():
        return False
    return bool(cache_manager(hash).get_group(metadata_name(src)))


def cache_manager(hash: str) -> Any:
    """Triton's own, or the program's, for this key."""
    cache: Any = sys.modules["triton.runtime.cache"]
    return cache.get_cache_manager(hash)


def metadata_name(src: Any) -> str:
    """The file that stands for a binary."""
    return f"{src.name[:150]}.json"
