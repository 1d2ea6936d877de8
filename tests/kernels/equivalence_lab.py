"""Runs a scenario with stock Triton or with tuneonce and writes down all that can be seen of it.

A scenario is a generator function: it builds autotuned kernels with the `Lab` it is given and
yields calls, functions without arguments. The lab makes each call and notes what it returned or
raised, what it printed, every launch in between (of the benchmark and of the call itself) with its
arguments, configuration and grid, what the scenario itself notes (hooks that were called, say),
and afterwards the buffers and the autotuners' attributes.

Kernels run in Triton's interpreter, for real, and the benchmark is the lab's: it calls the kernel
once and makes up a time that depends on the configuration and the scalar arguments alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import io
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from types import FunctionType
from typing import Any
from unittest import mock

import torch
import triton
import triton.language as tl
from triton.runtime.autotuner import Autotuner
from triton.runtime.interpreter import InterpretedFunction, interpreter_builder
from triton.runtime.jit import JITFunction, TensorWrapper

from tests.fakes import journals_of
from tuneonce.policies import Numerics, Policies
from tuneonce.resolution.resolver import Resolver
from tuneonce.store.memory import MemoryStore
from tuneonce.triton.compile.workers import build_workers
from tuneonce.triton.launch.hook import Hook
from tuneonce.triton.launch.persistence import Persistence

STOCK_RUN = Autotuner.run
VERSION = tuple(int(part) for part in triton.__version__.split(".")[:2])

# Its own check of each sum is a third of what a small kernel takes, and no part of a launch.
_UNCHECKED = replace(interpreter_builder.options, sanitize_overflow=False)

Call = Callable[[], Any]
Scenario = Callable[["Lab"], Iterator[Call]]


class Forgetful(MemoryStore):
    """A store that takes everything and has nothing: with it every start is a first start."""

    def put(self, name: str, data: bytes, *, durable: bool = True) -> None:
        pass

    def put_if_absent(self, name: str, data: bytes, *, durable: bool = True) -> bool:
        return True


@dataclass
class Events:
    """Stands for the events file."""

    seen: list[dict[str, Any]] = field(default_factory=list)

    def emit(self, event: str, **fields: Any) -> None:
        self.seen.append({"e": event, **fields})

    def of(self, event: str) -> list[dict[str, Any]]:
        return [one for one in self.seen if one["e"] == event]

    @property
    def outcomes(self) -> list[str]:
        return [one["outcome"] for one in self.of("resolve")]


OFF = Policies(numerics=Numerics.OFF)
"""No candidate is looked at, which takes launches that stock Triton does not make."""


def make_hook(store: Any, *, policies: Policies | None = None, **more: Any) -> tuple[Hook, Events]:
    """The hook over `store`, not yet in place, and what it will tell. `more`: of the hook."""
    events = Events()
    journals = None if isinstance(store, Forgetful) else journals_of(store)
    resolver = Resolver(store, events, journals=journals)  # type: ignore[arg-type]
    persistence = Persistence(resolver, events, raise_errors=True)  # type: ignore[arg-type]
    workers = build_workers(2, events)  # type: ignore[arg-type]
    module = sys.modules["triton.runtime.autotuner"]
    policies = OFF if policies is None else policies
    hook = Hook(module, persistence, workers, journals=journals, policies=policies, **more)
    return hook, events


@contextlib.contextmanager
def tuneonce_on(store: Any, **more: Any) -> Iterator[Events]:
    """The hook over `store`, in place for a while."""
    hook, events = make_hook(store, **more)
    assert Autotuner.run is STOCK_RUN
    assert hook.install()
    try:
        yield events
    finally:
        hook.uninstall()
        assert Autotuner.run is STOCK_RUN


class Known(dict):
    """An ``Autotuner.cache`` that knew `winners` before: what a start finds that forgot nothing."""

    def __init__(self, winners: dict[Any, Any]) -> None:
        super().__init__()
        self._winners = winners

    def __contains__(self, key: object) -> bool:
        if not super().__contains__(key) and key in self._winners:
            self[key] = self._winners[key]
        return super().__contains__(key)


@dataclass
class Step:
    """One call and what was seen of it."""

    events: list[tuple[Any, ...]] = field(default_factory=list)
    outcome: tuple[Any, ...] = ()
    printed: str = ""
    buffers: dict[str, Any] = field(default_factory=dict)
    best_config: list[Any] = field(default_factory=list)
    cache: list[Any] = field(default_factory=list)
    timings: list[Any] = field(default_factory=list)

    def without(self, *events: str) -> list[tuple[Any, ...]]:
        return [event for event in self.events if event[0] not in events]


class Lab:
    """One run of one scenario. Every run starts with equal buffers."""

    def __init__(self) -> None:
        self.x = torch.arange(1.0, 33.0)
        self.y = torch.full((32,), 0.5, dtype=torch.float16)
        self.out = torch.zeros(32)
        self.mark = torch.zeros(1, dtype=torch.int64)
        self.autotuners: list[Autotuner] = []
        self.step = Step()
        self.benchmarking = False
        self.last_launch: tuple[Any, ...] = ()
        self.failure: Callable[[dict[str, Any], bool], Exception | None] = lambda meta, bench: None

    # -- for scenarios -----------------------------------------------------------------------

    def note(self, *event: Any) -> None:
        """Write down that something happened."""
        self.step.events.append(event)

    def watch(self, autotuner: Autotuner) -> Autotuner:
        self.autotuners.append(autotuner)
        return autotuner

    def autotune(self, fn: Any, configs: Any, key: Any, **options: Any) -> Autotuner:
        """``@triton.autotune`` with the lab's benchmark."""
        options.setdefault("do_bench", self.bench)
        return self.watch(triton.autotune(configs=configs, key=key, **options)(fn))

    def interpreted(self, fn: FunctionType) -> InterpretedFunction:
        """``@triton.jit`` of a process with TRITON_INTERPRET=1; its launches are noted.

        Those fail for which `self.failure` has an exception. A launch returns what is noted of it.
        """
        kernel = InterpretedFunction(fn)
        stock = kernel.run

        def run(*args: Any, grid: Any, warmup: bool, **meta: Any) -> Any:
            what = "benchmark" if self.benchmarking else "launch"
            options = tuple((name, self.show(meta[name])) for name in sorted(meta))
            launch = (fn.__name__, tuple(map(self.show, args)), options)
            self.last_launch = launch
            if (error := self.failure(meta, self.benchmarking)) is not None:
                self.note(what, *launch, "fails")
                raise error

            def evaluated(values: dict[str, Any]) -> Any:
                size = grid(values) if callable(grid) else grid
                self.note(what, *launch, size)
                return size

            with (
                language_restored(),
                mock.patch.object(interpreter_builder, "options", _UNCHECKED),
            ):
                stock(*args, grid=evaluated, warmup=warmup, **meta)
            return launch

        kernel.run = run
        return kernel

    def bench(self, call: Call, quantiles: Any = None, **options: Any) -> Any:
        """A benchmark: one call, and a time made up for its configuration and arguments."""
        self.measure(call)
        time = self.time()
        return [time, time, time]

    def measure(self, call: Call) -> None:
        """Call what is to be benchmarked."""
        self.benchmarking = True
        try:
            call()
        finally:
            self.benchmarking = False

    def time(self) -> float:
        """The made-up time of the last launch, in ms."""
        digest = hashlib.sha256(repr(self.last_launch).encode()).digest()
        return 0.1 + int.from_bytes(digest[:4], "big") / 2**32

    # -- running -----------------------------------------------------------------------------

    def run(self, scenario: Scenario, known: list[dict[Any, Any]] | None = None) -> list[Step]:
        """Make every call of a scenario. `known`: the winners that each autotuner starts with."""
        steps: list[Step] = []
        with language_restored():
            for call in scenario(self):
                if known is not None and not steps:
                    for autotuner, winners in zip(self.autotuners, known, strict=True):
                        autotuner.cache = Known(_transfer(winners, autotuner))
                self._make(call)
                steps.append(self.step)
                self.step = Step()
        return steps

    def _make(self, call: Call) -> None:
        step = self.step
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            try:
                step.outcome = ("returned", call())
            except Exception as error:
                step.outcome = ("raised", type(error).__name__, self.show(error))
        step.printed = re.sub(
            r"after \d+\.\d\ds", "after 0.00s", self.show_text(printed.getvalue())
        )
        names = ("x", "y", "out", "mark")
        step.buffers = {name: getattr(self, name).tolist() for name in names}
        for one in self.autotuners:
            step.best_config.append(describe(one, vars(one).get("best_config")))
            cache = dict.items(one.cache)
            step.cache.append([(self.show(key), describe(one, config)) for key, config in cache])
            timings = vars(one).get("configs_timings")
            step.timings.append(
                timings and [(describe(one, config), repr(t)) for config, t in timings.items()]
            )

    # -- telling -----------------------------------------------------------------------------

    def show(self, value: Any) -> Any:
        """A value as text: the same for equal runs, and apart for 1, True and 1.0."""
        if isinstance(value, torch.Tensor):
            names = [name for name, buffer in vars(self).items() if buffer is value]
            return names[0] if names else f"{value.dtype}{list(value.shape)}"
        if isinstance(value, TensorWrapper):
            return f"{value.dtype}({self.show(value.base)})"
        if isinstance(value, (tuple, list)):
            return type(value).__name__ + "(" + ", ".join(map(str, map(self.show, value))) + ")"
        if type(value).__name__ == "TensorDescriptor":
            return f"descriptor of {self.show(value.base)} in {value.block_shape}"
        if isinstance(value, FunctionType):
            return value.__qualname__
        return self.show_text(str(value) if isinstance(value, BaseException) else repr(value))

    @staticmethod
    def show_text(text: str) -> str:
        return re.sub(r"0x[0-9a-f]{6,}", "0x", text)


