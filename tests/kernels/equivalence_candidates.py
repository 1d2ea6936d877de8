"""Scenarios of candidates: lists, pruning, heuristics, hooks, benchmarks, interference."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import triton
import triton.language as tl

from tests.kernels.equivalence_calls import accumulate, blocks, covering
from tests.kernels.equivalence_lab import Autotuner, Call, Lab

CANDIDATES: dict[str, Any] = {}


def scenario(function: Any) -> Any:
    CANDIDATES[function.__name__] = function
    return function


def calls(lab: Lab, kernel: Any, *sizes: int) -> Iterator[Call]:
    for n in sizes:
        yield lambda n=n: kernel[covering(32)](lab.x, lab.out, lab.mark, n, 0)


@scenario
def a_single_candidate(lab: Lab) -> Iterator[Call]:
    kernel = lab.autotune(lab.interpreted(accumulate), blocks(8), ["n"])
    yield from calls(lab, kernel, 32, 16)


@scenario
def no_candidates_given(lab: Lab) -> Iterator[Call]:
    def fixed(x, out, n):
        i = tl.arange(0, 8)
        tl.store(out + i, tl.load(x + i))

    kernel = lab.autotune(lab.interpreted(fixed), [], ["n"])
    yield lambda: kernel[(1,)](lab.x, lab.out, 8)


@scenario
def equal_candidates(lab: Lab) -> Iterator[Call]:
    kernel = lab.autotune(lab.interpreted(accumulate), blocks(8, 4, 8, 4, 8), ["n"])
    yield from calls(lab, kernel, 32, 16, 32)


@scenario
def candidates_that_tie(lab: Lab) -> Iterator[Call]:
    def constant(call: Call, quantiles: Any) -> list[float]:
        lab.measure(call)
        return [1.0, 1.0, 1.0]

    kernel = lab.autotune(lab.interpreted(accumulate), blocks(16, 4, 8), ["n"], do_bench=constant)
    yield from calls(lab, kernel, 32, 16, 32)


@scenario
def pruned_to_one(lab: Lab) -> Iterator[Call]:
    prune = {"early_config_prune": lambda configs, arguments, **meta: configs[1:2]}
    kernel = lab.autotune(
        lab.interpreted(accumulate), blocks(4, 8, 16), ["n"], prune_configs_by=prune
    )
    yield from calls(lab, kernel, 32, 16, 32)


@scenario
def pruned_by_the_arguments(lab: Lab) -> Iterator[Call]:
    def prune(configs: Any, arguments: Any, **meta: Any) -> Any:
        lab.note("prune", len(configs), list(arguments), sorted(meta))
        return [config for config in configs if config.kwargs["BLOCK"] < arguments["n"]]

    by = {"early_config_prune": prune}
    kernel = lab.autotune(lab.interpreted(accumulate), blocks(4, 8, 16), ["n"], prune_configs_by=by)
    yield from calls(lab, kernel, 32, 10, 32, 10, 5)


@scenario
def pruned_to_strangers(lab: Lab) -> Iterator[Call]:
    def prune(configs: Any, arguments: Any, **meta: Any) -> Any:
        return [*blocks(2, 32), configs[0], *blocks(16)]

    by = {"early_config_prune": prune}
    kernel = lab.autotune(lab.interpreted(accumulate), blocks(4, 8), ["n"], prune_configs_by=by)
    yield from calls(lab, kernel, 32, 16, 32)


@scenario
def pruned_by_a_model(lab: Lab) -> Iterator[Call]:
    def model(**arguments: Any) -> float:
        lab.note("model", sorted(arguments), arguments["BLOCK"])
        return abs(arguments["BLOCK"] - 8)

    kernels = []
    for top_k in (2, 3, 0.7):
        by = {"perf_model": model, "top_k": top_k}
        kernels.append(
            lab.autotune(lab.interpreted(accumulate), blocks(4, 8, 16), ["n"], prune_configs_by=by)
        )
    for offset, kernel in enumerate(kernels):
        yield from calls(lab, kernel, 32 - offset, 16 - offset, 32 - offset)


@scenario
def heuristics_below_the_autotuner(lab: Lab) -> Iterator[Call]:
    values = {"mode": lambda arguments: arguments["n"] % 16 == 0}
    kernel = lab.autotune(
        triton.heuristics(values)(lab.interpreted(accumulate)), blocks(4, 8, 16), ["n", "mode"]
    )
    for n in (32, 20, 16, 32):
        yield lambda n=n: kernel[covering(32)](lab.x, lab.out, lab.mark, n)


@scenario
def heuristics_above_the_autotuner(lab: Lab) -> Iterator[Call]:
    autotuner = lab.autotune(lab.interpreted(accumulate), blocks(4, 8, 16), ["mode"])
    kernel = triton.heuristics({"mode": lambda arguments: arguments["n"] % 16 == 0})(autotuner)
    for n in (32, 20, 16, 32):
        yield lambda n=n: kernel[covering(32)](lab.x, lab.out, lab.mark, n)


@scenario
def heuristics_that_read_the_candidate(lab: Lab) -> Iterator[Call]:
    values = {"mode": lambda arguments: arguments["n"] % arguments["BLOCK"] == 0}
    kernel = lab.autotune(
        triton.heuristics(values)(lab.interpreted(accumulate)), blocks(4, 8, 16), ["n"]
    )
    for n in (32, 20, 32):
        yield lambda n=n: kernel[covering(32)](lab.x, lab.out, lab.mark, n)


@scenario
def an_autotuner_in_an_autotuner(lab: Lab) -> Iterator[Call]:
    inner = lab.autotune(lab.interpreted(accumulate), blocks(4, 8), ["n"])
    modes = [triton.Config({"mode": mode}) for mode in (0, 1)]
    # The inner one's options come from its own winner.
    for config in modes:
        config.num_warps = config.num_stages = config.num_ctas = None
    outer = lab.autotune(inner, modes, ["n"])
    for n in (32, 16, 32):
        yield lambda n=n: outer[covering(32)](lab.x, lab.out, lab.mark, n)


@scenario
def candidates_with_a_pre_hook(lab: Lab) -> Iterator[Call]:
    def empty(arguments: dict[str, Any]) -> None:
        lab.note("empty", arguments["BLOCK"], sorted(arguments))
        arguments["out"].zero_()

    def negate(arguments: dict[str, Any]) -> None:
        lab.note("negate", arguments["BLOCK"])
        arguments["out"].neg_()

    hooks = ((4, empty), (8, negate), (16, None), (16, empty))
    configs = [triton.Config({"BLOCK": size}, pre_hook=hook) for size, hook in hooks]
    kernel = lab.autotune(lab.interpreted(accumulate), configs, ["n"])
    yield from calls(lab, kernel, *range(24, 33), *range(24, 33))


@scenario
def reset_to_zero(lab: Lab) -> Iterator[Call]:
    kernel = lab.autotune(
        lab.interpreted(accumulate), blocks(4, 8, 16), ["n"], reset_to_zero=["out", "mark"]
    )
    yield from calls(lab, kernel, 32, 32, 16, 32)


@scenario
def restore_value(lab: Lab) -> Iterator[Call]:
    kernel = lab.autotune(
        lab.interpreted(accumulate), blocks(4, 8, 16), ["n"], restore_value=["out", "mark"]
    )
    yield from calls(lab, kernel, 32, 32, 16, 32)


@scenario
def reset_and_restore(lab: Lab) -> Iterator[Call]:
    options = {"reset_to_zero": ["mark"], "restore_value": ["out"]}
    kernel = lab.autotune(lab.interpreted(accumulate), blocks(4, 8, 16), ["n"], **options)
    yield from calls(lab, kernel, 32, 32, 16, 32)


@scenario
def hooks_of_the_autotuner(lab: Lab) -> Iterator[Call]:
    def before(arguments: dict[str, Any], reset_only: bool = False) -> None:
        lab.note("before", reset_only, sorted(arguments), arguments["BLOCK"])
        arguments["out"].add_(1)

    def after(arguments: dict[str, Any], exception: Exception | None) -> None:
        lab.note("after", exception, arguments["BLOCK"])
        arguments["out"].mul_(2)

    kernel = lab.autotune(
        lab.interpreted(accumulate), blocks(4, 8, 16), ["n"], pre_hook=before, post_hook=after
    )
    yield from calls(lab, kernel, 32, 32, 16, 32)


@scenario
def benchmarks_with_other_answers(lab: Lab) -> Iterator[Call]:
    def answering(shape: Any) -> Any:
        def bench(call: Call, quantiles: Any) -> Any:
            lab.measure(call)
            return shape(lab.time())

        return bench

    shapes = (float, lambda t: (t, t), lambda t: [t], lambda t: [t, t * 2, t * 3], lambda t: 1.0)
    kernels = [
        lab.autotune(
            lab.interpreted(accumulate), blocks(4, 8, 16), ["n"], do_bench=answering(shape)
        )
        for shape in shapes
    ]
    for offset, kernel in enumerate(kernels):
        yield from calls(lab, kernel, 32 - offset, 16 - offset, 32 - offset)


@scenario
def the_benchmarks_of_former_days(lab: Lab) -> Iterator[Call]:
    kernels = []
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        patch.setattr("triton.testing.do_bench", lab.bench)
        patch.setattr("triton.testing.do_bench_cudagraph", lab.bench)
        for old in ({"warmup": 5}, {"rep": 7}, {"warmup": 0, "rep": 0}, {"use_cuda_graph": True}):
            configs = blocks(4, 8, 16)
            kernels.append(
                lab.autotune(lab.interpreted(accumulate), configs, ["n"], do_bench=None, **old)
            )
        for offset, kernel in enumerate(kernels):
            yield from calls(lab, kernel, 32 - offset, 16 - offset, 32 - offset)


class Filling(Autotuner):
    """As fla's CachedAutotuner: fills the cache with a configuration of its own, then runs."""

    always = False

    def run(self, *args: Any, **kwargs: Any) -> Any:
        arguments = {**dict(zip(self.arg_names, args, strict=False)), **kwargs}
        key = [arguments[name] for name in self.keys if name in arguments]
        key += [
            str(arguments[name].dtype)
            for name in arguments
            if name in self.arg_names and hasattr(arguments[name], "dtype")
        ]
        if arguments["n"] == 16 and (self.always or tuple(key) not in self.cache):
            self.cache[tuple(key)] = triton.Config({"BLOCK": 2}, num_warps=1)
        return super().run(*args, **kwargs)


