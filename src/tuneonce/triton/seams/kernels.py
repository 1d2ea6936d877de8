"""``triton.runtime.jit``: a kernel, its source and how it turns to the compiler."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from types import FunctionType
from typing import Any

from . import digests, samples
from .seam import Feature, Finding, Seam, all_of, as_read, can_be_called, follow

MODULE = "triton.runtime.jit"
_KERNELS = ("JITFunction", "InterpretedFunction")


def is_kernel(value: Any) -> bool:
    """Whether it is a kernel that is compiled, of Triton's own class."""
    return type(value).__name__ == "JITFunction" and type(value).__module__ == MODULE


def is_tritons_kernel(value: Any) -> bool:
    """Whether it is of that very class, and of no other that is called so."""
    return type(value) is sys.modules[MODULE].JITFunction


def is_called_kernel(value: Any) -> bool:
    """Whether it is a kernel, compiled or interpreted, by the name of its class."""
    return type(value).__name__ in _KERNELS


def is_interpreted(kernel: Any) -> bool:
    return type(kernel).__name__ == "InterpretedFunction"


def is_function_of_kernels(value: Any) -> bool:
    """Whether it is one that the code generator calls: a kernel, or a function of constants."""
    return is_called_kernel(value) or type(value).__name__ == "ConstexprFunction"


def source_text(kernel: Any) -> str | None:
    """The text that Triton compiles, which a program may have replaced; None where there is none.

    Of interpreted kernels there is none.
    """
    text = getattr(kernel, "src", None)
    return text if isinstance(text, str) else None


def is_noinline(kernel: Any) -> bool:
    """Whether it is called and not inlined: the only option that changes its callers."""
    return bool(getattr(kernel, "noinline", None))


def signature(kernel: Any, otherwise: Any) -> Any:
    """Its parameters with their defaults; `otherwise` for what has none."""
    return getattr(kernel, "signature", otherwise)


def specialised_parameters(kernel: Any) -> frozenset[str]:
    """Those for whose values a kernel is compiled anew, and that have no type of their own."""
    return frozenset(
        one.name
        for one in kernel.params
        if not (
            one.is_constexpr
            or one.annotation_type
            or one.do_not_specialize
            or one.do_not_specialize_on_alignment
        )
    )


def compile_function(jit: Any, device: Any) -> Any:
    """What a launch on this device calls to compile."""
    _ = jit.device_caches[device]  # sets it
    return jit.compile


def stopping(jit: Any, stop: Callable[..., Any]) -> Any:
    """A copy of a kernel that calls `stop` to compile, and neither hooks nor listeners."""
    return digests.double(jit, pre_run_hooks=[], compile=stop, _call_hook=_call_nothing)


def is_digested(jit: Any) -> bool:
    """Whether a launch has fixed what the kernel reads: from then on Triton holds to it."""
    return jit.hash is not None


def warm_up(jit: Any, arguments: Sequence[Any], options: Mapping[str, Any]) -> Any:
    """Have a kernel take up the variant that a launch like this would use; launches nothing.

    Returns what Triton compiled or found, and raises what it raises.
    """
    return jit.run(*arguments, grid=(1,), warmup=True, **options)


# What a launch adds to its options by itself, after those that it is given.
ADDED_OPTIONS = ("debug", "instrumentation_mode", "fpsan_homomorphic_casts")


def _call_nothing(*args: Any, **kwargs: Any) -> None:
    """In the place of Triton's call of JIT hooks, which the launch makes."""


# -- probes ----------------------------------------------------------------------------------


def _source() -> Finding:
    one = samples.kernel()
    return as_read(one is None or source_text(one) == samples.TEXT)


def _calls_hooks() -> Finding:
    method: Any = getattr(follow(MODULE, "JITFunction"), "_call_hook", None)
    return Finding.ABSENT if method is None else as_read(callable(method))


def _caches() -> Finding:
    one = samples.kernel()
    if one is None:
        return Finding.AS_READ
    if "device_caches" not in vars(one):
        return Finding.ABSENT
    make = getattr(one.device_caches, "default_factory", None)
    return as_read(getattr(make, "__func__", None) is getattr(type(one), "create_binder", make))


def _parameters() -> Finding:
    one = samples.kernel()
    return as_read(one is None or specialised_parameters(one) == {"x"})


def _run() -> Finding:
    run: Any = follow(MODULE, "JITFunction.run")
    return as_read(isinstance(run, FunctionType) or callable(run))


_COMPILING = (Feature.COMPILE_POOL, Feature.COMPILE_AHEAD)

SEAMS = (
    Seam(
        "JITFunction.src",
        MODULE,
        (Feature.RESULTS,),
        "the text that is compiled; a part of what a kernel is",
        _source,
        words=("src",),
    ),
    Seam(
        "JITFunction.noinline",
        MODULE,
        (Feature.RESULTS,),
        "the only option that changes the code of a kernel's callers",
        samples.holds("noinline"),
        names=("noinline",),
    ),
    Seam(
        "JITFunction.signature",
        MODULE,
        (Feature.RESULTS,),
        "the defaults of parameters, which a grid may read",
        samples.holds("signature"),
        words=("signature",),
    ),
    Seam(
        "JITFunction.params",
        MODULE,
        (Feature.WARM,),
        "which parameters a kernel is specialised for by their values",
        _parameters,
        names=("annotation_type", "do_not_specialize_on_alignment"),
        words=("params", "do_not_specialize", "is_constexpr"),
    ),
    Seam(
        "JITFunction.device_caches, compile",
        MODULE,
        (*_COMPILING, Feature.PROFILE, Feature.WARM),
        "what a launch calls to compile, which a copy of the kernel stops at; what it has compiled",
        _caches,
        names=("device_caches", "create_binder"),
        words=("compile",),
    ),
    Seam(
        "JITFunction._call_hook",
        MODULE,
        (*_COMPILING, Feature.WARM),
        "calls the program's listeners, which hear of launches and not of our asking",
        _calls_hooks,
        names=("_call_hook",),
    ),
    Seam(
        "JITFunction.run(warmup)",
        MODULE,
        (*_COMPILING, Feature.WARM),
        "specialises a kernel and turns to the compiler, and launches nothing",
        all_of(_run, can_be_called(MODULE, "JITFunction.run", "self", grid="grid", warmup="yes")),
    ),
)