_restoring = False


@contextlib.contextmanager
def language_restored() -> Iterator[None]:
    """Undo what the interpreter of Triton 3.4 leaves in the language; later versions undo it.

    With it nothing could be compiled in this process any more.
    """
    global _restoring
    if VERSION >= (3, 6) or _restoring:
        yield
        return
    _restoring = True
    owners = [tl, tl.core, tl.math, tl.tensor, tl.dtype, tl.core.tensor_descriptor_base]
    before = [(owner, dict(vars(owner))) for owner in owners]
    try:
        yield
    finally:
        _restoring = False
        for owner, attributes in before:
            for name, value in list(vars(owner).items()):
                if name not in attributes:
                    delattr(owner, name)
                elif attributes[name] is not value:
                    setattr(owner, name, attributes[name])


def describe(autotuner: Autotuner, config: Any) -> Any:
    """A configuration as text, with its place among the autotuner's own: `None` is a stranger."""
    if config is None:
        return None
    place = next((i for i, own in enumerate(autotuner.configs) if own is config), None)
    hook = getattr(config.pre_hook, "__qualname__", config.pre_hook)
    return (place, str(config), hook)


def _transfer(winners: dict[Any, Any], autotuner: Autotuner) -> dict[Any, Any]:
    """The winners of another run, as configurations of this one's autotuner."""
    found = {}
    for key, config in winners.items():
        same = [own for own in autotuner.configs if str(own) == str(config)]
        stranger = {name: vars(config)[name] for name in CONFIG_FIELDS if name in vars(config)}
        found[key] = same[0] if same else triton.Config(**stranger)
    return found


