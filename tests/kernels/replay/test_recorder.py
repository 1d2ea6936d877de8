"""What a start has met is in the profile; what cannot be made ready is left out with a reason."""

from __future__ import annotations

import builtins
import sys
import threading
import types
from collections import Counter
from typing import Any

import pytest

pytest.importorskip("triton")

import torch
import triton

from tests.fakes import FaultyStore, RememberedEvents
from tests.kernels.replay import replay_kernels
from tests.kernels.replay.replay_kernels import (
    closure,
    closure_of_another_source,
    one_of_two,
    plain,
    second,
    tune,
    with_heuristics,
    x,
)
from tests.kernels.replay.replay_lab import Program, Start
from tests.kernels.replay.signature_kernels import constant
from tuneonce.errors import StoreUnavailable
from tuneonce.replay import recorder as module
from tuneonce.replay.recorder import NotRecorded, options_in
from tuneonce.store.memory import MemoryStore
from tuneonce.system.patience import Patience


@pytest.fixture
def program() -> Program:
    return Program()


def left_out(start: Start) -> dict[str, int]:
    """The reasons, with how often each was met."""
    found: Counter[str] = Counter()
    for event in start.of("profile"):
        found.update(event["left_out"])
    return dict(found)


def test_every_kernel_is_recorded_autotuned_or_not(program: Program) -> None:
    with program.start() as start:
        plain[(1,)](x(), 5, 2)
        with_heuristics[(1,)](x(), 4)
        tune()
    assert program.recorded() == ["plain", "tuned", "with_heuristics"]
    assert left_out(start) == {}


def test_only_the_winner_of_a_tune_is_recorded(program: Program) -> None:
    with program.start() as start:
        tune()
        assert len(start.gpu.benchmarked) == 3
    profile = program.profile()
    (variant,) = profile.variants
    assert variant.variant["const.[3]"] == 128  # the fastest here
    (key,) = profile.keys
    assert key.verdict.startswith("v1/tuned~")
    assert program.store.get(key.verdict) is not None
    with program.start() as start:  # nor where the winner is known
        tune()
        assert start.gpu.benchmarked == []
    assert [one.binary for one in program.profile().variants] == [variant.binary]
    assert program.profile().variants[0].starts == ["start2", "start1"]


def test_each_variant_is_an_entry_with_the_options_of_its_launch(program: Program) -> None:
    with program.start():
        for scale in (2, 3):
            plain[(1,)](x(), 5, scale)
        plain[(1,)](x(), 16, 2, num_warps=2, num_stages=1)
        plain[(1,)](x(torch.float16), 5, SCALE=2)
    found = program.profile().variants
    assert len(found) == len({one.identity for one in found}) == 4
    assert sorted(one.options for one in found)[-1] == [("num_warps", 2), ("num_stages", 1)]
    assert {one.variant["sig.x"] for one in found} == {"*fp32", "*fp16"}


def test_the_phase_is_the_one_in_which_it_was_first_met(program: Program) -> None:
    with program.start() as start:
        plain[(1,)](x(), 5, 2)
        start.ready()
        plain[(1,)](x(), 5, 2)
        second[(1,)](x(), 5, 2)
        tune()
    profile = program.profile()
    assert {one.kernel.partition(":")[2]: one.phase for one in profile.variants} == {
        "plain": "starting",
        "second": "serving",
        "tuned": "serving",
    }
    assert [one.phase for one in profile.keys] == ["serving"]
    assert [one.complete for one in profile.starts] == [True]


def test_a_start_that_did_not_get_far_is_not_complete(program: Program) -> None:
    with program.start():
        plain[(1,)](x(), 5, 2)
    assert [(one.id, one.complete) for one in program.profile().starts] == [("start1", False)]


