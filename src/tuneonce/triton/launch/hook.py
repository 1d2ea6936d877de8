"""Replaces ``Autotuner.run``: the same launches as stock, with results that outlive the process.

One launch goes one of three ways.

*Known key* (``run``, the hot path). A function made once per call shape picks the tuning key's
values and the dtypes out of the arguments; one dictionary look-up gives the winner. No lock, no
I/O, no environment variable, no ``str()`` of a dtype. The winner must still be the one in
``self.cache``, so a program that clears or fills that dictionary is obeyed, as with stock.

*Key known to this process* (`_first`). Stock's own key is in ``self.cache`` (filled by another call
shape, or by a subclass): an entry for the hot path is made.

*Cold key* (`_cold`, under the kernel's lock). The store is asked; a winner is adopted, else stock's
own cache file is taken over, else the missing candidates are measured. Threads that meet the same
cold kernel wait for the first. A launch that says nothing about the candidates decides nothing
(`triton.launch.undecided`).

While a CUDA graph is being captured nothing may be measured or synchronised: a winner from the
store is used, else the first candidate, which is not remembered.
"""

from __future__ import annotations

import copy
import logging
import threading
import weakref
from contextlib import closing
from typing import Any

from ...events.progress import Progress
from ...resolution.journal import Journals
from ...settings import Recheck
from ...system.forks import renew_in_child
from ...system.ranks import is_one_of_several
from ..compile.ahead import Ahead
from ..compile.arrivals import await_binary
from ..compile.compile_errors import is_passed_over
from ..compile.listener import CompileListener, compile_seconds
from ..compile.workers import Workers
from ..kernel import device_facts
from ..kernel.call import (
    Cold,
    State,
    arguments_of,
    cache_key_of,
    call_pre_hook,
    entry_for,
    has_plain_dtypes,
    held,
    key_reader,
    launch,
    stock_key_of,
    view_of,
)
from ..kernel.identity import innermost
from ..measure.benchmark import own_benchmark
from ..measure.result import Taken
from ..measure.tuner import Known, reset, tune
from ..seams import compat
from . import stock_results
from .left_behind import Watched
from .persist import Asked, Persistence
from .recheck import Rechecker
from .told import Subject
from .undecided import Undecided, clashes, says_nothing, undecided

