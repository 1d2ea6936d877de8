"""``CompiledKernel``: a variant that was compiled, its binary's name, module and launcher."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from . import digests
from .seam import Feature, Finding, Seam, as_read, can_be_called, follow

MODULE = "triton.compiler.compiler"


def is_compiled(value: Any) -> bool:
    """Whether it is a variant of Triton's own class, and not one that is still being compiled."""
    return type(value).__name__ == "CompiledKernel" and type(value).__module__ == MODULE


def binary_of(compiled: Any) -> str:
    """The name of its binary in Triton's cache."""
    return str(compiled.hash)


def source_of(compiled: Any) -> Any:
    """Triton's source of it."""
    return compiled.src


def is_loaded(compiled: Any) -> bool:
    """Whether its module is on a device."""
    return compiled.module is not None


def load(compiled: Any) -> None:
    """Load its module onto the current device. Raises what the first launch would raise."""
    compiled._init_handles()


def on_first_launch(compiled: Any, call: Callable[[], None]) -> None:
    """Call `call` at the first launch of a variant that is loaded; nothing is in its way later."""
    # A property over `_run` from 3.5 on, and before that an attribute of this name.
    name = "_run" if isinstance(getattr(type(compiled), "run", None), property) else "run"
    launcher = vars(compiled)[name]

    def first(*args: Any, **kwargs: Any) -> Any:
        setattr(compiled, name, launcher)
        call()
        return launcher(*args, **kwargs)

    setattr(compiled, name, first)


def in_memory(jit: Any) -> list[tuple[str, Any]]:
    """The variants that this process has of a kernel, with their names in the kernel's cache."""
    found = [item for held in list(jit.device_caches.values()) for item in list(held[0].items())]
    return [(str(key), one) for key, one in found if is_compiled(one)]


def forget(jit: Any, known: Collection[str]) -> None:
    """Take the variants out of a kernel's own cache whose names are not among `known`."""
    for held in list(jit.device_caches.values()):
        for key in [key for key in list(held[0]) if str(key) not in known]:
            held[0].pop(key, None)


def apart(jit: Any, device: Any) -> tuple[Any, dict[Any, Any]]:
    """A copy of a kernel that keeps what it takes up to itself, and where it keeps that.

    No launch finds a variant there whose module is just being loaded. It calls no hook that a
    launch calls first.
    """
    variants: dict[Any, Any] = {}
    _, *others = jit.device_caches[device]
    caches = {device: (variants, *others)}
    twin = digests.double(jit, device_caches=caches, pre_run_hooks=[])
    return twin, variants


def give(jit: Any, device: Any, variants: Mapping[Any, Any]) -> None:
    """Let launches of a kernel find these variants; those that it has stay."""
    known = jit.device_caches[device][0]
    for key, variant in variants.items():
        if getattr(variant.src, "fn", None) is not None:  # else it is of the copy that was apart
            variant.src.fn = jit
        known.setdefault(key, variant)


def _compiled() -> Finding:
    kind: Any = follow(MODULE, "CompiledKernel")
    names = ("_init_handles", "__init__")
    if not isinstance(kind, type):
        return Finding.ABSENT
    taken = all(name in vars(kind) for name in names)
    code = vars(kind)["__init__"].__code__ if taken else None
    return as_read(code is not None and {"hash", "src", "module"} <= set(code.co_names))


def _launcher() -> Finding:
    """Where the launcher of a loaded variant is kept."""
    kind: Any = follow(MODULE, "CompiledKernel")
    load_code = getattr(getattr(kind, "_init_handles", None), "__code__", None)
    name = "_run" if isinstance(getattr(kind, "run", None), property) else "run"
    return as_read(load_code is not None and name in load_code.co_names)


SEAMS = (
    Seam(
        "CompiledKernel.hash, src, module",
        MODULE,
        (Feature.PROFILE, Feature.WARM),
        "which binary a variant is, and whether it is on a device",
        _compiled,
        words=("hash", "src", "module"),
    ),
    Seam(
        "CompiledKernel._init_handles",
        MODULE,
        (Feature.WARM,),
        "loads a variant's module before its first launch",
        can_be_called(MODULE, "CompiledKernel._init_handles", "self"),
        names=("_init_handles",),
    ),
    Seam(
        "CompiledKernel.run, _run",
        MODULE,
        (Feature.WARM,),
        "whether what was made ready is launched",
        _launcher,
        words=("run", "_run"),
    ),
)