@scenario
def a_subclass_that_fills_the_cache(lab: Lab) -> Iterator[Call]:
    fn = lab.interpreted(accumulate)
    kernel = Filling(fn, fn.arg_names, blocks(4, 8), ["n"], None, None, do_bench=lab.bench)
    lab.watch(kernel)
    yield from calls(lab, kernel, 32, 16, 32, 16)
    kernel.always = True
    yield from calls(lab, kernel, 16, 32, 16)


@scenario
def a_winner_assigned_by_the_program(lab: Lab) -> Iterator[Call]:
    kernel = lab.autotune(lab.interpreted(accumulate), blocks(4, 8, 16), ["n"])
    yield from calls(lab, kernel, 32, 16, 32)
    for own in range(3):
        for key in list(kernel.cache):
            kernel.cache[key] = kernel.configs[own]
        yield from calls(lab, kernel, 32, 16)
    for key in list(kernel.cache):
        kernel.cache[key] = triton.Config({"BLOCK": 2})
    yield from calls(lab, kernel, 32, 16, 32)


@scenario
def a_cache_cleared_by_the_program(lab: Lab) -> Iterator[Call]:
    kernel = lab.autotune(lab.interpreted(accumulate), blocks(4, 8, 16), ["n"])
    yield from calls(lab, kernel, 32, 32)
    kernel.cache.clear()
    yield from calls(lab, kernel, 32, 32)


