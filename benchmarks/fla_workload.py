"""The Gated DeltaNet operator of fla-core, called as a server calls it, and what tuning it costs.

One process: import fla, one dense call, two more lengths, two packed calls; bf16, H = 16,
K = V = 128, forward only (the operator behind Qwen3-Next). Prints one JSON document: seconds of
every call, tuning keys, candidates, compilations and disk loads per kernel, and the winners.

    python benchmarks/fla_workload.py                 # on a GPU
    python benchmarks/fla_workload.py --simulated     # without one: real compiler, made-up times
    TUNEONCE=1 python benchmarks/fla_workload.py      # with tuneonce

It counts by itself, so that stock Triton and tuneonce are counted alike. `fla_restart.py` starts
it cold and warm and compares.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib
import importlib.metadata
import os
import platform
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from documents import give

SCHEMA = "tuneonce.fla-workload/1"
HEADS = 16
HEAD_DIM = 128

# Tokens of a dense call, or the lengths of the packed sequences of one call.
FULL: dict[str, int | list[int]] = {
    "dense 8000": 8000,
    "dense 4096": 4096,
    "dense 1000": 1000,
    "packed 8000": [3000, 2500, 1500, 1000],
    "packed 2200": [1000, 700, 500],
}
SMALL: dict[str, int | list[int]] = {"dense 1024": 1024, "packed 1000": [500, 300, 200]}


class Counts:
    """What Triton did in this process, per kernel."""

    def __init__(self) -> None:
        self.kernels: dict[str, dict[str, Any]] = {}
        self.tune_s = 0.0
        self.compile_s = 0.0
        self.load_s = 0.0

    def of(self, kernel: str) -> dict[str, Any]:
        fresh = {"tuned_keys": set(), "candidates": 0, "compiles": 0, "disk_loads": 0}
        return self.kernels.setdefault(kernel, fresh)

    def watch(self) -> None:
        """Count from now on, beside whoever else listens."""
        from triton import knobs
        from triton.runtime.autotuner import Autotuner

        bench = Autotuner._bench
        listener = knobs.compilation.listener

        def counted_bench(tuner: Any, *args: Any, config: Any, **meta: Any) -> Any:
            kernel = self.of(tuner.base_fn.__name__)
            kernel["tuned_keys"].add(tuning_key(tuner, args, meta))
            kernel["candidates"] += 1
            started = time.perf_counter()
            try:
                return bench(tuner, *args, config=config, **meta)
            finally:
                self.tune_s += time.perf_counter() - started

        def counted_compile(
            *, src: Any, metadata: Any, metadata_group: Any, times: Any, cache_hit: bool
        ) -> None:
            if listener is not None:
                listener(
                    src=src,
                    metadata=metadata,
                    metadata_group=metadata_group,
                    times=times,
                    cache_hit=cache_hit,
                )
            kernel = self.of(src.name)
            kernel["disk_loads" if cache_hit else "compiles"] += 1
            if cache_hit:
                self.load_s += times.total / 1e6
            else:
                self.compile_s += times.total / 1e6

        Autotuner._bench = counted_bench
        knobs.compilation.listener = counted_compile

    def totals(self) -> dict[str, int]:
        names = ("candidates", "compiles", "disk_loads")
        totals = {name: sum(kernel[name] for kernel in self.kernels.values()) for name in names}
        totals["tuned_keys"] = sum(len(kernel["tuned_keys"]) for kernel in self.kernels.values())
        return totals


def tuning_key(tuner: Any, args: Any, meta: dict[str, Any]) -> str:
    """The key as `Autotuner.run` makes it: the key arguments, then every dtype in call order."""
    named = {**dict(zip(tuner.arg_names, args, strict=False)), **meta}
    known = {name: value for name, value in named.items() if name in tuner.arg_names}
    key = [known[name] for name in tuner.keys if name in known]
    key += [str(value.dtype) for value in known.values() if hasattr(value, "dtype")]
    return str(tuple(key))


def winners() -> dict[str, dict[str, str]]:
    """The winner of every tuning key of every kernel that was launched."""
    from triton.runtime.autotuner import Autotuner

    found: dict[str, dict[str, str]] = {}
    for tuner in gc.get_objects():
        if issubclass(type(tuner), Autotuner) and tuner.cache:
            kernel = found.setdefault(tuner.base_fn.__name__, {})
            kernel.update({str(key): str(config) for key, config in tuner.cache.items()})
    return dict(sorted(found.items()))


def load_operator() -> Any:
    """Import fla and return its operator."""
    import triton

    name = "fla.ops.gated_delta_rule"
    if tuple(map(int, triton.__version__.split(".")[:2])) >= (3, 5):
        return importlib.import_module(name).chunk_gated_delta_rule
    # fla-core 0.6.0 imports its Gluon backends (off by default) wherever there is a Gluon and an
    # NVIDIA GPU, and the Gluon of Triton 3.4 lacks what they import. While it sees no Gluon it
    # leaves them out; the operator is the same.
    gluon = sys.modules.pop("triton.experimental.gluon", None)
    sys.modules["triton.experimental.gluon"] = None  # type: ignore[assignment]
    try:
        return importlib.import_module(name).chunk_gated_delta_rule
    finally:
        del sys.modules["triton.experimental.gluon"]
        if gluon is not None:
            sys.modules["triton.experimental.gluon"] = gluon


def call(operator: Any, lengths: int | list[int], device: str) -> Any:
    """One forward call on random inputs. Returns a function that makes it again."""
    import torch

    tokens = lengths if isinstance(lengths, int) else sum(lengths)
    generator = torch.Generator().manual_seed(tokens)

    def inputs(*shape: int) -> Any:
        return torch.randn(*shape, generator=generator).to(device=device, dtype=torch.bfloat16)

    arguments = {
        "q": inputs(1, tokens, HEADS, HEAD_DIM),
        "k": inputs(1, tokens, HEADS, HEAD_DIM),
        "v": inputs(1, tokens, HEADS, HEAD_DIM),
        "g": torch.nn.functional.logsigmoid(inputs(1, tokens, HEADS).float()),
        "beta": inputs(1, tokens, HEADS).sigmoid(),
        "output_final_state": True,
        "use_qk_l2norm_in_kernel": True,
    }
    if not isinstance(lengths, int):
        starts = torch.tensor([0, *lengths]).cumsum(0)
        arguments["cu_seqlens"] = starts.to(device)
    return lambda: operator(**arguments)


def run(
    device: str,
    *,
    calls: dict[str, int | list[int]] = FULL,
    counts: Counts | None = None,
    again: int = 5,
) -> dict[str, Any]:
    """The workload on `device` ("cuda", or "cpu" under a simulated GPU), as a JSON document.

    `again` is how often each call is repeated, once everything is tuned, for its `again_ms`.
    """
    counts = counts or Counts()
    counts.watch()
    import torch

    started = time.perf_counter()
    operator = load_operator()
    import_s = time.perf_counter() - started

    timed: list[dict[str, Any]] = []
    repeats = {}
    with torch.no_grad():
        if device == "cuda":
            torch.zeros(1, device=device)  # the CUDA context is nobody's tuning
        for name, lengths in calls.items():
            repeats[name] = repeat = call(operator, lengths, device)
            torch.cuda.synchronize()
            started = time.perf_counter()
            repeat()
            torch.cuda.synchronize()
            timed.append({"call": name, "seconds": time.perf_counter() - started})
        for record in timed:
            samples = []
            for _ in range(again):
                started = time.perf_counter()
                repeats[record["call"]]()
                torch.cuda.synchronize()
                samples.append((time.perf_counter() - started) * 1e3)
            if samples:
                record["again_ms"] = statistics.median(samples)

    return {
        "schema": SCHEMA,
        "gpu": torch.cuda.get_device_name(),
        "versions": versions(),
        "environment": {
            name: value
            for name, value in sorted(os.environ.items())
            if name.startswith(("TUNEONCE", "TRITON_", "FLA_"))
        },
        "import_s": import_s,
        "calls": timed,
        "calls_s": sum(record["seconds"] for record in timed),
        "tune_s": counts.tune_s,
        "compile_s": counts.compile_s,
        "load_s": counts.load_s,
        "totals": counts.totals(),
        "kernels": {
            name: {**kernel, "tuned_keys": sorted(kernel["tuned_keys"])}
            for name, kernel in sorted(counts.kernels.items())
        },
        "winners": winners(),
    }


def versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in ("torch", "triton", "fla-core", "tuneonce"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            module = sys.modules.get(package)
            found[package] = getattr(module, "__version__", None)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--simulated", action="store_true", help="use the simulated GPU")
    parser.add_argument("--small", action="store_true", help="one dense and one packed call")
    parser.add_argument("--seed", type=int, default=0, help="of the simulated GPU's times")
    parser.add_argument("--again", type=int, default=5, help="repeats of each call, when tuned")
    parser.add_argument("--out", type=Path, help="write the document here instead of to stdout")
    args = parser.parse_args()

    started = time.perf_counter()
    # Libraries may print; standard output is for the document.
    with contextlib.redirect_stdout(sys.stderr), contextlib.ExitStack() as stack:
        if os.environ.get("TUNEONCE") == "1":
            import tuneonce

            tuneonce.install()
        device = "cuda"
        if args.simulated:
            from tuneonce.testing import SimulatedGPU

            stack.enter_context(SimulatedGPU(seed=args.seed))
            device = "cpu"
        document = run(device, calls=SMALL if args.small else FULL, again=args.again)
    document["main_s"] = time.perf_counter() - started
    give(document, args.out)


if __name__ == "__main__":
    main()
