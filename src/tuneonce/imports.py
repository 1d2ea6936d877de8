"""Calls back once a module has been imported, now or later, and imports nothing itself."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

Callback = Callable[[Any], None]


def when_imported(name: str, callback: Callback) -> Callable[[], None]:
    """Call `callback` with the module `name` at once if it is loaded, else when it has been.

    It runs once, inside the program's own import: it must not raise. Returns a function that
    cancels a call that is still to come.
    """
    module = sys.modules.get(name)
    if module is not None and not getattr(module.__spec__, "_initializing", False):
        callback(module)
        return _nothing
    finder = _Finder(name, callback)
    sys.meta_path.insert(0, finder)
    return finder.cancel


def _nothing() -> None:
    return None


class _Finder:
    """Stands first on ``sys.meta_path`` until its module comes, and wraps that module's loader."""

    def __init__(self, name: str, callback: Callback) -> None:
        self._name = name
        self._callback: Callback | None = callback
        self._busy = threading.local()

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