@scenario
def candidates_replaced_by_the_program(lab: Lab) -> Iterator[Call]:
    kernel = lab.autotune(lab.interpreted(accumulate), blocks(4, 8, 16), ["n"])
    yield from calls(lab, kernel, 32, 32)
    first_list = kernel.configs
    kernel.configs = blocks(2, 32)
    yield from calls(lab, kernel, 32, 16)
    kernel.configs = blocks(2)
    yield from calls(lab, kernel, 32, 16, 32)
    kernel.configs = first_list
    yield from calls(lab, kernel, 32, 16)


@scenario
def a_key_changed_by_the_program(lab: Lab) -> Iterator[Call]:
    kernel = lab.autotune(lab.interpreted(accumulate), blocks(4, 8, 16), ["n"])
    yield from calls(lab, kernel, 32, 32)
    kernel.keys.append("mode")
    yield from calls(lab, kernel, 32, 32)
    kernel.keys = ["mode"]
    yield from calls(lab, kernel, 32, 16)


@scenario
def a_candidate_changed_in_place(lab: Lab) -> Iterator[Call]:
    kernel = lab.autotune(lab.interpreted(accumulate), blocks(4, 8, 16), ["n"])
    yield from calls(lab, kernel, 32, 32)
    for config in kernel.configs:
        config.kwargs["BLOCK"] *= 2
        config.num_stages = 5
    yield from calls(lab, kernel, 32, 32)
    for config in kernel.configs:
        config.pre_hook = lambda arguments: lab.note("hook", arguments["BLOCK"])
    yield from calls(lab, kernel, 32, 32)


@scenario
def a_kernel_launched_while_another_is_tuned(lab: Lab) -> Iterator[Call]:
    helper = lab.autotune(lab.interpreted(accumulate), blocks(4, 8), ["n"])

    def launch(arguments: dict[str, Any], reset_only: bool = False) -> None:
        helper[covering(32)](lab.x, lab.out, lab.mark, arguments["n"] - 1, 0)

    kernel = lab.autotune(lab.interpreted(accumulate), blocks(4, 8, 16), ["n"], pre_hook=launch)
    yield from calls(lab, kernel, 32, 32, 16)
