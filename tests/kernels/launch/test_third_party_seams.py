"""Others work on the same classes and slots: they are composed with, or left alone."""

from __future__ import annotations

import functools
import inspect
import itertools
import linecache
import sys
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("triton")

import triton
from triton.runtime.autotuner import Autotuner
from triton.runtime.jit import JITFunction

from tests.kernels.equivalence_calls import CALLS, accumulate, blocks
from tests.kernels.equivalence_candidates import CANDIDATES, calls
from tests.kernels.equivalence_failures import FAILURES
from tests.kernels.equivalence_lab import (
    STOCK_RUN,
    VERSION,
    Call,
    Events,
    Lab,
    Step,
    make_hook,
    tuneonce_on,
)
from tuneonce.store.memory import MemoryStore
from tuneonce.triton.compile.listener import CompileListener
from tuneonce.triton.launch.observer import Observer
from tuneonce.triton.seams import hookable, parsing

MODULE = sys.modules["triton.runtime.autotuner"]


@pytest.fixture(autouse=True)
def _class_is_stock_afterwards() -> Iterator[None]:
    before = dict(vars(Autotuner))
    yield
    after = dict(vars(Autotuner))
    for name, value in before.items():
        setattr(Autotuner, name, value)
    assert after == before


def scenario(lab: Lab) -> Iterator[Call]:
    kernel = lab.autotune(lab.interpreted(accumulate), blocks(4, 8, 16), ["n"])
    yield from calls(lab, kernel, 32, 16, 32)


def measured(steps: list[Step]) -> list[int]:
    return [len([one for one in step.events if one[0] == "benchmark"]) for step in steps]


def counting(run: Any, log: list[int], *, wraps: bool) -> Any:
    """A profiler, say, around whatever `Autotuner.run` is."""

    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        log.append(len(args))
        return run(self, *args, **kwargs)

    return functools.wraps(run)(counted) if wraps else counted


def test_installing_changes_one_method_and_uninstalling_changes_it_back() -> None:
    before, parse = dict(vars(Autotuner)), JITFunction.parse
    hook, _ = make_hook(MemoryStore())
    for _ in range(2):
        assert hook.install()
        assert hook.install()
        changed = {name for name, value in vars(Autotuner).items() if before[name] is not value}
        assert changed == {"run"}
        assert (JITFunction.parse is not parse) is parsing.is_needed()
        hook.uninstall()
        hook.uninstall()
        assert dict(vars(Autotuner)) == before
        assert JITFunction.parse is parse


@pytest.mark.parametrize("wraps", [False, True])
def test_we_step_aside_for_who_was_first(wraps: bool, caplog: pytest.LogCaptureFixture) -> None:
    stock = Lab().run(scenario)
    store, seen = MemoryStore(), []
    wrapper = counting(Autotuner.run, seen, wraps=wraps)
    Autotuner.run = wrapper
    hook, events = make_hook(store)
    try:
        assert not hook.install()
        assert Autotuner.run is wrapper
        steps = Lab().run(scenario)
        hook.uninstall()
        assert Autotuner.run is wrapper
    finally:
        Autotuner.run = STOCK_RUN
    assert len(seen) == 3
    assert [vars(step) for step in steps] == [vars(step) for step in stock]
    assert list(store.list("")) == []
    (problem,) = events.of("problem")
    assert problem["what"] == "stepped_aside"
    assert problem["detail"] == f"{__name__}.counted"
    assert "stepping aside" in caplog.text


