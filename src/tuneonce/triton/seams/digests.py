"""A kernel's digest (``cache_key``): what it holds of the globals that the kernel reads."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

from . import knobs, languages, samples
from .seam import Feature, Finding, Seam, as_read, follow

_MODULE = "triton.runtime.jit"


def double(jit: Any, **changed: Any) -> Any:
    """A copy of a kernel, with some of its attributes changed."""
    with getattr(jit, "_hash_lock", nullcontext()):  # from 3.5 on; its digest is made in steps
        twin = copy.copy(jit)
    vars(twin).update(changed)
    return twin


def double_to_digest(jit: Any) -> Any:
    """A copy of a kernel that is digested for itself, if the kernel was not."""
    return double(jit, **({} if jit.hash is not None else {"used_global_vals": {}}))


def share_digest(jit: Any, twin: Any) -> None:
    """Digest a kernel where its launch does it, and give that to a copy, which must not do it."""
    _ = jit.cache_key
    vars(twin).update(hash=jit.hash, used_global_vals=jit.used_global_vals)


def fix(jit: Any) -> None:
    """Digest a kernel, as its first launch does: from then on Triton holds to what it reads."""
    _ = jit.cache_key


def forget(jit: Any) -> None:
    """Have a kernel digested anew by its next launch, as if there had been none."""
    with getattr(jit, "_hash_lock", nullcontext()):
        jit.hash = None
        jit.used_global_vals = {}


def unchanged(jit: Any) -> bool:
    """Whether all globals are as they were when a kernel was digested; launches ask the same."""
    return are_unchanged(globals_of(jit))


def globals_of(jit: Any) -> dict[Any, Any]:
    """The globals that a kernel was digested with, and their values."""
    return dict(jit.used_global_vals)


def are_unchanged(digested: Mapping[Any, Any]) -> bool:
    """Whether such globals have the values that they had."""
    held = digested.items()
    return not any(scope.get(name) != value for (name, _), (value, scope) in held)


_known: dict[Any, bool] = {}


def covers(constant: Any, jit: Any) -> bool:
    """Whether Triton's digest of a kernel holds all that its code takes from this global.

    Its code generator takes constexprs only, plain values end in an error.
    """
    if knobs.allows_plain_globals():
        return False
    return True if not languages.is_constexpr(constant) else _digests_constants(type(jit))


def _digests_constants(kind: Any) -> bool:
    """Whether two kernels have two digests if nothing but the value of a constexpr differs.

    So it is from 3.6 on; 3.4 digests no values at all.
    """
    digest = kind.__dict__.get("cache_key", kind.cache_key)
    if not samples.is_made_by_triton(kind):
        return False
    if digest not in _known:
        _known[digest] = _tell_apart(kind)
    return _known[digest]


def _tell_apart(kind: Any) -> bool:
    constexpr = languages.language().constexpr
    one, same, other = (
        samples.make(kind, samples.with_constant(constexpr(value))).cache_key for value in (1, 1, 2)
    )
    return bool(one == same != other)


def _digests() -> Finding:
    """Not digested before it must be; then the digest is kept, and is a text."""
    one = samples.kernel()
    if one is None:
        return Finding.AS_READ
    if not hasattr(type(one), "cache_key") or "hash" not in vars(one):
        return Finding.ABSENT
    before, digest = one.hash, one.cache_key
    return as_read(before in (None, digest) and isinstance(digest, str) and one.hash == digest)


def _lock() -> Finding:
    one = samples.kernel()
    if one is None:
        return Finding.AS_READ
    if "_hash_lock" not in vars(one):
        return Finding.ABSENT
    lock = vars(one)["_hash_lock"]
    return as_read(hasattr(type(lock), "__enter__") and hasattr(type(lock), "__exit__"))


def _globals() -> Finding:
    one = samples.kernel()
    if one is None:
        return Finding.AS_READ
    held = vars(one).get("used_global_vals")
    return Finding.ABSENT if held is None else as_read(isinstance(held, dict))


def _has_no_preference() -> Finding:
    """Either answer was read; what gives none is not."""
    return as_read(isinstance(_digests_constants(follow(_MODULE, "JITFunction")), bool))


_COMPILING = (Feature.COMPILE_POOL, Feature.COMPILE_AHEAD)

SEAMS = (
    Seam(
        "the digest of constants",
        _MODULE,
        (Feature.COMPILE_AHEAD, Feature.WARM),
        "which globals may change a binary without changing its key",
        _has_no_preference,
    ),
    Seam(
        "JITFunction.cache_key, hash",
        _MODULE,
        (*_COMPILING, Feature.WARM),
        "Triton's digest of a kernel: made once, in the launch or for it",
        _digests,
        names=("cache_key",),
        words=("hash",),
    ),
    Seam(
        "JITFunction.used_global_vals",
        _MODULE,
        (*_COMPILING, Feature.WARM),
        "the globals that were digested, with their values",
        _globals,
        names=("used_global_vals",),
    ),
    Seam(
        "JITFunction._hash_lock",
        _MODULE,
        _COMPILING,
        "is held while a kernel is digested",
        _lock,
        names=("_hash_lock",),
        read_in=("3.6", "3.8", "3.9"),
    ),
)
