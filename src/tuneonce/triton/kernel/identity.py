"""Which kernel is this: its own source, its callees and the constants it reads, as named parts.

Triton's own ``cache_key`` covers the same ground but holds the starting line number of every
function, so a comment added above a kernel retires all its results, and it is one hash, so a miss
cannot say what changed. Here each callee and each global is a part with a name::

    ("source", "<digest>")                          the text from "def" on, as Triton sees it
    ("callee.helper", "<digest>")                   every kernel function reached from it
    ("default.kernel.BLOCK", '["int","64"]')        defaults, which need not stand in the text
    ("global.LOG2E", '["atom","constexpr",...]')    constants read anywhere on the way

What belongs to Triton itself (``tl.*``, ``triton.language.standard``) is covered by the world's
compiler part; a name that stands for it (``exp = tl.math.exp``, ``tl`` itself) is recorded by what
it stands for, because packages choose it by environment variables.
"""

from __future__ import annotations

import builtins
import inspect
import re
import symtable
import sys
import textwrap
from dataclasses import dataclass
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

from ...model.codec import Atom, Unencodable, canonical, digest, encode
from ...model.key import KernelId, Parts
from ..seams import kernels, languages
from .values import built_on

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


def name_of(fn: Any) -> str:
    """A kernel (or what wraps it) as events name it, whether or not it has an identity."""
    try:
        function = innermost(fn).fn
        return f"{function.__module__}:{function.__qualname__}"
    except Exception:  # a wrapper of the program's; looking at it may do anything
        return str(getattr(fn, "__name__", None) or type(fn).__name__)


def kernel_id(fn: Any) -> KernelId:
    """Identify a kernel (or what wraps it). Raises `NoIdentity` and nothing else."""
    try:
        kernel = innermost(fn)
        walker = _Walker()
        walker.visit(kernel)
        function: FunctionType = kernel.fn
        return KernelId(function.__qualname__, function.__module__, walker.parts(kernel))
    except NoIdentity:
        raise
    except Exception as error:  # globals that do strange things when looked at
        raise NoIdentity("identity_failed", f"{type(error).__name__} while it was read") from error


@dataclass(frozen=True)
class Reads:
    """What a kernel depends on that the program may still change before it launches the kernel.

    `constants`: globals of plain values and of constexprs that the kernel itself reads by a name.
    `others`: there are globals of other kinds, or of functions that it calls, or names that are not
    there yet. Functions of the program and Triton's modules do not count.
    `calls_python`: functions or classes of the program may run while its code is generated.
    """

    constants: dict[str, Any]
    others: bool
    calls_python: bool = False


def reads(fn: Any) -> Reads:
    """What a kernel (or what wraps it) reads. What cannot be identified reads others."""
    try:
        walker = _Walker()
        walker.visit(innermost(fn))
    except Exception:
        return Reads({}, others=True, calls_python=True)
    return Reads(walker.own, walker.others, walker.calls_python)


@dataclass(frozen=True)
class Fingerprint:
    """What a kernel's code is generated from, as a digest. `kernels` are it and those it calls.

    `constants` are the globals of plain values and of constexprs that these read by a name;
    `others`: there are globals of other kinds, or names that are not there yet.
    """

    digest: str
    kernels: tuple[Any, ...]
    constants: tuple[Any, ...]
    others: bool


def fingerprint(fn: Any) -> Fingerprint | None:
    """The fingerprint of a kernel as it is now; None where its code may change unnoticed.

    That is where functions of the program run while it is generated, and what has no identity.
    """
    try:
        walker = _Walker()
        kernel = innermost(fn)
        walker.visit(kernel)
        if walker.calls_python:
            return None
        parts = [list(part) for part in walker.parts(kernel)]
        name, visited = digest(parts, length=24), tuple(walker.visited)
        return Fingerprint(name, visited, tuple(walker.plain), walker.beyond)
    except Exception:  # of a program's object that is looked at
        return None


