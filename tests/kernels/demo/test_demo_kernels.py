"""The demo's kernels: right in the interpreter, compiled for a real GPU's architecture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("triton")

from tests.fakes import Children, compile_log  # noqa: E402
from tuneonce.demo import kernels, presets  # noqa: E402
from tuneonce.demo.kernels import dense, gla  # noqa: E402
from tuneonce.testing import SimulatedGPU  # noqa: E402

LAB = Path(__file__).with_name("demo_lab.py")
CHUNKED = ("chunk_cumsum", "chunk_products", "chunk_state", "chunk_output")


@pytest.fixture
def lab(children: Children) -> Any:
    pytest.importorskip("numpy", reason="Triton's interpreter needs it")
    return lambda task: children.run(LAB, task, TRITON_INTERPRET="1")


def wrong(worst: dict[str, dict[str, float]], *, limit: float) -> dict[tuple[str, str], float]:
    """The candidates of every kernel whose error is not within `limit`."""
    assert set(worst) == set(kernels.AUTOTUNED)
    return {
        (name, config): error
        for name, errors in worst.items()
        for config, error in errors.items()
        if not error <= limit
    }


def test_every_candidate_computes_the_reference(lab: Any) -> None:
    worst = lab("candidates")
    assert wrong(worst, limit=1e-5) == {}
    for name, errors in worst.items():
        both = (
            kernels.candidates(interpreted=True)[name] + kernels.candidates(interpreted=False)[name]
        )
        assert set(errors) == {str(config.kwargs) for config in both}


def test_greedy_answers_do_not_depend_on_the_candidates(lab: Any) -> None:
    answers = lab("greedy")
    assert len(answers) == 5
    assert len({json.dumps(tokens) for tokens in answers.values()}) == 1
    assert len(answers["first"]) == 4


def test_tuning_in_the_interpreter(lab: Any) -> None:
    seen = lab("tune")
    assert seen["equal"]
    # Prompt and decoding are of two size classes; of the MLP's and attention's products, with one
    # head of 32, two pairs have equal sizes.
    assert seen["keys"] == {
        **dict.fromkeys(CHUNKED, 1),
        "decode_step": 1,
        "rms_norm": 2,
        "matmul": 4,
    }
    candidates = kernels.candidates(interpreted=True)
    measured = {name: keys * len(candidates[name]) for name, keys in seen["keys"].items()}
    measured["chunk_state"] = len(gla.blocks_within_head(candidates["chunk_state"], {"D": 32}))
    measured["matmul"] = 2 * sum(
        len(dense.tiles_for_rows(candidates["matmul"], {"M_class": rows})) for rows in (16, 64)
    )
    assert seen["measured"] == measured
    assert seen["measured_by_second_prompt"] == 0


@pytest.mark.parametrize("interpreted", [True, False])
def test_candidate_lists(interpreted: bool) -> None:
    lists = kernels.candidates(interpreted=interpreted)
    assert set(lists) == set(kernels.AUTOTUNED)
    fewest, most = (4, 10) if interpreted else (6, 32)
    for name, configs in lists.items():
        assert fewest <= len(configs) <= most, name
        assert len({str(config) for config in configs}) == len(configs), name
    hooked = {name for name, configs in lists.items() if any(c.pre_hook for c in configs)}
    assert hooked == {"matmul"}
    pruned = {name for name, kernel in kernels.AUTOTUNED.items() if kernel.early_config_prune}
    assert pruned == {"chunk_state", "matmul"}


@pytest.mark.parametrize("interpreted", [True, False])
def test_pruning(interpreted: bool) -> None:
    lists = kernels.candidates(interpreted=interpreted)
    states = lists["chunk_state"]
    head = 32 if interpreted else 128
    fitting = gla.blocks_within_head(states, {}, D=head)
    assert 4 <= len(fitting) < len(states)
    assert all(max(config.kwargs.values()) <= head for config in fitting)
    assert gla.blocks_within_head(states, {"D": 1}) == states[:1]

    products = lists["matmul"]
    for rows in (16, 64) if interpreted else (16, 64, 256, 1024, 16_384):
        fitting = dense.tiles_for_rows(products, {"M_class": rows})
        assert 4 <= len(fitting) <= len(products)
        assert all(config in products for config in fitting)
        assert all(config.kwargs["BLOCK_M"] <= max(rows, 16) for config in fitting)


def call_all(tokens: int) -> None:
    """Every kernel once, with the sizes and types of the gpu preset, on CPU tensors."""
    config = presets.GPU
    shape = (tokens, config.heads, config.head_dim)
    q, k, v = (torch.zeros(shape, dtype=torch.bfloat16) for _ in range(3))
    g = torch.zeros(shape[:2])
    _, state = kernels.gla_prefill(q, k, v, g, chunk=config.chunk)
    kernels.gla_step(q[0], k[0], v[0], g[0], state)
    x = torch.zeros(tokens, config.hidden)
    normed = kernels.rms_norm(x, torch.ones(config.hidden), dtype=torch.bfloat16, integers=True)
    weight = torch.zeros(config.hidden, config.hidden, dtype=torch.bfloat16)
    kernels.matmul(normed, weight)
    kernels.matmul(normed[:1], weight)


def test_kernels_compile_for_a_gpu_once_for_all_lengths(
    gpu: SimulatedGPU, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The first and the last candidate of each list that fits, and one more of the products for
    # few rows and for many; all of them take half a minute.
    expected = 0
    for name, kernel in kernels.AUTOTUNED.items():
        configs = kernels.candidates(interpreted=False)[name]
        wide = [config for config in configs if config.kwargs.get("BLOCK_K", 0) > 128]
        fitting = [config for config in configs if config not in wide]
        some = [fitting[0], fitting[-1]]
        if name == "matmul":
            some += [next(config for config in fitting if config.pre_hook), fitting[-2]]
        monkeypatch.setattr(kernel, "configs", some + wide)
        assert bool(wide) == (name == "chunk_state")
        expected += len(some)

    with compile_log() as compiled:
        call_all(300)
        first, measured = len(compiled), len(gpu.benchmarked)
        call_all(333)
        call_all(1023)
        others = len(compiled)
        call_all(1024)
    # What is wider than a head was never compiled.
    assert first == expected
    assert measured == expected
    assert not any(done.failed for done in gpu.benchmarked)
    # Other lengths of the size class: nothing new to compile, nothing to tune. Of the one kernel
    # that is specialised for its number of rows, one divisible by 16 has a binary of its own.
    assert others == first
    assert [name for name, _ in compiled[first:]] == ["rms_norm_rows"]
    assert len(gpu.benchmarked) == measured
    assert {launch.kernel for launch in gpu.launches} == {
        kernel.base_fn.__name__ for kernel in kernels.AUTOTUNED.values()
    }


@pytest.mark.gpu
def test_every_candidate_computes_the_reference_on_a_gpu(children: Children) -> None:
    # Inputs and what is kept between the kernels have bfloat16's eight bits.
    assert wrong(children.run(LAB, "gpu-candidates"), limit=0.02) == {}


@pytest.mark.gpu
def test_greedy_answers_do_not_depend_on_the_candidates_on_a_gpu(children: Children) -> None:
    answers = children.run(LAB, "gpu-greedy")
    assert len(answers) == 4
    assert len({json.dumps(tokens) for tokens in answers.values()}) == 1
