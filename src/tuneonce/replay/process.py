"""Recording and making ready in one process: its parts, put together."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..activation.imports import when_imported
from ..phase import Phases
from ..resolution.profiles import Profiles
from ..resolution.resolver import Resolver
from ..settings import Warm
from ..system.patience import Patience
from ..system.program import program_name
from ..triton.compile import preparation
from ..triton.compile.workers import Workers
from ..triton.launch.persistence import Persistence
from ..triton.launch.usage import Usage
from ..triton.seams import compilers, lookups, probing
from ..triton.seams.seam import Feature
from .beside import Beside
from .elsewhere import Elsewhere
from .kept_binaries import KeptBinaries
from .recorder import Recorder
from .store_limit import StoreLimit
from .warm_up import Warmed, Warmer

# Seconds that a thread of ours waits until a part is written; the store has bounds of its own.
_WRITTEN_WITHIN_S = 5.0

# Seconds that a thread of ours, for which nobody waits, has for a profile. Arbitrary.
_BESIDE_S = 60.0

# Seconds that the end of a process waits until what it needed is shared. Arbitrary: two records are
# read, and seldom one is written; what is not done by then is at the next start.
_SHARED_AT_THE_END_S = 1.0


class Replay:
    """Recording and making ready in one process."""

    def __init__(
        self,
        recorder: Recorder | None,
        warmer: Warmer,
        binaries: KeptBinaries | None,
        persistence: Persistence,
        profiles: Profiles,
        limit: StoreLimit | None = None,
    ) -> None:
        self.recorder: Usage | None = recorder
        self._recorder, self._warmer, self._binaries = recorder, warmer, binaries
        self._persistence, self._profiles, self._limit = persistence, profiles, limit
        self._beside = self._new_beside()
        self._end_look_up: Callable[[], None] = lambda: None
        # Once Triton's compiler is there: we may be switched on before Triton, or amid its import.
        self._cancel = when_imported(compilers.MODULE, lambda module: self._look_up())

    def _look_up(self) -> None:
        with self._persistence.guarded("binaries"):
            if self._binaries is not None and not probing.missing(Feature.BINARIES):
                self._end_look_up = lookups.look_in(self._binaries)

    def _new_beside(self) -> Beside:
        """Makes ready beside the program, from when it meets something new."""
        beside = Beside(self._warm_beside)
        if self._recorder is not None:
            self._recorder.on_new = beside.stir
        return beside

    def _warm_beside(self) -> None:
        self.warm(Patience(_BESIDE_S), launched_only=True)
        self._keep_limit()  # by a program, too, that never says when it is ready

    def _keep_limit(self) -> None:
        if self._limit is not None:
            self._limit.begin()

    def warm(self, patience: Patience | None = None, *, launched_only: bool = False) -> Warmed:
        """Make ready what earlier starts used; `launched_only`: of kernels that are in use."""
        with self._persistence.guarded("warm"):
            return self._warmer.warm(patience or Patience(), launched_only=launched_only)
        return Warmed()

    def begin(self) -> None:
        """Where earlier starts launched kernels, begin what their first launch waits for."""
        if self._recorder is not None:
            preparation.begin(self._prepare)

    def _prepare(self) -> None:
        with self._persistence.guarded("prepare"):
            if self._warmer.profile().variants:
                preparation.await_triton()
                preparation.digest()

    def await_ready(self) -> None:
        """The program will say when it is ready: nothing is made ready before."""
        self._beside.end()

    def serve(self, patience: Patience | None = None, *, watched: bool = False) -> None:
        """Start-up is over: what it did not use counts as unused.

        What a slow store has not given yet is made ready beside the first requests, unless the
        program is `watched` by what takes that for a fault.
        """
        self._beside.end()
        if self._warmer.is_late and not watched:
            self._beside = self._new_beside()
            self._beside.stir()
        if self._recorder is not None:
            with self._persistence.guarded("profile"):
                self._recorder.serve(patience or Patience())
            self._persistence.keep("tidy", self._tidy, meanwhile=None, wait_s=0.0)
        self._keep_limit()

    def _tidy(self) -> None:
        self._profiles.tidy()
        self._profiles.share()

    def _finish(self, *, complete: bool) -> None:
        if self._recorder is not None:
            with self._persistence.guarded("profile"):
                self._recorder.finish(Patience(), complete=complete)

    def end(self, *, is_server: bool) -> None:
        """The process ends, and what its start has not used counts as unused, if it got far.

        It did not where an error ends it, nor where it is a server that has never served; or one
        that fails at each start would soon have forgotten what it needs.
        """
        failed = getattr(sys, "last_value", None) is not None
        is_complete = not failed and not is_server
        self._finish(complete=is_complete)
        if is_complete and self._recorder is not None:
            share, within_s = self._profiles.share, _SHARED_AT_THE_END_S
            self._persistence.keep("share", share, meanwhile=None, wait_s=within_s)

    def close(self) -> None:
        """Write what is left, and let Triton's cache be."""
        self._cancel()
        self._end_look_up()
        self._beside.end()
        self._finish(complete=False)


def build_replay(
    resolver: Resolver,
    workers: Workers,
    persistence: Persistence,
    phases: Phases,
    settings: Warm,
    *,
    start: str,
    places: Callable[[], list[Path]],
    store_limit: StoreLimit | None = None,
    shared: bool = True,
    await_pulled: Callable[[], object] | None = None,
) -> Replay:
    """The parts of one process. `start` names the start of the program; "" where it has no name.

    `shared`: what starts elsewhere needed is made ready; `await_pulled` as for `Elsewhere`.
    """
    events = persistence.events
    profiles = Profiles(resolver.access, lambda: settings.profile or _own_name())
    binaries = None
    if settings.binaries_mb > 0:
        limit = settings.binaries_mb << 20
        binaries = KeptBinaries(places, limit, events, writes=settings.recorded)

    # The end of a process waits longer for verdicts than for a profile, most of which is there.
    keeps = persistence.apart()

    def keep(what: str, call: Callable[[], Any], patience: Patience | None) -> None:
        with (patience or Patience(_WRITTEN_WITHIN_S)).waiting() as left:
            keeps.keep(what, call, meanwhile=None, wait_s=left)

    recorder = None
    if settings.recorded:
        recorder = Recorder(
            profiles,
            events,
            phases,
            start=start or secrets.token_hex(6),
            keep=keep,
            binaries=binaries,
        )
        if binaries is not None:
            binaries.tell_of_launchers(recorder.took_launcher)
    reads = persistence.apart()
    elsewhere = Elsewhere(profiles, await_pulled) if shared else None
    warmer = Warmer(
        profiles, resolver, recorder, workers, reads, elsewhere, budget_s=settings.budget_s
    )
    return Replay(recorder, warmer, binaries, keeps, profiles, store_limit)


def _own_name() -> str:
    """The name of this program, as far as it was given none."""
    original = getattr(sys, "orig_argv", [])
    code = original[original.index("-c") + 1] if "-c" in original[1:-1] else None
    return program_name(sys.argv, code)
