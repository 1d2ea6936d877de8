"""Replaces ``Autotuner.run``: the same launches as stock, with results that outlive the process.

One launch goes one of three ways.

*Known key* (`_run`, the hot path). A plan, made once per call shape, picks the tuning key's values
and the dtypes out of the arguments; one dictionary look-up gives the winner. No lock, no I/O, no
environment variable, no ``str()`` of a dtype. The winner must still be the one in ``self.cache``,
so a program that clears or fills that dictionary is obeyed, as with stock.

*Key known to this process* (`_first`). Stock's own key is in ``self.cache`` (filled by another call
shape, or by a subclass): an entry for the hot path is made.

*Cold key* (`_cold`, under the kernel's lock). The store is asked; a winner is adopted, else stock's
own cache file is taken over, else the missing candidates are measured. Threads that meet the same
cold kernel wait for the first.

While a CUDA graph is being captured nothing may be measured or synchronised: a winner from the
store is used, else the first candidate, which is not remembered.
"""

from __future__ import annotations

import logging
import os
import threading
import weakref
from operator import itemgetter
from typing import Any

from ..key import KernelId
from . import compat, probe
from .listen import CompileListener
from .persist import Asked, Persistence, identify
from .source import NoIdentity, innermost
from .tuner import tune

logger = logging.getLogger("tuneonce")

_ATTRIBUTE = "_tuneonce_state"


class _State:
    """What the hook keeps for one autotuner."""

    __slots__ = ("__weakref__", "entries", "identity", "lock", "plans")

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.plans: dict[tuple[Any, ...], _Plan] = {}
        self.entries: dict[tuple[Any, ...], tuple[Any, Any]] = {}
        self.identity: KernelId | NoIdentity | None = None


