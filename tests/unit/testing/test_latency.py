from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuneonce.testing import LatencyModel, Launch


def launch(block: int = 64, warps: int = 4, grid: tuple[int, int, int] = (64, 1, 1)) -> Launch:
    return Launch(kernel="add", constants={"BLOCK": block}, num_warps=warps, grid=grid)


def candidates(programs: int) -> list[Launch]:
    return [
        launch(block, warps, (programs * 64 // block, 1, 1))
        for block in (16, 32, 64)
        for warps in (1, 2, 4, 8)
    ]


def test_importing_loads_neither_torch_nor_triton() -> None:
    code = "import sys, tuneonce.testing; assert not {'torch', 'triton'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_times_are_part_of_the_interface() -> None:
    # Tests elsewhere may name the winner of a seed, so a change of the model is a change for them.
    model = LatencyModel(seed=7)
    assert model.ms(launch()) == pytest.approx(0.0041431857, rel=1e-6)
    assert model.ms(launch(grid=(100_000, 64, 1))) == pytest.approx(1.0, rel=100)


def test_times_do_not_depend_on_what_was_asked_before() -> None:
    first, second = LatencyModel(seed=3), LatencyModel(seed=3)
    asked = candidates(1000)
    assert [first.ms(one) for one in asked] == [second.ms(one) for one in reversed(asked)][::-1]


def test_device_and_stream_do_not_change_the_time() -> None:
    model = LatencyModel()
    assert model.ms(launch()) == model.ms(replace(launch(), device=3, stream=9, captured=True))


@given(
    seed=st.integers(),
    block=st.sampled_from([16, 128, 1024]),
    programs=st.integers(1, 10**6),
)
def test_times_are_plausible(seed: int, block: int, programs: int) -> None:
    ms = LatencyModel(seed=seed).ms(launch(block, grid=(programs, 1, 1)))
    assert 0.004 <= ms < 100


def test_seeds_have_different_winners() -> None:
    asked = candidates(1000)
    winners = {LatencyModel(seed=seed).best(asked).candidate for seed in range(40)}
    assert len(winners) > 4


def test_the_best_of_a_small_launch_is_often_not_the_best_of_a_large_one() -> None:
    differ = 0
    for seed in range(40):
        model = LatencyModel(seed=seed)
        small, large = model.best(candidates(4)), model.best(candidates(10**6))
        differ += small.candidate != large.candidate
    assert differ > 10


def test_own_times_answer_first() -> None:
    model = LatencyModel(times=lambda one: 0.5 if one.constants["BLOCK"] == 32 else None)
    assert model.ms(launch(32)) == 0.5
    assert model.ms(launch(64)) == LatencyModel().ms(launch(64))


def test_best_of_nothing() -> None:
    with pytest.raises(ValueError, match="empty"):
        LatencyModel().best([])


def test_samples_repeat_and_only_add() -> None:
    quiet, noisy = LatencyModel(), LatencyModel(noise=0.1)
    samples = [noisy.sample_ms(launch(), number=number) for number in range(200)]
    assert samples == [noisy.sample_ms(launch(), number=number) for number in range(200)]
    assert len(set(samples)) == 200
    assert min(samples) >= quiet.ms(launch())
    assert sum(samples) / 200 == pytest.approx(quiet.ms(launch()) * 1.1, rel=0.05)
    assert quiet.sample_ms(launch(), number=1) == quiet.ms(launch())


class Opaque:
    """Its repr holds an address."""


class constexpr:  # noqa: N801
    """Stands for Triton's, which is known by its name."""

    def __init__(self, value: Any) -> None:
        self.value = value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (64, "64"),
        (True, "True"),
        (1.0, "1.0"),
        (None, "None"),
        ("relu", "'relu'"),
        ((1, (2, None)), "(1, (2, None))"),
        (constexpr(64), "64"),
        (Opaque(), "Opaque"),
        (len, "len"),
        (SimpleNamespace(name="bf16"), "bf16"),
    ],
)
def test_constants_as_text(value: Any, text: str) -> None:
    one = Launch(kernel="k", constants={"X": value})
    assert one.candidate == f"k[X={text}; num_warps=4, num_stages=3]"


def test_options_that_are_not_usual_are_in_the_text() -> None:
    one = Launch(kernel="k", num_ctas=2, maxnreg=128)
    assert one.candidate == "k[; num_warps=4, num_stages=3, num_ctas=2, maxnreg=128]"


def config(**kwargs: Any) -> Any:
    options = {"num_warps": 4, "num_stages": 3, "num_ctas": 1, "maxnreg": None}
    return SimpleNamespace(kwargs=kwargs, **options)


def test_which_config_a_launch_runs() -> None:
    one = Launch(kernel="k", constants={"BLOCK": 64, "H": 16})
    assert one.runs(config(BLOCK=64))
    assert not one.runs(config(BLOCK=128))
    assert not one.runs(config(BLOCK=64, OTHER=1))
    assert not replace(one, num_warps=8).runs(config(BLOCK=64))
    assert not replace(one, maxnreg=64).runs(config(BLOCK=64))
