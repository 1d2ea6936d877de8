"""Calling back once a module has been imported, without importing it."""

from __future__ import annotations

import contextlib
import importlib
import importlib.machinery
import importlib.util
import itertools
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tuneonce.activation.imports import when_imported

_numbers = itertools.count()
Write = Callable[[str], str]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes a module of a new name; nothing of it is left in the interpreter afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    modules, finders = set(sys.modules), list(sys.meta_path)

    def made(source: str) -> str:
        name = f"imported_by_a_test_{next(_numbers)}"
        (tmp_path / f"{name}.py").write_text(source)
        importlib.invalidate_caches()
        return name

    yield made
    for name in set(sys.modules) - modules:
        if name.startswith("imported_by_a_test_"):
            del sys.modules[name]
    left, sys.meta_path[:] = list(sys.meta_path), finders
    assert [f for f in left if f not in finders] == []


def seen() -> tuple[list[Any], Callable[[Any], None]]:
    calls: list[Any] = []
    return calls, calls.append


def test_now(write: Write) -> None:
    module = importlib.import_module(write("x = 1"))
    finders = list(sys.meta_path)
    calls, callback = seen()
    cancel = when_imported(module.__name__, callback)
    assert calls == [module]
    assert sys.meta_path == finders
    cancel()


def test_later_with_the_complete_module_and_its_own_loader(write: Write) -> None:
    name = write("x = 1\ny = 2")
    finders = list(sys.meta_path)
    values: list[Any] = []
    when_imported(name, lambda module: values.append((module.x, module.y)))
    assert name not in sys.modules
    module = importlib.import_module(name)
    assert values == [(1, 2)]
    assert sys.meta_path == finders
    assert type(module.__loader__).__name__ == "SourceFileLoader"
    assert module.__spec__ is not None
    assert module.__spec__.loader is module.__loader__


def test_others_are_imported_as_ever(write: Write) -> None:
    awaited, other = write("x = 1"), write("x = 2")
    calls, callback = seen()
    cancel = when_imported(awaited, callback)
    importlib.import_module(other)
    assert calls == []
    cancel()


def test_cancelled(write: Write) -> None:
    name = write("x = 1")
    calls, callback = seen()
    cancel = when_imported(name, callback)
    cancel()
    importlib.import_module(name)
    cancel()
    assert calls == []


def test_cancelled_by_the_module_itself(write: Write) -> None:
    name = write("import builtins\nbuiltins.cancel_of_a_test()")
    calls, callback = seen()
    import builtins

    builtins.cancel_of_a_test = when_imported(name, callback)  # type: ignore[attr-defined]
    try:
        importlib.import_module(name)
    finally:
        del builtins.cancel_of_a_test  # type: ignore[attr-defined]
    assert calls == []


def test_several_for_one_module(write: Write) -> None:
    name = write("x = 1")
    calls, callback = seen()
    cancels = [when_imported(name, callback) for _ in range(3)]
    cancels[1]()
    module = importlib.import_module(name)
    assert calls == [module, module]
    assert type(module.__loader__).__name__ == "SourceFileLoader"


def test_an_import_that_fails_is_tried_again(write: Write, tmp_path: Path) -> None:
    name = write("raise ImportError('not today')")
    calls, callback = seen()
    when_imported(name, callback)
    for _ in range(2):
        with pytest.raises(ImportError, match="not today"):
            importlib.import_module(name)
    assert calls == []
    (tmp_path / f"{name}.py").write_text("found = 'now it can be imported'")
    importlib.invalidate_caches()
    assert importlib.import_module(name) is calls[0]
    assert len(calls) == 1


def test_a_module_that_does_not_exist(write: Write) -> None:
    name = write("")
    _, callback = seen()
    cancel = when_imported(f"{name}_missing", callback)
    with pytest.raises(ModuleNotFoundError) as caught:
        importlib.import_module(f"{name}_missing")
    assert caught.value.name == f"{name}_missing"
    cancel()
    when_imported(f"{name}.below", callback)()


