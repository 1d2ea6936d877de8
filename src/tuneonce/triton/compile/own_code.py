"""Whether modules of Triton hold what was installed with them, and nothing else.

It is recognised by where code comes from: whatever a module holds is from a file of Triton's or of
Python's library, and whatever an extension module holds is not Python. Looking at all of it takes
milliseconds. So what was found to be so is remembered, object by object: as long as all of these
are where they were, it still is.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator, Mapping, Sequence
from operator import attrgetter, is_
from types import CodeType, FunctionType, ModuleType
from typing import Any

from ..seams import lookups, parsing

_GENERATED = frozenset({"<string>"})  # by dataclasses
_NATIVE = frozenset({"builtins", "typing", "types", "nanobind", "pybind11_builtins"})


class OwnCode:
    """Looks at always the same modules, in turn. Thread-safe: what is remembered is replaced."""

    def __init__(self) -> None:
        self._remembered: _Look | None = None

    def foreign(
        self, modules: Sequence[ModuleType], extensions: Mapping[str, Any] | None = None
    ) -> str | None:
        """The name of something that was not installed with its module; None if nothing is.

        `extensions`: the modules that hold no Python, by name; None for one that is not there.
        """
        parts = [*modules, *(extensions or {}).values()]
        remembered = self._remembered
        if remembered is not None and remembered.holds(parts):
            return None
        look = _Look(parts)
        found = look.foreign(modules, extensions or {})
        self._remembered = look if found is None else None
        return found


class _Look:
    """One look at all of it, with what it has seen."""

    def __init__(self, parts: Sequence[Any]) -> None:
        self._parts = parts
        self._namespaces: list[tuple[Mapping[str, Any], list[Any]]] = []
        self._functions: list[FunctionType] = []
        self._codes: list[CodeType] = []

    def holds(self, parts: Sequence[Any]) -> bool:
        """Whether all that was seen is where it was."""
        if len(parts) != len(self._parts) or not all(map(is_, parts, self._parts)):
            return False
        try:
            codes = map(attrgetter("__code__"), self._functions)
            return all(map(is_, codes, self._codes)) and all(
                len(now) == len(then) and all(map(is_, now.values(), then))
                for now, then in self._namespaces
            )
        except RuntimeError:  # another thread imports meanwhile
            return False

    def foreign(self, modules: Sequence[ModuleType], extensions: Mapping[str, Any]) -> str | None:
        for module in modules:
            for name, value in self._held(module):
                if not self._is_installed(value):
                    return f"{module.__name__}.{name}"
        for part, module in extensions.items():
            if module is not None and (inner := self._python_in(module)) is not None:
                return f"{part}.{inner}"
        return None

    def _items(self, owner: Any) -> list[tuple[str, Any]]:
        namespace = vars(owner)
        items = list(namespace.items())
        self._namespaces.append((namespace, [value for _, value in items]))
        return items

    def _held(self, owner: Any, depth: int = 0) -> Iterator[tuple[str, Any]]:
        """What a module or class of Triton's holds, with what its own classes hold."""
        home = owner.__name__ if isinstance(owner, ModuleType) else owner.__module__
        for name, value in self._items(owner):
            if isinstance(value, type) and value.__module__ == home and depth < 3:
                yield from (
                    (f"{name}.{inner}", held) for inner, held in self._held(value, depth + 1)
                )
            else:
                yield name, value

    def _is_installed(self, value: Any) -> bool:
        """Whether a value is data, or code of Triton's or of Python's library."""
        if isinstance(value, (staticmethod, classmethod)):
            return self._is_installed(value.__func__)
        if isinstance(value, property):
            return all(map(self._is_installed, (value.fget, value.fset, value.fdel)))
        if isinstance(value, functools.partial):
            return self._is_installed(value.func)
        if isinstance(value, FunctionType):
            return self._is_installed_function(value) and self._is_installed(
                getattr(value, "__wrapped__", None)
            )
        if isinstance(value, functools._lru_cache_wrapper):
            return self._is_installed(value.__wrapped__)
        if isinstance(value, type):
            return _is_known_module(value.__module__)
        if not callable(value):
            return True
        kind = type(value).__module__
        return kind in _NATIVE or kind.partition(".")[0] == "triton"

    def _is_installed_function(self, function: FunctionType) -> bool:
        code = function.__code__
        self._functions.append(function)
        self._codes.append(code)
        name = function.__globals__.get("__name__")
        module = sys.modules.get(name) if isinstance(name, str) else None
        if module is None or vars(module) is not function.__globals__:
            return False
        # Ours, over what they say that they wrap: helpers need not ask for more.
        if module in (lookups, parsing):
            return True
        if not _is_known_module(module.__name__):
            return False
        file = code.co_filename
        return file in _GENERATED or file.startswith("<frozen ") or file == module.__file__

    def _python_in(self, module: Any) -> str | None:
        """The name of something in a module of the extension that is Python; None if nothing is."""
        for name, value in self._items(module):
            if isinstance(value, ModuleType):
                if (inner := self._python_in(value)) is not None:
                    return f"{name}.{inner}"
            elif isinstance(value, type):
                inside = (n for n, held in self._items(value) if isinstance(held, FunctionType))
                if (method := next(inside, None)) is not None and not _is_enum(value):
                    return f"{name}.{method}"
            elif callable(value) and not _is_native(value):
                return name
        return None


def _is_known_module(name: str) -> bool:
    package = name.partition(".")[0]
    return package == "triton" or package in sys.stdlib_module_names


def _is_native(value: Any) -> bool:
    return not isinstance(value, FunctionType) and type(value).__module__ in _NATIVE


def _is_enum(kind: type) -> bool:
    return any(base.__module__ == "enum" for base in kind.__mro__)
