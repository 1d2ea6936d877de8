"""The world of a key is that of its first launch, not that of the first key of the process."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("triton")

import torch
import triton
from triton.backends.nvidia.compiler import CUDABackend

from tests.kernels.equivalence_gpu import blocks, covering, make_copy
from tests.kernels.equivalence_lab import Events, tuneonce_on
from tuneonce.store.memory import MemoryStore
from tuneonce.testing import SimulatedGPU
from tuneonce.triton.kernel import device_facts


@pytest.fixture(autouse=True)
def _compiled_once(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "compiled"))
    device_facts.forget()


def worlds(events: Events) -> list[dict[str, str]]:
    return [
        {name: text for name, text in one["parts"] if name.startswith("world.")}
        for one in events.of("resolve")
    ]


def launch(kernel: Any, n: int) -> None:
    kernel[covering(1024)](torch.arange(1024.0), torch.zeros(1024), n)


def test_a_variable_that_changes_the_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    with SimulatedGPU(), tuneonce_on(MemoryStore()) as events:
        kernel = triton.autotune(blocks(64, 128), ["n"])(make_copy())
        launch(kernel, 1024)
        monkeypatch.setenv("DISABLE_LLVM_OPT", "1")
        launch(kernel, 512)
        monkeypatch.delenv("DISABLE_LLVM_OPT")
        launch(kernel, 256)
    first, second, third = worlds(events)
    assert second == {**first, "world.env.DISABLE_LLVM_OPT": second["world.env.DISABLE_LLVM_OPT"]}
    assert third == first


@pytest.mark.parametrize(
    ("name", "values"),
    [
        # On unless it is switched off.
        ("TRITON_DEFAULT_FP_FUSION", {None: None, "1": None, "true": None, "0": "false"}),
        ("DISABLE_PTXAS_OPT", {None: None, "0": None, "false": None, "1": "true", "on": "true"}),
        ("TRITON_F32_DEFAULT", {None: None, "ieee": "ieee", "tf32": "tf32"}),
    ],
)
def test_variables_are_what_they_mean_in_this_version(
    name: str, values: dict[str | None, str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    for value, meant in values.items():
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
        assert dict(device_facts._compiler_environment()).get(name) == meant, value


def test_a_backend_that_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    with SimulatedGPU(), tuneonce_on(MemoryStore()) as events:
        kernel = triton.autotune(blocks(64, 128), ["n"])(make_copy())
        launch(kernel, 1024)
        monkeypatch.setattr(CUDABackend, "hash", lambda self: "another assembler")
        launch(kernel, 512)
    first, second = worlds(events)
    assert first.pop("world.compiler") != second.pop("world.compiler")
    assert first == second


def test_a_device_is_asked_what_it_is_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    with SimulatedGPU(), tuneonce_on(MemoryStore()):
        stock = torch.cuda.get_device_properties
        monkeypatch.setattr(
            torch.cuda, "get_device_properties", lambda *args: asked.append(args) or stock(*args)
        )
        kernel = triton.autotune(blocks(64, 128), ["n"])(make_copy())
        launch(kernel, 1024)
        first = len(asked)
        launch(kernel, 512)
        assert first
        assert len(asked) == first
        monkeypatch.undo()
