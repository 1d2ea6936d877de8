"""What differs between Triton versions, found by looking rather than by version numbers."""

from __future__ import annotations

import hashlib
import inspect
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from . import run_versions

AUTOTUNER_MODULE = "triton.runtime.autotuner"

# The methods and attributes that the hook calls or replaces, with the parameters it relies on.
_SEAMS = {
    "run": ("self", "args", "kwargs"),
    "_bench": ("self", "args", "config", "meta"),
    "prune_configs": ("self", "kwargs"),
    "check_disk_cache": ("self", "tuning_key", "configs", "bench_fn"),
}


@dataclass(frozen=True)
class Seams:
    """What was found in the Triton at hand.

    `missing` names what is not as expected, a `run` that nobody has read among it: the hook then
    leaves Triton alone. `foreign` names who has replaced ``Autotuner.run`` before us, if anybody
    has.
    """

    version: str
    missing: tuple[str, ...]
    foreign: str | None
    skips_single_candidate: bool

    @property
    def usable(self) -> bool:
        return not self.missing and self.foreign is None


def find(module: ModuleType) -> Seams:
    """Look at Triton's autotuner module; changes nothing."""
    cls = module.Autotuner
    run = getattr(cls, "run", None)
    # Not by __module__, which functools.wraps copies: who wraps `run` would be left out.
    scope = getattr(run, "__globals__", {})
    name = getattr(getattr(run, "__code__", None), "co_name", type(run).__name__)
    foreign = None if scope is vars(module) else f"{scope.get('__name__', '?')}.{name}"
    missing = tuple(name for name, wanted in _SEAMS.items() if not _fits(cls, name, wanted))
    read = run_versions.recognise(run) if foreign is None and not missing else None
    if foreign is None and not missing and read is None:
        missing = ("run: it is of no version that was read",)
    return Seams(
        version=str(getattr(sys.modules.get("triton"), "__version__", "unknown")),
        missing=missing,
        foreign=foreign,
        skips_single_candidate=read is not None and read.skips_single_candidate,
    )


def _fits(cls: type, name: str, wanted: tuple[str, ...]) -> bool:
    method = getattr(cls, name, None)
    if method is None:
        return False
    if name == "run":  # may be foreign, which is reported as such
        return True
    return tuple(inspect.signature(method).parameters)[: len(wanted)] == wanted


def passed_over() -> tuple[type[Exception], ...]:
    """The errors that a benchmark in Triton passes over: the candidate does not compile or fit."""
    found = [
        getattr(sys.modules.get(module), name, None)
        for module, name in (
            (AUTOTUNER_MODULE, "OutOfResources"),
            (AUTOTUNER_MODULE, "PTXASError"),
            ("triton.compiler.errors", "CompileTimeAssertionFailure"),
        )
    ]
    return tuple(error for error in found if error is not None)


def autotune_listener() -> Any:
    """Triton's autotune listener, where the version has one and somebody set it."""
    knobs = sys.modules.get("triton.knobs")
    return getattr(getattr(knobs, "autotuning", None), "listener", None)


def prints() -> bool:
    """Whether ``TRITON_PRINT_AUTOTUNING`` is on; read at each tuning, as stock Triton does."""
    knobs: Any = sys.modules.get("triton.knobs")
    return bool(knobs.autotuning.print)


def interpreting() -> bool:
    """Whether kernels run in Triton's interpreter."""
    knobs: Any = sys.modules.get("triton.knobs")
    return bool(knobs.runtime.interpret)


def covers(constant: Any, jit: Any) -> bool:
    """Whether Triton's digest of a kernel holds all that its code takes from this global.

    Its code generator takes constexprs only, plain values end in an error. Older versions (3.4)
    digest no values at all.
    """
    knobs: Any = sys.modules["triton.knobs"]
    if knobs.compilation.allow_non_constexpr_globals:
        return False
    if type(constant).__name__ != "constexpr":
        return True
    return "constexpr" in inspect.getsource(type(jit).cache_key.fget)