def opaque(value: object) -> Atom | None:
    """Atoms for the values that kernels are called with beside Python's own."""
    kind = type(value)
    name = kind.__name__
    module = kind.__module__
    package = module.partition(".")[0]
    if package in ("torch", "triton", "numpy") and any(t.__name__ == "dtype" for t in kind.__mro__):
        return Atom(f"{package}.dtype", str(value))
    if languages.is_constexpr(value):
        held = languages.constexpr_value(value)
        return Atom("constexpr", canonical(encode(held, opaque=opaque)))
    if package == "numpy" and hasattr(value, "item") and not shape_of(value):
        return Atom(f"numpy.{name}", canonical(encode(value.item(), opaque=opaque)))
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return Atom(f"namedtuple.{name}", canonical(encode(tuple(value), opaque=opaque)))
    if kernels.is_function_of_kernels(value):
        return _kernel_atom(value)
    return built_on(value, lambda held: encode(held, opaque=opaque))


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
        self.own: dict[str, Any] = {}
        self.others = self.calls_python = False
        # The same of callees as of the kernel itself.
        self.plain: list[Any] = []
        self.beyond = False
        self._plain_names: set[str] = set()
        self._depth = 0
        self._sources: dict[int, tuple[str, str]] = {}
        self._constants: dict[str, set[str]] = {}
        # Keeps the visited objects alive, so that an id stays theirs.
        self.visited: list[Any] = []

    def parts(self, kernel: Any) -> Parts:
        own = self._sources.pop(id(kernel))[1]
        callees: dict[str, set[str]] = {}
        for name, source in self._sources.values():
            callees.setdefault(name, set()).add(source)
        return (
            ("source", own),
            *((f"callee.{n}", "+".join(sorted(s))) for n, s in sorted(callees.items())),
            *((n, "|".join(sorted(v))) for n, v in sorted(self._constants.items())),
        )

    def visit(self, kernel: Any) -> None:
        if id(kernel) in self._sources:
            return
        function: FunctionType = kernel.fn if hasattr(kernel, "fn") else kernel
        text = _source_text(kernel, function)
        self.visited.append(kernel)
        # The only option of ``@jit`` that changes the code of a callee, and so of its callers.
        marked = f"{text}\n# noinline" if kernels.is_noinline(kernel) else text
        self._sources[id(kernel)] = (function.__qualname__, digest(marked, length=16))
        home = function.__module__
        self._depth += 1
        callers, self._plain_names = self._plain_names, set()
        for name, value in _defaults(function):
            self._reference(f"default.{function.__qualname__}.{name}", value, home)
        scope = scope_of(function)
        for name in free_names(text):
            if name not in scope:
                missing = not hasattr(builtins, name)
                self.others |= missing
                self.beyond |= missing
                continue
            root = scope[name]
            if _is_constant(root):
                self.plain.append(root)
                self._plain_names.add(name)
                if self._depth == 1:
                    self.own[name] = root
            if isinstance(root, ModuleType) and _is_tritons(root):
                self._constant(f"global.{name}", root.__name__)
                continue
            for chain in sorted(chains(text, name)):
                self._reference("global." + ".".join(chain), _follow(root, chain), home)
        self._depth -= 1
        self._plain_names = callers

    def _reference(self, name: str, value: Any, home: str) -> None:
        """Note what a name stands for in a function of the module `home`."""
        value = languages.before_interpreter(value)
        if isinstance(value, ModuleType):
            if _is_tritons(value):
                self._constant(name, value.__name__)
        elif _is_tritons(value):
            self._constant(name, _qualified(value, home))
        elif isinstance(value, FunctionType) or isinstance(
            getattr(value, "fn", None), FunctionType
        ):
            self.calls_python |= not kernels.is_called_kernel(value)
            self.visit(value)
        elif languages.is_aggregate(value):
            self.calls_python = True
            self._constant(name, str(getattr(value, "__annotations__", "")))
            for attribute in languages.aggregate_parts(value):
                self._reference(name, attribute, home)
        elif isinstance(value, (type, BuiltinFunctionType)):
            self.calls_python = True
            self._constant(name, _qualified(value, home))
        else:
            try:
                self._constant(name, canonical(encode(value, opaque=opaque)))
            except Unencodable as error:
                raise NoIdentity(
                    "global_not_encodable", f"{name} is a {error.type_name}"
                ) from error

    def _constant(self, name: str, text: str) -> None:
        if name.startswith("global.") and text not in sys.modules:
            self.others |= self._depth > 1 or name.split(".")[1] not in self.own
            self.beyond |= name.split(".")[1] not in self._plain_names
        self._constants.setdefault(name, set()).add(text)


