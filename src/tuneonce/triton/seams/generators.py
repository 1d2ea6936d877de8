"""How a kernel's code (TTIR) is generated: what `compile` does before its first pass."""

from __future__ import annotations

import inspect
from typing import Any, NamedTuple

from . import backends, compilers
from .seam import Feature, Finding, Seam, as_read, follow, takes

_EXTENSION, _COMPILER = "triton._C.libtriton", "triton.compiler.compiler"

# An attribute that this operation must not have, with a number that stands nowhere else.
_MISPLACED, _MARK = "ttg.num-ctas", 1_946_352_807


class Code(NamedTuple):
    """What was generated, twice: as Triton prints it, and with the places of all values.

    Triton's own text leaves out the places of the arguments of blocks (loop variables), which come
    up again in names and line tables of what is compiled. After parsing, `complete` prints as
    `source`, which shows that it is the same code.
    """

    source: str
    complete: str


def generate(src: Any, target: Any, options: Any, backend: Any) -> Code:
    """The code of `src` for options that were parsed.

    Raises what Triton's code generator raises.
    """
    ir = compilers.extension().ir
    context = ir.context()
    ir.load_dialects(context)
    backend.load_dialects(context)
    rest = (options, backend.get_codegen_implementation(options), backend.get_module_map(), context)
    takes_target = "target" in inspect.signature(src.make_ir).parameters  # from 3.5 on
    module = src.make_ir(target, *rest) if takes_target else src.make_ir(*rest)
    source = str(module)
    return Code(source, _complete(module, ir.builder(context)) or source)


def _complete(module: Any, builder: Any) -> str | None:
    """The text in MLIR's generic form, which holds everything; None if it cannot be had.

    Triton cannot be asked for that form; modules that are not valid are printed in it.
    """
    function = module.get_function(module.get_entry_func_name())
    function.set_attr(_MISPLACED, builder.get_int32_attr(_MARK))
    text = str(module)
    mark = f'"{_MISPLACED}" = {_MARK} : i32'
    for found in (f", {mark}", f"{mark}, ", f"{{{mark}}} "):
        if text.count(found) == text.count(str(_MARK)) == 1:
            return text.replace(found, "")
    return None


def _extension() -> Finding:
    wanted = {
        "": ("context", "load_dialects", "builder", "module"),
        "module": ("get_function", "get_entry_func_name"),
        "builder": ("get_int32_attr",),
    }
    ir = compilers.extension().ir
    owners = {
        "": ir,
        "module": getattr(ir, "module", None),
        "builder": getattr(ir, "builder", None),
    }
    return as_read(all(hasattr(owners[o], name) for o, names in wanted.items() for name in names))


def _backends() -> Finding:
    kinds = [
        kind
        for kind in backends.backend_classes()
        if kind.__module__.startswith("triton.backends.")
    ]
    wanted = (("load_dialects", 1), ("get_codegen_implementation", 1), ("get_module_map", 0))
    return as_read(all(takes(getattr(k, n), "self", *["x"] * c) for k in kinds for n, c in wanted))


def _make_ir() -> Finding:
    names = tuple(inspect.signature(follow(_COMPILER, "ASTSource").make_ir).parameters)
    rest = ("options", "codegen_fns", "module_map", "context")
    return as_read(names in (("self", *rest), ("self", "target", *rest)))


_COMPILING = (Feature.COMPILE_POOL, Feature.COMPILE_AHEAD)

SEAMS = (
    Seam(
        "ASTSource.make_ir",
        _COMPILER,
        _COMPILING,
        "generates a variant's code, with the program's own objects",
        _make_ir,
        names=("make_ir",),
    ),
    Seam(
        "backends: load_dialects, get_codegen_implementation, get_module_map",
        "triton.backends.compiler",
        _COMPILING,
        "what the code generator is given",
        _backends,
        names=("load_dialects", "get_codegen_implementation", "get_module_map"),
    ),
    Seam(
        "libtriton.ir: context, builder, module",
        _EXTENSION,
        _COMPILING,
        "the module that code is generated into, and its text in MLIR's generic form",
        _extension,
        names=("get_entry_func_name", "get_int32_attr"),
        words=("context", "builder", "module", "get_function", "set_attr"),
    ),
)
