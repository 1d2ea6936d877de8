"""One process of one workload: its calls in turn, timed, checked, with the winners it ended with.

    python benchmarks/cold/run_workload.py fla                          # on a GPU
    TUNEONCE=observe python benchmarks/cold/run_workload.py fla         # stock Triton, counted
    python benchmarks/cold/run_workload.py mamba --simulated --limit 1  # without a GPU

tuneonce is installed as its variables say; what it did is in its events. Prints one JSON document.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import itertools
import json
import os
import platform
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BENCHMARKS = Path(__file__).resolve().parents[1]
sys.path[:0] = [
    str(BENCHMARKS.parent / "src"),
    str(BENCHMARKS),
    str(BENCHMARKS.parent / "tests/kernels/third_party"),
]

from child import cuda_on_cpu, tuners, winners  # noqa: E402

from cold.run_options import add_options  # noqa: E402
from cold.workloads import WORKLOADS, Call, Workload  # noqa: E402

SCHEMA = "tuneonce.cold-run/1"


def tensors(value: Any) -> Iterator[Any]:
    """The tensors in what a call returned, in their order."""
    import torch

    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for member in value:
            yield from tensors(member)


def check(call: Call, output: Any) -> dict[str, Any]:
    """Whether a call's outputs are finite, and how far the first is from what torch computes."""
    import torch

    found = list(tensors(output))
    finite = bool(found) and all(bool(torch.isfinite(t.float()).all()) for t in found)
    verdict: dict[str, Any] = {"finite": finite, "error": None, "ok": finite}
    if finite and call.reference is not None:
        expected = next(tensors(call.reference())).float()
        difference = (found[0].float().view_as(expected) - expected).norm() / expected.norm()
        verdict["error"] = float(difference)
        verdict["ok"] = verdict["error"] <= call.tolerance
    return verdict


def keep(workload: Workload, at_most: int | None) -> None:
    """Cut every list of candidates of the package to its first `at_most`."""
    if at_most is not None:
        for tuner in tuners(workload.module):
            tuner.configs = tuner.configs[:at_most]


def run(
    workload: Workload, *, device: str, limit: int | None, at_most: int | None
) -> dict[str, Any]:
    """The first `limit` calls on `device` ("cpu" under a simulated GPU), as a JSON document."""
    import torch

    began = time.perf_counter()
    if device == "cuda":
        torch.zeros(1, device=device)  # the CUDA context is nobody's tuning
    with torch.no_grad():
        calls = list(itertools.islice(workload.calls(device), limit))
        keep(workload, at_most)
        import_s = time.perf_counter() - began
        timed: list[dict[str, Any]] = []
        outputs = []
        for call in calls:
            torch.cuda.synchronize()
            began = time.perf_counter()
            outputs.append(call.run())
            torch.cuda.synchronize()
            timed.append({"call": call.name, "seconds": round(time.perf_counter() - began, 4)})
        began = time.perf_counter()
        if device == "cuda":  # the simulated GPU does not compute
            for record, call, output in zip(timed, calls, outputs, strict=True):
                record["check"] = check(call, output)
    return {
        "schema": SCHEMA,
        "import_s": round(import_s, 3),
        "calls_s": round(sum(record["seconds"] for record in timed), 4),
        "check_s": round(time.perf_counter() - began, 3),
        "calls": timed,
        "outputs_ok": all(record["check"]["ok"] for record in timed) if device == "cuda" else None,
        "winners": winners(tuners(workload.module)),
        "gpu": torch.cuda.get_device_name(),
        "versions": versions(workload),
    }


def versions(workload: Workload) -> dict[str, str | None]:
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in ("torch", "triton", *workload.packages):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = getattr(sys.modules.get(package), "__version__", None)
    found["tuneonce"] = getattr(sys.modules.get("tuneonce"), "__version__", None)
    return found


def simulate(*, seed: int, noise: float, start: int) -> Any:
    """Install a simulated GPU; its noise differs by `start`, its true times by `seed` alone."""
    from tuneonce.testing import LatencyModel, SimulatedGPU

    class Started(LatencyModel):
        """Samples are numbered from a place of this process's own."""

        def sample_ms(self, launch: Any, *, number: int) -> float:
            return super().sample_ms(launch, number=number + start * 1_000_003)

    gpu = SimulatedGPU(seed=seed, do_bench=True, noise=noise)
    gpu.model = Started(seed=seed, noise=noise, sm_count=gpu.sm_count)
    # Not taken away again: the process ends, and a package may hold what it replaced.
    return gpu.install()


def compile_elsewhere(args: argparse.Namespace) -> None:
    """From the first cold key on, compilations are recorded or replayed."""
    for what in ("record", "replay"):
        directory = getattr(args, what)
        if directory is not None:
            from tuneonce.triton.compile import helper_process

            directory.mkdir(parents=True, exist_ok=True)
            os.environ["COLD_COMPILES"] = f"{what}:{directory}"
            helper_process._PROGRAM = Path(__file__).with_name("replaying_helper.py")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("workload", choices=WORKLOADS)
    add_options(parser)
    parser.add_argument("--seed", type=int, default=0, help="of the simulated GPU's true times")
    parser.add_argument("--noise", type=float, default=0.0, help="of the simulated GPU's samples")
    parser.add_argument("--start", type=int, default=0, help="which process's noise it is")
    parser.add_argument("--oracle", type=float, metavar="MS", help="measure candidates that long")
    args = parser.parse_args()
    workload = WORKLOADS[args.workload]
    oracle = None
    # Packages print; standard output is for the document.
    with contextlib.redirect_stdout(sys.stderr), contextlib.ExitStack() as stack:
        if os.environ.get("TUNEONCE", "0") != "0":
            import tuneonce

            compile_elsewhere(args)
            tuneonce.install()
        if args.simulated:
            simulate(seed=args.seed, noise=args.noise, start=args.start)
            stack.enter_context(cuda_on_cpu())
        if args.oracle:
            from cold.oracle import Oracle

            oracle = Oracle(rep_ms=args.oracle)
            oracle.install()
        device = "cpu" if args.simulated else "cuda"
        document = run(workload, device=device, limit=args.limit, at_most=args.at_most)
        if oracle is not None:
            document["oracle"] = oracle.document()
    print(json.dumps(document))


if __name__ == "__main__":
    main()
