"""Whether what compiles here is Triton's own compiler, whatever a program changes of it."""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest

pytest.importorskip("triton")

from triton import knobs
from triton._C import libtriton
from triton.backends import backends
from triton.backends.nvidia.compiler import CUDABackend
from triton.compiler import compiler

from tests.kernels.jobs import make_add, make_scale
from tests.kernels.pool_lab import FOUR, autotuned, blocks, launch, tuner
from tuneonce.triton.compile.stock_compiler import blocked


def wrapped(function: Any) -> Any:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def a_subclass(monkeypatch: pytest.MonkeyPatch) -> None:
    class Own(CUDABackend):
        pass

    nvidia = backends["nvidia"]
    monkeypatch.setitem(backends, "nvidia", SimpleNamespace(compiler=Own, driver=nvidia.driver))


def a_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CUDABackend, "add_stages", lambda *args: None)


def a_wrapped_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CUDABackend, "add_stages", wrapped(CUDABackend.add_stages))


def a_static_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CUDABackend, "make_ttir", staticmethod(wrapped(CUDABackend.make_ttir)))


def a_mock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CUDABackend, "add_stages", mock.MagicMock())


def a_partial(monkeypatch: pytest.MonkeyPatch) -> None:
    partial = functools.partial(wrapped(compiler.compile))
    monkeypatch.setattr(compiler, "compile", partial)


def its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CUDABackend.add_stages, "__code__", (lambda *args: None).__code__)


def a_cached_function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "make_backend", functools.lru_cache(wrapped(print)))


def a_context_manager(monkeypatch: pytest.MonkeyPatch) -> None:
    import contextlib

    monkeypatch.setattr(compiler, "make_backend", contextlib.contextmanager(wrapped(print)))


def a_property(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CUDABackend, "mine", property(lambda self: 1), raising=False)


def the_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "compile", wrapped(compiler.compile))


def the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules["triton.runtime.cache"]
    monkeypatch.setattr(module, "get_cache_manager", wrapped(module.get_cache_manager))


def a_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libtriton.passes.ttir, "add_combine", lambda manager: None)


def a_pass_of_the_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libtriton.llvm, "translate_to_asm", wrapped(print))


def a_class_of_the_source(monkeypatch: pytest.MonkeyPatch) -> None:
    class Source(compiler.ASTSource):
        pass

    Source.__module__ = "mine"
    monkeypatch.setattr(compiler, "ASTSource", Source)


def a_tool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(vars(knobs.nvidia), "ptxas", SimpleNamespace(path="x", version="12.0"))


def the_inspection_hook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(knobs.runtime, "add_stages_inspection_hook", print, raising=False)


def a_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(knobs.compilation, "instrumentation_mode", "mine", raising=False)


def instrumentation(monkeypatch: pytest.MonkeyPatch) -> None:
    if "triton._instrumentation" in sys.modules:
        registered = sys.modules["triton._instrumentation"]._callbacks
        monkeypatch.setitem(registered, ("load-dialects", "nvidia"), lambda context: None)
    else:
        monkeypatch.setattr(CUDABackend, "instrumentation", SimpleNamespace(), raising=False)


CHANGES = [
    a_subclass, a_stage, a_wrapped_stage, a_static_stage, a_mock, a_partial, its_code,
    a_cached_function, a_context_manager, a_property, the_compiler, the_key, a_pass,
    a_pass_of_the_backend, a_class_of_the_source, a_tool, the_inspection_hook, a_mode,
    instrumentation,
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_what_a_program_changes_is_seen(change: Callable[[pytest.MonkeyPatch], None]) -> None:
    assert blocked() is None
    with pytest.MonkeyPatch.context() as monkeypatch:
        change(monkeypatch)
        assert blocked()
    assert blocked() is None


def test_who_only_listens_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(knobs.compilation, "listener", lambda **call: None)
    monkeypatch.setattr(knobs.runtime, "jit_cache_hook", lambda **call: None)
    monkeypatch.setattr(knobs.nvidia, "disable_ptxas_opt", False)
    assert blocked() is None


def test_other_threads_import_meanwhile() -> None:
    """No launch ends in an error for it, and nothing is taken for changed."""
    ended = threading.Event()

    def imports() -> None:
        count = 0
        while not ended.is_set():
            count += 1
            names = [f"imported_{count % 7}_{part}" for part in range(50)]
            sys.modules.update(dict.fromkeys(names, sys))
            for name in names:
                del sys.modules[name]

    before = sys.getswitchinterval()
    thread = threading.Thread(target=imports)
    sys.setswitchinterval(1e-6)
    try:
        thread.start()
        assert {blocked() for _ in range(100)} == {None}
    finally:
        sys.setswitchinterval(before)
        ended.set()
        thread.join()


def test_what_cannot_be_looked_at_stays_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "triton.backends", None)
    assert "cannot be looked at" in str(blocked())


def test_what_is_changed_between_two_keys_is_used_for_the_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A stage of the program's own is called here, once for each candidate, as by stock."""
    with tuner() as tuning:
        assert launch(autotuned(make_add(), blocks(*FOUR))) == 512
        assert (tuning.ahead, tuning.here) == (4, 0)
        calls = []
        stage = CUDABackend.make_ttgir

        def mine(*args: Any, **kwargs: Any) -> Any:
            calls.append(args)
            return stage(*args, **kwargs)

        monkeypatch.setattr(CUDABackend, "make_ttgir", staticmethod(mine))
        assert launch(autotuned(make_scale(), blocks(*FOUR))) == 512
        assert (tuning.ahead, tuning.here, len(calls)) == (4, 4, 4)
        monkeypatch.undo()
        monkeypatch.setenv("TRITON_DEFAULT_FP_FUSION", "1")
        assert launch(autotuned(make_add(), blocks(*FOUR, warps=8))) == 512
        assert (tuning.ahead, len(calls)) == (8, 4)
