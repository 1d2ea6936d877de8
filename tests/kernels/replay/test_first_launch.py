"""What a program changes after `ready()` and before a kernel's first launch counts, as in stock."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton")

import triton.language as tl

from tests.kernels.replay import replay_kernels
from tests.kernels.replay.replay_kernels import (
    calls_it_too,
    calls_one,
    moved,
    plain,
    reads_a_constant,
    reads_a_dtype,
    x,
)
from tests.kernels.replay.replay_lab import Program, Start, empty_cache
from tuneonce.replay import first_launch
from tuneonce.replay.first_launch import Unlaunched
from tuneonce.triton.seams import compiled, run_hooks

SOON_S = 20.0

Setting = Callable[[str, int], None]


@pytest.fixture
def program() -> Program:
    """One whose last start has launched three kernels, two of which read globals."""
    made = Program()
    with made.start():
        launch(reads_a_constant)
        launch(calls_one)
        plain[(1,)](x(), 5, 2)
    return made


@pytest.fixture
def set_global(monkeypatch: pytest.MonkeyPatch) -> Setting:
    """Gives a global of the kernels' module another value."""
    return lambda name, value: monkeypatch.setattr(replay_kernels, name, tl.constexpr(value))


def launch(kernel: Any) -> str:
    return str(kernel[(1,)](x(), 5).asm["ttir"])


def as_stock(program: Program, kernel: Any, name: str, value: int, patch: Any) -> str:
    """What a start that makes nothing ready launches, with a global of this value."""
    with patch.context() as there, program.start(budget_s=0.0):
        there.setattr(replay_kernels, name, tl.constexpr(value))
        return launch(kernel)


def guards(kernel: Any) -> int:
    return len(run_hooks.ours(kernel))


KERNELS = [(reads_a_constant, "FACTOR"), (calls_one, "OFFSET")]
IDS = ["its own global", "a callee's"]


@pytest.mark.parametrize(("kernel", "name"), KERNELS, ids=IDS)
def test_a_kernel_that_is_as_it_was_has_what_is_ready(
    program: Program, kernel: Any, name: str
) -> None:
    with program.start() as start:
        assert start.ready().variants == 3
        assert guards(kernel) == 1
        with start.nothing_compiled_or_loaded():
            launch(kernel)
            assert guards(kernel) == 0
            launch(kernel)
        assert start.events.problems() == []