class _Plan:
    """How to read the tuning key out of the arguments of one call shape.

    A call shape is the number of positional arguments and the names of the keyword arguments in
    their order. `key` gives a tuple that is equal for two calls only if Triton's key is.
    """

    __slots__ = ("_named", "_others", "_shape", "_take")

    def __init__(self, autotuner: Any, shape: tuple[Any, ...]) -> None:
        arg_names = list(autotuner.arg_names)
        names = [*arg_names[: shape[0]], *shape[1:]]
        self._shape = shape
        # A name that is no parameter of the kernel (grid, warmup, num_warps) is not tuned by.
        self._others = [name for name in shape[1:] if name in set(arg_names)]
        picked = [name for name in autotuner.keys if name in names and name in set(arg_names)]
        positions = [arg_names.index(n) for n in picked if n in arg_names[: shape[0]]]
        self._named = [name for name in picked if name in shape[1:]]
        self._take = _getter(positions)

    def key(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        return (
            self._shape,
            self._take(args),
            *[kwargs[name] for name in self._named],
            *[getattr(arg, "dtype", None) for arg in args],
            *[getattr(kwargs[name], "dtype", None) for name in self._others],
        )


def _getter(positions: list[int]) -> Any:
    return itemgetter(*positions) if positions else _none


def _none(args: tuple[Any, ...]) -> None:
    return None


class Hook:
    """The hook of one process, over one version of Triton."""

    def __init__(self, module: Any, persistence: Persistence) -> None:
        self._class = module.Autotuner
        self._persistence = persistence
        self._seams = compat.find(module)
        self._listener = CompileListener(persistence.events)
        self._states: weakref.WeakSet[_State] = weakref.WeakSet()
        self._new_state = threading.Lock()
        self._stock_run: Any = None
        self._run = self._make_run()
        os.register_at_fork(after_in_child=self._after_fork)

    @property
    def seams(self) -> compat.Seams:
        """What was found in this Triton."""
        return self._seams

    def install(self) -> bool:
        """Put the hook in place. False: this Triton is not as expected, and is left alone."""
        if self._class.run is self._run:
            return True
        self._listener.install()
        if not self._seams.usable:
            cause = self._seams.foreign or f"no usable {', '.join(self._seams.missing)}"
            self._persistence.events.emit("problem", what="stepped_aside", detail=cause)
            logger.warning("Autotuner.run is not Triton's own (%s): stepping aside", cause)
            return False
        self._stock_run = self._class.run
        self._class.run = self._run
        return True

    def uninstall(self) -> None:
        """Restore what was there, unless somebody else has replaced it since."""
        self._listener.uninstall()
        if self._class.run is self._run:
            self._class.run = self._stock_run

    def _after_fork(self) -> None:
        # A lock that another thread of the parent held would never be released here.
        self._new_state = threading.Lock()
        for state in list(self._states):
            state.lock = threading.RLock()

    # -- a launch ----------------------------------------------------------------------------

    def _make_run(self) -> Any:
        """The replacement, a plain function so that it binds like the stock method."""
        first = self._first

        def run(self: Any, *args: Any, **kwargs: Any) -> Any:
            state = self.__dict__.get(_ATTRIBUTE)
            key = None
            if state is not None:
                plan = state.plans.get((len(args), *kwargs))
                if plan is not None:
                    key = plan.key(args, kwargs)
                    try:
                        stock_key, config = state.entries[key]
                    except (KeyError, TypeError):
                        pass
                    else:
                        if self.cache.get(stock_key) is config:
                            self.best_config = config
                            if config.pre_hook is not None:
                                _call_pre_hook(self, config, args, kwargs)
                            return self.fn.run(*args, **kwargs, **config.all_kwargs())
            return first(self, args, kwargs)

        run.__wrapped_by__ = "tuneonce"  # type: ignore[attr-defined]
        return run

    def _first(self, autotuner: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if len(autotuner.configs) <= 1:
            return self._launch(autotuner, autotuner.configs[0], args, kwargs)
        state = self._state(autotuner)
        nargs = dict(zip(autotuner.arg_names, args, strict=False))
        stock_key = _stock_key(autotuner, nargs, kwargs)
        if stock_key not in autotuner.cache:
            if probe.capturing():
                return self._capture(autotuner, state, nargs, args, kwargs)
            with state.lock:
                if stock_key not in autotuner.cache:
                    before = autotuner.__dict__.get("nargs")
                    autotuner.nargs = nargs
                    try:
                        self._cold(autotuner, state, stock_key, nargs, args, kwargs)
                    finally:
                        autotuner.nargs = before
        config = autotuner.cache[stock_key]
        self._remember(autotuner, state, stock_key, config, args, kwargs)
        return self._launch(autotuner, config, args, kwargs)

    @staticmethod
    def _launch(autotuner: Any, config: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        autotuner.best_config = config
        if config.pre_hook is not None:
            _call_pre_hook(autotuner, config, args, kwargs)
        return autotuner.fn.run(*args, **kwargs, **config.all_kwargs())

    def _state(self, autotuner: Any) -> _State:
        state: _State | None = autotuner.__dict__.get(_ATTRIBUTE)
        if state is None:
            with self._new_state:
                state = autotuner.__dict__.setdefault(_ATTRIBUTE, _State())
                self._states.add(state)
        return state

    @staticmethod
    def _remember(
        autotuner: Any,
        state: _State,
        stock_key: tuple[Any, ...],
        config: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        shape = (len(args), *kwargs)
        plan = state.plans.get(shape)
        if plan is None:
            plan = state.plans[shape] = _Plan(autotuner, shape)
        try:
            state.entries[plan.key(args, kwargs)] = (stock_key, config)
        except TypeError:
            return  # a dtype that cannot be hashed: such calls go through stock's key

    # -- a cold key --------------------------------------------------------------------------

    def _cold(
        self,
        autotuner: Any,
        state: _State,
        stock_key: tuple[Any, ...],
        nargs: dict[str, Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        # Pruning functions may be generators: materialise once.
        pruned = list(autotuner.prune_configs(kwargs))
        if len(pruned) == 1 and self._seams.skips_single_candidate:
            autotuner.cache[stock_key] = pruned[0]
            return
        asked = self._ask(autotuner, state, nargs, kwargs, pruned)
        winner = None if asked is None else asked.winner
        if asked is not None and winner is None and not asked.known:
            winner = self._take_over(autotuner, stock_key, pruned, asked)
        if asked is not None:
            asked.report()
        if asked is not None and winner is not None:
            autotuner.cache[stock_key] = winner
            autotuner.configs_timings = asked.timings()
            self._tell_listener(autotuner, stock_key, duration=None)
            return
        self._tune(autotuner, stock_key, args, kwargs, pruned, asked)
        self._tell_listener(autotuner, stock_key, duration=autotuner.bench_time)
        autotuner.best_config = autotuner.cache[stock_key]
        if compat.prints():
            print(
                f"Triton autotuning for function {autotuner.base_fn.__name__},\n"
                f"with key as {stock_key},\n"
                f"finished after {autotuner.bench_time:.2f}s,\n"
                f"best config selected: {autotuner.best_config};"
            )

    def _ask(
        self,
        autotuner: Any,
        state: _State,
        nargs: dict[str, Any],
        kwargs: dict[str, Any],
        pruned: list[Any],
    ) -> Asked | None:
        if state.identity is None:
            state.identity = identify(autotuner)
        return self._persistence.ask(autotuner, nargs, kwargs, pruned, state.identity)

    def _tune(
        self,
        autotuner: Any,
        stock_key: tuple[Any, ...],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        pruned: list[Any],
        asked: Asked | None,
    ) -> None:
        label = asked.label if asked is not None else type(autotuner).__name__
        events = self._persistence.events
        compile_total = 0.0
        count = 0

        def measured(position: int, result: Any, seconds: float, compile_s: float) -> None:
            nonlocal compile_total, count
            compile_total += compile_s
            count += 1
            events.emit(
                "measure",
                kernel=label,
                candidate=str(pruned[position]),
                seconds=round(seconds, 6),
                compile_s=round(compile_s, 6),
            )
            if asked is not None:
                asked.measured(position, result, seconds, compile_s)

        known = {} if asked is None else asked.known
        timings, winner = tune(
            autotuner, args, kwargs, pruned, known=known, on_measured=measured
        )
        if asked is not None:
            saved = sum(measurement.seconds for measurement in known.values())
            winner = asked.publish(winner, tune_s=autotuner.bench_time + saved)
        autotuner.cache[stock_key] = winner
        autotuner.configs_timings = timings
        if count:
            events.emit(
                "tune",
                kernel=label,
                candidates=len(pruned),
                measured=count,
                seconds=round(autotuner.bench_time, 6),
                compile_s=round(compile_total, 6),
            )

    @staticmethod
    def _take_over(
        autotuner: Any, stock_key: tuple[Any, ...], pruned: list[Any], asked: Asked
    ) -> Any | None:
        """What stock Triton's own cache file says, found by Triton's own code."""
        if compat.interpreting():
            return None
        before = autotuner.__dict__.pop("configs_timings", None)
        try:
            found = autotuner.check_disk_cache(stock_key, pruned, _no_file)
            timings = autotuner.__dict__.get("configs_timings")
        except Exception:  # no file; or one that is corrupt, which stock would raise in the launch
            return None
        finally:
            autotuner.cache.pop(stock_key, None)
            autotuner.__dict__.pop("configs_timings", None)
            if before is not None:
                autotuner.configs_timings = before
        return asked.take_over(timings) if found and timings else None

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

    def _capture(
        self,
        autotuner: Any,
        state: _State,
        nargs: dict[str, Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        # Never wait here: the thread that holds the lock is measuring, which synchronises.
        asked, config = None, autotuner.configs[0]
        if state.lock.acquire(blocking=False):
            before = autotuner.__dict__.get("nargs")
            autotuner.nargs = nargs
            try:
                pruned = list(autotuner.prune_configs(kwargs))
                asked = self._ask(autotuner, state, nargs, kwargs, pruned)
                config = pruned[0]
            finally:
                autotuner.nargs = before
                state.lock.release()
        if asked is not None:
            asked.report()
        if asked is not None and asked.winner is not None:
            config = asked.winner
        else:
            label = type(autotuner).__name__ if asked is None else asked.label
            self._persistence.events.emit("problem", what="cold_in_capture", detail=label)
        return self._launch(autotuner, config, args, kwargs)


class _NoFile(Exception):
    """Triton's own cache has no result for this key."""


def _no_file() -> None:
    raise _NoFile


def _call_pre_hook(
    autotuner: Any, config: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    nargs = dict(zip(autotuner.arg_names, args, strict=False))
    config.pre_hook({**nargs, **kwargs, **config.all_kwargs()})


def _stock_key(
    autotuner: Any, nargs: dict[str, Any], kwargs: dict[str, Any]
) -> tuple[Any, ...]:
    """The key under which Triton keeps a winner in ``Autotuner.cache``."""
    arg_names = autotuner.arg_names
    arguments = {k: v for k, v in {**nargs, **kwargs}.items() if k in arg_names}
    key = [arguments[name] for name in autotuner.keys if name in arguments]
    key += [str(arg.dtype) for arg in arguments.values() if hasattr(arg, "dtype")]
    return tuple(key)
