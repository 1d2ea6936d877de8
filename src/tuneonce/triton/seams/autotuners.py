"""``triton.runtime.autotuner``: the class that the hook works on."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from . import hookable, run_versions
from .seam import Feature, Finding, Seam, as_read, can_be_called, follow

MODULE = "triton.runtime.autotuner"

# Methods that the observer wraps, by their names.
PRUNE, BENCH = hookable.PRUNE, hookable.BENCH


def is_autotuner(value: Any) -> bool:
    """Whether something is tuned as an ``Autotuner`` is, whatever its class."""
    return hasattr(value, "configs") and hasattr(value, PRUNE)


def prune(autotuner: Any, kwargs: Mapping[str, Any]) -> list[Any]:
    """The candidates of a launch: ``prune_configs``, which reads the call from ``nargs``."""
    # Pruning functions may be generators: materialise once.
    return list(autotuner.prune_configs(kwargs))


def makes_up_candidates(autotuner: Any) -> bool:
    """Whether the kernel's author prunes, and may return candidates that are in no list."""
    return getattr(autotuner, "early_config_prune", None) is not None


def prunes(autotuner: Any) -> bool:
    """Whether the candidates of a launch may be others than those of another launch."""
    by = (getattr(autotuner, name, None) for name in ("early_config_prune", "perf_model"))
    if any(one is not None for one in by):
        return True
    return getattr(autotuner.prune_configs, "__func__", None) is not _own_prune()


def _own_prune() -> Any:
    return getattr(follow(MODULE, "Autotuner"), PRUNE)


def bench(autotuner: Any, args: Sequence[Any], config: Any, kwargs: Mapping[str, Any]) -> Any:
    """``_bench``: launch a candidate with all its hooks in a benchmark function.

    Returns what that returns, infinite times for a candidate that Triton passes over.
    """
    return autotuner._bench(*args, config=config, **kwargs)


def reset(autotuner: Any, arguments: Mapping[str, Any]) -> None:
    """Clear what measured launches have left in the caller's buffers: the autotuner's pre-hook."""
    autotuner.pre_hook(arguments, reset_only=True)


def timings(autotuner: Any) -> Any:
    """``configs_timings``, which `run` leaves there; None before."""
    return vars(autotuner).get("configs_timings")


def set_timings(autotuner: Any, timings: Mapping[Any, Any]) -> None:
    """As `run` leaves them: programs and Triton's listener read them."""
    autotuner.configs_timings = timings


def forget_timings(autotuner: Any) -> None:
    vars(autotuner).pop("configs_timings", None)


def tuning_seconds(autotuner: Any) -> float:
    """``bench_time``, which `run` leaves there and prints."""
    return autotuner.bench_time


def set_tuning_seconds(autotuner: Any, seconds: float) -> None:
    autotuner.bench_time = seconds


def function(autotuner: Any) -> Any:
    """The Python function under an autotuner and all that it wraps."""
    return autotuner.base_fn


def keeps_results(autotuner: Any) -> bool:
    """Whether Triton keeps this one's results in its cache."""
    return bool(getattr(autotuner, "cache_results", False))


def is_tritons_config(config: Any) -> bool:
    """Whether a candidate is of Triton's own class, and no subclass."""
    return type(config).__module__ == MODULE


def is_tritons(function: Any) -> bool:
    """Whether a function was made in the autotuner's module."""
    return getattr(function, "__globals__", None) is vars(sys.modules[MODULE])


# -- probes ----------------------------------------------------------------------------------


def sample(**options: Any) -> Any:
    """An autotuner of nothing, made by Triton; None where a program makes them its own way.

    Asking that one for another would run the program's code.
    """
    kind = follow(MODULE, "Autotuner")
    if not is_tritons(kind.__init__):
        return None
    return kind(_nothing, ["x"], [], [], None, None, **options)


def _nothing() -> None:
    """A kernel that is none."""


def _run_is_read() -> Finding:
    """What `run` reads and leaves is as it was read if `run` is, which is known by its text."""
    run = follow(MODULE, "Autotuner.run")
    return as_read(not is_tritons(run) or run_versions.recognise(run) is not None)


def set_by_init(name: str) -> Callable[[], Finding]:
    """A probe: an attribute that every autotuner has from the start."""

    def probe() -> Finding:
        one = sample()
        if one is None:
            return Finding.AS_READ
        return Finding.AS_READ if name in vars(one) else Finding.ABSENT

    return probe


SEAMS = (
    Seam(
        "Autotuner.run",
        MODULE,
        (Feature.HOOK,),
        "is replaced, if its text is one that was read (`run_versions`)",
        _run_is_read,
    ),
    Seam(
        "Autotuner._bench",
        MODULE,
        (Feature.HOOK, Feature.OBSERVER),
        "measures one candidate, and decides what is launched for it",
        can_be_called(MODULE, f"Autotuner.{BENCH}", "self", "argument", config="config"),
        names=("_bench",),
    ),
    Seam(
        "Autotuner.prune_configs",
        MODULE,
        (Feature.HOOK, Feature.OBSERVER, Feature.COMPILE_AHEAD),
        "says what the candidates of a launch are",
        can_be_called(MODULE, f"Autotuner.{PRUNE}", "self", "kwargs"),
        names=("prune_configs",),
    ),
    Seam(
        "Autotuner.configs_timings, bench_time, base_fn, pre_hook(reset_only)",
        MODULE,
        (Feature.HOOK,),
        "what `run` leaves, prints and calls at its end; known by its text, too",
        _run_is_read,
        names=("configs_timings", "bench_time", "base_fn"),
        words=("pre_hook",),
    ),
    Seam(
        "Autotuner.base_fn",
        MODULE,
        (Feature.OBSERVER,),
        "names the kernel in events",
        set_by_init("base_fn"),
    ),
    Seam(
        "Autotuner.early_config_prune",
        MODULE,
        (Feature.COMPILE_AHEAD,),
        "says whether there may be candidates that are in no list",
        set_by_init("early_config_prune"),
        words=("early_config_prune", "perf_model"),
    ),
    Seam(
        "Autotuner.cache_results",
        MODULE,
        (Feature.STOCK_FILES,),
        "says whether Triton keeps this kernel's results",
        set_by_init("cache_results"),
        names=("cache_results",),
    ),
)
