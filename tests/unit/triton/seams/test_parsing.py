"""Two threads that parse kernels do not get in each other's way, whatever the version of Python."""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("triton")

import triton
import triton.language as tl

from tuneonce.system import slices
from tuneonce.triton.compile import stock_compiler
from tuneonce.triton.seams import parsing


@triton.jit
def kernel(X, Y, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(X + i, mask=i < n, other=0.0)
    x = (x + 1.0) * (x + 2.0) * (x + 3.0) * (x + 4.0) * (x + 5.0) * (x + 6.0) * (x + 7.0)
    tl.store(Y + i, x, mask=i < n)


class Interrupted:
    """In a cycle: when the garbage collector finds it, another thread has its turn."""

    def __init__(self, turn: Callable[[], None]) -> None:
        self.turn, self.cycle = turn, self

    def __del__(self) -> None:
        self.turn()


@pytest.fixture
def ended() -> Iterator[None]:
    stock = kernel.__class__.parse
    end = parsing.take_turns()
    yield
    end()
    assert kernel.__class__.parse is stock


def parse_while_another_does() -> list[BaseException]:
    """What either of two threads raises, of which one parses in the middle of the other's."""
    go, done = threading.Event(), threading.Event()
    raised: list[BaseException] = []

    def deeper(calls: int) -> Any:
        return kernel.parse() if calls == 0 else deeper(calls - 1)

    def other() -> None:
        go.wait(10.0)
        try:
            deeper(20)
        except BaseException as error:
            raised.append(error)
        done.set()

    interrupted = []

    def turn() -> None:
        interrupted.append(sys._getframe(2).f_code.co_name)
        go.set()
        done.wait(0.3)  # nobody tells that it waits for its turn

    thread = threading.Thread(target=other)
    thread.start()
    kernel.parse()
    threshold = gc.get_threshold()
    gc.collect()
    gc.disable()
    try:
        Interrupted(turn)
        gc.set_threshold(gc.get_count()[0] + 100, *threshold[1:])
        gc.enable()
        kernel.parse()
    except BaseException as error:
        raised.append(error)
    finally:
        gc.set_threshold(*threshold)
        gc.enable()
    go.set()
    thread.join(10.0)
    assert not thread.is_alive()
    assert interrupted == ["parse"], "it was not interrupted where it was to be"
    return raised


def test_a_thread_is_not_disturbed_by_another_that_parses(ended: None) -> None:
    for _ in range(3):
        assert parse_while_another_does() == []


@pytest.mark.skipif(not parsing.is_needed(), reason="this Python counts for each thread apart")
def test_it_would_be() -> None:
    raised = [error for _ in range(3) for error in parse_while_another_does()]
    assert [type(error) for error in raised] == [SystemError] * 3


def test_the_compiler_counts_as_tritons_own(ended: None) -> None:
    assert stock_compiler.generates_as_installed()


@pytest.mark.parametrize(
    ("version", "needed"),
    [
        ((3, 10, 12), False),
        ((3, 11, 0), True),
        ((3, 11, 7), True),
        ((3, 11, 8), False),
        ((3, 12, 1), True),
        ((3, 12, 2), False),
        ((3, 13, 0), False),
    ],
)
def test_versions_of_python_that_need_it(version: tuple[int, int, int], needed: bool) -> None:
    assert parsing.is_needed(version) is needed


def test_who_waits_for_another_thread_has_it_rest_no_more() -> None:
    kind: Any = kernel.__class__
    stock, parses, waited = kind.parse, threading.Event(), []

    def held(self: Any) -> None:
        """A parse in another thread, which goes on until somebody waits for it."""
        if threading.current_thread() is not threading.main_thread():
            parses.set()
            by = time.monotonic() + 10.0
            while not (hurries := bool(slices._waiting.now)) and time.monotonic() < by:
                pass
            waited.append(hurries)

    kind.parse = held
    end = parsing.take_turns()
    try:
        if kind.parse is held:  # this Python needs no turns
            return
        thread = threading.Thread(target=kernel.parse)
        thread.start()
        assert parses.wait(10.0)
        kernel.parse()
        thread.join()
        assert waited == [True]
        assert not slices._waiting.now
    finally:
        end()
        kind.parse = stock
