"""Starts of a program, one after the other in one process, that share a store and what is kept."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import triton

from tests.fakes import RememberedEvents, compile_log, journals_of
from tests.kernels.replay.replay_kernels import KERNELS
from tuneonce.model.profiles import Profile
from tuneonce.phase import Phases
from tuneonce.replay import warm_up
from tuneonce.replay.process import Replay, build_replay
from tuneonce.replay.warm_up import Warmed
from tuneonce.resolution.access import Access
from tuneonce.resolution.profiles import Profiles
from tuneonce.resolution.resolver import Resolver
from tuneonce.settings import Warm
from tuneonce.store import Store
from tuneonce.store.memory import MemoryStore
from tuneonce.system.threads import BoundedCalls
from tuneonce.testing import SimulatedGPU
from tuneonce.triton.compile.workers import build_workers
from tuneonce.triton.launch.hook import Hook
from tuneonce.triton.launch.persistence import Persistence

NAME = "server 1"


def by_block(launch: Any) -> float:
    """The larger the block, the faster."""
    return 10.0 / float(launch.constants.get("BLOCK", 10))


@dataclass
class Start:
    """One start, while it lasts."""

    gpu: SimulatedGPU
    hook: Hook
    replay: Replay
    phases: Phases
    events: RememberedEvents
    compiled: list[tuple[str, bool]]

    def ready(self) -> Warmed:
        """What `tuneonce.ready` does."""
        warmed = self.replay.warm()
        self.phases.serve()
        self.replay.serve()
        return warmed

    def of(self, event: str) -> list[dict[str, Any]]:
        return [one for one in self.events.seen if one["e"] == event]

    @contextlib.contextmanager
    def nothing_compiled_or_loaded(self) -> Iterator[None]:
        """As Triton itself says: its compiler, its hook after a compile, the device."""
        runtime = triton.knobs.runtime
        told: list[str] = []
        before = runtime.jit_post_compile_hook
        runtime.jit_post_compile_hook = lambda **call: told.append(call["repr"])
        try:
            seen, loaded = len(self.compiled), self.gpu.loaded
            yield
            assert (self.compiled[seen:], self.gpu.loaded - loaded, told) == ([], 0, [])
        finally:
            runtime.jit_post_compile_hook = before


@dataclass
class Program:
    """What lasts from start to start. Triton's cache is the test's own."""

    store: Store = field(default_factory=MemoryStore)
    kept: Path | None = None
    number: int = 0

    @contextlib.contextmanager
    def start(
        self,
        *,
        workers: int = 0,
        kernels: Any = KERNELS,
        sure: bool = True,
        gpu: Any = None,
        background: bool = False,
        guesses: int = 0,
        **warm: Any,
    ) -> Iterator[Start]:
        """A start, in which no kernel has been launched yet. `sure`: errors of ours are raised.

        `background`: the store is asked and written by other threads, as it is in a program.
        `guesses`: how much is made ready at most that no start has launched.
        """
        self.number += 1
        for kernel in kernels:
            kernel.hash = None
            kernel.used_global_vals.clear()
            kernel.pre_run_hooks.clear()
        settings = dataclasses.replace(
            Warm(), **{"profile": NAME, "binaries_mb": 0 if self.kept is None else 64, **warm}
        )
        with (
            mock.patch.object(warm_up, "_MOST_GUESSED", guesses),
            SimulatedGPU(times=by_block, **gpu or {}) as simulated,
            compile_log() as compiled,
        ):
            events = RememberedEvents()
            journals = journals_of(self.store)
            resolver = Resolver(self.store, events, journals=journals)
            calls = BoundedCalls() if background else None
            persistence = Persistence(resolver, events, raise_errors=sure, background=calls)
            behind = build_workers(workers, events)
            phases = Phases()
            replay = build_replay(
                resolver,
                behind,
                persistence,
                phases,
                settings,
                start=f"start{self.number}",
                places=lambda: [] if self.kept is None else [self.kept],
            )
            hook = Hook(
                triton.runtime.autotuner,
                persistence,
                behind,
                journals=journals,
                phases=phases,
                usage=replay.recorder,
            )
            assert hook.install()
            try:
                yield Start(simulated, hook, replay, phases, events, compiled)
            finally:
                replay.close()
                hook.uninstall()

    def profile(self) -> Profile:
        return Profiles(Access(self.store, RememberedEvents()), lambda: NAME).load()

    def recorded(self) -> list[str]:
        """The names of the kernels whose variants are in the profile."""
        return sorted(one.kernel.partition(":")[2] for one in self.profile().variants)


def empty_cache() -> None:
    """Remove what Triton has compiled, as in a new container."""
    shutil.rmtree(os.environ["TRITON_CACHE_DIR"])