def binary_key(src: Any, backend: Any, options: Any) -> str:
    """The name under which Triton keeps the binary of `src`."""
    from triton._C.libtriton import get_cache_invalidating_env_vars

    variables = str(sorted(get_cache_invalidating_env_vars().items()))
    key = f"{triton_key()}-{src.hash()}-{backend.hash()}-{options.hash()}-{variables}"
    return hashlib.sha256(key.encode("utf-8")).hexdigest()


def triton_key() -> str:
    """Triton's digest of its own installation; half a second the first time."""
    for module in ("triton.runtime.cache", "triton.compiler.compiler"):
        if (function := getattr(sys.modules.get(module), "triton_key", None)) is not None:
            return str(function())
    raise LookupError("triton_key")


class NotPlain(Exception):
    """The program has set a knob to what no other process can have."""


# Groups of knobs that the compiler reads, and what in them it does not read: who listens, what
# builds launchers, what keeps binaries.
_COMPILER_KNOBS = ("build", "cache", "compilation", "language", "nvidia", "amd")
_NOT_READ = frozenset({"listener", "impl", "manager_class", "remote_manager_class"})


def language_knobs() -> str:
    """All knobs that the code generator may read, with their values at the moment."""
    knobs: Any = sys.modules["triton.knobs"]
    groups = (getattr(knobs, name, None) for name in ("language", "compilation"))
    return repr([sorted(getattr(group, "knobs", {}).items()) for group in groups])


def set_knobs() -> dict[str, dict[str, Any]]:
    """Knobs that the program has set, by group. Raises NotPlain."""
    knobs: Any = sys.modules["triton.knobs"]
    found: dict[str, dict[str, Any]] = {}
    for group in _COMPILER_KNOBS:
        if not hasattr(knobs, group):
            continue
        values = {
            name: value
            for name, value in list(vars(getattr(knobs, group)).items())
            if name[:1] != "_" and name not in _NOT_READ
        }
        for name, value in values.items():
            if value is not None and type(value) not in (str, int, bool):
                raise NotPlain(f"knobs.{group}.{name}")
        found[group] = values
    # Its default was read from the environment when Triton was imported.
    found["cache"] = {**found.get("cache", {}), "dir": knobs.cache.dir}
    return found


def compiler_files() -> dict[str, str | None]:
    """The files of the modules that compile here, by name."""
    backends: Any = sys.modules["triton.backends"].backends
    names = ["triton", "triton._C.libtriton", "triton.compiler.compiler", "triton.runtime.cache"]
    names += [backend.compiler.__module__ for backend in backends.values()]
    return {name: getattr(sys.modules[name], "__file__", None) for name in names}


def import_path() -> list[str]:
    """Where Triton is imported from, and where it finds its backends: they are named beside it."""
    home = str(Path(str(sys.modules["triton"].__file__)).parents[1])
    return [home, *(path for path in map(str, sys.path) if path != home and _names_backends(path))]


def _names_backends(path: str) -> bool:
    if not Path(path).is_absolute():
        return False
    try:
        return any(one.suffix in (".dist-info", ".egg-info") for one in Path(path).glob("*triton*"))
    except OSError:
        return False


def threads_of_a_compiler() -> int:
    """How many threads compiling one candidate starts, beside the one that asks.

    Up to 3.5, MLIR's passes ran in as many as there are cores (seen in 3.4, not in 3.6 and 3.9).
    """
    numbers = re.findall(r"\d+", str(getattr(sys.modules.get("triton"), "__version__", "")))
    old = tuple(map(int, numbers[:2])) < (3, 6)
    return (os.cpu_count() or 1) if old else 0


def compiles_asynchronously() -> bool:
    """Whether the program compiles in threads of its own at the moment."""
    module: Any = sys.modules.get("triton.runtime._async_compile")
    return module is not None and module.active_mode.get() is not None
