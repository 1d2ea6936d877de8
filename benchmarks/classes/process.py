"""One process of ``work_classes.py``: one operator under one arm, or one that helps.

    python benchmarks/classes/process.py learning gated_delta_rule --out OUT.json  # on a GPU

What it has found is saved whenever something was measured, so a process that is ended leaves the
sizes that it came to. It is started by ``classes/starts.py``, which sets its variables.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from pathlib import Path
from typing import Any

BENCHMARKS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(BENCHMARKS.parent / "src"), str(BENCHMARKS)]

from documents import save  # noqa: E402
from fla_workload import versions  # noqa: E402

from classes import figures, measuring, times  # noqa: E402
from classes.operators import OPERATORS, Calls  # noqa: E402

PLAIN_CALLS = 5
ROLES = (*figures.ARMS, "times", "compile")
Document = dict[str, Any]


class Process:
    """One operator's calls, and the document that grows with them."""

    def __init__(self, options: argparse.Namespace, device: str) -> None:
        import torch

        self._options = options
        self._simulated = device == "cpu"
        self.document: Document = {"commit": None, "missing": [], "sizes": {}}
        began = time.perf_counter()
        sizes = [*options.warm, *options.sizes, *options.held_out]
        most = max(sum(figures.lengths(size)) for size in sizes)
        self._calls = Calls(OPERATORS[options.operator], device, most=most)
        if options.at_most:
            for tuner in measuring.tuners():
                tuner.configs = tuner.configs[: options.at_most]
        torch.cuda.synchronize()
        self.document["load_s"] = round(time.perf_counter() - began, 3)
        self.document["gpu"] = torch.cuda.get_device_name()
        self.document["versions"] = versions()
        self.save()

    def save(self) -> None:
        save(self.document, self._options.out)

    def late(self) -> bool:
        return time.monotonic() > self._options.until

    def call(self, size: str) -> Any:
        return self._calls.of(figures.lengths(size), packed=figures.is_packed(size))

    def start(self) -> None:
        """The program's start: its warm-up calls, and then, with tuneonce, it is ready."""
        for size in self._options.warm:
            self.document.setdefault("warm_up_ms", {})[size] = measuring.elapsed_ms(self.call(size))
        if os.environ.get("TUNEONCE") == "1":
            import tuneonce

            began = time.perf_counter()
            tuneonce.ready()
            self.document["ready_ms"] = (time.perf_counter() - began) * 1e3
        self.save()

    def stream(self) -> None:
        """The calls that tuneonce learns from, each waited for."""
        timed: list[tuple[str, float]] = []
        options = self._options
        tokens = [sum(figures.lengths(size)) for size in options.sizes]
        sizes = figures.stream(
            options.stream,
            least=min(tokens),
            most=max(tokens),
            packed=options.packed,
            seed=options.seed,
            without={sum(figures.lengths(size)) for size in options.held_out},
        )
        for size in sizes:
            if self.late():
                self.document["missing"].append(f"the stream after {len(timed)} calls")
                break
            timed.append((size, self._waited_ms(self.call(size))))
        self.document["stream"] = figures.latencies(timed)
        # Tokens, whether they were packed, and milliseconds: "512p:1.93".
        self.document["stream"]["calls"] = " ".join(
            f"{sum(figures.lengths(size))}{'p' * figures.is_packed(size)}:{ms:.4g}"
            for size, ms in timed
        )
        self.save()

    def _waited_ms(self, call: Any) -> float:
        if not self._simulated:
            return measuring.elapsed_ms(call)
        began = time.perf_counter()
        call()
        time.sleep(0.0001)  # waits without the interpreter's lock, as for a device
        return (time.perf_counter() - began) * 1e3

    def measure(self, *, forgetting: bool) -> None:
        """Every size; with `forgetting`, tuned at each of them by itself."""
        for size in [*self._options.sizes, *self._options.held_out]:
            if self.late():
                self.document["missing"].append(size)
                continue
            if forgetting:
                measuring.forget_winners()
            found = measuring.measure(self.call(size), plain_calls=PLAIN_CALLS)
            self.document["sizes"][size] = found
            self.save()

    def times(self) -> None:
        """All candidates at every size."""
        table = times.Table(until=self._options.until)
        table.install()
        self.document["kernels"] = table.kernels
        for size in self._options.sizes:
            if self.late():
                self.document["missing"].append(size)
                continue
            table.size = size
            measuring.forget_winners()
            try:
                seconds = measuring.elapsed_ms(self.call(size)) / 1e3
            except times.NoTimeLeft:
                self.document["missing"].append(f"{size}, in part")
            else:
                self.document["sizes"][size] = {"seconds": round(seconds, 2)}
            self.save()

    def compile(self) -> None:
        """A share of all candidates, for processes that come later."""
        number, of = map(int, self._options.share.split("/"))
        times.compile_share(number, of)
        for size in self._options.sizes:
            if self.late():
                break
            measuring.forget_winners()
            self.call(size)()


def run(options: argparse.Namespace, device: str) -> None:
    process = Process(options, device)
    match options.role:
        case "times":
            process.times()
        case "compile":
            process.compile()
        case role:
            if role != "oracle":
                process.start()
            if role == "learning":
                process.stream()
            process.measure(forgetting=role == "oracle")
    process.document["complete"] = not process.document["missing"]
    process.save()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("role", choices=ROLES)
    parser.add_argument("operator", choices=OPERATORS)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sizes", nargs="+", required=True, help="to measure, in this order")
    parser.add_argument("--warm", nargs="+", default=["64"], help="sizes of the warm-up calls")
    parser.add_argument("--held-out", nargs="*", default=[], help="measured last, never before")
    parser.add_argument("--stream", type=int, default=0, help="calls to learn from")
    parser.add_argument("--packed", type=float, default=0.25, help="share of these that is packed")
    parser.add_argument("--seed", type=int, default=1, help="of the stream")
    parser.add_argument("--until", type=float, default=float("inf"), help="of time.monotonic()")
    parser.add_argument("--share", default="0/1", help="what to compile: NUMBER/OF")
    parser.add_argument("--at-most", type=int, help="candidates to keep of each list")
    parser.add_argument("--simulated", action="store_true")
    options = parser.parse_args()

    with contextlib.ExitStack() as stack:
        device = "cuda"
        if options.simulated:
            from tuneonce.testing import SimulatedGPU

            # tuneonce takes another benchmark than Triton's for the program's own, and obeys it.
            theirs = os.environ.get("TUNEONCE") == "1"
            stack.enter_context(SimulatedGPU(do_bench=theirs))
            device = "cpu"
        if os.environ.get("TUNEONCE") == "1":
            import tuneonce

            tuneonce.install()
        import torch

        with torch.no_grad():
            run(options, device)


if __name__ == "__main__":
    main()