@pytest.mark.parametrize(("kernel", "name"), KERNELS, ids=IDS)
def test_a_global_that_is_set_after_ready_counts(
    program: Program,
    kernel: Any,
    name: str,
    set_global: Setting,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stock = as_stock(program, kernel, name, 11, monkeypatch)
    with program.start() as start:
        assert start.ready().variants == 3
        set_global(name, 11)
        assert launch(kernel) == stock
        assert start.events.problems() == ["kernel_has_changed"]
        assert guards(kernel) == 0
        with start.nothing_compiled_or_loaded():
            assert launch(kernel) == stock
            plain[(1,)](x(), 5, 2)  # which reads nothing, and stays ready


def test_a_global_that_is_set_after_the_first_launch_is_refused_as_in_stock(
    program: Program, set_global: Setting
) -> None:
    with program.start() as start:
        start.ready()
        launch(reads_a_constant)
        set_global("FACTOR", 11)
        with pytest.raises(RuntimeError, match="FACTOR has changed"):
            launch(reads_a_constant)


def test_a_callee_that_another_kernel_calls_is_found_as_it_was(
    program: Program, set_global: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That one is in no profile, and nothing of ours looks at its first launch."""
    stock = as_stock(program, calls_it_too, "OFFSET", 12, monkeypatch)
    with program.start() as start:
        start.ready()
        assert moved.hash is None
        set_global("OFFSET", 12)
        assert launch(calls_it_too) == stock


def test_what_was_ready_for_other_values_is_made_ready_anew(
    program: Program, set_global: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    stock = as_stock(program, reads_a_constant, "FACTOR", 13, monkeypatch)
    with program.start(workers=2) as start:
        start.replay.warm()
        set_global("FACTOR", 13)
        again = start.ready()
        assert again.variants == 1
        assert start.events.problems() == ["kernel_has_changed"]
        assert guards(reads_a_constant) == 1
        with start.nothing_compiled_or_loaded():
            assert launch(reads_a_constant) == stock


def test_made_ready_twice_it_is_looked_at_once(program: Program) -> None:
    with program.start() as start:
        start.replay.warm()
        assert start.ready().known == 3
        assert guards(reads_a_constant) == 1


# -- the program's hooks ---------------------------------------------------------------------------


def test_hooks_of_the_program_are_called_in_their_order_by_every_launch(program: Program) -> None:
    with program.start() as start:
        start.ready()
        called: list[int] = []
        hooks = [lambda *args, n=n, **more: called.append(n) for n in range(3)]
        for hook in hooks:
            plain.add_pre_run_hook(hook)
        plain[(1,)](x(), 5, 2)
        assert called == [0, 1, 2]
        assert plain.pre_run_hooks == hooks
        plain[(1,)](x(), 5, 2)
        assert called == [0, 1, 2] * 2


class Strange:
    """A hook that can be neither hashed nor compared."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        raise ValueError("not to be compared")

    def __call__(self, *args: Any, **more: Any) -> None:
        pass


def test_a_hook_of_the_program_is_not_looked_into(program: Program) -> None:
    with program.start() as start:
        plain.add_pre_run_hook(Strange())
        assert start.ready().left_out == {"hooked": 1}
        plain[(1,)](x(), 5, 2)
        assert len(plain.pre_run_hooks) == 1


def test_a_hook_that_raises_ends_the_launch_and_not_the_next_one(program: Program) -> None:
    def refuse(*args: Any, **more: Any) -> None:
        raise KeyError("not now")

    with program.start() as start:
        start.ready()
        plain.add_pre_run_hook(refuse)
        with pytest.raises(KeyError):
            plain[(1,)](x(), 5, 2)
        plain.pre_run_hooks.remove(refuse)
        with start.nothing_compiled_or_loaded():
            plain[(1,)](x(), 5, 2)


# -- several threads -------------------------------------------------------------------------------


class Told:
    """A lock that tells when somebody has to wait for it."""

    def __init__(self, waits: threading.Event) -> None:
        self.lock, self.waits = threading.Lock(), waits

    def __enter__(self) -> None:
        if not self.lock.acquire(blocking=False):
            self.waits.set()
            assert self.lock.acquire(timeout=SOON_S)

    def __exit__(self, *error: object) -> None:
        self.lock.release()


def the_one(kernel: Any) -> Unlaunched:
    (hook,) = run_hooks.ours(kernel)
    found: Unlaunched = hook.tuneonce_owner
    return found


def test_a_thread_that_launches_meanwhile_waits_until_one_has_looked(
    program: Program, set_global: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    stock = as_stock(program, reads_a_constant, "FACTOR", 14, monkeypatch)
    with program.start() as start:
        start.ready()
        set_global("FACTOR", 14)
        waits_or_is_over = threading.Event()
        the_one(reads_a_constant)._looking = Told(waits_or_is_over)  # type: ignore[assignment]
        launched: list[str] = []
        own = first_launch.fingerprint

        def other() -> None:
            try:
                launched.append(launch(reads_a_constant))
            finally:
                waits_or_is_over.set()

        second = threading.Thread(target=other)

        def look_slowly(kernel: Any) -> Any:
            second.start()
            assert waits_or_is_over.wait(SOON_S)
            return own(kernel)

        monkeypatch.setattr(first_launch, "fingerprint", look_slowly)
        launched.append(launch(reads_a_constant))
        second.join(SOON_S)
        assert launched == [stock, stock]
        assert start.events.problems() == ["kernel_has_changed"]


def launch_while_loading(start: Start, patch: pytest.MonkeyPatch, first: Callable[[], Any]) -> Any:
    """Make ready, and call `first` when the kernel's module is being loaded."""
    load = compiled.load
    called: list[Any] = []

    def slowly(one: Any) -> None:
        if compiled.source_of(one).fn.__name__ == "reads_a_constant" and not called:
            called.append(first())
        load(one)

    patch.setattr(compiled, "load", slowly)
    return called, start.ready()


def test_what_was_made_for_a_kernel_that_has_changed_meanwhile_is_not_given(
    program: Program, set_global: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    stock = as_stock(program, reads_a_constant, "FACTOR", 15, monkeypatch)
    with program.start() as start:

        def set_and_launch() -> str:
            set_global("FACTOR", 15)
            return launch(reads_a_constant)

        called, warmed = launch_while_loading(start, monkeypatch, set_and_launch)
        assert called == [stock]
        assert (warmed.variants, warmed.left_out) == (2, {"may_change": 1})
        with start.nothing_compiled_or_loaded():
            assert launch(reads_a_constant) == stock


def test_what_triton_holds_to_since_a_launch_is_not_undone(
    program: Program, set_global: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    with program.start() as start:
        _, warmed = launch_while_loading(start, monkeypatch, lambda: launch(reads_a_constant))
        assert warmed.left_out == {}
        assert reads_a_constant.hash is not None
        set_global("FACTOR", 16)
        with pytest.raises(RuntimeError, match="FACTOR has changed"):
            launch(reads_a_constant)


def test_what_cannot_be_looked_at_any_more_is_taken_back(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(kernel: Any) -> Any:
        raise ValueError("an object of the program's")

    with program.start() as start:
        start.ready()
        monkeypatch.setattr(first_launch, "fingerprint", fail)
        launch(reads_a_constant)
        assert start.events.problems() == ["kernel_has_changed"]


# -- what is found in Triton's cache later ---------------------------------------------------------


def test_what_is_kept_is_made_ready_and_not_put_where_another_kernel_would_find_it(
    tmp_path: Path, set_global: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Triton's key does not hold a dtype: from its cache it would take what the kernel was."""
    program = Program(kept=tmp_path / "store" / ".binaries")
    with program.start():
        old = launch(reads_a_dtype)
    empty_cache()
    with program.start() as start:
        assert start.ready().variants == 1
        assert not list(Path(os.environ["TRITON_CACHE_DIR"]).rglob("*.cubin"))
        with start.nothing_compiled_or_loaded():
            assert launch(reads_a_dtype) == old
    empty_cache()
    with program.start() as start:
        assert start.ready().variants == 1
        monkeypatch.setattr(replay_kernels, "DTYPE", tl.float16)
        new = launch(reads_a_dtype)
        assert "f16" in new
        assert new != old
        assert start.events.problems() == ["kernel_has_changed"]


def test_what_triton_s_key_does_not_hold_is_compiled_by_its_launch(program: Program) -> None:
    with program.start():
        launch(reads_a_dtype)
    empty_cache()
    with program.start(workers=2) as start:
        warmed = start.ready()
        assert warmed.left_out.get("may_change", 0) >= 1
        launch(reads_a_dtype)
        assert ("reads_a_dtype", False) in start.compiled