def test_a_module_that_may_not_be_imported(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    name = write("")
    monkeypatch.setitem(sys.modules, name, None)  # type: ignore[arg-type]
    calls, callback = seen()
    cancel = when_imported(name, callback)
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(name)
    assert calls == []
    cancel()


def test_a_module_that_somebody_made(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType(write(""))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    calls, callback = seen()
    when_imported(module.__name__, callback)
    assert calls == [module]


def test_asking_whether_a_module_exists_is_no_import(write: Write) -> None:
    name = write("x = 1")
    calls, callback = seen()
    when_imported(name, callback)
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.loader is not None
    assert spec.loader.get_source(name) == "x = 1"  # type: ignore[attr-defined]
    assert (calls, name in sys.modules) == ([], False)
    module = importlib.import_module(name)
    assert calls == [module]


def test_a_program_that_imports_by_hand(write: Write) -> None:
    name = write("x = 1")
    calls, callback = seen()
    when_imported(name, callback)
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert calls == [module]
    assert type(module.__loader__).__name__ == "SourceFileLoader"


def test_one_import_inside_another(write: Write) -> None:
    inner = write("x = 1")
    outer = write(f"import {inner}")
    order: list[str] = []
    when_imported(outer, lambda module: order.append("outer"))
    when_imported(inner, lambda module: order.append("inner"))
    importlib.import_module(outer)
    assert order == ["inner", "outer"]


def test_a_callback_may_wait_for_more(write: Write) -> None:
    first, second = write("x = 1"), write("x = 2")
    calls, callback = seen()
    when_imported(first, lambda module: when_imported(second, callback))
    importlib.import_module(first)
    assert calls == []
    assert importlib.import_module(second) is calls[0]


def test_a_reload_does_not_call_again(write: Write) -> None:
    name = write("x = 1")
    calls, callback = seen()
    when_imported(name, callback)
    module = importlib.import_module(name)
    assert importlib.reload(module) is module
    assert len(calls) == 1


def test_an_error_of_the_callback_is_the_importers(write: Write) -> None:
    name = write("x = 1")

    def callback(module: Any) -> None:
        raise RuntimeError("of the callback")

    when_imported(name, callback)
    with pytest.raises(RuntimeError, match="of the callback"):
        importlib.import_module(name)
    assert importlib.import_module(name).x == 1


def test_threads_that_import_at_once_call_back_once(write: Write) -> None:
    name = write("x = 1")
    calls, callback = seen()
    when_imported(name, callback)
    start = threading.Barrier(4)

    def work() -> None:
        start.wait(10)
        importlib.import_module(name)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(calls) == 1


# -- while it is being imported ------------------------------------------------------------------


def import_slowly(name: str) -> tuple[threading.Thread, Callable[[], None]]:
    """Begin an import of a module that waits for `go`; returns when it does."""
    import builtins

    reached, go = threading.Event(), threading.Event()

    def wait() -> None:
        reached.set()
        assert go.wait(60)

    builtins.wait_of_a_test = wait  # type: ignore[attr-defined]

    def run() -> None:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)

    thread = threading.Thread(target=run)
    thread.start()
    assert reached.wait(60)
    del builtins.wait_of_a_test  # type: ignore[attr-defined]
    return thread, go.set


SLOW = "import builtins\nbuiltins.wait_of_a_test()\n"


def test_another_thread_imports_it_meanwhile(write: Write) -> None:
    name = write(SLOW + "x = 1")
    finders = list(sys.meta_path)
    thread, go = import_slowly(name)
    values: list[Any] = []
    when_imported(name, lambda module: values.append(module.x))
    assert values == []
    go()
    thread.join()
    assert values == [1]
    assert sys.meta_path == finders
    assert type(sys.modules[name].__spec__) is importlib.machinery.ModuleSpec
    assert "_tuneonce" not in vars(sys.modules[name].__spec__)


def test_its_import_fails_and_is_tried_again(write: Write, tmp_path: Path) -> None:
    name = write(SLOW + "raise ImportError('not today')")
    thread, go = import_slowly(name)
    calls, callback = seen()
    when_imported(name, callback)
    go()
    thread.join()
    assert calls == []
    (tmp_path / f"{name}.py").write_text("found = 'now it can be imported'")
    importlib.invalidate_caches()
    assert importlib.import_module(name) is calls[0]
    assert len(calls) == 1


def test_cancelled_meanwhile(write: Write) -> None:
    name = write(SLOW)
    thread, go = import_slowly(name)
    calls, callback = seen()
    cancel = when_imported(name, callback)
    cancel()
    go()
    thread.join()
    assert calls == []


def test_called_by_the_module_itself(write: Write) -> None:
    import builtins

    name = write("import builtins\nbuiltins.await_of_a_test(__name__)\nx = 1")
    values: list[Any] = []

    def wait(name: str) -> None:
        when_imported(name, lambda module: values.append(module.x))

    builtins.await_of_a_test = wait  # type: ignore[attr-defined]
    try:
        importlib.import_module(name)
    finally:
        del builtins.await_of_a_test  # type: ignore[attr-defined]
    assert values == [1]
