"""Packs a kernel so that another process can generate its code without the program's modules.

Code generation is Python under the interpreter's lock, 20 to 70 ms a candidate: with many cores,
what is left of a tuning when everything else is done elsewhere. A kernel is packed by value: its
source and code object, and what its names stand for, as far as those are constants, Triton's own,
or other kernels. With anything else (a class, another package's function) the kernel stays here.

That nothing was forgotten is found out three times over: Triton's digest of the source must come
out the same there; one candidate of every kernel is generated here and there, and the texts
must be equal (`tuneonce.triton.checks`: until then all is on trial); what of Triton's a kernel uses
must be what its module holds, and nobody's own.
"""

from __future__ import annotations

import importlib
import io
import logging
import marshal
import pickle
import sys
import threading
from enum import Enum
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

from . import compat, remake
from .source import chains, free_names, scope_of

logger = logging.getLogger("tuneonce")


class Stays(Exception):
    """A kernel refers to something that only this process has."""


class _Part(ModuleType):
    """Of a module, what a kernel uses."""


class State(Enum):
    """Where a kernel's code can be generated."""

    TRIED = "in the helper, on trial"
    THERE = "in the helper, too"
    HERE = "only in this process"


class Packing:
    """What was found out about each kernel, by Triton's digest of it. Thread-safe.

    `on`: kernels are packed at all.
    """

    def __init__(self, *, on: bool) -> None:
        self._on = on
        self._lock = threading.Lock()
        self._states: dict[str, State] = {}

    def ask(self, kernel: str) -> State:
        return self._states.get(kernel, State.TRIED) if self._on else State.HERE

    def pack(self, src: Any) -> bytes | None:
        """`src` for the helper; None if it stays, and then its kernel does."""
        try:
            return pack(src)
        except Exception as error:  # values that do strange things when looked at
            logger.debug("tuneonce: the code of %s is generated here (%r)", src.name, error)
            self.stays(src.fn.cache_key)
            return None

    def told(self, kernel: str, alike: bool) -> None:
        """Whether the helper generates the same code."""
        with self._lock:
            self._states[kernel] = State.THERE if alike else State.HERE

    def stays(self, kernel: str) -> None:
        """Its code is generated here, unless it is known that the helper generates the same."""
        with self._lock:
            self._states.setdefault(kernel, State.HERE)


def pack(src: Any) -> bytes:
    """Triton's source of a candidate, by value. Raises Stays, and what pickling raises."""
    buffer = io.BytesIO()
    _Packer(buffer).dump(src)
    return buffer.getvalue()


class _Packer(pickle.Pickler):
    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL)
        jit: Any = sys.modules["triton.runtime.jit"]
        self._kernel = jit.JITFunction
        # With functions that run while code is generated, where there are such.
        self._callable = getattr(jit, "JITCallable", jit.JITFunction)

    def reducer_override(self, value: Any) -> Any:
        """Called for everything but plain data."""
        kind = type(value)
        if isinstance(value, self._callable) and _known_there(value.__module__):
            return value.__qualname__  # by name; that it is the one of that name is looked at
        if kind is self._kernel:
            return remake.blank, (kind,), _state(value), None, None, remake.fill
        if kind is _Part:
            parts = {name: part for name, part in vars(value).items() if name[:2] != "__"}
            return remake.module, (value.__name__,), parts
        if kind is ModuleType:
            if _known_there(value.__name__):
                return importlib.import_module, (value.__name__,)
            raise Stays(f"module {value.__name__}")
        # Functions of this very package are those of `remake`, above.
        named = isinstance(value, (FunctionType, BuiltinFunctionType, type))
        home = (value if named else kind).__module__
        if home != remake.__name__ and not _known_there(home):
            raise Stays(f"{home}.{kind.__name__}")
        return NotImplemented


def _known_there(module: str | None) -> bool:
    """Whether the helper has a module, or can have it in no time."""
    package = str(module).partition(".")[0]
    return package == "triton" or package in sys.stdlib_module_names


def _state(kernel: Any) -> dict[str, Any]:
    """See `remake.fill`. Raises Stays."""
    function: FunctionType = kernel.fn
    if getattr(kernel, "_repr", None) is not None:
        raise Stays("a name that is computed")
    scope, text = scope_of(function), kernel.src
    annotations = function.__globals__.get("__annotations__", {})
    names = [name for name in free_names(text) if name in scope]
    free = function.__code__.co_freevars
    values: dict[str, Any] = {"__name__": function.__module__}
    values["__annotations__"] = {n: annotations[n] for n in names if n in annotations}
    met: list[Any] = []
    for name in names:
        found = scope[name]
        if type(found) is ModuleType:
            used = chains(text, name)
            met += [_end(found, chain[1:]) for chain in sorted(used)]
            if not _known_there(found.__name__):
                found = _part(found, {chain[1:] for chain in used})
        values[name] = found
    return {
        "kept": {name: vars(kernel)[name] for name in remake.KEPT if name in vars(kernel)},
        "code": marshal.dumps(function.__code__),
        "globals": {name: value for name, value in values.items() if name not in free},
        "cells": [(values[name],) if name in values else () for name in free],
        "defaults": function.__defaults__,
        "kwdefaults": function.__kwdefaults__,
        "place": compat.place(kernel),
        # Looked at here: that what Triton's modules hold is Triton's.
        "met": [value for value in met if type(value) is not ModuleType],
    }


def _end(value: Any, chain: tuple[str, ...]) -> Any:
    """What a dotted name stands for; attributes of anything but modules are not followed."""
    for name in chain:
        if type(value) is not ModuleType:
            break
        value = getattr(value, name, None)  # what stands in a comment only need not be there
    return value


def _part(module: ModuleType, used: set[tuple[str, ...]]) -> _Part:
    """A module that holds what is used of it, to any depth."""
    part = _Part(module.__name__)
    for name in sorted({chain[0] for chain in used if chain and hasattr(module, chain[0])}):
        value = getattr(module, name)
        if type(value) is ModuleType and not _known_there(value.__name__):
            value = _part(value, {chain[1:] for chain in used if chain[:1] == (name,)})
        setattr(part, name, value)
    return part
