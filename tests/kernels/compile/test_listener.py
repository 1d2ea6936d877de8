"""What is told of compiles, disk loads and module loads, in which thread, and of what it is a part.

The listener beside those of a program is in `kernels/launch/test_third_party_seams.py`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("triton")

import triton
from triton import knobs

from tests.fakes import RememberedEvents
from tests.kernels.jobs import make_add
from tests.kernels.pool_lab import autotuned, blocks, launch, tuner
from tuneonce.events.totals import Totals, total
from tuneonce.policies import Numerics, Policies
from tuneonce.testing import SimulatedGPU
from tuneonce.triton.compile.listener import CompileListener
from tuneonce.triton.launch.observer import Observer
from tuneonce.triton.seams import probing
from tuneonce.triton.seams.seam import Feature, Finding
from tuneonce.triton.seams.table import needed_by

TOLD = [seam.find() for seam in needed_by(Feature.MODULE_LOADS)] == [Finding.AS_READ]
needs_module_loads = pytest.mark.skipif(not TOLD, reason="this Triton does not tell of modules")
WORK = ("compile", "load", "module_load")


@pytest.fixture
def stock(gpu: SimulatedGPU) -> Iterator[RememberedEvents]:
    """Stock Triton, and what a listener alone tells of it."""
    events = RememberedEvents()
    probing.forget()
    listener = CompileListener(events)
    listener.install()
    yield events
    listener.uninstall()
    probing.forget()


def work(events: RememberedEvents) -> list[tuple[str, bool, str | None]]:
    """Kind, whether it was waited for, and what it is a part of."""
    return [(e["e"], e["waited"], e.get("within")) for e in events.seen if e["e"] in WORK]


def totals(events: RememberedEvents) -> Totals:
    return total([events.seen])


def run(kernel: Any) -> None:
    import torch

    kernel[(1,)](torch.zeros(64), torch.zeros(64), 64, BLOCK=64)


def in_a_thread(name: str, function: Callable[[], Any]) -> None:
    thread = threading.Thread(target=function, name=name)
    thread.start()
    thread.join()


@needs_module_loads
def test_the_first_launch_of_a_variant_compiles_and_loads_and_the_next_does_neither(
    stock: RememberedEvents,
) -> None:
    kernel = make_add()
    run(kernel)
    run(kernel)
    assert work(stock) == [("compile", True, None), ("module_load", True, None)]
    assert [event["kernel"] for event in stock.seen] == ["add", "add"]
    assert all(event["seconds"] >= 0 for event in stock.seen)
    run(make_add())  # another object of the same code: its binary is on disk
    assert work(stock)[2:] == [("load", True, None), ("module_load", True, None)]


@needs_module_loads
@pytest.mark.parametrize(("name", "waited"), [("tuneonce-replay_0", False), ("worker-3", True)])
def test_nobody_waits_for_what_a_thread_of_ours_does(
    stock: RememberedEvents, name: str, waited: bool
) -> None:
    in_a_thread(name, lambda: run(make_add()))
    assert [event["waited"] for event in stock.seen] == [waited, waited]
    assert (totals(stock).waited_s > 0) is waited


@needs_module_loads
def test_the_programs_own_listeners_of_module_loads_are_called_before_and_after_us(
    stock: RememberedEvents,
) -> None:
    runtime, called = knobs.runtime, list[str]()

    def theirs(*call: Any, **more: Any) -> None:
        called.append(call[2])

    chains = (runtime.kernel_load_start_hook, runtime.kernel_load_end_hook)
    for chain in chains:
        chain.add(theirs)
    try:
        run(make_add())
    finally:
        for chain in chains:
            chain.remove(theirs)
    assert called == ["add", "add"]
    assert [event["e"] for event in stock.seen] == ["compile", "module_load"]


@needs_module_loads
def test_uninstalled_it_leaves_the_chains_as_they_were(gpu: SimulatedGPU) -> None:
    runtime, events = knobs.runtime, RememberedEvents()
    chains = (runtime.kernel_load_start_hook, runtime.kernel_load_end_hook)
    before = [list(chain.calls) for chain in chains]
    listener = CompileListener(events)
    listener.install()
    listener.install()
    assert [len(chain.calls) for chain in chains] == [len(calls) + 1 for calls in before]
    listener.uninstall()
    assert [chain.calls for chain in chains] == before
    run(make_add())
    assert events.seen == []


@needs_module_loads
@pytest.mark.parametrize("theirs", [None, lambda *call, **more: None], ids=["none", "a function"])
def test_where_the_program_has_replaced_a_chain_modules_are_not_told(
    gpu: SimulatedGPU, monkeypatch: pytest.MonkeyPatch, theirs: Any
) -> None:
    monkeypatch.setitem(vars(knobs.runtime), "kernel_load_end_hook", theirs)
    events = RememberedEvents()
    listener = CompileListener(events)
    listener.install()
    try:
        run(make_add())
    finally:
        listener.uninstall()
    assert [event["e"] for event in events.seen] == ["compile"]


@needs_module_loads
def test_a_module_that_does_not_fit_is_no_load_and_the_next_one_is(
    stock: RememberedEvents, monkeypatch: pytest.MonkeyPatch
) -> None:
    utils = triton.runtime.driver.active.utils
    load = utils.load_binary

    def failing(*call: Any) -> Any:
        raise RuntimeError("no room")

    monkeypatch.setattr(utils, "load_binary", failing)
    with pytest.raises(RuntimeError, match="no room"):
        run(make_add())
    monkeypatch.setattr(utils, "load_binary", load)
    run(make_add())
    assert [event["e"] for event in stock.seen] == ["compile", "load", "module_load"]


# -- as parts of a tuning ------------------------------------------------------------------------


@pytest.mark.parametrize("numerics", [Numerics.OFF, Numerics.CHECK], ids=["off", "check"])
@pytest.mark.parametrize("own", [False, True], ids=["a race", "a benchmark of its own"])
def test_what_a_tune_waited_for_is_counted_once(own: bool, numerics: Numerics) -> None:
    options = {"do_bench": lambda call, quantiles: (call(), 1.0)[1]} if own else {}
    kernel = autotuned(make_add(), blocks(64, 128), **options)
    with tuner(workers=1, policies=Policies(numerics=numerics)) as on:
        launch(kernel)
        launch(kernel, 512)  # a new key of the same variants: nothing is compiled or loaded
    first, second = on.of("tune")
    told = work(on.events)
    modules = [("module_load", True, "tune")] * (2 * TOLD)
    assert sorted(told) == sorted([("compile", True, "tune")] * 2 + modules)
    counted = totals(on.events)
    assert counted.waited_s == pytest.approx(first["seconds"] + second["seconds"])
    assert counted.starting.compile.seconds == pytest.approx(first["here_s"], abs=1e-5)
    assert counted.starting.tune.count == 2
    assert counted.starting.measure.count == 4
    for tune in (first, second):
        parts = ["front_s", "wait_s", "here_s", "load_s", "sample_s"]
        parts += ["look_s"] if numerics is Numerics.CHECK else []
        assert sum(tune[part] for part in parts) <= tune["seconds"]
        assert min(tune[part] for part in parts) >= 0
    if TOLD:  # what was loaded is no measuring
        assert first["load_s"] >= counted.module_load_s - 1e-5


def test_nobody_waits_for_a_compiler_beside_but_for_its_result() -> None:
    with tuner(workers=2) as on:
        launch(autotuned(make_add(), blocks(64, 128, 256)))
    (tune,) = on.of("tune")
    compiled = on.of("compile")
    assert len(compiled) == 3
    assert {(one["ahead"], one["waited"], one.get("within")) for one in compiled} == {
        (True, False, None)
    }
    # Each is compiled there and then found on disk here, within the tune.
    assert {(one["waited"], one["within"]) for one in on.of("load")} == {(True, "tune")}
    assert totals(on.events).waited_s == pytest.approx(tune["seconds"])
    assert tune["wait_s"] > 0
    assert tune["here_s"] == 0


def test_a_tune_that_ends_in_an_error_was_waited_for() -> None:
    def broken(call: Any, quantiles: Any) -> Any:
        call()
        raise ValueError("theirs")

    with tuner(workers=1) as on, pytest.raises(ValueError, match="theirs"):
        launch(autotuned(make_add(), blocks(64, 128), do_bench=broken))
    assert on.of("tune") == []
    (waited,) = on.of("wait")
    assert totals(on.events).waited_s == waited["seconds"] >= on.of("compile")[0]["seconds"]


def test_a_warm_up_waits_for_the_compilers_and_tunes_nothing() -> None:
    import torch

    kernel = autotuned(make_add(), blocks(64, 128))
    with tuner(workers=2) as on:
        kernel.run(torch.zeros(64), torch.zeros(64), 64, grid=(1,), warmup=True)
    assert on.of("tune") == []
    (waited,) = on.of("wait")
    assert waited["waited"] is True
    assert totals(on.events).starting.compile.count == 2


def test_the_observer_tells_the_same_of_stock(gpu: SimulatedGPU) -> None:
    events = RememberedEvents()
    observer = Observer(triton.runtime.autotuner, events)
    assert observer.install()
    try:
        launch(autotuned(make_add(), blocks(64, 128)))
    finally:
        observer.uninstall()
    modules = [("module_load", True, "tune")] * (2 * TOLD)
    assert sorted(work(events)) == sorted([("compile", True, "tune")] * 2 + modules)
    measured = [event for event in events.seen if event["e"] == "measure"]
    counted = totals(events)
    assert counted.waited_s == pytest.approx(sum(one["seconds"] for one in measured))
    assert (counted.starting.tune.count, counted.starting.measure.count) == (1, 2)
    assert counted.starting.tune.seconds == pytest.approx(counted.waited_s)
    for one in measured:
        parts = one["compile_s"] + one["load_s"] + one["sample_s"]
        assert parts == pytest.approx(one["seconds"])
        assert one["sample_s"] >= 0