CONFIG_FIELDS = [name for name in inspect.signature(triton.Config).parameters if name != "pre_hook"]


@dataclass
class Runs:
    """A scenario, run in all the ways that are compared."""

    stock: list[Step]
    """Stock Triton."""
    stock_knowing: list[Step]
    """Stock Triton whose autotuners know the winners of `stock` from the start."""
    forgetful: list[Step]
    """Ours over a store that is always empty."""
    cold: list[Step]
    """Ours over an empty store that remembers."""
    cold_events: Events
    warm: list[Step]
    """Ours in fresh state over the store that `cold` left behind."""
    warm_events: Events


def run_all_ways(scenario: Scenario) -> Runs:
    """Run a scenario in fresh state in each way. TRITON_PRINT_AUTOTUNING should be set."""
    lab = Lab()
    stock = lab.run(scenario)
    known = [dict(one.cache) for one in lab.autotuners]
    stock_knowing = Lab().run(scenario, known)
    with tuneonce_on(Forgetful()):
        forgetful = Lab().run(scenario)
    store = MemoryStore()
    with tuneonce_on(store) as cold_events:
        cold = Lab().run(scenario)
    with tuneonce_on(store) as warm_events:
        warm = Lab().run(scenario)
    return Runs(stock, stock_knowing, forgetful, cold, cold_events, warm, warm_events)


__all__ = [
    "STOCK_RUN",
    "VERSION",
    "Autotuner",
    "Events",
    "Forgetful",
    "JITFunction",
    "Lab",
    "Runs",
    "Step",
    "make_hook",
    "run_all_ways",
    "tuneonce_on",
]
