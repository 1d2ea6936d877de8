"""Replaces ``Autotuner.run``: the same launches as stock, with results that outlive the process.

One launch goes one of three ways.

*Known key* (``run``, the hot path). A function made once per call shape picks the tuning key's
values and the dtypes out of the arguments, another what decides the launch's size; two dictionary
look-ups give the winner. No lock, no I/O, no environment variable, no ``str()`` of a dtype, and the
grid is not evaluated. ``self.cache`` must still hold a winner of ours, so a program that clears or
fills that dictionary is obeyed, as with stock.

*Known class* (`Known.meet`). The key is known, and this size was not met: its grid is evaluated,
and an entry for the hot path is made.

*Key known to this process* (`_first`). Stock's own key is in ``self.cache`` (filled by another call
shape, or by a subclass): an entry for the hot path is made.

*Cold key or class* (`launch.cold_path`): everything else.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ...events.progress import Progress
from ...phase import Phases
from ...policies import Numerics, Policies
from ...resolution.journal import Journals
from ...settings import Recheck
from ...system.claims import Claims
from ...system.forks import renew_in_child
from ...system.ranks import is_one_of_several
from ..compile.listener import CompileListener
from ..compile.workers import Workers
from ..kernel import device_facts
from ..kernel.autotuner_state import AutotunerState, forget_all
from ..kernel.call import cache_key_of, call_pre_hook, launch, launch_cached, stock_key_of
from ..kernel.fixed_classes import FixedClasses
from ..kernel.key_classes import KeyClasses
from ..kernel.known_winners import Entry, Explored, Known, known_of, winner_in
from ..kernel.session import Session
from ..kernel.sizes import size_of
from ..measure.benchmark import own_benchmark
from ..seams import hookable, parsing, probing
from .cold_path import ColdPath
from .persistence import Persistence
from .recheck import Rechecker
from .usage import Usage

logger = logging.getLogger("tuneonce")

# A launch waits so long to see whether another thread of ours or the program has changed a winner.
# Arbitrary: a thread puts one in place in microseconds, and may tune for seconds.
_PATIENCE_S = 0.05

if TYPE_CHECKING:
    from ...replica.link import Link


class Hook:
    """The hook of one process, over one version of Triton."""

    def __init__(
        self,
        module: Any,
        persistence: Persistence,
        workers: Workers,
        *,
        progress: Progress | None = None,
        recheck: Recheck = Recheck.OFF,
        journals: Journals | None = None,
        phases: Phases | None = None,
        policies: Policies | None = None,
        usage: Usage | None = None,
        claims: Claims | None = None,
        apart: Sequence[str] = (),
        remote: Link | None = None,
    ) -> None:
        self._module = module
        rechecker = None
        if recheck is not Recheck.OFF:
            rechecker = Rechecker(persistence, workers, fix=recheck is Recheck.FIX)
        self._cold_path = ColdPath(
            persistence,
            workers,
            progress=progress,
            rechecker=rechecker,
            journals=journals,
            phases=phases,
            policies=policies,
            usage=usage,
            claims=claims,
            apart=apart,
            remote=remote,
        )
        policies = policies or Policies()
        self._by_class = policies.work_classes
        self._is_fixed = policies.deterministic
        self._numerics = Numerics.OFF if policies.deterministic else policies.numerics
        self._look_share = policies.look_share
        self._workers = workers
        self._class = module.Autotuner
        self._persistence = persistence
        self._listener = CompileListener(
            persistence.events, on_variant=None if usage is None else usage.compiled
        )
        self._stock_run: Any = None
        self._end_turns: Callable[[], None] = lambda: None
        self.active = False
        self._seen_instead: Any = None
        self._run = self._make_run()
        self.renew()
        renew_in_child(self)

    def install(self) -> bool:
        """Put the hook in place. False: this Triton is not as expected, and is left alone."""
        if self._class.run is self._run:
            return True
        self._listener.install()
        seams = hookable.find(self._module)
        if not seams.usable:
            cause = seams.foreign or f"no usable {', '.join(seams.missing)}"
            self._persistence.events.emit("problem", what="stepped_aside", detail=cause)
            logger.warning("tuneonce: stepping aside, Autotuner.run belongs to %s", cause)
            return False
        self._cold_path.skips_single_candidate = seams.skips_single_candidate
        probing.begin(self._module, self._seam_is_missing)
        self._stock_run = self._class.run
        self._class.run = self._run
        self._end_turns = parsing.take_turns()
        self.active = True
        return True

    def uninstall(self) -> None:
        """Restore what was there; under another wrapper ours stays and passes on to stock."""
        self._listener.uninstall()
        self._cold_path.exploration.close()
        self._workers.close()
        self._persistence.finish()
        self.active = False
        self._end_turns()
        probing.end()
        forget_all()
        if self._class.run is self._run:
            self._class.run = self._stock_run

    def _seam_is_missing(self, reason: str) -> None:
        self._persistence.events.emit("problem", what="seam_missing", detail=reason)
        logger.warning("tuneonce: off, since Triton is not as it was read: %s", reason)

    def finish(self, seconds: float) -> None:
        """Start-up is over. Waits so long, at most, until the store has what it was given."""
        self._workers.finish()
        self._persistence.finish(seconds)

    def check(self) -> None:
        """Notice, once, that ``Autotuner.run`` was replaced after us.

        The replacement may call ours or not; if not, kernels run as it decides.
        """
        now = self._class.run
        if self.active and now is not self._run and now is not self._seen_instead:
            self._seen_instead = now
            name = f"{getattr(now, '__module__', '?')}.{getattr(now, '__qualname__', '?')}"
            self._persistence.events.emit("problem", what="replaced", detail=name)
            logger.warning("tuneonce: %s has replaced Autotuner.run and decides now", name)

    def renew(self) -> None:
        """Also in a forked child, where a lock that another thread held would never be free."""
        # Reentrant: a signal handler may launch a kernel while this thread holds it.
        self._new_state = threading.RLock()

    # -- a launch ----------------------------------------------------------------------------

    def _make_run(self) -> Any:
        """The replacement, a plain function so that it binds like the stock method."""
        first = self._first

        def run(self: Any, *args: Any, **kwargs: Any) -> Any:
            shape = (len(args), *kwargs)
            known = entry = size = None
            try:
                keys, key_of, of_shape = self._tuneonce_state.shapes[shape]
                known = of_shape[key_of(args, kwargs)]
                size = known.size_of(args, kwargs)
                entry = known.entries.get(size)
            except Exception:
                # Nothing is called from here: an error of the program would seem caused by ours.
                pass
            if entry is None:
                if known is None or known.classes is None:
                    return first(self, args, kwargs)
                entry = known.meet(self, args, kwargs, size)
                if entry is None:
                    return first(self, args, kwargs, known)
            stock_key, config, seen, launch, classes = entry
            cache: Any = self.cache
            found: Any = (
                cache.get(stock_key) if type(cache) is dict else winner_in(cache, stock_key)
            )
            if (
                (
                    found is not config
                    and (classes is None or not classes.switches(cache, found, config))
                )
                or config.__dict__ != seen
                or self.keys != keys
                or len(self.configs) <= 1
            ):
                return first(self, args, kwargs, known, entry)
            self.best_config = config
            if config.pre_hook is not None:
                call_pre_hook(self, config, args, kwargs)
            return self.fn.run(*args, **kwargs, **(launch or config.all_kwargs()))

        run.__wrapped_by__ = "tuneonce"  # type: ignore[attr-defined]
        return run

    def _first(
        self,
        autotuner: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        known: Known | None = None,
        entry: Entry | None = None,
    ) -> Any:
        """A launch that the hot path does not know; `known` and `entry` are what it found, which
        may not hold any more."""
        if not self.active:
            return self._stock_run(autotuner, *args, **kwargs)
        if len(autotuner.configs) <= 1:
            return launch(autotuner, autotuner.configs[0], args, kwargs)
        if known is not None and known.classes is not None:
            launched, result = self._of_known_key(autotuner, known, entry, args, kwargs)
            if launched:
                return result
        state = self._state(autotuner)
        nargs = dict(zip(autotuner.arg_names, args, strict=False))
        stock_key = cache_key_of(autotuner, state, stock_key_of(autotuner, nargs, kwargs))
        own = own_benchmark(autotuner)
        classes = None
        if self._by_class if self._is_fixed else not own:
            classes = self._classes(autotuner, state, stock_key)
        is_one = classes is None or classes.single or not classes.winners
        if is_one and stock_key in autotuner.cache:
            return launch_cached(autotuner, state, stock_key, args, kwargs)
        if classes is not None and (classes.winners or classes.exploring):
            known = known_of(state.shapes, autotuner, classes, args, kwargs)
            launched, result = self._of_known_key(autotuner, known, None, args, kwargs)
            if launched:
                return result
        together = own and is_one_of_several()
        session = Session(
            autotuner,
            state,
            stock_key,
            nargs,
            args,
            kwargs,
            own,
            together,
            classes=classes,
            numerics=self._numerics,
            look_share=self._look_share,
        )
        if device_facts.capturing():
            return self._cold_path.capture(session)
        return self._cold_path.launch(session)

    def _of_known_key(
        self,
        autotuner: Any,
        known: Known,
        entry: Entry | None,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> tuple[bool, Any]:
        """A launch of a key that has classes: whether it was launched, and what Triton returned.

        Not where its class was not met yet, or the program has decided.
        """
        classes: KeyClasses = known.classes
        if classes.keys != autotuner.keys:
            return False, None
        cache = autotuner.cache
        found = winner_in(cache, classes.stock_key)
        if found is None:
            if classes.winners:
                return False, None
        elif not classes.is_ours(found):
            return False, None
        if classes.is_fixed:
            entry = known.meet(autotuner, args, kwargs)
            if entry is None:
                return False, None
            if found is not entry.config:
                classes.launched(cache, entry.config)
            return True, launch(autotuner, entry.config, args, kwargs)
        warmup = kwargs.get("warmup")
        go_on = self._cold_path.exploration.go_on
        held = None if entry is None else entry.config
        if (
            type(held) is Explored
            and not held.explored.ended
            and not warmup
            and not known.by_arguments  # which do not tell the size of each launch
        ):
            return True, go_on(held.explored, held.extent, args, kwargs)
        size = None if warmup else size_of(autotuner, args, kwargs, classes.first, code=known.code)
        if size is None or size.work.programs == 0:  # it decides nothing
            if found is None:
                return False, None
            return True, launch(autotuner, found, args, kwargs)
        entry = classes.entry_of(size.work)
        if entry is None:
            return False, None
        known.keep(entry, size, autotuner, args, kwargs)
        if type(entry.config) is Explored:
            return True, go_on(entry.config.explored, entry.config.extent, args, kwargs)
        config = entry.config
        if config.__dict__ != entry.seen:  # the program has changed it
            classes.put(cache, classes.name(size.work), config)
            entry = classes.entry_of(size.work)
            assert entry is not None
            known.keep(entry, size, autotuner, args, kwargs)
        if found is not config:
            classes.launched(cache, config)
        return True, launch(autotuner, config, args, kwargs)

    def _classes(
        self, autotuner: Any, state: AutotunerState, stock_key: tuple[Any, ...]
    ) -> KeyClasses:
        """The classes of a key; those that are known, while the cache holds a winner of theirs."""
        classes: KeyClasses | None = state.classes.get(stock_key)
        found = winner_in(autotuner.cache, stock_key)
        if classes is not None and not self._stand(classes, autotuner, found):
            # Another thread may be about to put one there. Where it tunes for longer, whatever the
            # cache holds is launched, this time.
            if not state.lock.acquire(timeout=_PATIENCE_S):
                return self._new_classes(autotuner, stock_key)
            try:
                found = winner_in(autotuner.cache, stock_key)
                if not self._stand(classes, autotuner, found):
                    classes.end()
                    state.classes.pop(stock_key, None)
                    classes = None
            finally:
                state.lock.release()
        if classes is None:
            classes = state.classes.setdefault(stock_key, self._new_classes(autotuner, stock_key))
        return classes

    def _new_classes(self, autotuner: Any, stock_key: tuple[Any, ...]) -> KeyClasses:
        if self._is_fixed:
            return FixedClasses(autotuner, stock_key)
        return KeyClasses(autotuner, stock_key, single=not self._by_class)

    @staticmethod
    def _stand(classes: KeyClasses, autotuner: Any, found: Any) -> bool:
        if classes.keys != autotuner.keys:
            return False
        return not classes.winners if found is None else classes.is_ours(found)

    def _state(self, autotuner: Any) -> AutotunerState:
        state: AutotunerState | None = autotuner.__dict__.get("_tuneonce_state")
        if state is None:
            with self._new_state:
                state = autotuner.__dict__.setdefault("_tuneonce_state", AutotunerState())
        return state
