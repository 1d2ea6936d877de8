"""What the command lines of `tuneonce bench` turn into, without running it."""

from __future__ import annotations

import importlib.util

import pytest

from tuneonce.bench.restart import Plan
from tuneonce.cli import main
from tuneonce.cli.bench import choose_arms, place_port
from tuneonce.errors import UsageError

HOST = "127.0.0.1"


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
