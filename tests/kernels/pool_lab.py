"""A tuner whose compilations leave the process, for tests of the compile pool."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import triton

from tests.fakes import RememberedEvents, journals_of
from tuneonce.resolution.resolver import Resolver
from tuneonce.store.memory import MemoryStore
from tuneonce.testing import SimulatedGPU
from tuneonce.triton.compile.pool import CompilePool
from tuneonce.triton.compile.workers import build_workers
from tuneonce.triton.launch.hook import Hook
from tuneonce.triton.launch.persistence import Persistence

SIZE = 1024
FOUR = (64, 128, 256, 512)
"""Blocks, of which the last is the fastest on `tuner`'s simulated GPU."""
# Only a test that would fail waits this long.
TOO_LONG = 60.0


def blocks(*sizes: int, warps: int = 4) -> list[triton.Config]:
    return [triton.Config({"BLOCK": size}, num_warps=warps) for size in sizes]


# PTX that the assembler does not know.
BROKEN = triton.Config({"BLOCK": 256, "ASM": "bogus.b32 $0, $1;"})


def autotuned(kernel: Any, configs: list[triton.Config], **options: Any) -> Any:
    return triton.autotune(configs, ["n"], **options)(kernel)


def launch(kernel: Any, n: int = SIZE) -> int:
    """Launch an autotuned kernel over `n` elements; the winner's block."""
    x, out = torch.arange(float(SIZE)), torch.zeros(SIZE)
    kernel[lambda meta: (triton.cdiv(n, meta["BLOCK"]),)](x, out, n)
    block: int = kernel.best_config.kwargs["BLOCK"]
    return block


def by_block(launch: Any) -> float:
    """The larger the block, the faster."""
    return 10.0 / float(launch.constants["BLOCK"])


@dataclass
class Tuner:
    """A hook in place, and what is behind it."""

    hook: Hook
    events: RememberedEvents
    pool: CompilePool | None
    gpu: SimulatedGPU

    def of(self, event: str) -> list[dict[str, Any]]:
        return [one for one in self.events.seen if one["e"] == event]

    @property
    def ahead(self) -> int:
        """Compilations in other processes."""
        return sum(bool(one.get("ahead")) for one in self.of("compile"))

    @property
    def here(self) -> int:
        """Compilations in this process."""
        return len(self.of("compile")) - self.ahead

    @property
    def started(self) -> bool:
        assert self.pool is not None
        return self.pool._helper is not None


@contextlib.contextmanager
def tuner(
    *, workers: int = 2, store: Any = None, policies: Any = None, **gpu: Any
) -> Iterator[Tuner]:
    """A tuner over `store` (default: a new one) on a simulated GPU on which large blocks win."""
    options = {"times": by_block, "do_bench": True, **gpu}
    with SimulatedGPU(**options) as simulated:
        events = RememberedEvents()
        store = MemoryStore() if store is None else store
        journals = journals_of(store)
        resolver = Resolver(store, events, journals=journals)
        persistence = Persistence(resolver, events, raise_errors=True)
        behind = build_workers(workers, events)
        hook = Hook(
            triton.runtime.autotuner, persistence, behind, journals=journals, policies=policies
        )
        assert hook.install()
        try:
            yield Tuner(hook, events, behind._pool, simulated)
        finally:
            hook.uninstall()


def release(fifo: Path) -> None:
    """Let those go on that wait for the FIFO; waits until there is one."""
    with fifo.open("w"):
        pass


def binaries(directory: Path) -> dict[str, dict[str, bytes]]:
    """Files of Triton's cache by key and name, tuning results left out."""
    found: dict[str, dict[str, bytes]] = {}
    for path in sorted(directory.rglob("*")):
        if path.is_file() and not path.name.endswith(".autotune.json"):
            found.setdefault(path.parent.name, {})[path.name] = path.read_bytes()
    return found


def cache() -> Path:
    return Path(os.environ["TRITON_CACHE_DIR"])