@pytest.mark.parametrize("wraps", [False, True])
def test_who_comes_after_us_stays_when_we_go(wraps: bool) -> None:
    store, seen = MemoryStore(), []
    hook, events = make_hook(store)
    assert hook.install()
    wrapper = counting(Autotuner.run, seen, wraps=wraps)
    Autotuner.run = wrapper
    try:
        assert measured(Lab().run(scenario)) == [3, 3, 0]
        assert measured(Lab().run(scenario)) == [0, 0, 0]
        assert len(seen) == 6
        lab = Lab()
        kernel = lab.autotune(lab.interpreted(accumulate), blocks(4, 8, 16), ["n"])
        kernel[(4,)](lab.x, lab.out, lab.mark, 32, 0)
        hook.uninstall()
        assert Autotuner.run is wrapper
        told = list(events.seen)
        # Through the wrapper and through us, every kernel is now launched as stock does.
        assert measured(Lab().run(scenario)) == [3, 3, 0]
        kernel.cache.clear()
        kernel[(4,)](lab.x, lab.out, lab.mark, 32, 0)
        assert kernel.nargs is None
        assert len(seen) == 11
        assert events.seen == told
        # Whoever switches us on again does not end up in a circle.
        assert not hook.install()
        again, _ = make_hook(store)
        assert not again.install()
        assert measured(Lab().run(scenario)) == [3, 3, 0]
        hook.uninstall()
        again.uninstall()
    finally:
        Autotuner.run = STOCK_RUN


def test_who_puts_us_back_after_we_went_gets_stock() -> None:
    hook, _ = make_hook(MemoryStore())
    assert hook.install()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Autotuner, "run", counting(Autotuner.run, [], wraps=True))
        hook.uninstall()
    assert Autotuner.run is not STOCK_RUN
    try:
        assert measured(Lab().run(scenario)) == [3, 3, 0]
        assert measured(Lab().run(scenario)) == [3, 3, 0]
    finally:
        Autotuner.run = STOCK_RUN


def test_who_replaces_us_is_obeyed() -> None:
    def first_candidate(self: Any, *args: Any, **kwargs: Any) -> Any:
        """As vLLM's VLLM_TRITON_FORCE_FIRST_CONFIG."""
        return self.fn.run(*args, **kwargs, **self.configs[0].all_kwargs())

    hook, events = make_hook(MemoryStore())
    assert hook.install()
    Autotuner.run = first_candidate
    try:
        assert measured(Lab().run(scenario)) == [0, 0, 0]
        hook.uninstall()
        assert Autotuner.run is first_candidate
    finally:
        Autotuner.run = STOCK_RUN
    assert events.seen == []


@pytest.mark.parametrize("name", ["_bench", "prune_configs"])
def test_a_triton_that_is_not_as_expected_is_left_alone(name: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Autotuner, name, lambda self, something, else_: None)
        hook, events = make_hook(MemoryStore())
        assert not hook.install()
        assert Autotuner.run is STOCK_RUN
    assert events.of("problem")[0]["detail"] == f"no usable {name}"
    hook.uninstall()


def rewritten(change: Callable[[str], str], *, source: bool) -> Any:
    """`Autotuner.run` from a changed text, as a fork or a later version may have it.

    Without `source`, its text is not there any more.
    """
    text = change(textwrap.dedent(inspect.getsource(STOCK_RUN)))
    file = f"<run {next(NUMBERS)}>"
    if source:
        linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    found: dict[str, Any] = {}
    exec(compile(text, file, "exec"), vars(MODULE), found)
    return found["run"]


NUMBERS = itertools.count()


def with_a_step(text: str) -> str:
    return text.replace("pruned_configs = ", "self.one_step_more = 1; pruned_configs = ", 1)


@pytest.mark.parametrize("source", [True, False])
def test_a_run_that_nobody_has_read_is_left_alone(source: bool) -> None:
    run = rewritten(with_a_step, source=source)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Autotuner, "run", run)
        hook, events = make_hook(MemoryStore())
        assert not hook.install()
        assert Autotuner.run is run
        hook.uninstall()  # it still hears of what is compiled
        assert Autotuner.run is run
    assert events.of("problem")[0]["what"] == "stepped_aside"
    assert "no version that was read" in events.of("problem")[0]["detail"]


@pytest.mark.parametrize("source", [True, False])
def test_comments_and_layout_make_no_other_version(source: bool) -> None:
    def moved(text: str) -> str:
        spaced = text.replace("    ", "  ").replace("\n", "  # here\n\n", 3)
        return f"# A comment above it.\n\n{spaced}"

    run = rewritten(moved, source=source)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Autotuner, "run", run)
        assert hookable.find(MODULE).usable
        assert hookable.find(MODULE).skips_single_candidate == (VERSION >= (3, 8))


