"""Which of Triton's errors a tuning passes over, and where in Triton an error comes from."""

from __future__ import annotations

import sys

from .seam import Feature, Finding, Seam, as_read, follow

_AUTOTUNER, _ERRORS, _JIT = (
    "triton.runtime.autotuner",
    "triton.compiler.errors",
    "triton.runtime.jit",
)
_PASSED_OVER = (
    (_AUTOTUNER, "OutOfResources"),
    (_AUTOTUNER, "PTXASError"),
    (_ERRORS, "CompileTimeAssertionFailure"),
)

Frame = tuple[str, str]
"""Of a traceback: a module and a function."""


def passed_over() -> tuple[type[Exception], ...]:
    """The errors that a benchmark in Triton passes over: the candidate does not compile or fit."""
    found = [getattr(sys.modules.get(module), name, None) for module, name in _PASSED_OVER]
    return tuple(error for error in found if error is not None)


def is_in_compiler(frame: Frame) -> bool:
    """Whether code is generated there, or a backend's stages and options are."""
    module = frame[0]
    if module.startswith("triton.backends."):
        return module.endswith(".compiler")
    return frame == ("triton.compiler.compiler", "make_ir")


def is_in_options(frame: Frame) -> bool:
    """Whether a launch looks at its options there: in `run` itself before 3.5."""
    return frame in ((_JIT, "_pack_args"), (_JIT, "run"))


def is_in_knobs(frame: Frame) -> bool:
    """Whether a tool is looked for there."""
    return frame[0] == "triton.knobs"


def _errors() -> Finding:
    kinds = [follow(module, name) for module, name in _PASSED_OVER]
    return as_read(all(isinstance(k, type) and issubclass(k, Exception) for k in kinds))


SEAMS = (
    Seam(
        "OutOfResources, PTXASError, CompileTimeAssertionFailure",
        _ERRORS,
        (Feature.DEVICE_TIMER, Feature.COMPILE_POOL),
        "what a benchmark passes over: the candidate cannot run",
        _errors,
        names=("OutOfResources", "PTXASError", "CompileTimeAssertionFailure"),
    ),
    Seam(
        "frames: make_ir, _pack_args",
        _JIT,
        (Feature.DEVICE_TIMER,),
        "whether the compiler has raised an error over what it was given",
        lambda: as_read(
            any(hasattr(follow(_JIT, "JITFunction"), n) for n in ("_pack_args", "run"))
        ),
        names=("_pack_args",),
    ),
)
