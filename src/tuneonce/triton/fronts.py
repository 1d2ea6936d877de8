"""The first language (TTIR) of a kernel's variants, generated once for all that share it.

Candidates often differ only in what later stages read: ``num_warps``, ``num_stages``. Which options
the code generator reads is not known beforehand (a kernel may ask for its number of warps), so it
is watched: what it made is taken again for a source of the same digest whose options have the same
values wherever it looked, as long as the program's knobs for the language stay the same.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

from . import compat, remake

# Arbitrary: a few keys' worth; each is tens of kilobytes.
_KEPT = 48

_Reads = dict[str, Any]


class Fronts:
    """Generates, and remembers what was generated last. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: OrderedDict[tuple[str, ...], list[tuple[_Reads, str]]] = OrderedDict()

    def known(self, src: Any, target: Any, options: Any) -> str | None:
        """TTIR of `src` for parsed `options`, if it was generated already."""
        with self._lock:
            made = list(self._made.get(_key(src, target), ()))
        for reads, text in made:
            if all(_same(getattr(options, name, None), value) for name, value in reads.items()):
                return text
        return None

    def text(self, src: Any, target: Any, options: Any, backend: Any) -> str:
        """The same, generated if need be. Raises what Triton's code generator raises."""
        if (known := self.known(src, target, options)) is not None:
            return known
        watched, names = watch(options)
        text = remake.generate(src, target, watched, backend)
        reads = {name: getattr(options, name, None) for name in names}
        key = _key(src, target)
        with self._lock:
            self._made.setdefault(key, []).append((reads, text))
            self._made.move_to_end(key)
            while len(self._made) > _KEPT:
                self._made.popitem(last=False)
        return text


def _key(src: Any, target: Any) -> tuple[str, ...]:
    return src.hash(), repr(target), compat.language_knobs()


def watch(options: Any) -> tuple[Any, set[str]]:
    """A copy of `options`, of a subclass, and the set to which it adds what is read from it."""
    names: set[str] = set()
    kind: Any = type(options)

    # No stand-in: it is told from the real one by nobody, and ``vars`` reads its ``__dict__``.
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
