"""Makes ready what earlier starts used: answers of the store, variants of kernels, their modules.

Done when the program has configured itself: at `ready()`, before it says that it is healthy. Then
its own kernels are asked to warm themselves up (`stand_ins`), which puts into their own caches what
a launch would put there, from the binaries in Triton's cache. What is used most comes first, and
what does not fit any more is left out with a counted reason:

==================  ==============================================================================
not_loaded          the kernel's module is not imported, or has no such kernel
parameters          the kernel has other parameters, or takes what has no stand-in
may_change          it is not launched yet, and nobody would see if it changed (`first_launch`), or
                    it has no binary and Triton's cache could not tell what it becomes from it
hooked              something of the program's runs before the kernel is launched
no_binary           there is none, and the time for compiling is over
other_key           Triton makes another key of it: the options of a launch are others now
does_not_run        it was compiled, and does not fit this device
budget              the time is over
not_read            the profile: the store is slow, and has not given it yet
==================  ==============================================================================
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from typing import Any

from ..model.profiles import Profile, UsedVariant
from ..resolution.profiles import Profiles
from ..resolution.resolver import Resolver
from ..system.cpus import usable_cpus
from ..system.forks import renew_in_child
from ..system.greenlets import patched_by
from ..system.patience import Patience
from ..system.threads import start_thread
from ..triton.compile.code_texts import CodeTexts
from ..triton.compile.deadline import Overdue
from ..triton.compile.helper_process import HelperLost
from ..triton.compile.listener import trial
from ..triton.compile.pool import CompilePool
from ..triton.compile.shipment import (
    AlreadyThere,
    NotShippable,
    Shipment,
    key_of,
    shipment_of,
    stopped,
)
from ..triton.compile.worker.frames import BadFrame
from ..triton.compile.workers import Compilation, Workers
from ..triton.kernel import captures
from ..triton.launch.persistence import Persistence
from ..triton.seams import asked_for, caches, compiled, compilers, drivers, kernels, knobs, probing
from ..triton.seams.seam import Feature
from .drift import Moved, moved_constants, with_moved
from .elsewhere import Elsewhere
from .live_kernels import LeftOut, LiveKernel, look_up
from .recorder import Recorder, digest_of
from .specialisations import guesses
from .stand_ins import NoStandIn

logger = logging.getLogger("tuneonce")

# Seconds for reading a profile, and then its verdicts, in a thread that nobody waits for so long.
# Arbitrary: of a store that takes 20 ms a call, some 400 records.
_BEHIND_S = 60.0

# What no start has launched is a guess: so many are made ready at most, and so many seconds are
# spent on compiling some. What takes longer is there at the next start: the helpers go on with
# what they have begun. Arbitrary.
_MOST_GUESSED, _GUESSED_WITHIN_S = 32, 2.0

# Threads that load: most of it is Python under the interpreter's lock, the rest waits for files and
# for the device. Arbitrary.
_THREADS = 4


@dataclass
class Warmed:
    """What was made ready. `guessed` of the variants no start has launched (`specialisations`).
    `known`: it was there already. `seconds` is what it took."""

    variants: int = 0
    guessed: int = 0
    known: int = 0
    compiled: int = 0
    verdicts: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    def leave_out(self, reason: str) -> None:
        self.left_out[reason] = self.left_out.get(reason, 0) + 1


@dataclass(frozen=True)
class _Wanted:
    """A variant that a kernel lacks. `guessed`: no start has launched it."""

    entry: UsedVariant
    kernel: LiveKernel
    guessed: bool


class Warmer:
    """Makes ready what the profile of this program names. Raises nothing.

    `reads` makes the calls that read from the store: nothing waits for one until its end.
    `elsewhere` is what machines share of the profile, if that is wanted.
    """

    def __init__(
        self,
        profiles: Profiles,
        resolver: Resolver,
        recorder: Recorder | None,
        workers: Workers,
        reads: Persistence,
        elsewhere: Elsewhere | None,
        *,
        budget_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._profiles, self._resolver, self._recorder = profiles, resolver, recorder
        self._workers, self._reads, self._events = workers, reads, reads.events
        self._budget_s, self._clock = budget_s, clock
        self._elsewhere = elsewhere
        self._loaded: Profile | None = None
        self._world: str | None = None
        self._is_reading = False
        self._told = 0
        self.renew()
        renew_in_child(self)

    def renew(self) -> None:
        """Also in a forked child, which has no thread that reads."""
        self._loading = threading.Lock()

    @property
    def is_late(self) -> bool:
        """Whether the store has not given the profile yet, or what starts elsewhere needed."""
        return self._budget_s > 0 and (self._loaded is None or self._is_reading)

    def profile(self, within_s: float = _BEHIND_S) -> Profile:
        """What earlier starts used; read once, by the thread that asks first."""
        with self._loading:
            if self._loaded is None:
                self._loaded = self._profiles.load(within_s)
            return self._loaded

    def warm(self, patience: Patience, *, launched_only: bool = False) -> Warmed:
        """Make ready what fits, until the budget is spent.

        Waits for the store as long as there is `patience`. What is late by then is read all the
        same: a verdict answers its launch, and the profile is there for the next call.
        `launched_only`: of kernels that the program has launched already; for programs that do not
        say when they have configured themselves.
        """
        done, began = Warmed(), self._clock()
        if self._budget_s <= 0:
            return done
        self._read(self.profile, patience, wait_s=patience.left)
        elsewhere, loaded = self._elsewhere, self._loaded
        if elsewhere is not None and loaded is not None and loaded.is_young and self._can_warm():
            self._load_shared(elsewhere, patience, waits=not launched_only)
        profile = self._loaded
        if profile is None:
            done.leave_out("not_read")
            profile = Profile()
        elif profile.keys:
            self._read(self._read_verdicts, patience, wait_s=0.0)
        if profile.variants and self._can_warm():
            _Run(self, done, began + self._budget_s, launched_only).run(profile.variants)
        with patience.waiting() as left:
            self._reads.finish(left)
        done.verdicts = self._resolver.prefetched - self._told
        self._told += done.verdicts
        done.seconds = self._clock() - began
        if done.variants or done.compiled or done.left_out or done.verdicts:
            self._events.emit(
                "replay",
                variants=done.variants,
                guessed=done.guessed,
                known=done.known,
                compiled=done.compiled,
                verdicts=done.verdicts,
                left_out=done.left_out,
                seconds=round(done.seconds, 6),
            )
        return done

    def _load_shared(self, elsewhere: Elsewhere, patience: Patience, *, waits: bool) -> None:
        """Read a profile that says little once more, with what starts elsewhere needed."""

        def read(call: Callable[[float], object]) -> None:
            self._read(call, patience, wait_s=patience.left)

        def load(within_s: float) -> None:
            found = self._profiles.load(within_s, world)
            with self._loading:
                self._loaded, self._is_reading = found, False

        world = elsewhere.world(patience, read, waits=waits)
        if world is not None and world != self._world:
            self._world, self._is_reading = world, True
            read(load)

    def _read(self, call: Callable[[float], Any], patience: Patience, *, wait_s: float) -> None:
        """Make a call that reads, for so long as it is given, and wait for it so long."""
        caller = threading.get_ident()

        def read() -> None:
            here = threading.get_ident() == caller  # there are no threads
            call(patience.left if here else _BEHIND_S)

        with patience.waiting():
            self._reads.keep("warm", read, meanwhile=None, wait_s=wait_s)

    def _read_verdicts(self, within_s: float) -> None:
        names = [key.verdict for key in self.profile().keys]
        self._resolver.prefetch(names, until=time.monotonic() + within_s)

    @staticmethod
    def _can_warm() -> bool:
        if probing.missing(Feature.WARM) or knobs.interpreting():
            return False
        return not compilers.compiles_asynchronously()


class _Run:
    """One call of `Warmer.warm`."""

    def __init__(self, warmer: Warmer, done: Warmed, until: float, launched_only: bool) -> None:
        self._recorder, self._workers = warmer._recorder, warmer._workers
        self._clock, self._events = warmer._clock, warmer._events
        self._done, self._until, self._launched_only = done, until, launched_only
        self._kernels: dict[str, LiveKernel | LeftOut] = {}
        self._counting = threading.Lock()
        self._guessed_until: float | None = None

    def run(self, variants: list[UsedVariant]) -> None:
        try:
            device = drivers.current_device()
        except Exception:  # no device: nothing was launched, and nothing will be
            return
        try:
            self._make_all(variants, device)
        finally:
            for touched in self._kernels.values():
                if isinstance(touched, LiveKernel) and touched.unlaunched is not None:
                    touched.unlaunched.settle()

    def _make_all(self, variants: list[UsedVariant], device: Any) -> None:
        there: list[_Wanted] = []
        missing: list[_Wanted] = []
        recorded = list(self._as_of_now(variants))
        guessed = [] if self._launched_only else self._guesses(recorded)
        every = itertools.chain(
            ((entry, False) for entry in recorded), ((entry, True) for entry in guessed)
        )
        for entry, is_guess in every:
            with self._left_out(is_guess):
                if self._clock() > self._until:
                    raise LeftOut("budget")
                if (kernel := self._lacking(entry)) is not None:
                    found = self._has_binary(entry, kernel)
                    wanted = _Wanted(entry, kernel, is_guess)
                    (there if found else missing).append(wanted)
        work = deque[tuple[_Wanted, Compilation | None]]((wanted, None) for wanted in there)
        work.extend(self._compile(missing))

        def make() -> None:
            drivers.use_device(device)
            captures.stand_aside()
            while True:
                try:
                    wanted, compilation = work.popleft()
                except IndexError:
                    return
                self._make(wanted, compilation, device)

        together(make, min(_THREADS, usable_cpus(), len(work)), self._until - self._clock())
        for _ in range(len(work)):  # those threads are stuck, or have ended in an error
            with contextlib.suppress(IndexError):
                (wanted, _) = work.popleft()
                self._leave_out("budget", wanted.guessed)

    def _as_of_now(self, variants: list[UsedVariant]) -> Iterator[UsedVariant]:
        """What is recorded, and what has become of it where constants differ between starts."""
        moved: Moved = {}
        for name, entries in by_kernel(variants).items():
            with contextlib.suppress(LeftOut):
                kernel = self._kernel(name)
                recorded = [entry.variant for entry in entries]
                moved.update(moved_constants(recorded, kernel.variants(), kernel.names))
        seen: set[tuple[str, str]] = set()
        for entry in variants:
            if moved:
                with contextlib.suppress(LeftOut):
                    now = with_moved(entry, self._kernel(entry.kernel).names, moved)
                    if now is not None and _is_new(now, seen):
                        yield now
            if _is_new(entry, seen):
                yield entry

    def _guesses(self, recorded: list[UsedVariant]) -> list[UsedVariant]:
        """What no start has launched, and this one may be asked for; likely ones first."""
        made: list[tuple[int, UsedVariant]] = []
        for name, entries in by_kernel(recorded).items():
            if isinstance(kernel := self._kernels.get(name), LiveKernel):
                free = kernels.specialised_parameters(kernel.jit)
                made += guesses(entries, kernel.names, free)
        made.sort(key=lambda guess: guess[0])
        return [entry for _, entry in made[:_MOST_GUESSED]]

    def _lacking(self, entry: UsedVariant) -> LiveKernel | None:
        """The kernel of a variant, if it lacks that. Raises LeftOut."""
        kernel = self._kernel(entry.kernel)
        if entry.key not in kernel.held:
            return kernel
        with self._counting:
            self._done.known += 1
        return None

    def _kernel(self, name: str) -> LiveKernel:
        known = self._kernels.get(name)
        if known is None:
            try:
                known = look_up(name, self._events, launched_only=self._launched_only)
            except LeftOut as error:
                known = error
            self._kernels[name] = known
        if isinstance(known, LeftOut):
            raise LeftOut(known.reason)
        return known

    def _has_binary(self, entry: UsedVariant, kernel: LiveKernel) -> bool:
        """Whether Triton finds the binary that the kernel asks for now.

        That need not be the recorded one: the source may have changed, or Triton.
        """
        key = key_of(*stopped(kernel.jit, *kernel.call(entry)))
        return caches.can_find_binary(key, kernel.jit.__name__)

    # -- what Triton's cache does not have ---------------------------------------------------

    def _compile(self, missing: list[_Wanted]) -> Iterator[tuple[_Wanted, Compilation | None]]:
        """Have the helpers compile what has no binary; the kernel generates the code here."""
        pool = self._workers.pool() if missing and self._clock() < self._until else None
        guessed: set[Future[Any]] = set()
        for wanted in missing:
            with self._left_out(wanted.guessed):
                if wanted.kernel.may_become_another:
                    raise LeftOut("may_change")
                if pool is None or self._clock() > self._until:
                    raise LeftOut("no_binary")
                if wanted.guessed:
                    guessed = self._await_turn(guessed, pool.workers)
                source = stopped(wanted.kernel.jit, *wanted.kernel.call(wanted.entry))
                # A record alone asks for it: generating code takes no longer than such may take.
                shipment = shipment_of(
                    *source, CodeTexts(), on_its_way=lambda key: False, recorded=True
                )
                compilation = self._compiled_elsewhere(pool, shipment)
                if wanted.guessed and compilation is not None:
                    guessed.add(compilation.future)
                yield wanted, compilation

    def _await_turn(self, guessed: set[Future[Any]], most: int) -> set[Future[Any]]:
        """Wait until no more guesses are on their way than are compiled at once.

        So no more are left to the helpers when their time is over. Raises LeftOut then.
        """
        if self._guessed_until is None:
            self._guessed_until = min(self._until, self._clock() + _GUESSED_WITHIN_S)
        left = self._guessed_until - self._clock()
        if left > 0 and len(guessed) >= most:
            guessed = wait(guessed, left, FIRST_COMPLETED).not_done
        if len(guessed) >= most or self._clock() > self._guessed_until:
            raise LeftOut("no_binary")
        return guessed

    def _compiled_elsewhere(self, pool: CompilePool, shipment: Shipment) -> Compilation | None:
        """None: it is there by now. Raises LeftOut where there is no helper any more."""
        if not self._workers.has(pool):
            raise LeftOut("no_binary")
        try:
            return self._workers.compile(pool, shipment, urgent=True, within="replay")
        except (HelperLost, BadFrame, OSError) as error:
            self._workers.lost(error)
            raise LeftOut("no_binary", str(error)) from error

    def _await(self, compilation: Compilation, until: float) -> None:
        try:
            compilation.future.result(max(0.0, until - self._clock()))
        except Exception as error:  # it does not compile, or not in time
            raise LeftOut("no_binary", str(error)) from error
        with self._counting:
            self._done.compiled += 1

    # -- into the kernel's own cache ---------------------------------------------------------

    def _make(self, wanted: _Wanted, compilation: Compilation | None, device: Any) -> None:
        entry, kernel = wanted.entry, wanted.kernel
        with self._left_out(wanted.guessed):
            if self._clock() > self._until:
                raise LeftOut("budget")
            if compilation is not None:
                until = self._guessed_until if wanted.guessed else None
                self._await(compilation, self._until if until is None else until)
                if not self._has_binary(entry, kernel):
                    raise LeftOut("no_binary", "Triton does not find it")
            # Apart: no launch may find it while it is being loaded.
            twin, taken_up = compiled.apart(kernel.jit, device)
            with trial(), asked_for.putting_nothing(on=kernel.may_become_another):
                one = kernels.warm_up(twin, *kernel.call(entry))
            if not compiled.is_compiled(one):
                raise LeftOut("hooked")
            key = next((key for key, held in taken_up.items() if held is one), "")
            if entry.key and digest_of(str(key)) != entry.key:
                raise LeftOut("other_key")
            try:
                compiled.load(one)
            except Exception as error:  # too large for this device: the launch says so
                raise LeftOut("does_not_run", str(error)) from error
            if (recorder := self._recorder) is not None:
                compiled.on_first_launch(
                    one, lambda: recorder.used(entry) if entry.key else recorder.launched(one)
                )

            def give() -> None:
                compiled.give(kernel.jit, device, {key: one})

            if kernel.unlaunched is None:
                give()
            elif not kernel.unlaunched.give(give):
                raise LeftOut("may_change", "it has, and was launched")
            if wanted.guessed and recorder is not None:
                recorder.keep(one)
            with self._counting:
                self._done.variants += 1
                self._done.guessed += wanted.guessed

    @contextlib.contextmanager
    def _left_out(self, guessed: bool) -> Iterator[None]:
        """Count what is not made ready, but no guesses: nobody has needed them."""
        try:
            yield
        except LeftOut as error:
            self._leave_out(error.reason, guessed)
        except AlreadyThere:
            with self._counting:
                self._done.known += 1
        except NotShippable:
            self._leave_out("hooked", guessed)
        except Overdue:  # no error of the program's, so it is none of those below
            self._leave_out("no_binary", guessed)
        except (NoStandIn, ValueError):
            self._leave_out("parameters", guessed)
        except Exception as error:
            logger.debug("tuneonce: a variant is not made ready", exc_info=True)
            self._leave_out(f"failed:{type(error).__name__}", guessed)

    def _leave_out(self, reason: str, guessed: bool) -> None:
        if guessed:
            return
        with self._counting:
            self._done.leave_out(reason)


def _is_new(entry: UsedVariant, seen: set[tuple[str, str]]) -> bool:
    """Whether no such variant is among those seen, where it is entered.

    Binaries of another source or Triton may have the same variant under the same key.
    """
    text = json.dumps([entry.kernel, entry.variant, entry.options], sort_keys=True)
    if (text, entry.key) in seen or (text, "") in seen:
        return False
    seen.add((text, entry.key))
    return True


def by_kernel(variants: list[UsedVariant]) -> dict[str, list[UsedVariant]]:
    """Variants by the name of their kernel."""
    found: dict[str, list[UsedVariant]] = {}
    for variant in variants:
        found.setdefault(variant.kernel, []).append(variant)
    return found


def together(work: Callable[[], None], threads: int, seconds: float) -> None:
    """Call `work` in so many threads, and wait for them no longer than so many seconds."""
    if threads <= 0:
        return
    if patched_by() is not None:
        work()
        return
    running = []
    for _ in range(threads):
        try:
            running.append(start_thread(work, name="tuneonce-warm"))
        except RuntimeError:  # no more threads
            break
    if not running:
        work()
    by = time.monotonic() + max(0.0, seconds)
    for thread in running:
        thread.join(max(0.0, by - time.monotonic()))