class Overriding(Autotuner):
    """Has a tuner of its own, as Ascend's."""

    def run(self, *args: Any, **kwargs: Any) -> Any:
        return self.fn.run(*args, **kwargs, **self.configs[1].all_kwargs())


class Adding(Autotuner):
    """Does something around each of the steps that a tuning consists of."""

    log: list[str]

    def prune_configs(self, kwargs: Any) -> Any:
        self.log.append(f"prune {self.nargs['n']}")
        return super().prune_configs(kwargs)[1:]

    def _bench(self, *args: Any, config: Any, **meta: Any) -> Any:
        self.log.append(f"bench {self.nargs['n']} {config.kwargs['BLOCK']}")
        return super()._bench(*args, config=config, **meta)

    def run(self, *args: Any, **kwargs: Any) -> Any:
        result = super().run(*args, **kwargs)
        self.log.append(f"ran {self.best_config.kwargs['BLOCK']} {self.nargs}")
        return result


def derived(kind: type[Autotuner], lab: Lab) -> Any:
    fn = lab.interpreted(accumulate)
    kernel = kind(fn, fn.arg_names, blocks(4, 8, 16), ["n"], None, None, do_bench=lab.bench)
    kernel.log = []
    return lab.watch(kernel)


def test_a_tuner_of_its_own_is_not_touched() -> None:
    def own(lab: Lab) -> Iterator[Call]:
        yield from calls(lab, derived(Overriding, lab), 32, 16)

    stock = Lab().run(own)
    with tuneonce_on(MemoryStore()) as events:
        ours = Lab().run(own)
    assert [vars(step) for step in ours] == [vars(step) for step in stock]
    assert events.seen == []


def test_a_subclass_sees_the_steps_it_overrides() -> None:
    logs = []

    def adding(lab: Lab) -> Iterator[Call]:
        kernel = derived(Adding, lab)
        logs.append(kernel.log)
        yield from calls(lab, kernel, 32, 16, 32)

    stock = Lab().run(adding)
    with tuneonce_on(MemoryStore()):
        ours = Lab().run(adding)
        warm = Lab().run(adding)
    assert [vars(step) for step in ours] == [vars(step) for step in stock]
    assert logs[0] == logs[1]
    assert measured(warm) == [0, 0, 0]
    assert [line for line in logs[0] if "bench" not in line] == [
        line for line in logs[2] if "bench" not in line
    ]


@pytest.mark.parametrize("keys", [["x"], ["n"]])
def test_events_name_a_kernel_that_is_not_kept(keys: list[str]) -> None:
    def scenario(lab: Lab) -> Iterator[Call]:
        kernel = lab.autotune(lab.interpreted(accumulate), blocks(4, 8), keys)
        if keys == ["n"]:
            kernel.fn.src = "def accumulate(: no Python"  # nor an identity
        yield from calls(lab, kernel, 32)

    with tuneonce_on(MemoryStore()) as events:
        Lab().run(scenario)
    name = f"{accumulate.__module__}:accumulate"
    assert [(e["outcome"], e["kernel"]) for e in events.of("resolve")] == [("not_persisted", name)]
    assert {one["kernel"] for e in ("measure", "tune") for one in events.of(e)} == {name}


def test_nothing_is_put_into_the_slots_that_slow_down_launches() -> None:
    runtime = triton.knobs.runtime
    names = ("jit_cache_hook", "jit_post_compile_hook", "launch_enter_hook", "launch_exit_hook")
    before = [getattr(runtime, name) for name in names]
    with tuneonce_on(MemoryStore()):
        assert [getattr(runtime, name) for name in names] == before


# -- the compilation listener --------------------------------------------------------------------


@pytest.fixture
def slot() -> Iterator[Any]:
    knobs = triton.knobs.compilation
    before = knobs.listener
    yield knobs
    knobs.listener = before


class Times:
    total = 2_000_000


def compiled(slot: Any) -> Any:
    """What Triton tells about a compilation; without a GPU nothing else would."""
    return slot.listener(
        src=None, metadata={"name": "k"}, metadata_group={}, times=Times(), cache_hit=False
    )


