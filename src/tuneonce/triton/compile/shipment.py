"""Takes a candidate's compilation out of a launch, as far as it needs the user's Python.

A copy of the kernel, which launches nothing and calls no hooks, is asked to warm the
candidate up: that computes its specialisation as a launch would, and where Triton turns to its
compiler, the copy stops. The code is generated here, by Triton and with the program's own objects:
the first of the compiler's languages (TTIR), about 5 % of a compilation. The rest of the way any
process can go that has the same Triton.
"""

from __future__ import annotations

import contextlib
import enum
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...model.codec import Unencodable
from ..kernel.identity import innermost
from ..kernel.session import Session
from ..kernel.wrappers import honours_warmup
from ..seams import (
    backends,
    caches,
    compiler_knobs,
    compilers,
    digests,
    drivers,
    kernels,
    knobs,
    languages,
    probing,
    run_hooks,
    sources,
    wrappers,
)
from ..seams.seam import Feature
from .code_texts import CodeTexts
from .variants import Variant, describe

# A text that a record alone asks for. Arbitrary: ten times that of the largest kernels.
_MOST_CHARS = 4 << 20
# Seconds for generating it. Arbitrary: ten times what the largest kernels take.
_WITHIN_S = 5.0


class Presence(enum.Enum):
    """Where the binary of a candidate is for one launch."""

    IN_MEMORY = "memory"
    """This process has compiled or loaded it."""
    ON_DISK = "disk"
    """Triton finds it in its cache."""
    ABSENT = "absent"
    """It must be compiled."""
    UNKNOWN = "unknown"
    """It cannot be asked for without launching."""


class AlreadyThere(Exception):
    """The kernel has the variant."""


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

    @property
    def is_in_cache(self) -> bool:
        """Whether Triton finds the binary."""
        return caches.has_binary(self.hash, sources.name_of(self.src), sources.kernel_of(self.src))


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
    shaped = any(map(languages.is_shaped_by_hook, arguments.values()))
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


def presence_of(session: Session, config: Any) -> Presence:
    """Where the binary of `config` is. Generates no code, calls no hook, and raises nothing.

    It may be wrong where a hook sets what the kernel reads: the launch asks again, by itself.
    """
    autotuner, kwargs = session.autotuner, session.kwargs
    if probing.missing(Feature.COMPILE_POOL) or not honours_warmup(autotuner.fn):
        return Presence.UNKNOWN
    arguments = (*session.args, *kwargs.values())
    if config.pre_hook is not None and any(map(languages.is_shaped_by_hook, arguments)):
        return Presence.UNKNOWN
    try:
        wanted = {**kwargs, "warmup": True, **config.all_kwargs()}
        _warmed_up(autotuner.fn).run(*session.args, **wanted)
    except _Stop as stop:
        try:
            backend = backends.backend_for(stop.target)
            options = backends.parsed_options(backend, stop.options)
            key = compilers.binary_key(stop.src, backend, options)
            there = caches.has_binary(key, sources.name_of(stop.src))
        except Exception:  # as the launch will say
            return Presence.UNKNOWN
        return Presence.ON_DISK if there else Presence.ABSENT
    except Exception:  # not shippable, or what Triton raises where it cannot begin
        return Presence.UNKNOWN
    return Presence.IN_MEMORY


def _is_hooked(kernel: Any) -> bool:
    """Whether a launch calls something of the program's before it compiles."""
    return bool(run_hooks.of_program(kernel)) or knobs.has_jit_hook()


def _warmed_up(fn: Any) -> Any:
    """What an autotuner launches, over a copy of the kernel that stops where it would be compiled.

    Raises NotShippable for wrappers that are not Triton's: what they launch is unknown.
    """
    wrapper = wrappers.over_another(fn, _warmed_up)
    return _stopping(fn) if wrapper is None else wrapper


def _stopping(jit: Any) -> Any:
    if not kernels.is_tritons_kernel(jit):
        raise NotShippable(f"{type(jit).__module__}.{type(jit).__qualname__} is no kernel")
    if kernels.compile_function(jit, drivers.current_device()) is not compilers.stock_compile():
        raise NotShippable("another compiler than Triton's")
    if not digests.unchanged(jit):
        raise NotShippable("a global has changed, as the launch will say")

    def stop(src: Any, target: Any = None, options: Any = None, **more: Any) -> Any:
        # Here, where the launch does it; the copy must not be digested for itself.
        digests.share_digest(jit, sources.kernel_of(src))
        raise _Stop(src, target, options)

    return kernels.stopping(jit, stop)


def stopped(
    jit: Any, arguments: Sequence[Any], options: Mapping[str, Any]
) -> tuple[Any, Any, Mapping[str, Any]]:
    """What a launch like this would give to the compiler: source, target and options.

    Raises AlreadyThere for a variant that the kernel has, NotShippable, and what Triton raises.
    """
    try:
        kernels.warm_up(_stopping(jit), arguments, options)
    except _Stop as stop:
        return stop.src, stop.target, stop.options
    raise AlreadyThere


def key_of(src: Any, target: Any, options: Mapping[str, Any]) -> str:
    """The name that the binary has in Triton's cache."""
    backend = backends.backend_for(target)
    return compilers.binary_key(src, backend, backends.parsed_options(backend, options))


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
    if not sources.is_source(src):  # another language's, which has no TTIR to send
        raise NotShippable(type(src).__name__)
    backend = backends.backend_for(target)
    parsed = backends.parsed_options(backend, options)
    key = compilers.binary_key(src, backend, parsed)
    variant = None
    with contextlib.suppress(Unencodable):
        if not probing.missing(Feature.VARIANTS):
            variant = describe(src, vars(parsed), backend)
    if on_its_way(key) or caches.has_binary(key, sources.name_of(src), sources.kernel_of(src)):
        return Shipment(key, src, None, variant)
    within_s = _WITHIN_S if recorded else None
    code = texts.code(src, target, parsed, backend, within_s=within_s, alone=alone)
    if recorded and len(code.complete) > _MOST_CHARS:
        raise NotShippable("its code is too long")
    job = {
        "hash": key,
        "name": sources.name_of(src),
        "source_hash": sources.source_digest(src),
        "backend_hash": backends.backend_digest(backend),
        "printed": hashlib.sha256(code.source.encode()).hexdigest(),
        "complete": code.complete,
        "target": backends.plain_target(target),
        "options": dict(vars(parsed)),  # all of them, for every requester
        "directory": _directory(),
        "environment": dict(os.environ),
        "knobs": compiler_knobs.set_by_program(),
        "staging": None,
    }
    return Shipment(key, src, job, variant)


def _directory() -> str | None:
    """Where relative paths of the program's start; None if that is gone."""
    try:
        return str(Path.cwd())
    except OSError:
        return None
