"""Calls back once a module has been imported, now or later, and imports nothing itself."""

from __future__ import annotations

import importlib
import sys
import threading
import time
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from typing import Any

# What a module object takes to be made is microseconds. Arbitrary.
_FOUND_S = 0.1

Callback = Callable[[Any], None]


def when_imported(name: str, callback: Callback) -> Callable[[], None]:
    """Call `callback` with the module `name` at once if it is loaded, else when it has been.

    It runs once, inside the program's own import: it must not raise. Returns a function that
    cancels a call that is still to come.
    """
    module = sys.modules.get(name)
    if module is not None and not _is_initializing(module):
        callback(module)
        return _nothing
    finder = _Finder(name, callback)
    sys.meta_path.insert(0, finder)
    # Another thread may be past its finders already, and this one be called by the module itself.
    _await_spec(name)
    module = sys.modules.get(name)
    if module is not None:
        _at_its_end(module, finder)
    return finder.cancel


def server() -> str | None:
    """The server that this is a process of: Triton comes when the server is there."""
    return next((name for name in ("vllm", "sglang") if name in sys.modules), None)


def _is_initializing(module: Any) -> bool:
    return bool(getattr(getattr(module, "__spec__", None), "_initializing", False))


def _await_spec(name: str) -> None:
    """Where a thread has found a module, wait until it has put it where modules are.

    Only the making of the module object lies in between. If a finder of the program's takes longer,
    it is passed over: it is before ours, or finds ours.
    """
    locks: Any = getattr(importlib._bootstrap, "_module_locks", {})
    until = time.monotonic() + _FOUND_S
    while name in locks and name not in sys.modules and time.monotonic() < until:
        time.sleep(0.001)


def _at_its_end(module: Any, finder: _Finder) -> None:
    """Tell `finder` when an import of `module` that has begun is complete.

    The import machinery marks that on the module's spec as its last step, whatever loader the
    module has.
    """
    spec = getattr(module, "__spec__", None)
    if type(spec) is ModuleSpec:
        spec.__dict__["_tuneonce"] = lambda: finder.imported(module)
        spec.__class__ = _Watched
    # In this order: it may have ended in between.
    if not _is_initializing(module):
        _end(spec)
        finder.imported(module)


def _end(spec: Any) -> Any:
    """Make it an ordinary spec again. Returns what is to be called, the first time only."""
    if type(spec) is _Watched:
        plain: Any = spec
        plain.__class__ = ModuleSpec
    return getattr(spec, "__dict__", {}).pop("_tuneonce", None)


class _Watched(ModuleSpec):
    """The spec of a module that is being imported."""

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "_initializing" and not value:
            tell = _end(self)
            # Not there: the import has failed, and may be tried again.
            if tell is not None and self.name in sys.modules:
                tell()


def _nothing() -> None:
    return None


class _Finder:
    """Stands first on ``sys.meta_path`` until its module comes, and wraps that module's loader."""

    def __init__(self, name: str, callback: Callback) -> None:
        self._name = name
        self._callback: Callback | None = callback
        self._busy = threading.local()
        self._told = threading.Lock()

    def cancel(self) -> None:
        self._callback = None
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Find the module with the other finders."""
        if name != self._name or getattr(self._busy, "now", False):
            return None
        self._busy.now = True
        try:
            from importlib.util import find_spec

            spec = find_spec(name)
        finally:
            self._busy.now = False
        if spec is None or spec.loader is None:
            return None
        spec.loader = _Loader(spec.loader, self)  # type: ignore[assignment]
        return spec

    def imported(self, module: Any) -> None:
        """The module is complete."""
        with self._told:
            callback = self._callback
            self.cancel()
        if callback is not None:
            callback(module)


class _Loader:
    """Delegates to the real loader, then tells the finder."""

    def __init__(self, loader: Any, finder: _Finder) -> None:
        self._loader = loader
        self._finder = finder

    def create_module(self, spec: ModuleSpec) -> Any:
        return self._loader.create_module(spec)

    def exec_module(self, module: Any) -> None:
        module.__spec__.loader = self._loader
        module.__loader__ = self._loader
        self._loader.exec_module(module)
        self._finder.imported(module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)
