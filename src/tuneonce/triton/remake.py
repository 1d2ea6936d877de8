"""What both ends of the compile helper need to generate a kernel's code: here, or there.

A kernel that was packed (`tuneonce.triton.pack`) is unpacked with these functions. The helper loads
this file by its path: nothing of ours is imported here, and triton only where it is loaded already.
"""

from __future__ import annotations

import inspect
import marshal
import threading
from types import CellType, FunctionType, ModuleType
from typing import Any

# Of a kernel, what the code generator reads and `jit` has made once; with others, by version.
KEPT = (
    "module",
    "__module__",
    "__name__",
    "__qualname__",
    "_fn_name",
    "src",
    "_src",
    "raw_src",
    "starting_line_number",
    "file_name",
    "def_file_line_number",
    "def_file_col_number",
    "signature",
    "params",
    "arg_names",
    "constexprs",
    "do_not_specialize",
    "do_not_specialize_on_alignment",
    "noinline",
    "debug",
    "version",
)
_PLACE = "_tuneonce_place"


def module(name: str) -> ModuleType:
    """One to which what is used of it is added."""
    return ModuleType(name)


def blank(kind: type) -> Any:
    """A kernel of which nothing is known yet: it may be met again in what it refers to."""
    return object.__new__(kind)


def fill(kernel: Any, state: dict[str, Any]) -> None:
    """Make a blank kernel what it was where it was packed."""
    code = marshal.loads(state["code"])
    cells = tuple(CellType(*contents) for contents in state["cells"])
    function = FunctionType(code, state["globals"], code.co_name, state["defaults"], cells)
    function.__kwdefaults__ = state["kwdefaults"]
    function.__qualname__ = state["kept"]["__qualname__"]
    vars(kernel).update(
        state["kept"],
        fn=function,
        __globals__=function.__globals__,
        __doc__=None,
        # Digested anew: only what is the same kernel by Triton's own measure is one.
        hash=None,
        used_global_vals={},
        _hash_lock=threading.RLock(),
        _repr=None,
        launch_metadata=None,
        pre_run_hooks=[],
        kernel=None,
    )
    if state["place"] is not None:
        setattr(kernel, _PLACE, state["place"])


def find_places(code_generator: Any) -> None:
    """Where packed kernels stand in their files is known; Triton up to 3.6 would read them."""
    asked = getattr(code_generator, "get_jit_fn_file_line", None)
    if asked is not None:
        code_generator.get_jit_fn_file_line = lambda fn: vars(fn).get(_PLACE) or asked(fn)


def generate(src: Any, target: Any, options: Any, backend: Any) -> str:
    """The text of `src` in Triton's first language (TTIR), for options that were parsed."""
    from triton._C.libtriton import ir

    context = ir.context()
    ir.load_dialects(context)
    backend.load_dialects(context)
    rest = (options, backend.get_codegen_implementation(options), backend.get_module_map(), context)
    takes_target = "target" in inspect.signature(src.make_ir).parameters
    return str(src.make_ir(target, *rest) if takes_target else src.make_ir(*rest))
