"""As `equivalence_lab`, with kernels that Triton compiles, launched on the simulated GPU.

Nothing is computed, so there are no buffers to compare; the launches are those that reached the
driver, and the benchmark is the one that Triton gets from it. Triton's own cache of tuning results
exists here, so it can be compared with, too.
"""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
import triton
import triton.language as tl
from triton.runtime.autotuner import Autotuner

from tests.kernels.equivalence_lab import VERSION, Events, describe, tuneonce_on
from tuneonce.policies import Policies
from tuneonce.testing import SimulatedGPU

Call = Callable[[], Any]
Scenario = Callable[["GpuLab"], Iterator[Call]]


@dataclass
class Step:
    """One call and what was seen of it."""

    launches: list[Any] = field(default_factory=list)
    benchmarked: list[Any] = field(default_factory=list)
    notes: list[Any] = field(default_factory=list)
    outcome: Any = None
    printed: str = ""
    best_config: list[Any] = field(default_factory=list)
    cache: list[Any] = field(default_factory=list)
    timings: list[Any] = field(default_factory=list)

    @property
    def told(self) -> list[Any]:
        """What Triton's autotune listener was told."""
        return [note[1:] for note in self.notes if note[0] == "listener"]


def blocks(*sizes: int) -> list[triton.Config]:
    return [triton.Config({"BLOCK": size}, num_warps=max(1, size // 64)) for size in sizes]


def make_copy() -> Any:
    """A small kernel, compiled anew for every run."""

    @triton.jit
    def copy(x, out, n, BLOCK: tl.constexpr):
        i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        tl.store(out + i, tl.load(x + i, mask=i < n), mask=i < n)

    return copy


def covering(n: int) -> Any:
    return lambda meta: (triton.cdiv(n, meta["BLOCK"]),)


class GpuLab:
    """One run of one scenario on a simulated GPU of its own."""

    def __init__(self, *, devices: int = 1) -> None:
        self.gpu = SimulatedGPU(devices=devices)
        self.x = torch.arange(1024.0)
        self.out = torch.zeros(1024)
        self.autotuners: list[Autotuner] = []
        self.step = Step()

    def note(self, *what: Any) -> None:
        self.step.notes.append(what)

    def autotune(self, fn: Any, configs: Any, key: Any, **options: Any) -> Autotuner:
        autotuner = triton.autotune(configs=configs, key=key, **options)(fn)
        self.autotuners.append(autotuner)
        return autotuner

    def run(self, scenario: Scenario) -> list[Step]:
        steps: list[Step] = []
        with self.gpu, self._listening():
            for call in scenario(self):
                self._make(call)
                steps.append(self.step)
                self.step = Step()
        return steps

    @contextlib.contextmanager
    def _listening(self) -> Iterator[None]:
        """Note what Triton tells its autotune listener, in the versions that have one."""
        knobs = triton.knobs.autotuning
        if VERSION < (3, 8):
            yield
            return

        def listener(**told: Any) -> None:
            timings = [(str(config), time) for config, time in told["configs_timings"].items()]
            self.note(
                "listener",
                told["fn"].__name__,
                told["key"],
                str(told["best_config"]),
                timings,
                told["cache_hit"],
                told["duration"] is None,
            )

        before, knobs.listener = knobs.listener, listener
        try:
            yield
        finally:
            knobs.listener = before

    def _make(self, call: Call) -> None:
        step, printed = self.step, io.StringIO()
        self.gpu.forget()
        with contextlib.redirect_stdout(printed):
            try:
                result = call()
                step.outcome = (type(result).__name__, getattr(result, "hash", result))
            except Exception as error:
                step.outcome = (type(error).__name__, str(error))
        step.printed = re.sub(r"after \d+\.\d\ds", "after 0.00s", printed.getvalue())
        step.launches = [
            (one.candidate, one.grid, one.device, one.captured) for one in self.gpu.launches
        ]
        step.benchmarked = [
            (one.candidate, one.median_ms, one.failed) for one in self.gpu.benchmarked
        ]
        for one in self.autotuners:
            step.best_config.append(describe(one, vars(one).get("best_config")))
            step.cache.append([(str(k), describe(one, config)) for k, config in one.cache.items()])
            timings = vars(one).get("configs_timings") or {}
            step.timings.append([(str(config), time) for config, time in timings.items()])


def run_ours(
    scenario: Scenario, store: Any, *, policies: Policies | None = None, **lab: Any
) -> tuple[list[Step], Events]:
    with tuneonce_on(store, policies=policies) as events:
        return GpuLab(**lab).run(scenario), events


def visible(steps: list[Step]) -> list[dict[str, Any]]:
    return [vars(step) for step in steps]
