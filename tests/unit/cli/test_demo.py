"""What the command lines of `tuneonce demo` turn into, without running it."""

from __future__ import annotations

import importlib.util
import sys

import pytest

from tuneonce.bench import machine
from tuneonce.bench.restart import Plan
from tuneonce.cli import demo, main


def test_the_demo_without_a_gpu(plans: list[Plan], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "torch_has_gpu", lambda: False)
    assert main(["demo"]) == 0
    (plan,) = plans
    assert plan.arms == ("stock", "tuneonce")
    assert plan.settings == {"TRITON_INTERPRET": "1"}
    assert plan.command[:5] == [sys.executable, "-m", "tuneonce.demo", "--preset", "cpu"]
    assert plan.load.num_prompts == 8
    assert len(plan.notes) == 1


def test_the_demo_on_a_gpu(plans: list[Plan], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "torch_has_gpu", lambda: True)
    assert main(["demo", "--num-prompts", "3", "--port", "4321"]) == 0
    (plan,) = plans
    assert plan.arms == ("stock", "stock-cache", "tuneonce")
    assert (plan.settings, plan.then) == ({}, ())
    assert plan.command[-4:] == ["--preset", "gpu", "--port", "4321"]
    assert plan.load.num_prompts == 3
    assert plan.load.input_len > 1000


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