def test_a_known_variant_tells_nothing(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is added to a launch whose variant is known, nor to its key."""
    with program.start() as start:
        told: list[str] = []
        recorder: Any = start.replay.recorder
        for name in ("compiled", "launched", "used", "met_key", "_note"):
            call = getattr(recorder, name)
            monkeypatch.setattr(
                recorder, name, lambda *a, n=name, c=call: (told.append(n), c(*a))[1]
            )
        for _ in range(2):
            plain[(1,)](x(), 5, 2)
            tune()
            seen, told[:] = list(told), []
        assert seen == []


def test_all_threads_are_heard(program: Program) -> None:
    go = threading.Barrier(8)

    def work(number: int) -> None:
        go.wait()
        for scale in range(4):
            plain[(1,)](x(), 5, 10 + number % 4 * 4 + scale)

    with program.start():
        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    scales = [one.variant["const.[2]"] for one in program.profile().variants]
    assert sorted(scales) == list(range(10, 26))


def test_much_is_written_in_parts(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_OF_A_PART", 2)
    with program.start():
        for scale in range(7):
            plain[(1,)](x(), 5, 2 + scale)
    assert len(program.profile().variants) == 7
    assert 4 <= len(list(program.store.list("profiles/"))) <= 7


# -- what is left out ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("launch", "reason"),
    [
        (lambda: closure(3)[(1,)](x(), 5), "not_found_by_name"),
        (lambda: one_of_two()[(1,)](x(), 5, 2), "another_of_its_name"),
        (lambda: constant[(1,)](x(), 1 << 70), "not_encodable:builtins.int"),
    ],
)
def test_it_is_left_out_with_a_reason_and_launched(
    program: Program, launch: Any, reason: str
) -> None:
    with program.start() as start:
        launch()
        plain[(1,)](x(), 5, 2)
        assert len(start.gpu.launches) == 2
    assert program.recorded() == ["plain"]
    assert program.profile().variants[0].variant["const.[2]"] == 2
    assert left_out(start) == {reason: 1}


def in_a_module_of_its_own(monkeypatch: pytest.MonkeyPatch) -> Any:
    """As libraries do that write kernels at run time."""
    kernel = closure(4)
    held = types.ModuleType("made_at_run_time")
    kernel.fn.__module__, vars(held)["written"] = held.__name__, kernel
    monkeypatch.setitem(sys.modules, held.__name__, held)
    return kernel


def in_a_global(monkeypatch: pytest.MonkeyPatch, kernel: Any = None) -> Any:
    """As programs do that make a kernel when it is first needed."""
    made = kernel or closure(4)
    monkeypatch.setattr(replay_kernels, "made_when_needed", made, raising=False)
    return made


def in_heuristics(monkeypatch: pytest.MonkeyPatch) -> Any:
    return in_a_global(monkeypatch, triton.heuristics({})(closure(4)))


@pytest.mark.parametrize("make", [in_a_module_of_its_own, in_a_global, in_heuristics])
def test_what_a_function_has_made_is_found_where_a_module_holds_it(
    program: Program, monkeypatch: pytest.MonkeyPatch, make: Any
) -> None:
    kernel = make(monkeypatch)
    with program.start() as start:
        code = kernel[(1,)](x(), 5).asm
    assert left_out(start) == {}
    again = make(monkeypatch)
    assert again is not kernel
    with program.start() as start:
        assert start.ready().variants == 1
        with start.nothing_compiled_or_loaded():
            assert again[(1,)](x(), 5).asm == code


def test_what_is_not_made_yet_is_left(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch, program.start():
        in_a_global(patch)[(1,)](x(), 5)
    with program.start() as start:
        assert start.ready().left_out == {"not_loaded": 1}


def test_another_that_is_made_in_its_place_runs_its_own_code(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    with program.start():
        assert "arith.muli" in in_a_global(monkeypatch)[(1,)](x(), 5).asm["ttir"]
    other = in_a_global(monkeypatch, closure_of_another_source())
    with program.start(workers=2) as start:
        assert start.ready().variants == 1
        with start.nothing_compiled_or_loaded():
            assert "arith.subi" in other[(1,)](x(), 5).asm["ttir"]


def test_a_kernel_that_is_another_by_now_is_left_out(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    with program.start() as start:
        monkeypatch.setattr(replay_kernels, "plain", second)
        plain[(1,)](x(), 5, 2)
        second[(1,)](x(), 5, 2)
    assert program.recorded() == ["second"]
    assert left_out(start) == {"another_of_its_name": 1}


def test_objects_that_do_anything_when_they_are_looked_at_do_no_harm(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Wild:
        def __getattr__(self, name: str) -> Any:
            raise KeyboardInterrupt if name == "never" else RuntimeError("do not look")

    with program.start() as start:
        monkeypatch.setattr(replay_kernels, "plain", Wild())
        plain[(1,)](x(), 5, 2)
        second[(1,)](x(), 5, 2)
    assert program.recorded() == ["second"]
    assert sum(left_out(start).values()) == 1


@pytest.mark.parametrize(
    "key",
    [
        "", "[]", "]{", "[]{1: 2", "[]{**__import__('os').environ}", "[]{'num_warps': object()}",
        "[]{'num_warps': " + "(" * 5000, "[]{}x", "[]{'a'}", "[]{'a': 1, }", "[]{'a': 1}}",
        "[]{'a': 1.5}", "[]{'a': (1,)}", "[]{'a': 1 'b': 2}", "[]{'a': '\\\\x41'}", "[]{a: 1}",
        "[]{'a': " + "9" * 5000 + "}",
    ],
)  # fmt: skip
def test_names_of_another_triton_are_not_understood(key: str) -> None:
    with pytest.raises(NotRecorded, match="options"):
        options_in(key)


def test_options_that_the_launch_adds_are_not_its_own() -> None:
    added = "'debug': False, 'instrumentation_mode': '', 'fpsan_homomorphic_casts': False}"
    assert options_in("[('i32', '')]{" + added) == []
    assert options_in("[]{'num_warps': 2, " + added) == [("num_warps", 2)]
    assert options_in("[]{'debug': False}") == []  # before 3.9
    assert options_in("[]{}") == []
    assert options_in("[('constexpr', 'a]{b')]{'num_stages': 1, 'debug': True}") == [
        ("num_stages", 1),
        ("debug", True),
    ]


def test_nothing_is_parsed_beside_launches(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python's parser fails now and then where two threads use it, and a launch uses it, too."""
    mine = threading.get_ident()
    parsed: list[str] = []
    parse = builtins.compile

    def watch(source: Any, *args: Any, **more: Any) -> Any:
        if threading.get_ident() != mine:
            parsed.append(threading.current_thread().name)
        return parse(source, *args, **more)

    monkeypatch.setattr(builtins, "compile", watch)
    with program.start() as start:
        plain[(1,)](x(), 16, 2, num_warps=2)
        recorder: Any = start.replay.recorder
        while recorder._working.locked() or recorder._queue:
            recorder._thread.join()
    assert parsed == []
    assert program.recorded() == ["plain"]


# -- stores and programs that do not help ---------------------------------------------------------


def test_a_store_that_fails_stops_no_launch() -> None:
    error = StoreUnavailable("gone", store="memory:")
    faults = dict.fromkeys(("get", "put", "put_if_absent", "delete_if", "list", "children"), error)
    program = Program(FaultyStore(MemoryStore(), **faults))
    with program.start() as start:
        tune()
        plain[(1,)](x(), 5, 2)
        assert start.ready().variants == 0
        plain[(1,)](x(), 5, 3)
    assert "internal_profile" not in start.events.problems()


def test_no_thread_can_be_started(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with program.start() as start:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            plain[(1,)](x(), 5, 2)
        start.ready()
    assert program.recorded() == ["plain"]


def test_nothing_is_recorded_where_that_is_off(program: Program) -> None:
    with program.start(recorded=False) as start:
        plain[(1,)](x(), 5, 2)
        tune()
        start.ready()
    assert list(program.store.list("profiles/")) == []


def test_the_end_does_not_wait_for_a_thread_that_writes_for_ever() -> None:
    from tuneonce.phase import Phases
    from tuneonce.resolution.access import Access
    from tuneonce.resolution.profiles import Profiles

    events = RememberedEvents()
    profiles = Profiles(Access(MemoryStore(), events), lambda: "server 1")
    one = module.Recorder(profiles, events, Phases(), start="s", keep=lambda what, call, _: call())
    writes, ends = threading.Event(), threading.Event()

    def write() -> None:
        with one._writing:
            writes.set()
            assert ends.wait(60)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        assert writes.wait(60)
        one.finish(Patience(0.05), complete=True)
        assert profiles.load().starts == []
    finally:
        ends.set()
        thread.join()
    one.finish(Patience(0.05), complete=True)
    assert [start.complete for start in profiles.load().starts] == [True]


def test_what_is_queued_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    from tuneonce.phase import Phases
    from tuneonce.resolution.access import Access
    from tuneonce.resolution.profiles import Profiles

    events = RememberedEvents()
    monkeypatch.setattr(module, "_MOST_WAITING", 50)
    profiles = Profiles(Access(MemoryStore(), events), lambda: "server 1")
    one = module.Recorder(profiles, events, Phases(), start="s", keep=lambda what, call, _: call())
    one._working.acquire()  # its thread is stuck
    for number in range(1000):
        one.met_key("kernels:k", f"v1/{number}", "w")
    one.finish(Patience(), complete=True)
    assert len(profiles.load().keys) == 50
