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
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

from ..kernel.identity import Reads, reads
from ..seams import compiler_knobs, generators, sources
from ..seams.generators import Code
from .deadline import deadline
from .stock_compiler import generates_as_installed

_Looked = dict[str, Any]


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
        key = None if alone or not self._may_share(sources.kernel_of(src)) else _key(src, target)
        for read, code in [] if key is None else self._made.get(key, ()):
            if all(_same(getattr(options, name, None), value) for name, value in read.items()):
                return code
        watched, names = watch(options)
        with nullcontext() if within_s is None else deadline(within_s):
            code = _parsed_alone(lambda: generators.generate(src, target, watched, backend))
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


def _key(src: Any, target: Any) -> tuple[Any, ...]:
    sides = sources.sides(src)
    # Triton's digest takes 1, True and "1" for one constant.
    constants = tuple((path, _typed(value)) for path, value in sorted(sides.constants.items()))
    digest, knobs_now = sources.source_digest(src), compiler_knobs.language_values()
    return digest, constants, _typed(sides.attrs), repr(target), knobs_now


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