def listening(log: list[str], name: str, inner: Any = None) -> Callable[..., Any]:
    def listener(**call: Any) -> Any:
        log.append(name)
        return inner(**call) if inner is not None else name

    return listener


def test_a_listener_that_was_there_is_called_and_restored(slot: Any) -> None:
    log: list[str] = []
    theirs = slot.listener = listening(log, "theirs")
    hook, events = make_hook(MemoryStore())
    assert hook.install()
    assert compiled(slot) == "theirs"
    assert log == ["theirs"]
    assert [(one["kernel"], one["seconds"]) for one in events.of("compile")] == [("k", 2.0)]
    hook.uninstall()
    assert slot.listener is theirs


def test_a_listener_that_fails_fails_as_before(slot: Any) -> None:
    def failing(**call: Any) -> None:
        raise ValueError("theirs")

    slot.listener = failing
    with tuneonce_on(MemoryStore()), pytest.raises(ValueError, match="theirs"):
        compiled(slot)


def test_a_listener_around_ours_survives_us(slot: Any) -> None:
    log: list[str] = []
    slot.listener = listening(log, "first")
    events = Events()
    ours = CompileListener(events)  # type: ignore[arg-type]
    ours.install()
    around = slot.listener = listening(log, "around", slot.listener)
    assert compiled(slot) == "first"
    ours.uninstall()
    assert slot.listener is around
    assert compiled(slot) == "first"
    assert log == ["around", "first"] * 2
    assert len(events.seen) == 1
    ours.install()
    assert compiled(slot) == "first"
    assert log == ["around", "first"] * 3
    assert len(events.seen) == 2
    ours.uninstall()


def test_a_call_of_another_version_is_counted_and_passed_on(slot: Any) -> None:
    slot.listener = None
    with tuneonce_on(MemoryStore()) as events:
        slot.listener(something="else")
    assert events.of("problem")[0]["what"] == "listener_call"


# -- counting without changing -------------------------------------------------------------------

OBSERVED = [
    CALLS["repeated_and_new_keys"],
    CANDIDATES["pruned_by_a_model"],
    FAILURES["a_candidate_that_ends_the_tuning"],
    FAILURES["no_candidate_fits"],
]


@pytest.mark.parametrize("observed", OBSERVED)
def test_the_observer_changes_nothing(observed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_PRINT_AUTOTUNING", "1")
    stock = Lab().run(observed)
    events = Events()
    observer = Observer(MODULE, events)  # type: ignore[arg-type]
    assert observer.install()
    assert Autotuner.run is STOCK_RUN
    try:
        seen = Lab().run(observed)
    finally:
        observer.uninstall()
    assert [vars(step) for step in seen] == [vars(step) for step in stock]
    assert len(events.of("measure")) == sum(measured(stock))


def test_the_observer_meets_a_benchmark_without_pruning() -> None:
    events = Events()
    observer = Observer(MODULE, events)  # type: ignore[arg-type]
    observer.install()
    try:
        lab = Lab()
        kernel = lab.autotune(lab.interpreted(accumulate), blocks(4, 8), ["n"])
        kernel.nargs = {"x": lab.x, "out": lab.out, "mark": lab.mark, "n": 32, "mode": 0}
        for config in kernel.configs:
            kernel._bench(*kernel.nargs.values(), config=config, grid=(4,), warmup=False)
    finally:
        observer.uninstall()
    assert len(events.of("measure")) == 2


def test_the_observer_leaves_who_came_after_it() -> None:
    events = Events()
    observer = Observer(MODULE, events)  # type: ignore[arg-type]
    observer.install()
    inner = Autotuner._bench

    def around(self: Any, *args: Any, config: Any, **meta: Any) -> Any:
        return inner(self, *args, config=config, **meta)

    stock_bench = observer._stock[1]
    Autotuner._bench = around
    try:
        observer.uninstall()
        assert Autotuner._bench is around
        assert measured(Lab().run(scenario)) == [3, 3, 0]
    finally:
        Autotuner._bench = stock_bench
    assert events.seen == []
