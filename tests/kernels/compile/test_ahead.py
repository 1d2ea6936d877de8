"""What another start's records let be compiled before its first call."""

from __future__ import annotations

import inspect
import json
import os
from pathlib import Path
from typing import Any

import pytest
import triton

from tests.kernels.warm import WarmPython
from tuneonce.events.log import read_processes

CHILD = Path(__file__).with_name("ahead_child.py")
SRC = Path(__file__).parents[3] / "src"


@pytest.fixture
def start(tmp_path: Path, warm_python: WarmPython) -> Any:
    def run(
        number: int, product: str, *more: str, cache: str, child: Path = CHILD, **settings: str
    ) -> list[dict[str, Any]]:
        environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("TUNEONCE", "TRITON_"))},
            "PYTHONPATH": str(SRC),
            "TRITON_CACHE_DIR": str(tmp_path / cache),
            "TUNEONCE_STORE": str(tmp_path / "store"),
            "TUNEONCE_EVENTS": str(tmp_path / f"events-{number}"),
            "TUNEONCE_RAISE": "1",
            "TUNEONCE_WORKERS": "2",
            "TUNEONCE_BINARIES_MB": "0",  # what is found there is not compiled ahead
            "TRITON_DEFAULT_FP_FUSION": "1",
            **settings,
        }
        done = warm_python.run(
            child, product, *more, env=environment, cwd=tmp_path, told=tmp_path / f"told-{number}"
        )
        assert done.returncode == 0, done.stderr
        (events,) = read_processes(tmp_path / f"events-{number}")
        assert not [event for event in events if event.get("e") == "problem"]
        return [*events, {"e": "generated", "kernels": json.loads(done.stdout)}]

    return run


def of(events: list[dict[str, Any]], kind: str, kernel: str = "") -> list[int]:
    """Positions of the events of a kind, of one kernel."""
    found = [(i, e) for i, e in enumerate(events) if e.get("e") == kind]
    return [i for i, e in found if kernel in str(e.get("kernel", "")).rpartition(":")[2]]


@pytest.mark.parametrize("more", [(), ("made up",)])
def test_another_gpu_product_compiles_the_second_kernel_while_the_first_is_tuned(
    start: Any, more: tuple[str, ...]
) -> None:
    cold = start(1, "one", *more, cache="triton-1")
    assert len(of(cold, "compile", "second")) == 4
    assert min(of(cold, "compile", "second")) > max(of(cold, "resolve", "second"))
    assert not of(cold, "ahead")
    assert cold[-1]["kernels"] == ["first", "second"]

    other = start(2, "another", *more, cache="triton-2")
    (resolved,) = of(other, "resolve", "second")
    assert other[resolved]["outcome"] == "miss"
    assert len(of(other, "tune")) == 2
    # What was compiled because records said so is what the launch asked for.
    compiled = [other[i] for i in of(other, "compile", "second")]
    assert 2 <= len(compiled) <= 4
    assert all(one["ahead"] for one in compiled)


def test_an_emptied_triton_cache_costs_the_winners_only(start: Any) -> None:
    start(1, "one", cache="triton-1")
    again = start(2, "one", cache="triton-2")
    assert [again[i]["outcome"] for i in of(again, "resolve")] == ["hit", "hit"]
    assert len(of(again, "compile")) == 2
    assert not of(again, "tune")

    warm = start(3, "one", cache="triton-2")
    assert not of(warm, "compile")
    assert not of(warm, "ahead")


@pytest.mark.parametrize(
    ("product", "workers", "kept"),
    [
        ("one", "4", "0"),
        ("another", "2", "0"),
        ("one", "2", "64"),
        pytest.param("one", "2", "0", marks=pytest.mark.thorough),
        pytest.param("another", "4", "0", marks=pytest.mark.thorough),
    ],
)
def test_a_program_may_set_globals_until_a_kernels_first_launch(
    start: Any, product: str, workers: str, kept: str
) -> None:
    settings = {
        "child": CHILD.with_name("ahead_globals_child.py"),
        "TUNEONCE_WORKERS": workers,
        "TUNEONCE_BINARIES_MB": kept,
    }
    before = start(1, "one", cache="triton-1", **settings)
    assert before[-1]["kernels"] == ["float32", "1"]
    changed = start(2, product, "float16", "3", cache="triton-2", **settings)
    assert changed[-1]["kernels"] == ["float16", "3"]
    # Triton's digest does not cover a dtype: compiled ahead, it would be launched as it was.
    assert min(of(changed, "compile", "second")) > min(of(changed, "resolve", "second"))
    if kept != "0":  # the first kernel's is found, and nothing is compiled ahead
        return
    # Since 3.6 it covers constexprs.
    if "constexpr" in inspect.getsource(triton.JITFunction.cache_key.fget):
        assert of(changed, "ahead")
    else:
        assert min(of(changed, "compile", "third")) > min(of(changed, "resolve", "third"))


def test_without_helpers_nothing_is_compiled_ahead(start: Any) -> None:
    start(1, "one", cache="triton-1")
    alone = start(2, "another", cache="triton-2", TUNEONCE_WORKERS="1")
    assert not of(alone, "ahead")
    assert len(of(alone, "tune")) == 2
