"""The code of one key's candidates (TTIR), generated once for those that share it.

Candidates often differ only in what later stages read: ``num_warps``, ``num_stages``. Which options
the code generator reads is not known beforehand (a kernel may ask for its number of warps), so it
is watched: what it made is taken again for a source of the same digest and the same constants, of
the same types, whose options have the same values wherever it looked, as long as the program's
knobs for the language stay the same. A kernel that calls functions of the program's while code is
generated, or all of them where the program has replaced a part of the code generator, are generated
anew for every candidate: what those read cannot be known.

Nothing is taken over from one key to another, between which a program may change what it likes.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, NamedTuple

from ..kernel.identity import Reads, reads
from ..seams import compat
from .deadline import deadline
from .stock_compiler import generates_as_installed

_Looked = dict[str, Any]


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


class CodeTexts:
    """Generates, and remembers what was generated for one key. Used by one thread at a time."""

    def __init__(self) -> None:
        self._made: dict[tuple[Any, ...], list[tuple[_Looked, Code]]] = {}
        self._reads: dict[int, tuple[Any, Reads]] = {}  # by function, which stays alive
        self._as_installed: bool | None = None

    def code(
        self,
        src: Any,
        target: Any,
        options: Any,
        backend: Any,
        *,
        within_s: float | None = None,
        alone: bool = False,
    ) -> Code:
        """The code of `src` for parsed `options`. Raises what Triton's code generator raises.

        Raises `Overdue` if that takes longer than `within_s` seconds. `alone`: it is neither
        shared nor taken from others.
        """
        key = None if alone or not self._may_share(src.fn) else _key(src, target)
        for read, code in [] if key is None else self._made.get(key, ()):
            if all(_same(getattr(options, name, None), value) for name, value in read.items()):
                return code
        watched, names = watch(options)
        with nullcontext() if within_s is None else deadline(within_s):
            code = _parsed_alone(lambda: generate(src, target, watched, backend))
        if key is not None:
            read = {name: getattr(options, name, None) for name in names}
            self._made.setdefault(key, []).append((read, code))
        return code

    def reads(self, kernel: Any) -> Reads:
        """What a kernel reads, looked up once for all its candidates."""
        function = kernel.fn  # copies of a kernel share it
        known = self._reads.get(id(function))
        if known is None:
            known = self._reads[id(function)] = function, reads(kernel)
        return known[1]

    def _may_share(self, kernel: Any) -> bool:
        if self._as_installed is None:
            self._as_installed = generates_as_installed()
        return self._as_installed and not self.reads(kernel).calls_python


def _parsed_alone(generate: Callable[[], Code]) -> Code:
    """What `generate` returns, which parses the kernel.

    Up to Python 3.11 the parser counts its depth for all threads at once, and raises SystemError
    where two of them parse ("recursion depth mismatch"); the next time it rarely does.
    """
    for _ in range(3):
        with contextlib.suppress(SystemError):
            return generate()
    return generate()


def generate(src: Any, target: Any, options: Any, backend: Any) -> Code:
    """The code of `src` for options that were parsed."""
    from triton._C.libtriton import ir

    context = ir.context()
    ir.load_dialects(context)
    backend.load_dialects(context)
    rest = (options, backend.get_codegen_implementation(options), backend.get_module_map(), context)
    takes_target = "target" in inspect.signature(src.make_ir).parameters
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


def _key(src: Any, target: Any) -> tuple[Any, ...]:
    # Triton's digest takes 1, True and "1" for one constant.
    constants = tuple((path, _typed(value)) for path, value in sorted(src.constants.items()))
    return src.hash(), constants, _typed(src.attrs), repr(target), compat.language_knobs()


def _typed(value: Any) -> Any:
    """A value that compares equal only to one of the same type, inside of containers too."""
    if isinstance(value, (tuple, list)):
        return type(value), tuple(map(_typed, value))
    if isinstance(value, dict):
        return tuple((_typed(name), _typed(held)) for name, held in value.items())
    if isinstance(value, float):
        return float, value.hex()
    try:
        hash(value)
    except TypeError:
        return type(value), id(value)
    return type(value), value


def watch(options: Any) -> tuple[Any, set[str]]:
    """A copy of `options`, of a subclass, and the set to which it adds what is read from it."""
    names: set[str] = set()
    kind: Any = type(options)

    # No stand-in of another class, which code could tell from the real one, and ``vars`` reads its
    # ``__dict__``.
    class Watched(kind):
        def __getattribute__(self, name: str) -> Any:
            names.add(name)
            return super().__getattribute__(name)

    watched: Any = object.__new__(Watched)
    vars(watched).update(vars(options))
    names.clear()
    return watched, names


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)
