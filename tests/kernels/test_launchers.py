"""Launchers: built while binaries are compiled, found by Triton at the first launch."""

from __future__ import annotations

import ctypes
import subprocess
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import triton
import triton.language as tl
from triton.backends.nvidia import driver as nvidia
from triton.compiler.compiler import ASTSource

from tests.kernels.pool_lab import (
    TOO_LONG,
    autotuned,
    blocks,
    launch,
    make_add,
    make_scale,
    tuner,
)
from tuneonce.triton.launchers import Launchers

# What a launcher calls by name.
FROM_THE_DRIVER = (
    *("cuCtxGetCurrent", "cuCtxSetCurrent", "cuDeviceGet", "cuDevicePrimaryCtxRetain"),
    *("cuFuncSetAttribute", "cuGetErrorString", "cuPointerGetAttribute"),
)


@triton.jit
def kernel(x, n, BLOCK: tl.constexpr):
    tl.store(x + tl.arange(0, BLOCK), n)


def source(block: int = 16, **kinds: str) -> Any:
    signature = {"x": "*fp32", "n": "i32", "BLOCK": "constexpr", **kinds}
    return ASTSource(kernel, signature, {(2,): block})


@pytest.fixture
def asked(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Sources whose launcher Triton was asked for before there was a binary."""
    found: list[Any] = []
    original = gpu.driver.launcher_cls

    def launcher(src: Any, metadata: Any) -> Any:
        if isinstance(metadata, SimpleNamespace):
            found.append(src)
        return original(src, metadata)

    monkeypatch.setattr(gpu.driver, "launcher_cls", launcher)
    return found


def test_one_for_every_signature(asked: list[Any]) -> None:
    launchers = Launchers()
    for src in (source(16), source(32), source(n="i64")):
        built = launchers.begin(src)
        assert built is not None
        assert built.wait(TOO_LONG)
    assert [src.signature["n"] for src in asked] == ["i32", "i64"]


def test_none_for_descriptors_whose_form_a_binary_decides(asked: list[Any]) -> None:
    assert Launchers().begin(source(x="tensordesc<fp16[64, 64]>")) is None
    assert asked == []


@pytest.mark.parametrize("error", [AttributeError("metadata"), OSError("no compiler")])
def test_what_goes_wrong_is_left_to_the_launch(gpu: Any, monkeypatch: Any, error: Any) -> None:
    def launcher(src: Any, metadata: Any) -> Any:
        raise error

    monkeypatch.setattr(gpu.driver, "launcher_cls", launcher)
    built = Launchers().begin(source())
    assert built is not None
    assert built.wait(TOO_LONG)


def test_no_more_threads(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(self: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    built = Launchers().begin(source())
    assert built is not None
    assert built.is_set()


def test_the_first_launch_comes_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[str] = []
    with tuner() as tuning:
        original = tuning.gpu.driver.launcher_cls

        def launcher(src: Any, metadata: Any) -> Any:
            early = isinstance(metadata, SimpleNamespace)
            if early:  # not before all binaries are there, so that a launch could come first
                while tuning.ahead < 4:
                    assert told.wait(TOO_LONG)
                    told.clear()
            log.append("early" if early else "binary")
            return original(src, metadata)

        told = threading.Event()
        emit = tuning.events.emit

        def tell(event: str, **fields: Any) -> None:
            emit(event, **fields)
            told.set()

        monkeypatch.setattr(tuning.events, "emit", tell)
        monkeypatch.setattr(tuning.gpu.driver, "launcher_cls", launcher)
        launch(autotuned(make_add(), blocks(64, 128, 256, 512)))
        launch(autotuned(make_scale(), blocks(64)))
    assert log[:2] == ["early", "binary"]
    assert log.count("early") == 1


@pytest.mark.skipif(
    not hasattr(nvidia, "make_launcher"), reason="this Triton builds no launcher for a signature"
)
def test_tritons_own_is_in_its_cache_for_the_launch(
    gpu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Triton's launcher class, the host's compiler, and a driver library that does nothing."""
    code = tmp_path / "cuda.c"
    code.write_text("".join(f"int {name}() {{ return 0; }}\n" for name in FROM_THE_DRIVER))
    empty = tmp_path / "libcuda.so.1"
    command = ["gcc", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", str(code), "-o", str(empty)]
    subprocess.run(command, check=True)
    ctypes.CDLL(str(empty), mode=ctypes.RTLD_GLOBAL)
    (tmp_path / "libcuda.so").symlink_to(empty)
    monkeypatch.setenv("TRITON_LIBCUDA_PATH", str(tmp_path))
    nvidia.libcuda_dirs.cache_clear()
    monkeypatch.setattr(gpu.driver, "launcher_cls", nvidia.CudaLauncher)
    cache = tmp_path / "cache"
    monkeypatch.setenv("TRITON_CACHE_DIR", str(cache))

    built = Launchers().begin(source())
    assert built is not None
    assert built.wait(TOO_LONG)
    [library] = cache.glob("*/__triton_launcher*.so")

    # What a binary's own would be built from is the same source, whatever the candidate.
    written = library.stat().st_mtime_ns
    again = Launchers().begin(source(64))
    assert again is not None
    assert again.wait(TOO_LONG)
    assert [path.stat().st_mtime_ns for path in cache.glob("*/*.so")] == [written]
