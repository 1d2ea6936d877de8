"""Made-up kernel times that repeat: what the simulated GPU answers when it is asked how long.

A time depends on the seed, the kernel's name, its constants, its options (warps, stages, ...) and
its grid, and on nothing else: not on the process, the Triton version, or the order of questions.
It has two parts, each with a factor of its own drawn for the candidate: one that every launch
pays, one that grows with the work. So the best candidate of a small launch is usually not the
best of a large one, as on real GPUs.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..system.forks import lazy

# Arbitrary, chosen so that times lie where those of real inference kernels do: a lone program
# takes 4 to 12 microseconds, 100,000 programs of 64 x 64 tiles take 1 to 3 milliseconds.
_FIXED_MS = 0.004
_MS_PER_WAVE = 2e-5
_SPREAD = 3.0


@dataclass(frozen=True)
class Launch:
    """One launch, as the launcher saw it.

    `constants` holds every compile-time constant of the compiled variant by argument name: the
    candidate's own (`BLOCK`), the caller's, and the arguments that Triton specialised on (None, 1).
    """

    kernel: str
    module: str = ""
    constants: Mapping[str, Any] = field(default_factory=dict, hash=False)
    num_warps: int = 4
    num_stages: int = 3
    num_ctas: int = 1
    maxnreg: int | None = None
    grid: tuple[int, int, int] = (1, 1, 1)
    device: int = 0
    stream: int = 0
    captured: bool = False

    @lazy
    def candidate(self) -> str:
        """Kernel, constants and options as text: equal for equal compiled variants."""
        known = sorted(self.constants.items())
        constants = ", ".join(f"{name}={_text(value)}" for name, value in known)
        options = f"num_warps={self.num_warps}, num_stages={self.num_stages}"
        if self.num_ctas != 1:
            options += f", num_ctas={self.num_ctas}"
        if self.maxnreg is not None:
            options += f", maxnreg={self.maxnreg}"
        return f"{self.kernel}[{constants}; {options}]"

    @property
    def programs(self) -> int:
        return math.prod(self.grid)

    def at(self, *, grid: tuple[int, int, int]) -> Launch:
        """The same compiled variant at another grid."""
        return replace(self, grid=grid)

    def runs(self, config: Any) -> bool:
        """Whether this launch runs the candidate `config` (a `triton.Config`)."""
        return (
            all(
                name in self.constants and _text(self.constants[name]) == _text(value)
                for name, value in config.kwargs.items()
            )
            and self.num_warps == config.num_warps
            and self.num_stages == config.num_stages
            and self.num_ctas == (getattr(config, "num_ctas", None) or 1)
            and self.maxnreg == getattr(config, "maxnreg", None)
        )


def _text(value: object) -> str:
    """A constant as text without memory addresses, so that it is the same in every process."""
    value = getattr(value, "value", value) if type(value).__name__ == "constexpr" else value
    if value is None or isinstance(value, (bool, int, float, str)):
        return repr(value)
    if isinstance(value, (tuple, list)):
        return "(" + ", ".join(map(_text, value)) + ")"
    name = getattr(value, "__qualname__", None) or getattr(value, "name", None)
    return name if isinstance(name, str) else type(value).__name__


def _unit(*parts: object) -> float:
    """A number in [0, 1) that depends on `parts` alone."""
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def _tile(launch: Launch) -> int:
    """Elements of one program's tile, by the convention that tile sizes are named B..."""
    sizes = [
        value
        for name, value in launch.constants.items()
        if name.startswith("B") and type(value) is int and 1 < value <= 65536
    ]
    return math.prod(sizes)


@dataclass(frozen=True)
class LatencyModel:
    """Times of launches, in milliseconds.

    `noise` is the relative spread of single samples (0 = every sample is the true time).
    `times`, where given, answers first: a function from a launch to milliseconds, or to None for
    "as the model says". It must depend on nothing but the launch.
    """

    seed: int = 0
    noise: float = 0.0
    sm_count: int = 132
    times: Callable[[Launch], float | None] | None = None

    def ms(self, launch: Launch) -> float:
        """The true time of a launch."""
        if self.times is not None and (known := self.times(launch)) is not None:
            return known
        fixed: float = _SPREAD ** _unit(self.seed, "fixed", launch.candidate)
        moving: float = _SPREAD ** _unit(self.seed, "moving", launch.candidate)
        # Half of the tile's effect: with all of it, splitting the work finer or coarser would
        # never matter; with none of it, the largest tile would always win.
        waves = launch.programs * math.sqrt(_tile(launch)) / self.sm_count
        return _FIXED_MS * fixed + _MS_PER_WAVE * moving * waves

    def sample_ms(self, launch: Launch, *, number: int) -> float:
        """The `number`-th sample of a launch: the true time and reproducible noise on top of it.

        Noise only adds, as on a GPU: nothing runs faster than undisturbed.
        """
        if not self.noise:
            return self.ms(launch)
        draw = _unit(self.seed, "noise", launch.candidate, launch.grid, number)
        return self.ms(launch) * (1.0 - self.noise * math.log1p(-draw))

    def best(self, launches: Iterable[Launch]) -> Launch:
        """The launch that is truly the fastest. Raises ValueError if there is none."""
        return min(launches, key=self.ms)
