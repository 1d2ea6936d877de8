"""Which kernel is this: its own source, its callees and the constants it reads, as named parts.

Triton's own ``cache_key`` covers the same ground but holds the starting line number of every
function, so a comment added above a kernel retires all its results, and it is one hash, so a miss
cannot say what changed. Here each callee and each global is a part with a name::

    ("source", "<digest>")                          the text from "def" on, as Triton sees it
    ("callee.helper", "<digest>")                   every kernel function reached from it
    ("global.LOG2E", '["atom","constexpr",...]')    constants read anywhere on the way

What belongs to Triton itself (``tl.*``, ``triton.language.standard``) is covered by the world's
compiler part; an alias such as ``exp = tl.math.exp`` is recorded by what it stands for, because
packages choose it by environment variables.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any

from ..codec import Atom, Unencodable, canonical, digest, encode
from ..key import KernelId, Parts

_DEF = re.compile(r"^def\s+\w+\s*\(", re.MULTILINE)


class NoIdentity(Exception):
    """The kernel cannot be identified; `reason` is one of a few words for the statistics."""

    def __init__(self, reason: str, detail: str) -> None:
        self.reason = reason
        super().__init__(detail)


def innermost(fn: Any) -> Any:
    """The JITFunction or InterpretedFunction under any decorators. Raises `NoIdentity`.

    ``@heuristics`` and library wrappers keep what they wrap in ``.fn``; a kernel is the object
    whose ``.fn`` is the Python function.
    """
    for _ in range(32):
        inner = getattr(fn, "fn", None)
        if isinstance(inner, FunctionType):
            return fn
        if inner is None:
            break
        fn = inner
    raise NoIdentity("no_kernel_function", f"found no Triton function under {type(fn).__name__}")


def kernel_id(fn: Any) -> KernelId:
    """Identify a kernel (or what wraps it). Raises `NoIdentity`."""
    kernel = innermost(fn)
    walker = _Walker()
    walker.visit(kernel)
    function: FunctionType = kernel.fn
    return KernelId(function.__qualname__, function.__module__, walker.parts(kernel))


def opaque(value: object) -> Atom | None:
    """Atoms for the values that kernels are called with beside Python's own."""
    kind = type(value)
    name = kind.__name__
    module = kind.__module__
    if name == "dtype" and module.partition(".")[0] in ("torch", "triton", "numpy"):
        return Atom(f"{module.partition('.')[0]}.dtype", str(value))
    if name == "constexpr":
        return Atom("constexpr", canonical(encode(getattr(value, "value", None), opaque=opaque)))
    if module.partition(".")[0] == "numpy" and hasattr(value, "item") and not shape_of(value):
        return Atom(f"numpy.{name}", canonical(encode(value.item(), opaque=opaque)))
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return Atom(f"namedtuple.{name}", canonical(encode(tuple(value), opaque=opaque)))
    if name in ("JITFunction", "InterpretedFunction", "ConstexprFunction"):
        return _kernel_atom(value)
    return None


def shape_of(value: object) -> object:
    """The shape of a tensor or array; empty, hence false, for scalars."""
    return getattr(value, "shape", ())


def _kernel_atom(value: object) -> Atom | None:
    try:
        kernel = kernel_id(value)
    except NoIdentity:
        return None
    return Atom("kernel", kernel.directory)