def _is_constant(value: Any) -> bool:
    """Whether it is a plain value, or a constexpr of Triton's."""
    kind = type(value)
    return kind in (int, float, bool, str, type(None)) or languages.is_constexpr(value)


def _source_text(kernel: Any, function: FunctionType) -> str:
    # Triton keeps the text it compiles, which a program may have replaced; that one counts.
    text = kernels.source_text(kernel)
    if text is None:
        try:
            text = textwrap.dedent("".join(inspect.getsourcelines(function)[0]))
        except (OSError, TypeError) as error:
            raise NoIdentity("no_source", f"no source of {function.__qualname__}") from error
        start = _DEF.search(text)
        text = text[start.start() :] if start else text
    return text.strip()


def _defaults(function: FunctionType) -> list[tuple[str, Any]]:
    """The parameters' defaults: values that the text may only hint at (``BLOCK=size``)."""
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    values = function.__defaults__ or ()
    pairs = zip(names[len(names) - len(values) :], values, strict=True)
    return [*pairs, *(function.__kwdefaults__ or {}).items()]


def scope_of(function: FunctionType) -> dict[str, Any]:
    """Globals, shadowed by the values the function closed over."""
    scope = dict(function.__globals__)
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            scope[name] = cell.cell_contents
        except ValueError:  # an empty cell: the name has no value yet
            scope.pop(name, None)
    return scope


def free_names(text: str) -> list[str]:
    """The names that a function's source reads and does not bind, its defaults' included.

    From the compiler's own symbol table: several times faster than walking the syntax tree, and it
    knows scopes.
    """
    try:
        tables = [symtable.symtable(text, "<kernel>", "exec")]
    except SyntaxError as error:
        raise NoIdentity("source_not_parsed", str(error)) from error
    names: set[str] = set()
    for table in tables:  # grows while it is read
        tables += table.get_children()
        names |= {s.get_name() for s in table.get_symbols() if s.is_referenced() and s.is_global()}
    return sorted(names)


def chains(text: str, name: str) -> set[tuple[str, ...]]:
    """The dotted names in `text` that start with `name`, the longest of each."""
    pattern = rf"(?<![\w.]){re.escape(name)}(?:\s*\.\s*[^\W\d]\w*)*"
    return {tuple(part.strip() for part in found.split(".")) for found in re.findall(pattern, text)}


def _follow(value: Any, chain: tuple[str, ...]) -> Any:
    """The value at the end of a dotted name; a module if it leads into one of Triton's.

    Attributes are followed through modules and classes only: ``x.dtype`` is the business of ``x``.
    What Triton's modules hold is not looked at: its interpreter replaces some of it while it runs.
    """
    for attribute in chain[1:]:
        if not isinstance(value, (ModuleType, type)):
            break
        if isinstance(value, ModuleType) and _is_tritons(value):
            break
        value = getattr(value, attribute, None)
    return value


def _is_tritons(value: Any) -> bool:
    """Whether a module, function or class is part of Triton's language."""
    function = getattr(value, "fn", value)
    if isinstance(value, ModuleType):
        module = value.__name__
    elif isinstance(function, (type, FunctionType)):
        module = function.__module__
    else:
        return False
    if languages.is_builtin(value):
        return True
    return isinstance(module, str) and languages.is_language_module(module)


def _qualified(value: Any, home: str) -> str:
    """The name of a function or class, without its module where that is `home`: files move."""
    function = getattr(value, "fn", value)
    module = getattr(function, "__module__", None)
    return function.__qualname__ if module == home else f"{module}.{function.__qualname__}"
