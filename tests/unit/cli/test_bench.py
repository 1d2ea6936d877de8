"""What the command lines of `tuneonce bench` turn into, without running it."""

from __future__ import annotations

import importlib.util

import pytest

from tuneonce.bench.load import prompt_lengths
from tuneonce.bench.restart import Plan, load_of, new_lengths
from tuneonce.bench.result import Load
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
    assert plan.load.input_len_to is None


def test_lengths_between_two_bounds(plans: list[Plan], capsys: pytest.CaptureFixture[str]) -> None:
    words = "bench restart --input-len 5 --input-len-to {} -- serve {{port}}"
    assert main(words.format(9).split()) == 0
    assert (plans[0].load.input_len, plans[0].load.input_len_to) == (5, 9)
    assert main(words.format(4).split()) == 2
    assert "--input-len-to 4 is less than 5" in capsys.readouterr().err


def test_each_run_has_lengths_of_its_own() -> None:
    load = Load(input_len=3, input_len_to=900, output_len=1, num_prompts=50)
    lengths = [prompt_lengths(load_of(load, run=run)) for run in (1, 2, 3)]
    known = {*lengths[0], *lengths[1]}
    assert lengths[0] != lengths[1] != lengths[2]
    assert new_lengths(load, run=1) == 50
    assert new_lengths(load, run=3) == len([one for one in lengths[2] if one not in known]) < 50
    alike = Load(input_len=3, output_len=1, num_prompts=50)
    assert load_of(alike, run=2) == alike
    assert new_lengths(alike, run=2) is None