logger = logging.getLogger("tuneonce")


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
    ) -> None:
        self._module = module
        self._journals = journals
        self._progress = progress or Progress(on=False)
        self._rechecker: Rechecker | None = None
        if recheck is not Recheck.OFF:
            self._rechecker = Rechecker(persistence, workers, fix=recheck is Recheck.FIX)
        self._undecided = Undecided(persistence, workers)
        self._workers = workers
        self._class = module.Autotuner
        self._persistence = persistence
        self._seams = compat.find(module)
        self._ahead = Ahead(workers, persistence.resolver, persistence.events)
        self._listener = CompileListener(persistence.events)
        self._states: weakref.WeakSet[State] = weakref.WeakSet()
        self._stock_run: Any = None
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
        self._seams = compat.find(self._module)
        if not self._seams.usable:
            cause = self._seams.foreign or f"no usable {', '.join(self._seams.missing)}"
            self._persistence.events.emit("problem", what="stepped_aside", detail=cause)
            logger.warning("tuneonce: stepping aside, Autotuner.run belongs to %s", cause)
            return False
        self._stock_run = self._class.run
        self._class.run = self._run
        self.active = True
        return True

    def uninstall(self) -> None:
        """Restore what was there; under somebody's wrapper we stay and pass on to stock."""
        self._listener.uninstall()
        self._workers.close()
        self._persistence.finish()
        self.active = False
        for state in list(self._states):
            state.shapes = {}
        if self._class.run is self._run:
            self._class.run = self._stock_run

    def finish(self) -> None:
        """Start-up is over."""
        self._workers.finish()
        self._persistence.finish()

    def check(self) -> None:
        """Notice, once, that somebody has replaced ``Autotuner.run`` after us.

        It may call on to us or not; if not, kernels run as whoever came last wants them.
        """
        now = self._class.run
        if self.active and now is not self._run and now is not self._seen_instead:
            self._seen_instead = now
            who = f"{getattr(now, '__module__', '?')}.{getattr(now, '__qualname__', '?')}"
            self._persistence.events.emit("problem", what="replaced", detail=who)
            logger.warning("tuneonce: %s has replaced Autotuner.run and decides now", who)

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
            entry = None
            try:
                keys, key_of, entries = self._tuneonce_state.shapes[shape]
                entry = entries[key_of(args, kwargs)]
            except (AttributeError, KeyError, TypeError):
                # Nothing is called from here: an error of the program would seem caused by ours.
                pass
            if entry is None:
                return first(self, args, kwargs)
            stock_key, config, seen, launch = entry
            cache: Any = self.cache
            found: Any = cache.get(stock_key) if type(cache) is dict else held(cache, stock_key)
            if (
                found is not config
                or config.__dict__ != seen
                or self.keys != keys
                or len(self.configs) <= 1
            ):
                return first(self, args, kwargs)
            self.best_config = config
            if config.pre_hook is not None:
                call_pre_hook(self, config, args, kwargs)
            return self.fn.run(*args, **kwargs, **(launch or config.all_kwargs()))

        run.__wrapped_by__ = "tuneonce"  # type: ignore[attr-defined]
        return run

    def _first(self, autotuner: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not self.active:
            return self._stock_run(autotuner, *args, **kwargs)
        if len(autotuner.configs) <= 1:
            return launch(autotuner, autotuner.configs[0], args, kwargs)
        state = self._state(autotuner)
        nargs = dict(zip(autotuner.arg_names, args, strict=False))
        stock_key = cache_key_of(autotuner, state, stock_key_of(autotuner, nargs, kwargs))
        if stock_key not in autotuner.cache:
            together = own_benchmark(autotuner) and is_one_of_several()
            cold = Cold(autotuner, state, stock_key, nargs, args, kwargs, together)
            if device_facts.capturing():
                return self._capture(cold)
            adopted, why = False, None
            with state.lock:
                if stock_key not in autotuner.cache:
                    with arguments_of(autotuner, nargs):
                        # Pruning functions may be generators: materialise once.
                        pruned = list(autotuner.prune_configs(kwargs))
                        why = undecided(cold, pruned)
                        if why is None:
                            adopted = self._cold(cold, pruned)
                            if device_facts.products():
                                state.ours[stock_key] = autotuner.cache[stock_key]
            if why is not None:
                return self._undecided.launch(cold, pruned, why)
            if adopted:
                return self._try(cold)
        config = autotuner.cache[stock_key]
        self._remember(autotuner, state, stock_key, config, args, kwargs)
        return launch(autotuner, config, args, kwargs)

    def _try(self, cold: Cold) -> Any:
        """The first launch of a winner from the store, which may not run here.

        Triton's key leaves out what the author left out: a constant that decides whether a
        candidate fits. What a benchmark passes over must not end a launch: such a key is tuned here
        as stock would, and its winner is this process's own.
        """
        autotuner, args, kwargs = cold.autotuner, cold.args, cold.kwargs
        config = autotuner.cache[cold.stock_key]
        if self._ahead.begun:
            await_binary(cold, config, self._workers)
        compiled = compile_seconds()
        try:
            result = launch(autotuner, config, args, kwargs)
        except Exception as error:
            if not is_passed_over(error):
                raise
            self._persistence.events.emit(
                "problem", what="winner_does_not_run", detail=f"{config}: {error}"
            )
            with cold.state.lock, arguments_of(autotuner, cold.nargs):
                self._tune(cold, list(autotuner.prune_configs(kwargs)), None)
            config = autotuner.cache[cold.stock_key]
            result = launch(autotuner, config, args, kwargs)
        if compile_seconds() > compiled:  # its binary is gone, and so may be those of others
            self._ahead.begin()
        self._remember(autotuner, cold.state, cold.stock_key, config, args, kwargs)
        return result

    def _state(self, autotuner: Any) -> State:
        state: State | None = autotuner.__dict__.get("_tuneonce_state")
        if state is None:
            with self._new_state:
                state = autotuner.__dict__.setdefault("_tuneonce_state", State())
                self._states.add(state)
        return state

    @staticmethod
    def _remember(
        autotuner: Any,
        state: State,
        stock_key: tuple[Any, ...],
        config: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        shape = (len(args), *kwargs)
        known = state.shapes.get(shape)
        if known is None or known[0] != autotuner.keys:
            product = device_facts.product if device_facts.products() else None
            reader = key_reader(autotuner, shape, product)
            known = (copy.copy(autotuner.keys), reader, {})
            state.shapes[shape] = known
        _, key_of, entries = known
        try:
            if has_plain_dtypes(args, kwargs):
                entries[key_of(args, kwargs)] = entry_for(stock_key, config)
        except (TypeError, AttributeError):
            # A dtype that cannot be hashed, no ordinary Config: such calls go through stock's key.
            return

    # -- a cold key --------------------------------------------------------------------------

    def _cold(self, cold: Cold, pruned: list[Any]) -> bool:
        """Put the winner of a key into the cache. Whether it is adopted, and nothing was run."""
        autotuner, stock_key = cold.autotuner, cold.stock_key
        if len(pruned) == 1 and self._seams.skips_single_candidate:
            autotuner.cache[stock_key] = pruned[0]
            return False
        asked = None
        if not clashes(cold.kwargs, pruned) and not (cold.together and says_nothing(cold, pruned)):
            asked = self._persistence.ask(cold, autotuner, pruned)
        winner = None if asked is None else asked.winner
        if asked is not None and winner is None and not asked.known and not cold.together:
            view = view_of(autotuner, cold.nargs)
            timings = stock_results.take_over(view, stock_key, pruned, world=asked.world)
            winner = asked.take_over(timings) if timings else None
        if asked is not None:
            asked.report()
        if asked is not None and winner is not None:
            if self._rechecker is not None:
                winner = self._rechecker.check(cold, pruned, asked)
            autotuner.cache[stock_key] = winner
            autotuner.configs_timings = asked.timings()
            self._tell_listener(autotuner, stock_key, duration=None)
            return True
        measured = self._tune(cold, pruned, asked)
        self._tell_listener(
            autotuner, stock_key, duration=autotuner.bench_time if measured else None
        )
        autotuner.best_config = autotuner.cache[stock_key]
        if measured and compat.prints():
            print(
                f"Triton autotuning for function {autotuner.base_fn.__name__},\n"
                f"with key as {stock_key},\n"
                f"finished after {autotuner.bench_time:.2f}s,\n"
                f"best config selected: {autotuner.best_config};"
            )
        return False

    def _tune(self, cold: Cold, pruned: list[Any], asked: Asked | None) -> int:
        """Returns how many candidates were measured: none if all are known, and known to fail."""
        autotuner, events = cold.autotuner, self._persistence.events
        subject = Subject(asked, cold, pruned)

        def on_taken(position: int, taken: Taken) -> None:
            line.looked(position)
            if taken.settled:
                subject.measured(events, position, taken)
            if asked is not None:
                asked.taken(position, taken)

        def on_compiled(position: int, seconds: float) -> None:
            line.compiled(position)  # the event is the workers'

        known = Known()
        watched = Watched(self._journals if not cold.together else None, asked, subject, events)
        if asked is not None:
            self._ahead.begin()
            known = Known(measurements=asked.known, prior=asked.prior())
        with closing(watched), subject.line(self._progress) as line:
            tuned = tune(
                cold,
                pruned,
                known,
                self._workers,
                seed=0 if asked is None else asked.seed,
                on_taken=on_taken,
                on_compiled=on_compiled,
                launching=watched.launching,
            )
            winner = tuned.winner
            if asked is not None:
                saved = sum(measurement.seconds for measurement in known.measurements.values())
                winner = asked.publish(winner, tune_s=autotuner.bench_time + saved)
        autotuner.cache[cold.stock_key] = winner
        if tuned.measured:
            reset(cold, winner)
        autotuner.configs_timings = tuned.timings
        if tuned.measured:
            stock_results.keep(
                view_of(autotuner, cold.nargs),
                cold.stock_key,
                pruned,
                tuned.timings,
                winner=winner,
                world=None if asked is None else asked.world,
            )
        if asked is not None and tuned.variants:
            asked.keep_variants(tuned.variants)
        if tuned.measured:
            with self._persistence.guarded("tell"):
                subject.tuned(events, winner, tuned)
                subject.uncompilable(events, tuned)
        return tuned.measured

    @staticmethod
    def _tell_listener(
        autotuner: Any, stock_key: tuple[Any, ...], *, duration: float | None
    ) -> None:
        listener = compat.autotune_listener()
        if listener is not None:
            listener(
                fn=innermost(autotuner.fn),
                key=stock_key,
                best_config=autotuner.cache[stock_key],
                configs_timings=autotuner.configs_timings,
                duration=duration,
                cache_hit=duration is None,
            )

    def _capture(self, cold: Cold) -> Any:
        # No lock is waited for here: the thread that holds it is measuring, which synchronises.
        autotuner, args, kwargs = cold.autotuner, cold.args, cold.kwargs
        view = view_of(autotuner, cold.nargs)
        pruned = list(view.prune_configs(kwargs))
        if (why := undecided(cold, pruned)) is not None:
            return self._undecided.launch(cold, pruned, why)
        asked = self._persistence.ask(cold, view, pruned)
        if asked is not None:
            asked.report()
        if asked is not None and asked.winner is not None:
            autotuner.cache[cold.stock_key] = cold.state.ours[cold.stock_key] = asked.winner
            autotuner.configs_timings = asked.timings()
            self._tell_listener(autotuner, cold.stock_key, duration=None)
            return launch(autotuner, asked.winner, args, kwargs)
        label = Subject(asked, cold, pruned).label
        self._persistence.events.emit("problem", what="cold_in_capture", detail=label)
        return launch(autotuner, pruned[0], args, kwargs)
