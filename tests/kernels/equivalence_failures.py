"""Scenarios in which something fails: candidates, hooks, pruning functions, launches, keys."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import triton
import triton.language as tl
from triton.compiler.errors import CompileTimeAssertionFailure
from triton.runtime.errors import OutOfResources, PTXASError

from tests.kernels.equivalence_calls import accumulate, blocks, covering
from tests.kernels.equivalence_candidates import calls
from tests.kernels.equivalence_lab import Call, Lab

FAILURES: dict[str, Any] = {}


def scenario(function: Any) -> Any:
    FAILURES[function.__name__] = function
    return function


def out_of_resources() -> Exception:
    return OutOfResources(300_000, 232_448, "shared memory")


@scenario
def candidates_that_do_not_fit(lab: Lab) -> Iterator[Call]:
    kernel = lab.autotune(lab.interpreted(accumulate), blocks(4, 8, 16, 32), ["n"])
    lab.failure = lambda meta, bench: out_of_resources() if meta["BLOCK"] in (4, 16) else None
    yield from calls(lab, kernel, 32, 16, 32)


@scenario
def candidates_that_do_not_compile(lab: Lab) -> Iterator[Call]:
    errors = {
        4: lambda: PTXASError("ptxas fatal"),
        8: lambda: CompileTimeAssertionFailure("a = 1", None, "no"),
        16: out_of_resources,
    }
    kernel = lab.autotune(lab.interpreted(accumulate), blocks(4, 8, 16, 32), ["n"])
    lab.failure = lambda meta, bench: errors.get(meta["BLOCK"], lambda: None)()
    yield from calls(lab, kernel, 32, 16, 32)


@scenario
def no_candidate_fits(lab: Lab) -> Iterator[Call]:
    kernel = lab.autotune(
        lab.interpreted(accumulate), blocks(4, 8, 16), ["n"], restore_value=["out"]
    )
    lab.failure = lambda meta, bench: out_of_resources()
    yield from calls(lab, kernel, 32, 32, 16)
    lab.failure = lambda meta, bench: None
    yield from calls(lab, kernel, 32, 16)


@scenario
def a_candidate_that_ends_the_tuning(lab: Lab) -> Iterator[Call]:
    def after(arguments: dict[str, Any], exception: Exception | None) -> None:
        lab.note("after", lab.show(exception), arguments["BLOCK"])

    kernel = lab.autotune(lab.interpreted(accumulate), blocks(4, 8, 16), ["n"], post_hook=after)
    error = RuntimeError("CUDA error: an illegal memory access was encountered")
    lab.failure = lambda meta, bench: error if meta["BLOCK"] == 8 else None
    yield from calls(lab, kernel, 32, 16)
    lab.failure = lambda meta, bench: None
    yield from calls(lab, kernel, 32, 16, 32)


@scenario
def a_first_candidate_that_ends_the_tuning(lab: Lab) -> Iterator[Call]:
    kernel = lab.autotune(lab.interpreted(accumulate), blocks(4, 8, 16), ["n"])
    lab.failure = lambda meta, bench: RuntimeError("no") if meta["BLOCK"] == 4 else None
    yield from calls(lab, kernel, 32, 32)
    lab.failure = lambda meta, bench: None
    yield from calls(lab, kernel, 32)


@scenario
def a_launch_that_fails_after_the_tuning(lab: Lab) -> Iterator[Call]:
    kernel = lab.autotune(lab.interpreted(accumulate), blocks(4, 8, 16), ["n"])
    lab.failure = lambda meta, bench: None if bench else RuntimeError("no")
    yield from calls(lab, kernel, 32, 32, 16)
    lab.failure = lambda meta, bench: None
    yield from calls(lab, kernel, 32, 16)


@scenario
def a_value_that_cannot_be_hashed(lab: Lab) -> Iterator[Call]:
    kernel = lab.autotune(lab.interpreted(accumulate), blocks(4, 8, 16), ["mode"])
    for mode in ([1, 2], {"a": 1}, 3, [1, 2], ([1],), 3):
        yield lambda mode=mode: kernel[(4,)](lab.x, lab.out, lab.mark, 32, mode)


@scenario
def constants_as_key_values(lab: Lab) -> Iterator[Call]:
    # Triton 3.4 cannot hash a constexpr, later versions can.
    kernel = lab.autotune(lab.interpreted(accumulate), blocks(4, 8, 16), ["mode"])
    for mode in (tl.constexpr(3), tl.constexpr("tf32"), tl.constexpr(3), 3, tl.constexpr(True)):
        yield lambda mode=mode: kernel[(4,)](lab.x, lab.out, lab.mark, 32, mode)


@scenario
def a_tuned_value_given_by_the_caller(lab: Lab) -> Iterator[Call]:
    kernel = lab.autotune(lab.interpreted(accumulate), blocks(4, 8, 16), ["n"])
    arguments = (lab.x, lab.out, lab.mark, 32, 0)
    yield lambda: kernel[(4,)](*arguments, BLOCK=8)
    yield lambda: kernel[(4,)](*arguments)
    yield lambda: kernel[(4,)](*arguments, BLOCK=8)
    yield lambda: kernel[(4,)](*arguments, num_warps=8)
    yield lambda: kernel[(4,)](*arguments[:3], 16, 0, num_warps=8)


@scenario
def a_tuned_value_of_some_candidates_given_by_the_caller(lab: Lab) -> Iterator[Call]:
    configs = [*blocks(4, 8), triton.Config({"BLOCK": 16, "mode": 1})]
    kernel = lab.autotune(lab.interpreted(accumulate), configs, ["n"])
    for n in (32, 16, 32):
        yield lambda n=n: kernel[(4,)](lab.x, lab.out, lab.mark, n, mode=0)


@scenario
def arguments_that_do_not_fit(lab: Lab) -> Iterator[Call]:
    kernel = lab.autotune(lab.interpreted(accumulate), blocks(4, 8, 16), ["n"])
    yield lambda: kernel[(4,)](lab.x, lab.out)
    yield lambda: kernel[(4,)](lab.x, lab.out, lab.mark, 32, 0, 8, 9, 10)
    yield lambda: kernel[(4,)](lab.x, lab.out, lab.mark, 32, 0, n=32)
    yield lambda: kernel[(4,)](lab.x, lab.out, lab.mark, 32, 0)
    yield lambda: kernel[(4,)](lab.x, lab.out, lab.mark, 32, 0, n=16)
    yield lambda: kernel[(4,)]()
    yield lambda: kernel.run(lab.x, lab.out, lab.mark, 32, 0)
    yield lambda: kernel(lab.x, lab.out, lab.mark, 32, 0)


@scenario
def pruned_to_nothing(lab: Lab) -> Iterator[Call]:
    for nothing in ([], None, ()):
        by = {"early_config_prune": lambda *args, nothing=nothing, **meta: nothing}
        kernel = triton.autotune(blocks(4, 8, 16), ["n"], prune_configs_by=by, do_bench=lab.bench)(
            lab.interpreted(accumulate)
        )
        yield from calls(lab, kernel, 32, 32)


@scenario
def a_pruning_function_that_fails(lab: Lab) -> Iterator[Call]:
    def prune(configs: Any, arguments: Any, **meta: Any) -> Any:
        return [config for config in configs if 100 // (arguments["n"] - 16) > 0]

    by = {"early_config_prune": prune}
    kernel = lab.autotune(lab.interpreted(accumulate), blocks(4, 8, 16), ["n"], prune_configs_by=by)
    yield from calls(lab, kernel, 32, 16, 32, 16)


@scenario
def a_model_that_is_asked_for_half_a_candidate(lab: Lab) -> Iterator[Call]:
    by = {"perf_model": lambda **arguments: 1.0, "top_k": 1.5}
    kernel = lab.autotune(lab.interpreted(accumulate), blocks(4, 8, 16), ["n"], prune_configs_by=by)
    yield from calls(lab, kernel, 32)


@scenario
def a_benchmark_that_fails(lab: Lab) -> Iterator[Call]:
    benchmarks = iter(range(100))

    def bench(call: Call, quantiles: Any) -> Any:
        lab.measure(call)
        if next(benchmarks) == 1:
            raise MemoryError("no room for the benchmark's own buffer")
        return [lab.time()] * 3

    kernel = lab.autotune(lab.interpreted(accumulate), blocks(4, 8, 16), ["n"], do_bench=bench)
    yield from calls(lab, kernel, 32, 32, 16)


@scenario
def a_benchmark_of_mixed_answers(lab: Lab) -> Iterator[Call]:
    def bench(call: Call, quantiles: Any) -> Any:
        lab.measure(call)
        return lab.time()

    kernel = lab.autotune(lab.interpreted(accumulate), blocks(4, 8, 16), ["n"], do_bench=bench)
    # A candidate that does not fit counts as a list, which Triton cannot compare with a number.
    lab.failure = lambda meta, bench: out_of_resources() if meta["BLOCK"] == 8 else None
    yield from calls(lab, kernel, 32)


@scenario
def hooks_that_fail(lab: Lab) -> Iterator[Call]:
    def fail(arguments: dict[str, Any]) -> None:
        if arguments["n"] == 16:
            raise ValueError("no")

    configs = [*blocks(4, 8), triton.Config({"BLOCK": 16}, pre_hook=fail)]
    kernel = lab.autotune(lab.interpreted(accumulate), configs, ["n"])
    for n in (32, 16, 32):
        yield lambda n=n: kernel[covering(32)](lab.x, lab.out, lab.mark, n, 0)


@scenario
def a_hook_that_does_not_know_reset_only(lab: Lab) -> Iterator[Call]:
    def before(arguments: dict[str, Any]) -> None:
        lab.note("before", arguments["BLOCK"])

    kernel = lab.autotune(lab.interpreted(accumulate), blocks(4, 8, 16), ["n"], pre_hook=before)
    yield from calls(lab, kernel, 32, 32, 16, 32)


@scenario
def a_grid_that_fails(lab: Lab) -> Iterator[Call]:
    kernel = lab.autotune(lab.interpreted(accumulate), blocks(4, 8, 16), ["n"])
    arguments = (lab.x, lab.out, lab.mark, 32, 0)
    yield lambda: kernel[lambda meta: (meta["NO_SUCH_NAME"],)](*arguments)
    yield lambda: kernel[(4,)](*arguments)
    yield lambda: kernel[lambda meta: (meta["NO_SUCH_NAME"],)](*arguments)
