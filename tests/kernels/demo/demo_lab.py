"""Child of test_demo_kernels: runs the demo's kernels. Prints one JSON document.

- ``candidates``: largest error of every candidate, of either list, by kernel
- ``greedy``: greedy tokens of the cpu preset, by the way candidates were chosen
- ``tune``: how one small prompt, and a second one, tune the kernels
- ``gpu-candidates``, ``gpu-greedy``: the first two on a GPU instead of in the interpreter, in
  bfloat16, with the large preset cut to two layers
"""

from __future__ import annotations

import dataclasses
import json
import random
import sys
from typing import Any

import torch
from triton.runtime.autotuner import Autotuner
from triton.runtime.interpreter import interpreter_builder

from tuneonce.demo import kernels, presets, reference, tokenizer
from tuneonce.demo.kernels import tuning
from tuneonce.demo.model import Model

PROMPT = tokenizer.encode("The same text on every start.")


def choose(kernel: Autotuner, config: Any) -> None:
    """Let `kernel` run this candidate, without tuning."""
    kernel.configs = [config]


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def error(got: Any, wanted: Any) -> float:
    """Largest difference, relative to the largest value; both may be tuples."""
    if isinstance(got, tuple):
        return max(map(error, got, wanted))
    assert got.shape == wanted.shape
    assert got.dtype == wanted.dtype
    return float((got - wanted).abs().max() / wanted.abs().max())


def attention(*, chunk: int, tokens: int, dim: int, to: dict[str, Any]) -> dict[str, Any]:
    """Name of each attention kernel → its error with the candidates now chosen."""
    heads = 2
    q, k, v = (draw(tokens + n, heads, dim)[:tokens].contiguous().to(**to) for n in range(3))
    g = -draw(tokens, heads).abs().to(to["device"])
    wanted = reference.gla_prefill(q, k, v, g)
    state = wanted[1].clone()
    step = reference.gla_step(q[0], k[0], v[0], g[0], state)

    def prefill() -> float:
        return error(kernels.gla_prefill(q, k, v, g, chunk=chunk), wanted)

    def decode() -> float:
        mine = wanted[1].clone()
        got = kernels.gla_step(q[0], k[0], v[0], g[0], mine)
        return error((got, mine), (step, state))

    chunked = ("chunk_cumsum", "chunk_products", "chunk_state", "chunk_output")
    return {**dict.fromkeys(chunked, prefill), "decode_step": decode}


def dense(*, to: dict[str, Any]) -> dict[str, Any]:
    device, dtype = to["device"], torch.float32
    x, weight, b = draw(19, 72).to(device), draw(72).to(device), draw(72, 50).to(**to)
    a = x.to(**to)
    norm = reference.rms_norm(x, weight, dtype=dtype)
    product = reference.matmul(a, b)
    return {
        "rms_norm": lambda: error(kernels.rms_norm(x, weight, dtype=dtype), norm),
        "matmul": lambda: error(kernels.matmul(a, b), product),
    }


def worst_of_each(candidates: dict[str, list[Any]], checks: dict[str, Any]) -> dict[str, Any]:
    """Kernel → candidate → error, one candidate at a time, the other kernels with their first."""
    worst: dict[str, dict[str, float]] = {}
    for name, kernel in kernels.AUTOTUNED.items():
        choose(kernel, candidates[name][0])
    for name, kernel in kernels.AUTOTUNED.items():
        # Warps and stages mean nothing to the interpreter.
        shown = (lambda c: str(c.kwargs)) if tuning.INTERPRETED else str
        for text, config in {shown(config): config for config in candidates[name]}.items():
            choose(kernel, config)
            worst.setdefault(name, {})[text] = checks[name]()
        choose(kernel, candidates[name][0])
    return worst


def every_candidate() -> dict[str, Any]:
    to = {"device": "cpu", "dtype": torch.float32}
    worst: dict[str, Any] = {name: {} for name in kernels.AUTOTUNED}
    for interpreted, chunk, tokens in ((True, 16, 19), (False, 64, 66)):
        checks = {**attention(chunk=chunk, tokens=tokens, dim=32, to=to), **dense(to=to)}
        found = worst_of_each(kernels.candidates(interpreted=interpreted), checks)
        for name, errors in found.items():
            worst[name].update(errors)
    return worst


def every_candidate_on_a_gpu() -> dict[str, Any]:
    to = {"device": "cuda", "dtype": torch.bfloat16}
    checks = {**attention(chunk=64, tokens=1_000, dim=128, to=to), **dense(to=to)}
    return worst_of_each(kernels.candidates(interpreted=False), checks)


def greedy() -> dict[str, list[int]]:
    """The answer of the reference, and those of the kernels."""
    answers = {"reference": generate(Model(presets.CPU, reference))}
    return {**answers, **by_candidates(Model(presets.CPU, kernels), interpreted=True)}


def greedy_on_a_gpu() -> dict[str, list[int]]:
    # Without the reference: torch and triton may round the norm's square root differently there.
    model = Model(dataclasses.replace(presets.GPU, layers=2), kernels)
    return by_candidates(model, interpreted=False)


def by_candidates(model: Model, *, interpreted: bool) -> dict[str, list[int]]:
    """Answers with the first, the last and random candidates."""
    candidates = kernels.candidates(interpreted=interpreted)
    answers = {}
    rng = random.Random(0)
    for way, choice in {
        "first": lambda configs: configs[0],
        "last": lambda configs: configs[-1],
        "random": rng.choice,
        "random again": rng.choice,
    }.items():
        for name, kernel in kernels.AUTOTUNED.items():
            choose(kernel, choice(candidates[name]))
        answers[way] = generate(model)
    return answers


def generate(model: Model) -> list[int]:
    return list(model.generate(PROMPT, max_tokens=4))


def tune() -> dict[str, Any]:
    """Tunes with one repetition, as times do not matter here."""
    benched: list[str] = []

    def bench_of(name: str) -> Any:
        def bench(launch: Any, quantiles: Any) -> list[float]:
            launch()
            benched.append(name)
            return [float(len(benched) % 5)] * len(quantiles)

        return bench

    for name, kernel in kernels.AUTOTUNED.items():
        kernel.do_bench = bench_of(name)
    config = dataclasses.replace(presets.CPU, layers=1, heads=1, mlp=32)
    model, expected = Model(config, kernels), Model(config, reference)
    first = generate(model)
    tuned = {name: len(kernel.cache) for name, kernel in kernels.AUTOTUNED.items()}
    counts = {name: benched.count(name) for name in kernels.AUTOTUNED}
    benched.clear()
    # Another length of the same class.
    second = list(model.generate(PROMPT[:20], max_tokens=2))
    return {
        "equal": first == generate(expected)
        and second == list(expected.generate(PROMPT[:20], max_tokens=2)),
        "keys": tuned,
        "measured": counts,
        "measured_by_second_prompt": len(benched),
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    tasks = {
        "candidates": every_candidate,
        "greedy": greedy,
        "tune": tune,
        "gpu-candidates": every_candidate_on_a_gpu,
        "gpu-greedy": greedy_on_a_gpu,
    }
    if sys.argv[1] in ("greedy", "tune") and tuning.INTERPRETED:
        # A third of the work: the interpreter's own checks of sums. `candidates` is run with them.
        unchecked = dataclasses.replace(interpreter_builder.options, sanitize_overflow=False)
        interpreter_builder.options = unchecked
    print(json.dumps(tasks[sys.argv[1]]()))
