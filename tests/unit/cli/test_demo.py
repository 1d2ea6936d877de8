"""What the command lines of `tuneonce demo` turn into, without running it."""

from __future__ import annotations

import importlib.util
import sys

import pytest

from tuneonce.bench import machine
from tuneonce.bench.restart import Plan, new_lengths
from tuneonce.cli import demo, main


def test_the_demo_without_a_gpu(plans: list[Plan], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "torch_has_gpu", lambda: False)
    assert main(["demo"]) == 0
    (plan,) = plans
    assert plan.arms == ("stock", "tuneonce")
    assert plan.settings == {"TRITON_INTERPRET": "1"}
    assert plan.command[:5] == [sys.executable, "-m", "tuneonce.demo", "--preset", "cpu"]
    assert plan.load.num_prompts == 8
    assert plan.then == ("empty-triton-cache",)
    assert len(plan.notes) == 1


def test_the_demo_on_a_gpu(plans: list[Plan], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "torch_has_gpu", lambda: True)
    assert main(["demo", "--num-prompts", "3", "--port", "4321"]) == 0
    (plan,) = plans
    assert plan.arms == ("stock", "stock-cache", "tuneonce")
    assert (plan.settings, plan.then) == ({}, ("empty-triton-cache",))
    assert plan.command[-4:] == ["--preset", "gpu", "--port", "4321"]
    assert plan.load.num_prompts == 3
    assert plan.load.input_len > 1000


@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_a_new_length_is_no_new_key(plans: list[Plan], device: str) -> None:
    pytest.importorskip("triton")
    from tuneonce.demo.kernels.tuning import size_class

    assert main(["demo", "--device", device]) == 0
    load = plans[0].load
    assert load.input_len_to is not None
    assert load.input_len < load.input_len_to
    assert size_class(load.input_len) == size_class(load.input_len_to)
    for run in (1, 2, 3):
        assert (new_lengths(load, run=run) or 0) > 0


def test_what_the_demo_is_told_it_does(plans: list[Plan]) -> None:
    words = ["--then", "restart", "--input-len", "9"]
    assert main(["demo", "--device", "cpu", *words]) == 0
    (plan,) = plans
    assert plan.then == ("restart",)
    assert (plan.load.input_len, plan.load.input_len_to) == (9, None)


def test_the_demo_may_be_told_its_device(
    plans: list[Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "torch_has_gpu", lambda: pytest.fail("nobody asked"))
    assert main(["demo", "--device", "cpu"]) == 0
    assert plans[0].settings == {"TRITON_INTERPRET": "1"}


def test_what_the_demo_needs(
    plans: list[Plan], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "_NEEDS", ("json", "no_such_package"))
    assert main(["demo"]) == 2
    assert "no_such_package" in capsys.readouterr().err
    assert plans == []


def test_without_what_the_benchmark_needs(
    plans: list[Plan], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    there = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "psutil" else there(name)
    )
    assert main(["demo"]) == 2
    assert "the demo needs psutil: pip install 'tuneonce[demo]'" in capsys.readouterr().err
    assert plans == []
