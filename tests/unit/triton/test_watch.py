"""When compiling ahead is told of a device and of kernels."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from tuneonce.triton.watch import Watch


class Ahead:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[str | None] = []

    def expect(self, module: str | None = None) -> None:
        self.told.append(module)


class Cuda:
    """As `torch.cuda` waits for a device: with a lock that its callbacks hold."""

    def __init__(self) -> None:
        self._tls = threading.local()
        self._lock = threading.Lock()
        self._queued: list[Callable[[], object]] = []
        self._initialised = False

    def _lazy_call(self, call: Callable[[], object]) -> None:
        with self._locked():
            if self._initialised:
                call()
            else:
                self._queued.append(call)

    def is_initialized(self) -> bool:
        return self._initialised

    def init(self) -> None:
        with self._locked():
            self._tls.is_initializing = True
            for call in self._queued:
                call()
            del self._tls.is_initializing
            self._initialised = True

    @contextmanager
    def _locked(self) -> Iterator[None]:
        assert self._lock.acquire(timeout=1), "torch would wait for itself"
        try:
            yield
        finally:
            self._lock.release()


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Cuda:
    cuda = Cuda()
    monkeypatch.setitem(sys.modules, "torch.cuda", cuda)  # type: ignore[arg-type]
    return cuda


def autotuner() -> Any:
    class Autotuner:
        def __init__(self, fn: Any) -> None:
            self.fn = fn

    return Autotuner


def kernel(module: str = "kernels") -> Any:
    def function() -> None: ...

    function.__module__ = module
    return SimpleNamespace(fn=function)


def watch(cls: Any) -> tuple[Watch, list[str | None]]:
    ahead: Any = Ahead()
    watching = Watch(cls, ahead)
    watching.install()
    return watching, ahead.told


def test_kernels_and_then_a_device(cuda: Cuda) -> None:
    cls = autotuner()
    _, told = watch(cls)
    assert cls(kernel("one")).fn.fn.__module__ == "one"
    cls(kernel("two"))
    assert told == []
    cuda.init()
    assert told == [None]  # of any


def test_a_device_and_then_kernels(cuda: Cuda) -> None:
    cuda.init()
    cls = autotuner()
    _, told = watch(cls)
    assert told == [None]
    cls(kernel("one"))
    cls(SimpleNamespace())  # no kernel that anybody knows
    cls(kernel("two"))
    assert told == [None, "one", "two"]


def test_torch_comes_after_us(cuda: Cuda, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch.cuda")
    cls = autotuner()
    _, told = watch(cls)
    cls(kernel("one"))
    monkeypatch.setitem(sys.modules, "torch.cuda", cuda)  # type: ignore[arg-type]
    cls(kernel("two"))
    cuda.init()
    assert told == [None]


def test_a_kernel_of_torch_itself_while_it_initialises(
    cuda: Cuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "torch.cuda")
    cls = autotuner()
    _, told = watch(cls)
    monkeypatch.setitem(sys.modules, "torch.cuda", cuda)  # type: ignore[arg-type]
    cuda._lazy_call(lambda: cls(kernel("torch")))
    cuda.init()
    assert told == [None]


def test_a_kernel_in_a_callback_of_torchs(cuda: Cuda, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch.cuda")
    cls = autotuner()
    _, told = watch(cls)
    monkeypatch.setitem(sys.modules, "torch.cuda", cuda)  # type: ignore[arg-type]
    cuda.init()
    cuda._lazy_call(lambda: cls(kernel("torch")))
    assert told == [None]


@pytest.mark.parametrize("broken", ["_lazy_call", "_tls", "is_initialized"])
def test_a_torch_without_these_names(
    cuda: Cuda, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {"_lazy_call", "_tls", "is_initialized"} - {broken}
    without = SimpleNamespace(**{name: getattr(cuda, name) for name in names})
    monkeypatch.setitem(sys.modules, "torch.cuda", without)  # type: ignore[arg-type]
    cls = autotuner()
    _, told = watch(cls)
    cls(kernel())
    cuda.init()
    assert told == []


def test_what_goes_wrong_there_is_not_torchs(cuda: Cuda) -> None:
    def fails(module: str | None = None) -> None:
        raise RuntimeError

    cls = autotuner()
    ahead: Any = SimpleNamespace(expect=fails)
    Watch(cls, ahead).install()
    cuda.init()
    assert cls(kernel()).fn is not None


def test_uninstalled(cuda: Cuda) -> None:
    cls = autotuner()
    stock = cls.__init__
    watching, told = watch(cls)
    watching.uninstall()
    assert cls.__init__ is stock
    cuda.init()
    assert told == []


def test_uninstalled_under_a_wrapper_of_somebody_else(cuda: Cuda) -> None:
    cls = autotuner()
    watching, told = watch(cls)
    ours = cls.__init__
    cls.__init__ = lambda self, fn: ours(self, fn)
    watching.uninstall()
    cuda.init()
    assert cls(kernel()).fn is not None
    assert told == []