class _Walker:
    """Collects the sources and constants reachable from one kernel."""

    def __init__(self) -> None:
        self._sources: dict[int, tuple[str, str]] = {}
        self._globals: dict[str, set[str]] = {}
        # Keeps the visited objects alive, so that an id stays theirs.
        self._visited: list[Any] = []

    def parts(self, kernel: Any) -> Parts:
        own = self._sources.pop(id(kernel))[1]
        callees: dict[str, set[str]] = {}
        for name, source in self._sources.values():
            callees.setdefault(name, set()).add(source)
        return (
            ("source", own),
            *((f"callee.{n}", "+".join(sorted(s))) for n, s in sorted(callees.items())),
            *((f"global.{n}", "|".join(sorted(v))) for n, v in sorted(self._globals.items())),
        )

    def visit(self, kernel: Any) -> None:
        if id(kernel) in self._sources:
            return
        function: FunctionType = kernel.fn if hasattr(kernel, "fn") else kernel
        text = _source_text(kernel, function)
        self._visited.append(kernel)
        self._sources[id(kernel)] = (function.__qualname__, digest(text, length=16))
        try:
            tree = ast.parse(text)
        except SyntaxError as error:
            raise NoIdentity("source_not_parsed", str(error)) from error
        scope = _scope(function)
        for chain in _global_names(tree):
            if chain[0] in scope:
                self._reference(".".join(chain), *_follow(scope[chain[0]], chain))

    def _reference(self, name: str, value: Any, through_module: bool) -> None:
        if value is None and through_module:
            return
        if isinstance(value, ModuleType) or _is_tritons(value):
            # ``tl.load`` is the compiler's business; a bare name that stands for it is a choice.
            if not through_module and not isinstance(value, ModuleType):
                self._constant(name, _qualified(value))
        elif isinstance(value, FunctionType) or isinstance(getattr(value, "fn", None), FunctionType):
            self.visit(value)
        elif getattr(value, "__triton_aggregate__", False):
            self._constant(name, str(getattr(value, "__annotations__", "")))
            for attribute in getattr(value, "hash_attrs", ()):
                self._reference(name, attribute, False)
        elif isinstance(value, type) or callable(value) and not hasattr(value, "value"):
            self._constant(name, _qualified(value))
        else:
            try:
                self._constant(name, canonical(encode(value, opaque=opaque)))
            except Unencodable as error:
                raise NoIdentity(
                    "global_not_encodable", f"global {name} is a {error.type_name}"
                ) from error

    def _constant(self, name: str, text: str) -> None:
        self._globals.setdefault(name, set()).add(text)


def _source_text(kernel: Any, function: FunctionType) -> str:
    # Triton keeps the text it compiles, which a program may have replaced; that one counts.
    text = getattr(kernel, "src", None)
    if not isinstance(text, str):
        try:
            text = textwrap.dedent("".join(inspect.getsourcelines(function)[0]))
        except (OSError, TypeError) as error:
            raise NoIdentity("no_source", f"no source of {function.__qualname__}") from error
        start = _DEF.search(text)
        text = text[start.start() :] if start else text
    return text.strip()


def _scope(function: FunctionType) -> dict[str, Any]:
    """Globals, shadowed by the values the function closed over."""
    scope = dict(function.__globals__)
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            scope[name] = cell.cell_contents
        except ValueError:  # an empty cell: the name has no value yet
            scope.pop(name, None)
    return scope


def _global_names(tree: ast.AST) -> Iterator[tuple[str, ...]]:
    """Dotted names that are read and are not local: ``("tl", "load")``, ``("LOG2E",)``."""
    local = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    local |= {
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    seen: set[tuple[str, ...]] = set()
    inner: set[int] = set()
    # ast.walk meets an attribute before the name inside it.
    for node in ast.walk(tree):
        if id(node) in inner:
            continue
        chain: list[str] = []
        step: ast.AST = node
        while isinstance(step, ast.Attribute):
            chain.append(step.attr)
            step = step.value
            inner.add(id(step))
        if not isinstance(step, ast.Name) or step.id in local:
            inner.discard(id(step))
            continue
        dotted = (step.id, *reversed(chain))
        if dotted not in seen:
            seen.add(dotted)
            yield dotted


def _follow(value: Any, chain: tuple[str, ...]) -> tuple[Any, bool]:
    """The value at the end of a dotted name, and whether a module led to it.

    Attributes are followed through modules only: ``x.dtype`` is the business of ``x``.
    """
    through_module = False
    for attribute in chain[1:]:
        if not isinstance(value, ModuleType):
            break
        through_module = True
        value = getattr(value, attribute, None)
    return value, through_module and _is_tritons(value)


def _is_tritons(value: Any) -> bool:
    if getattr(value, "__triton_builtin__", False):
        return True
    function = getattr(value, "fn", value)
    module = getattr(function, "__module__", None)
    if isinstance(value, ModuleType):
        module = value.__name__
    return isinstance(module, str) and (module == "triton" or module.startswith("triton.language"))


def _qualified(value: Any) -> str:
    function = getattr(value, "fn", value)
    name = getattr(function, "__qualname__", type(value).__qualname__)
    return f"{getattr(function, '__module__', '')}.{name}"
