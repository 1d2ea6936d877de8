"""What the command lines of ``bench`` and ``demo`` turn into, without running it."""

from __future__ import annotations

import importlib.util
import sys

import pytest

from tuneonce.bench import machine
from tuneonce.bench.restart import Plan
from tuneonce.cli import bench, demo, main
from tuneonce.cli.bench import choose_arms, place_port
from tuneonce.errors import UsageError

HOST = "127.0.0.1"


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> list[Plan]:
    """Collects the plans that commands would carry out."""
    collected: list[Plan] = []

    def carry_out(plan: Plan, *, out: str | None) -> int:
        collected.append(plan)
        return 0

    monkeypatch.setattr(bench, "carry_out", carry_out)
    monkeypatch.setattr(demo, "carry_out", carry_out)
    return collected


def test_the_port_is_placed_or_named() -> None:
    assert place_port(["--", "serve", "--port", "{port}"], host=HOST, port=7) == (
        ["serve", "--port", "7"],
        7,
    )
    command, port = place_port(["serve", "0:{port}"], host=HOST, port=0)
    assert command == ["serve", f"0:{port}"]
    assert port > 0
    assert place_port(["serve", "--port", "7"], host=HOST, port=7)[1] == 7
    assert place_port(["serve", "--", "x"], host=HOST, port=7)[0] == ["serve", "--", "x"]
    with pytest.raises(UsageError, match="which port"):
        place_port(["serve"], host=HOST, port=0)
    with pytest.raises(UsageError, match="--port 8"):
        place_port(["serve", "--port=8"], host=HOST, port=7)


def test_a_package_that_is_missing_is_named(
    plans: list[Plan], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    there = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "psutil" else there(name)
    )
    assert main(["bench", "restart", "--", "serve", "{port}"]) == 2
    assert "the benchmark needs psutil: pip install 'tuneonce[bench]'" in capsys.readouterr().err
    assert main(["demo"]) == 2
    assert "the demo needs psutil: pip install 'tuneonce[demo]'" in capsys.readouterr().err
    assert plans == []


def test_arms_without_a_wish() -> None:
    assert choose_arms(None, interpreted=False) == (("stock", "stock-cache", "tuneonce"), ())
    chosen, (note,) = choose_arms(None, interpreted=True)
    assert chosen == ("stock", "tuneonce")
    assert "stock-cache is left out" in note
    assert choose_arms(("stock-cache",), interpreted=True) == (("stock-cache",), ())


def test_a_plan_for_vllm(plans: list[Plan]) -> None:
    words = "bench restart --arms tuneonce,stock --repeats 3 --runs 4 --num-prompts 5 --ignore-eos"
    words += " --then empty-store --then restart --then-arms tuneonce"
    assert main([*words.split(), "--", "vllm", "serve", "m", "--port", "{port}", "--repeats"]) == 0
    (plan,) = plans
    assert plan.arms == ("tuneonce", "stock")
    assert (plan.repeats, plan.runs) == (3, 4)
    assert (plan.then, plan.then_arms) == (("empty-store", "restart"), ("tuneonce",))
    assert plan.command == ["vllm", "serve", "m", "--port", str(plan.port), "--repeats"]
    assert (plan.load.num_prompts, plan.load.ignore_eos, plan.load.max_concurrency) == (5, True, 8)


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


def test_demo_serve_is_the_servers_own_command(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr("tuneonce.demo.start.start", lambda **options: seen.append(options) or 0)
    assert main(["demo", "serve", "--port", "1234", "--preset", "cpu"]) == 0
    assert seen[0]["port"] == 1234
    assert seen[0]["preset"] == "cpu"
