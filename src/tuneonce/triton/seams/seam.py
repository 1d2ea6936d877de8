"""What a seam is, what is switched off without it, and how the Triton at hand is looked at."""

from __future__ import annotations

import enum
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

VERSIONS = ("3.4", "3.6", "3.8", "3.9")
"""The versions of Triton that were read."""

# Up to Python 3.11, two threads that parse at once may end in a SystemError, and some probes have
# Triton parse a kernel.
_TRIES = 5


class Feature(enum.Enum):
    """What needs seams: its name in events and in `tuneonce env`, and how it is without one."""

    HOOK = "hook", "Triton is stock"
    OBSERVER = "observer", "`TUNEONCE=observe` counts nothing"
    RESULTS = "stored results", "each process tunes for itself, and keeps nothing"
    BENCHMARKS = (
        "benchmark functions",
        "every kernel's counts as the program's own, which measures every candidate",
    )
    DEVICE_TIMER = "device timer", "`_bench` measures every candidate, as in stock"
    NUMERICS = "numerics", "what candidates write is not looked at"
    STOCK_FILES = "stock results files", "Triton's are neither taken over nor written"
    WARMUP = "launches that only compile", "they compile one candidate and not all"
    COMPILE_POOL = "compile pool", "the program compiles every candidate, as in stock"
    COMPILE_AHEAD = "compile ahead", "nothing is compiled before a launch asks for it"
    VARIANTS = "variants", "the next start does not know what to compile ahead"
    PROFILE = "profile", "the next start does not know what this one needed"
    WARM = "warm start", "`ready()` makes nothing ready"
    BINARIES = "kept binaries", "a start that finds Triton's cache empty compiles"
    COMPILE_TIMES = "compile times", "events do not tell compiling from measuring"
    MODULE_LOADS = "module loads", "events do not tell of modules that are loaded onto a device"

    def __init__(self, title: str, without: str) -> None:
        self.title = title
        self.without = without


class Finding(enum.Enum):
    """What was found of a seam in the Triton at hand."""

    AS_READ = "as it was read"
    ABSENT = "not there"
    OTHER = "there, and not as it was read"


@dataclass(frozen=True)
class Seam:
    """Something of Triton's that is private, or that its documentation does not promise.

    `probe` looks at the loaded `module`, launches nothing and asks for no device. `names` are the
    names of Triton's that belong to it, which no file outside of this package may use; `words` are
    those that are too common to be told by a test. What only some versions have (`read_in`) may be
    absent, and what uses it knows that.
    """

    name: str
    module: str
    needed_by: tuple[Feature, ...]
    what: str
    probe: Callable[[], Finding]
    names: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    read_in: tuple[str, ...] = VERSIONS

    @property
    def optional(self) -> bool:
        """Whether it may be absent."""
        return self.read_in != VERSIONS

    def find(self) -> Finding:
        """Look, in whatever state Triton is."""
        if self.module not in sys.modules and self.optional:
            return Finding.ABSENT
        for _ in range(_TRIES):
            try:
                return self.probe()
            except SystemError:
                continue
            except Exception:  # of the probe or of what it looks at: it is not what was read
                break
        return Finding.OTHER

    def is_missing(self) -> bool:
        found = self.find()
        return found is Finding.OTHER or (found is Finding.ABSENT and not self.optional)


_NOTHING = object()


def module(name: str) -> Any:
    """A module of Triton's that is loaded; raises KeyError."""
    return sys.modules[name]


def follow(name: str, path: str) -> Any:
    """What is under a dotted name in a loaded module; `NOTHING` if it is not there."""
    found = module(name)
    for part in path.split("."):
        found = getattr(found, part, _NOTHING)
        if found is _NOTHING:
            break
    return found


def as_read(holds: bool) -> Finding:
    return Finding.AS_READ if holds else Finding.OTHER


def is_there(name: str, path: str, kind: type | None = None) -> Callable[[], Finding]:
    """A probe: something is under this name, of this kind."""

    def probe() -> Finding:
        found = follow(name, path)
        if found is _NOTHING:
            return Finding.ABSENT
        return as_read(kind is None or isinstance(found, kind))

    return probe


def can_be_called(name: str, path: str, *args: str, **kwargs: str) -> Callable[[], Finding]:
    """A probe: a function that takes such arguments; `self` counts, where it is a method."""

    def probe() -> Finding:
        found = follow(name, path)
        return Finding.ABSENT if found is _NOTHING else as_read(takes(found, *args, **kwargs))

    return probe


def takes(function: Any, *args: str, **kwargs: str) -> bool:
    """Whether a function can be called like this."""
    if not callable(function):
        return False
    try:
        inspect.signature(function).bind(*args, **kwargs)
    except TypeError:
        return False
    except ValueError:  # of the extension module: it does not say
        return True
    return True


def all_of(*probes: Callable[[], Finding]) -> Callable[[], Finding]:
    """A probe: the first that does not find what was read decides."""

    def probe() -> Finding:
        findings = (one() for one in probes)
        return next((one for one in findings if one is not Finding.AS_READ), Finding.AS_READ)

    return probe
